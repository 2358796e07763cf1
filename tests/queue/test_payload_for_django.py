"""A payload becomes a message of Django's where Django is used, whichever Django that is."""

from mailqueue import EmailMultiAlternatives
from mailqueue.queue import payload
from tests.support import in_django


def test_our_message_becomes_one_of_djangos_own():
    """Django 6.1 refuses a message that says what its parts together are called, even as usual."""
    message = EmailMultiAlternatives("s", "text", "me@example.com", ["you@example.com"])
    message.attach_alternative("<p>HTML</p>", "text/html")
    message.attach("a.txt", "attached")
    text = payload.dumps(message, "an-id")
    code = f"""
from mailqueue.queue import payload
message = payload.loads({text!r})
result = [type(message).__module__, [part.get_content_type() for part in message.message().walk()]]
"""
    module, types = in_django({}, code)
    assert module == "django.core.mail.message"
    assert types[:4] == ["multipart/mixed", "multipart/alternative", "text/plain", "text/html"]
