"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mailqueue import EmailMessage, get_connection
from mailqueue.monitor import report
from mailqueue.queue.journal import Settlement, open_journal
from mailqueue.state import State
from tests.servers import Valkey
from tests.support import printed, wait_until

MAILQUEUE = Path(sys.executable).with_name("mailqueue")


def letter(to: str = "to@example.com", subject: str = "Hello") -> EmailMessage:
    return EmailMessage(subject, "A letter", "from@example.com", [to])


@pytest.fixture
def fates(producer, start_worker, smtp_server):
    """A queue in which one message was sent and one failed; its worker has stopped."""
    smtp_server.replies = {"nobody@example.org": ["550 5.1.1 no such user"]}
    sent, failed = letter(), letter("nobody@example.org", "Gone")
    get_connection().send_messages([sent, failed])
    worker = start_worker()
    wait_until(lambda: report.status()["queues"][0]["states"]["sent"] == 1, 20, worker.explain)
    wait_until(lambda: report.status()["queues"][0]["states"]["failed"] == 1, 20, worker.explain)
    worker.stop()
    return sent.mailqueue_id, failed.mailqueue_id


def test_status_counts_the_messages_in_each_state(fates, run_cli):
    """As JSON all states, as text those in which there is something."""
    (queue,) = printed(run_cli("status", "--json"))["queues"]
    assert (queue["queue"], queue["states"]["sent"], queue["states"]["failed"]) == (
        "mailqueue",
        1,
        1,
    )
    assert queue["states"].keys() == {state.value for state in State}
    assert queue["totals"] == {"accepted": 2, "sent": 1, "failed": 1}
    text = run_cli("status").stdout
    assert re.search(r"^sent +1$", text, re.M)
    assert "queued" not in text


class Forwarded(EmailMessage):
    """Builds its message without its subject, which nobody can write."""

    def message(self, **options):
        return letter().message(**options)


def test_half_a_character_in_a_subject_can_be_shown(producer, run_cli):
    """Django's classes take one, where bytes of broken mail were decoded to text."""
    message = Forwarded("gr\udcfc", "A letter", "from@example.com", ["to@example.com"])
    message.send()
    (found,) = printed(run_cli("list", "--json"))
    assert found["subject"] == message.subject
    assert run_cli("show", message.mailqueue_id).returncode == 0


def test_status_needs_no_working_directory(fates, tmp_path):
    """It may have been removed, as that of an old release."""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$1" status --json', gone, MAILQUEUE],
        env={**os.environ, "MAILQUEUE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert not gone.exists()
    assert printed(done)["queues"][0]["states"]["sent"] == 1


def test_list_finds_by_state_address_and_domain(fates, run_cli):
    """Each option narrows the list; they can be combined."""
    sent, failed = fates
    assert {m["id"] for m in printed(run_cli("list", "--json"))} == {sent, failed}
    assert [m["id"] for m in printed(run_cli("list", "--state", "failed", "--json"))] == [failed]
    assert [m["id"] for m in printed(run_cli("list", "--to", "TO@", "--json"))] == [sent]
    assert [m["id"] for m in printed(run_cli("list", "--domain", "example.org", "--json"))] == [
        failed
    ]
    assert printed(run_cli("list", "--domain", "org", "--json")) == []
    assert printed(run_cli("list", "--state", "sent", "--to", "nobody", "--json")) == []
    both = ["--state", "failed", "--to", "nobody"]
    assert [m["id"] for m in printed(run_cli("list", *both, "--json"))] == [failed]
    assert len(printed(run_cli("list", "--limit", "1", "--json"))) == 1
    assert "550 5.1.1 no such user" in run_cli("list").stdout


def test_show_tells_all_about_one_message(fates, run_cli):
    """State, attempts, each recipient's reply, and the history."""
    _, failed = fates
    found = printed(run_cli("show", failed, "--json"))
    assert (found["state"], found["attempts"], found["subject"]) == ("failed", 1, "Gone")
    assert found["recipients"] == [
        {"address": "nobody@example.org", "state": "failed", "reply": "550 5.1.1 no such user"}
    ]
    (attempt,) = found["history"]
    assert (attempt["attempt"], attempt["state"]) == (1, "failed")
    assert attempt["reply"] == "550 5.1.1 no such user"
    text = run_cli("show", failed).stdout
    assert "nobody@example.org  failed  550 5.1.1 no such user" in text


def test_an_unknown_id_is_a_clear_error(fates, run_cli):
    """One line, no traceback, exit status 1."""
    result = run_cli("show", "nonsense")
    assert result.returncode == 1
    assert result.stderr == (
        "Error: there is no message 'nonsense'; `mailqueue list` shows those there are\n"
    )


def test_retry_sends_again_what_failed(fates, run_cli, start_worker, smtp_server):
    """The server has mended its ways, and the message arrives."""
    _, failed = fates
    assert printed(run_cli("retry", failed, "--json")) == {"retried": [failed]}
    worker = start_worker()
    wait_until(lambda: report.show(failed)["state"] == "sent", 20, worker.explain)
    assert report.show(failed)["attempts"] == 2
    assert [m.recipients for m in smtp_server.received][1:] == [["nobody@example.org"]]


def test_retry_says_what_it_could_not_do(fates, run_cli):
    """A sent message is never sent again; the others of the same command are."""
    sent, failed = fates
    result = run_cli("retry", sent, failed, "unknown")
    assert result.returncode == 1
    assert "1 queued again" in result.stdout
    assert sent in result.stderr
    assert "unknown" in result.stderr
    assert failed not in result.stderr
    assert states() == {sent: "sent", failed: "queued"}


@pytest.mark.parametrize("options", [["--all"], ["--domain", "example.org"]])
def test_retry_takes_many(options, fates, run_cli):
    """All that failed, or all that failed for a domain."""
    _, failed = fates
    assert printed(run_cli("retry", *options, "--json")) == {"retried": [failed]}


def test_retry_wants_to_know_what(producer, run_cli):
    """Nothing, or two ways at once, is a usage error."""
    assert run_cli("retry").returncode == 2
    assert run_cli("retry", "x", "--all").returncode == 2


@pytest.fixture
def waiting(producer) -> tuple[str, str]:
    """Two messages that wait, to example.com and to example.org, and no worker."""
    one, other = letter(), letter("nobody@example.org")
    get_connection().send_messages([one, other])
    return one.mailqueue_id, other.mailqueue_id


def states() -> dict[str, str]:
    return {message["id"]: message["state"] for message in report.find(report.Filter())}


def test_hold_keeps_messages_and_resume_sends_them(waiting, run_cli, start_worker, smtp_server):
    """A worker passes the held one over; once it is resumed, it goes like any other."""
    one, other = waiting
    assert printed(run_cli("hold", one, "--json")) == {"held": [one], "refused": []}
    worker = start_worker()
    wait_until(lambda: states() == {one: "held", other: "sent"}, 20, worker.explain)
    assert run_cli("resume", one).stdout == "1 resumed\n"
    wait_until(lambda: states() == {one: "sent", other: "sent"}, 20, worker.explain)
    assert len(smtp_server.received) == 2


@pytest.mark.parametrize(("command", "after"), [("hold", "held"), ("cancel", "cancelled")])
def test_a_command_given_twice_is_no_error(command, after, waiting, run_cli):
    """The second time nothing is changed, and all is as it was wanted."""
    one, other = waiting
    assert printed(run_cli(command, one, "--json"))[after] == [one]
    assert printed(run_cli(command, one, "--json")) == {after: [], "refused": []}
    assert states() == {one: after, other: "queued"}


@pytest.mark.parametrize("command", ["hold", "resume", "cancel", "discard"])
def test_a_command_says_what_it_could_not_do(command, fates, run_cli):
    """For which ids, and why: the state of each, or that there is no such message."""
    sent, _ = fates
    result = run_cli(command, sent, "unknown", "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["refused"] == [
        {"id": sent, "state": "sent"},
        {"id": "unknown", "state": None},
    ]
    assert f"{sent} (sent), unknown (no such message)" in result.stderr
    assert states()[sent] == "sent"


def test_cancelled_messages_are_never_sent(waiting, run_cli, start_worker, smtp_server):
    """The worker that starts afterwards finds nothing to do with them."""
    one, other = waiting
    assert printed(run_cli("cancel", one, "--json"))["cancelled"] == [one]
    worker = start_worker()
    wait_until(lambda: states() == {one: "cancelled", other: "sent"}, 20, worker.explain)
    assert smtp_server.rcpt_commands == ["nobody@example.org"]


def test_discard_removes_messages_for_good(fates, run_cli):
    """Those that failed, each and all; what was sent is not touched."""
    sent, failed = fates
    assert printed(run_cli("discard", failed, "--json")) == {"discarded": [failed], "refused": []}
    assert states() == {sent: "sent"}
    assert "there is no message" in run_cli("show", failed).stderr
    others = [failed_here(), failed_here()]
    discarded = printed(run_cli("discard", "--all", "--yes", "--json"))["discarded"]
    assert sorted(discarded) == sorted(others)
    assert states() == {sent: "sent"}


def failed_here() -> str:
    """The id of a message that failed, without a worker."""
    message = letter("nobody@example.org")
    message.send()
    journal = open_journal()
    (claim,), _ = journal.claim([(message.mailqueue_id, "")])
    assert journal.settle(claim, Settlement(State.FAILED, "550 5.1.1 no such user"))
    return message.mailqueue_id


@pytest.mark.parametrize("options", [["--all"], ["--domain", "example.org"]])
def test_commands_take_many(options, waiting, run_cli):
    """All that are in a state for it, or all of those for a domain."""
    one, other = waiting
    chosen = [other] if "--domain" in options else sorted(waiting)
    assert sorted(printed(run_cli("hold", *options, "--json"))["held"]) == chosen
    assert sorted(printed(run_cli("resume", *options, "--json"))["resumed"]) == chosen
    assert sorted(printed(run_cli("cancel", *options, "--yes", "--json"))["cancelled"]) == chosen
    assert states()[one] == ("queued" if "--domain" in options else "cancelled")


@pytest.mark.parametrize("command", [["cancel", "--all"], ["purge", "--all"]])
def test_what_can_not_be_undone_is_asked_first(command, waiting, run_cli):
    """Without an answer nothing happens."""
    before = states()
    result = run_cli(*command)
    assert result.returncode == 1
    assert "? [y/N]" in result.stderr
    assert states() == before


def test_purge_removes_records_that_are_old_enough(fates, run_cli):
    """By state and age, or all that have ended."""
    _, failed = fates
    old = run_cli("purge", "--state", "sent", "--older-than", "7d", "--json")
    assert printed(old) == {"sent": 0}
    assert run_cli("purge", "--older-than", "0s", "--state", "sent").stdout == (
        "1 records removed: 1 sent\n"
    )
    assert states() == {failed: "failed"}
    removed = printed(run_cli("purge", "--all", "--yes", "--json"))
    assert (removed["failed"], removed["sent"]) == (1, 0)
    assert states() == {}


def test_commands_want_to_know_what(producer, run_cli):
    """Nothing, or two ways at once, or what can't be read, is a usage error."""
    for command in ("hold", "resume", "cancel", "discard", "purge"):
        assert run_cli(command).returncode == 2
    assert run_cli("hold", "x", "--all").returncode == 2
    assert run_cli("resume", "x", "--mailer", "m").returncode == 2
    assert "there is no mailer 'm' that is left alone" in run_cli("resume", "--mailer", "m").stderr
    assert run_cli("purge", "--all", "--state", "sent").returncode == 2
    assert run_cli("purge", "--state", "queued").returncode == 2
    unread = run_cli("purge", "--older-than", "a week")
    assert (unread.returncode, "is not a duration" in unread.stderr) == (2, True)


def problems(result: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    assert result.returncode == 1
    return {part["name"]: part["problems"] for part in json.loads(result.stdout)["checks"]}


def test_check_looks_at_all_that_mail_needs(producer, run_cli, redis_url, smtp_server):
    """A line each, and exit status 0 when all is well."""
    result = run_cli("check")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"journal:  {redis_url}", "settings: the environment; DJANGO_SETTINGS_MODULE isn't set",
    ]  # fmt: skip
    settings_, spool, journal, warning, broker, workers, _none, mail_server = lines[2:]
    assert re.match(r"journal: +warning: broker and journal are one database", warning)
    assert workers.startswith("workers: ")
    assert settings_.startswith("settings:     ok, ")
    assert re.match(r"spool: +ok, /\S+/spool, ON_OUTAGE raise$", spool)
    assert re.match(r"journal: +ok, Valkey \S+ at redis://.*, DURABILITY default$", journal)
    assert re.match(r"broker: +ok, redis://", broker)
    assert re.match(rf"mail server: +ok, 127.0.0.1:{smtp_server.port}$", mail_server)
    assert smtp_server.sessions == 1
    assert printed(run_cli("check", "--json"))["ok"]


def test_check_tells_what_is_away(producer, run_cli, unused_port):
    """Each by itself, with the reason; the others are looked at all the same."""
    away = f"redis://:secret@127.0.0.1:{unused_port}/0"
    result = run_cli("check", "--json", MAILQUEUE_BROKER_URL=away, EMAIL_PORT=str(unused_port))
    found = problems(result)
    assert found["settings"] == []
    assert "can't be reached" in found["journal"][0]
    assert "refused" in found["broker"][0]
    assert "can't connect" in found["mail server"][0]
    assert "secret" not in result.stdout


def test_check_tells_what_is_not_safe(producer, run_cli, tmp_path):
    """A journal that evicts, or can't keep the durability that is asked for."""
    with Valkey(tmp_path / "unsafe", config={"maxmemory-policy": "allkeys-lru"}) as (server):
        url = server.url
        found = problems(
            run_cli("check", "--json", MAILQUEUE_JOURNAL_URL=url, MAILQUEUE_DURABILITY="fsync")
        )
    evicts, _not_kept, durability = found["journal"]
    assert "evict" in evicts
    assert "MAILQUEUE['DURABILITY'] = 'fsync'" in durability
    assert found["broker"] == found["mail server"] == []


def test_check_tells_that_the_spool_can_not_be_written(producer, run_cli, tmp_path):
    """Before an outage, and not in it."""
    (tmp_path / "file").touch()
    directory = str(tmp_path / "file" / "spool")
    found = problems(run_cli("check", "--json", MAILQUEUE_SPOOL_DIR=directory))
    assert f"{tmp_path / 'file'} is no directory" in found["spool"][0]


def test_check_tells_what_the_mail_server_can_not_do(producer, run_cli):
    """Encryption and login are tried as a worker would do it."""
    without_tls = problems(run_cli("check", "--json", EMAIL_USE_TLS="1"))["mail server"]
    assert "STARTTLS" in without_tls[0]
    login = {"EMAIL_HOST_USER": "ann", "EMAIL_HOST_PASSWORD": "secret"}
    result = run_cli("check", "--json", **login)
    assert "AUTH" in problems(result)["mail server"][0]
    assert "secret" not in result.stdout


@pytest.mark.parametrize(("name", "warns"), [("worker", True), ("mail.example.com", False)])
def test_check_warns_of_a_name_that_many_servers_refuse(name, warns, producer, run_cli):
    """The one at hand may take it until RCPT, so that all is well but for that."""
    result = run_cli("check", MAILQUEUE_EHLO_NAME=name)
    assert result.returncode == 0
    assert (f"warning: EHLO_NAME {name!r} has no dot" in result.stdout) == warns


def test_check_tells_which_mail_server_can_not_be_reached(producer, run_cli, unused_port):
    """Its address is what is wrong, as often as not."""
    found = problems(run_cli("check", "--json", EMAIL_PORT=str(unused_port)))["mail server"]
    assert f"127.0.0.1:{unused_port}: can't connect" in found[0]


def test_check_tells_a_setting_that_is_wrong(run_cli):
    """Then there is no use in looking at anything else."""
    result = run_cli("check", "--json", MAILQUEUE_RETRY="1 fortnight")
    (problem,) = problems(result)["settings"]
    assert "MAILQUEUE['RETRY'] = '1 fortnight'" in problem
    assert len(json.loads(result.stdout)["checks"]) == 1
    assert "names no setting" in run_cli("check", MAILQUEUE_RETRI="1m").stdout


def test_health_tells_by_its_exit_status(producer, run_cli, start_worker, unused_port):
    """0 with a worker, 1 without one, 2 without the journal; and it says what is wrong."""
    result = run_cli("health")
    assert (result.returncode, "no worker" in result.stdout) == (1, True)
    worker = start_worker()
    wait_until(lambda: run_cli("health").returncode == 0, 20, worker.explain)  # it has a timer
    found = printed(run_cli("health", "--json"))
    assert (found["ok"], found["verdict"], found["problems"]) == (True, "moving", [])
    away = run_cli("health", "--json", MAILQUEUE_BROKER_URL=f"redis://127.0.0.1:{unused_port}/0")
    assert away.returncode == 2
    assert "can't be reached" in json.loads(away.stdout)["problems"][0]
    assert json.loads(away.stdout)["verdict"] == "unknown"


def test_a_bad_setting_is_a_clear_error(run_cli):
    """The key, the value and where it comes from; no traceback."""
    result = run_cli("status", MAILQUEUE_RETRY="1 fortnight")
    assert result.returncode == 1
    assert result.stderr.startswith(
        "Error: MAILQUEUE['RETRY'] = '1 fortnight', from the environment"
    )
    assert "Traceback" not in result.stderr
    result = run_cli("status", MAILQUEUE_RETRI="1m")
    assert "the environment variable MAILQUEUE_RETRI names no setting" in result.stderr


def test_a_terminal_never_obeys_what_a_message_says(producer, run_cli):
    """Control characters in a subject are shown as such, not sent to the terminal."""
    message = letter(subject="\x1b[2Jgone")
    message.send()
    for shown in (run_cli("list").stdout, run_cli("show", message.mailqueue_id).stdout):
        assert "[2Jgone" in shown
        assert "\x1b" not in shown
