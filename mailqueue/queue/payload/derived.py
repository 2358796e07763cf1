"""The attributes that a message would have, read from its MIME."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from email.message import EmailMessage, MIMEPart
from typing import Any

from mailqueue.mail.address import envelope_address
from mailqueue.mail.message import ADDRESS_LISTS

from .content import dump_content
from .part import dump_part
from .rendered import parse

# Headers that stem from attributes, from the parts, or from the queue.
_NOT_EXTRA = {
    "subject", "from", "message-id", "date", "mime-version", "bcc",
    *(header.lower() for header in ADDRESS_LISTS.values()),
}  # fmt: skip
_USUAL_CHARSETS = {None, "utf-8", "us-ascii"}
# What an attachment of a name, a content and a type says of itself.
_OF_TRIPLES = {"content-type", "content-transfer-encoding", "content-disposition", "mime-version"}
_PARAMETERS = {"charset", "name"}


def fields_in(mime: bytes, recipients: Sequence[str]) -> dict[str, Any]:
    """What a message says, as the fields of a payload but for its subject and its sender.

    ``recipients`` are those of the envelope: who stands in no header is in ``bcc``.
    """
    nothing: dict[str, Any] = {
        "body": "", "encoding": None, "content_subtype": "plain", "headers": {},
        "to": [], "cc": [], "bcc": list(recipients), "reply_to": [],
        "alternatives": [], "attachments": [],
    }  # fmt: skip
    try:
        parsed = parse(mime)
        return nothing | _contents(parsed) | _header_fields(parsed, recipients)
    except Exception:  # noqa: BLE001 - Python raises anything on odd mail, whose bytes are still good
        return nothing


def _header_fields(parsed: EmailMessage, recipients: Sequence[str]) -> dict[str, Any]:
    spelled = {_mailbox(address): address for address in recipients}
    headers = {name: str(value) for name, value in parsed.items() if _is_extra(name)}
    found: dict[str, Any] = {"headers": headers}
    for name, header in ADDRESS_LISTS.items():
        addresses = [str(address) for address in getattr(parsed[header], "addresses", ())]
        if name == "reply_to":
            found[name] = addresses
            continue
        boxes = [_mailbox(address) for address in addresses]
        found[name] = [spelled[box] for box in boxes if box in spelled]
        if len(found[name]) < len(boxes):  # it names somebody who isn't served
            headers[header] = str(parsed[header])
    shown = {*found["to"], *found["cc"]}
    return found | {"bcc": [address for address in spelled.values() if address not in shown]}


def _is_extra(name: str) -> bool:
    return name.lower() not in _NOT_EXTRA and not name.lower().startswith("content-")


def _mailbox(address: str) -> str:
    try:
        return envelope_address(address)
    except ValueError:
        return address


def _contents(parsed: EmailMessage) -> dict[str, Any]:
    body: Any = parsed.get_body(("plain", "html"))
    if body is None and not parsed.is_multipart():
        return {"attachments": [_attachment(_without_headers(parsed))]}
    versions = list(_other_versions(parsed, body))
    attached = _attached(parsed, {id(body), *map(id, versions)})
    found: dict[str, Any] = {"attachments": [_attachment(part) for part in attached]}
    if body is None:
        return found
    charset = body.get_content_charset()
    return found | {
        "body": body.get_content().removesuffix("\n"),  # which stands at the end of each text
        "content_subtype": body.get_content_subtype(),
        "encoding": None if charset in _USUAL_CHARSETS else charset,
        "alternatives": [_alternative(version) for version in versions],
    }


def _other_versions(parsed: EmailMessage, body: MIMEPart | None) -> Iterator[MIMEPart]:
    """What stands beside the body in a ``multipart/alternative``; of HTML with images the HTML."""
    for part in parsed.walk():
        inside: Any = (
            part.get_payload() if part.get_content_type() == "multipart/alternative" else ()
        )
        if any(version is body for version in inside):
            others = [version for version in inside if version is not body]
            yield from (version.get_body(("html", "plain")) or version for version in others)


def _attached(part: Any, shown: set[int]) -> Iterator[MIMEPart]:
    """The parts of a multipart that are no version of the body."""
    for inner in part.get_payload() if part.is_multipart() else ():
        if id(inner) in shown:
            continue
        if inner.get_content_maintype() == "multipart" and not shown.isdisjoint(
            map(id, inner.walk())
        ):
            yield from _attached(inner, shown)
        else:
            yield inner


def _alternative(part: Any) -> dict[str, Any]:
    content = part.get_content()
    if isinstance(content, str):
        content = content.removesuffix("\n")
    return dump_content(None, content, part.get_content_type())


def _attachment(part: Any) -> dict[str, Any]:
    if not _is_triple(part):
        return {"part": dump_part(part)}
    return dump_content(part.get_filename(), part.get_content(), part.get_content_type())


def _is_triple(part: Any) -> bool:
    parameters = {name.lower() for name, _ in part.get_params([], header="content-type")[1:]}
    return (
        part.get_content_disposition() == "attachment"
        and {*map(str.lower, part.keys())} <= _OF_TRIPLES
        and parameters <= _PARAMETERS
        and part.get_content_maintype() != "multipart"
    )


def _without_headers(parsed: EmailMessage) -> MIMEPart:
    """The content of a message that has no parts, as one."""
    part = MIMEPart(policy=parsed.policy)
    for name, value in parsed.raw_items():
        if name.lower().startswith("content-"):
            part.set_raw(name, value)
    part.set_payload(parsed.get_payload())
    return part
