"""Line ends where none may be, in every place of a message."""

from __future__ import annotations

from mailqueue import EmailMessage

INJECTED = ["\r\nBcc: evil@example.com", "\nBcc: evil@example.com", "\rBcc: evil@example.com"]
PLACES = [
    "subject", "header value", "header name", "to", "cc", "bcc", "reply_to", "name of an address",
    "envelope sender", "file name", "type of an attachment", "type of an alternative",
]  # fmt: skip


def spoiled(
    message: EmailMessage, place: str, injected: str
) -> tuple[EmailMessage, dict[str, str]]:
    """The message with that in one place, and its extra headers."""
    match place:
        case "subject":
            message.subject += injected
        case "header value":
            message.extra_headers["X-Note"] = "note" + injected
        case "header name":
            message.extra_headers["X-Note: 1" + injected + "\r\nX-Rest"] = "value"
        case "to" | "cc" | "bcc" | "reply_to":
            setattr(message, place, [*getattr(message, place), "ann@example.com" + injected])
        case "name of an address":
            message.to = [f'"Ann{injected}" <ann@example.com>']
        case "envelope sender":
            message.from_email = f"ann@example.com>{injected}"
        case "file name":
            message.attach("a.txt" + injected, "content", "text/plain")
        case "type of an attachment":
            message.attach("a.txt", "content", "text/plain" + injected)
        case "type of an alternative":
            message.content_subtype = "plain" + injected
    return message, message.extra_headers
