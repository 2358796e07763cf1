"""Encryption at rest: what broker and journal hold when `SECRET_KEYS` are set."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode

import pytest
import redis
from cryptography.fernet import Fernet

from mailqueue import EmailMessage, get_connection
from mailqueue.errors import ImproperlyConfigured, PayloadError
from mailqueue.monitor import control, report
from mailqueue.queue.journal import open_journal
from mailqueue.store.sealing import KeyMissing, Sealer
from tests.support import wait_until

FIRST, SECOND = "A" * 43 + "=", "B" * 42 + "A="
LARGE = b"a confidential brochure" * 10_000


@pytest.fixture(autouse=True)
def keys(producer, monkeypatch) -> None:
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", FIRST)


def letter(to: str = "somebody@example.com") -> EmailMessage:
    message = EmailMessage("Your diagnosis", "It is a cold.", "doctor@example.com", [to])
    message.attach("brochure.txt", LARGE.decode(), "text/plain")
    return message


def everything_in(redis_url: str) -> bytes:
    """All keys and values of the server, as they are dumped."""
    with redis.Redis.from_url(redis_url) as server:
        found = []
        for key in server.scan_iter():
            kind = server.type(key)
            found.append(key)
            if kind == b"hash":
                found += [part for pair in server.hgetall(key).items() for part in pair]
            elif kind == b"string":
                found.append(server.get(key))
            elif kind == b"list":
                items = server.lrange(key, 0, -1)
                found += items if b":joined:" in key else map(task_body, items)
            elif kind == b"zset":
                found += server.zrange(key, 0, -1)
            elif kind == b"set":
                found += server.smembers(key)
        return b"\n".join(found)


def task_body(task: bytes) -> bytes:
    """A task with its body, which kombu writes in base64, made readable."""
    found = json.loads(task)
    body = b64decode(found["body"])
    return task + (zlib.decompress(body) if found["headers"].get("compression") else body)


def test_nothing_readable_lies_in_broker_and_journal(
    redis_url, start_worker, smtp_server, monkeypatch
):
    """Neither content nor addresses nor passwords, while it waits and after it was refused."""
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "password-of-mine")
    monkeypatch.setenv("MAILQUEUE_INLINE_LIMIT", "64KiB")  # tasks carry messages, too
    smtp_server.replies = {"nobody@example.com": ["550 no nobody@example.com here"]}
    refused, sent = letter("nobody@example.com"), letter()
    sent.idempotency_key = "patient 4711"
    get_connection().send_messages([refused, sent])
    secrets = [b"password-of-mine", b"example.com", b"diagnosis", b"a cold", b"confidential"]
    secrets += [b"patient 4711"]
    waiting = everything_in(redis_url)
    assert b"sealed:" in waiting
    assert [secret for secret in secrets if secret in waiting] == []
    worker = start_worker(MAILQUEUE_SECRET_KEYS=FIRST)
    wait_until(lambda: fate(refused)["state"] == "failed", 20, worker.explain)
    wait_until(lambda: fate(sent)["state"] == "sent", 20, worker.explain)
    ended = everything_in(redis_url)
    assert [secret for secret in secrets if secret in ended] == []
    assert fate(refused)["reply"] == "550 no nobody@example.com here"
    assert fate(refused)["history"][0]["reply"] == "550 no nobody@example.com here"
    assert fate(sent)["subject"] == "Your diagnosis"
    (part,) = smtp_server.received[0].parsed.iter_attachments()
    assert part.get_content().strip().encode() == LARGE
    assert control.retry([refused.mailqueue_id]) == [refused.mailqueue_id]


def fate(message: EmailMessage) -> dict:
    return report.show(message.mailqueue_id)


def test_a_key_may_be_replaced(start_worker, smtp_server, monkeypatch):
    """What was sealed with the old one is read as long as that stands behind the new one."""
    message = letter()
    message.send()
    worker = start_worker(MAILQUEUE_SECRET_KEYS=f"{SECOND},{FIRST}")
    wait_until(lambda: len(smtp_server.received) == 1, 20, worker.explain)


def test_a_message_whose_key_is_missing_waits(start_worker, smtp_server, run_cli):
    """Nothing fails for it, the error names the setting, and with the key it is sent."""
    message = letter()
    message.send()
    worker = start_worker(MAILQUEUE_SECRET_KEYS=SECOND)
    wait_until(lambda: "SECRET_KEYS" in worker.log.read_text(), 20, worker.explain)
    wait_until(lambda: fate(message)["state"] == "retrying", 20, worker.explain)
    assert fate(message)["attempts"] == 0
    worker.stop()
    shown = run_cli("show", message.mailqueue_id, "--json", MAILQUEUE_SECRET_KEYS=SECOND)
    assert "not among MAILQUEUE['SECRET_KEYS']" in shown.stdout
    assert control.retry([message.mailqueue_id]) == [message.mailqueue_id]
    second = start_worker(MAILQUEUE_SECRET_KEYS=FIRST)
    wait_until(lambda: len(smtp_server.received) == 1, 20, second.explain)
    assert fate(message)["attempts"] == 1


def test_a_message_whose_key_is_missing_hides_no_other(monkeypatch, run_cli):
    """It is listed as what it is, beside those that can be read."""
    hidden, readable = letter(), letter()
    hidden.send()
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", SECOND)
    readable.send()
    listed = run_cli("list")
    assert listed.returncode == 0
    assert "Your diagnosis" in listed.stdout
    assert "(sealed with a key that is not here)" in listed.stdout
    assert fate(hidden)["subject"] == "(sealed with a key that is not here)"
    assert fate(hidden)["recipients"][0]["address"] == "(sealed with a key that is not here)"
    assert report.find(report.Filter(domain="example.com")) == [fate(readable)]


def test_what_was_queued_before_there_were_keys_is_sent(start_worker, smtp_server, monkeypatch):
    """Encryption can be switched on while messages wait."""
    monkeypatch.delenv("MAILQUEUE_SECRET_KEYS")
    letter().send()
    worker = start_worker(MAILQUEUE_SECRET_KEYS=FIRST)
    wait_until(lambda: len(smtp_server.received) == 1, 20, worker.explain)


def test_a_payload_that_was_tampered_with_fails(start_worker, smtp_server, redis_url):
    """It is told apart from a missing key: no waiting will mend it."""
    message = letter()
    message.send()
    text = open_journal().payload(message.mailqueue_id)
    key = f"mailqueue:{{mailqueue}}:message:{message.mailqueue_id}"
    with redis.Redis.from_url(redis_url) as server:
        server.hset(key, mapping={"payload": text[:-9] + "AAAAAAAA=", "digest": "another"})
    worker = start_worker(MAILQUEUE_SECRET_KEYS=FIRST)
    wait_until(lambda: fate(message)["state"] == "failed", 20, worker.explain)
    assert "has been changed since" in fate(message)["reply"]


def test_sealing_is_undone_by_opening():
    """Any text, also one with lone surrogates; and each seal is another."""
    sealer = Sealer([FIRST])
    for text in ["", "a", "äöü\udcff", "sealed:x:y", "x" * 100_000]:
        assert sealer.open(sealer.seal(text)) == text
    assert sealer.seal("a") != sealer.seal("a")
    assert Sealer().seal("a") == "a"


def test_errors_of_keys_show_no_key():
    """What is wrong and how to mend it, without the secret."""
    with pytest.raises(ImproperlyConfigured, match="not 32 bytes") as caught:
        Sealer(["a-secret-that-is-too-short"])
    assert "a-secret" not in str(caught.value)
    sealed = Sealer([Fernet.generate_key().decode()]).seal("a")
    with pytest.raises(KeyMissing, match="not among"):
        Sealer([FIRST]).open(sealed)
    with pytest.raises(PayloadError, match="has been changed"):
        Sealer([FIRST]).open(Sealer([FIRST]).seal("a")[:-8])
