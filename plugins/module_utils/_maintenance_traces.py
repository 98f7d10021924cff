# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Traces older than their experiment keeps them are deleted: first their objects, then, where a listing shows none any more, their rows.

MLflow can move old traces into its store (trace archival), and deletes what it moved with the identity of the servers, which here cannot
delete. So it is done as in _maintenance_gc.py: the objects with the identity of maintenance, the rows by MLflow's own function.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import Row, printable
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import (
    TRACE_KEYS,
    address,
    ancestors,
    key_below,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import (
    Erasable,
    StoreError,
    open_place,
    words,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_gc import (
    EXPERIMENT,
    TRACE,
    Emptied,
    Records,
    database_of,
    empty,
    refuse_other_schema,
    relied_on,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import DatabaseError

_DAY = 86_400_000
_BATCH = 100
_PATIENCE = 20
_SHOWN = 20
_FURTHEST = 16  # times as many are looked at as one run deletes
_STORE = "mlflow.store.tracking.sqlalchemy_store"

# An experiment that was deleted is gc's. What is named twice, by name and by id, goes by its id.
OLD = """
SELECT i.request_id, i.experiment_id::text,
       coalesce((SELECT array_agg(t.value) FROM trace_tags t WHERE t.request_id = i.request_id AND t.key = ANY(%(keys)s)), '{}')
  FROM trace_info i
  JOIN experiments e ON e.experiment_id = i.experiment_id AND e.lifecycle_stage = 'active'
  LEFT JOIN LATERAL (SELECT l.before FROM unnest(%(names)s::text[], %(befores)s::bigint[]) l(name, before)
                      WHERE l.name IN (e.name, e.experiment_id::text) ORDER BY l.name = e.experiment_id::text DESC LIMIT 1) l ON true
 WHERE i.timestamp_ms <= coalesce(l.before, %(before)s)
 ORDER BY i.timestamp_ms, i.request_id LIMIT %(most)s
"""


@dataclass(frozen=True)
class Trace:
    """A trace that is older than it is kept."""

    id: str
    experiment: str
    locations: tuple[str, ...]


@dataclass
class Chosen:
    """What goes, with the keys of its objects, and what has to stay."""

    traces: list[tuple[Trace, tuple[str, ...]]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)


def limits(days: int, experiments: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Before which moment a trace has to have begun, for all and for experiments of their own; 0 days keep for ever."""

    def before(kept: int) -> int:
        return int(now * 1000) - kept * _DAY if kept > 0 else -1

    return {
        "before": before(days),
        "names": list(experiments),
        "befores": [before(int(kept)) for kept in experiments.values()],
    }


def choose(old: Iterable[Trace], rows: Iterable[Row], place: ArtifactUri) -> Chosen:
    """Decide what goes. Nothing goes whose folder holds something that stays, or lies in something that stays.

    Args:
        old: the traces that are old enough.
        rows: everything in the database that has a location.
        place: where the servers keep artifacts; what lies elsewhere is not ours to delete.
    """
    wanted = list(old)
    going = {one.id for one in wanted}
    kept: set[str] = set()
    folders: set[str] = set()
    for row in rows:
        if row.kind == TRACE and row.id in going:
            continue
        key = key_below(address(row.location, place), place)
        if key is not None:
            kept.add(key)
            if row.kind != EXPERIMENT:
                folders.add(key)
    above_kept = {above for key in kept for above in ancestors(key)}
    chosen = Chosen()
    for trace in wanted:
        keys = []
        for location in filter(None, trace.locations):
            key = key_below(address(location, place), place)
            if key is None:
                chosen.held[trace.id] = f"{printable(location)} is not in {place.uri}"
            elif not key:
                chosen.held[trace.id] = f"{printable(location)} is all of {place.uri}"
            elif key in above_kept or any(above in folders for above in ancestors(key)):
                chosen.held[trace.id] = f"{printable(location)} is shared with something that stays"
            else:
                keys.append(key)
        if trace.id not in chosen.held:
            chosen.traces.append((trace, tuple(keys)))
    return chosen


class TraceRecords(Records):
    """The tracking database, and MLflow's own way to remove traces."""

    def old(self, wanted: Mapping[str, Any], most: int) -> list[Trace]:
        """The oldest of those that are old enough."""
        told = {**wanted, "most": most, "keys": list(TRACE_KEYS)}
        return [Trace(id_, experiment, tuple(found)) for id_, experiment, found in self.ask(OLD, told)]

    def prepare(self) -> None:
        """Make sure, before the first object goes, that the rows can go as well."""
        store = relied_on(_STORE, "get_artifact_repository", "SqlAlchemyStore")
        if not hasattr(store.SqlAlchemyStore, "delete_traces"):
            raise JobError("This version of MLflow has no way to delete traces that the job relies on.")
        # An archive that is to be deleted is empty already, or MLflow leaves the row.
        store.get_artifact_repository = self._emptied_archive
        self.opened()

    def remove_traces(self, experiment: str, ids: Sequence[str]) -> int:
        """Remove rows with all that hangs on them; returns how many MLflow says it removed."""
        count = 0
        for context in self.contexts([experiment]):
            with context:
                count += int(self.opened().delete_traces(experiment_id=experiment, trace_ids=list(ids)))
        return count

    def _emptied_archive(self, location: str) -> Emptied:
        if not self.was_emptied(location):
            raise JobError(f"MLflow was about to delete {location}, which had not been chosen; its row stays.")
        return Emptied()


@dataclass
class Done:
    """What became of it."""

    removed: int = 0
    objects: int = 0
    bytes: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def delete(records: TraceRecords, store: Erasable, chosen: Chosen, say: Say) -> Done:
    """Empty and remove, some at a time."""
    done = Done()
    by_experiment: dict[str, list[tuple[Trace, tuple[str, ...]]]] = {}
    for one in chosen.traces:
        by_experiment.setdefault(one[0].experiment, []).append(one)
    seen = 0
    for experiment, traces in by_experiment.items():
        for start in range(0, len(traces), _BATCH):
            batch = traces[start : start + _BATCH]
            emptied = [trace.id for trace, keys in batch if _emptied(records, store, trace, keys, done)]
            if emptied:
                try:
                    removed = records.remove_traces(experiment, emptied)
                except JobError:
                    raise
                except Exception as error:  # MLflow's own, or the database's
                    done.refused[emptied[0]] = f"MLflow did not remove {len(emptied)} rows: {words(error)}"
                else:
                    done.removed += removed
                    if removed < len(emptied):
                        done.refused[emptied[0]] = f"MLflow removed {removed} of {len(emptied)} rows"
            if len(done.refused) >= _PATIENCE:
                why = list(done.refused.values())[-1]
                raise JobError(
                    f"{_PATIENCE} traces could not be deleted, the last one because of this: {why}. Their rows stay."
                )
            seen += len(batch)
            say("Traces deleted", seen, len(chosen.traces))
    return done


def _emptied(records: TraceRecords, store: Erasable, trace: Trace, keys: Sequence[str], done: Done) -> bool:
    for key in keys:
        try:
            objects, size, left = empty(store, key)
        except StoreError as error:
            done.refused[trace.id] = str(error)
            return False
        done.objects, done.bytes = done.objects + objects - len(left), done.bytes + size
        if left:
            done.refused[trace.id] = f"{len(left)} objects are still listed, {printable(left[0])} among them"
            return False
    records.empty(trace.locations)
    return True


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `dry_run`, `days`, `experiments` (days by name or id), `most`, `database_uri` or `server_environment`, `store`
            (_artifact_objects.OPTIONS), `schema_file` of the release, `workspaces`.
        say: how it tells what it does.
        now: the time.
    """
    host, dry = str(request["host"]), bool(request["dry_run"])
    place = parse(request["store"]["uri"])
    try:
        uri, parameters = database_of(request)
        records = TraceRecords(parameters, uri, 0, 0, workspaces=bool(request.get("workspaces")))
        refuse_other_schema(records.revision(), Path(request["schema_file"]))
        store = open_place(place, request["store"])
        say("Looking for old traces")
        most = int(request["most"])
        wanted = limits(int(request["days"]), request["experiments"], now)
        asked = most
        while True:
            old = records.old(wanted, asked)
            chosen = choose(old, records.rows(), place)
            # Those that have to stay must not keep all younger ones from being deleted.
            if len(old) < asked or len(chosen.traces) >= most or asked >= _FURTHEST * most:
                break
            asked *= 2
        left = len(chosen.traces) > most or len(old) == asked
        chosen.traces = chosen.traces[:most]
        details: dict[str, Any] = {
            "chosen": len(chosen.traces),
            "held": dict(list(chosen.held.items())[:_SHOWN]),
            "held_count": len(chosen.held),
            "more": left,
        }
        more = "; there are more for the next run" if details["more"] else ""
        findings = _held(host, chosen)
        if dry:
            details["items"] = [trace.id for trace, _keys in chosen.traces][:_SHOWN]
            return Result(f"{len(chosen.traces)} traces would be deleted{more}.", details, findings)
        if not chosen.traces:
            return Result("No trace is older than it is kept.", details, findings)
        say("Asking MLflow how it deletes traces")
        records.prepare()
        done = delete(records, store, chosen, say)
    except (DatabaseError, StoreError) as error:
        raise JobError(f"{error}.") from None
    details |= {
        "removed": done.removed,
        "objects": done.objects,
        "bytes": done.bytes,
        "refused": dict(list(done.refused.items())[:_SHOWN]),
    }
    if done.refused:
        findings.append(
            report(
                "MAINTENANCE_TRACES_LEFT",
                host=host,
                summary=f"{len(done.refused)} traces that are older than they are kept could not be deleted.",
                evidence="; ".join(f"{id_}: {why}" for id_, why in list(done.refused.items())[:3]),
            )
        )
    if left:
        findings.append(
            report(
                "MAINTENANCE_TRACES_BEHIND",
                host=host,
                summary=f"More traces are older than they are kept than one run deletes: mlflow_maintenance_traces.most={most}.",
            )
        )
    return Result(f"{done.removed} traces were deleted, with {done.objects} objects{more}.", details, findings)


def _held(host: str, chosen: Chosen) -> list[dict[str, str]]:
    if not chosen.held:
        return []
    return [
        report(
            "MAINTENANCE_TRACES_LEFT",
            host=host,
            summary=f"{len(chosen.held)} traces that are older than they are kept have to stay.",
            evidence="; ".join(f"{id_}: {why}" for id_, why in list(chosen.held.items())[:3]),
        )
    ]
