"""A process of its own that renders messages with Django, line by line; see test_django.py.

Its own, because our settings come from Django once Django is configured.
"""

from __future__ import annotations

import base64
import json
import sys
from email.message import MIMEPart
from typing import Any


def build(module: Any, spec: dict[str, Any]) -> Any:
    """The message of ``module``'s classes that the spec describes."""
    message = module.EmailMultiAlternatives(
        spec["subject"],
        spec["body"],
        spec["from_email"],
        spec["to"],
        cc=spec["cc"],
        reply_to=spec["reply_to"],
        headers=spec["headers"],
    )
    message.encoding = spec["encoding"]
    message.content_subtype = spec["content_subtype"]
    for content, mimetype in spec["alternatives"]:
        message.attach_alternative(content, mimetype)
    for filename, content, mimetype in spec["attachments"]:
        message.attach(filename, _decoded(content), mimetype)
    for content in spec["inline"]:
        part = MIMEPart()
        part.set_content(
            _decoded(content), maintype="image", subtype="png", disposition="inline", cid="<i@x>"
        )
        message.attach(part)
    return message


def _decoded(content: Any) -> Any:
    return base64.b64decode(content["base64"]) if isinstance(content, dict) else content


def main() -> None:
    """Read specs, write what Django makes of them."""
    from django.conf import settings

    settings.configure()
    from django.core import mail

    for line in sys.stdin:
        try:
            rendered = build(mail, json.loads(line)).message().as_bytes()
            reply = {"bytes": base64.b64encode(rendered).decode()}
        except Exception as error:  # noqa: BLE001 - it is the test's to judge
            reply = {"error": repr(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
