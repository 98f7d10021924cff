"""Audit and move with what MLflow 3.17.2 itself wrote, and MLflow itself reading it afterwards: its tables, its client, S3 and directories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_uri
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import COLUMNS
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import SHAPE
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.tracking import TABLES

# What users do. The tracking store is the database, so that the client reaches the artifacts itself.
WRITE = """
import os, mlflow, mlflow.pyfunc
mlflow.set_tracking_uri(given["uri"])
client = mlflow.MlflowClient()
experiment = client.create_experiment("churn", artifact_location=given["root"] + "/churn")
mlflow.set_experiment(experiment_id=experiment)

class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [2 * one for one in model_input]

with mlflow.start_run() as run:
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"a": 1}, "a b+u.json")
    mlflow.log_table({"x": [1, 2]}, "table.json")
    mlflow.log_metric("loss", 0.5)
    model = mlflow.pyfunc.log_model(name="doubles", python_model=Doubles(), registered_model_name="doubles", pip_requirements=["mlflow"])
@mlflow.trace
def traced(x):
    return x + 1
traced(1)
mlflow.flush_trace_async_logging()
with mlflow.start_run() as plain:
    mlflow.log_metric("loss", 0.6)
mlflow.register_prompt("greeting", "Hello {{name}}")
answer = {"experiment": experiment, "run": run.info.run_id, "model": model.model_id, "plain": plain.info.run_id}
"""
READ = """
import os, mlflow
os.environ.update(given["environment"])
mlflow.set_tracking_uri(given["uri"])
client = mlflow.MlflowClient()
mlflow.set_experiment(experiment_id=given["experiment"])
run = client.get_run(given["run"])
answer = {
    "text": mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/hello.txt"),
    "dict": mlflow.artifacts.load_dict(run.info.artifact_uri + "/a b+u.json"),
    "files": sorted(one.path for one in client.list_artifacts(run.info.run_id)),
    "table": mlflow.load_table("table.json", run_ids=[run.info.run_id])["x"].tolist(),
    "by_model": mlflow.pyfunc.load_model("models:/" + given["model"]).predict([1, 2]),
    "by_version": mlflow.pyfunc.load_model("models:/doubles/1").predict([3]),
    "traces": [trace.data.spans[0].name for trace in mlflow.search_traces(locations=[given["experiment"]], return_type="list")],
    "where": run.info.artifact_uri,
}
if given.get("more"):
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_text("more", "notes/more.txt")
    with mlflow.start_run(experiment_id=given["experiment"]) as fresh:
        mlflow.log_text("fresh", "fresh.txt")
    answer["fresh"] = fresh.info.artifact_uri
"""


@dataclass(frozen=True)
class Written:
    """What MLflow wrote, and how to ask for it."""

    server: Server
    database: str
    root: Path
    store: Store
    known: dict[str, str]

    @property
    def uri(self) -> str:
        """As MLflow has it."""
        return self.server.uri(self.database).replace("postgresql:", "postgresql+psycopg2:")

    def read(self, *, more: bool = False) -> dict[str, Any]:
        """Ask MLflow's client for everything."""
        keys = self.store.users["full"]
        environment = {
            "AWS_ACCESS_KEY_ID": keys.id,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.store.url,
        }
        answer: dict[str, Any] = ask(READ, self.root, uri=self.uri, environment=environment, more=more, **self.known)
        return answer

    def place(self, uri: str) -> dict[str, str]:
        """As modules take it."""
        keys = self.store.users["full"]
        access = {
            "access_key_id": keys.id,
            "secret_access_key": keys.secret,
            "endpoint_url": self.store.url,
            "region": "us-east-1",
        }
        return {"uri": uri, **(access if uri.startswith("s3:") else {})}

    def audit(self, uri: str, **options: Any) -> dict[str, Any]:
        """Compare."""
        return run_module(
            "mlflow_artifact_audit",
            store=self.place(uri),
            database_uri=self.uri,
            fail_on="never",
            grace_seconds=0,
            **options,
        )

    def move(self, source: str, target: str, state: str = "moved") -> dict[str, Any]:
        """Move with clients that reach the stores themselves."""
        return run_module(
            "mlflow_artifact_move",
            source=self.place(source),
            target=self.place(target),
            served=source,
            transfer="direct",
            experiments=[self.known["experiment"]],
            environment="dev",
            database_uri=self.uri,
            journal=str(self.root / "moves/journal.jsonl"),
            backup_directory=str(self.root / "moves"),
            state=state,
        )


@pytest.fixture(name="written", scope="module")
def _written(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    root = tmp_path_factory.mktemp("mlflow")
    with postgresql.database("written_by_mlflow") as database, running_store() as store:
        uri = postgresql.uri(database).replace("postgresql:", "postgresql+psycopg2:")
        known = ask(WRITE, root, uri=uri, root=f"{root}/artifacts")
        yield Written(postgresql, database, root, store, known)


def shape(server: Server, database: str) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
    """Length and primary key of every column."""
    return {
        (table, column): (limit, tuple(keys or ()))
        for table, column, limit, keys in server.execute(SHAPE, database=database)
    }


def test_the_tables_of_other_tests_are_those_of_mlflow(written: Written) -> None:
    real = shape(written.server, written.database)
    with written.server.database("made_by_hand") as name:
        written.server.execute(TABLES, database=name)
        ours = shape(written.server, name)
    assert {column: real.get(column) for column in ours} == ours


def test_no_other_column_of_mlflow_holds_a_location(written: Written) -> None:
    """Of all text that MLflow wrote, what names the folder of its artifacts is in a column that is rewritten."""
    known = {(column.table, column.name) for column in COLUMNS}
    asked = written.server.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND data_type IN ('text', 'character varying', 'json', 'jsonb')",
        database=written.database,
    )
    found = {
        (table, column)
        for table, column in asked
        if written.server.execute(
            f'SELECT 1 FROM "{table}" WHERE strpos("{column}"::text, %s) > 0 LIMIT 1',
            f"{written.root}/artifacts",
            database=written.database,
        )
    }
    assert found <= known, found - known
    assert {("runs", "artifact_uri"), ("experiments", "artifact_location"), ("trace_tags", "value")} <= found


def test_what_mlflow_wrote_is_audited_moved_read_and_brought_back(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    artifacts, bucket = f"{written.root}/artifacts", "s3://bucket/of-mlflow"
    before = written.audit(artifacts, transfer="direct")
    assert not {"AUDIT_LOST", "AUDIT_VERSION_LOST", "AUDIT_ORPHANS"} & set(ids(before)), before
    assert before["audit"]["rows"] == {"experiment": 2, "run": 2, "logged_model": 1, "trace": 1, "version": 1}
    assert before["audit"]["empty_runs"] == 1
    read = written.read()
    assert read["text"] == "hello"
    # Who loads a registered model from a directory leaves a note of MLflow's in it.
    held = written.audit(artifacts, transfer="direct")["audit"]["objects"]
    assert held == before["audit"]["objects"] + 1
    rows = written.server.execute("SELECT * FROM runs ORDER BY run_uuid", database=written.database)

    # To the bucket: MLflow's client finds everything there, and goes on writing there.
    moved = written.move(artifacts, bucket)
    assert not moved.get("failed"), moved
    assert moved["copied"] == held
    assert moved["rewritten"]["runs.artifact_uri"] == 2
    there = written.read(more=True)
    fresh = there.pop("fresh")
    assert there.pop("where").startswith(f"{bucket}/churn/")
    assert fresh.startswith(f"{bucket}/churn/")
    assert there == {name: value for name, value in read.items() if name != "where"}
    after = written.audit(bucket, transfer="direct")
    assert not {"AUDIT_LOST", "AUDIT_VERSION_LOST", "AUDIT_ORPHANS"} & set(ids(after)), after
    assert after["audit"]["objects"] == held + 2

    # Back: what was written there to a moved run came along.
    undone = written.move(artifacts, bucket, state="undone")
    assert not undone.get("failed"), undone
    assert undone["copied"] == 1
    back = written.read()
    assert back.pop("files") == read.pop("files")
    assert back == read
    assert (Path(back["where"].removeprefix("file://")) / "notes/more.txt").read_text(encoding="utf-8") == "more"
    restored = written.server.execute("SELECT * FROM runs ORDER BY run_uuid", database=written.database)
    assert {row[:4] for row in rows} <= {row[:4] for row in restored}
    assert [row for row in restored if fresh in row], "the run that was made there stays there"


def test_what_is_lost_in_mlflows_own_data_is_found(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    artifacts = written.root / "artifacts"
    hidden = written.root / "hidden"
    (artifacts / "churn").rename(hidden)
    (artifacts / "churn").mkdir()
    try:
        answer = written.audit(str(artifacts), transfer="direct")
    finally:
        (artifacts / "churn").rmdir()
        hidden.rename(artifacts / "churn")
    assert [finding for finding in ids(answer) if finding != "AUDIT_OTHER_STORE"] == [
        "AUDIT_LOST",
        "AUDIT_VERSION_LOST",
    ]
    lost = answer["audit"]["lost"]
    assert [one["id"] for one in lost["run"]["items"]] == [written.known["run"]]
    assert [one["id"] for one in lost["logged_model"]["items"]] == [written.known["model"]]
    assert [one["id"] for one in lost["version"]["items"]] == ["doubles/1"]
