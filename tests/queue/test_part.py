"""Parts of kinds that need more than their headers to be rebuilt."""

from email import message_from_bytes, policy

import pytest

from mailqueue.queue.payload.part import dump_part, load_part

DIGEST = b"""\
Content-Type: multipart/digest; boundary="between"

before all

--between

Subject: One

First

--between

Subject: Two

Second

--between--

after all
"""


@pytest.mark.parametrize("read_by", [policy.default, policy.compat32])
def test_a_digest_travels_as_what_it_is(read_by):
    """Its parts are messages, which no header of theirs says; what stands around them stays."""
    part = message_from_bytes(DIGEST, policy=read_by)
    found = load_part(dump_part(part))
    assert found.as_bytes() == part.as_bytes() == DIGEST
    assert [inner.get_content_type() for inner in found.get_payload()] == ["message/rfc822"] * 2
