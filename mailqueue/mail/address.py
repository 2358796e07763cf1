"""Mail addresses: checking them, and the form in which SMTP commands carry them."""

from __future__ import annotations

import re
from email.errors import ObsoleteHeaderDefect
from email.headerregistry import Address, HeaderRegistry
from functools import lru_cache
from typing import Any

import idna

from mailqueue.errors import BadHeaderError

# Everything that str.splitlines() takes for a line's end: parsers disagree about the rarer ones,
# and a header that one of them splits is a header injected.
_LINE_END = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_-]+"
_PLAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
# What would end the command or its argument, were it written into MAIL or RCPT (RFC 5321, 4.1.2).
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_UNSAFE_UNQUOTED = re.compile(r'[\x00-\x20\x7f<>()",;:\\]')
# Dots where an atom has none: at an end of the local part, or side by side.
_ODD_DOTS = re.compile(r"\.[.@]|(?:^|[\s<,;:])\.")
# A quoted string, a comment, or what stands before an "@".
_BEFORE_AT = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|[^\x00-\x20\x7f<>()\[\]",;:\\@]+(?=@)')
_registry = HeaderRegistry()


def refuse_line_ends(value: str, name: str) -> None:
    """Raise BadHeaderError if the value of the header of that name holds a line's end or NUL."""
    if _LINE_END.search(value):
        raise BadHeaderError(
            "Header values may not contain linefeed or carriage return characters, nor any other "
            f"line end (got {value!r} for header {name!r})"
        )
    if "\0" in value:
        raise BadHeaderError(
            f"Header values may not contain NUL characters (got {value!r} for header {name!r})"
        )


def quote_odd_dots(text: str) -> str:
    """The text of an address or several, with quotes around local parts such as ``foo..bar``.

    Large providers have given such addresses to their customers. They are no dot-atoms, so that
    parsers and many servers refuse them; in quotes they are the same addresses, and legal (RFC
    5321, 4.1.2). It is what Postfix makes of them, too.
    """
    return _BEFORE_AT.sub(_quoted, text) if _ODD_DOTS.search(text) else text


def _quoted(found: re.Match[str]) -> str:
    word = found[0]
    is_odd = _ODD_DOTS.search(f"{word}@") and word.strip(".") and not word.startswith("=?")
    return f'"{word}"' if is_odd and word[0] not in '"(' else word


def addr_spec(address: Address) -> str:
    """The address as it is written, without its name."""
    return quote_odd_dots(address.addr_spec)


def ascii_domain(domain: str) -> str:
    """The domain in ASCII, as IDNA encodes it (RFC 3490, 5891); ValueError if it can't be."""
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return _by_newer_rules(domain)


def _by_newer_rules(domain: str) -> str:
    """The domain by IDNA 2008, which has scripts that Python's codec lacks."""
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"Invalid address: the domain {domain!r} is not valid: {error}") from None


@lru_cache(maxsize=1024)
def envelope_address(address: str) -> str:
    """What MAIL or RCPT says of ``address``, which may have a name: ``Ann <ann@example.com>``.

    The domain is in ASCII (IDNA); a local part that isn't stays as it is and needs SMTPUTF8
    (RFC 6531). An address without a domain is a local user's. Raises ValueError for what isn't
    one address, BadHeaderError for one with a newline.
    """
    text = str(address or "")
    if _PLAIN.fullmatch(text):
        return text
    if _LINE_END.search(text) or "\0" in text:
        raise BadHeaderError(
            f"Invalid address {text!r}: addresses may not contain linefeed or carriage return "
            "characters, any other line end, or NUL"
        )
    parsed = parse_address(text)
    username = Address(username=parsed.username).addr_spec.removesuffix("@")
    local = quote_odd_dots(f"{username}@")[:-1] if parsed.domain else username
    # Looked at in ASCII: IDNA makes a space of some characters that aren't one.
    domain = ascii_domain(parsed.domain)
    _refuse_unsafe(text, local, domain)
    return f"{local}@{domain}" if domain else local


def parse_address(address: str) -> Address:
    """Parse one address with or without a name; ValueError for none, several or a malformed one."""
    addresses = parse_addresses(address)
    if len(addresses) != 1:
        raise ValueError(f"Invalid address {address!r}: must be a single address")
    return addresses[0]


def parse_addresses(address: str) -> tuple[Address, ...]:
    """Parse addresses with commas between them; ValueError for a group or a malformed one."""
    try:
        header: Any = _registry("To", quote_odd_dots(address))
    except Exception as error:
        # The parser fails with IndexError, AttributeError, … on inputs such as "ann@".
        raise ValueError(f"Invalid address {address!r}: can't be parsed") from error
    faults = [str(d) for d in header.defects if _is_fault(d)]
    if faults:
        raise ValueError(f"Invalid address {address!r}: {'; '.join(faults)}")
    if any(group.display_name is not None for group in header.groups):
        raise ValueError(f"Invalid address {address!r}: must be an address, not a group of them")
    addresses: tuple[Address, ...] = header.addresses
    return addresses


@lru_cache(maxsize=1024)
def first_sender(from_email: str) -> str:
    """The first of the addresses that a message is from, with its name (RFC 5322, 3.6.2).

    Raises ValueError if one of them is no address, as ``envelope_address`` does.
    """
    text = str(from_email)
    if not text:
        return text  # no sender at all, which a message may have
    if "," not in text or _LINE_END.search(text) or len(addresses := parse_addresses(text)) == 1:
        envelope_address(text)
        return text
    for address in addresses:
        envelope_address(str(address))
    return str(addresses[0])


@lru_cache(maxsize=1024)
def writable_address(address: str) -> str:
    """The address as Django can write it: with its domain in ASCII where Python's codec fails."""
    if address.rpartition("@")[2].isascii():
        return address
    try:
        parsed = parse_address(address)
    except ValueError:
        return address  # whoever writes it says what is wrong
    try:
        parsed.domain.encode("idna")
    except UnicodeError:
        plain = ascii_domain(parsed.domain)
        return str(Address(parsed.display_name, parsed.username, plain))
    return address


def domain_of(address: str) -> str:
    """The domain of an address in ASCII and lower case; empty if it has none or can't be read."""
    try:
        return envelope_address(address).rpartition("@")[2].lower() if "@" in address else ""
    except ValueError:
        return ""


def _is_fault(defect: Exception) -> bool:
    # Obsolete is not wrong: "John Q. Public <john@example.com>" has a period that RFC 5322 would
    # rather see quoted. No domain means a local user, and a local part outside ASCII is what
    # SMTPUTF8 is for.
    harmless = ("local part with no domain", "non-ascii characters")
    return not isinstance(defect, ObsoleteHeaderDefect) and not any(
        text in str(defect).lower() for text in harmless
    )


def _refuse_unsafe(address: str, local: str, domain: str) -> None:
    literal = domain.startswith("[") and domain.endswith("]")
    bare = domain[1:-1].replace(":", "") if literal else domain
    unquoted = bare if local.startswith('"') else local + bare
    if not local or _UNSAFE.search(local) or _UNSAFE_UNQUOTED.search(unquoted):
        raise ValueError(f"Invalid address {address!r}: it has characters that no address may have")


def needs_smtputf8(addresses: list[str]) -> bool:
    """Whether an envelope with these addresses needs SMTPUTF8 (RFC 6531)."""
    return not all(address.isascii() for address in addresses)
