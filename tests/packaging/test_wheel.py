"""What is built and installed: wheel, sdist, and `mailqueue up` from an empty environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.support import wait_until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group(__name__)  # one builds and installs for all
PROGRAM = """
from mailqueue import send_mail

print(send_mail("Hello", "An ordinary program.", "me@example.com", ["you@example.com"]))
"""


def run(
    command: Sequence[str | Path], cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that finds nothing of this repository by itself."""
    return subprocess.run(
        command, cwd=cwd, env=outside(**environment), capture_output=True, text=True
    )


def outside(**environment: str) -> dict[str, str]:
    ours = ("PYTHONPATH", "MAILQUEUE_", "EMAIL_", "DJANGO_", "CELERY_", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | environment


def checked(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@dataclass(frozen=True)
class Built:
    """The paths of both distributions."""

    wheel: Path
    sdist: Path

    def in_wheel(self) -> list[PurePosixPath]:
        with zipfile.ZipFile(self.wheel) as archive:
            return [PurePosixPath(name) for name in archive.namelist()]

    def in_sdist(self) -> list[PurePosixPath]:
        with tarfile.open(self.sdist) as archive:
            # Without the directory that all of it is in.
            return [PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both distributions, the wheel built from the sdist as an index would get it."""
    directory = tmp_path_factory.mktemp("dist")
    checked(
        run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, ROOT],
            directory,
        )
    )
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    return Built(wheel, sdist)


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel, and what `mailqueue up` said before it had extras."""

    directory: Path
    up_without_extras: subprocess.CompletedProcess[str]

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def mailqueue(self) -> Path:
        return self.directory / "bin" / "mailqueue"


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel in an environment that was empty: first alone, then with its extras."""
    directory = tmp_path_factory.mktemp("environment")
    empty = tmp_path_factory.mktemp("empty")
    checked(run([sys.executable, "-m", "venv", "--without-pip", directory], empty))
    ours = [sys.executable, "-m", "pip", "--python", directory / "bin" / "python"]
    pip = [*ours, "install", "--quiet", "--no-compile"]
    checked(run([*pip, built.wheel], empty))
    up = run([directory / "bin" / "mailqueue", "up", "--inbox-port", "0"], empty)
    checked(run([*pip, f"{built.wheel}[embedded,inbox]"], empty))
    return Installation(directory, up)


def test_the_wheel_has_one_top_level_package(built: Built) -> None:
    """There is `mailqueue` and its metadata, no `workers`, no tests."""
    tops = {path.parts[0] for path in built.in_wheel()}
    (metadata,) = tops - {"mailqueue"}
    assert metadata.endswith(".dist-info")


def test_the_wheel_is_complete(built: Built) -> None:
    """Every file of the package is in it: also the script, and the mark that it is typed."""
    expected = {
        PurePosixPath(path.relative_to(ROOT))
        for path in (ROOT / "mailqueue").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {path for path in built.in_wheel() if path.parts[0] == "mailqueue"}
    assert found == expected
    assert {"mailqueue/py.typed", "mailqueue/queue/journal/lua/head.lua"} <= set(map(str, found))


def test_the_sdist_holds_the_repository(built: Built) -> None:
    """Who packages it for a system finds workers, documents, tests and deployment files too."""
    tops = {path.parts[0] for path in built.in_sdist() if path.parts}
    assert {"mailqueue", "workers", "docs", "tests", "deploy", "LICENSE", "README.md"} <= tops


def test_only_mailqueue_is_installed(installed: Installation, tmp_path: Path) -> None:
    """Of ours there is one package, one command and the metadata; `workers` is not there."""
    listing = "from importlib.metadata import files; print(*files('mailqueue'), sep='\\n')"
    paths = checked(run([installed.python, "-c", listing], tmp_path)).splitlines()
    tops = {PurePosixPath(path).parts[0] for path in paths}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mailqueue", ".."}
    assert [path for path in paths if path.startswith("..")] == ["../../../bin/mailqueue"]
    result = run([installed.python, "-c", "import workers"], tmp_path)
    assert "No module named 'workers'" in result.stderr


def test_importing_it_is_cheap(installed: Installation, tmp_path: Path) -> None:
    """A program that only composes mail loads neither Celery nor Redis nor Django."""
    heavy = "{'celery', 'kombu', 'redis', 'django', 'click'}"
    code = f"import sys, mailqueue; print(*sorted({heavy} & set(sys.modules)))"
    assert checked(run([installed.python, "-c", code], tmp_path)).split() == []


def test_without_extras_up_says_what_to_install(installed: Installation) -> None:
    """One line that has the command, and exit status 1."""
    result = installed.up_without_extras
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert 'pip install "mailqueue[embedded]"' in result.stderr


@pytest.fixture
def up(installed: Installation, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mailqueue up`, ready, in the empty directory ``tmp_path / "here"``."""
    here, log = tmp_path / "here", tmp_path / "up.log"
    here.mkdir()
    with log.open("w") as output:
        process = subprocess.Popen(
            [installed.mailqueue, "up", "--inbox-port", "0"],
            cwd=here,
            env=outside(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "mailqueue is up" in log.read_text(), 60, log.read_text)
        yield process
        assert process.poll() is not None, log.read_text()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # in order, so that nothing of it is left behind
            process.wait()


def test_up_runs_from_an_empty_directory(
    installed: Installation, up: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """An ordinary program sends, the mail lies in the inbox, and Ctrl-C ends everything."""
    here = tmp_path / "here"
    (here / "program.py").write_text(PROGRAM)
    backend = "mailqueue.backends.queue.EmailBackend"
    result = run([installed.python, "program.py"], here, EMAIL_BACKEND=backend)
    assert checked(result) == "1\n"
    inbox = here / ".mailqueue" / "Maildir" / "new"
    wait_until(lambda: len(list(inbox.glob("*"))) == 1, 30)
    assert "An ordinary program." in next(inbox.glob("*")).read_text()
    up.send_signal(signal.SIGINT)
    assert up.wait() == 0
    status = checked(run([installed.mailqueue, "list", "--state", "sent"], here))
    assert "you@example.com" in status
