"""A message that travels as MIME, because its class builds it in a way of its own."""

from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes
from email.policy import EmailPolicy, Policy, default
from functools import lru_cache
from typing import Any

from mailqueue.mail.built import BuiltMessage

# A header that was folded stays as it is: another fold would break a signature, such as DKIM's.
_AS_IT_CAME: EmailPolicy[Any] = default.clone(refold_source="none")


class Rendered:
    """Mixed into a class of messages: its bytes and recipients are those that were built.

    The other attributes are the message's own, for backends that read them.
    """

    _mime: bytes
    _envelope: tuple[str, ...]

    def recipients(self) -> list[str]:
        """The addresses of the envelope."""
        return list(self._envelope)

    # Without the name `policy` in its signature: what is built already follows nobody's.
    def message(self, **options: Any) -> BuiltMessage:
        """The MIME message, parsed; of the ``policy`` only the line ends are heeded."""
        policy = _AS_IT_CAME
        if options.get("policy") is not None:
            policy = policy.clone(linesep=options["policy"].linesep)
        return parse(self._mime, policy)

    def __reduce__(self) -> tuple[Any, ...]:
        # Its class is made as it is needed, so that nobody can import it by name.
        return _empty, (type(self).__mro__[2],), vars(self)


class _Parsed(BuiltMessage):
    """A message that is never folded anew, whatever policy it is written by."""

    def _policy_for(self, policy: Policy[Any] | None, linesep: str) -> Policy[Any]:
        chosen = super()._policy_for(policy, linesep)
        return chosen.clone(refold_source="none") if isinstance(chosen, EmailPolicy) else chosen


def parse(mime: bytes, policy: EmailPolicy[Any] = _AS_IT_CAME) -> BuiltMessage:
    """Parse a message that was built."""
    found: BuiltMessage = message_from_bytes(mime, _class=_Parsed, policy=policy)
    return found


@lru_cache(maxsize=16)
def _rendered_class(base: Any) -> type[Any]:
    """The class of messages that are of class ``base`` and were built before they travelled."""
    made: type[Any] = type(f"Rendered{base.__name__}", (Rendered, base), {})
    return made


def as_rendered(message: Any, mime: bytes, envelope: Sequence[str]) -> Any:
    """The message with those bytes and recipients instead of what its attributes give."""
    found = _empty(type(message))
    vars(found).update(vars(message), _mime=mime, _envelope=tuple(envelope))
    return found


def _empty(base: Any) -> Any:
    class_: Any = _rendered_class(base)
    return class_.__new__(class_)
