"""How a header is folded that ends in spaces."""

import pytest

from mailqueue import EmailMessage


@pytest.mark.parametrize("length", range(60, 80))
def test_no_line_of_a_folded_header_is_blank(length):
    """Spaces at a value's end stay behind its last word: a line of nothing else ends the header."""
    words = ("w " * length)[: length - 4].rstrip() + " " * 4
    built = EmailMessage("Subject", "Body", headers={"X-Words": words}).message().as_bytes()
    header, _, _ = built.partition(b"\n\n")
    assert all(line.strip() for line in header.split(b"\n"))
