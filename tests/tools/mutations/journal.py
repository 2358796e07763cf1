"""Mutations of the journal's modules; those of its script are in ``script.py``."""

from .row import of

# Of late results, and of what is on record.
_LATE = "contracts/test_journal_late.py contracts/test_journal_record.py"

MUTATIONS = [
    *of(
        "queue/journal/journal",
        f"{_LATE} contracts/test_delivery_record.py contracts/test_journal.py",
        (
            "tuple(entry.id for entry in entries[start:])",
            "tuple(entry.id for entry in entries)",
            "contracts/test_journal_portions.py",
        ),
        (
            "max(1, int(moment.timestamp() * 1000))",
            "int(moment.timestamp() * 1000)",
            "system/test_options.py::test_what_expired_before_1970_is_expired",
        ),
        (
            "[self.policy.max_lost, -1 if doubt is None else ms(doubt)]",
            "[self.policy.max_lost, 0 if doubt is None else ms(doubt)]",
            f"contracts/test_journal_timer.py {_LATE}",
        ),
        (
            "ex=_LOOSE_SECONDS",
            "ex=1",
            "",
            "what vanished before the message was accepted is stored once more",
        ),
        (
            'f"{secrets.randbelow(10**15):015}"',
            '"0" * 15',
            "contracts/test_journal_loss.py",
        ),
        (
            "ex=_LOOSE_SECONDS, nx=True",
            "ex=_LOOSE_SECONDS",
            "contracts/test_journal_attachments.py",
        ),
        (
            "                self._listed = False  # an answer",
            "                pass  # an answer",
            "contracts/test_journal_server.py",
        ),
        (
            "        self._listed = False\n        with suppress(JournalUnavailable):\n",
            "        with suppress(JournalUnavailable):\n",
            "contracts/test_journal_server.py",
        ),
        (
            "            self.check(fsync=fsync)\n",
            "",
            "contracts/test_journal_eviction.py",
        ),
    ),
    *of(
        "queue/journal/opening",
        "faults/test_worker.py system/test_options.py",
        (
            "[open_journal(queue) for queue in (own, *sorted(known - {own}))]",
            "[open_journal(own)]",
            "system/test_options.py::test_a_message_may_name_its_queue",
        ),
    ),
    *of(
        "queue/journal/reader",
        "contracts/test_journal.py",
        (
            'if policy.startswith("allkeys"):',
            'if policy == "allkeys-lru":',
            "contracts/test_journal_eviction.py",
        ),
    ),
    *of(
        "queue/journal/record",
        "contracts/test_journal_record.py contracts/test_journal_timer.py",
        (
            "delay: float | None = None",
            "delay: float | None = 0.0",
            "contracts/test_journal_record.py::test_nobody_looks_at_a_message_that_has_ended",
        ),
        ('priority: str = "normal"', 'priority: str = "low"'),
    ),
    *of(
        "queue/journal/rows",
        "contracts/test_journal.py system/test_sealing.py system/test_delivery.py",
        (
            "found |= dict.fromkeys(recipients if newer else (), newer)",
            "pass",
            "contracts/test_journal_record.py::test_who_waits_because_a_mailer_is_in_trouble_is_told_so",
        ),
        (
            "attempt.state is not State.RETRYING else ()",
            "False else ()",
            "contracts/test_journal_record.py::test_who_waits_in_doubt_is_told_why",
        ),
        (
            "_UNREADABLE = (KeyMissing, PayloadError,",
            "_UNREADABLE = (PayloadError,",
            "system/test_sealing.py::test_a_message_whose_key_is_missing_hides_no_other",
        ),
        (
            "State.CANCELLED: State.CANCELLED,",
            "",
            "contracts/test_delivery_recipients.py::test_nobody_waits_once_a_message_has_ended",
        ),
        (
            "found |= attempt.replies",
            "found = dict(attempt.replies) | found",
            "contracts/test_delivery_recipients.py::test_each_recipient_who_waits_has_its_own_reply",
        ),
    ),
    *of(
        "queue/journal/record",
        "contracts/test_journal_joining.py",
        ('priority: str = "normal"', 'priority: str = "high"'),
    ),
    *of(
        "queue/journal/replies",
        "contracts/test_journal.py contracts/test_journal_timer.py",
        ("is_suspect=int(lost) > 0,", "", "contracts/test_journal_late.py"),
        (
            "Due(str(id_), str(priority), int(lost) > 0)",
            "Due(str(id_), str(priority))",
            "contracts/test_journal_timer.py",
        ),
        ("age=int(age) / 1000", "age=int(age)", "contracts/test_journal_record.py"),
        (
            "None if int(age) < 0 else int(age) / 1000",
            "int(age) / 1000",
            "contracts/test_journal_operator.py",
        ),
        (
            "Advanced(answers[:results], answers[results:], ",
            "Advanced(answers, answers, ",
            "contracts/test_journal.py",
        ),
    ),
    *of(
        "queue/journal/script",
        "queue/test_script_signatures.py",
        (
            '"pulse", "trim"',
            '"trim"',
            "queue/test_script_signatures.py::test_the_script_has_each_file_once",
        ),
    ),
    *of(
        "queue/journal/timekeeper",
        "contracts/test_journal_clock.py",
        ("last is None or last.clock.offset != clock.offset", "last is None"),
        ("self._set(look, max(clock.offset, clock.seen - clock.time))", "pass"),
        ("or not clock.seen", ""),
        ("look.asked - last.answered, look", "look.asked - last.asked, look"),
        ("look.answered - last.asked", "look.answered - last.answered"),
        ("return passed - most", "return passed"),
        ("seen > last.clock.time + most + _SLACK", "False"),
        ("seen = look.clock.seen - look.clock.offset", "seen = look.clock.time"),
    ),
    *of(
        "queue/journal/operator",
        "contracts/test_journal_operator.py",
        (
            "if r.state is State.SENT}",
            "}",
            f"contracts/test_journal_operator.py {_LATE}",
        ),
    ),
]
