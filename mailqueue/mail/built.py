"""A message that is built, as Python's ``email`` package has it, for whoever sends it."""

from __future__ import annotations

from email.charset import Charset
from email.message import EmailMessage
from email.policy import Policy
from typing import Any


class BuiltMessage(EmailMessage):
    """Python's ``EmailMessage``, whose line ends can be asked for too.

    The backends of Django before 6.0 call ``as_bytes(linesep=…)``, as Django's own classes of that
    time have it.
    """

    def as_bytes(
        self, unixfrom: bool = False, policy: Policy[Any] | None = None, *, linesep: str = ""
    ) -> bytes:
        return super().as_bytes(unixfrom, self._policy_for(policy, linesep))

    def as_string(
        self,
        unixfrom: bool = False,
        maxheaderlen: int | None = None,
        policy: Policy[Any] | None = None,
        *,
        linesep: str = "",
    ) -> str:
        return super().as_string(unixfrom, maxheaderlen, self._policy_for(policy, linesep))

    def get_charset(self) -> Charset | str | None:
        """The charset of a text that is written as it is; Django's console reads all bytes by it.

        Python's newer API sets none, and that console would take all bytes for UTF-8.
        """
        for part in self.walk():
            charset = part.get_content_charset()
            if charset and part.get("Content-Transfer-Encoding") == "8bit":
                return Charset(charset)
        return super().get_charset()

    def _policy_for(self, policy: Policy[Any] | None, linesep: str) -> Policy[Any]:
        chosen: Policy[Any] = self.policy if policy is None else policy
        return chosen.clone(linesep=linesep) if linesep else chosen
