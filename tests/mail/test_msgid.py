"""The name of this host, as Message-IDs and greetings have it."""

from __future__ import annotations

import socket

import pytest

from mailqueue import DNS_NAME


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("mail.example", "mail.example"),
        ("m\u00fcller.example", "xn--mller-kva.example"),
        (f"{64 * 'a'}.example", "localhost"),  # a label has 63 characters at most
    ],
)
def test_the_name_of_this_host_is_one_that_mail_may_carry(
    name: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in ASCII, and a name that can't be written so is left out."""
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    assert str(type(DNS_NAME)()) == written
