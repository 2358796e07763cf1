"""Mutations of the command line."""

from .row import of

MUTATIONS = [
    *of(
        "cli/acting",
        "integration/test_cli.py",
        (
            "if asking and ids and not choice.ids:",
            "if False:",
            "integration/test_cli.py::test_what_can_not_be_undone_is_asked_first",
        ),
    ),
]
