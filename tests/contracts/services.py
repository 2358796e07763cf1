"""What mail services are told through the queue, and without: `python -m tests.contracts.services`.

A program, since Django has to be configured. It prints JSON: for each service that django-anymail
has a backend for, and each kind of message, both lists of requests, in a form that compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.mime.image import MIMEImage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

import django
from django.conf import settings

# By backend, what each must know; nothing of a message may be made up anew for each attempt.
SERVICES: dict[str, dict[str, Any]] = {
    "amazon_ses": {},
    "brevo": {"API_KEY": "key"},
    "mailersend": {"API_TOKEN": "key"},
    "mailgun": {"API_KEY": "key"},
    "mailjet": {"API_KEY": "key", "SECRET_KEY": "key"},
    "mailtrap": {"API_TOKEN": "key"},
    "mandrill": {"API_KEY": "key"},
    "postal": {"API_KEY": "key"},
    "postmark": {"SERVER_TOKEN": "key"},
    "resend": {"API_KEY": "key"},
    "scaleway": {"SECRET_KEY": "key", "PROJECT_ID": "project"},
    "sendgrid": {"API_KEY": "key", "GENERATE_MESSAGE_ID": False, "MERGE_FIELD_FORMAT": "-{}-"},
    "sparkpost": {"API_KEY": "key"},
    "unisender_go": {"API_KEY": "key", "GENERATE_MESSAGE_ID": False},
}
TO = ["Ann <ann@example.com>", "bob@example.com"]
# Of the connection, of signatures and of the moment: nothing about the message.
NOT_OF_THE_MESSAGE = ("x-amz-", "amz-sdk-", "authorization", "content-length", "host", "user-agent")
# Each finds in it what it looks for.
ANSWER = json.dumps({
    "status": "success", "success": True, "id": "m", "messageId": "m", "MessageID": "m",
    "MessageId": "m", "message": "Queued. Thank you.", "Message": "OK", "Messages": [],
    "data": {"messages": {}}, "message_ids": ["m"], "responses": [], "emails": [],
    "results": {"id": "m", "total_accepted_recipients": 1, "total_rejected_recipients": 0},
    "BulkEmailEntryResults": [],
}).encode()  # fmt: skip

if __name__ == "__main__":
    settings.configure(INSTALLED_APPS=["anymail"], DEFAULT_FROM_EMAIL="default@example.com")
    django.setup()

from anymail.exceptions import AnymailError  # noqa: E402 - after the settings
from anymail.message import AnymailMessage  # noqa: E402
from django.core.mail import EmailMessage  # noqa: E402
from django.utils.functional import lazystr  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from mailqueue.queue import payload  # noqa: E402
from mailqueue.queue.handover import for_backend  # noqa: E402
from mailqueue.queue.payload.blob import BlobCollector  # noqa: E402

# -- the messages


def letter(to: Any = TO[:1], **attributes: Any) -> Any:
    message = AnymailMessage("Subject", "Text", "Me <me@example.com>", to)
    vars(message).update(attributes)
    return message


def plain(_service: str) -> Any:
    message = EmailMessage(
        "Gr\u00fc\u00dfe", "Text: \u20ac", "me@example.com", TO, cc=["cy@example.com"]
    )
    message.bcc, message.reply_to = ["dan@example.com"], ["reply@example.com"]
    return message


def html(_service: str) -> Any:
    message = letter(subject=lazystr("Later"))
    message.attach_alternative("<p>HTML</p>", "text/html")
    return message


def attachments(_service: str) -> Any:
    message = letter()
    message.attach("a.txt", "attached text, which is long enough to be stored apart", "text/plain")
    message.attach("a.pdf", bytes(range(256)), "application/pdf")
    return message


def inline_image(_service: str) -> Any:
    message = letter()
    message.attach_alternative('<img src="cid:logo@example.com">', "text/html")
    image = MIMEImage(b"GIF89a" + bytes(60), "gif")
    image.add_header("Content-Disposition", "inline", filename="logo.gif")
    image.add_header("Content-ID", "<logo@example.com>")
    message.attach(image)
    return message


def template(_service: str) -> Any:
    message = AnymailMessage(to=TO[:1], template_id="1234567", merge_global_data={"shop": "Ours"})
    message.from_email = message.subject = None
    return message


def template_for_each(_service: str) -> Any:
    data = {"ann@example.com": {"name": "Ann"}, "bob@example.com": {"name": lazystr("Bob")}}
    return letter(TO, template_id="1234567", merge_data=data, subject=None, body="")


def merge(_service: str) -> Any:
    data = {"ann@example.com": {"name": "Ann"}, "bob@example.com": {"name": "Bob"}}
    return letter(TO, merge_data=data, merge_global_data={"shop": "Ours"})


def merge_metadata(_service: str) -> Any:
    return letter(TO, merge_metadata={"ann@example.com": {"n": 1}, "bob@example.com": {"n": "2"}})


def merge_headers(_service: str) -> Any:
    unsubscribe = {"List-Unsubscribe": "<https://example.com/a>"}
    return letter(TO, merge_headers={"ann@example.com": unsubscribe})


def tags(_service: str) -> Any:
    return letter(tags=["receipt", lazystr("shop")])


def one_tag(_service: str) -> Any:
    return letter(tags=("receipt",))


def metadata(_service: str) -> Any:
    return letter(metadata={"order": 17, "name": "Ann", "share": 0.5})


def send_at(_service: str) -> Any:
    return letter(send_at=datetime(2030, 11, 21, 9, 30, tzinfo=UTC))


def send_at_seconds(_service: str) -> Any:
    return letter(send_at=1921483800)


def tracking(_service: str) -> Any:
    return letter(track_opens=True, track_clicks=False)


def envelope_sender(_service: str) -> Any:
    return letter(envelope_sender="bounces@example.com")


def esp_extra(service: str) -> Any:
    names = {"amazon_ses": "ConfigurationSetName"}
    return letter(esp_extra={names.get(service, "custom"): "value"})


def extra_headers(_service: str) -> Any:
    return letter(extra_headers={"X-Custom": "text", "X-Number": 17, "Reply-To": "r@example.com"})


def own_message_id(_service: str) -> Any:
    return letter(extra_headers={"Message-ID": "<own@example.com>"})


def several_senders(_service: str) -> Any:
    return letter(from_email="a@example.com, Bob <b@example.com>")


KINDS: dict[str, Callable[[str], Any]] = {
    function.__name__: function
    for function in (
        plain, html, attachments, inline_image, template, template_for_each, merge, merge_metadata,
        merge_headers, tags, one_tag, metadata, send_at, send_at_seconds, tracking,
        envelope_sender, esp_extra, extra_headers, own_message_id, several_senders,
    )
}  # fmt: skip


# -- the service that they are told to


class Service(BaseHTTPRequestHandler):
    """Notes each request, and answers the same to all: some backends complain of it afterwards."""

    requests: list[Any]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {n: v for n, v in headers.items() if not n.startswith(NOT_OF_THE_MESSAGE)}
        kind = told.pop("content-type", "application/json")  # boto3 says nothing
        told["content-type"] = kind.partition(";")[0]
        self.requests.append([self.path, told, comparable(body, kind)])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: Any) -> None:
        pass


def comparable(body: bytes, kind: str) -> Any:
    """What a request says, without the boundary that it happens to have."""
    if kind.startswith("multipart/"):
        return tree(message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body))
    if kind.startswith("application/x-www-form-urlencoded"):
        return parse_qsl(body.decode(), keep_blank_values=True)
    return json.loads(body, object_hook=mail_as_tree)


def mail_as_tree(found: dict[str, Any]) -> Any:
    """Amazon is told a whole mail, in base64; its boundary, time and id are new each time."""
    if found.keys() != {"Data"}:
        return found
    part = Message()
    part["Content-Transfer-Encoding"] = "base64"
    part.set_payload(found["Data"])
    return tree(message_from_bytes(part.get_payload(decode=True)))  # type: ignore[arg-type]


def tree(part: Message) -> Any:
    kept = {"content-type", "date", "message-id"}
    headers = sorted((n, str(v)) for n, v in part.items() if n.lower() not in kept)
    parameters = [(n, str(v)) for n, v in part.get_params(failobj=[]) if n != "boundary"]
    if part.is_multipart():
        content: Any = [tree(inner) for inner in part.get_payload()]
    else:
        content = (part.get_payload(decode=True) or b"").decode("latin-1")
    own_id = part["Message-ID"] if "<own@" in str(part["Message-ID"]) else None
    return [headers, parameters, own_id, "Date" in part, content]


@contextmanager
def service() -> Iterator[str]:
    """The stand-in, and its address."""
    Service.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


# -- one beside the other


def backend_for(name: str, url: str) -> Any:
    if name == "amazon_ses":
        known: dict[str, Any] = {
            "client_params": {
                "endpoint_url": url, "region_name": "eu-west-1",
                "aws_access_key_id": "key", "aws_secret_access_key": "key",
            }
        }  # fmt: skip
    else:
        known = {"api_url": url, **{n.lower(): value for n, value in SERVICES[name].items()}}
    return import_string(f"anymail.backends.{name}.EmailBackend")(**known)


def told_by(backend: Any, message: Any) -> list[Any]:
    """What the service is told of the message, or why the backend won't."""
    Service.requests.clear()
    try:
        backend.send_messages([message])
    except Exception as error:  # noqa: BLE001 - whatever a backend and Django raise
        # Django 6.1 has a TypeError for a number in a header of the mail that Amazon is told.
        if not (Service.requests and isinstance(error, AnymailError)):
            return [describe(error)]
    return list(Service.requests)


def told_through_the_queue(backend: Any, message: Any) -> list[Any]:
    blobs = BlobCollector(32)
    try:
        text = payload.dumps(message, "an-id", blobs)
    except ValueError as error:
        return [describe(error)]
    again = payload.loads(text, blobs.contents.__getitem__)
    return told_by(backend, for_backend(again, backend))


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def both(name: str, url: str) -> dict[str, Any]:
    """By kind of message, what the service is told without the queue and through it."""
    found, backend = {}, backend_for(name, url)
    backend.open()  # once: boto3 takes its time
    for kind, make in KINDS.items():
        through = told_through_the_queue(backend, make(name))
        found[kind] = [told_by(backend, make(name)), through]
    backend.close()
    return found


def main() -> None:
    with service() as url:
        json.dump({name: both(name, url) for name in SERVICES}, sys.stdout)


if __name__ == "__main__":
    main()
