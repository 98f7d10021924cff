"""The frame of every job: one lock, a result that programs can read, and what a killed run leaves."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance import told
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import (
    Busy,
    JobError,
    Notes,
    Result,
    Say,
    cut_off,
    locked,
    read_request,
    run,
    unlocked,
)
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import ROLE, UTILS, Host, imported, shipped, unpack
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server


def parameters(server: Server, database: str) -> dict[str, str]:
    return {"host": server.socket, "port": str(server.port), "user": "postgres", "dbname": database}


def good(_request: Mapping[str, Any], say: Say) -> Result:
    say("Working", 1, 2)
    return Result("It did.", {"things": 2})


def test_a_run_leaves_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = Notes(tmp_path)
    assert run("gc", good, unlocked, {"host": "app1", "dry_run": True}, notes) == 0
    last = notes.read("last.json")
    assert (last["job"], last["host"], last["outcome"], last["sentence"]) == ("gc", "app1", "done", "It did.")
    assert (last["dry_run"], last["details"], last["findings"]) == (True, {"things": 2}, [])
    assert last["started"] <= last["ended"] == last["last_success"]
    assert not (tmp_path / "running.json").exists()
    assert capsys.readouterr().out.splitlines() == ["Working (1 of 2)", "It did."]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(JobError("The store is away."), "The store is away."), (ValueError("odd"), "It broke off: ValueError: odd.")],
)
def test_a_failure_is_a_result_and_keeps_the_last_success(tmp_path: Path, error: Exception, sentence: str) -> None:
    def bad(_request: Mapping[str, Any], _say: Say) -> Result:
        raise error

    notes = Notes(tmp_path)
    run("gc", good, unlocked, {}, notes)
    success = notes.read("last.json")["ended"]
    assert run("gc", bad, unlocked, {}, notes) == 1
    last = notes.read("last.json")
    assert (last["outcome"], last["sentence"], last["last_success"]) == ("failed", sentence, success)


def test_secrets_are_in_no_result_and_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talkative(_request: Mapping[str, Any], say: Say) -> Result:
        say("with swordfish")
        return Result("swordfish", {"why": "it's swordfish!"}, [{"id": "X", "summary": "swordfish"}])

    def broken(_request: Mapping[str, Any], _say: Say) -> Result:
        raise ValueError("swordfish")

    for work, code in ((talkative, 3), (broken, 1)):
        assert run("gc", work, unlocked, {}, Notes(tmp_path), ("swordfish",)) == code
        assert "swordfish" not in (tmp_path / "last.json").read_text()
    said = capsys.readouterr()
    assert "swordfish" not in said.out + said.err
    assert "with ***" in said.out


def test_another_host_is_at_it(tmp_path: Path, postgresql: Server, database: str) -> None:
    known = parameters(postgresql, database)
    notes = Notes(tmp_path)
    with locked(known, "gc", "app1"):
        assert run("gc", good, functools.partial(locked, known, "gc", "app2"), {"host": "app2"}, notes) == 75
        # Another job has a lock of its own.
        assert run("orphans", good, functools.partial(locked, known, "orphans", "app2"), {}, Notes(tmp_path)) == 0
    assert run("gc", good, functools.partial(locked, known, "gc", "app2"), {"host": "app2"}, notes) == 0
    with (
        locked(known, "gc", "app1"),
        pytest.raises(Busy, match=r"^app1 does it at this moment\.$"),
        locked(known, "gc", "app2"),
    ):
        raise AssertionError


def test_the_lock_outlives_the_limit_of_idle_transactions_and_holds_up_nobody(
    postgresql: Server, database: str
) -> None:
    postgresql.execute(f"ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '200ms'")
    postgresql.execute("CREATE TABLE t (x int)", database=database)
    known = parameters(postgresql, database)
    with locked(known, "gc", "app1"):
        postgresql.execute("INSERT INTO t VALUES (1)", database=database)
        time.sleep(0.6)
        with pytest.raises(Busy), locked(known, "gc", "app2"):
            raise AssertionError
        # A transaction with a snapshot would make this wait, and leave dead rows behind.
        postgresql.execute("CREATE INDEX CONCURRENTLY i ON t (x)", database=database)
        ((held,),) = postgresql.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlops-gc@app1' AND backend_xmin IS NOT NULL"
        )
    assert held == 0


def test_a_database_that_is_away_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    away = {"host": str(tmp_path), "port": "1", "user": "u", "password": "swordfish", "dbname": "d"}
    assert run("gc", good, functools.partial(locked, away, "gc", "app1"), {}, Notes(tmp_path)) == 1
    sentence = Notes(tmp_path).read("last.json")["sentence"]
    assert sentence.startswith("The database that holds the lock of the job: ")
    assert "swordfish" not in sentence


@pytest.mark.parametrize(
    ("why", "said"),
    [("timeout", "it took longer than its timeout"), ("oom-kill", "want of memory"), ("signal", "signal")],
)
def test_what_systemd_ended_is_noted(tmp_path: Path, why: str, said: str) -> None:
    notes = Notes(tmp_path)
    run("gc", good, unlocked, {}, notes)
    success = notes.read("last.json")["last_success"]
    notes.begin(time.time())
    notes.progress(time.time(), "Deleting", 1, 2)
    assert cut_off("gc", "app1", notes, why)
    last = notes.read("last.json")
    assert (last["outcome"], last["last_success"]) == ("failed", success)
    assert said in last["sentence"]
    assert "while: Deleting" in last["sentence"]
    assert not cut_off("gc", "app1", notes, "success"), "it ended by itself"
    assert not cut_off("gc", "app1", notes, "exit-code"), "it said so itself"


def test_what_was_ended_before_it_could_say_anything_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(tmp_path)
    monkeypatch.setenv("INVOCATION_ID", "1")
    run("gc", good, unlocked, {}, notes)
    before = notes.read("last.json")
    assert not cut_off("gc", "app1", notes, "timeout"), "it had said how it ended"
    monkeypatch.setenv("INVOCATION_ID", "2")
    assert cut_off("gc", "app1", notes, "timeout")
    last = notes.read("last.json")
    assert (last["outcome"], last["last_success"]) == ("failed", before["last_success"])
    assert last["sentence"] == "It did not end by itself: it took longer than its timeout."
    assert last["started"] >= before["ended"]


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not JSON"), ('{"job": "gc"}', "is not the request of the job orphans")]
)
def test_a_request_that_makes_no_sense(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(JobError, match=said):
        read_request(path, "orphans")


# ----- the program as a host has it


def test_what_is_shipped_is_what_is_imported() -> None:
    """No file is missing there, and none is there for nothing."""
    found = imported(ROLE / "files/maintenance.py") | {path.name for path in UTILS.glob("_maintenance_*.py")}
    while more := {one for name in found for one in imported(UTILS / name)} - found:
        found |= more
    # The registry is imported as one.
    assert sorted(found) == sorted(shipped())


def test_unpacking_is_all_or_nothing(tmp_path: Path) -> None:
    program = unpack(tmp_path)
    assert program.is_file()
    assert (program.parent.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o755, 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


EXPIRY = {
    "certificate_folder": "/nonexistent",
    "certificate_files": [],
    "certificate_days": 21,
    "disks": [],
    "disk_percent": 1,
    "credential_dates": {},
    "credential_days": 90,
    "environment": "dev",
    "backups": "/nonexistent",
    "backup_hours": 50,
    "drill_days": 35,
}


def test_the_program_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    host = Host(tmp_path)
    ran = host.run("gc", {"job": "orphans"})
    assert ran.code == 2
    assert "is not the request of the job gc" in ran.result["sentence"]
    (found,) = told(
        "app1", [{"name": "gc", "enabled": True, "due_seconds": 9, "since": 0, "last": ran.result}], time.time()
    )
    assert found["id"] == "JOB_FAILED"


def test_a_killed_program_is_found(tmp_path: Path) -> None:
    """SIGKILL, as of a power cut: nothing of ours can speak, and the next one who looks sees it."""
    host = Host(tmp_path)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    slow = bin_folder / "timedatectl"
    slow.write_text("#!/bin/sh\nsleep 15\n")
    slow.chmod(0o755)
    process = host.start("run", "expiry", EXPIRY, PATH=f"{bin_folder}:/usr/bin:/bin")
    end = time.monotonic() + 60
    while not (host.state / "running.json").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.communicate()
    started = json.loads((host.state / "running.json").read_text())["started"]
    job = {
        "name": "expiry",
        "enabled": True,
        "due_seconds": 9,
        "since": started,
        "last": {},
        "started": started,
        "active": False,
    }
    assert [one["id"] for one in told("app1", [job], started + 5)] == ["JOB_FAILED"]
    host.ended("expiry", "signal")
    assert host.last()["outcome"] == "failed"
    with contextlib.suppress(FileNotFoundError):
        assert not (host.state / "running.json").exists()
    assert host.run("expiry", EXPIRY).result["outcome"] in ("done", "found"), "and the next run does its work"


def test_a_program_that_systemd_could_not_start_is_found(tmp_path: Path) -> None:
    """For instance because the release is gone whose Python runs it."""
    host = Host(tmp_path)
    assert host.run("expiry", EXPIRY).result["outcome"] in ("done", "found")
    before = host.last()
    for why, status in (("success", "3"), ("exit-code", "1"), ("timeout", "TERM")):
        host.ended("expiry", why, status)
        assert host.last() == before, "the program said itself how it ended"
    host.ended("expiry", "exit-code", "203")
    assert (host.last()["outcome"], host.last()["last_success"]) == ("failed", before["last_success"])
    assert host.last()["sentence"].startswith("systemd could not start it (status 203)")


def test_a_run_is_followed_to_its_end(tmp_path: Path) -> None:
    """The state before it; then, while the unit is under way, how far it is; then its end, as soon as it comes."""
    host = Host(tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "state-of-unit").write_text("inactive")
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/state-of-unit\n")
    program.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"

    def look(*before: str) -> str:
        process = host.start("follow", "gc", None, "", *before, PATH=path)
        output, _nothing = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output.strip()

    first = look()
    assert json.loads(first) == {"active": False, "running": {}, "last": {}}
    notes = Notes(host.state)
    notes.begin(time.time())
    notes.progress(time.time(), "Deleting", 3, 9)
    (tmp_path / "state-of-unit").write_text("activating")
    second = look(first)
    assert json.loads(second)["active"]
    assert json.loads(second)["running"]["done"] == 3
    run("gc", good, unlocked, {}, notes)
    (tmp_path / "state-of-unit").write_text("inactive")
    begun = time.monotonic()
    third = json.loads(look(second))
    assert (third["active"], third["last"]["outcome"]) == (False, "done")
    assert time.monotonic() - begun < 20, "it does not wait when there is nothing to wait for"
