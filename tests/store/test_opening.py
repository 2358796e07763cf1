"""The store that the settings name."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from mailqueue.errors import JournalUnavailable
from mailqueue.store.client import connect, translating_errors
from mailqueue.store.opening import open_store
from mailqueue.store.sealing import Sealer

KEY = Fernet.generate_key().decode()
URL = "redis://127.0.0.1:1/7"


def test_the_store_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens it gets the process's one client of the journal's server, and its sealer."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", URL)
    monkeypatch.setenv("MAILQUEUE_ENQUEUE_TIMEOUT", "7")
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", KEY)
    client, sealer = open_store()
    assert client is connect(URL, 7.0)
    assert Sealer([KEY]).open(sealer.seal("a letter")) == "a letter"
    assert sealer.seal("a letter") != "a letter"
    assert open_store() == (client, sealer)


def test_an_address_of_ipv6_is_named_in_brackets() -> None:
    """Else nobody can tell its port from it."""
    client = connect("redis://[::1]:1/0", 1.0)
    with (
        pytest.raises(JournalUnavailable, match=r"the journal at \[::1\]:1 "),
        translating_errors(client),
    ):
        client.ping()
