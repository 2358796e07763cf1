"""What Kubernetes puts into the environment of every pod, for each Service of its namespace."""

from __future__ import annotations

import re

# Kubernetes, "Service: Environment variables"; the second half is that of Docker's container links.
_NAME = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


def describes_service(variable: str, value: str) -> bool:
    """Whether a variable is none of ours, but says where a Service is.

    ``…_PORT`` may be a setting's name too, such as EMAIL_PORT beside a Service named ``email``.
    Kubernetes writes an address there.
    """
    if variable.endswith("_PORT") and _ADDRESS.fullmatch(value):
        return True
    return _NAME.fullmatch(variable) is not None
