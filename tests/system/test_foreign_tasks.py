"""What isn't ours in the broker: no code of it runs, and it sends nothing."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Producer

from mailqueue.queue.broker import producer_app
from tests.line import Line, line, send, states
from tests.scripted import ScriptedServer
from tests.support import wait_until

pytestmark = pytest.mark.usefixtures("producer")
wire = line("wire", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 100000000")


@pytest.fixture
def server(wire: Line, redis_url, monkeypatch) -> Iterator[ScriptedServer]:
    """A scripted server that a worker delivers to; both are alive and well at the end."""
    yield wire.as_new(monkeypatch)
    before = states()["sent"]
    send(1)
    wait_until(lambda: states()["sent"] == before + 1, 20, wire.worker.explain)
    assert b"Subject: News 0" in wire.server.accepted[-1].content


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


CONTENT_TYPES = {
    "pickle": "application/x-python-serialize",
    "yaml": "application/x-yaml",
    "msgpack": "application/x-msgpack",
}


@pytest.mark.parametrize("kind", CONTENT_TYPES)
def test_no_code_in_the_broker_runs(kind, server, wire, redis_url, tmp_path):
    """A task in another form than JSON is refused unread, and the worker goes on."""
    path = tmp_path / "written-by-a-task"
    body: Any = pickle.dumps(Bomb(path))
    if kind == "yaml":
        body = f"!!python/object/apply:os.system ['touch {path}']"
    headers = {"task": "mailqueue.deliver", "id": "1", "lang": "py"}
    with Connection(redis_url) as broker, broker.channel() as channel:
        Producer(channel).publish(
            body,
            routing_key=wire.queue,
            content_type=CONTENT_TYPES[kind],
            content_encoding="binary" if kind != "yaml" else "utf-8",
            headers=headers,
        )
    wait_until(lambda: "ContentDisallowed" in wire.worker.log.read_text(), 20, wire.worker.explain)
    assert not path.exists()
    assert server.commands == []


@pytest.mark.parametrize("name", ["os.system", "mailqueue.tasks.open_journal", "celery.nothing"])
def test_an_unknown_task_is_not_run(name, server, wire):
    """Its name is looked up among the worker's tasks and nowhere else."""
    producer_app().send_task(name, ["touch /nowhere"], queue=wire.queue, ignore_result=True)
    wait_until(lambda: f"'{name}'" in wire.worker.log.read_text(), 20, wire.worker.explain)
    assert server.commands == []


@pytest.mark.parametrize(
    "arguments",
    [{}, {"queue": 17, "messages": 17}, {"queue": "wire", "messages": [{"payload": "x"}]},
     {"queue": "wire", "messages": ["id"]}, {"queue": {}, "messages": [{"id": None}]}],
    ids=str,
)  # fmt: skip
def test_a_task_with_wrong_arguments_sends_nothing(arguments, server, wire):
    """It fails or finds nothing, and the worker goes on."""
    task = producer_app().send_task(
        "mailqueue.deliver", kwargs=arguments, queue=wire.queue, ignore_result=True
    )
    done = re.compile(rf"{task.id}\] (succeeded|raised unexpected)")
    wait_until(lambda: done.search(wire.worker.log.read_text()), 20, wire.worker.explain)
    assert server.commands == []
