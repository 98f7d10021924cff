# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What users deleted long enough ago is deleted for good: first its objects, and when a listing shows that they are gone, its rows.

`mlflow gc` asks a server for the objects, takes its word, and removes the row; where the server's identity may not delete, nothing points to
the objects any more. So the objects are removed here, with the identity of maintenance and no server in between: a server that deletes for
whoever connects would give every program of the host what the servers' own identity does not have. The rows are MLflow's, and it is its own
function that removes them.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import Row, printable
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import address, ancestors, key_below
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import (
    Erasable,
    StoreError,
    open_place,
    words,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import (
    DatabaseError,
    Tracking,
    parameters_of,
    server_variable,
)

EXPERIMENT, RUN, MODEL, TRACE = "experiment", "run", "logged_model", "trace"
# How many of one kind are looked at, emptied and removed together.
_BATCH = 100
_THREADS = 8
# A store that refuses so many things refuses all.
_PATIENCE = 20
_SHOWN = 20

MARKS = """
SELECT 'run', run_uuid FROM runs WHERE lifecycle_stage = 'deleted' AND deleted_time <= %(before)s
UNION ALL
SELECT 'logged_model', model_id FROM logged_models WHERE lifecycle_stage = 'deleted' AND last_updated_timestamp_ms <= %(before)s
UNION ALL
SELECT 'experiment', experiment_id::text
  FROM experiments e
 WHERE lifecycle_stage = 'deleted' AND last_update_time < %(before)s
   -- All that is in it goes with it, so all of it has to be as old.
   AND NOT EXISTS (SELECT FROM runs r WHERE r.experiment_id = e.experiment_id
                      AND (r.lifecycle_stage IS DISTINCT FROM 'deleted' OR r.deleted_time IS NULL OR r.deleted_time > %(before)s))
   AND NOT EXISTS (SELECT FROM logged_models m WHERE m.experiment_id = e.experiment_id AND m.last_updated_timestamp_ms > %(before)s)
   AND NOT EXISTS (SELECT FROM trace_info t WHERE t.experiment_id = e.experiment_id AND t.timestamp_ms > %(before)s)
UNION ALL
SELECT 'used', m.model_id
  FROM logged_models m
 WHERE EXISTS (SELECT FROM model_versions v
                WHERE v.source = 'models:/' || m.model_id AND v.current_stage IS DISTINCT FROM 'Deleted_Internal')
"""
# What is still deleted at the last moment: somebody may have restored it since it was chosen.
STILL = {
    RUN: "SELECT run_uuid FROM runs WHERE run_uuid = ANY(%(ids)s) AND lifecycle_stage = 'deleted' AND deleted_time <= %(before)s",
    MODEL: "SELECT model_id FROM logged_models WHERE model_id = ANY(%(ids)s) AND lifecycle_stage = 'deleted'"
    " AND last_updated_timestamp_ms <= %(before)s",
    EXPERIMENT: "SELECT experiment_id::text FROM experiments e WHERE experiment_id::text = ANY(%(ids)s) AND lifecycle_stage = 'deleted'"
    " AND last_update_time < %(before)s"
    " AND NOT EXISTS (SELECT FROM runs r WHERE r.experiment_id = e.experiment_id AND r.lifecycle_stage IS DISTINCT FROM 'deleted')",
}


@dataclass(frozen=True)
class Marks:
    """What the database says has been deleted for long enough, and which logged models registered versions use."""

    runs: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    experiments: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Thing:
    """Something that goes, and where its objects are; an empty key has none."""

    kind: str
    id: str
    location: str
    key: str


@dataclass
class Chosen:
    """What goes, and what has to stay although it was deleted."""

    runs: list[Thing] = field(default_factory=list)
    models: list[Thing] = field(default_factory=list)
    # By experiment: everything in it, its runs as well.
    experiments: dict[str, list[Thing]] = field(default_factory=dict)
    held: dict[tuple[str, str], str] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {"runs": len(self.runs), "logged_models": len(self.models), "experiments": len(self.experiments)}


def choose(rows: Iterable[Row], marks: Marks, place: ArtifactUri) -> Chosen:
    """Decide what goes. Nothing goes whose folder holds something that stays, or lies in something that stays.

    Args:
        rows: everything in the database that has a location.
        marks: what has been deleted for long enough.
        place: where the servers keep artifacts; what lies elsewhere is not ours to delete.
    """
    everything = list(rows)
    held: dict[tuple[str, str], str] = {}
    while True:
        chosen, more = _choose_once(everything, marks, place, held)
        if not more:
            chosen.held = held
            return chosen
        held.update(more)


def _choose_once(
    rows: Sequence[Row], marks: Marks, place: ArtifactUri, held: Mapping[tuple[str, str], str]
) -> tuple[Chosen, dict[tuple[str, str], str]]:
    """Choose, and say what of it must be held back. What is held back stays, so that others may have to stay as well."""
    chosen = Chosen()
    gone = {
        row.id
        for row in rows
        if row.kind == EXPERIMENT
        and row.id in marks.experiments
        and not row.active
        and (EXPERIMENT, row.id) not in held
    }
    chosen.experiments = {id_: [] for id_ in sorted(gone)}
    more: dict[tuple[str, str], str] = {}
    kept: set[str] = set()
    kept_folders: set[str] = set()  # of what is no experiment: an experiment's folder holds what goes
    candidates: list[tuple[tuple[str, str], Thing]] = []
    for row in rows:
        key = key_below(address(row.location, place), place)
        thing = Thing(row.kind, row.id, row.location, key or "")
        if row.kind == EXPERIMENT and row.id in gone:
            continue
        whole = row.kind in (RUN, MODEL, TRACE) and row.experiment in gone
        alone = not row.active and (
            (row.kind == RUN and row.id in marks.runs) or (row.kind == MODEL and row.id in marks.models)
        )
        unit = (EXPERIMENT, row.experiment) if whole else (row.kind, row.id)
        if not (whole or alone) or unit in held:
            if key is not None:
                kept.add(key)
                # A run that was deleted itself, and is only held back, holds up nothing in its folder.
                if row.kind != EXPERIMENT and not (alone and row.kind == RUN):
                    kept_folders.add(key)
            continue
        if row.kind == MODEL and row.id in marks.used:
            more[unit] = f"the logged model {row.id} is used by a registered version"
        elif row.location and key is None:
            more[unit] = f"{row.location} is not in {place.uri}"
        elif key == "" and row.location:
            more[unit] = f"{row.location} is all of {place.uri}"
        if whole:
            chosen.experiments[row.experiment].append(thing)
        elif row.kind == RUN:
            chosen.runs.append(thing)
        else:
            chosen.models.append(thing)
        candidates.append((unit, thing))
    above_kept = {above for key in kept for above in ancestors(key)}
    for unit, thing in candidates:
        if not thing.key or unit in more:
            continue
        if thing.key in above_kept:
            more[unit] = f"something that was not deleted has its artifacts in {printable(thing.location)}"
        elif any(above in kept_folders for above in ancestors(thing.key)[1:]):
            more[unit] = f"{printable(thing.location)} lies in the artifacts of something that was not deleted"
    return chosen, more


# ----- the rows


class Records:
    """The tracking database: what was deleted, and MLflow's own way to remove it."""

    def __init__(
        self, parameters: Mapping[str, str], uri: str, before: int, older_than: int, *, workspaces: bool
    ) -> None:
        """Take the database and the moment before which something has to have been deleted, in milliseconds of 1970.

        Args:
            parameters: of libpq.
            uri: of the same database, as MLflow takes it.
            before: the moment.
            older_than: the same as an age in milliseconds, as MLflow takes it.
            workspaces: MLflow runs with workspaces.
        """
        self._tracking = Tracking(parameters)
        self._uri, self._before, self._older_than, self._workspaces = uri, before, older_than, workspaces
        self._emptied: set[str] = set()
        self._store: Any = None

    def marks(self) -> Marks:
        """What has been deleted for long enough."""
        found: dict[str, set[str]] = {}
        for kind, id_ in self._tracking.ask(MARKS, {"before": self._before}):
            found.setdefault(kind, set()).add(id_)
        return Marks(
            frozenset(found.get(RUN, ())),
            frozenset(found.get(MODEL, ())),
            frozenset(found.get(EXPERIMENT, ())),
            frozenset(found.get("used", ())),
        )

    def rows(self) -> list[Row]:
        """Everything that has a location."""
        return list(self._tracking.rows())

    def revision(self) -> str:
        """Which of MLflow's schemas it has."""
        return ", ".join(row[0] for row in self._tracking.ask("SELECT version_num FROM alembic_version", {}))

    def still(self, kind: str, ids: Sequence[str]) -> set[str]:
        """Which of them are deleted at this moment."""
        return {row[0] for row in self._tracking.ask(STILL[kind], {"ids": list(ids), "before": self._before})}

    def ask(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of one statement that reads."""
        return self._tracking.ask(statement, values)

    def empty(self, locations: Iterable[str]) -> None:
        """Remember that a listing showed nothing there any more."""
        self._emptied.update(locations)

    def was_emptied(self, location: str) -> bool:
        """Whether a listing showed nothing there any more; nowhere is empty as well."""
        return not location or location in self._emptied

    def prepare(self) -> None:
        """Make sure, before the first object goes, that the rows can go as well."""
        self._cli()
        relied_on(*self._job_store())

    def remove(self, runs: Sequence[str] = (), models: Sequence[str] = (), experiments: Sequence[str] = ()) -> None:
        """Remove rows, with all that hangs on them."""
        cli = self._cli()
        for context in self.contexts(experiments):
            with context:
                cli._gc_tracking_resources(
                    backend_store=self._store,
                    run_ids=list(runs),
                    experiment_ids=list(experiments) or None,
                    logged_model_ids=list(models),
                    older_than=f"{self._older_than // 1000}s",
                    time_delta=self._older_than,
                    skip_experiments=not experiments,
                    skip_logged_models=not models,
                    # With workspaces each of them is asked for all, and a second try finds some gone already.
                    ignore_not_found=True,
                )

    def remove_jobs(self, older_than: int) -> int:
        """Remove the rows of MLflow's own jobs that ended and are older than so many milliseconds; returns how many."""
        module, name = self._job_store()
        store = getattr(relied_on(module, name), name)(self._uri)
        count = 0
        for context in self.contexts():
            with context:
                count += len(store.delete_jobs(older_than=older_than))
        return count

    def _job_store(self) -> tuple[str, str]:
        if self._workspaces:
            return "mlflow.store.jobs.sqlalchemy_workspace_store", "WorkspaceAwareSqlAlchemyJobStore"
        return "mlflow.store.jobs.sqlalchemy_store", "SqlAlchemyJobStore"

    def contexts(self, experiments: Sequence[str] = ()) -> list[contextlib.AbstractContextManager[Any]]:
        """As which workspaces MLflow has to look: all of them, or those of some experiments, which it misses with an error elsewhere."""
        if not self._workspaces:
            return [contextlib.nullcontext()]
        make = relied_on("mlflow.utils.workspace_context", "WorkspaceContext").WorkspaceContext
        if experiments:
            asked = "SELECT DISTINCT workspace FROM experiments WHERE experiment_id::text = ANY(%(ids)s)"
            return [make(row[0]) for row in self._tracking.ask(asked, {"ids": list(experiments)})]
        return [
            make(row[0])
            for row in self._tracking.ask("SELECT name FROM workspaces UNION SELECT workspace FROM experiments", {})
        ]

    def _cli(self) -> Any:
        """MLflow's command line, whose function for `mlflow gc` finds each place of artifacts emptied already, or stops."""
        cli: Any = relied_on("mlflow.cli", "_gc_tracking_resources", "_get_store", "get_artifact_repository")
        wanted = {
            "backend_store", "run_ids", "experiment_ids", "logged_model_ids", "older_than", "time_delta",
            "skip_experiments", "skip_logged_models", "ignore_not_found",
        }  # fmt: skip
        if set(inspect.signature(cli._gc_tracking_resources).parameters) != wanted:
            raise JobError(_unsupported("mlflow.cli:_gc_tracking_resources"))
        cli.get_artifact_repository = self._emptied_place
        self.opened()
        return cli

    def opened(self) -> Any:
        """MLflow's own store over the database."""
        if self._store is None:
            self._store = relied_on("mlflow.cli", "_get_store")._get_store(self._uri, None)
        return self._store

    def _emptied_place(self, location: str) -> Emptied:
        if not self.was_emptied(location):
            raise JobError(f"MLflow was about to delete {location}, which had not been chosen; its row stays.")
        return Emptied()


class Emptied:
    """What MLflow gets for a place of artifacts that is empty."""

    def delete_artifacts(self, path: str | None = None) -> None:
        """There is nothing."""
        del path


def _unsupported(name: str) -> str:
    return f"This version of MLflow has no {name} as the job relies on: use one that this release of mlops.mlflow supports."


def relied_on(module: str, *names: str) -> Any:
    """MLflow documents none of this: what is missing is a sentence before anything is deleted."""
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise JobError(f"{_unsupported(module)} ({words(error)})") from None
    for name in names:
        if not hasattr(loaded, name):
            raise JobError(_unsupported(f"{module}:{name}"))
    return loaded


# ----- the objects


def empty(store: Erasable, key: str) -> tuple[int, int, list[str]]:
    """Remove everything at or below a key; returns how many objects and bytes there were, and what a listing shows afterwards."""
    if not key:
        return 0, 0, []
    objects = size = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        window: list[Any] = []
        for thing in store.things(key):
            objects, size = objects + 1, size + thing.size
            window.append(pool.submit(store.remove, thing.key))
            if len(window) == 1000:  # a listing is read while what it told is removed
                _settle(window)
        _settle(window)
    return objects, size, [thing.key for thing in store.things(key)] if objects else []


def _settle(window: list[Any]) -> None:
    for one in window:
        one.result()
    window.clear()


class Collector:
    """One run of the job."""

    def __init__(self, records: Records, store: Erasable, say: Say, host: str) -> None:
        """Take where rows and objects are."""
        self._records, self._store, self._say, self._host = records, store, say, host
        self.objects = self.bytes = 0
        self.removed = {"runs": 0, "logged_models": 0, "experiments": 0}
        self.restored: list[str] = []
        self.refused: dict[str, str] = {}
        self._keys: list[tuple[str, str]] = []

    def collect(self, chosen: Chosen) -> None:
        """Remove all of it."""
        of = sum(chosen.counts().values())
        done = 0
        for kind, things in ((RUN, chosen.runs), (MODEL, chosen.models)):
            for start in range(0, len(things), _BATCH):
                batch = things[start : start + _BATCH]
                still = self._records.still(kind, [thing.id for thing in batch])
                self.restored += [thing.id for thing in batch if thing.id not in still]
                ids = [thing.id for thing in batch if thing.id in still and self._emptied(thing)]
                self.removed["runs" if kind == RUN else "logged_models"] += self._removed(
                    "runs" if kind == RUN else "models", ids
                )
                done += len(batch)
                self._say("Deleted for good", done, of)
        for id_, things in chosen.experiments.items():
            if self._records.still(EXPERIMENT, [id_]):
                # Everything that can be emptied is, even if something else of the experiment cannot.
                emptied = [self._emptied(thing) for thing in things]
                if all(emptied):
                    self.removed["experiments"] += self._removed("experiments", [id_])
            else:
                self.restored.append(id_)
            done += 1
            self._say("Deleted for good", done, of)

    def left(self) -> list[str]:
        """List once more what was emptied; returns the keys that have something again."""
        found: list[str] = []
        for number, (_id, key) in enumerate(self._keys, 1):
            if next(iter(self._store.things(key)), None) is not None:
                found.append(key)
            self._say("Listed again", number, len(self._keys))
        return found

    def _removed(self, what: str, ids: list[str]) -> int:
        """Have MLflow remove rows; returns how many went. One that it stumbles over must not keep the others for ever."""
        if not ids:
            return 0
        try:
            self._records.remove(**{what: ids})
        except JobError:
            raise
        except Exception as error:  # MLflow's own, the database's, or whatever is wrong with a row
            if len(ids) > 1:
                return sum(self._removed(what, [id_]) for id_ in ids)
            self._refuse(ids[0], f"MLflow did not remove its row: {type(error).__name__}: {words(error)}")
            return 0
        return len(ids)

    def _refuse(self, id_: str, why: str) -> None:
        self.refused[id_] = why
        if len(self.refused) >= _PATIENCE:
            raise JobError(
                f"{_PATIENCE} things could not be deleted, the last one because of this: {why}. The rows of what could not be emptied stay."
            )

    def _emptied(self, thing: Thing) -> bool:
        try:
            objects, size, left = empty(self._store, thing.key)
        except StoreError as error:
            self._refuse(thing.id, str(error))
            return False
        self.objects, self.bytes = self.objects + objects - len(left), self.bytes + size
        if left:
            self._refuse(thing.id, f"{len(left)} objects are still listed, {printable(left[0])} among them")
            return False
        self._records.empty([thing.location])
        if thing.key:
            self._keys.append((thing.id, thing.key))
        return True


def work(request: Mapping[str, Any], say: Say, *, now: float, records: Callable[..., Records] = Records) -> Result:
    """Do the job.

    Args:
        request: `host`, `dry_run`, `grace_days`, `jobs_grace_days`, `database_uri` or `server_environment`, `store` (_artifact_objects.OPTIONS),
            `schema_file` of the release, `workspaces`.
        say: how it tells what it does.
        now: the time.
        records: makes the tracking database.
    """
    host, dry = str(request["host"]), bool(request["dry_run"])
    place = parse(request["store"]["uri"])
    older_than = int(request["grace_days"]) * 86_400_000
    try:
        uri, parameters = database_of(request)
        database = records(
            parameters, uri, int(now * 1000) - older_than, older_than, workspaces=bool(request.get("workspaces"))
        )
        refuse_other_schema(database.revision(), Path(request["schema_file"]))
        store = open_place(place, request["store"])
        say("Looking for what was deleted")
        chosen = choose(database.rows(), database.marks(), place)
        counts = chosen.counts()
        details: dict[str, Any] = {
            "chosen": counts,
            "held": [{"kind": kind, "id": id_, "why": why} for (kind, id_), why in sorted(chosen.held.items())][
                :_SHOWN
            ],
            "held_count": len(chosen.held),
        }
        findings = _held(host, chosen)
        if dry:
            details["items"] = [thing.id for thing in [*chosen.runs, *chosen.models]][:_SHOWN]
            return Result(f"{_counted(counts)} would be deleted for good.", details, findings)
        say("Asking MLflow how it deletes rows")
        database.prepare()
        collector = Collector(database, store, say, host)
        collector.collect(chosen)
        jobs = database.remove_jobs(int(request["jobs_grace_days"]) * 86_400_000)
        left = collector.left()
    except (DatabaseError, StoreError) as error:
        raise JobError(f"{error}.") from None
    details |= {
        "removed": collector.removed,
        "objects": collector.objects,
        "bytes": collector.bytes,
        "jobs": jobs,
        "restored": collector.restored[:_SHOWN],
        "refused": dict(list(collector.refused.items())[:_SHOWN]),
    }
    findings += _refused(host, collector.refused, left)
    return Result(
        f"{_counted(collector.removed)} were deleted for good, with {collector.objects} objects; {jobs} rows of jobs as well.",
        details,
        findings,
    )


def database_of(request: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The tracking database as MLflow takes it, and as libpq does."""
    uri = str(request.get("database_uri") or "")
    file = str(request.get("server_environment") or "")
    parameters = parameters_of(uri, file)
    if not uri:
        uri = server_variable(Path(file).read_text(encoding="utf-8"), "MLFLOW_BACKEND_STORE_URI")
    return uri, parameters


def refuse_other_schema(revision: str, file: Path) -> None:
    """A release that opens a database of another schema than its own may migrate it."""
    try:
        wanted = json.loads(file.read_text(encoding="utf-8"))["tracking"]["head"]
    except (OSError, ValueError, KeyError, TypeError):
        raise JobError(f"{file} does not say which schema the release works with; run mlops.mlflow.site.") from None
    if revision != wanted:
        raise JobError(
            f"The tracking database has the schema {revision or '(none)'} and the release that serves works with {wanted}:"
            " nothing is deleted while it is being upgraded."
        )


def _counted(counts: Mapping[str, int]) -> str:
    return f"{counts['runs']} runs, {counts['logged_models']} logged models and {counts['experiments']} experiments"


def _held(host: str, chosen: Chosen) -> list[dict[str, str]]:
    if not chosen.held:
        return []
    evidence = "; ".join(f"{kind} {id_}: {why}" for (kind, id_), why in sorted(chosen.held.items())[:5])
    return [
        report(
            "MAINTENANCE_GC_HELD",
            host=host,
            summary=f"{len(chosen.held)} things that were deleted long ago have to stay.",
            evidence=evidence,
        )
    ]


def _refused(host: str, refused: Mapping[str, str], left: Sequence[str]) -> list[dict[str, str]]:
    if not refused and not left:
        return []
    said = [f"{id_}: {why}" for id_, why in refused.items()] + [f"{printable(key)} has objects again" for key in left]
    return [
        report(
            "MAINTENANCE_GC_LEFT",
            host=host,
            summary=f"{len(refused)} things could not be deleted for good, and {len(left)} places have objects again.",
            evidence="; ".join(said[:5]),
        )
    ]


def environment(request: Mapping[str, Any]) -> None:
    """What MLflow is told by variables; nothing of it is the identity of a store."""
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    if request.get("workspaces"):
        os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"
