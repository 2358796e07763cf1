"""Workers whose pool can't work: they say so, where else mail would stand still."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from mailqueue.worker import pool


@pytest.mark.parametrize(
    "options", [["-Pgevent"], pytest.param(["-A", "late"], marks=pytest.mark.long)]
)
def test_greenlets_that_would_never_run_are_refused(
    options, producer, run_command, tmp_path, monkeypatch
):
    """Celery finds the pool too late to replace Python's sockets, and would wait for ever."""
    (tmp_path / "late.py").write_text(
        "from mailqueue.celery import create_app\napp = create_app()\n"
        "app.conf.worker_pool = 'gevent'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = run_command("worker", *options)
    assert result.returncode == 1
    assert "Start the worker with --pool=gevent" in result.stderr


@pytest.mark.parametrize("options", [["-P", "gevent"], ["--pool", "gevent"], ["--pool=gevent"]])
def test_a_pool_that_is_not_installed_is_a_clear_error(options, run_cli, monkeypatch):
    """What to install, and no traceback."""
    monkeypatch.setitem(sys.modules, "gevent", None)
    result = run_cli("worker", *options)
    assert result.returncode == 1
    assert result.stderr == "Error: the pool gevent needs its package: pip install gevent\n"


class Started(NamedTuple):
    """A worker as its signals see it."""

    pool: object


def test_eventlet_is_told_not_to_be_supported(caplog, monkeypatch):
    """It starts all the same: a project may have it for tasks of its own."""
    greenlets = type(
        "TaskPool", (), {"is_green": True, "__module__": "celery.concurrency.eventlet"}
    )
    monkeypatch.setattr(pool.socket, "socket", type("socket", (), {"__module__": "eventlet.x"}))
    pool.check_pool(Started(greenlets()))
    assert "eventlet is not supported" in caplog.text
