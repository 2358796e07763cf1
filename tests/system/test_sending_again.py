"""A message that the journal could not take, sent again."""

import pytest

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import open_journal
from tests.line import letters


@pytest.mark.usefixtures("producer")
def test_what_was_refused_once_is_an_ordinary_message_afterwards(monkeypatch, unused_port):
    """The same object may be sent again and again: its id is kept for the first success only."""
    (message,) = letters(1)
    with monkeypatch.context() as away:
        away.setenv("MAILQUEUE_JOURNAL_URL", f"redis://127.0.0.1:{unused_port}/0")
        with pytest.raises(JournalUnavailable):
            message.send()
    ids = []
    for _ in range(2):
        assert message.send() == 1
        ids.append(message.mailqueue_id)
    assert ids[0] != ids[1]
    assert open_journal().totals() == {"accepted": 2}
