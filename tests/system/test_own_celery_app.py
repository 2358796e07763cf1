"""A project that has a Celery application already: its workers deliver the mail too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mailqueue.monitor import report
from mailqueue.state import State
from tests.patience import within
from tests.support import STRICT, Worker, wait_until

ROOT = Path(__file__).parents[2]
CLOSED_PORT = "redis://127.0.0.1:1/0"
FILES = {
    "shop/__init__.py": """
from .celery import app
""",
    "shop/celery.py": """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
""",
    "shop/tasks.py": """
import time
from celery import shared_task
from django.core.mail import send_mail

@shared_task
def confirm(order, address):
    send_mail(f"Order {order}", "Thank you.", None, [address])

@shared_task
def dawdle():
    time.sleep(60)
""",
    "shop/settings.py": """
import os

EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", int(os.environ["SMTP_PORT"])
DEFAULT_FROM_EMAIL = "shop@example.com"
INSTALLED_APPS = ["shop"]
USE_TZ = True
CELERY_BROKER_URL = os.environ["BROKER"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_IMPORTS = ["mailqueue.tasks"]
MAILQUEUE = {"CELERY_APP": "shop.celery:app", "JOURNAL_URL": os.environ["JOURNAL"]}
""",
    "shop/discovering.py": """
from .settings import *

INSTALLED_APPS = ["shop", "mailqueue.contrib.django"]
CELERY_IMPORTS = []
""",
    "shop/strict.py": """
from .settings import *

CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT = 1
CELERY_TASK_ACKS_LATE = CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ALWAYS_EAGER = True
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1
""",
    "shop/hostile.py": """
from .settings import *

MAILQUEUE |= {"CELERY_APP": "shop.hostile_celery:app"}

EVERY_TASK = {
    "time_limit": 1, "soft_time_limit": 1, "rate_limit": "1/h", "acks_late": True, "expires": -1,
    "exchange": "elsewhere", "routing_key": "elsewhere",
    "@run": lambda run: lambda *_, **__: "wrapped",
}
ROUTE = {"queue": "celery", "exchange": "elsewhere", "routing_key": "elsewhere", "expires": 0}

CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_RESULT_BACKEND = "redis://127.0.0.1:1/0"
CELERY_TASK_ALWAYS_EAGER = CELERY_TASK_ACKS_LATE = True
CELERY_TASK_ANNOTATIONS = {"*": EVERY_TASK, "mailqueue.deliver": {"rate_limit": "1/h"}}
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_DEFAULT_RATE_LIMIT = "1/h"
CELERY_TASK_IGNORE_RESULT = False
CELERY_TASK_PROTOCOL = int(os.environ.get("PROTOCOL", "2"))
CELERY_TASK_QUEUES = {"celery": {}}
CELERY_TASK_ROUTES = {"*": ROUTE, "mailqueue.*": ROUTE}
CELERY_TASK_SEND_SENT_EVENT = CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = CELERY_TASK_TRACK_STARTED = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_DEDUPLICATE_SUCCESSFUL_TASKS = CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1
""",
    "shop/hostile_celery.py": """
import os
from celery import Celery, Task, signals

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.hostile"

class Ended(Task):
    time_limit = soft_time_limit = 1

    def __call__(self, *_, **__):
        raise SystemExit("each task of this project ends at once")

    before_start = on_success = after_return = __call__

app = Celery("shop", task_cls=Ended)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

@signals.task_received.connect
@signals.task_prerun.connect
@signals.task_postrun.connect
@signals.before_task_publish.connect
def fail(**_):
    raise RuntimeError("a receiver of this project's fails")
""",
}


@pytest.fixture
def shop(redis_url: str, smtp_server: Any, tmp_path: Path) -> dict[str, str]:
    """A Django project with a Celery application of its own; the environment of its processes."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "BROKER": redis_url.removesuffix("/0") + "/1",
        "JOURNAL": redis_url,
        "SMTP_PORT": str(smtp_server.port),
    }


@pytest.fixture
def journal(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process looks at the project's journal."""
    monkeypatch.setenv("MAILQUEUE_JOURNAL_URL", redis_url)
    monkeypatch.setenv("MAILQUEUE_BROKER_URL", redis_url)


@pytest.fixture
def start(shop: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers of the shop's application, by Celery's command unless told otherwise."""
    with ExitStack() as stack:

        def run(*options: str, command: tuple[str, ...] = (), **environment: str) -> Worker:
            chosen = command or ("celery", "-A", "shop", "worker")
            worker = Worker(
                [sys.executable, "-m", *chosen, "-c", "1", "-l", "INFO", *options],
                shop | environment,
                cwd=tmp_path,
                log=tmp_path / f"worker-{len(list(tmp_path.glob('*.log')))}.log",
            )
            stack.callback(worker.kill)
            wait_until(worker.is_ready, 30, worker.explain)
            return worker

        yield run


@pytest.fixture
def program(shop: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a few lines in a process of the shop."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *STRICT, "-c", code],
            env=shop | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


SEND = """
from django.core.mail import send_mail
send_mail("Hello", "", None, ["ada@example.com"])
"""
HOSTILE_SEND = """
import warnings
from celery.exceptions import AlwaysEagerIgnored
warnings.simplefilter("ignore", AlwaysEagerIgnored)
import shop.hostile_celery, mailqueue.tasks
from django.core.mail import send_mail
send_mail("Hello", "", None, ["ada@example.com"])
"""
CONFIRM = """
from shop.tasks import confirm
confirm.delay(7, "grace@example.com")
"""


def subjects(server: Any) -> list[str]:
    """What has been delivered, in alphabetical order."""
    return sorted(received.parsed["Subject"] for received in server.received)


def test_one_worker_does_both(start, program, smtp_server):
    """Without -Q, the application's worker takes its own tasks and the mail they send."""
    worker = start()
    program(SEND)
    program(CONFIRM)
    wait_until(lambda: subjects(smtp_server) == ["Hello", "Order 7"], 20, worker.explain)


def test_autodiscovery_finds_the_task(start, program, smtp_server):
    """With the Django app installed, autodiscover_tasks() is enough, without imports."""
    settings = {"DJANGO_SETTINGS_MODULE": "shop.discovering"}
    worker = start(**settings)
    program(SEND, **settings)
    wait_until(lambda: subjects(smtp_server) == ["Hello"], 20, worker.explain)


def test_mail_can_have_workers_of_its_own(start, program, journal, smtp_server):
    """With -Q, one worker takes the project's tasks, and another delivers the mail."""
    own = start("-Q", "celery")
    program(CONFIRM)
    wait_until(lambda: report.find(report.Filter()), 20, own.explain)
    assert smtp_server.received == []
    mail = start("-Q", "mailqueue")
    wait_until(lambda: subjects(smtp_server) == ["Order 7"], 20, mail.explain)
    wait_until(lambda: report.find(report.Filter(State.SENT)), 20, mail.explain)
    ((worker,),) = [m["history"] for m in report.find(report.Filter())]
    assert worker["worker"].endswith(f":{mail.children()[0]}")


def test_our_command_runs_the_projects_application(start, program, smtp_server):
    """`mailqueue worker` starts a worker of CELERY_APP."""
    worker = start(command=("mailqueue", "worker"))
    program(SEND)
    program(CONFIRM)
    wait_until(lambda: subjects(smtp_server) == ["Hello", "Order 7"], 20, worker.explain)


def test_mail_is_accepted_while_the_projects_broker_is_down(start, program, journal, smtp_server):
    """The journal has the message, so that a worker finds and delivers it later."""
    program(SEND, BROKER=CLOSED_PORT)
    assert [m["state"] for m in report.find(report.Filter())] == ["queued"]
    worker = start()
    wait_until(lambda: subjects(smtp_server) == ["Hello"], 20, worker.explain)


def test_send_ends_in_time_while_the_projects_broker_is_down(program):
    """Within about ENQUEUE_TIMEOUT, send() is done with a broker that nobody answers for."""
    with within(6):  # two for the program's start
        program(SEND, BROKER=CLOSED_PORT)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--time-limit", "1", "--soft-time-limit", "1"),
        pytest.param(("--time-limit", "1", "--pool", "gevent"), marks=pytest.mark.long),
    ],
)
def test_no_time_limit_ends_a_task_that_sends(options, start, program, journal, smtp_server):
    """Each reply comes after three seconds: all are sent, once, by the first attempt."""
    smtp_server.before_reply = lambda: Event().wait(3)  # Celery looks once a second
    settings = {"DJANGO_SETTINGS_MODULE": "shop.settings" if options else "shop.strict"}
    worker = start(*options, **settings)
    program(SEND, **settings)
    program(SEND, **settings)

    def fates() -> list[tuple[str, int]]:
        return [(found["state"], found["attempts"]) for found in report.find(report.Filter())]

    wait_until(lambda: fates() == [("sent", 1)] * 2, 30, worker.explain)
    assert subjects(smtp_server) == ["Hello", "Hello"]


@pytest.mark.parametrize("protocol", ["1", "2"])
def test_no_option_of_a_project_keeps_mail_from_being_sent(
    protocol, start, program, journal, smtp_server
):
    """Its limits, classes, annotations, routes and receivers end and divert its own tasks only."""
    smtp_server.before_reply = lambda: Event().wait(3)
    settings = {"DJANGO_SETTINGS_MODULE": "shop.hostile", "PROTOCOL": protocol}
    worker = start(command=("celery", "-A", "shop.hostile_celery", "worker"), **settings)
    program(HOSTILE_SEND, **settings)

    def fates() -> list[tuple[str, int]]:
        return [(found["state"], found["attempts"]) for found in report.find(report.Filter())]

    wait_until(lambda: fates() == [("sent", 1)], 20, worker.explain)
    said = worker.log.read_text()
    assert "task_annotations['mailqueue.deliver'] has no effect" in said


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--time-limit", "1"),
        pytest.param(("--time-limit", "1", "--pool", "gevent"), marks=pytest.mark.long),
    ],
)
def test_time_limits_hold_for_the_projects_own_tasks(options, start, program):
    """Whether they come from its settings or from the command line."""
    settings = {"DJANGO_SETTINGS_MODULE": "shop.settings" if options else "shop.strict"}
    worker = start(*options, **settings)
    program("from shop.tasks import dawdle; dawdle.delay()")
    wait_until(lambda: "ime limit (1" in worker.log.read_text(), 20, worker.explain)
