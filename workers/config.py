"""Celery options of the ready-made worker, each with its reason: the file for an operator to edit.

What the promise rests on (JSON only, no result backend, when tasks are acknowledged) is set by
``mailqueue.celery`` for every application of ours and doesn't stand here. Broker and journal come
from the settings, for instance ``MAILQUEUE_JOURNAL_URL``.
"""

# Task events double what a task costs; the journal knows more than they tell. What the other
# options cost, and why they are as they are, is measured in docs/performance.md.
worker_send_task_events = False

# A worker's log goes where its supervisor puts standard error; one line for each attempt.
worker_log_format = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
worker_task_log_format = worker_log_format

# Celery would otherwise recolour and rebind a program's own logging.
worker_log_color = False

# Bounded memory however odd a message: a process is replaced when it is this big (kilobytes), after
# the task at hand.
worker_max_memory_per_child = 500_000
