"""Mail through the queue: real Valkey, a real worker, a real SMTP server."""

from __future__ import annotations

import json
from collections import Counter
from email.message import MIMEPart
from email.mime.base import MIMEBase

import pytest
import redis

from mailqueue import EmailMultiAlternatives, get_connection
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.monitor import report
from mailqueue.queue import payload
from mailqueue.queue.journal import open_journal
from mailqueue.queue.publisher import publish
from tests.support import wait_until
from tests.system.letters import TASKS, fate, letter, wait_for_state

pytestmark = pytest.mark.usefixtures("producer")


def test_a_message_walks_through_every_step(start_worker, smtp_server, redis_url):
    """The table of steps in the README: each step leaves what the next one works on."""
    message = letter(subject="Grüße", cc=["cc@example.com"], bcc=["bcc@example.com"])
    # compose, route, serialize, journal, enqueue: send() returned
    assert message.send() == 1
    waiting = fate(message)
    assert (waiting["state"], waiting["attempts"], waiting["subject"]) == ("queued", 0, "Grüße")
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
    assert json.loads(task)["headers"]["task"] == "mailqueue.deliver"
    # claim, rebuild, deliver, decide, settle: a worker ran
    worker = start_worker()
    record = wait_for_state(message, "sent", worker)
    (received,) = smtp_server.received
    assert received.recipients == ["to@example.com", "cc@example.com", "bcc@example.com"]
    assert received.parsed["Subject"] == "Grüße"
    assert received.parsed["Bcc"] is None
    # watch: the fate of each recipient
    assert record["reply"] == "250 2.0.0 kept"
    assert [r["state"] for r in record["recipients"]] == ["sent"] * 3
    assert [(h["attempt"], h["state"], h["reply"]) for h in record["history"]] == [
        (1, "sent", "250 2.0.0 kept")
    ]


def test_what_was_accepted_without_a_worker_is_delivered_when_one_starts(start_worker, smtp_server):
    """The journal keeps it until somebody can send it."""
    messages = [letter(f"to{n}@example.com") for n in range(3)]
    assert get_connection().send_messages(messages) == 3
    assert smtp_server.received == []
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 3, 20, worker.explain)


def test_alternatives_images_and_attachments_arrive_as_they_were_composed(
    start_worker, smtp_server
):
    """What goes into the queue comes out of it: parts, types, names, Content-IDs and bytes."""
    message = EmailMultiAlternatives("Parts", "text", "from@example.com", ["to@example.com"])
    message.attach_alternative('<img src="cid:logo">', "text/html")
    image = MIMEPart()
    image.set_content(
        b"\x89PNG", maintype="image", subtype="png", disposition="inline", cid="<logo>"
    )
    message.attach(image)
    message.attach("bill.pdf", b"%PDF-1.4 \x00\xff", "application/pdf")
    message.attach("bill.pdf", b"another of that name", "application/pdf")
    message.attach("notes.txt", "Notizen: äöü\n", "text/plain")
    message.send()
    wait_for_state(message, "sent", start_worker())
    parts = {p.get_content_type(): p for p in smtp_server.received[0].parsed.walk()}
    assert parts["text/html"].get_content() == '<img src="cid:logo">\r\n'
    assert (parts["image/png"]["Content-ID"], parts["image/png"].get_content()) == (
        "<logo>",
        b"\x89PNG",
    )
    found = [
        (part.get_filename(), part.get_content())
        for part in smtp_server.received[0].parsed.walk()
        if part.get_filename()
    ]
    assert found == [
        ("bill.pdf", b"%PDF-1.4 \x00\xff"),
        ("bill.pdf", b"another of that name"),
        ("notes.txt", "Notizen: äöü\r\n"),
    ]


def test_every_attempt_sends_the_same_bytes(start_worker, smtp_server):
    """Message-ID and Date are fixed when the message is accepted; boundaries derive from its id."""
    message = EmailMultiAlternatives("Again", "text", "from@example.com", ["to@example.com"])
    message.attach_alternative("<p>html</p>", "text/html")
    message.send()
    kept: list[bytes] = []
    smtp_server.at_data = ["451 4.3.0 not now"]
    smtp_server.refused_content = kept
    wait_for_state(message, "sent", start_worker())
    assert len(kept) == 1
    assert kept == [smtp_server.received[0].content]


def test_a_temporary_refusal_is_tried_again(start_worker, smtp_server):
    """A 451 costs an attempt and is delivered by a later one."""
    smtp_server.replies = {"busy@example.com": ["451 4.7.1 later"]}
    message = letter("busy@example.com")
    message.send()
    record = wait_for_state(message, "sent", start_worker())
    assert [(h["state"], h["reply"]) for h in record["history"]] == [
        ("retrying", "451 4.7.1 later"),
        ("sent", "250 2.0.0 kept"),
    ]
    assert len(smtp_server.received) == 1


def test_a_permanent_refusal_is_never_tried_again(start_worker, smtp_server):
    """A 550 ends in failed after exactly one attempt, and the payload is kept."""
    smtp_server.replies = {"nobody@example.com": ["550 5.1.1 no such user"] * 5}
    message, other = letter("nobody@example.com"), letter("somebody@example.com")
    get_connection().send_messages([message, other])
    worker = start_worker()
    record = wait_for_state(message, "failed", worker)
    wait_for_state(other, "sent", worker)
    assert (record["attempts"], record["reply"]) == (1, "550 5.1.1 no such user")
    assert smtp_server.rcpt_commands.count("nobody@example.com") == 1
    kept = payload.loads(open_journal().payload(message.mailqueue_id))
    assert kept.body == message.body


def test_each_recipient_gets_what_its_own_reply_said(start_worker, smtp_server):
    """250, 450 and 550 in one message: served once, tried again alone, failed."""
    smtp_server.replies = {"later@example.com": ["450 busy"], "never@example.com": ["550 no"] * 5}
    message = letter(["now@example.com", "later@example.com", "never@example.com"])
    message.send()
    record = wait_for_state(message, "partial", start_worker())
    assert [m.recipients for m in smtp_server.received] == [
        ["now@example.com"],
        ["later@example.com"],
    ]
    assert {r["address"]: (r["state"], r["reply"]) for r in record["recipients"]} == {
        "now@example.com": ("sent", "250 2.0.0 kept"),
        "later@example.com": ("sent", "250 2.0.0 kept"),
        "never@example.com": ("failed", "550 no"),
    }
    assert Counter(smtp_server.rcpt_commands)["never@example.com"] == 1


def test_a_message_that_is_refused_for_ever_fails_when_its_schedule_ends(start_worker, smtp_server):
    """Three waits make four attempts; the last reply is on record."""
    smtp_server.replies = {"busy@example.com": ["451 4.7.1 later"] * 9}
    message = letter("busy@example.com")
    message.send()
    record = wait_for_state(message, "failed", start_worker())
    assert (record["attempts"], record["reply"]) == (4, "451 4.7.1 later")


def test_the_connection_is_kept_between_tasks(start_worker, smtp_server):
    """Several sends, several tasks, one SMTP session for each worker process."""
    worker = start_worker()
    for n in range(5):
        message = letter(f"to{n}@example.com")
        message.send()
        wait_for_state(message, "sent", worker)
    assert {m.session for m in smtp_server.received} == {1}


def test_a_connection_that_the_server_closed_costs_no_attempt(start_worker, smtp_server):
    """It is opened anew, and nobody notices."""
    worker = start_worker()
    first, second = letter("a@example.com"), letter("b@example.com")
    first.send()
    wait_for_state(first, "sent", worker)
    smtp_server.close_sessions()
    second.send()
    record = wait_for_state(second, "sent", worker)
    assert record["attempts"] == 1
    assert [m.session for m in smtp_server.received] == [1, 2]


FIELDS = {
    "v": 1, "id": "x", "kind": "EmailMessage", "subject": "s", "body": "b", "from_email": "a@x",
    "to": ["b@x"], "cc": [], "bcc": [], "reply_to": [], "headers": {}, "encoding": None,
    "content_subtype": "plain", "mixed_subtype": "mixed", "attachments": [], "attributes": {},
}  # fmt: skip


ATTACHED = {"filename": "a", "mimetype": None}


RUBBISH = {
    "nothing": "",
    "truncated": json.dumps(FIELDS)[:-20],
    "no object": "[1]",
    "another program's": '{"task": "resize", "args": [1]}',
    "a later version": json.dumps(FIELDS | {"v": 99}),
    "too little": '{"v": 1, "id": "x"}',
    "unknown kind": json.dumps(FIELDS | {"kind": "Postcard"}),
    "wrong types": json.dumps(FIELDS | {"attachments": 17}),
    "a string for a list": json.dumps(FIELDS | {"to": "b@x"}),
    "too deep": json.dumps(FIELDS)[:-2] + '"a": ' + "[" * 10_000 + "]" * 10_000 + "}}",
    "too little base64": json.dumps(FIELDS | {"attachments": [ATTACHED | {"base64": "A"}]}),
    "not zlib": '{"v": 1, "id": "x", "zlib": "AAAA"}',
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_an_unreadable_payload_fails_with_its_bytes_kept(rubbish, start_worker, smtp_server):
    """It says why, and the rest of the batch is sent."""
    from mailqueue.queue.journal import Entry

    summary = {"subject": "", "from": "", "to": []}
    open_journal().accept([Entry("rubbish", rubbish, "digest", summary)])
    publish("mailqueue", [("rubbish", "")])
    message = letter()
    message.send()
    worker = start_worker()
    wait_for_state(message, "sent", worker)
    found = report.show("rubbish")
    assert found["state"] == "failed"
    assert "payload" in found["reply"]
    assert open_journal().payload("rubbish") == rubbish


def test_rendering_follows_from_the_id():
    """The same id gives the same boundaries, another id gives others."""
    message = EmailMultiAlternatives("s", "b", "a@example.com", ["b@example.com"])
    message.extra_headers = {"Message-ID": "<x@y>", "Date": "Thu, 01 Jan 1970 00:00:00 +0000"}
    message.attach_alternative("<p>", "text/html")
    assert rendered_bytes(message, "1") == rendered_bytes(message, "1")
    assert rendered_bytes(message, "1") != rendered_bytes(message, "2")


def test_a_legacy_mime_part_survives(start_worker, smtp_server):
    """MIMEBase attachments keep all their headers."""
    part = MIMEBase("text", "calendar", method="REQUEST")
    part.set_payload("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
    part["X-Note"] = "kept"
    message = letter()
    with pytest.warns(DeprecationWarning, match="MIMEBase"):
        message.attach(part)
    message.send()
    wait_for_state(message, "sent", start_worker())
    found = [p for p in smtp_server.received[0].parsed.walk() if p["X-Note"] == "kept"]
    assert [(p.get_content_type(), p.get_param("method")) for p in found] == [
        ("text/calendar", "REQUEST")
    ]


def test_an_address_that_is_not_ascii_arrives_over_smtputf8(start_worker, smtp_server):
    """A local part in UTF-8 goes through; a domain is written in ASCII (RFC 6531, RFC 5891)."""
    message = letter("jörg@bücher.example", subject="Für Jörg")
    message.send()
    wait_for_state(message, "sent", start_worker())
    (received,) = smtp_server.received
    assert received.recipients == ["jörg@xn--bcher-kva.example"]
    assert received.parsed["Subject"] == "Für Jörg"


def test_a_mailbox_that_is_named_twice_gets_one_copy(start_worker, smtp_server):
    """With a name in To and without in Cc, refused for now: tried again and delivered once."""
    message = letter(["Ann <ann@bücher.example>"], cc=["ann@xn--bcher-kva.example"])
    message.send()
    smtp_server.replies["ann@xn--bcher-kva.example"] = ["450 4.2.0 later"]
    record = wait_for_state(message, "sent", start_worker())
    assert record["attempts"] == 2
    assert [r["state"] for r in record["recipients"]] == ["sent", "sent"]
    (received,) = smtp_server.received
    assert received.recipients == ["ann@xn--bcher-kva.example"]


def test_a_record_that_is_no_text_fails_alone(start_worker, smtp_server, redis_url, run_cli):
    """Damaged bytes in one record hold up no other, and hide no other from operators."""
    messages = [letter(subject=str(number)) for number in range(10)]
    get_connection().send_messages(messages)
    in_payload, in_summary = messages[5].mailqueue_id, messages[6].mailqueue_id
    key = "mailqueue:{mailqueue}:message:"
    with redis.Redis.from_url(redis_url) as server:
        server.delete(TASKS)  # the timer finds all of them
        server.hset(key + in_payload, "payload", b"\xff\xfe")
        server.hset(key + in_payload, "results", b"\xff\xfe")
        server.hset(key + in_summary, "summary", b'{"subject": "\xff"}')
        listed = run_cli("list")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert all(message.mailqueue_id in listed.stdout for message in messages)
        worker = start_worker()
        wait_for_state(messages[5], "failed", worker)
        wait_until(lambda: len(smtp_server.received) == 9, 20, worker.explain)
        assert server.hget(key + in_payload, "payload") == b"\xff\xfe"
    assert "the payload can't be read" in fate(messages[5])["reply"]
    assert fate(messages[6])["subject"] == "(unreadable)"
    assert fate(messages[6])["state"] == "sent"
    for id_ in (in_payload, in_summary):
        assert run_cli("show", id_).returncode == run_cli("show", id_, "--json").returncode == 0


def test_a_time_that_no_calendar_has_is_listed(redis_url, run_cli):
    """One such record hides no other."""
    message = letter()
    message.send()
    with redis.Redis.from_url(redis_url) as server:
        key = f"mailqueue:{{mailqueue}}:message:{message.mailqueue_id}"
        server.hset(key, mapping={"due": 253402300800000, "created": b"\xff"})
    assert message.mailqueue_id in run_cli("list").stdout
    assert fate(message)["due"].startswith("9999-12-31")
