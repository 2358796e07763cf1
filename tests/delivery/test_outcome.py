"""What a server's replies mean."""

import pytest

from mailqueue.delivery.outcome import Reply, Verdict, printable


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        ((200, 250, 251, 252, 299), Verdict.ACCEPTED),
        ((400, 421, 450, 452, 499), Verdict.DEFERRED),
        ((500, 501, 550, 552, 599), Verdict.REFUSED),
        ((354, 600), Verdict.DEFERRED),  # nobody knows, so it may be tried again
    ],
)
def test_the_first_digit_decides(codes, verdict):
    """252, by which a server says that it will see, accepts like any other (RFC 5321, 4.2.1)."""
    assert {Reply(code, "text").verdict for code in codes} == {verdict}


def test_a_reply_is_one_line_that_a_terminal_shows():
    """What a server puts into its reply does nothing to who reads it in a log or a list."""
    assert printable("no\r\n\x1b[2Jsuch  user") == "no \N{REPLACEMENT CHARACTER}[2Jsuch user"
