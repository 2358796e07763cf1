"""Addresses as SMTP commands carry them."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mailqueue import BadHeaderError, EmailMessage
from mailqueue.mail.address import domain_of, envelope_address, parse_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann <ann@example.com>", "ann@example.com"),
        ("Ännchen <ann@example.com>", "ann@example.com"),
        ('"Doe, Jane" <jane@example.com>', "jane@example.com"),
        ("John Q. Public <john@example.com>", "john@example.com"),
        ("=?utf-8?q?J=C3=BCrgen?= <j@example.com>", "j@example.com"),
        (" ann@example.com ", "ann@example.com"),
        ("(comment) ann@example.com", "ann@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
        ('"a b"@example.com', '"a b"@example.com'),
        ('"a>b"@example.com', '"a>b"@example.com'),
        ("ann@[127.0.0.1]", "ann@[127.0.0.1]"),
        ("ann@[IPv6:::1]", "ann@[IPv6:::1]"),
        ("root", "root"),
        ("root@localhost", "root@localhost"),
        ("foo..bar@example.jp", '"foo..bar"@example.jp'),
        ("foo.@example.jp", '"foo."@example.jp'),
        (".foo@example.jp", '".foo"@example.jp'),
        ("Ännchen <a.-.@example.jp>", '"a.-."@example.jp'),
        ('"Doe, Jane" <..a@example.jp>', '"..a"@example.jp'),
        ("(a..b@c) foo..bar@[127.0.0.1]", '"foo..bar"@[127.0.0.1]'),
        ('"foo..bar"@example.jp', '"foo..bar"@example.jp'),
        ("jörg.@bücher.example", '"jörg."@xn--bcher-kva.example'),
        ("=?utf-8?q?J=C3=BCrgen..?= <j..@example.com>", '"j.."@example.com'),
        ("a+b_c@mail_host.example.com", "a+b_c@mail_host.example.com"),
    ],
)
def test_the_envelope_form(address, expected) -> None:
    """The bare address, its domain in ASCII."""
    assert envelope_address(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "<>",
        "ann@",
        "@example.com",
        "a b@example.com",
        "a@b@example.com",
        "ann@example..com",
        "ann..b@example..com",
        "..@example.com",
        "ann..b",
        "a n..n@example.com",
        'ann..b"@example.com',
        '"ann..b@example.com',
        "ann..b@example.com> SIZE=1",
        "ann..b\x7f@example.com",
        "ann..b@c@example.com",
        "ann..,b.@example.com",
        "ann@example.com>",
        "ann@example.com> SIZE=1",
        "ann@example com",
        "ann@example.com, bob@example.com",
        "ann@example.com bob@example.com",
        "friends: ann@example.com;",
        "undisclosed-recipients:;",
        "Name ann@example.com",
        '"a\x7f"@example.com',
        "ann@" + "é" * 70 + ".com",
    ],
)
def test_what_is_not_one_address_is_refused(address) -> None:
    """A ValueError that shows the value."""
    with pytest.raises(ValueError, match="Invalid address"):
        envelope_address(address)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\0"])
@pytest.mark.parametrize("form", ["ann{}@example.com", "ann@example.com{}RCPT", "A{}B <a@b.c>"])
def test_a_line_end_is_refused(form, end) -> None:
    """A newline would end the command and start another."""
    with pytest.raises(BadHeaderError, match="Invalid address"):
        envelope_address(form.format(end))


@given(st.text(max_size=60) | st.text("ab@.<>\"' \\\r\n,;:()[]é=?", max_size=30))
@example("0@\u00af")  # which IDNA makes a space and a macron of
def test_no_text_makes_a_second_command(text) -> None:
    """Whatever comes in, what comes out can stand between "<" and ">" in one line."""
    try:
        address = envelope_address(text)
    except ValueError:
        return
    outside_quotes = address.rpartition('"')[2] if address.startswith('"') else address
    assert len(address.splitlines()) == 1
    assert not set("<> \t\0") & set(outside_quotes)
    assert envelope_address(address) == address


LOCAL = st.text("ab-+'=?/.", min_size=1, max_size=12).filter(lambda text: text.strip("."))
NAME = st.text('ab.@,"()<é ', max_size=8)


@given(LOCAL, NAME, st.lists(LOCAL, max_size=4))
@example(".a", "", ["b"])
@example("a..b", "Doe, J.", [])
def test_dots_anywhere_in_a_local_part_are_those_of_one_address(local, name, others) -> None:
    """What Japanese providers gave to their customers was refused; others delivered to it.

    Envelope and header say the same address, and any reader finds it there.
    """
    assume(not local.startswith("=?"))  # an encoded word
    address = Address(name, local, "example.jp")
    given_ = f"{_phrase(name)} <{local}@example.jp>" if name else f"{local}@example.jp"
    sent = envelope_address(given_)
    assert sent in (f"{local}@example.jp", f'"{local}"@example.jp')
    assert parse_address(sent).username == local
    assert envelope_address(sent) == sent
    rest = [f"{other}@example.jp" for other in others if not other.startswith("=?")]
    message = EmailMessage(to=[given_, *rest], from_email="a@b.c")
    built = message.message(policy=email.policy.SMTP).as_bytes()
    read = email.message_from_bytes(built, policy=email.policy.default)["To"]
    assert read.defects == ()
    assert [a.addr_spec for a in read.addresses] == [address.addr_spec, *rest]


def _phrase(name: str) -> str:
    return '"' + name.replace('"', r"\"") + '"'


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("Ann <ann@Example.COM>", "example.com"),
        ("ann@Bücher.example", "xn--bcher-kva.example"),
        ("root", ""),
        ("not an address@", ""),
    ],
)
def test_domain_of(address, domain) -> None:
    """In lower case and ASCII, and empty where there is none."""
    assert domain_of(address) == domain
