"""Django's test runner puts its locmem backend in the queue's place: no worker is needed."""

from django.core import mail
from django.test import SimpleTestCase

FORM = {
    "name": "Ada Visitor",
    "email": "visitor@example.org",
    "subject": "Opening hours",
    "text": "Are you open on Sundays?",
}


class ContactTest(SimpleTestCase):
    def test_what_the_visitor_wrote_goes_to_the_team(self):
        response = self.client.post("/", FORM)
        self.assertRedirects(response, "/thanks/")
        (message,) = mail.outbox
        assert message.subject == "Contact: Opening hours"
        assert message.to == ["team@example.com"]
        assert message.reply_to == ["Ada Visitor <visitor@example.org>"]
        assert "Are you open on Sundays?" in message.body

    def test_no_mail_is_sent_for_a_form_with_mistakes(self):
        response = self.client.post("/", FORM | {"email": "no address"})
        self.assertContains(response, "Enter a valid email address.")
        assert mail.outbox == []

    def test_a_domain_may_have_any_letters(self):
        self.client.post("/", FORM | {"email": "visitor@bücher.example"})
        (message,) = mail.outbox
        assert message.reply_to == ["Ada Visitor <visitor@xn--bcher-kva.example>"]
