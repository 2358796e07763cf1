"""A message as a delivery backend wants it."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime
from typing import Any

from mailqueue.mail.rendering.completion import complete

from .options import options_of


def for_backend(message: Any, backend: Any) -> Any:
    """The message as it was set for Anymail's backends, completed for others.

    Anymail's have ``esp_name``. They make a request of a message's attributes, where a header more
    is an error with some services, and None means the template's. The queue has waited for
    ``send_at``: many services refuse a time that is over, and others can't wait at all.
    """
    handed = message if hasattr(backend, "esp_name") else complete(message)
    send_at = options_of(message).send_at
    if send_at is None or send_at > datetime.now(UTC):
        return handed
    handed = copy(handed)
    vars(handed).pop("send_at", None)  # None would be a time for Anymail
    return handed
