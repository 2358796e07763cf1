"""The scripts' signatures: what an operation takes, by name, and what it answers."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from mailqueue.queue.journal.record import Acceptance, Alarm, Claim, Due, InHand, StateChange
from mailqueue.queue.journal.script import FILES, SCRIPT, read
from tests.support import ROOT

JOURNAL = ROOT / "mailqueue" / "queue" / "journal"
GATE = ROOT / "mailqueue" / "delivery" / "gate"
# A file begins with a comment, whose last lines are the signature; the block follows at once.
OPERATION = re.compile(
    r"(?:--.*\n)+--\n"
    r"-- (?P<name>\w+)\((?P<arguments>[^()]*)\)\n--   -> (?P<reply>.+)\n"
    r"if operation == '(?P<block>\w+)' then\n(?P<body>[\s\S]*)end\n"
)
# The methods whose first argument names an operation.
CALLERS = {"_call", "_begin", "_change", "_view", "call"}
ROWS: dict[str, type[NamedTuple]] = {
    "accept": Acceptance,
    "claim": Claim,
    "take": Claim,
    "release": Due,
    "in_hand": InHand,
    "alarms": Alarm,
    **dict.fromkeys(("hold", "resume", "cancel", "discard"), StateChange),
}


class Operation(NamedTuple):
    """An operation's file, as its signature has it."""

    name: str
    block: str
    single: list[str]  # the arguments that are there once
    groups: list[str]  # those of which there are any number, as `id, token`
    reply: str
    body: str


def operation_of(text: str) -> Operation | None:
    """What the file says; None where it has no operation of its own."""
    found = OPERATION.fullmatch(text)
    if not found:
        return None
    arguments = re.sub(r"\n--\s+", " ", found["arguments"])
    groups = re.findall(r"\[([^\]]*)\]…", arguments)
    single = re.findall(r"\w+", arguments.partition("[")[0])
    return Operation(found["name"], found["block"], single, groups, found["reply"], found["body"])


OPERATIONS = {name: found for name in FILES if (found := operation_of(read(name)))}


def called_in(path: Path) -> set[str]:
    """The operations that a module of Python calls."""
    return {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in CALLERS
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_the_script_has_each_file_once() -> None:
    """No Lua file is forgotten, and none is joined twice."""
    assert sorted(FILES) == sorted(path.stem for path in (JOURNAL / "lua").iterdir())
    assert "\n".join(read(name) for name in FILES) == SCRIPT


def test_each_operation_has_a_file_and_a_caller() -> None:
    """What Python calls are the operations that have a file of their own, and no others."""
    modules = ("journal", "operator", "reader")
    called = {name for one in modules for name in called_in(JOURNAL / f"{one}.py")}
    assert called == OPERATIONS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_takes_what_its_signature_names(name: str) -> None:
    """File, signature and block have one name; the block takes the arguments in their order."""
    found = OPERATIONS[name]
    assert (found.name, found.block) == (name, name)
    if found.single:
        taken = re.match(r"\s*local ([\w, ]+) =\s*(.+(?:\n    tonumber.+)?)", found.body)
        assert taken
        assert taken[1].split(", ") == found.single
        places = [int(place) for place in re.findall(r"ARGV\[(\d+)\]", taken[2])]
        assert places == list(range(2, 2 + len(found.single)))
    for group in found.groups:
        assert re.search(rf"local {group} =\s|function\({group}[,)]", found.body), group


@pytest.mark.parametrize("name", ROWS)
def test_an_answer_becomes_what_its_signature_names(name: str) -> None:
    """The named tuple has the parts of the script's answer, in their order."""
    *_, row = re.findall(r"[\[{]([^\]}]*)[\]}]…", OPERATIONS[name].reply.partition(" or ")[0])
    assert row.replace("lost", "is_suspect").split(", ") == list(ROWS[name]._fields)


def test_the_breaker_takes_what_its_signatures_name() -> None:
    """Each function of its script is as its signature says, and is called."""
    text = (GATE / "breaker.lua").read_text("utf-8")
    signatures = re.findall(r"^--\n-- (\w+\(.*\))\n--   -> .+\nfunction operations\.", text, re.M)
    functions = re.findall(r"^function operations\.(\w+\(.*?\))", text, re.M)
    assert signatures == functions
    assert {name.partition("(")[0] for name in functions} == called_in(GATE / "breaker.py")
