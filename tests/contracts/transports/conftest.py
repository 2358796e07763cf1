"""Fixtures of the suite for transports: each test runs once for each that can show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils.functional import empty

import mailqueue
from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.journals import Clock
from tests.contracts.transports.kinds import Kind, kinds_for
from tests.contracts.transports.wire import TIMES, Wire
from tests.scripted import ScriptedServer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for all transports that have the abilities that it asks for."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", kinds_for(metafunc.function), ids=str)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Django 6.1 warn of what every Django has; MAILERS are its own."""
    mark = pytest.mark.filterwarnings(
        r"ignore:The EMAIL_\w+ setting is deprecated",
        "ignore:Directly creating EmailBackend instances is deprecated",
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(mark)


@contextmanager
def _django(values: dict[str, Any]) -> Iterator[None]:
    django_settings.configure(USE_I18N=False, **values)
    try:
        yield
    finally:
        django_settings._wrapped = empty


@pytest.fixture
def in_django(kind: Kind) -> bool:
    """Whether Django is configured while the message is delivered."""
    return kind.uses_django


@pytest.fixture
def make_wire(
    kind: Kind, in_django: bool, redis_url: str, scrubbed: None, stack: ExitStack
) -> Callable[..., Wire]:
    """Make the delivery that a test asks for; ``timeout`` is EMAIL_TIMEOUT, in seconds."""

    def make(
        *,
        features: tuple[str, ...] | None = None,
        timeout: float | None = None,
        journal_url: str = redis_url,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Wire:
        offered = kind.features if features is None else features
        server = stack.enter_context(ScriptedServer(features=offered))
        values = kind.settings(server.port, timeout) | dict(settings or {})
        if in_django:
            stack.enter_context(_django(values))
        else:
            mailqueue.configure(**values)

        def be_patient() -> None:
            if in_django:
                django_settings.EMAIL_TIMEOUT = None
            else:
                mailqueue.configure(EMAIL_TIMEOUT=None)

        client = connect(journal_url, 30.0)
        clock = Clock(client)
        wire = Wire(kind, clock.on(Journal(client, "q", TIMES)), clock, server, **options)
        stack.callback(wire.close)
        wire.be_patient = be_patient
        return wire

    return make


@pytest.fixture
def wire(make_wire: Callable[..., Wire]) -> Wire:
    """A delivery over that transport, to a server that is as good as it says."""
    return make_wire()
