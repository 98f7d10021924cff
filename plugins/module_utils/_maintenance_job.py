# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every job of maintenance runs in: one lock across all hosts, progress, and a last result that programs can read.

A run leaves in its own directory `last.json`, how it ended, and while it is under way `running.json`. What a killed run left is said by the
next program that looks (`ended`, which systemd calls, or the playbook status after a power cut).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance import BAD_INPUT, OUTCOMES, stamp

LAST, RUNNING = "last.json", "running.json"
# The first half of the advisory lock's key, so that it is nobody else's; the second half is the job's.
_LOCKS = 0x6D6C6F70
_PROGRESS_SECONDS = 1.0
# What systemd says of a run that it, the kernel or somebody else ended (systemd.exec(5), $SERVICE_RESULT).
_KILLED = frozenset({"timeout", "signal", "core-dump", "watchdog", "oom-kill", "resources"})


class JobError(Exception):
    """A job cannot go on; the message is a sentence without secrets."""


class Busy(Exception):
    """Another host does it at this moment; the message says which."""


class Say(Protocol):
    """How a job tells what it is doing."""

    def __call__(self, text: str, done: int = 0, of: int = 0) -> None:
        """Say it, with how much of how much is done if that can be counted."""


@dataclass
class Result:
    """What a job came to."""

    sentence: str
    details: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)


Work = Callable[[Mapping[str, Any], Say], Result]
# A lock for as long as the context lasts, or Busy.
Lock = Callable[[], contextlib.AbstractContextManager[None]]


class Notes:
    """The files of one job."""

    def __init__(self, folder: Path) -> None:
        """Take the directory that is the job's own."""
        self._folder = folder

    def begin(self, started: float) -> None:
        """Note that a run is under way."""
        self._write(RUNNING, {"started": started, "text": "", "done": 0, "of": 0})

    def progress(self, started: float, text: str, done: int, of: int) -> None:
        """Note how far it is."""
        self._write(RUNNING, {"started": started, "text": text, "done": done, "of": of})

    def end(self, result: Mapping[str, Any]) -> None:
        """Note how it ended. The result is on the disk before the run is no longer noted as under way."""
        before = self.read(LAST)
        good = result["ended"] if result["outcome"] != "failed" else before.get("last_success", 0)
        self._write(LAST, {**result, "last_success": good})
        (self._folder / RUNNING).unlink(missing_ok=True)

    def read(self, name: str) -> dict[str, Any]:
        """One of the files; empty if there is none."""
        try:
            found = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        # Whoever may enter the directory may read it: nothing in it is secret, and names of runs are no business of other users.
        fresh = self._folder / f".{name}.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(content, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / name)


def run(
    name: str, work: Work, lock: Lock, request: Mapping[str, Any], notes: Notes, secrets: tuple[str, ...] = ()
) -> int:
    """Do a job once; returns the code to exit with.

    Args:
        name: of the job.
        work: what it does.
        lock: what keeps other hosts from doing the same meanwhile.
        request: what the job is told.
        notes: where it is noted.
        secrets: words that are in no result and no output, whoever said them.
    """
    started = time.time()
    host = str(request.get("host", ""))
    spoken = 0.0

    def hidden(value: Any) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                value = value.replace(secret, "***")
            return value
        if isinstance(value, dict):
            return {hidden(key): hidden(one) for key, one in value.items()}
        return [hidden(one) for one in value] if isinstance(value, list) else value

    def say(text: str, done: int = 0, of: int = 0) -> None:
        nonlocal spoken
        now = time.monotonic()
        if done and done != of and now - spoken < _PROGRESS_SECONDS:
            return
        spoken = now
        _line(hidden(f"{text} ({done} of {of})" if of else text))
        notes.progress(started, hidden(text), done, of)

    notes.begin(started)
    outcome, result = "failed", Result("")
    try:
        with lock():
            result = work(request, say)
        outcome = "found" if result.findings else "done"
    except Busy as busy:
        outcome, result = "elsewhere", Result(str(busy))
    except JobError as error:
        result = Result(str(error))
    except Exception as error:  # whatever it is, the result says so
        _line(hidden(traceback.format_exc()), sys.stderr)
        result = Result(f"It broke off: {type(error).__name__}: {words(error)}.")
    clean = Result(hidden(result.sentence), hidden(result.details), hidden(result.findings))
    notes.end(_told(name, host, started, outcome, clean, dry_run=bool(request.get("dry_run"))))
    _line(clean.sentence)
    return OUTCOMES[outcome]


def _line(text: str, stream: TextIO | None = None) -> None:
    """A line for the journal, at once."""
    out = stream or sys.stdout
    out.write(f"{text}\n")
    out.flush()


def _told(
    name: str, host: str, started: float, outcome: str, result: Result, *, dry_run: bool = False
) -> dict[str, Any]:
    ended = time.time()
    return {
        "job": name,
        "host": host,
        "invocation": os.environ.get("INVOCATION_ID", ""),
        "started": started,
        "started_at": stamp(started),
        "ended": ended,
        "ended_at": stamp(ended),
        "seconds": round(ended - started, 1),
        "dry_run": dry_run,
        "outcome": outcome,
        "sentence": result.sentence,
        "details": result.details,
        "findings": result.findings,
    }


def refused(name: str, host: str, notes: Notes, sentence: str) -> int:
    """Note that a run could not even begin, for what it was told makes no sense."""
    notes.end(_told(name, host, time.time(), "failed", Result(sentence)))
    _line(sentence, sys.stderr)
    return BAD_INPUT


def cut_off(name: str, host: str, notes: Notes, why: str) -> bool:
    """Note for a run that could not do so itself how it ended; false if it did. systemd calls this after every run.

    Args:
        name: the job.
        host: its host.
        notes: where it is noted.
        why: systemd's SERVICE_RESULT.
    """
    running = notes.read(RUNNING)
    # systemd gives each run of a unit an id, and the same one to whoever notes its end.
    noted = os.environ.get("INVOCATION_ID", "") in ("", notes.read(LAST).get("invocation"))
    # Also one that was killed before it had said that it began.
    if not running and (noted or why not in _KILLED):
        return False
    meant = {"timeout": "it took longer than its timeout", "oom-kill": "it was killed for want of memory"}
    at = f", while: {running['text']}" if running.get("text") else ""
    sentence = f"It did not end by itself: {meant.get(why, why or 'killed')}{at}."
    notes.end(_told(name, host, float(running.get("started") or time.time()), "failed", Result(sentence)))
    return True


def mounts() -> list[Path]:
    """Where file systems are mounted, as this process sees it (proc(5), mountinfo)."""
    return [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]


def measurable(path: str) -> Path | None:
    """Where the file system of a path can be measured: the path, or the nearest folder above that lets this user in. None if it is not here.

    Raises:
        PermissionError: it lies on a disk of its own, in a folder that lets nobody in.
    """
    wanted = Path(path)
    for place in (wanted, *wanted.parents):
        try:
            place.stat()
        except PermissionError:
            continue
        except OSError:
            return None
        if any(place in mount.parents and mount in (wanted, *wanted.parents) for mount in mounts()):
            raise PermissionError(f"{path} is on a disk of its own, and {place} is the last folder that can be entered")
        return place
    return None


@contextlib.contextmanager
def unlocked() -> Iterator[None]:
    """What concerns one host alone needs no lock: its unit runs once at a time."""
    yield


def lock_key(name: str) -> tuple[int, int]:
    """The advisory lock of a job, as the two numbers that PostgreSQL takes."""
    return _LOCKS, zlib.crc32(name.encode()) & 0x7FFFFFFF


@contextlib.contextmanager
def locked(parameters: Mapping[str, str], name: str, host: str) -> Iterator[None]:
    """Hold the job's lock in the tracking database, which all hosts have in common.

    It is one of a transaction and not of a session: a pooler may give a session to somebody else between two transactions. The transaction
    reads nothing, so it holds up neither vacuum nor a concurrent build of an index.

    Raises:
        Busy: another host has it.
        JobError: the database does not answer.
    """
    import psycopg2

    from ansible_collections.mlops.mlflow.plugins.module_utils._database import secrets_of

    def failed(error: Exception) -> JobError:
        text = words(error)
        for secret in secrets_of(parameters):
            text = text.replace(secret, "***")
        return JobError(f"The database that holds the lock of the job: {text}.")

    told: dict[str, Any] = {
        "connect_timeout": "20",
        "keepalives_idle": "60",
        **parameters,
        "application_name": f"mlops-{name}@{host}"[:63],
    }
    try:
        connection = psycopg2.connect(**told)
    except psycopg2.Error as error:
        raise failed(error) from None
    with contextlib.closing(connection):
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", lock_key(name))
                row = cursor.fetchone()
                if not row or not row[0]:
                    raise Busy(_holder(cursor, name))
        except psycopg2.Error as error:
            raise failed(error) from None
        yield
        try:
            connection.rollback()
        except psycopg2.Error as error:
            raise failed(error) from None


def _holder(cursor: Any, name: str) -> str:
    cursor.execute(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s::bigint AND l.objid = %s::bigint"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        lock_key(name),
    )
    found = cursor.fetchone()
    where = str(found[0]).partition("@")[2] if found else ""
    return f"{where or 'Another host'} does it at this moment."


def read_request(path: Path, name: str) -> dict[str, Any]:
    """Read what the role wrote for a job; JobError if it is not that."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(f"{path}: {error.strerror}.") from None
    except ValueError:
        raise JobError(f"{path} is not JSON.") from None
    if not isinstance(found, dict) or found.get("job") != name:
        raise JobError(f"{path} is not the request of the job {name}.")
    return found
