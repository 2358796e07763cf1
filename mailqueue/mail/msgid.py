"""Message-IDs, and the name of this host in them."""

from __future__ import annotations

import email.message
import email.policy
import email.utils
import socket
from functools import cached_property


class _DnsName:
    """The name of this host in mail; looked up at first use, because a look-up can be slow."""

    def __str__(self) -> str:
        return self.get_fqdn()

    def get_fqdn(self) -> str:
        """The fully qualified name, in ASCII."""
        return self._fqdn

    @cached_property
    def _fqdn(self) -> str:
        name = socket.getfqdn()
        try:
            return name.encode("idna").decode("ascii")
        except UnicodeError:
            return "localhost"


DNS_NAME = _DnsName()


def make_msgid(idstring: str | None = None, domain: str | None = None) -> str:
    """Make a new Message-ID, with its angle brackets; the domain is this host's by default."""
    return email.utils.make_msgid(idstring, domain or str(DNS_NAME))
