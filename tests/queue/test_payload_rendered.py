"""What a payload adds to a message whose class builds it in a way of its own."""

from email.message import Message

from mailqueue import EmailMessage
from mailqueue.queue.payload import dumps, loads


class Bare(EmailMessage):
    """A message that is built without what each mail needs."""

    def message(self, **_: object) -> Message:
        built = Message()
        built["Subject"] = "Bare"
        built.set_payload("Body")
        return built


def test_a_message_that_lacks_date_and_id_gets_them_when_it_is_queued():
    """Every attempt sends those, and not what the clock says by then."""
    text = dumps(Bare(to=["ann@example.com"]), "an-id")
    first, second = (loads(text).message() for _ in range(2))
    assert first["Date"]
    assert first["Message-ID"]
    assert (first["Date"], first["Message-ID"]) == (second["Date"], second["Message-ID"])
