"""README and docs say what is so: examples run, tables, commands and links are right."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import socket
from collections.abc import Iterator
from email.message import EmailMessage as PythonMessage
from email.message import MIMEPart
from email.mime.base import MIMEBase
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.conf.keys import QueueSettings, Settings
from mailqueue.delivery.retry import JITTER
from mailqueue.queue import payload
from mailqueue.queue.payload.blob import BlobCollector
from mailqueue.state import State
from tests.contracts import samples

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
FAULTS = ROOT / "tests" / "faults" / "README.md"
SETTINGS, OPERATING = ROOT / "docs" / "settings.md", ROOT / "docs" / "operating.md"
SCHEMA = json.loads((ROOT / "docs" / "payload.schema.json").read_text("utf-8"))

CLI, WHEEL = "tests/system/test_cli.py", "tests/packaging/test_wheel.py"
# Every command that a document shows, as a pattern, and where it is run.
COMMANDS = {
    r"make demo( KEEP=1)?": "tests/packaging/test_demo.py::test_the_demo_ends_by_itself",
    r"make django-demo": "tests/system/test_django.py::test_demo_shows_the_whole_way",
    r"make (test|lint|format|bench)": ".ci/run",
    r"make faults": ("tests/faults/test_broker.py::test_workers_killed_under_load_lose_nothing"),
    r'pip install "(\.|mailqueue)(\[[a-z,]+\])?"': f"{WHEEL}::test_only_mailqueue_is_installed",
    r"celery -A workers worker": "tests/packaging/test_workers.py::test_it_runs_on_any_redis",
    r"mailqueue worker( --concurrency \d)?": (
        "tests/system/test_own_celery_app.py::test_our_command_runs_the_projects_application"
    ),
    r"mailqueue worker --pool=gevent --concurrency \d+": (
        "tests/faults/test_pools.py::test_our_command_has_greenlets_work_at_once"
    ),
    r"mailqueue up": f"{WHEEL}::test_up_runs_from_an_empty_directory",
    r"mailqueue status( --json)?": f"{CLI}::test_status_counts_the_messages_in_each_state",
    r"mailqueue list( --(state|to|domain) \S+)*( --json)?": (
        f"{CLI}::test_list_finds_by_state_address_and_domain"
    ),
    r"mailqueue show \w+( --json)?": f"{CLI}::test_show_tells_all_about_one_message",
    r"mailqueue retry \w+": f"{CLI}::test_retry_sends_again_what_failed",
    r"mailqueue retry (--all|--domain \S+)": f"{CLI}::test_retry_takes_many",
    r"mailqueue (hold|resume) \w+": f"{CLI}::test_hold_keeps_messages_and_resume_sends_them",
    r"mailqueue resume --mailer \S+": (
        "tests/system/test_breaker.py::test_a_refused_login_pauses_the_mailer_and_fails_nothing"
    ),
    r"mailqueue cancel \w+": f"{CLI}::test_cancelled_messages_are_never_sent",
    r"mailqueue discard \w+": f"{CLI}::test_discard_removes_messages_for_good",
    r"mailqueue (hold|resume|cancel|discard) (--all|--domain \S+)( --yes)?": (
        f"{CLI}::test_commands_take_many"
    ),
    r"mailqueue purge( --(state|older-than) \S+)*": (
        f"{CLI}::test_purge_removes_records_that_are_old_enough"
    ),
    r"mailqueue check( --json)?": f"{CLI}::test_check_looks_at_all_that_mail_needs",
    r"mailqueue check --program": (
        "tests/faults/test_spool_place.py::test_a_program_learns_that_nobody_looks_after_its_spool"
    ),
    r"mailqueue spool flush( --json)?": (
        "tests/faults/test_spool.py::"
        "test_a_spooled_message_is_a_file_of_ones_own_and_is_accepted_later"
    ),
    r"mailqueue health( --json)?": f"{CLI}::test_health_tells_by_its_exit_status",
    r"mailqueue health --live": (
        "tests/system/test_situations.py::test_live_says_whether_this_machines_worker_lives"
    ),
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tables(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a document's tables, each cell by its heading."""
    headings: list[str] | None = None
    for line in path.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            headings = None
        elif headings is None:
            headings = cells
        elif set("".join(cells)) - set("-: "):
            yield dict(zip(headings, cells, strict=True))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but this machine can be connected to."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = isinstance(address, str) or address[0] in {"127.0.0.1", "::1", "localhost"}
        assert local, f"an example connects to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_python_examples_run(
    path: Path, redis_url: str, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every ```python block does, one after the other in one namespace, without a network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMAIL_BACKEND", "mailqueue.backends.locmem.EmailBackend")
    if path != SETTINGS:  # whose examples begin with no settings at all
        monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)
    document = Document.parse(str(path), PythonCodeBlockParser(future_imports=["annotations"]))
    # What an example puts into the environment is taken out again.
    for name in re.findall(r'os\.environ\["(\w+)"\]', path.read_text("utf-8")):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_commands_are_covered(path: Path) -> None:
    """Every command in a console or sh block is known here, with the test that runs it."""
    parsers = [CodeBlockParser(language, lambda _: None) for language in ("console", "sh")]
    for example in Document.parse(str(path), *parsers).examples():
        for line in example.parsed.splitlines():
            if line.startswith("$ "):
                command = line[2:].partition("  #")[0].partition(" # ")[0].strip()
                known = [pattern for pattern in COMMANDS if re.fullmatch(pattern, command)]
                assert known, f"{relative(path)} shows {command!r}, which no test covers"


def test_the_tests_that_are_named_exist() -> None:
    """Where a document, or the table of commands, names a test as path::name, it is there."""
    documents = [path.read_text("utf-8") for path in (*DOCUMENTS, FAULTS)]
    text = "\n".join([*documents, *COMMANDS.values()])
    named = set(re.findall(r"(tests/[\w/]+\.py)::(\w+)", text))
    assert len(named) > 30
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text("utf-8")
    ]
    assert missing == []


def test_every_fault_has_a_test() -> None:
    """Each row of the table names a test, and each file of tests is in the table."""
    rows = list(tables(FAULTS))
    assert len(rows) > 50
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row["shown by"]), row["fault"]
    text = FAULTS.read_text("utf-8")
    files = {relative(path) for path in FAULTS.parent.glob("test_*.py")}
    assert {name for name in files if name not in text} <= {"tests/faults/test_spool.py"}


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link names a file that is there, and a heading in it."""
    for link, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", path.read_text("utf-8")):
        target = path.parent / link if link else path
        assert target.exists(), f"{link} of {relative(path)} is not there"
        assert not anchor or anchor in anchors(target), f"{relative(path)}: no {link}#{anchor}"


@pytest.mark.parametrize(
    ("section", "column"), [(Settings, "setting"), (QueueSettings, "key")], ids=["django", "queue"]
)
def test_the_settings_are_these(section: Any, column: str) -> None:
    """docs/settings.md has a row for each setting there is, and its default is the code's."""
    rows = {row[column].strip("`"): row for row in tables(SETTINGS) if column in row}
    assert rows.keys() == section.names()
    for name, row in rows.items():
        setting = getattr(section, name)
        shown = ast.literal_eval(row["default"].strip("`"))
        assert setting.parse(shown) == setting.default, name
        assert set(row["read by"].split(", ")) <= {"program", "worker"}, name


def test_the_states_are_these() -> None:
    """docs/operating.md explains every state, and no other."""
    text = " ".join(row["state"] for row in tables(OPERATING) if "meaning" in row)
    assert set(re.findall(r"`(\w+)`", text)) == {state.value for state in State}


def test_the_jitter_is_this() -> None:
    """docs/settings.md says by how much the waits are spread."""
    assert f"±{JITTER:.0%}".replace("%", " %") in SETTINGS.read_text("utf-8")


def with_everything() -> EmailMultiAlternatives:
    """A message that uses every field of the payload."""
    message = EmailMultiAlternatives(
        "Subject", "Text", "Ann <a@example.com>", ["b@example.com"], cc=["c@example.com"],
        bcc=["d@example.com"], reply_to=["e@example.com"], headers={"X-A": "1"},
    )  # fmt: skip
    image, forwarded, legacy = MIMEPart(), PythonMessage(), MIMEBase("application", "x-thing")
    image.set_content(b"\x89PNG", maintype="image", subtype="png", cid="<cid@example.com>")
    forwarded["Subject"] = "Forwarded"
    forwarded.set_content("Text\n")
    forwarded.add_attachment(b"bytes", maintype="application", subtype="pdf", filename="a.pdf")
    legacy.set_payload("text")
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", "text", "text/plain")
    message.attach("a.bin", b"\x00", None)
    message.attach("a.eml", forwarded, "message/rfc822")
    message.attach(image)
    message.attachments.append(legacy)  # attach() would say that its class is deprecated
    message.encoding = "utf-8"
    message.metadata = {"order": 4711, "paid": True, "weights": [1.5, None]}
    return message


class BuildsItsOwn(EmailMessage):
    """A message that is built in its own way."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-Own"] = "yes"
        return built


PAYLOADS = {
    "plain": lambda: EmailMessage("Subject", "Text", "a@example.com", ["b@example.com"]),
    "everything": with_everything,
    "unset": samples.unset,
    "several senders": samples.several_senders,
    "rendered": lambda: BuildsItsOwn("Subject", "Text", "a@example.com", ["b@example.com"]),
}


@pytest.mark.parametrize("threshold", [0, 10**6])
@pytest.mark.parametrize("kind", PAYLOADS)
def test_payloads_are_as_the_schema_says(kind: str, threshold: int) -> None:
    """docs/payload.schema.json holds for what is written, with attachments large or small."""
    Draft202012Validator.check_schema(SCHEMA)
    blobs = BlobCollector(threshold)
    text = payload.dumps(PAYLOADS[kind](), "an-id", blobs)
    assert bool(blobs.contents) == (kind == "everything" and threshold == 0)
    for found in (json.loads(text), payload.parse(text)):
        errors = [str(error) for error in Draft202012Validator(SCHEMA).iter_errors(found)]
        assert errors == []


@pytest.mark.parametrize(
    "change",
    [
        {"v": 1},
        {"from_email": None},
        {"kind": "Letter"},
        {"to": "b@example.com"},
        {"surprise": 1},
        {"attachments": [{"filename": "a", "mimetype": None, "text": "", "base64": ""}]},
        {"body": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_schema_refuses(change: dict[str, Any]) -> None:
    """A schema that takes anything would show nothing."""
    found = payload.parse(payload.dumps(with_everything(), "an-id"))
    assert not Draft202012Validator(SCHEMA).is_valid(found | change)


def test_every_field_is_explained() -> None:
    """docs/payload.md has a row for each field of the schema, and for no other."""
    text = " ".join(row["field"] for row in tables(ROOT / "docs/payload.md") if "field" in row)
    objects = SCHEMA["$defs"].values()
    in_schema = {name for schema in objects for name in schema.get("properties", ())}
    assert set(re.findall(r"`(\w+)`", text)) == in_schema - {"part"}


def dotted_names() -> list[str]:
    """What the documents name as `mailqueue.…`, but for tasks and Django's system checks.

    `mailqueue.outbox` is there once a locmem backend has been made.
    """
    text = "\n".join(path.read_text("utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"`(mailqueue(?:\.[A-Za-z_]\w*)+)`", text))
    named -= {"mailqueue.deliver", "mailqueue.outbox"}
    return sorted(name for name in named if not re.fullmatch(r"mailqueue\.[EW]\d{3}", name))


@pytest.mark.parametrize("name", dotted_names())
def test_what_the_documents_name_in_python_is_there(name: str) -> None:
    """A module, which a logger is called after, a class or a function that they name exists."""
    assert pkgutil.resolve_name(name) is not None
