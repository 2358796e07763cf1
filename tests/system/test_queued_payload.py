"""What lies in the journal of a message, and what stays behind."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode

import pytest
from cryptography.fernet import Fernet

from mailqueue import get_connection
from mailqueue.queue.journal import open_journal
from mailqueue.store.sealing import Sealer
from tests.contracts.delivering import letter

pytestmark = pytest.mark.usefixtures("producer")


def test_what_is_private_stays_behind():
    """Attributes whose names begin with an underscore don't travel, nor does the connection."""
    message = letter()
    message._secret = "of the program"
    message.connection = get_connection()
    message.tags = ["orders"]
    message.send()
    found = json.loads(open_journal().payload(message.mailqueue_id))
    assert found["attributes"] == {"tags": ["orders"]}
    assert "connection" not in found


def test_a_large_attachment_is_sealed_under_the_name_of_its_plain_text(monkeypatch):
    """With SECRET_KEYS an attachment's content is sealed, and its name is its text's SHA-256."""
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", key)
    content = b"confidential " * 10_000
    message = letter()
    message.attach("file.bin", content, "application/octet-stream")
    message.send()
    text = b64encode(content).decode()
    name = hashlib.sha256(text.encode()).hexdigest()
    lies_there = open_journal()._client.get(f"mailqueue:{{mailqueue}}:blob:{name}")
    assert lies_there.startswith("sealed:")
    assert Sealer([key]).open(lies_there) == text
