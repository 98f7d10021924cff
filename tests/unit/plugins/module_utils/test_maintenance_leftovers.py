"""What killed processes left behind goes, and nothing that is young, open, somebody else's, or no plain file."""

from __future__ import annotations

import contextlib
import mmap
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_leftovers as leftovers
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import Result
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_leftovers import held_open, look, remove, work
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import Host

ME = pwd.getpwuid(os.getuid()).pw_name
OTHER = pwd.getpwnam("nobody")
HOUR = 3600.0
# When the job runs: all that a test makes was made three days before, as far as nothing else is said.
LATER = time.time() + 72 * HOUR


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


@pytest.fixture(name="spool")
def _spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir()
    return path


@pytest.fixture(name="shared")
def _shared(tmp_path: Path) -> Path:
    path = tmp_path / "tmp"
    path.mkdir(mode=0o1777)
    return path


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def young(path: Path) -> Path:
    """As if it had been written an hour before the job runs."""
    os.utime(path, (LATER - HOUR, LATER - HOUR))
    return path


def run(spool: Path, shared: Path, **more: Any) -> Result:
    given = {
        "host": "app1",
        "dry_run": False,
        "hours": 48,
        "folders": [str(spool), "/nonexistent"],
        "shared": [str(shared)],
        "users": [ME, "no-such-user"],
    }
    return work({**given, **more}, say, now=LATER)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@contextlib.contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that does something and then waits."""
    program = f"import sys, os, mmap, time\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout
        assert started.stdout.readline() == "ready\n"
        try:
            yield started
        finally:
            started.kill()


def test_what_nobody_uses_goes_and_no_neighbour(spool: Path, shared: Path, tmp_path: Path) -> None:
    put(spool / "tmpabc/part-1", "12345")
    put(spool / "tmpabc/deep/er/a b+ü;'.bin", "12345")
    put(spool / "lonely")
    outside = put(tmp_path / "outside/important")
    (spool / "link").symlink_to(outside.parent)
    put(spool / "tmplink/x")
    (spool / "tmplink/link").symlink_to(outside.parent)
    put(shared / "tmpmine/x")
    # One young file keeps its folder as a whole, however deep.
    put(spool / "tmpyoung/old")
    young(put(spool / "tmpyoung/deep/new"))
    young(put(spool / "tmpabcd"))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(spool / "socket"))
    told = run(spool, shared, dry_run=True)
    assert told.sentence == "5 things that nobody uses any more (13 B) would be deleted."
    assert len(names(spool)) == 7
    result = run(spool, shared)
    assert result.sentence == "5 things that nobody uses any more (13 B) were deleted."
    assert names(spool) == {"tmpyoung", "tmpabcd", "socket"}
    assert names(spool / "tmpyoung") == {"old", "deep"}
    assert names(shared) == set()
    assert outside.read_text() == "x", "a link goes, and not what it leads to"
    assert result.details["stays"] == {"young": 2, "no plain files": 1}
    assert result.findings == []
    listening.close()


@pytest.mark.parametrize(
    "code",
    [
        "file = open(sys.argv[1])",
        "file = open(sys.argv[1], 'a')",
        "os.chdir(os.path.dirname(sys.argv[1]))",
        "fd = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)",
        "file = open(sys.argv[1], 'r+b'); view = mmap.mmap(file.fileno(), 0); file.close()",
    ],
    ids=["reads", "writes", "is in it", "lists it", "has mapped it"],
)
def test_what_a_process_holds_stays_as_long_as_it_does(spool: Path, shared: Path, code: str) -> None:
    file = put(spool / "tmpheld/upload", "x" * mmap.PAGESIZE)
    put(spool / "tmpheld/beside")
    put(spool / "tmpfree/upload")
    with process(code, str(file)):
        result = run(spool, shared)
        assert names(spool) == {"tmpheld"}
        assert names(spool / "tmpheld") == {"upload", "beside"}
        assert result.details["stays"] == {"open": 1}
    run(spool, shared)
    assert names(spool) == set()


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes files of others")
def test_where_others_have_theirs_only_ours_go(spool: Path, shared: Path) -> None:
    for name in ("theirs", "mixed/theirs", "ours", "mixed/ours"):
        put(shared / name)
    for name in ("theirs", "mixed/theirs"):
        os.chown(shared / name, OTHER.pw_uid, OTHER.pw_gid)
    put(spool / "theirs")
    os.chown(spool / "theirs", OTHER.pw_uid, OTHER.pw_gid)
    result = run(spool, shared)
    assert names(shared) == {"theirs", "mixed"}
    assert names(shared / "mixed") == {"theirs", "ours"}
    assert names(spool) == set(), "the folder is the service's own"
    assert result.details["stays"] == {"of others": 2}


def test_what_was_put_in_its_place_meanwhile_stays(spool: Path, tmp_path: Path) -> None:
    put(spool / "tmpabc/x")
    victim = put(tmp_path / "victim/important")
    (seen,) = look(str(spool))
    (spool / "tmpabc").rename(tmp_path / "moved")
    (spool / "tmpabc").symlink_to(victim.parent)
    remove(seen)
    assert victim.exists()
    assert (spool / "tmpabc").is_symlink()
    (spool / "tmpabc").unlink()
    remove(seen)  # gone is gone


def test_what_cannot_be_deleted_is_a_finding(spool: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(spool / "protected")
    put(spool / "other")

    def refuse(left: leftovers.Left) -> None:
        if left.name == "protected":
            raise PermissionError(1, "Operation not permitted")
        remove(left)

    monkeypatch.setattr(leftovers, "remove", refuse)
    result = run(spool, shared)
    (found,) = result.findings
    assert (found["id"], found["evidence"]) == (
        "MAINTENANCE_LEFTOVERS",
        f"{spool}/protected: [Errno 1] Operation not permitted",
    )
    assert result.details["count"] == 1
    assert names(spool) == {"protected"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_who_may_not_look_at_every_process_deletes_nothing(spool: Path) -> None:
    """As somebody else: processes of this user do not let themselves be looked at."""
    program = (
        "from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_leftovers as leftovers\n"
        "leftovers.held_open(frozenset({0}))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys\nsys.path[:] = eval(sys.argv[2])\n" + PRELOAD + program,
            str(OTHER.pw_uid),
            repr(sys.path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be looked at, so nothing was deleted" in done.stderr
    assert spool.exists()


# What is imported is imported before: the other user may not read the folder of the tests.
PRELOAD = (
    "from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_leftovers\n"
    "os.setuid(int(sys.argv[1]))\n"
)


def test_a_process_that_ends_meanwhile_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "123/fd").mkdir(parents=True)
    (tmp_path / "456").mkdir()
    (tmp_path / "123/maps").write_text("")
    assert held_open(frozenset({0}), tmp_path) == (set(), set())


def test_the_program_as_hosts_have_it(tmp_path: Path, spool: Path, shared: Path) -> None:
    put(spool / "tmpabc/x")
    given = {"hours": 48, "folders": [str(spool)], "shared": [str(shared)], "users": [ME]}
    ran = Host(tmp_path / "host").run("leftovers", given)
    assert (ran.code, ran.result["details"]["stays"]) == (0, {"young": 1}), ran.output
    assert names(spool) == {"tmpabc"}
