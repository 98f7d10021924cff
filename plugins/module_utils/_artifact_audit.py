# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What MLflow's database and its store of artifacts say about each other. Pure.

The listing of the store comes first and the rows second: MLflow writes a row before the first object, so an object without a row was
without one when it was listed. What is only just being written is left out by a time of grace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import (
    OURS,
    address,
    ancestors,
    is_served,
    key_below,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report

KINDS = ("experiment", "run", "logged_model", "trace", "version")
# What is called how in a sentence.
_WORDS = {
    "experiment": "experiments",
    "run": "runs",
    "logged_model": "logged models",
    "trace": "traces",
    "version": "registered versions",
}
DIRECT = "direct"


@dataclass(frozen=True)
class Row:
    """Something that has a location."""

    kind: str  # of KINDS
    id: str  # of a registered version: name/version
    experiment: str  # its id; empty for a registered version
    location: str
    active: bool  # not marked as deleted
    expected: bool  # MLflow's own notes say that there are objects
    name: str = ""
    dangling: bool = False  # a registered version whose logged model is no more


@dataclass
class Heap:
    """The objects of one folder."""

    objects: int = 0
    bytes: int = 0
    newest: float = 0.0

    def add(self, objects: int, size: int, newest: float) -> None:
        """Take in one more object, or another heap."""
        self.objects += objects
        self.bytes += size
        self.newest = max(self.newest, newest)

    def told(self) -> dict[str, int]:
        """For JSON."""
        return {"objects": self.objects, "bytes": self.bytes}


class Listing:
    """What a store holds, by folder: an audit of a million objects needs the folders only."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.folders: dict[str, Heap] = {}

    def add(self, key: str, size: int, modified: float) -> None:
        """Take in one object; the collection's own are not MLflow's."""
        if key.split("/", 1)[0] != OURS:
            self.folders.setdefault(key.rpartition("/")[0], Heap()).add(1, size, modified)

    def holding(self) -> frozenset[str]:
        """Every folder that has an object in it or below it."""
        return frozenset(above for folder in self.folders for above in ancestors(folder))


@dataclass(frozen=True)
class Wanted:
    """How the environment is configured."""

    place: ArtifactUri
    transfer: str  # proxied, presigned or direct
    now: float
    grace: float  # seconds
    limit: int  # of each list; 0 for all


@dataclass
class _Elsewhere:
    """An experiment, or the registered versions, that say something else than the configuration."""

    name: str
    location: str
    rows: int = 0


@dataclass
class Audit:
    """What came of it; `to_dict` is what users get."""

    total: Heap = field(default_factory=Heap)
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    empty_runs: int = 0
    other_store: dict[str, _Elsewhere] = field(default_factory=dict)
    other_mode: dict[str, _Elsewhere] = field(default_factory=dict)
    lost: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in KINDS[1:]})
    orphans: dict[str, Heap] = field(default_factory=dict)
    young: Heap = field(default_factory=Heap)
    owned: dict[str, Heap] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def audit(listing: Listing, rows: Iterable[Row], wanted: Wanted, still_empty: Callable[[str], bool]) -> Audit:
    """Compare.

    Args:
        listing: everything in the place.
        rows: everything that has a location, read after the listing.
        wanted: how the environment is configured.
        still_empty: looks once more whether there is nothing at or below a key: what was uploaded between listing and rows is not lost.
    """
    found = Audit()
    holding = listing.holding()
    owners: dict[str, str] = {}
    for row in rows:
        found.rows[row.kind] += 1
        if row.kind == "experiment":
            found.names[row.id] = row.name
        key = key_below(address(row.location, wanted.place), wanted.place)
        _place_row(found, row, key, wanted)
        if key is not None and row.kind != "experiment":
            owners[key] = row.experiment or owners.get(key, "")
        empty = key is not None and key not in holding
        if row.active and row.kind == "run" and empty and not row.expected:
            found.empty_runs += 1
        lost = row.active and row.kind != "experiment" and (row.dangling or (empty and row.expected))
        if lost and (row.dangling or key is None or still_empty(key)):
            found.lost[row.kind].append(row)
    _share_out(found, listing, owners, wanted)
    return found


def _place_row(found: Audit, row: Row, key: str | None, wanted: Wanted) -> None:
    """Note a row that points elsewhere, or here in another way than configured."""
    if not row.location:
        return
    if key is None:
        group = found.other_store
    elif is_served(row.location) == (wanted.transfer == DIRECT):
        group = found.other_mode
    else:
        return
    entry = group.setdefault(row.experiment, _Elsewhere(row.name if row.kind == "experiment" else "", row.location))
    if row.kind == "experiment":
        entry.name, entry.location = row.name, row.location
    entry.rows += 1


def _share_out(found: Audit, listing: Listing, owners: Mapping[str, str], wanted: Wanted) -> None:
    """Give each folder to what owns it. An experiment's own location owns nothing, or it would hide all that was left behind in it."""
    above_owners = {above for key in owners for above in ancestors(key)}
    for folder, heap in listing.folders.items():
        found.total.add(heap.objects, heap.bytes, heap.newest)
        owner = next((one for one in ancestors(folder) if one in owners), None)
        if owner is not None:
            group = found.owned.setdefault(owners[owner], Heap())
        elif heap.newest > wanted.now - wanted.grace:
            group = found.young
        else:
            # As high up as nothing that belongs to something lies below it.
            top = next((one for one in reversed(ancestors(folder)) if one not in above_owners), folder)
            group = found.orphans.setdefault(top, Heap())
        group.add(heap.objects, heap.bytes, heap.newest)


# ----- for programs, for people, as findings


def _listed(entries: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    return {"count": len(entries), "items": entries[:limit] if limit else entries}


def to_dict(found: Audit, wanted: Wanted) -> dict[str, Any]:
    """Everything, for JSON; lists end at the limit, counts do not."""
    limit = wanted.limit

    def elsewhere(group: Mapping[str, _Elsewhere]) -> dict[str, Any]:
        experiments = [
            {"id": id_, "name": entry.name or found.names.get(id_, ""), "location": entry.location, "rows": entry.rows}
            for id_, entry in sorted(group.items())
            if id_
        ]
        versions = group[""].rows if "" in group else 0
        return {**_listed(experiments, limit), "rows": sum(one.rows for one in group.values()), "versions": versions}

    lost = {
        kind: _listed(
            [
                {"id": row.id, "name": row.name, "experiment": row.experiment, "location": row.location}
                for row in sorted(rows, key=lambda row: row.id)
            ],
            limit,
        )
        for kind, rows in found.lost.items()
    }
    orphans = [
        {"key": printable(key), **heap.told()}
        for key, heap in sorted(found.orphans.items(), key=lambda item: (-item[1].bytes, item[0]))
    ]
    experiments = [
        {"id": id_, "name": found.names.get(id_, ""), **heap.told()}
        for id_, heap in sorted(found.owned.items(), key=lambda item: (-item[1].bytes, item[0]))
    ]
    return {
        "place": wanted.place.uri,
        "transfer": wanted.transfer,
        **found.total.told(),
        "rows": dict(found.rows),
        "empty_runs": found.empty_runs,
        "other_store": elsewhere(found.other_store),
        "other_mode": elsewhere(found.other_mode),
        "lost": lost,
        "orphans": {
            **_listed(orphans, limit),
            "objects": sum(heap.objects for heap in found.orphans.values()),
            "bytes": sum(heap.bytes for heap in found.orphans.values()),
        },
        "young": found.young.told(),
        "experiments": _listed(experiments, limit),
    }


def printable(text: str) -> str:
    """A name from a file system as JSON and terminals take it."""
    return text.encode("utf-8", "replace").decode()


def size(number: int) -> str:
    """Bytes as people say them."""
    value, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def table(told: Mapping[str, Any]) -> list[str]:
    """The same for people, from what `to_dict` returned."""
    lines = [
        f"{told['place']} ({told['transfer']}): {told['objects']} objects, {size(told['bytes'])}",
        ", ".join(f"{told['rows'][kind]} {_WORDS[kind]}" for kind in KINDS)
        + f"; {told['empty_runs']} runs keep nothing here",
    ]
    for title, group in (("in another store", told["other_store"]), ("by another way", told["other_mode"])):
        versions = f", {group['versions']} registered versions" if group["versions"] else ""
        lines.append(f"{title}: {group['count']} experiments, {group['rows']} locations{versions}")
        lines += [
            f"  {one['id']:>8}  {one['name']}  {one['location']}  {one['rows']} locations" for one in group["items"]
        ]
    for kind in KINDS[1:]:
        if told["lost"][kind]["count"]:
            lines.append(f"lost artifacts: {told['lost'][kind]['count']} {_WORDS[kind]}")
            lines += [f"  {one['id']}  {one['name']}  {one['location']}" for one in told["lost"][kind]["items"]]
    orphans, young = told["orphans"], told["young"]
    lines.append(
        f"belonging to nothing: {orphans['objects']} objects, {size(orphans['bytes'])}, in {orphans['count']} folders"
    )
    lines += [
        f"  {one['key'] or '(the top)'}  {one['objects']} objects  {size(one['bytes'])}" for one in orphans["items"]
    ]
    if young["objects"]:
        lines.append(f"too new to tell: {young['objects']} objects, {size(young['bytes'])}")
    if told["experiments"]["items"]:
        lines.append("by experiment:")
        lines += [
            f"  {one['id'] or '-':>8}  {one['name']}  {one['objects']} objects  {size(one['bytes'])}"
            for one in told["experiments"]["items"]
        ]
    return lines


def judge(told: Mapping[str, Any], host: str) -> list[dict[str, str]]:
    """Return the findings, from what `to_dict` returned."""
    findings = []

    def say(finding_id: str, summary: str, items: Iterable[str]) -> None:
        findings.append(report(finding_id, host=host, summary=summary, evidence="; ".join(list(items)[:5])))

    lost, place = told["lost"], told["place"]
    if counts := [
        f"{lost[kind]['count']} {_WORDS[kind]}" for kind in ("run", "logged_model", "trace") if lost[kind]["count"]
    ]:
        items = [one["id"] for kind in ("run", "logged_model", "trace") for one in lost[kind]["items"]]
        say("AUDIT_LOST", f"{place}: nothing is left of the artifacts of {' and '.join(counts)}.", items)
    if lost["version"]["count"]:
        items = [one["id"] for one in lost["version"]["items"]]
        say(
            "AUDIT_VERSION_LOST",
            f"{place}: {lost['version']['count']} registered versions cannot be loaded any more.",
            items,
        )
    for finding_id, group, what in (
        ("AUDIT_OTHER_STORE", told["other_store"], "point to another store than"),
        ("AUDIT_OTHER_MODE", told["other_mode"], f"are reached in another way than {told['transfer']}, in"),
    ):
        if group["rows"]:
            say(
                finding_id,
                f"{group['rows']} locations of {group['count']} experiments and {group['versions']} registered versions {what} {place}.",
                (f"{one['id']} {one['name']}: {one['location']}" for one in group["items"]),
            )
    if told["orphans"]["objects"]:
        say(
            "AUDIT_ORPHANS",
            f"{place}: {told['orphans']['objects']} objects ({size(told['orphans']['bytes'])}) belong to nothing that MLflow knows.",
            (one["key"] for one in told["orphans"]["items"]),
        )
    return findings
