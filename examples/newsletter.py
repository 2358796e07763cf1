"""An ordinary program that sends mail. It knows mailqueue's mail API and nothing of the queue.

Where the mail goes is a matter of settings: with
``EMAIL_BACKEND=mailqueue.backends.queue.EmailBackend`` in the environment it is queued, without it
goes straight to the SMTP server. Who it is from is the setting ``DEFAULT_FROM_EMAIL``.
"""

import base64
import secrets
from email.message import MIMEPart
from email.utils import make_msgid

from mailqueue import EmailMessage, EmailMultiAlternatives, get_connection, send_mail

# A picture of one red pixel, and the smallest of all PDF files.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
PDF = (
    b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


def plain() -> None:
    send_mail("A plain message", "Hello!", None, ["plain@example.com"])


def with_inline_image() -> None:
    cid = make_msgid(domain="example.com")
    message = EmailMultiAlternatives(
        "Text, HTML and a picture", "Hello!", None, ["picture@example.com"]
    )
    message.attach_alternative(f'<p>Hello!</p><img src="cid:{cid[1:-1]}">', "text/html")
    image = MIMEPart()
    image.set_content(PIXEL, maintype="image", subtype="png", disposition="inline", cid=cid)
    message.attach(image)
    message.send()


def with_attachment() -> None:
    message = EmailMessage("Your invoice", "As a PDF file.", None, ["invoice@example.com"])
    message.attach("invoice.pdf", PDF, "application/pdf")
    message.send()


def newsletter(subscribers: int = 200) -> None:
    messages = [
        EmailMessage(f"News no. {n}", "All the news.", None, [f"subscriber-{n}@example.com"])
        for n in range(1, subscribers + 1)
    ]
    with get_connection() as connection:
        connection.send_messages(messages)


def refused() -> None:
    # The demo's inbox refuses +451 for now, when it first meets the address, and +550 for good.
    busy = f"busy-{secrets.token_hex(3)}+451@example.com"
    send_mail("Later", "Second attempt.", None, [busy])
    send_mail("Never", "Nobody there.", None, ["nobody+550@example.com"])


def main() -> None:
    plain()
    with_inline_image()
    with_attachment()
    newsletter()
    refused()
    print("205 messages sent, as far as this program is concerned")


if __name__ == "__main__":
    main()
