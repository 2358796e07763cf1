"""Mutations of what runs on one laptop: the embedded server, the inbox, `up`."""

from .row import of

MUTATIONS = [
    *of(
        "local/embedded",
        "integration/test_embedded.py",
        (
            '"appendonly": "yes"',
            '"appendonly": "no"',
            "integration/test_embedded.py::test_is_configured_for_a_journal",
        ),
        (
            '"maxmemory-policy": "noeviction"',
            '"maxmemory-policy": "allkeys-lru"',
            "integration/test_embedded.py::test_is_configured_for_a_journal",
        ),
    ),
    *of(
        "local/inbox",
        "integration/test_inbox.py",
        (
            "        if address in self._deferred:\n",
            "        if False:\n",
            "integration/test_inbox.py::test_a_4yz_tag_is_refused_once",
        ),
    ),
    *of(
        "local/process",
        "integration/test_up.py integration/test_signals.py",
        (
            "            LIFELINE: str(lifeline),\n",
            "",
            "integration/test_up.py::test_a_worker_does_not_outlive_a_killed_up",
        ),
    ),
    *of(
        "local/smtpd",
        "integration/test_inbox.py",
        (
            "enable_SMTPUTF8=True",
            "enable_SMTPUTF8=False",
            "integration/test_inbox.py::test_international_addresses",
        ),
    ),
]
