"""Backends that take fewer arguments than ours."""

import mailqueue


def test_a_backend_need_not_know_user_and_password(monkeypatch):
    """They are passed only when they are given, so that any backend can do without them."""
    sent: list[object] = []

    class Narrow:
        def __init__(self, fail_silently: bool = False) -> None:
            self.fail_silently = fail_silently

        def send_messages(self, messages: list[object]) -> int:
            sent.extend(messages)
            return len(messages)

    monkeypatch.setattr(mailqueue, "Narrow", Narrow, raising=False)
    mailqueue.configure(EMAIL_BACKEND="mailqueue.Narrow")
    assert mailqueue.send_mail("Subject", "Body", None, ["ann@example.com"]) == 1
    assert mailqueue.send_mass_mail([("Subject", "Body", None, ["bob@example.com"])]) == 1
    assert len(sent) == 2
