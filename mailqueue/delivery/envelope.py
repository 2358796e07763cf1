"""Who a message is from and for, and its content, as they go over the wire."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, NamedTuple

from mailqueue.mail.address import envelope_address
from mailqueue.mail.rendering.completion import complete
from mailqueue.mail.rendering.render import rendered_bytes


class Outgoing(NamedTuple):
    """A message to be delivered, to those of its recipients who are still to get it."""

    id: str
    message: Any  # ours, Django's or anybody's: from_email, recipients(), message()
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Envelope:
    """Who a message is from and for, as SMTP commands carry it, and its content with CRLF ends.

    ``spellings`` maps each recipient to those under which the message knows it: one mailbox may
    stand in To as "Ann <ann@example.com>" and in Cc as "ann@example.com", and gets one copy.
    """

    sender: str
    spellings: dict[str, list[str]]
    data: bytes
    needs_smtputf8: bool  # RFC 6531: an address isn't ASCII

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipients, each once."""
        return tuple(self.spellings)

    @property
    def is_8bit(self) -> bool:
        """Whether the content needs 8BITMIME (RFC 6152)."""
        return not self.data.isascii()


def render(outgoing: Outgoing, *, seven_bit: bool = False) -> Envelope:
    """Render the message; ``seven_bit`` encodes content that a server without 8BITMIME can't take.

    Each attempt gives the same bytes: boundaries derive from the message's id. Raises ValueError
    for a header or an address that must not reach the wire.
    """
    message = complete(outgoing.message)
    sender = envelope_address(message.from_email) if message.from_email else ""
    spellings: dict[str, list[str]] = {}
    for recipient in outgoing.recipients:
        spellings.setdefault(envelope_address(recipient), []).append(recipient)
    # Its headers name all of its recipients, also those who have it already.
    everyone = map(envelope_address, filter(None, message.recipients()))
    utf8 = not "".join((sender, *spellings, *everyone)).isascii()
    data = rendered_bytes(message, outgoing.id, seven_bit=seven_bit, utf8=utf8)
    return Envelope(sender, spellings, data, utf8)


def bare_address(address: str) -> str:
    """The mailbox alone; also of a name that was folded, as Django folds long ones."""
    try:
        return envelope_address(parseaddr(address)[1] or address)
    except ValueError:
        return address
