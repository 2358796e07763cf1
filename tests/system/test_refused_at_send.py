"""What `send()` refuses before anything is accepted."""

from __future__ import annotations

import pytest

from mailqueue.monitor import report
from tests.injected import INJECTED, PLACES, spoiled
from tests.line import letters

pytestmark = pytest.mark.usefixtures("producer")


@pytest.mark.parametrize(
    "place", ["subject", "body", "to", "cc", "bcc", "from_email", "header", "file name"]
)
def test_a_lone_surrogate_is_refused_at_send(place):
    """It is half a character, and has no form on the wire: ValueError, and nothing is accepted."""
    (message,) = letters(1)
    match place:
        case "to" | "cc" | "bcc":
            setattr(message, place, ["a\ud800@example.com"])
        case "from_email":
            message.from_email = "a\ud800@example.com"
        case "header":
            message.extra_headers["X-Note"] = "a\ud800"
        case "file name":
            message.attach("a\ud800.txt", b"content", "text/plain")
        case _:
            setattr(message, place, "a\ud800")
    with pytest.raises(ValueError, match=r".+"):
        message.send()
    assert report.find(report.Filter()) == []


@pytest.mark.parametrize("injected", INJECTED, ids=["CRLF", "LF", "CR"])
@pytest.mark.parametrize("place", PLACES)
def test_a_line_end_where_none_may_be_is_an_error_at_send(place, injected):
    """Before anything is accepted, whichever header, address or name it is in."""
    message, _ = spoiled(letters(1)[0], place, injected)
    with pytest.raises(ValueError, match=r".+"):
        message.send()
    assert report.find(report.Filter()) == []
