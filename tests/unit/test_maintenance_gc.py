"""What users deleted is deleted for good: by the program as hosts have it, with MLflow's own schema and functions, and an S3 that checks rights.

Rows are planted, for what counts is how old a deletion is; the schema is what MLflow made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_uri, _s3_policy
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import Row
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import parse
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_gc import Marks, choose, work
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import Result
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import Host, Ran
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask, python
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import REGION, Store

BUCKET, PREFIX = "collected", "mlflow"
PLACE = f"s3://{BUCKET}/{PREFIX}"
DAY = 86_400_000
OLD, YOUNG = 40, 10  # days; the grace is 30
SCHEMA = """
import mlflow
mlflow.set_tracking_uri(given["uri"])
mlflow.MlflowClient().search_experiments()
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
SqlAlchemyJobStore(given["uri"])
answer = True
"""
ODD = (
    "a b.txt",
    "a+b.txt",
    "ü.txt",
    "%41.txt",
    "100%.txt",
    "a&b;c.txt",
    "it's.txt",
    "q?x=1#y.txt",
    "日本/😀.txt",
    "$^()[]{}:*.txt",
    ".dot",
)


def uri_of(server: Server, name: str) -> str:
    return server.uri(name).replace("postgresql:", "postgresql+psycopg2:")


@pytest.fixture(name="template", scope="module")
def _template(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with the schema that MLflow makes."""
    with postgresql.database("gc_template") as name:
        assert ask(SCHEMA, tmp_path_factory.mktemp("schema"), uri=uri_of(postgresql, name))
        yield name


@dataclass(frozen=True)
class Mlflow:
    """A tracking database, and short words for what is in it."""

    server: Server
    name: str

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.server.execute(statement, *values, database=self.name)

    def experiment(self, number: int, deleted: int = 0, location: str = "", workspace: str = "default") -> None:
        """`deleted` is so many days ago; 0 is not at all."""
        self.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, last_update_time, workspace)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            number,
            f"e{number}",
            location or f"mlflow-artifacts:/{number}",
            "deleted" if deleted else "active",
            ago(deleted),
            workspace,
        )

    def run(self, run: str, experiment: int, deleted: int = 0, location: str = "") -> str:
        self.execute(
            "INSERT INTO runs (run_uuid, name, experiment_id, artifact_uri, lifecycle_stage, deleted_time, status, source_type, user_id,"
            " start_time) VALUES (%s, %s, %s, %s, %s, %s, 'FINISHED', 'LOCAL', 'somebody', 1)",
            run,
            run,
            experiment,
            location or f"mlflow-artifacts:/{experiment}/{run}/artifacts",
            "deleted" if deleted else "active",
            ago(deleted) if deleted else None,
        )
        self.execute("INSERT INTO params (key, value, run_uuid) VALUES ('p', '1', %s)", run)
        self.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('t', '1', %s)", run)
        return f"{experiment}/{run}/artifacts"

    def model(self, model: str, experiment: int, deleted: int = 0) -> str:
        place = f"{experiment}/models/{model}/artifacts"
        self.execute(
            "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
            " last_updated_timestamp_ms, status, lifecycle_stage) VALUES (%s, %s, %s, %s, 1, %s, 2, %s)",
            model,
            experiment,
            model,
            f"mlflow-artifacts:/{place}",
            ago(deleted or OLD),
            "deleted" if deleted else "active",
        )
        return place

    def trace(self, trace: str, experiment: int, began: int = OLD, archive: str = "") -> str:
        """`archive` is where MLflow moved its spans, if it did."""
        place = f"{experiment}/traces/{trace}/artifacts"
        self.execute(
            "INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES (%s, %s, %s, 'OK')",
            trace,
            experiment,
            ago(began),
        )
        if archive:
            tags = {"mlflow.trace.archiveLocation": archive, "mlflow.trace.spansLocation": "ARCHIVE_REPO"}
            for key, value in tags.items():
                self.execute("INSERT INTO trace_tags (key, value, request_id) VALUES (%s, %s, %s)", key, value, trace)
        self.execute(
            "INSERT INTO trace_tags (key, value, request_id) VALUES ('mlflow.artifactLocation', %s, %s)",
            f"mlflow-artifacts:/{place}",
            trace,
        )
        return place

    def version(self, name: str, source: str, storage: str) -> None:
        self.execute("INSERT INTO registered_models (name) VALUES (%s)", name)
        self.execute(
            "INSERT INTO model_versions (name, version, current_stage, source, storage_location, status)"
            " VALUES (%s, 1, 'None', %s, %s, 'READY')",
            name,
            source,
            storage,
        )

    def ids(self, table: str) -> set[str]:
        column = {
            "runs": "run_uuid",
            "logged_models": "model_id",
            "experiments": "experiment_id::text",
            "jobs": "id",
            "trace_info": "request_id",
        }[table]
        return {one for (one,) in self.execute(f"SELECT {column} FROM {table}")}

    @property
    def revision(self) -> str:
        ((found,),) = self.execute("SELECT version_num FROM alembic_version")
        return str(found)


def ago(days: int) -> int:
    return int(time.time() * 1000) - days * DAY


@pytest.fixture(name="mlflow")
def _mlflow(postgresql: Server, template: str) -> Iterator[Mlflow]:
    postgresql.execute(f"CREATE DATABASE gc_database TEMPLATE {template}")
    try:
        yield Mlflow(postgresql, "gc_database")
    finally:
        postgresql.execute("DROP DATABASE gc_database WITH (FORCE)")


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> Host:
    return Host(tmp_path, python())


@dataclass(frozen=True)
class Bucket:
    """A bucket, and how the job is let in."""

    store: Store
    access: dict[str, dict[str, str]]

    def put(self, *keys: str) -> None:
        client = self.store.client("s3")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}", Body=b"x"), keys))

    def listed(self, below: str = "") -> set[str]:
        pages = self.store.client("s3").get_paginator("list_objects_v2")
        whole = f"{PREFIX}/{below}"
        found = [
            one["Key"] for page in pages.paginate(Bucket=BUCKET, Prefix=whole) for one in page.get("Contents") or []
        ]
        return {key.removeprefix(f"{PREFIX}/") for key in found}


@pytest.fixture(name="bucket", scope="module")
def _bucket(seaweedfs: Store) -> Bucket:
    seaweedfs.client("s3").create_bucket(Bucket=BUCKET)
    access = {}
    for name in ("runtime", "maintenance"):
        rights = _s3_policy.identity_policy(BUCKET, PREFIX, delete=name == "maintenance")["Statement"]
        keys = seaweedfs.user(f"collected-{name}", rights)
        access[name] = {"access_key_id": keys.id, "secret_access_key": keys.secret}
    return Bucket(seaweedfs, access)


@pytest.fixture(autouse=True)
def _empty_bucket(bucket: Bucket) -> None:
    for key in bucket.listed():
        bucket.store.client("s3").delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{key}")


def collect(
    host: Host,
    mlflow: Mlflow,
    bucket: Bucket,
    identity: str = "maintenance",
    server: str = "",
    job: str = "gc",
    **more: Any,
) -> Ran:
    """Run the job as its unit does."""
    schema = host.folder / "schema.json"
    schema.write_text(json.dumps({"tracking": {"head": mlflow.revision}}))
    store = {"uri": PLACE, "session_token": "", "endpoint_url": bucket.store.url, "region": REGION, "ca_file": ""}
    request = {
        "grace_days": 30,
        "jobs_grace_days": 30,
        "schema_file": str(schema),
        "store": {**store, **bucket.access[identity]},
        **more,
    }
    return host.run(job, request, f'MLFLOW_BACKEND_STORE_URI="{uri_of(mlflow.server, mlflow.name)}"\n{server}')


def test_what_was_deleted_long_ago_goes_and_no_neighbour(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1)
    gone, kept = [], []
    big = mlflow.run("big", 1, OLD)
    gone += [f"{big}/part-{number}" for number in range(1100)]
    odd = mlflow.run("odd", 1, OLD)
    gone += [f"{odd}/{name}" for name in ODD]
    mlflow.run("nothing", 1, OLD)  # a run without artifacts
    for name, deleted in (("young", YOUNG), ("live", 0), ("odd2", 0), ("od", 0)):
        place = mlflow.run(name, 1, deleted)
        kept += [f"{place}/{file}" for file in ("a.txt", *ODD)]
    gone += [f"{mlflow.model('m-old', 1, OLD)}/MLmodel"]
    kept += [f"{mlflow.model('m-young', 1, YOUNG)}/MLmodel", f"{mlflow.model('m-live', 1)}/MLmodel"]
    # Registered versions use one model, and a folder of one run.
    kept += [f"{mlflow.model('m-used', 1, OLD)}/MLmodel"]
    mlflow.version("churn", "models:/m-used", "mlflow-artifacts:/1/models/m-used/artifacts")
    used = mlflow.run("used", 1, OLD)
    kept += [f"{used}/model/MLmodel"]
    mlflow.version("old-style", f"mlflow-artifacts:/{used}/model", f"mlflow-artifacts:/{used}/model")
    # A whole experiment with a live model and a trace, one in which something is younger, and one that was deleted just now.
    mlflow.experiment(2, OLD)
    gone += [
        f"{mlflow.run('in2', 2, OLD)}/a",
        f"{mlflow.model('m-in2', 2)}/MLmodel",
        f"{mlflow.trace('tr-in2', 2)}/t.json",
    ]
    mlflow.experiment(3, OLD)
    kept += [f"{mlflow.run('in3', 3, YOUNG)}/a"]
    mlflow.experiment(4, YOUNG)
    kept += [f"{mlflow.run('in4', 4, YOUNG)}/a"]
    kept += ["9/stray/artifacts/left.txt", ".mlops-mlflow/environment"]
    bucket.put(*gone, *kept)
    for number, (status, created) in enumerate(((2, OLD), (2, YOUNG), (1, OLD))):
        mlflow.execute(
            "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count, last_update_time) VALUES (%s, %s, 'j', '{}', %s, 0, 0)",
            f"job{number}",
            ago(created),
            status,
        )

    told = collect(host, mlflow, bucket, dry_run=True)
    assert told.code == 3, told.output
    assert told.result["sentence"] == "3 runs, 1 logged models and 1 experiments would be deleted for good."
    assert bucket.listed() == {*gone, *kept}

    ran = collect(host, mlflow, bucket)
    assert ran.code == 3, ran.output
    assert ran.result["sentence"] == (
        f"3 runs, 1 logged models and 1 experiments were deleted for good, with {len(gone)} objects; 1 rows of jobs as well."
    )
    assert bucket.listed() == set(kept)
    assert mlflow.ids("runs") == {"young", "live", "odd2", "od", "used", "in3", "in4"}
    assert mlflow.ids("logged_models") == {"m-young", "m-live", "m-used"}
    assert mlflow.ids("experiments") >= {"1", "3", "4"}
    assert "2" not in mlflow.ids("experiments")
    assert mlflow.execute("SELECT 1 FROM trace_info") == []
    assert mlflow.ids("jobs") == {"job1", "job2"}, "one is younger, and one has not ended"
    # Why something stays is said.
    assert ran.ids == ["MAINTENANCE_GC_HELD"]
    why = {one["id"]: one["why"] for one in ran.result["details"]["held"]}
    assert why == {
        "m-used": "the logged model m-used is used by a registered version",
        "used": "something that was not deleted has its artifacts in mlflow-artifacts:/1/used/artifacts",
    }
    assert "Deleted for good (" in ran.output
    secret = bucket.access["maintenance"]["secret_access_key"]
    assert secret not in ran.output + json.dumps(ran.result)


def test_a_store_that_refuses_keeps_the_rows(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    """MLflow's own command would say that the run is gone, and nothing would point to its objects any more."""
    mlflow.experiment(1)
    keys = [f"{mlflow.run(name, 1, OLD)}/a.txt" for name in ("one", "two")]
    bucket.put(*keys)
    ran = collect(host, mlflow, bucket, identity="runtime")
    assert (ran.code, ran.ids) == (3, ["MAINTENANCE_GC_LEFT"]), ran.output
    assert "AccessDenied" in ran.result["findings"][0]["evidence"]
    assert bucket.listed() == set(keys)
    assert mlflow.ids("runs") == {"one", "two"}
    # With the right identity the next run does it.
    ran = collect(host, mlflow, bucket)
    assert (ran.code, bucket.listed(), mlflow.ids("runs")) == (0, set(), set()), ran.output


def test_a_killed_run_loses_nothing_and_the_next_one_ends_it(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1)
    places = [mlflow.run(f"run{number:03}", 1, OLD) for number in range(60)]
    keys = [f"{place}/{part}" for place in places for part in ("a", "b")]
    live = f"{mlflow.run('live', 1)}/a"
    bucket.put(*keys, live)
    first = collect(host, mlflow, bucket, dry_run=True)
    assert first.result["details"]["chosen"]["runs"] == 60
    (host.folder / "credentials/job.json").write_text(
        (host.folder / "credentials/job.json").read_text().replace('"dry_run": true', '"dry_run": false')
    )
    process = host.start("run", "gc")
    end = time.monotonic() + 300
    while len(bucket.listed()) == 121:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.kill()
    process.communicate()
    # Whatever row is gone, its objects are gone as well.
    left = {key.split("/")[1] for key in bucket.listed()}
    assert left <= mlflow.ids("runs")
    host.ended("gc", "signal")
    assert host.last()["outcome"] == "failed"
    ran = collect(host, mlflow, bucket)
    assert (ran.code, bucket.listed(), mlflow.ids("runs")) == (0, {live}, {"live"}), ran.output


def test_another_schema_than_the_release_s_is_not_touched(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1)
    mlflow.run("one", 1, OLD)
    revision = mlflow.revision
    mlflow.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    schema = host.folder / "other.json"
    schema.write_text(json.dumps({"tracking": {"head": revision}}))
    ran = collect(host, mlflow, bucket, schema_file=str(schema))
    assert ran.code == 1
    assert ran.result["sentence"] == (
        f"The tracking database has the schema ffffffffffff and the release that serves works with {revision}:"
        " nothing is deleted while it is being upgraded."
    )
    assert mlflow.ids("runs") == {"one"}


def test_direct_locations_and_those_of_another_store(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1, location=f"{PLACE}/1")
    mlflow.run("direct", 1, OLD, location=f"{PLACE}/1/direct/artifacts")
    mlflow.run("elsewhere", 1, OLD, location="s3://other/1/elsewhere/artifacts")
    # Somebody's location that is the whole store, and one in which another's artifacts are.
    mlflow.run("all", 1, OLD, location=PLACE)
    mlflow.run("above", 1, OLD, location=f"{PLACE}/1")
    bucket.put("1/direct/artifacts/a")
    ran = collect(host, mlflow, bucket)
    assert ran.code == 3, ran.output
    assert mlflow.ids("runs") == {"elsewhere", "all", "above"}
    assert bucket.listed() == set()
    why = {one["id"]: one["why"] for one in ran.result["details"]["held"]}
    assert why["elsewhere"] == f"s3://other/1/elsewhere/artifacts is not in {PLACE}"
    assert why["all"] == f"{PLACE} is all of {PLACE}"
    assert why["above"].startswith("something that was not deleted has its artifacts in")


def test_all_workspaces(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.execute("INSERT INTO workspaces (name) VALUES ('teamb') ON CONFLICT DO NOTHING")
    mlflow.experiment(1)
    mlflow.experiment(2, workspace="teamb", location="mlflow-artifacts:/workspaces/teamb/2")
    mlflow.experiment(3, OLD, workspace="teamb", location="mlflow-artifacts:/workspaces/teamb/3")
    mlflow.run("one", 1, OLD)
    place = "workspaces/teamb/2/two/artifacts"
    mlflow.run("two", 2, OLD, location=f"mlflow-artifacts:/{place}")
    mlflow.run("three", 3, OLD, location="mlflow-artifacts:/workspaces/teamb/3/three/artifacts")
    mlflow.run("live", 2, 0, location="mlflow-artifacts:/workspaces/teamb/2/live/artifacts")
    # MLflow cannot read this one, and that keeps no other row.
    mlflow.run("odd", 1, OLD)
    mlflow.execute("UPDATE runs SET user_id = NULL WHERE run_uuid = 'odd'")
    bucket.put(
        "1/one/artifacts/a", f"{place}/a", "workspaces/teamb/3/three/artifacts/a", "workspaces/teamb/2/live/artifacts/a"
    )
    ran = collect(host, mlflow, bucket, server='MLFLOW_ENABLE_WORKSPACES="true"\n')
    assert (ran.code, ran.ids) == (3, ["MAINTENANCE_GC_LEFT"]), ran.output
    assert (
        "odd: MLflow did not remove its row: MlflowException: user_id cannot be None"
        in ran.result["findings"][0]["evidence"]
    )
    assert mlflow.ids("runs") == {"live", "odd"}
    assert "3" not in mlflow.ids("experiments")
    assert bucket.listed() == {"workspaces/teamb/2/live/artifacts/a"}


# ----- traces


TRACES: dict[str, Any] = {"days": 30, "experiments": {}, "most": 10000, "job": "traces"}


def test_traces_go_as_each_experiment_keeps_them_and_no_neighbour(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    """By age, also what MLflow archived, also what has no object; an experiment has days of its own by name or by id."""
    for number in (1, 2, 3, 4):
        mlflow.experiment(number)
    mlflow.experiment(5, OLD)
    places = [mlflow.trace(name, 1) for name in ("tr-old", "tr-odd")]
    gone = [f"{place}/{file}" for place in places for file in ("traces.json", *ODD)]
    mlflow.trace("tr-nothing", 1)
    archive = "mlflow-artifacts:/archive/1/tr-archived"
    gone += [f"{mlflow.trace('tr-archived', 1, archive=archive)}/attachment", "archive/1/tr-archived/traces.pb"]
    gone += [f"{mlflow.trace('tr-short', 4, began=3)}/traces.json"]
    kept = [
        f"{mlflow.trace('tr-young', 1, began=YOUNG)}/traces.json",
        f"{mlflow.trace('tr-ol', 1, began=YOUNG)}/traces.json",
        f"{mlflow.trace('tr-ever', 2)}/traces.json",
        f"{mlflow.trace('tr-long', 3)}/traces.json",
        f"{mlflow.trace('tr-kept', 4, began=1)}/traces.json",
        # Of an experiment that was deleted: with it or not at all.
        f"{mlflow.trace('tr-deleted', 5)}/traces.json",
        f"{mlflow.run('live', 1)}/a",
        "archive/1/tr-archived-2/traces.pb",
        "1/traces/stray/artifacts/x",
    ]
    # What MLflow archived somewhere else is not ours to delete, and what is shared has to stay.
    kept += [f"{mlflow.trace('tr-away', 1, archive='s3://elsewhere/archive/tr-away')}/traces.json"]
    kept += [f"{mlflow.trace('tr-shared', 1)}/inner/artifacts/a"]
    mlflow.run("inner", 1, location="mlflow-artifacts:/1/traces/tr-shared/artifacts/inner/artifacts")
    bucket.put(*gone, *kept)
    before = mlflow.ids("trace_info")
    wanted = TRACES | {"experiments": {"e2": 0, "3": 100, "e3": 1, "e4": 2}}

    told = collect(host, mlflow, bucket, dry_run=True, **wanted)
    assert told.code == 3, told.output
    assert told.result["sentence"] == "5 traces would be deleted."
    assert (bucket.listed(), mlflow.ids("trace_info")) == ({*gone, *kept}, before)

    ran = collect(host, mlflow, bucket, **wanted)
    assert ran.result["sentence"] == f"5 traces were deleted, with {len(gone)} objects.", ran.output
    assert bucket.listed() == set(kept)
    stay = {"tr-young", "tr-ol", "tr-ever", "tr-long", "tr-kept", "tr-deleted", "tr-away", "tr-shared"}
    assert mlflow.ids("trace_info") == stay
    assert (ran.code, ran.ids) == (3, ["MAINTENANCE_TRACES_LEFT"])
    assert ran.result["details"]["held"] == {
        "tr-away": f"s3://elsewhere/archive/tr-away is not in {PLACE}",
        "tr-shared": "mlflow-artifacts:/1/traces/tr-shared/artifacts is shared with something that stays",
    }
    again = collect(host, mlflow, bucket, **wanted)
    assert again.result["sentence"] == "No trace is older than it is kept."


def test_traces_stay_where_the_store_refuses_and_go_some_at_a_time(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1)
    keys = [f"{mlflow.trace(f'tr-{number}', 1, began=OLD + number)}/traces.json" for number in range(5)]
    bucket.put(*keys)
    ran = collect(host, mlflow, bucket, identity="runtime", **TRACES)
    assert (ran.code, ran.ids) == (3, ["MAINTENANCE_TRACES_LEFT"]), ran.output
    assert "AccessDenied" in ran.result["findings"][0]["evidence"]
    assert (bucket.listed(), len(mlflow.ids("trace_info"))) == (set(keys), 5)
    ran = collect(host, mlflow, bucket, **(TRACES | {"most": 2}))
    assert ran.result["sentence"] == "2 traces were deleted, with 2 objects; there are more for the next run."
    assert [one["id"] for one in ran.result["findings"]] == ["MAINTENANCE_TRACES_BEHIND"]
    assert mlflow.ids("trace_info") == {"tr-0", "tr-1", "tr-2"}, "the oldest went"
    assert bucket.listed() == set(keys[:3])


def test_traces_that_have_to_stay_hold_up_no_younger_ones(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.experiment(1)
    for number in range(3):
        mlflow.trace(f"tr-held-{number}", 1, began=OLD + number, archive=f"s3://elsewhere/archive/{number}")
    key = f"{mlflow.trace('tr-younger', 1, began=OLD + 9)}/traces.json"
    bucket.put(key)
    ran = collect(host, mlflow, bucket, **(TRACES | {"most": 2}))
    assert ran.result["sentence"] == "1 traces were deleted, with 1 objects.", ran.output
    assert mlflow.ids("trace_info") == {"tr-held-0", "tr-held-1", "tr-held-2"}


def test_traces_of_all_workspaces(host: Host, mlflow: Mlflow, bucket: Bucket) -> None:
    mlflow.execute("INSERT INTO workspaces (name) VALUES ('teamb') ON CONFLICT DO NOTHING")
    mlflow.experiment(1)
    mlflow.experiment(2, workspace="teamb", location="mlflow-artifacts:/workspaces/teamb/2")
    bucket.put(f"{mlflow.trace('tr-1', 1)}/a", f"{mlflow.trace('tr-2', 2)}/a", f"{mlflow.trace('tr-3', 2, YOUNG)}/a")
    ran = collect(host, mlflow, bucket, server='MLFLOW_ENABLE_WORKSPACES="true"\n', **TRACES)
    assert ran.result["sentence"] == "2 traces were deleted, with 2 objects.", ran.output
    assert mlflow.ids("trace_info") == {"tr-3"}


# ----- without MLflow: a directory, and what happens between two looks


class Planted:
    """Rows of a database that need none, all deleted long ago but `live`."""

    def __init__(self, *runs: str, restored: str = "", written: Callable[[], None] = lambda: None) -> None:
        self.runs, self.restored, self.written = list(runs), restored, written

    def __call__(self, *_arguments: object, **_named: object) -> Planted:
        return self

    def rows(self) -> list[Row]:
        made = [row("run", run, f"mlflow-artifacts:/1/{run}/artifacts", active=run == "live") for run in self.runs]
        return [row("experiment", "1", "mlflow-artifacts:/1", active=True), *made]

    def marks(self) -> Marks:
        return Marks(runs=frozenset(self.runs))

    def revision(self) -> str:
        return "head"

    def still(self, _kind: str, ids: list[str]) -> set[str]:
        return set(ids) - {self.restored}

    def prepare(self) -> None:
        """MLflow is not asked."""

    def empty(self, _locations: list[str]) -> None:
        """MLflow is not asked."""

    def remove(self, runs: list[str]) -> None:
        self.runs = [run for run in self.runs if run not in runs]

    def remove_jobs(self, _older_than: int) -> int:
        self.written()
        return 0


def in_directory(folder: Path, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    (folder / "schema.json").write_text('{"tracking": {"head": "head"}}')
    for run in planted.runs:
        place = folder / f"store/1/{run}/artifacts/deep er"
        place.mkdir(parents=True)
        (place / "ü %41.txt").write_text("x")
    nothing = dict.fromkeys(
        ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region", "ca_file"), ""
    )
    request = {
        "host": "app1",
        "dry_run": False,
        "grace_days": 30,
        "jobs_grace_days": 30,
        "database_uri": "postgresql+psycopg2://u@/d",
        "schema_file": str(folder / "schema.json"),
        "store": {"uri": f"{folder}/store", **nothing},
    }
    return work(request, lambda *_said: None, now=time.time(), records=planted)  # type: ignore[arg-type]


def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("somebody's")
    planted = Planted("old", "live")
    (tmp_path / "store/1/old/artifacts").mkdir(parents=True)
    (tmp_path / "store/1/old/artifacts/link").symlink_to(outside)
    result = in_directory(tmp_path, planted, monkeypatch)
    assert result.findings == []
    assert result.details["removed"] == {"runs": 1, "logged_models": 0, "experiments": 0}
    assert [path.name for path in (tmp_path / "store/1").iterdir()] == ["live"]
    assert outside.read_text() == "somebody's", "a link went, not what it leads to"
    assert planted.runs == ["live"]


def test_what_is_restored_at_the_last_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Planted("old", "back", restored="back")
    result = in_directory(tmp_path, planted, monkeypatch)
    assert result.details["restored"] == ["back"]
    assert planted.runs == ["back"]
    assert (tmp_path / "store/1/back/artifacts/deep er/ü %41.txt").exists()


def test_what_a_late_client_wrote_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late() -> None:
        place = tmp_path / "store/1/old/artifacts"
        place.mkdir(parents=True)
        (place / "late.txt").write_text("x")

    result = in_directory(tmp_path, Planted("old", written=late), monkeypatch)
    assert [one["id"] for one in result.findings] == ["MAINTENANCE_GC_LEFT"]
    assert result.findings[0]["evidence"] == "1/old/artifacts has objects again"


# ----- the choice by itself


def row(kind: str, id_: str, location: str, experiment: str = "1", *, active: bool = False) -> Row:
    return Row(kind, id_, experiment, location, active, False)


def chosen(rows: list[Row], marks: Marks) -> tuple[set[str], set[str], set[str]]:
    found = choose(rows, marks, parse(PLACE))
    return {one.id for one in found.runs}, set(found.experiments), {id_ for _kind, id_ in found.held}


def test_what_is_restored_between_two_questions_stays() -> None:
    rows = [
        row("experiment", "1", "mlflow-artifacts:/1", active=True),
        row("run", "a", "mlflow-artifacts:/1/a/artifacts", active=True),
    ]
    marks = Marks(runs=frozenset({"a"}), experiments=frozenset({"1"}))
    assert chosen(rows, marks) == (set(), set(), set())


def test_what_has_to_stay_holds_up_nobody_else() -> None:
    """One run has to stay because a version lies in it; another one in its folder was deleted as well, a third one was not."""
    rows = [
        row("experiment", "1", "mlflow-artifacts:/1", active=True),
        row("run", "a", "mlflow-artifacts:/1/a/artifacts"),
        row("run", "b", "mlflow-artifacts:/1/a/artifacts/inner/b"),
        row("run", "c", "mlflow-artifacts:/1/c/artifacts"),
        row("version", "v/1", "mlflow-artifacts:/1/a/artifacts/model", "", active=True),
    ]
    marks = Marks(runs=frozenset({"a", "b", "c"}))
    assert chosen(rows, marks) == ({"b", "c"}, set(), {"a"})
    # Nothing goes that lies in what was not deleted, or around it.
    assert chosen(rows, Marks(runs=frozenset({"b"}))) == (set(), set(), {"b"})
    assert chosen(rows, Marks(runs=frozenset({"a"}))) == (set(), set(), {"a"})


def test_an_experiment_stays_as_a_whole() -> None:
    rows = [
        row("experiment", "1", "mlflow-artifacts:/1"),
        row("run", "a", "mlflow-artifacts:/1/a/artifacts"),
        row("logged_model", "m-1", "mlflow-artifacts:/1/models/m-1/artifacts", active=True),
    ]
    marks = Marks(runs=frozenset({"a"}), experiments=frozenset({"1"}), used=frozenset({"m-1"}))
    # Its run was deleted by itself as well, and nobody uses it.
    assert chosen(rows, marks) == ({"a"}, set(), {"1"})


def test_two_things_in_one_folder_stay_unless_both_go() -> None:
    rows = [row("run", "a", "mlflow-artifacts:/1/x"), row("run", "b", "mlflow-artifacts:/1/x")]
    assert chosen(rows, Marks(runs=frozenset({"a"})))[0] == set()
    assert chosen(rows, Marks(runs=frozenset({"a", "b"})))[0] == {"a", "b"}
