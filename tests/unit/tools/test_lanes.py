"""`make test` runs what needs no host beside what does, and ends with one verdict."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

STAGES = ("setup", "lint", "sanity", "units", "scenario", "hosts")


@pytest.fixture
def tools(tmp_path: Path, repository: Path) -> Path:
    """The tool among stages that do nothing but say their name."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("test", "lib.sh"):
        (folder / name).write_bytes((repository / "tools" / name).read_bytes())
    (folder / "test").chmod(0o755)
    for name in STAGES:
        behave(folder, name, 'printf "%s %s\\n" "${0##*/}" "$*"' if name != "hosts" else ":")
    return folder


def behave(tools: Path, name: str, commands: str) -> None:
    """A stage that does this."""
    path = tools / name
    path.write_text(f"#!/bin/sh\n{commands}\n", encoding="utf-8")
    path.chmod(0o755)


def run(tools: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make test` does."""
    return subprocess.run([str(tools / "test"), *arguments], capture_output=True, text=True, timeout=60, check=False)


def wait_until(condition: Callable[[], bool]) -> None:
    """For at most half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the tool asks for root")


@needs_root
def test_every_stage_runs_and_says_whose_lines_they_are(tools: Path) -> None:
    done = run(tools)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "6 passed, 0 failed"
    assert "scenario-default| scenario default --tarball\n" in done.stdout
    assert "units| units development -m not long\n" in done.stdout


@needs_root
def test_the_page_keeps_what_other_stages_came_to(tools: Path) -> None:
    """Some stages run again, after one failed; a stage that is known no more is left out."""
    behave(tools, "python", "echo Python")
    behave(tools, "sanity", "exit 1")
    page = tools.parent / "docs" / "reference" / "test-results.md"
    page.parent.mkdir(parents=True)
    before = "| units | passed | 7 | 2026-01-02 03:04 | 0123abc |"
    page.write_text(f"{before}\n| sanity | passed | 8 | 2026-01-02 03:04 | 0123abc |\n| gone | passed | 1 | x | y |\n")
    done = run(tools, "--all", "lint", "sanity")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "2 passed, 1 failed"
    assert "units" not in done.stdout
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    names = [
        line.split(" | ")[:2]
        for line in rows[rows.index("| stage | result | seconds | ended (UTC) | revision |") + 1 :]
    ]
    assert names == [["| setup", "passed"], ["| lint", "passed"], ["| sanity", "failed"], ["| units", "passed"]]
    assert before in rows


@needs_root
def test_a_stage_that_nobody_knows_is_refused(tools: Path) -> None:
    done = run(tools, "--all", "scenario-defualt")
    assert done.returncode == 1
    assert "unknown stage: scenario-defualt" in done.stderr
    assert done.stdout == ""


@needs_root
def test_a_stage_that_fails_ends_its_lane_and_the_run(tools: Path) -> None:
    behave(tools, "sanity", "echo broken >&2; exit 3")
    done = run(tools)
    assert done.returncode == 1
    lines = done.stdout.splitlines()  # those of the other lane may stand between
    (end,) = [line for line in lines if re.fullmatch(r"== sanity: FAILED after \d+ s \(exit code 3\)", line)]
    assert "sanity| broken" in lines[: lines.index(end)]
    assert "units" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" passed, 1 failed")


@needs_root
def test_the_other_lane_begins_nothing_more(tools: Path) -> None:
    """The stage on hosts fails while lint still runs: lint is let to its end, sanity does not begin."""
    behave(tools, "lint", f"until [ -e {tools}/failed ]; do sleep 0.05; done; sleep 0.5")
    behave(tools, "scenario", f"touch {tools}/failed; exit 1")
    done = run(tools)
    assert done.returncode == 1
    assert "== lint: passed" in done.stdout
    assert "sanity" not in done.stdout


@needs_root
def test_what_is_left_behind_fails(tools: Path) -> None:
    behave(tools, "hosts", f"cat {tools}/left 2>/dev/null || true")
    behave(tools, "units", f"echo mount of a host >{tools}/left")
    done = run(tools)
    assert done.returncode == 1
    assert "leaks| Left behind:\nleaks| mount of a host\n" in done.stdout  # the lanes are at their end


@needs_root
def test_what_this_machine_lacks_is_skipped_and_counted(tools: Path) -> None:
    behave(tools, "units", "echo no PostgreSQL; exit 77")
    done = run(tools)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "5 passed, 0 failed, 1 skipped"


@needs_root
def test_a_lane_that_was_ended_is_no_success(tools: Path) -> None:
    """Its stages that never began must not look like a shorter test."""
    behave(tools, "lint", "kill -- -$(ps -o pgid= -p $$ | tr -d ' ')")
    done = run(tools)
    assert done.returncode == 1
    assert "a lane that was ended" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 1 failed")


@needs_root
def test_whoever_ends_the_test_ends_its_stages(tools: Path) -> None:
    for name in ("lint", "scenario"):
        behave(tools, name, f"echo $$ >{tools}/{name}.pid; exec sleep 300")
    with subprocess.Popen([str(tools / "test")], stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: all((tools / f"{name}.pid").exists() for name in ("lint", "scenario")))
        process.terminate()
        assert process.wait(timeout=30) == 130
    stages = [Path("/proc", (tools / f"{name}.pid").read_text().strip()) for name in ("lint", "scenario")]
    wait_until(lambda: not any((stage / "cmdline").exists() and (stage / "cmdline").read_bytes() for stage in stages))
