"""A process of its own that renders messages with Django, line by line; see test_django.py.

Its own, because our settings come from Django once Django is configured.
"""

from __future__ import annotations

import base64
import json
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
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
        message.attach(filename, _decoded(content, module), mimetype)
    for content in spec["inline"]:
        part = MIMEPart()
        part.set_content(
            _decoded(content, module),
            maintype="image",
            subtype="png",
            disposition="inline",
            cid="<i@x>",
        )
        message.attach(part)
    return message


def rendered(module: Any, spec: dict[str, Any]) -> bytes:
    """The message with the policy of the spec, as bytes."""
    chosen = {"policy": policy.SMTP} if spec["policy"] == "SMTP" else {}
    built: bytes = build(module, spec).message(**chosen).as_bytes()
    return built


def _decoded(content: Any, module: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return _inner(content, module) if "kind" in content else base64.b64decode(content["base64"])


def _inner(spec: dict[str, Any], module: Any) -> Any:
    """A message to be forwarded: of ``module``'s class, or of Python's newer or older one."""
    if spec["kind"] == "ours":
        headers = {"Date": "Fri, 20 Nov 2026 09:00:00 +0000", "Message-ID": "<inner@example.com>"}
        return module.EmailMessage(
            spec["subject"], spec["body"], "inner@example.com", ["to@example.com"], headers=headers
        )
    message = EmailMessage()
    message["Subject"] = spec["subject"]
    message.set_content(spec["body"])
    return message if spec["kind"] == "new" else message_from_bytes(message.as_bytes())


def main() -> None:
    """Read specs, write what Django makes of them."""
    from django.conf import settings

    settings.configure()
    from django.core import mail

    for line in sys.stdin:
        try:
            reply = {"bytes": base64.b64encode(rendered(mail, json.loads(line))).decode()}
        except Exception as error:  # noqa: BLE001 - it is the test's to judge
            reply = {"error": repr(error)}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
