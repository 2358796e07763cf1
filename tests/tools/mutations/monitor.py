"""Mutations of what watches and controls."""

from .row import of

MUTATIONS = [
    *of(
        "monitor/check",
        "integration/test_cli.py",
        (
            '"ok": not any(part["problems"] for part in parts)',
            '"ok": True',
            "integration/test_cli.py::test_check_tells_what_is_away",
        ),
    ),
    *of(
        "monitor/control",
        "integration/test_cli.py faults/test_operations.py",
        (
            "if not one.changed and one.state not in action.content",
            "if not one.changed",
            "integration/test_cli.py::test_a_command_given_twice_is_no_error",
        ),
    ),
    *of(
        "monitor/control",
        "contracts/test_many_at_once.py integration/test_cli.py faults/test_spool.py",
        ("states = [State.FAILED, State.PARTIAL]", "states = [State.FAILED]"),
    ),
    *of(
        "monitor/report",
        "contracts/test_many_at_once.py integration/test_cli.py faults/test_spool.py",
        (
            "domain_of(a) == self.domain.lower()",
            "self.domain.lower() in domain_of(a)",
            "integration/test_cli.py::test_list_finds_by_state_address_and_domain",
        ),
    ),
    *of(
        "monitor/text",
        "integration/test_cli.py",
        (
            '"".join(c if c.isprintable() else "\\N{REPLACEMENT CHARACTER}" for c in str(value))',
            "str(value)",
            "integration/test_cli.py::test_a_terminal_never_obeys_what_a_message_says",
        ),
    ),
]
