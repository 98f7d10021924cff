# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Do what _artifact_move.py decides: copy, read back, rewrite in one transaction; or bring all that back.

Ended at any moment, it goes on where it was when it is run again: what was proved stands in the journal, and the locations are rewritten
after everything else, together or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_move as decide
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import printable, size
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_move import (
    Copied,
    Journal,
    JournalError,
    Plan,
    Wanted,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import (
    MARKER,
    Objects,
    Reader,
    StoreError,
    Thing,
    acting_as,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import (
    Change,
    DatabaseError,
    RowsChanged,
    Tracking,
    read_dump,
)

_ATTEMPTS = 3
_CHUNK = 1024**2


class Refusal(Exception):
    """Why it did not go on; a finding."""

    def __init__(self, finding_id: str, summary: str, evidence: Iterable[str] = ()) -> None:
        """Take the id, a sentence, and what shows it, of which the first few are said in the sentence as well."""
        super().__init__(summary)
        self.finding_id = finding_id
        self.evidence = "; ".join(list(evidence)[:5])
        self.summary = f"{summary.rstrip('.')}: {self.evidence}." if self.evidence else summary


@dataclass(frozen=True)
class Means:
    """With what it is done."""

    source: Objects
    target: Objects
    database: Tracking
    journal: Path
    environment: str
    backup: str  # a dump that exists; empty to make one
    backup_directory: Path
    user: str = ""  # whose files a directory's are
    workers: int = 8
    check_mode: bool = False
    changed_since: str = "refuse"  # when undoing: refuse, keep (what the source has) or take (what the target has)


@dataclass
class Report:
    """What was done, or would be."""

    copied: int = 0
    bytes: int = 0
    compared: int = 0
    kept: int = 0
    rewritten: dict[str, int] = field(default_factory=dict)
    backup: str = ""
    switch: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything is now otherwise."""
        return bool(self.copied or self.rewritten)


# ----- the journal's file


class Book:
    """The file of a journal, held by one run at a time."""

    def __init__(self, file: IO[str] | None, journal: Journal) -> None:
        """Take an open file; none in check mode."""
        self.journal = journal
        self._file = file
        self._lock = threading.Lock()

    def note(self, *lines: Mapping[str, Any], sure: bool = False) -> None:
        """Add lines and remember what they say; `sure`: they are on the disk when this returns."""
        with self._lock:
            for line in lines:
                self.journal.take(json.loads(json.dumps(line)))
                if self._file:
                    self._file.write(json.dumps(line) + "\n")
            if self._file:
                self._file.flush()
                if sure:
                    os.fsync(self._file.fileno())


@contextlib.contextmanager
def opened(means: Means, wanted: Wanted, *, must_exist: bool) -> Iterator[Book]:
    """Open the journal, begin it if there is none, and keep others out until the end."""
    path = means.journal
    if not path.exists():
        if must_exist:
            raise Refusal("MOVE_JOURNAL", f"There is no journal {path}: this move was not made from this host.")
        if means.check_mode:
            yield Book(None, Journal())
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal("MOVE_JOURNAL", f"Another run writes into {path}.") from None
        text = file.read()
        try:
            journal = decide.read_journal(text, wanted)
        except JournalError as error:
            raise Refusal("MOVE_JOURNAL", f"{path}: {error}.") from None
        if means.check_mode:
            yield Book(None, journal)
            return
        # What a crash left of a line goes.
        file.seek(len(text[: text.rfind("\n") + 1].encode()))
        file.truncate()
        yield Book(file, journal)


# ----- one object


class _Hashing:
    """Computes the checksum of what is read through it."""

    def __init__(self, body: Reader) -> None:
        self._body = body
        self._sum = hashlib.sha256()
        self.size = 0

    def read(self, amount: int = -1, /) -> bytes:
        got = self._body.read(amount) if amount >= 0 else self._body.read()
        self._sum.update(got)
        self.size += len(got)
        return got

    def digest(self) -> str:
        return self._sum.hexdigest()

    def drain(self) -> str:
        while self.read(_CHUNK):
            pass
        return self.digest()


def _checksum(store: Objects, key: str) -> str:
    with store.reading(key) as body:
        return _Hashing(body).drain()


def _carry(source: Objects, target: Objects, thing: Thing) -> Copied | None:
    """Copy one object and read it back; None if it was taken away meanwhile."""
    for _attempt in range(_ATTEMPTS):
        with source.reading(thing.key) as body:
            passing = _Hashing(body)
            target.put(thing.key, passing, thing.size)
        now, there = source.look(thing.key), target.look(thing.key)
        if now is None:
            return None
        if now.token != thing.token:
            thing = now
            continue
        if there is None or passing.size != thing.size or _checksum(target, thing.key) != passing.digest():
            raise Refusal("MOVE_CHECKSUM", f"{printable(thing.key)}: the copy is not what was read.")
        return Copied(thing.key, thing.size, passing.digest(), thing.token, there.token)
    raise Refusal("MOVE_CHECKSUM", f"{printable(thing.key)} changed each time it was read.")


def _same(source: Objects, target: Objects, thing: Thing) -> Copied | None:
    """What is known of two objects of one size, if they are the same."""
    digest = _checksum(source, thing.key)
    there = target.look(thing.key)
    if there is None or _checksum(target, thing.key) != digest:
        return None
    return Copied(thing.key, thing.size, digest, thing.token, there.token)


def _side_by_side(things: Sequence[Thing], act: Callable[[Thing], None], workers: int) -> None:
    """Do it for each; the first error ends all that has not begun."""
    stop = threading.Event()

    def guarded(thing: Thing) -> None:
        if not stop.is_set():
            try:
                act(thing)
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for _done in pool.map(guarded, things):
            pass


# ----- many objects


@dataclass
class _Way:
    """Copying in one direction: there, or `back` from the target to the source of the move."""

    means: Means
    book: Book
    report: Report
    source: Objects
    target: Objects
    target_kind: str
    back: bool = False
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def _turned(self, one: Copied) -> Copied:
        """The journal speaks of the way there."""
        return one.reversed() if self.back else one

    def look(self, below: Sequence[str]) -> Plan:
        """Compare both places and refuse what cannot be done, before anything is done."""
        journal = self.book.journal
        begun = frozenset(journal.begun)
        things = [one for prefix in below for one in self.source.things(prefix)]
        target = {one.key: one for prefix in below for one in self.target.things(prefix)}
        copied = {key: self._turned(one) for key, one in journal.copied.items()}
        if self.back:
            # What was not copied to its end on the way there is whole where it came from.
            things, begun = [one for one in things if one.key not in begun], frozenset()
        plan = decide.plan(things, target, copied, begun)
        if self.back:
            self._settle_changed(plan)
        if plan.conflicts:
            raise Refusal(
                "MOVE_CONFLICT",
                f"{len(plan.conflicts)} objects stand in the other place with another content.",
                map(printable, plan.conflicts),
            )
        wanted = [*plan.copy, *plan.compare]
        # Names that are there already clash as well.
        if odd := decide.names_problem([*wanted, *(one for one in target.values() if wanted)], self.target_kind):
            raise Refusal("MOVE_NAMES", f"{len(odd)} objects cannot be moved by their names.", odd)
        free = self.target.free()
        if free is not None and plan.bytes > free:
            raise Refusal("MOVE_ROOM", f"{size(plan.bytes)} are to be copied, and {size(free)} are free.")
        return plan

    def _settle_changed(self, plan: Plan) -> None:
        """On the way back nothing is overwritten unless that was asked for: the originals may be the only good ones."""
        changed = set(plan.changed)
        if changed and self.means.changed_since == "refuse":
            raise Refusal(
                "MOVE_CONFLICT",
                f"{len(changed)} objects were changed since they were copied. Set mlflow_artifact_move_changed to keep or take.",
                map(printable, plan.changed),
            )
        if self.means.changed_since == "keep":
            plan.copy = [one for one in plan.copy if one.key not in changed]
            self.report.kept = len(changed)

    def carry(self, plan: Plan) -> None:
        """Copy and compare as planned."""

        def copy(thing: Thing) -> None:
            if not self.back:
                self.book.note({"what": "begun", "key": thing.key})
            one = _carry(self.source, self.target, thing)
            if one:
                self._keep(one)
                with self._counting:
                    self.report.copied += 1
                    self.report.bytes += one.size

        def compare(thing: Thing) -> None:
            one = _same(self.source, self.target, thing)
            if one is None:
                raise Refusal(
                    "MOVE_CONFLICT", f"{printable(thing.key)} stands in the other place with another content."
                )
            self._keep(one)
            with self._counting:
                self.report.compared += 1

        _side_by_side(plan.compare, compare, self.means.workers)
        _side_by_side(plan.copy, copy, self.means.workers)
        self.book.note(sure=True)

    def _keep(self, one: Copied) -> None:
        self.book.note(*decide.lines_of([self._turned(one)]))

    def go(self, below: Sequence[str]) -> None:
        """Look and carry, and look once more for what came in meanwhile."""
        with acting_as(self.means.user):
            plan = self.look(below)
            if self.means.check_mode:
                self.report.copied, self.report.bytes, self.report.compared = (
                    len(plan.copy),
                    plan.bytes,
                    len(plan.compare),
                )
                return
            self.carry(plan)
            if plan.copy:
                self.carry(self.look(below))


def _environment_problem(store: Objects, environment: str) -> str:
    if store.look(MARKER) is None:
        return ""
    with store.reading(MARKER) as body:
        found = body.read(200).decode(errors="replace").strip()
    return "" if found == environment else f"belongs to the environment {found!r}, not to {environment!r}"


# ----- the database


def _rewrite(means: Means, book: Book, changes: Sequence[Change], report: Report, *, undo: bool) -> None:
    """Rewrite in one transaction, with the backup that is proved before and the journal written before it ends."""
    for one in changes:
        name = f"{one.table}.{one.column}"
        report.rewritten[name] = report.rewritten.get(name, 0) + 1
    if not changes or means.check_mode:
        return
    report.backup = _proved(means, {one.table for one in changes})

    def written() -> None:
        # Undoing is known by what stands in the rows; only the way there must be known before it is made.
        if not undo:
            book.note(*decide.lines_of(changes), sure=True)

    try:
        means.database.rewrite(changes, before_commit=written)
    except RowsChanged as error:
        raise Refusal("MOVE_ROWS", f"{error} were no longer as they had been read.") from None


def _proved(means: Means, tables: Iterable[str]) -> str:
    """Return the file of a dump that proves that the locations can be brought back; made now if none was named."""
    file = Path(means.backup)
    last_run = 0.0
    try:
        if means.backup:
            last_run = means.database.last_run()
        else:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            file = means.backup_directory / f"before-move-{stamp}.{means.database.name}.dump"
            means.database.dump(file)
        listing = read_dump(file)
    except (DatabaseError, OSError) as error:
        raise Refusal("MOVE_BACKUP", f"{file} is no proved backup.", [str(error)]) from None
    if problem := decide.backup_problem(listing, means.database.name, tables, last_run, decide.dump_time(listing)):
        raise Refusal("MOVE_BACKUP", f"{file} is no proved backup: {problem}.")
    return str(file)


# ----- there and back


def move(wanted: Wanted, means: Means) -> Report:
    """Copy what is missing, prove it, and rewrite what points to the source."""
    with _refusing(), opened(means, wanted, must_exist=False) as book:
        wanted = replace(wanted, switch=bool(book.journal.head.get("switch", decide.switches(wanted))))
        report = Report(switch=wanted.switch)
        with acting_as(means.user):
            if problem := _environment_problem(means.target, means.environment):
                raise Refusal("MOVE_PLACES", f"{wanted.target.uri} {problem}.")
        below, missing = decide.prefixes(means.database.rows(), wanted, book.journal.below)
        if missing:
            raise Refusal("MOVE_EXPERIMENT", f"{wanted.source.uri} holds nothing of {', '.join(missing)}.")
        # What would not fit is said before hours of copying; what is rewritten is read again after them.
        _changes, long = decide.changes(means.database.locations(), below, wanted)
        if long:
            raise Refusal("MOVE_LENGTH", f"{len(long)} locations would be too long.", long)
        if not book.journal.head:
            book.note(decide.head(wanted))
        if set(below) - book.journal.below:
            book.note({"what": "below", "keys": list(below)}, sure=True)
        if wanted.copies:
            _Way(means, book, report, means.source, means.target, wanted.target.kind).go(below)
        changes, _long = decide.changes(means.database.locations(), below, wanted)
        _rewrite(means, book, changes, report, undo=False)
        if changes:
            book.note({"what": "rewritten", "backup": report.backup}, sure=True)
        return report


def undo(wanted: Wanted, means: Means) -> Report:
    """Bring back what was written to the target since, and let the locations say again what they said before."""
    with _refusing(), opened(means, wanted, must_exist=True) as book:
        wanted = replace(wanted, switch=bool(book.journal.head.get("switch")))
        report = Report(switch=wanted.switch)
        changes, below = decide.way_back(book.journal, means.database.locations(), wanted)
        if wanted.copies and below:
            way = _Way(means, book, report, means.target, means.source, wanted.source.kind, back=True)
            way.go(below)
        _rewrite(means, book, changes, report, undo=True)
        if changes:
            book.note({"what": "undone", "backup": report.backup}, sure=True)
        return report


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Make findings of what stores and the database say."""
    try:
        yield
    except StoreError as error:
        raise Refusal("MOVE_STORE", "A store did not do what was asked.", [str(error)]) from None
    except DatabaseError as error:
        raise Refusal("MOVE_DATABASE", "The database did not do what was asked.", [str(error)]) from None
    except OSError as error:
        raise Refusal("MOVE_STORE", "The journal or a backup could not be written.", [str(error)]) from None
