# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a move of artifacts from one place to another means: which objects are copied, which locations are rewritten. Pure.

Nothing is ever deleted, and in the place that is moved from nothing is overwritten. _artifact_mover.py does what is decided here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._adoption import tables_held
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import Row, printable
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import (
    OURS,
    address,
    ancestors,
    collapse,
    is_served,
    key_below,
    key_of,
    root,
    spell,
    within,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Thing
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import Change, Location

# What a file system and S3 take (PATH_MAX less what is above the place is not known here; the system says it in time).
_NAME_BYTES = 255
_KEY_BYTES = 1024
# Tables whose locations hold no objects themselves: what is made from now on goes below them.
_ROOTS = ("experiments", "workspaces")


@dataclass(frozen=True)
class Wanted:
    """A move."""

    source: ArtifactUri
    target: ArtifactUri
    served: ArtifactUri  # the servers' destination today
    direct: bool  # clients reach the store themselves
    experiments: tuple[str, ...]  # empty for everything
    switch: bool = False  # the servers will serve from the target afterwards

    @property
    def served_before(self) -> ArtifactUri:
        """To what a served location is relative while its objects are in the source."""
        return self.source if self.switch else self.served

    @property
    def served_after(self) -> ArtifactUri:
        """To what it will be relative."""
        return self.target if self.switch else self.served

    @property
    def copies(self) -> bool:
        """Whether there is anything to copy: the same place twice means that locations are only spelled anew."""
        return root(self.source) != root(self.target)


def places_problem(wanted: Wanted) -> str:
    """Why the two places cannot be used together; empty if they can."""
    for place in (wanted.source, wanted.target):
        if place.kind not in ("directory", "s3"):
            return f"{place.uri} is neither a directory nor S3"
    if not wanted.copies:
        return ""
    for inner, outer in ((wanted.source, wanted.target), (wanted.target, wanted.source)):
        if key_below(root(inner), outer) is not None:
            return f"{inner.uri} lies within {outer.uri}"
    return ""


def switches(wanted: Wanted) -> bool:
    """Whether everything that the servers serve is moved: then served locations stay as they are, and the destination changes."""
    return not wanted.experiments and wanted.copies and root(wanted.source) == root(wanted.served)


def prefixes(rows: Iterable[Row], wanted: Wanted, known: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the keys below which everything is moved, and the experiments that have nothing in the source.

    Args:
        rows: everything that has a location.
        wanted: the move.
        known: what an earlier run of this move found: by now those rows may point to the target.
    """
    if not wanted.experiments:
        return ("",), []
    found = set(known)
    missing = set() if found else set(wanted.experiments)
    for row in rows:
        key = (
            key_of(row.location, wanted.source, wanted.served_before) if row.experiment in wanted.experiments else None
        )
        if key is not None:
            found.add(key)
            missing.discard(row.experiment)
    return collapse(frozenset(found)), sorted(missing)


def changes(locations: Iterable[Location], below: Iterable[str], wanted: Wanted) -> tuple[list[Change], list[str]]:
    """Return the locations to rewrite, and a sentence for each that would not fit into its column."""
    moved = frozenset(below)
    found, long = [], []
    for one in locations:
        key = key_of(one.value, wanted.source, wanted.served_before)
        if key is None or not within(key, moved):
            continue
        new = spell(key, wanted.target, wanted.served_after, direct=wanted.direct)
        # The same thing in the same way, only written otherwise, stays as it is.
        same = address(one.value, wanted.served_after) == address(new, wanted.served_after)
        if same and is_served(one.value) == is_served(new):
            continue
        if one.limit and len(new) > one.limit:
            long.append(f"{one.table}.{one.column} takes {one.limit} characters, {new} has {len(new)}")
        found.append(Change(one.table, one.column, one.key, one.value, new))
    return found, long


# ----- objects


@dataclass(frozen=True)
class Copied:
    """An object that was copied and read back, and how both looked then."""

    key: str
    size: int
    sha256: str
    source: str  # token
    target: str

    def reversed(self) -> Copied:
        """As the way back sees it."""
        return Copied(self.key, self.size, self.sha256, self.target, self.source)


@dataclass
class Plan:
    """What is to be done with objects."""

    copy: list[Thing] = field(default_factory=list)
    compare: list[Thing] = field(default_factory=list)  # both have it, and nobody knows yet whether it is the same
    done: int = 0
    changed: list[str] = field(
        default_factory=list
    )  # known copies that are now different in the place that is moved from
    conflicts: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """How much is to be copied."""
        return sum(one.size for one in self.copy)


def plan(
    source: Iterable[Thing], target: Mapping[str, Thing], copied: Mapping[str, Copied], begun: frozenset[str]
) -> Plan:
    """Decide about each object of the source.

    Args:
        source: what is there; the collection's own objects are left out.
        target: what is there, by key.
        copied: what this move has copied and proved so far.
        begun: keys at which a copy was begun and not proved: what stands there is ours.
    """
    found = Plan()
    for one in source:
        if one.key.split("/", 1)[0] == OURS:
            continue
        there, known = target.get(one.key), copied.get(one.key)
        if there is None or one.key in begun:
            found.copy.append(one)
        elif known is None:
            found.compare.append(one) if there.size == one.size else found.conflicts.append(one.key)
        elif known.source == one.token:
            found.done += 1  # whatever became of the copy since is younger than the original
        elif known.target == there.token:
            found.copy.append(one)
            found.changed.append(one.key)
        else:
            found.conflicts.append(one.key)
    return found


def names_problem(things: Iterable[Thing], kind: str) -> list[str]:
    """Objects that a place of that kind cannot hold, and why."""
    found = []
    keys = set()
    for one in things:
        keys.add(one.key)
        parts = one.key.split("/")
        name = printable(one.key)
        try:
            length = len(one.key.encode())
        except UnicodeEncodeError:
            found.append(f"{name} is not UTF-8")
            continue
        if one.odd:
            found.append(f"{name} is {one.odd}")
        elif kind == "directory" and {"", ".", ".."} & set(parts):
            found.append(f"{name} has empty or dotted parts")
        elif kind == "directory" and any(len(part.encode()) > _NAME_BYTES or "\0" in part for part in parts):
            found.append(f"{name} has a part of more than {_NAME_BYTES} bytes")
        elif kind == "s3" and length > _KEY_BYTES:
            found.append(f"{name} has {length} bytes")
    if kind == "directory":
        found += [
            f"{key} has objects below it" for key in sorted({up for one in keys for up in ancestors(one)[1:]} & keys)
        ]
    return found


# ----- the journal


class JournalError(ValueError):
    """A journal that cannot be followed."""


@dataclass
class Journal:
    """What the file of a move says: one JSON a line, only ever added to."""

    head: dict[str, Any] = field(default_factory=dict)
    below: set[str] = field(default_factory=set)
    copied: dict[str, Copied] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    changes: list[Change] = field(default_factory=list)  # since the last undoing, whether they were committed or not

    def take(self, line: Mapping[str, Any]) -> None:
        """Take in one line."""
        what = line["what"]
        if what == "move":
            self.head = dict(line)
        elif what == "below":
            self.below |= set(line["keys"])
        elif what == "begun":
            self.begun.add(line["key"])
        elif what == "copied":
            one = Copied(**{name: line[name] for name in ("key", "size", "sha256", "source", "target")})
            self.copied[one.key] = one
            self.begun.discard(one.key)
        elif what == "rows":
            self.changes += [
                Change(
                    one["table"],
                    one["column"],
                    tuple((name, value) for name, value in one["key"]),
                    one["old"],
                    one["new"],
                )
                for one in line["changes"]
            ]
        elif what == "undone":
            self.changes = []


def head(wanted: Wanted) -> dict[str, Any]:
    """The first line of a journal."""
    return {
        "what": "move",
        "format": 1,
        "from": wanted.source.uri,
        "to": wanted.target.uri,
        "experiments": list(wanted.experiments),
        "switch": wanted.switch,
    }


def lines_of(things: Iterable[Copied | Change]) -> list[dict[str, Any]]:
    """How the journal says it; changes by the thousand."""
    found: list[dict[str, Any]] = []
    for one in things:
        if isinstance(one, Copied):
            found.append({"what": "copied", **asdict(one)})
        elif found and found[-1]["what"] == "rows" and len(found[-1]["changes"]) < 1000:
            found[-1]["changes"].append(asdict(one))
        else:
            found.append({"what": "rows", "changes": [asdict(one)]})
    return found


def read_journal(text: str, wanted: Wanted) -> Journal:
    """Understand a journal; a last line that was cut off by a crash does not count.

    Raises:
        JournalError: it is damaged, or that of another move.
    """
    journal = Journal()
    whole, _cut, _rest = text.rpartition("\n")
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            journal.take(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"line {number} cannot be read ({type(error).__name__})") from None
        if number == 1:
            mine, theirs = head(wanted), journal.head
            if theirs.get("format") != mine["format"]:
                raise JournalError("it does not begin as one of this release")
            if different := [name for name in ("from", "to", "experiments") if theirs.get(name) != mine[name]]:
                said = ", ".join(f"{name} {theirs.get(name)}" for name in different)
                raise JournalError(f"it is of the move with {said}")
    return journal


def way_back(journal: Journal, locations: Iterable[Location], wanted: Wanted) -> tuple[list[Change], tuple[str, ...]]:
    """Return the locations to put back, and the keys below which the target may hold what the source lacks.

    A location that is no longer what the move made of it stays. What was made in the target since, by experiments that were moved,
    stays there as well and can be used there.
    """
    made = {(one.table, one.column, one.key, one.new): one for one in journal.changes}
    back: list[Change] = []
    keys: set[str] = set()
    for one in locations:
        change = made.get((one.table, one.column, one.key, one.value))
        if change:
            back.append(change.reversed())
        served = wanted.switch and is_served(one.value)
        if (change or served) and one.table not in _ROOTS:
            key = key_of(one.value, wanted.target, wanted.target if served else wanted.served_after)
            if key is not None and within(key, frozenset(journal.below)):
                keys.add(key)
    return back, collapse(frozenset(keys))


# ----- the backup


def backup_problem(listing: str, database: str, tables: Iterable[str], last_run: float, made: float) -> str:
    """Why a dump does not prove that the locations can be brought back; empty if it does.

    Args:
        listing: the text of `pg_restore --list`.
        database: whose dump it must be.
        tables: whose rows it must hold.
        last_run: when the last finished run ended; 0 for a dump that was made just now.
        made: when the dump was begun.
    """
    if (name := _said(listing, "dbname")) != database:
        return f"it is of the database {name or 'of no name'}, not of {database}"
    if lacking := sorted(set(tables) - tables_held(listing)):
        return f"it lacks the rows of {', '.join(lacking)}"
    if made < last_run:
        return "a run has ended since it was begun"
    return ""


def _said(listing: str, name: str) -> str:
    for line in listing.splitlines():
        words = line.removeprefix(";").strip()
        if words.startswith(f"{name}:"):
            return words.partition(":")[2].strip()
    return ""


def dump_time(listing: str) -> float:
    """When a dump was begun, from the text of `pg_restore --list` read in UTC; 0 if it does not say."""
    found = re.search(r"^; Archive created at (\d+-\d+-\d+ \d+:\d+:\d+) UTC$", listing, re.MULTILINE)
    if not found:
        return 0.0
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
