"""The benchmarks: the harness in its smallest form, and that it finds what went wrong."""

from __future__ import annotations

import smtplib
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from email import policy
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

import mailqueue
from benchmarks.chart import chart
from benchmarks.contender import IN_DJANGO
from benchmarks.messages import SENDER, SHAPES, recipient
from benchmarks.oracle import Received, Verdict, judge
from benchmarks.process import Program
from benchmarks.race import OwnSink, Sampler, collected, run
from benchmarks.result import Measurement, Results
from benchmarks.scenario import OWN_SINK, Scenario
from benchmarks.table import tables
from benchmarks.target import targets

NAMES = [IN_DJANGO, "mailqueue", "smtplib, rendered before"]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[OwnSink]:
    """The benchmarks' own server, as a process."""
    with closing(OwnSink(tmp_path / "sink.log")) as server:
        yield server


def rendered(number: int, shape: str = "text_and_html") -> bytes:
    message = SHAPES[shape](mailqueue, number)
    return message.message(policy=policy.SMTP).as_bytes()


def test_ours_and_the_bare_loop_are_measured(tmp_path: Path) -> None:
    """Django's classes and ours send as the bare loop does: all arrives once and whole."""
    # With fewer, what the server gives back meanwhile of its buffers is more than they need.
    number = 200
    scenario = Scenario("list", "A list", "list", "text_and_html", number, NAMES, OWN_SINK)
    results = collected(run([scenario], 1, tmp_path, Path(sys.executable)))
    assert [found.contender for found in results.measurements] == NAMES
    for found in results.measurements:
        assert found.is_good
        assert 1 < found.rate < 1e6
        assert found.wire_bytes > number * 4000
    for ours in results.measurements[:2]:
        assert ours.server_memory > number * 100
        assert ours.worker_memory > 10e6
    assert "| smtplib, rendered before | " in tables(results, {"list": "A list"})
    assert [target.what for target in targets(results)] == [
        "list: mailqueue / bare smtplib, messages/s"
    ]


def test_memory_of_what_is_over_at_once_is_seen() -> None:
    """A run that takes less than the pause between two looks is looked at when it ends."""
    held = [0]
    running = SimpleNamespace(worker_memory=lambda: held[0], server_memory=lambda: held[0] * 2)
    with Sampler(running) as sampler:  # type: ignore[arg-type]
        held[0] = 100
    assert (sampler.worker, sampler.server) == (100, 200)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_arrived_once_and_whole_is_good(shape: str) -> None:
    """The judge knows every message that is measured."""
    received = [Received((recipient(n),), rendered(n, shape)) for n in (7, 8)]
    assert judge(received, shape, range(7, 9)).is_good


def test_what_is_lost_doubled_or_wrong_is_found() -> None:
    """The judge counts each kind of fault by itself."""
    good = Received((recipient(1),), rendered(1))
    torn = Received((recipient(1),), rendered(1).replace(b"All the <b>news", b"Some of it", 1))
    misled = Received((recipient(2),), rendered(1))
    assert judge([good], "text_and_html", range(1, 3)) == Verdict(lost=1)
    assert judge([good, good], "text_and_html", range(1, 2)) == Verdict(doubled=1)
    assert judge([torn], "text_and_html", range(1, 2)) == Verdict(wrong=1)
    assert judge([misled], "text_and_html", range(2, 3)) == Verdict(wrong=1)
    assert judge([good], "text_and_html", range(0)) == Verdict(wrong=1)


def test_the_sink_tells_a_lost_from_a_doubled_message(sink: OwnSink) -> None:
    """Over a real connection: one message comes twice, one never does."""
    sink.expect(3)
    with smtplib.SMTP("127.0.0.1", sink.ports["pipelining"]) as client:
        for number in (1, 1, 2):
            client.sendmail(SENDER, [recipient(number)], rendered(number))
    assert sink.wait(10)["at"] <= time.monotonic()
    verdict = sink.verify("text_and_html", 1, 3)
    assert (verdict["lost"], verdict["doubled"], verdict["wrong"]) == (1, 1, 0)
    sink.expect(1)
    assert sink.wait(0.0) == {"at": None, "count": 0}


def test_chunks_are_taken_by_their_size(sink: OwnSink) -> None:
    """BDAT may hold what ends DATA, come in several chunks and be followed by the next command."""
    content = rendered(1)
    half = len(content) // 2
    sink.expect(1)
    with socket.create_connection(("127.0.0.1", sink.ports["chunking"])) as client:
        client.sendall(
            b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n"
            + f"RCPT TO:<{recipient(1)}>\r\n".encode()
            + b"BDAT %d\r\n" % half
            + content[:half]
            + b"BDAT %d LAST\r\n" % (len(content) - half)
            + content[half:]
            + b"QUIT\r\n"
        )
        with client.makefile("rb") as replies:
            said = replies.read()
    assert b"CHUNKING" in said
    assert said.endswith(b"250 chunk taken\r\n250 2.0.0 taken\r\n221 bye\r\n")
    assert sink.verify("text_and_html", 1, 1)["wrong"] == 0


def test_a_distance_delays_everything_and_serializes_nothing(tmp_path: Path) -> None:
    """Twenty commands that travel together take one round trip, and their replies come in order."""
    with (
        closing(OwnSink(tmp_path / "sink.log", distance=0.2)) as sink,
        socket.create_connection(("127.0.0.1", sink.ports["pipelining"])) as client,
        client.makefile("rb") as replies,
    ):
        start = time.monotonic()
        assert replies.readline() == b"220 sink\r\n"
        greeted = time.monotonic()
        for _ in range(19):
            client.sendall(b"NOOP\r\n")
        client.sendall(b"QUIT\r\n")
        said = replies.readlines()
        over = time.monotonic()
    assert said == [b"250 2.0.0 ok\r\n"] * 19 + [b"221 bye\r\n"]
    assert greeted - start >= 0.4
    assert 0.2 <= over - greeted < 19 * 0.2  # one after the other would take longer


def test_a_program_that_ended_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """A benchmark never waits for a program that is gone."""
    command = [sys.executable, "-c", "import sys; sys.exit('no settings')"]
    program = Program(command, tmp_path / "log")
    with program, pytest.raises(Exception, match="no settings"):
        program.answer()


def test_targets_and_chart_say_what_was_measured() -> None:
    """A ratio is that of the medians, to the best row of the peer; what is missed is said."""
    one = Measurement(
        "list", "mailqueue", 100, 1.0, 0.5, 0.1, 1, 0.1, 0.1, 0.1, 1, 1, 1
    )  # fmt: skip
    slow = replace(one, contender="django-celery-email, chunks of 10", seconds=5.0)
    less_slow = replace(one, contender="django-celery-email, chunks of 100", seconds=2.5)
    results = Results(
        [one, replace(one, seconds=100.0), replace(one, seconds=1.0), slow, less_slow]
    )
    assert results.ratio_to_peer("list", "mailqueue") == pytest.approx(2.5)
    [target] = targets(results)
    assert str(target) == ("list: mailqueue / django-celery-email, messages/s: 2.50, ≥ 3: NOT MET")
    picture = ElementTree.fromstring(chart(results, {"list": "A list & more"}))
    widths = [
        float(bar.attrib["width"]) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert widths[0] == pytest.approx(widths[2] * 2.5, rel=0.01)
