"""Which of the keys seals, and which open."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.fernet import Fernet

from mailqueue.store.sealing import KeyMissing, Sealer, current_sealer

NEW, OLD = (Fernet.generate_key().decode() for _ in range(2))


def test_the_first_key_seals() -> None:
    """Whoever has the first of the keys can read what is sealed, and nobody with another."""
    sealed = Sealer([NEW, OLD]).seal("a letter")
    assert Sealer([NEW]).open(sealed) == "a letter"
    with pytest.raises(KeyMissing):
        Sealer([OLD]).open(sealed)


@pytest.mark.parametrize("keys", [[NEW, OLD], [OLD, NEW]], ids=["new first", "old first"])
@pytest.mark.parametrize("by", [NEW, OLD], ids=["by new", "by old"])
def test_all_keys_open(by: str, keys: list[str]) -> None:
    """A text that was sealed with any of the keys is opened, whatever their order."""
    assert Sealer(keys).open(Sealer([by]).seal("a letter")) == "a letter"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("250 ok", "250 ok"),
        (Sealer([NEW]).seal("250 ok"), "250 ok"),
        (Sealer([OLD]).seal("250 ok"), "(sealed with a key that is not here)"),
        (Sealer([NEW]).seal("250 ok")[:-4], "(unreadable)"),
        (Sealer([NEW]).seal("250 ok") + "\udcff", "(unreadable)"),
    ],
    ids=["open", "sealed", "another key", "cut", "no text"],
)
def test_what_cannot_be_opened_is_shown_as_just_that(text: str, shown: str) -> None:
    """A text that can't be opened doesn't hide what is shown beside it."""
    assert Sealer([NEW]).readable(text) == shown


def test_the_settings_keys_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first key of SECRET_KEYS seals, also where they come from the environment."""
    monkeypatch.setenv("MAILQUEUE_SECRET_KEYS", f"{NEW}, {OLD}")
    assert Sealer([NEW]).open(current_sealer().seal("a letter")) == "a letter"
    assert current_sealer().open(Sealer([OLD]).seal("a letter")) == "a letter"


def test_a_sealed_text_is_as_the_document_says() -> None:
    """A sealed text names its key by a part of the key's SHA-256; the rest is a Fernet token."""
    name, key_id, token = Sealer([NEW, OLD]).seal("a letter").split(":")
    assert (name, key_id) == ("sealed", hashlib.sha256(NEW.encode()).hexdigest()[:8])
    assert Fernet(NEW).decrypt(token.encode()) == b"a letter"
