"""Mail through the queue: real Valkey, a real worker, a real SMTP server."""

from __future__ import annotations

import json
import tracemalloc
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import MIMEPart
from email.mime.base import MIMEBase

import pytest
import redis

from mailqueue import EmailMessage, EmailMultiAlternatives, get_connection, send_mail
from mailqueue.connection import close_connections
from mailqueue.errors import ImproperlyConfigured, PayloadError
from mailqueue.journal import Due, State, now_on, open_journal
from mailqueue.monitor import report
from mailqueue.publisher import publish, publish_due
from mailqueue.rendering import rendered_bytes
from mailqueue.tasks import deliver
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
# Where kombu keeps tasks of normal priority.
TASKS = "mailqueue\x06\x163"


def fate(message) -> dict:
    return report.show(message.mailqueue_id)


def wait_for_state(message, state: str, worker) -> dict:
    wait_until(lambda: fate(message)["state"] == state, 20, worker.explain)
    return fate(message)


def letter(to="to@example.com", **changes) -> EmailMessage:
    values = {"subject": "Hello", "body": "A letter", "from_email": "from@example.com"}
    return EmailMessage(**{**values, "to": [to] if isinstance(to, str) else to, **changes})


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


def test_a_message_id_can_be_asked_for_while_nothing_was_sent(smtp_server):
    """`mailqueue_id` is set when `send()` returns."""
    message = letter()
    assert message.send() == 1
    assert fate(message)["state"] == "queued"
    assert smtp_server.received == []


def test_a_message_without_recipients_is_passed_over():
    """As with Django's backends, it counts as not sent, and nothing is accepted."""
    assert get_connection().send_messages([letter([])]) == 0
    assert get_connection().send_messages([]) == 0
    assert report.find(report.Filter()) == []


class Filtered(EmailMessage):
    """Says who gets it by something that can be read once."""

    def recipients(self):
        return filter(None, self.to)


def test_recipients_that_can_be_read_once_are_all_on_record():
    """And one that is for nobody is passed over."""
    message = Filtered("Hello", "A letter", "from@example.com", ["to@example.com"])
    assert get_connection().send_messages([message, Filtered("For nobody")]) == 1
    assert [found["address"] for found in fate(message)["recipients"]] == message.to


def test_a_wrong_setting_is_an_error_before_anything_is_accepted(monkeypatch):
    """However many messages there are."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "many")
    for number in (1, 50, 250):
        with pytest.raises(ImproperlyConfigured, match="BATCH_SIZE"):
            get_connection().send_messages([letter() for _ in range(number)])
    monkeypatch.delenv("MAILQUEUE_BATCH_SIZE")
    assert open_journal().totals() == {}


def test_sending_an_object_twice_sends_two_messages(start_worker, smtp_server):
    """As with Django's backends; each has its own id."""
    message = letter()
    message.send()
    first = message.mailqueue_id
    message.send()
    assert message.mailqueue_id != first
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 2, 20, worker.explain)


def test_one_bad_message_in_a_list_is_an_error_before_anything_is_accepted():
    """A newline in a header is the caller's to mend, and nothing was queued."""
    bad = letter(subject="Hello\nBcc: everybody@example.com")
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        get_connection().send_messages([letter(), bad, letter()])
    assert report.find(report.Filter()) == []


def test_credentials_do_not_travel(redis_url, monkeypatch):
    """Neither the password in the settings nor one in the arguments gets into the broker."""
    monkeypatch.setenv("EMAIL_HOST_USER", "me")
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "secret-of-mine")
    letter().send()
    with redis.Redis.from_url(redis_url) as server:
        for key in server.scan_iter():
            assert b"secret-of-mine" not in (server.dump(key) or b"")
    with pytest.raises(Exception, match="EMAIL_HOST_USER") as caught:
        send_mail(
            "s", "b", None, ["to@example.com"], auth_user="me", auth_password="secret-of-mine"
        )
    assert "secret-of-mine" not in str(caught.value)


def test_tasks_show_counts_and_ids_and_never_content(redis_url):
    """What Celery's events, Flower and logs show of a task holds nothing of the message."""
    letter(subject="Private", body="Confidential").send()
    with redis.Redis.from_url(redis_url) as broker:
        headers = json.loads(broker.lindex(TASKS, 0))["headers"]
    shown = headers["argsrepr"] + headers["kwargsrepr"]
    assert "messages: 1" in shown
    assert "Private" not in shown
    assert "Confidential" not in shown
    assert (headers["eta"], headers["expires"], headers["retries"]) == (None, None, 0)


@pytest.mark.parametrize(("limit", "inline"), [("0", [False, False]), ("1KiB", [True, False])])
def test_payloads_travel_in_tasks_up_to_a_limit(
    limit, inline, start_worker, smtp_server, redis_url, monkeypatch
):
    """Beyond it, and by default, a task names a message, and the journal hands it out."""
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", limit)
    long = "".join(f"{n * n} is the square of {n}.\r\n" for n in range(1000))
    get_connection().send_messages([letter(), letter(body=long)])
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
    _, given, _ = json.loads(b64decode(json.loads(task)["body"]))
    assert ["payload" in named for named in given["messages"]] == inline
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 2, 20, worker.explain)
    bodies = [received.parsed.get_content().strip() for received in smtp_server.received]
    assert bodies == ["A letter", long.strip()]


@pytest.mark.parametrize(("limit", "compression"), [("0", None), ("2KiB", "zlib")])
def test_tasks_that_carry_much_text_are_compressed(limit, compression, redis_url, monkeypatch):
    """Those that only name messages aren't: there is nothing to be gained."""
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", limit)
    get_connection().send_messages([letter() for _ in range(20)])
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
    headers = json.loads(task)["headers"]
    assert headers.get("compression") == (compression and "application/x-gzip")


def test_unreadable_and_forged_tasks_do_no_harm(start_worker, smtp_server, redis_url):
    """Unknown ids are passed over, a forged payload is not sent, and the worker lives on."""
    from mailqueue.publisher import publish

    message = letter(subject="The real one")
    forged = letter(subject="Forged")
    from mailqueue import payload

    message.send()
    text = payload.dumps(forged, message.mailqueue_id)
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(TASKS)
    publish("mailqueue", [(message.mailqueue_id, text), ("unknown", text)])
    publish("mailqueue", [(message.mailqueue_id, text)])
    worker = start_worker()
    wait_for_state(message, "sent", worker)
    last = letter(subject="The last one")
    last.send()
    wait_for_state(last, "sent", worker)
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["The real one", "The last one"]


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
    from mailqueue.journal import Entry, open_journal
    from mailqueue.publisher import publish

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


def test_a_loop_of_sends_costs_a_task_for_many(start_worker, smtp_server, redis_url):
    """Those after the first join the task that waits, which takes them along."""
    addresses = [f"to{n}@example.com" for n in range(300)]
    for address in addresses:
        assert letter(address).send() == 1
    with redis.Redis.from_url(redis_url) as broker:
        # One for each 250, and one for each second that this took.
        assert 2 <= broker.llen(TASKS) <= 30
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) >= 300, 30, worker.explain)
    assert sorted(m.recipients[0] for m in smtp_server.received) == sorted(addresses)


@pytest.mark.parametrize(("due", "each"), [(5, 5), (100, 10), (480, 30), (1000, 63)])
def test_what_is_due_at_once_is_shared_by_many_tasks(due, each, redis_url):
    """Such as what slow tasks have left: one worker would have all of it, and others nothing."""
    ids = [f"m{n}" for n in range(due)]
    assert publish_due("mailqueue", [Due(id_, "normal", False) for id_ in ids]) == []
    with redis.Redis.from_url(redis_url) as broker:
        tasks = [b64decode(json.loads(task)["body"]) for task in broker.lrange(TASKS, 0, -1)]
    named = [[message["id"] for message in json.loads(task)[1]["messages"]] for task in tasks]
    assert sorted(id_ for task in named for id_ in task) == sorted(ids)
    assert max(map(len, named)) == each
    assert len(named) <= 16


def test_inline_is_what_takes_so_many_bytes(redis_url, monkeypatch):
    """Whatever script it is written in."""
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", "2000")
    assert publish("mailqueue", [("m", "\u4e2d" * 666), ("n", "\u4e2d" * 667)])
    with redis.Redis.from_url(redis_url) as broker:
        (task,) = broker.lrange(TASKS, 0, -1)
    messages = json.loads(b64decode(json.loads(task)["body"]))[1]["messages"]
    assert messages == [{"id": "m", "payload": "\u4e2d" * 666}, {"id": "n"}]


@pytest.fixture
def here(smtp_server, monkeypatch) -> Iterator[None]:
    """Tasks are run in this process, with that server to deliver to."""
    monkeypatch.setenv("EMAIL_HOST", "127.0.0.1")
    monkeypatch.setenv("EMAIL_PORT", str(smtp_server.port))
    yield
    close_connections()


def test_what_is_left_when_a_task_is_full_gets_another(here, smtp_server, redis_url, monkeypatch):
    """A task ends when it has delivered BATCH_SIZE messages, and publishes one for the rest."""
    messages = [letter(f"to{n}@example.com") for n in range(7)]
    for message in messages:
        assert message.send() == 1
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "4")
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen(TASKS) == 1  # it names the first message
        assert deliver("mailqueue", [{"id": messages[0].mailqueue_id}]) == {"sent": 4}
        assert broker.llen(TASKS) == 2
        assert deliver("mailqueue", []) == {"sent": 3}
        assert broker.llen(TASKS) == 2
        assert deliver("mailqueue", []) == {}
    assert [m.recipients[0] for m in smtp_server.received] == [m.to[0] for m in messages]


def test_what_is_left_to_a_task_that_waits_gets_no_other(here, redis_url, monkeypatch):
    """That one takes it, as it takes what joins it."""
    for n in range(7):
        assert letter(f"to{n}@example.com").send() == 1
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "4")
    assert deliver("mailqueue", []) == {"sent": 4}  # not that which was published
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen(TASKS) == 1


@pytest.mark.parametrize("slow", [2, 3, 4, 5, 11])
def test_a_slow_server_lets_no_claim_run_out(slow, here, smtp_server, monkeypatch):
    """Whatever a worker has claimed it keeps while it waits, however long that takes."""
    monkeypatch.setenv("MAILQUEUE_LEASE", "2")
    replies, released = [], []

    def outlast_all_leases() -> None:
        replies.append(1)
        if len(replies) == slow:
            journal = open_journal()
            claimed = journal.read(list(journal.ids(State.SENDING)))
            ends = max(record.due for record in claimed)
            wait_until(lambda: now_on(journal._client) > ends, 10)
            released.extend(journal.release())

    smtp_server.before_reply = outlast_all_leases
    messages = [letter(f"to{n}@example.com") for n in range(20)]
    get_connection().send_messages(messages)
    assert deliver("mailqueue", [{"id": m.mailqueue_id} for m in messages]) == {"sent": 20}
    assert released == []


def test_one_connection_to_the_journal_is_enough(here, smtp_server, redis_url, monkeypatch):
    """Where its URL allows no more, nothing is asked for ahead."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", f"{redis_url}?max_connections=1")
    messages = [letter(f"to{n}@example.com") for n in range(20)]
    get_connection().send_messages(messages)
    assert deliver("mailqueue", [{"id": m.mailqueue_id} for m in messages]) == {"sent": 20}


@pytest.mark.parametrize("accepted", range(2, 12, 3))
@pytest.mark.parametrize("joined", [False, True])
def test_what_was_claimed_ahead_goes_back(accepted, joined, here, smtp_server):
    """Also what the journal was asked for when the server got into trouble, and hadn't told yet."""
    messages = [letter(f"to{n}@example.com") for n in range(30)]
    for number, message in enumerate(messages[1:] if joined else messages):
        smtp_server.replies[message.to[0]] = ["421 4.3.2 down"] * 9 if number == accepted else []
    if joined:
        for message in messages:
            message.send()
        named = messages[:1]
    else:
        get_connection().send_messages(messages)
        named = messages
    deliver("mailqueue", [{"id": message.mailqueue_id} for message in named])
    counts = {state: count for state, count in open_journal().counts().items() if count}
    sent = counts.pop("sent")
    assert accepted <= sent < 30
    assert counts.keys() <= {"queued", "retrying"}
    assert sum(counts.values()) == 30 - sent


def test_priority_decides_which_waiting_message_goes_first(start_worker, smtp_server):
    """High before normal before low, whatever the order in which they were sent."""
    for priority in ["low", "normal", "high"]:
        message = letter(subject=priority)
        message.priority = priority
        message.send()
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 3, 20, worker.explain)
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["high", "normal", "low"]


def test_a_message_to_be_sent_later_is_sent_then_and_not_before(start_worker, smtp_server):
    """`send_at` holds it back, without any task in the broker."""
    message, other = letter(subject="later"), letter(subject="now")
    at = datetime.now(UTC) + timedelta(seconds=4)
    message.send_at = at
    get_connection().send_messages([message, other])
    assert fate(message)["state"] == "scheduled"
    worker = start_worker()
    wait_for_state(message, "sent", worker)
    assert datetime.now(UTC) >= at
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["now", "later"]


def test_a_message_that_is_late_expires(start_worker, smtp_server):
    """A code that is of no use any more is not sent."""
    message, other = letter(subject="late"), letter(subject="other")
    message.expires_at = datetime.now(UTC) + timedelta(milliseconds=10)
    get_connection().send_messages([message, other])
    wait_until(lambda: datetime.now(UTC) > message.expires_at, 5)
    worker = start_worker()
    wait_for_state(message, "expired", worker)
    wait_for_state(other, "sent", worker)
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["other"]


def test_a_message_may_name_its_queue(start_worker, smtp_server):
    """A worker of that queue delivers it; those of others don't."""
    message = letter()
    message.queue = "urgent"
    message.send()
    assert fate(message)["queue"] == "urgent"
    wait_for_state(message, "sent", start_worker("-Q", "urgent"))


def test_an_idempotency_key_makes_one_message_of_two(start_worker, smtp_server):
    """The second is accepted as the first, and has its id."""
    first, second = letter(subject="one"), letter(subject="two")
    first.idempotency_key = second.idempotency_key = "order 17"
    assert [first.send(), second.send()] == [1, 1]
    assert first.mailqueue_id == second.mailqueue_id
    wait_for_state(first, "sent", start_worker())
    assert [m.parsed["Subject"] for m in smtp_server.received] == ["one"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("send_at", "tomorrow"), ("expires_at", True), ("priority", "urgent"), ("queue", "a b"),
     ("idempotency_key", ""), ("idempotency_key", 17)],
)  # fmt: skip
def test_a_wrong_option_is_an_error_that_names_it(name, value):
    """Nothing is accepted."""
    message = letter()
    setattr(message, name, value)
    with pytest.raises(ValueError, match=f"the message's {name} = {value!r}"):
        message.send()
    assert report.find(report.Filter()) == []


@pytest.mark.parametrize("name", ["send_at", "expires_at"])
def test_a_time_beyond_all_calendars_is_refused(name):
    """It would come back from the journal as a time in the year 10000."""
    message = letter()
    setattr(message, name, datetime.max.replace(tzinfo=UTC))
    with pytest.raises(PayloadError, match=f"the message's {name} = .* year 9998"):
        message.send()
    assert report.find(report.Filter()) == []


def test_what_expired_before_1970_is_expired(start_worker, smtp_server):
    """A time that is long past isn't taken for none."""
    message = letter()
    message.expires_at = 0
    message.send()
    wait_for_state(message, "expired", start_worker())


LARGE = bytes(range(256)) * 1024  # 256 KiB


def test_a_large_attachment_is_stored_once_and_arrives_with_every_message(
    start_worker, smtp_server, redis_url
):
    """However many carry it; neither tasks nor payloads hold it, and at the end it is gone."""
    messages = [letter(f"to{n}@example.com") for n in range(20)]
    for message in messages:
        message.attach("brochure.bin", LARGE, "application/octet-stream")
    get_connection().send_messages(messages)
    with redis.Redis.from_url(redis_url) as server:
        (blob,) = server.scan_iter("*:blob:*")
        assert server.memory_usage(blob) < 2 * len(LARGE)
        rest = sum(server.memory_usage(key) for key in server.scan_iter() if key != blob)
        assert rest < len(LARGE)
        worker = start_worker()
        wait_until(lambda: len(smtp_server.received) == 20, 20, worker.explain)
        wait_until(lambda: fate(messages[-1])["state"] == "sent", 5)
        assert list(server.scan_iter("*:blob*")) == []
    for received in smtp_server.received:
        (part,) = received.parsed.iter_attachments()
        assert (part.get_filename(), part.get_content()) == ("brochure.bin", LARGE)


@pytest.mark.parametrize(("change", "reason"), [("gone", "is gone"), ("damaged", "is damaged")])
def test_an_attachment_that_is_not_as_it_was_fails_its_message(
    change, reason, start_worker, smtp_server, redis_url
):
    """The reason is on record, and the rest of the batch is sent."""
    message, other = letter(), letter()
    message.attach("brochure.bin", LARGE, "application/octet-stream")
    get_connection().send_messages([message, other])
    with redis.Redis.from_url(redis_url) as server:
        (blob,) = server.scan_iter("*:blob:*")
        server.delete(blob) if change == "gone" else server.set(blob, "something else")
    worker = start_worker()
    assert reason in wait_for_state(message, "failed", worker)["reply"]
    wait_for_state(other, "sent", worker)


def test_a_message_that_is_too_large_is_an_error_that_says_so(monkeypatch):
    """Measured as it lies in the queue, attachments included."""
    monkeypatch.setenv("MAILQUEUE_MAX_MESSAGE_SIZE", "100KiB")
    message = letter()
    message.attach("brochure.bin", LARGE, "application/octet-stream")
    with pytest.raises(ValueError, match=r"MAILQUEUE\['MAX_MESSAGE_SIZE'\] is 102400"):
        message.send()
    assert report.find(report.Filter()) == []


def test_any_number_of_messages_passes_through_from_a_generator(redis_url):
    """They are accepted in portions while they are made: five of 100, 125, 156, 195, and so on."""
    accepted_before_last: list[int] = []

    def letters():
        for n in range(1200):
            if n == 1199:
                accepted_before_last.append(report.status()["queues"][0]["totals"]["accepted"])
            yield letter(f"to{n}@example.com")

    assert get_connection().send_messages(letters()) == 1200
    assert accepted_before_last == [976]


def test_an_attachment_that_changes_between_two_messages_is_each_ones_own(
    start_worker, smtp_server
):
    """A generator may use one object again and again: each message has what it held by then."""
    part, buffer = MIMEPart(), bytearray()

    def letters() -> Iterator[EmailMessage]:
        for name in "ABC":
            part.set_content(name.encode() * 50_000, "application", "octet-stream")
            buffer[:] = name.lower().encode() * 50_000
            message = letter(subject=name)
            message.attachments = [part, ("file", buffer, "application/octet-stream")]
            yield message

    assert get_connection().send_messages(letters()) == 3
    worker = start_worker()
    wait_until(lambda: len(smtp_server.received) == 3, 20, worker.explain)
    for received in smtp_server.received:
        parts = [part.get_content() for part in received.parsed.iter_attachments()]
        name = received.parsed["Subject"].encode()
        assert parts == [name * 50_000, name.lower() * 50_000]


def file_of_its_own(message: EmailMessage, number: int) -> None:
    message.attach("file", bytes(range(256)) * 8192, "application/octet-stream")  # 2 MiB


def html_of_its_own(message: EmailMessage, number: int) -> None:
    message.body = f"<p>Hello</p>{number}" * 150_000  # 2 MB


@pytest.mark.parametrize("fill", [file_of_its_own, html_of_its_own])
def test_a_generator_of_large_messages_takes_bounded_memory(fill):
    """Also where the journal stores them once, or compressed: the message objects hold them."""

    def letters() -> Iterator[EmailMessage]:
        for number in range(100):
            message = letter()
            fill(message, number)
            yield message

    tracemalloc.start()
    try:
        assert get_connection().send_messages(letters()) == 100
        assert tracemalloc.get_traced_memory()[1] < 100 * 1024**2
    finally:
        tracemalloc.stop()


def test_a_record_that_is_no_text_fails_alone(start_worker, smtp_server, redis_url, run_cli):
    """Damaged bytes in one record hold up no other, and hide no other from operators."""
    messages = [letter(subject=str(number)) for number in range(10)]
    get_connection().send_messages(messages)
    in_payload, in_summary = messages[5].mailqueue_id, messages[6].mailqueue_id
    key = "mailqueue:{mailqueue}:message:"
    with redis.Redis.from_url(redis_url) as server:
        server.delete(TASKS)  # the tasks, which have the payloads inline
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
