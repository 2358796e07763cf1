"""A project's own SMTP backend, which isn't driven as mailqueue's is but by ``send_messages``."""

from mailqueue.backends import smtp


class EmailBackend(smtp.EmailBackend):
    """Does what mailqueue's does."""
