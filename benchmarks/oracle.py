"""Whether each message of a run arrived once, at its recipient, with the right content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message

from benchmarks.messages import contents, recipient, subject

_NUMBER = re.compile(r"recipient-(\d+)@example\.com")


@dataclass(frozen=True)
class Received:
    """One message as a server got it: its envelope's recipients, and its content unstuffed."""

    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a run; all zero where nothing is."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    reasons: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_good(self) -> bool:
        """Whether each message arrived once and whole."""
        return not (self.lost or self.doubled or self.wrong)


def judge(received: Iterable[Received], shape: str, numbers: range) -> Verdict:
    """Compare what arrived with what was sent: messages of that shape, with these numbers."""
    copies: Counter[int] = Counter()
    reasons = []
    for message in received:
        number = _number(message)
        reason = "nobody's" if number not in numbers else _fault(message, shape, number)
        if reason:
            reasons.append(f"{message.recipients}: {reason}")
        copies[number] += number in numbers
    return Verdict(
        lost=sum(not copies[number] for number in numbers),
        doubled=sum(copies[number] - 1 for number in numbers if copies[number]),
        wrong=len(reasons),
        reasons=tuple(reasons[:3]),
    )


def _number(message: Received) -> int:
    found = [_NUMBER.fullmatch(address) for address in message.recipients]
    return int(found[0][1]) if len(found) == 1 and found[0] else -1


def _fault(message: Received, shape: str, number: int) -> str:
    """What is wrong with the content, or nothing."""
    parsed = message_from_bytes(message.content)
    if parsed["To"] != recipient(number) or parsed["Subject"] != subject(number):
        return f"headers of another: {parsed['To']}, {parsed['Subject']}"
    parts = {part.get_content_type(): _content(part) for part in _leaves(parsed)}
    expected = contents(shape, number)
    if parts.keys() != expected.keys():
        return f"its parts are {', '.join(parts)}"
    different = [kind for kind in expected if parts[kind] != _trimmed(kind, expected[kind])]
    return f"another content: {', '.join(different)}" if different else ""


def _leaves(message: Message) -> list[Message]:
    return [part for part in message.walk() if not part.is_multipart()]


def _content(part: Message) -> bytes:
    return _trimmed(part.get_content_type(), part.get_payload(decode=True))


def _trimmed(kind: str, content: bytes) -> bytes:
    """A text without what depends on who sent it: the form of line ends, empty lines at the end."""
    return content.replace(b"\r\n", b"\n").rstrip(b"\n") if kind.startswith("text/") else content
