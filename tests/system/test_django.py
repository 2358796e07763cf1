"""A real Django project, a real worker, a real SMTP server: what Django sends comes out whole.

Nothing here configures Django in the process of the tests: the project has processes of its own.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailqueue.conf import settings
from mailqueue.errors import MailqueueError
from mailqueue.local.embedded import is_running
from mailqueue.monitor import report
from tests.support import STRICT, Worker, wait_until

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "django_project"
FORM = {
    "name": "Zoë Visitor",
    "email": "visitor@example.org",
    "subject": "Opening hours",
    "text": "Are you open on Sundays?\r\nGrüße",
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
CLOSED_PORT = "redis://127.0.0.1:1/0"


@dataclass
class Page:
    """What the site answered."""

    status: int
    url: str
    text: str


class Browser:
    """A browser: it keeps cookies, follows redirects, and sends a form's CSRF token back."""

    def __init__(self, address: str) -> None:
        self.address = address
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def post(self, fields: dict[str, str]) -> Page:
        """Get the form, fill it in and send it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.fetch().text)[1]
        return self.fetch(fields | {"csrfmiddlewaretoken": token})

    def fetch(self, fields: dict[str, str] | None = None) -> Page:
        """Get the form's page, or post these very fields to it."""
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        try:
            response = self._opener.open(self.address, data, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Page(response.status, response.url, response.read().decode())


@pytest.fixture
def project(queue_settings: dict[str, str]) -> dict[str, str]:
    """The environment of every process of the example project, the worker included."""
    return {
        **os.environ,
        **queue_settings,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{ROOT}",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def start_site(project: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """Run the example by `manage.py runserver` on a free port; return a browser that visits it."""
    processes = []

    def start(**environment: str) -> Browser:
        log = tmp_path / "site.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:0"],
                env=project | environment,
                cwd=PROJECT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        wait_until(lambda: ADDRESS.search(log.read_text()), 30, log.read_text)
        return Browser(ADDRESS.search(log.read_text())[0])

    yield start
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.fixture
def django_worker(start_worker: Callable[..., Worker], project: dict[str, str]) -> Worker:
    """`celery -A workers worker` with the project's DJANGO_SETTINGS_MODULE."""
    names = "DJANGO_SETTINGS_MODULE", "PYTHONPATH"
    return start_worker(**{name: project[name] for name in names})


@pytest.fixture
def manage(project: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `manage.py …` of the example; Python's warnings are errors in it."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *STRICT, "manage.py", *map(str, arguments)],
            env=project | environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def send_by_django(project: dict[str, str], tmp_path: Path) -> Callable[..., list[str]]:
    """Run code in a process of the project; return the ids of the `messages` that it sent."""

    def send(code: str, **environment: str) -> list[str]:
        script = tmp_path / "program.py"
        ending = "print(__import__('json').dumps([m.mailqueue_id for m in messages]))\n"
        script.write_text(textwrap.dedent(code) + ending, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *STRICT, script],
            env=project | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return send


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process looks at the journal of the project."""
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)


def arrived(server: Any, count: int, worker: Worker) -> None:
    """Wait until so many messages are delivered, and no more than that."""
    wait_until(lambda: len(server.received) >= count, 20, worker.explain)
    assert len(server.received) == count


def test_posted_form_is_delivered(start_site, django_worker, smtp_server):
    """The form's mail arrives with subject, recipients and body; the visitor is thanked at once."""
    page = start_site().post(FORM)
    assert (page.status, page.url.endswith("/thanks/")) == (200, True)
    assert "on its way" in page.text
    arrived(smtp_server, 1, django_worker)
    (received,) = smtp_server.received
    assert received.sender == "letters@example.com"
    assert received.recipients == ["team@example.com"]
    mail = received.parsed
    assert mail["Subject"] == "Contact: Opening hours"
    assert mail["From"] == "The Letters Team <letters@example.com>"
    assert mail["To"] == "team@example.com"
    assert mail["Reply-To"] == "Zoë Visitor <visitor@example.org>"
    assert mail["Message-ID"]
    assert mail["Date"]
    assert " ".join(mail.get_content().split()) == (
        "Zoë Visitor wrote: Are you open on Sundays? Grüße"
    )


def test_form_waits_for_a_worker(start_site, journal, start_worker, project, smtp_server):
    """What is posted while no worker runs lies in the journal, and is delivered when one starts."""
    assert start_site().post(FORM).status == 200
    (message,) = report.find(report.Filter())
    assert (message["state"], message["subject"]) == ("queued", "Contact: Opening hours")
    names = "DJANGO_SETTINGS_MODULE", "PYTHONPATH"
    worker = start_worker(**{name: project[name] for name in names})
    arrived(smtp_server, 1, worker)


def test_form_with_mistakes_sends_nothing(start_site, journal):
    """Each field's mistake is shown beside it, header injection is one, and nothing is queued."""
    browser = start_site()
    mistakes = {"name": "", "email": "no address", "subject": "Hello\nBcc: all@example.com"}
    page = browser.post(FORM | mistakes)
    assert page.status == 200
    assert "This field is required." in page.text
    assert "Enter a valid email address." in page.text
    assert "Write this on one line." in page.text
    assert report.find(report.Filter()) == []


def test_a_visitor_may_have_a_domain_of_any_letters(start_site, django_worker, smtp_server):
    """The team's answer goes to the domain as mail servers know it."""
    assert start_site().post(FORM | {"email": "visitor@bücher.example"}).url.endswith("/thanks/")
    arrived(smtp_server, 1, django_worker)
    reply_to = smtp_server.received[0].parsed["Reply-To"]
    assert reply_to == "Zoë Visitor <visitor@xn--bcher-kva.example>"


def test_what_can_not_be_mailed_is_a_mistake_in_the_form(start_site, journal):
    """Domains without a form in ASCII, and what ends a line for Python: never a server error."""
    browser = start_site()
    mistakes = [
        ("email", f"visitor@{'ü' * 60}.example", "Enter a valid email address."),
        ("email", "visitor@a\u2100.example", "Enter a valid email address."),
        ("email", '"a\x0bb"@example.org', "Write this on one line."),
        *[(f, f"a{c}b", "on one line.") for f in ("name", "subject") for c in "\x0b\x1c\x85\u2028"],
        ("subject", "x" * 5000, "at most 200 characters"),
    ]
    for field, value, message in mistakes:
        page = browser.post(FORM | {field: value})
        assert (page.status, message in page.text) == (200, True), (field, value)
    assert report.find(report.Filter()) == []


def test_form_without_token_is_refused(start_site, journal):
    """A form posted from another site, without the CSRF token, sends nothing."""
    assert start_site().fetch(FORM).status == 403
    assert report.find(report.Filter()) == []


def test_visitor_is_told_when_the_queue_is_down(start_site):
    """Where the queue can't take the mail, the visitor gets the text back, and no thanks."""
    page = start_site(MAILQUEUE_BROKER_URL=CLOSED_PORT).post(FORM)
    assert page.status == 503
    assert "try again later" in page.text
    assert "Are you open on Sundays?" in page.text
    assert "on its way" not in page.text


def test_newsletter_arrives_intact(manage, django_worker, smtp_server, tmp_path):
    """Each subscriber gets one copy, with the text, the HTML and the attachment's very bytes."""
    subscribers = tmp_path / "subscribers.txt"
    subscribers.write_text(
        "ada@example.com\n\n# nobody\ngrace@example.net # yes\nada@example.com\n"
    )
    content = bytes(range(256)) * 40
    attachment = tmp_path / "été.pdf"
    attachment.write_bytes(content)
    done = manage("send_newsletter", subscribers, "--subject", "Nº 7", "--attach", attachment)
    assert (done.returncode, done.stdout) == (0, "2 copies queued\n"), done.stderr
    arrived(smtp_server, 2, django_worker)
    recipients = sorted(received.recipients for received in smtp_server.received)
    assert recipients == [["ada@example.com"], ["grace@example.net"]]
    for received in smtp_server.received:
        mail = received.parsed
        assert (mail["Subject"], mail.get_content_type()) == ("Nº 7", "multipart/mixed")
        assert mail["List-Unsubscribe"].startswith("<mailto:letters@example.com")
        assert "the next evening" in mail.get_body(["plain"]).get_content()
        assert "<h1>Nº 7</h1>" in mail.get_body(["html"]).get_content()
        (part,) = mail.iter_attachments()
        assert (part.get_filename(), part.get_content_type()) == ("été.pdf", "application/pdf")
        assert part.get_content() == content


def test_newsletter_with_a_bad_address_sends_nothing(manage, journal, tmp_path):
    """A line that is no address ends the command before anything is queued."""
    subscribers = tmp_path / "subscribers.txt"
    subscribers.write_text("ada@example.com\nnot an address\n")
    done = manage("send_newsletter", subscribers)
    assert done.returncode == 1
    assert "line 2: 'not an address' is no address" in done.stderr
    assert report.find(report.Filter()) == []


def test_all_that_a_message_of_django_holds_arrives(
    send_by_django, journal, django_worker, smtp_server
):
    """Inline image, MIMEBase, text attachment, envelope and headers arrive as they were."""
    (id_,) = send_by_django(
        """
        from email.mime.base import MIMEBase
        from email.mime.image import MIMEImage
        from django.core.mail import EmailMultiAlternatives

        message = EmailMultiAlternatives(
            "Everything", "Plain.", "Sender <sender@example.com>", ["to@example.com"],
            bcc=["secret@example.com"], cc=["Cc <cc@example.com>"], reply_to=["answer@example.com"],
            headers={"X-Campaign": "spring", "Message-ID": "<fixed@example.com>"},
        )
        message.attach_alternative("<img src='cid:picture'>", "text/html")
        image = MIMEImage(b"\\x89PNG not quite", "png")
        image.add_header("Content-ID", "<picture>")
        image.add_header("Content-Disposition", "inline", filename="p.png")
        message.attach(image)
        data = MIMEBase("application", "x-thing", version="2")
        data.set_payload(b"thing")
        data.add_header("X-Part", "mine")
        message.attach(data)
        message.attach("notes.txt", "Grüße\\nzwei", "text/plain")
        assert message.send() == 1
        messages = [message]
        """
    )
    arrived(smtp_server, 1, django_worker)
    (received,) = smtp_server.received
    assert received.sender == "sender@example.com"
    assert received.recipients == ["to@example.com", "cc@example.com", "secret@example.com"]
    assert b"secret@" not in received.content
    mail = received.parsed
    assert (mail["To"], mail["Cc"]) == ("to@example.com", "Cc <cc@example.com>")
    assert (mail["Reply-To"], mail["X-Campaign"]) == ("answer@example.com", "spring")
    assert (mail["Message-ID"], mail["Bcc"]) == ("<fixed@example.com>", None)
    assert mail.get_body(["plain"]).get_content().strip() == "Plain."
    assert "cid:picture" in mail.get_body(["html"]).get_content()
    image, thing, notes = mail.iter_attachments()
    assert (image["Content-ID"], image.get_content()) == ("<picture>", b"\x89PNG not quite")
    assert image.get_content_disposition() == "inline"
    assert (thing.get_content_type(), thing["X-Part"]) == ("application/x-thing", "mine")
    assert thing.get_param("version") == "2"
    assert thing.get_payload() == "thing"
    assert notes.get_filename() == "notes.txt"
    assert notes.get_content().splitlines() == ["Grüße", "zwei"]
    wait_until(lambda: report.show(id_)["state"] == "sent", 5)


def test_every_way_in_leads_to_the_queue(send_by_django, journal, django_worker, smtp_server):
    """send_mail, send_mass_mail, mail_managers and a kept connection all queue their mail."""
    send_by_django(
        """
        from django.core import mail
        from django.test.utils import override_settings

        assert mail.send_mail("one", "", None, ["a@example.com"], html_message="<p>1</p>") == 1
        rows = [("two", "", None, ["b@example.com"]), ("three", "", None, ["c@example.com"])]
        assert mail.send_mass_mail(rows) == 2
        with override_settings(MANAGERS=[("Boss", "boss@example.com")]):
            mail.mail_managers("four", "")
        with mail.get_connection() as connection:
            messages = [mail.EmailMessage(s, "", None, ["d@example.com"]) for s in ("five", "six")]
            assert connection.send_messages(messages) == 2
        assert len({m.mailqueue_id for m in messages}) == 2
        """
    )
    arrived(smtp_server, 6, django_worker)
    subjects = {received.parsed["Subject"] for received in smtp_server.received}
    assert subjects == {"one", "two", "three", "[Django] four", "five", "six"}
    wait_until(lambda: {m["state"] for m in report.find(report.Filter())} == {"sent"}, 5)


def test_dots_anywhere_in_a_local_part_are_delivered(
    send_by_django, journal, django_worker, smtp_server
):
    """Django's message to such an address was a ValueError; each recipient has its reply."""
    send_by_django(
        """
        from django.core import mail

        to = [".a@example.jp", "Bob <b..b@example.jp>"]
        messages = [mail.EmailMessage("one", "", "c.@example.jp", to, cc=["d.@example.jp"])]
        assert messages[0].send() == 1
        """
    )
    arrived(smtp_server, 1, django_worker)
    (got,) = smtp_server.received
    assert [a.replace('"', "") for a in got.recipients] == [
        ".a@example.jp",
        "b..b@example.jp",
        "d.@example.jp",
    ]
    assert [a.username for a in got.parsed["To"].addresses] == [".a", "b..b"]

    def fate() -> list[tuple[str, str]]:
        (found,) = report.find(report.Filter())
        return [(one["address"], one["state"]) for one in found["recipients"]]

    addresses = [".a@example.jp", "Bob <b..b@example.jp>", "d.@example.jp"]
    wait_until(lambda: fate() == [(address, "sent") for address in addresses], 5)


def test_worker_obeys_the_projects_settings(
    send_by_django, start_worker, project, smtp_server, tmp_path
):
    """The worker delivers to the EMAIL_HOST of Django's settings, whatever its environment says."""
    (tmp_path / "other_settings.py").write_text(
        f"""
EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", {smtp_server.port}
DEFAULT_FROM_EMAIL = "other@example.com"
USE_TZ = True
"""
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "other_settings",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "EMAIL_PORT": "1",
    }
    worker = start_worker(**environment)
    send_by_django(
        """
        from django.core.mail import EmailMessage
        messages = [EmailMessage("Hello", "", None, ["a@example.com"])]
        messages[0].send()
        """,
        **environment,
    )
    arrived(smtp_server, 1, worker)
    assert smtp_server.received[0].sender == "other@example.com"


def test_lazy_strings_are_queued(send_by_django, django_worker, smtp_server):
    """A lazily translated subject and body travel in the language of the moment of sending."""
    send_by_django(
        """
        import django
        from django.conf import settings
        from django.core.mail import EmailMessage
        from django.utils import translation
        from django.utils.translation import gettext_lazy

        django.setup()
        subject, body = gettext_lazy("Monday"), gettext_lazy("January")
        message = EmailMessage(subject, body, None, ["a@example.com"])
        with translation.override("de"):
            message.send()
        messages = [message]
        """
    )
    arrived(smtp_server, 1, django_worker)
    mail = smtp_server.received[0].parsed
    assert mail["Subject"] == "Montag"
    assert mail.get_content().strip() == "Januar"


def test_mail_is_not_part_of_a_transaction(send_by_django, django_worker, smtp_server, tmp_path):
    """Mail sent inside a transaction goes out even if that rolls back; on_commit ties it to it."""
    (tmp_path / "with_database.py").write_text(
        "from project.settings import *\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    send_by_django(
        """
        import django
        django.setup()
        from functools import partial
        from django.core.mail import send_mail
        from django.db import transaction

        def shop(how, fails):
            try:
                with transaction.atomic():
                    mail = partial(send_mail, f"{how} {fails}", "", None, ["a@example.com"])
                    mail() if how == "at once" else transaction.on_commit(mail)
                    if fails:
                        raise LookupError
            except LookupError:
                pass

        for how in ("at once", "on commit"):
            for fails in (True, False):
                shop(how, fails)
        messages = []
        """,
        DJANGO_SETTINGS_MODULE="with_database",
        PYTHONPATH=os.pathsep.join(map(str, (tmp_path, PROJECT, ROOT))),
    )
    arrived(smtp_server, 3, django_worker)
    subjects = {received.parsed["Subject"] for received in smtp_server.received}
    assert subjects == {"at once True", "at once False", "on commit False"}


def test_the_projects_own_tests_need_no_queue(manage):
    """`manage.py test` sees the mail in Django's outbox, with the queue's servers down."""
    done = manage("test", MAILQUEUE_BROKER_URL=CLOSED_PORT)
    assert done.returncode == 0, done.stderr
    assert "Ran 3 tests" in done.stderr


def test_demo_shows_the_whole_way(tmp_path):
    """`make django-demo` ends by itself with all mail delivered, and leaves nothing running."""
    done = subprocess.run(
        [sys.executable, PROJECT / "demo.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 delivered" in done.stdout
    home = Path(os.environ["MAILQUEUE_HOME"])
    assert len(list((home / "Maildir" / "new").iterdir())) == 4
    with pytest.raises(MailqueueError):
        report.status()
    assert not settings.MAILQUEUE.BROKER_URL


def test_an_interrupted_demo_leaves_nothing_running(tmp_path):
    """Ctrl-C in the middle: its exit status, no traceback, and the server is gone."""
    log = tmp_path / "demo.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, PROJECT / "demo.py"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: "manage.py runserver" in log.read_text(), 60, log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130, log.read_text()
    assert "Traceback" not in log.read_text()
    assert not is_running(Path(os.environ["MAILQUEUE_HOME"]))
