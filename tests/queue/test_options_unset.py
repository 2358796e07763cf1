"""Wishes for a message that nobody has made."""

import pytest

from mailqueue import EmailMessage
from mailqueue.queue.options import Options, options_of


class UNSET:
    """As Anymail marks an attribute that nobody has set."""


@pytest.mark.parametrize("name", Options._fields)
def test_what_is_marked_as_unset_is_not_wished_for(name):
    """Anymail's own message classes carry such marks, and are queued like any other."""
    message = EmailMessage()
    setattr(message, name, UNSET)
    assert options_of(message) == Options()
