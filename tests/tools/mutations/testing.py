"""Mutations of what the tests of applications use."""

from .row import of

MUTATIONS = [
    *of(
        "testing/assertions",
        "system/test_testing.py",
        (
            "re.escape(wanted[name])",
            "wanted[name]",
            "system/test_testing_assertions.py::test_a_subject_is_found_as_it_is_written",
        ),
        (
            "    if unknown:\n        raise TypeError",
            "    if False:\n        raise TypeError",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
    ),
    *of(
        "testing/fixtures",
        "system/test_testing.py",
        (
            "        open_journal().forget_everything()\n",
            "",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
        (
            "        mailqueue.outbox = []\n        yield mailqueue.outbox",
            '        yield vars(mailqueue).setdefault("outbox", [])',
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
        (
            'EMAIL_HOST="127.0.0.1", EMAIL_PORT=server.port',
            'EMAIL_HOST="127.0.0.1"',
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
    ),
    *of(
        "testing/queue",
        "system/test_testing.py",
        (
            "[State.QUEUED, State.SCHEDULED, State.RETRYING, State.HELD]",
            "[State.QUEUED]",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
        (
            "journal.ids(State.QUEUED)",
            "journal.ids(State.SCHEDULED)",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
    ),
    *of(
        "testing/server",
        "system/test_testing.py",
        (
            "return self.replies[address].pop(0)",
            "return self.replies[address][0]",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
        (
            "        envelope.rcpt_tos.append(address)\n",
            "",
            "system/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
        (
            "            return self.at_data.pop(0)",
            "            self.at_data.pop(0)",
            "contracts/test_backends_that_deliver.py::test_djangos_smtp_backend_says_how_the_message_was_refused",
        ),
    ),
]
