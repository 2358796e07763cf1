"""Celery tasks: what they carry, how many there are, and what one delivers."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator

import pytest
import redis

from mailqueue import get_connection, send_mail
from mailqueue.delivery import executor
from mailqueue.delivery.opening import close_connections
from mailqueue.queue import payload
from mailqueue.queue.journal import Due, open_journal
from mailqueue.queue.publisher import publish, publish_due
from mailqueue.tasks import deliver
from tests.line import wait_until_renewed
from tests.support import wait_until
from tests.system.letters import TASKS, letter, wait_for_state

pytestmark = pytest.mark.usefixtures("producer")


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


def test_unreadable_and_forged_tasks_do_no_harm(start_worker, smtp_server, redis_url, monkeypatch):
    """Unknown ids are passed over, a forged payload is not sent, and the worker lives on."""
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", "64KiB")
    messages = [letter(subject=f"The real one {n}") for n in range(2)]
    get_connection().send_messages(messages)
    readable, unreadable = (message.mailqueue_id for message in messages)
    text = payload.dumps(letter(subject="Forged"), readable)
    with redis.Redis.from_url(redis_url) as broker:
        broker.delete(TASKS)
        forgeries = {"unknown": text, readable: text, unreadable: "{}"}
        assert publish("mailqueue", list(forgeries.items()))
        (task,) = broker.lrange(TASKS, 0, -1)
    _, given, _ = json.loads(b64decode(json.loads(task)["body"]))
    assert given["messages"] == [{"id": id_, "payload": text} for id_, text in forgeries.items()]
    worker = start_worker()
    for message in messages:
        wait_for_state(message, "sent", worker)
    last = letter(subject="The last one")
    last.send()
    wait_for_state(last, "sent", worker)
    subjects = [m.parsed["Subject"] for m in smtp_server.received]
    assert subjects == ["The real one 0", "The real one 1", "The last one"]


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
def test_a_slow_server_lets_no_claim_run_out(slow, here, smtp_server):
    """Whatever a worker has claimed it keeps while it waits, however long that takes."""
    replies, renewed = [], []

    def wait_until_all_are_renewed() -> None:
        replies.append(1)
        if len(replies) == slow:
            renewed.extend(wait_until_renewed())

    smtp_server.before_reply = wait_until_all_are_renewed
    messages = [letter(f"to{n}@example.com") for n in range(20)]
    get_connection().send_messages(messages)
    assert deliver("mailqueue", [{"id": m.mailqueue_id} for m in messages]) == {"sent": 20}
    assert renewed


def test_one_connection_to_the_journal_is_enough(here, smtp_server, redis_url, monkeypatch):
    """Where its URL allows no more, messages are delivered all the same, before leases end."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", f"{redis_url}?max_connections=1")
    # Leases are renewed once a second, by another thread, which would want the connection too.
    monkeypatch.setattr(executor.housekeeper, "add", lambda _duty: None)
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
