"""Times that an application asks for, in the forms in which mail services have them."""

from datetime import UTC, datetime

import pytest

from mailqueue import EmailMessage
from mailqueue.errors import PayloadError
from mailqueue.queue.options import options_of

MOMENT = datetime(2030, 10, 13, 18, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    [MOMENT, MOMENT.timestamp(), "2030-10-13T18:02:00Z", "2030-10-13 20:02+02:00",
     "Sun, 13 Oct 2030 18:02:00 GMT", "13 Oct 2030 20:02:00 +0200", "13 Oct 2030 18:02 -0000"],
    ids=str,
)  # fmt: skip
def test_a_time_may_be_text_in_the_forms_of_iso_and_of_mail(given):
    """Anymail takes the latter for Mailgun, whose own form it is."""
    message = EmailMessage()
    message.send_at = given
    assert options_of(message).send_at == MOMENT


@pytest.mark.parametrize("given", ["tomorrow", "", "13 Oct", "2030-13-10", "13 Oct 2030 25:02 GMT"])
def test_other_text_is_no_time(given):
    """The error says so, and names the attribute."""
    message = EmailMessage()
    message.send_at = given
    with pytest.raises(PayloadError, match="send_at"):
        options_of(message)
