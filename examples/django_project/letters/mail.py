"""The mail that this site sends, composed with Django's own classes."""

from email.utils import formataddr

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template.loader import render_to_string


def contact_message(name, email, subject, text):
    """What a visitor wrote, to the team; answering it answers the visitor."""
    return EmailMessage(
        subject=f"Contact: {subject}",
        body=render_to_string("letters/contact.txt", {"name": name, "text": text}),
        to=settings.CONTACT_RECIPIENTS,
        reply_to=[formataddr((name, email))],
    )


def newsletter(subscriber, subject, attachment):
    """One subscriber's copy: text, HTML and an attached file."""
    context = {"subject": subject, "subscriber": subscriber, "file": attachment.name}
    message = EmailMultiAlternatives(
        subject=subject,
        body=render_to_string("letters/newsletter.txt", context),
        to=[subscriber],
        headers={"List-Unsubscribe": "<mailto:letters@example.com?subject=unsubscribe>"},
    )
    message.attach_alternative(render_to_string("letters/newsletter.html", context), "text/html")
    message.attach_file(attachment)
    return message
