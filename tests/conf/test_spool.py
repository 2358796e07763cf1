"""Where the spool is: one place for a user, whatever the working directory."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from mailqueue.conf.spool import former_spool_directory, spool_directory
from mailqueue.errors import ImproperlyConfigured

ANNS = "/homes/ann/.local/state/mailqueue/spool"
OURS = f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/state/mailqueue/spool"


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"XDG_STATE_HOME": "/state"}, "/state/mailqueue/spool"),
        (
            {"XDG_STATE_HOME": "state", "HOME": "/homes/ann"},
            ANNS,
        ),
        ({"XDG_STATE_HOME": "", "HOME": "/homes/ann"}, ANNS),
        ({"HOME": "/homes/ann"}, ANNS),
        ({"HOME": ""}, OURS),
        ({"HOME": "here"}, OURS),
        ({"HOME": "/homes/ann", "MAILQUEUE_SPOOL_DIR": "/srv/spool"}, "/srv/spool"),
        (
            {"HOME": "/homes/ann", "MAILQUEUE_SPOOL_DIR": ""},
            ANNS,
        ),
    ],
)
def test_the_place_is_the_users(
    variables: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the XDG Base Directory Specification, the same from every working directory."""
    monkeypatch.delenv("XDG_STATE_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for directory in (tmp_path, Path("/")):
        monkeypatch.chdir(directory)
        assert spool_directory() == Path(found)


@pytest.mark.parametrize("directory", ["spool", "./spool", "~/spool"])
def test_a_spool_that_depends_on_the_working_directory_is_refused(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program and a worker would look for it in different places."""
    monkeypatch.setenv("MAILQUEUE_SPOOL_DIR", directory)
    with pytest.raises(ImproperlyConfigured, match=r"MAILQUEUE\['SPOOL_DIR'\].*absolute path"):
        spool_directory()


def test_a_user_without_a_home_has_no_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user that nobody knows: an error that says what to set."""
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 64321)
    with pytest.raises(ImproperlyConfigured, match=r"no home.*MAILQUEUE\['SPOOL_DIR'\]"):
        spool_directory()


def test_the_place_of_earlier_versions_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where it is there, and no SPOOL_DIR was set then or is now."""
    assert former_spool_directory() is None
    former = Path(os.environ["MAILQUEUE_HOME"]) / "spool"
    former.mkdir(parents=True)
    assert former_spool_directory() == former
    monkeypatch.setenv("MAILQUEUE_SPOOL_DIR", str(tmp_path))
    assert former_spool_directory() is None
