"""The assertions for an application's tests."""

import pytest

import mailqueue
from mailqueue import EmailMessage
from mailqueue.backends import locmem
from mailqueue.testing import assert_sent


def test_a_subject_is_found_as_it_is_written(monkeypatch):
    """What means something in a regular expression means itself, in any case of letters."""
    monkeypatch.setattr(mailqueue, "outbox", [], raising=False)
    message = EmailMessage("1+1 (Now)", "Body", "me@example.com", ["a.b@example.com"])
    locmem.EmailBackend().send_messages([message])
    assert_sent(1, subject="1+1 (now)")
    with pytest.raises(AssertionError):
        assert_sent(to="axb@example.com")
