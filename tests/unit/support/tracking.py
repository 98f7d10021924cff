"""The tables of MLflow 3.17.2's tracking database that know where artifacts are, with as much of each as locations need.

test_artifacts_with_mlflow.py compares names, keys and lengths with a schema that MLflow made itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

TABLES = """
CREATE TABLE experiments (experiment_id serial PRIMARY KEY, name varchar(256) NOT NULL, artifact_location varchar(256),
  lifecycle_stage varchar(32) DEFAULT 'active');
CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, name varchar(250), experiment_id int REFERENCES experiments,
  artifact_uri varchar(200), lifecycle_stage varchar(20) DEFAULT 'active', end_time bigint);
CREATE TABLE tags (key varchar(250), value varchar(8000), run_uuid varchar(32) REFERENCES runs, PRIMARY KEY (key, run_uuid));
CREATE TABLE logged_models (model_id varchar(36) PRIMARY KEY, experiment_id int REFERENCES experiments, name varchar(500) NOT NULL,
  artifact_location varchar(1000) NOT NULL, status int NOT NULL, lifecycle_stage varchar(32) DEFAULT 'active');
CREATE TABLE trace_info (request_id varchar(50) PRIMARY KEY, experiment_id int REFERENCES experiments, status varchar(50) NOT NULL);
CREATE TABLE trace_tags (key varchar(250), value varchar(8000), request_id varchar(50) REFERENCES trace_info,
  PRIMARY KEY (key, request_id));
CREATE TABLE model_versions (workspace varchar(63) NOT NULL DEFAULT 'default', name varchar(256) NOT NULL, version int NOT NULL,
  current_stage varchar(20) DEFAULT 'None', source varchar(500), storage_location varchar(500), PRIMARY KEY (workspace, name, version));
CREATE TABLE workspaces (name varchar(63) PRIMARY KEY, default_artifact_root text, trace_archival_location text);
"""


@dataclass(frozen=True)
class Mlflow:
    """A tracking database, and short words for what MLflow does with it."""

    server: Server
    name: str

    @property
    def uri(self) -> str:
        """Of the database, as the server of MLflow has it."""
        return self.server.uri(self.name).replace("postgresql:", "postgresql+psycopg2:")

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """One statement."""
        return self.server.execute(statement, *values, database=self.name)

    def experiment(self, number: int, location: str, name: str = "", stage: str = "active") -> None:
        """An experiment."""
        self.execute("INSERT INTO experiments VALUES (%s, %s, %s, %s)", number, name or f"e{number}", location, stage)

    def run(self, run: str, experiment: int, location: str, *, notes: bool = False, stage: str = "active") -> None:
        """A run that has ended; `notes` that MLflow noted artifacts of it."""
        self.execute(
            "INSERT INTO runs VALUES (%s, %s, %s, %s, %s, 1000)", run, f"{run}-name", experiment, location, stage
        )
        if notes:
            self.execute("INSERT INTO tags VALUES ('mlflow.loggedArtifacts', '[]', %s)", run)

    def model(self, model: str, experiment: int, location: str, status: int = 2, stage: str = "active") -> None:
        """A logged model; status 2 is ready."""
        self.execute(
            "INSERT INTO logged_models VALUES (%s, %s, %s, %s, %s, %s)",
            model,
            experiment,
            f"{model}-name",
            location,
            status,
            stage,
        )

    def trace(
        self, trace: str, experiment: int, location: str, spans: str = "", status: str = "OK", archive: str = ""
    ) -> None:
        """A trace; `spans` is where MLflow says its spans are."""
        self.execute("INSERT INTO trace_info VALUES (%s, %s, %s)", trace, experiment, status)
        self.execute("INSERT INTO trace_tags VALUES ('mlflow.artifactLocation', %s, %s)", location, trace)
        if spans:
            self.execute("INSERT INTO trace_tags VALUES ('mlflow.trace.spansLocation', %s, %s)", spans, trace)
        if archive:
            self.execute("INSERT INTO trace_tags VALUES ('mlflow.trace.archiveLocation', %s, %s)", archive, trace)

    def version(self, name: str, version: int, source: str, storage: str | None = None, stage: str = "None") -> None:
        """A registered version."""
        self.execute(
            "INSERT INTO model_versions VALUES ('default', %s, %s, %s, %s, %s)", name, version, stage, source, storage
        )

    def everything(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of all tables."""
        tables = ("experiments", "runs", "logged_models", "trace_tags", "model_versions", "workspaces")
        return {table: sorted(self.execute(f"SELECT * FROM {table}"), key=str) for table in tables}


def tracking(server: Server, name: str) -> Mlflow:
    """Make the tables in an empty database."""
    server.execute(TABLES, database=name)
    return Mlflow(server, name)
