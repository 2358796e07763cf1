"""Anymail's attributes through the payload, run as a program, since Django has to be configured."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import django
from django.conf import settings

settings.configure(ANYMAIL={}, INSTALLED_APPS=["anymail"])
django.setup()

from anymail.backends.test import EmailBackend  # noqa: E402 - after the settings
from anymail.message import AnymailMessage  # noqa: E402
from django.core.mail import EmailMultiAlternatives  # noqa: E402

from mailqueue.queue import payload  # noqa: E402

ATTRIBUTES = {
    "envelope_sender": "bounces@example.com",
    "metadata": {"order": 17},
    "tags": ["news"],
    "track_opens": True,
    "track_clicks": False,
    "send_at": datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    "esp_extra": {"pool": "b"},
    "template_id": "welcome",
    "merge_data": {"you@example.com": {"name": "You"}},
    "merge_global_data": {"shop": "Ours"},
    "merge_metadata": {"you@example.com": {"id": 1}},
    "merge_headers": {"you@example.com": {"List-Unsubscribe": "<https://example.com/u>"}},
}


def as_anymail_sends(message) -> dict:
    """The parameters that Anymail makes of a message, by its own test backend."""
    assert EmailBackend().send_messages([message]) == 1
    return message.anymail_test_params


def main() -> None:
    message = AnymailMessage("Hello", "text", "me@example.com", ["you@example.com"])
    message.attach_alternative("<p>html</p>", "text/html")
    cid = message.attach_inline_image(b"GIF89a", filename="logo.gif")
    for name, value in ATTRIBUTES.items():
        setattr(message, name, value)
    again = payload.loads(payload.dumps(message, "id"))
    assert type(again) is EmailMultiAlternatives
    carried = [name for name, value in ATTRIBUTES.items() if getattr(again, name) == value]
    assert carried == list(ATTRIBUTES)
    image = again.attachments[0]
    assert image["Content-ID"] == f"<{cid}>"
    one, other = as_anymail_sends(message), as_anymail_sends(again)
    for params in (one, other):
        params["attachments"] = [a.content for a in params.get("attachments", [])]
    assert {k: str(v) for k, v in one.items() if v} == {k: str(v) for k, v in other.items() if v}
    nothing = payload.loads(payload.dumps(AnymailMessage("s", "b", "a@x", ["b@x"]), "id"))
    assert not any(hasattr(nothing, name) for name in ATTRIBUTES)
    sys.stdout.write(
        f"{len(carried) + 1} attributes carried\n"
    )  # and the inline image's Content-ID


if __name__ == "__main__":
    main()
