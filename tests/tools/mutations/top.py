"""Mutations of what lies beside the rooms: names, errors, states, events, the task."""

from .row import of

MUTATIONS = [
    *of(
        "__init__",
        "packaging/test_exported_members.py",
        ('    if name != "SMTPConnection":\n', '    if name == "":\n'),
    ),
    *of(
        "__main__",
        "system/test_signals.py faults/test_worker_death.py",
        (
            'main(prog_name="mailqueue")',
            "pass",
            "faults/test_worker_death.py::test_a_worker_does_not_start_on_a_journal_that_evicts",
        ),
    ),
    *of(
        "celery",
        "contracts/transports/test_content.py",
        (
            '"accept_content": ["json"]',
            '"accept_content": ["json", "pickle"]',
            "system/test_foreign_tasks.py::test_no_code_in_the_broker_runs",
        ),
    ),
    *of(
        "errors",
        "queue/test_error_tree.py",
        (
            "class EnqueueError(MailqueueError, SMTPException)",
            "class EnqueueError(MailqueueError)",
            "queue/test_error_tree.py::test_an_error_is_also_what_a_stranger_would_catch",
        ),
        (
            "class JournalUnavailable(EnqueueError, ConnectionError)",
            "class JournalUnavailable(EnqueueError)",
            "queue/test_error_tree.py::test_an_error_is_also_what_a_stranger_would_catch",
        ),
        (
            "kind.__bases__ = (bases[0], theirs, *bases[1:])",
            "pass",
            "mail/test_namesakes.py::test_a_wrong_setting_is_djangos_improperly_configured",
        ),
        (
            "        join_django()\n",
            "",
            "mail/test_namesakes.py::test_a_bad_header_is_caught_as_djangos_page_says",
        ),
        (
            "class MailerDoesNotExist(InvalidMailer, KeyError)",
            "class MailerDoesNotExist(InvalidMailer)",
            "mail/test_mailers.py::test_a_mailer_that_is_not_there",
        ),
    ),
    *of(
        "events",
        "faults/test_outage.py",
        (
            "    if _reporting.get():\n",
            "    if False:\n",
            "faults/test_outage.py::test_errors_that_are_mailed_do_not_run_in_a_circle",
        ),
    ),
    *of(
        "state",
        "queue/test_states.py",
        (
            "State.CANCELLED, State.EXPIRED)",
            "State.CANCELLED)",
            "queue/test_states.py::test_these_states_are_final",
        ),
    ),
    *of(
        "tasks",
        "system/test_tasks.py",
        (
            "max(settings.MAILQUEUE.BATCH_SIZE - len(items), 0)",
            "settings.MAILQUEUE.BATCH_SIZE",
            "system/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "        publish(journal.queue, [])",
            "        pass",
            "system/test_tasks.py::test_what_is_left_when_a_task_is_full_gets_another",
        ),
        (
            "@shared_task(name=TASK, base=MailTask)",
            "@shared_task(name=TASK)",
            "worker/test_task_options.py::test_no_option_changes_the_task_that_delivers",
        ),
        (
            "tally = {} if connection.is_paused() else dict(",
            "tally = dict(",
            "system/test_task_pause.py::test_a_task_claims_nothing_for_a_mailer_that_is_left_alone",
        ),
        (
            "        journal.put_back([item.id for item in items])",
            "        pass",
            "system/test_task_pause.py::test_what_a_task_could_not_send_is_due_at_once",
        ),
    ),
]
