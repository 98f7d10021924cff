"""How deleted runs leave the bucket: `mlflow gc` through an artifacts server of its own, which has the identity of maintenance.

The servers' own identity cannot delete, and MLflow does not say so: that is shown as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_policy
from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import end_with_parent
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import REGION, Keys, Store

BUCKET, PREFIX = "maintained", "mlflow"
IDENTITIES = ("runtime", "maintenance")
DAY = 86_400
# What became of each run: when it was deleted, in seconds before now. `live` is in use.
RUNS = {"old": 40 * DAY, "older": 50 * DAY, "young": 1 * DAY, "live": None}
# Runs as a server makes them in proxied mode, deleted as users delete them. Prints their ids by name.
MAKE = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("maintained", artifact_location="mlflow-artifacts:/1")
made = {}
for name in sys.argv[2:]:
    run = made[name] = client.create_run(experiment, run_name=name).info.run_id
    if name != "live":
        client.delete_run(run)
print(json.dumps(made))
"""


def environment(folder: Path, store: Store | None = None, keys: Keys | None = None) -> dict[str, str]:
    """Of a process of MLflow: only what is named here, so that no other key of this machine can help it."""
    own = {
        "PATH": f"{client_python().parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if store is None or keys is None:
        return own
    identity = {"AWS_ACCESS_KEY_ID": keys.id, "AWS_SECRET_ACCESS_KEY": keys.secret, "AWS_DEFAULT_REGION": REGION}
    return {**own, **identity, "MLFLOW_S3_ENDPOINT_URL": store.url}


def run_mlflow(folder: Path, *arguments: str) -> str:
    """What MLflow says, without any key."""
    done = subprocess.run(
        [client_python(), *arguments],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@contextlib.contextmanager
def artifacts_server(folder: Path, store: Store, keys: Keys) -> Iterator[str]:
    """MLflow that does nothing but artifacts, with this identity; yields its URL at once."""
    port = free_port()
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("mlflow", "server", "--artifacts-only", "--workers", "1"),
                *("--artifacts-destination", f"s3://{BUCKET}/{PREFIX}", "--host", LOOPBACK, "--port", str(port)),
            ],
            env=environment(folder, store, keys),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A group of its own: workers are processes of the server's.
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            yield f"http://{LOOPBACK}:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def wait_for(url: str, log: Path) -> None:
    """Until a server answers."""
    deadline = time.monotonic() + 900
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=10):
            return
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.3)


@dataclass(frozen=True)
class Place:
    """Runs in a database and their objects in a bucket, and one artifacts server for each identity."""

    folder: Path
    store: Store
    runs: dict[str, str]
    servers: dict[str, str]

    @property
    def database(self) -> Path:
        """That has the runs."""
        return self.folder / "mlflow.db"

    def collect(self, identity: str, *options: str) -> str:
        """What `mlflow gc` says that goes through the server of an identity, for runs that were deleted more than 30 days ago."""
        where = ("--backend-store-uri", f"sqlite:///{self.database}", "--tracking-uri", self.servers[identity])
        return run_mlflow(self.folder, "-m", "mlflow", "gc", *where, "--older-than", "30d", *options)

    def rows(self) -> set[str]:
        """Names of the runs that the database knows."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM runs")}

    def objects(self) -> set[str]:
        """Names of the runs of which the bucket has the object."""
        kept = self.store.objects(f"{PREFIX}/", bucket=BUCKET)
        return {name for name, run in self.runs.items() if f"{PREFIX}/1/{run}/artifacts/a b+ü.bin" in kept}


@pytest.fixture
def place(tmp_path: Path, seaweedfs: Store) -> Iterator[Place]:
    """Four runs, each with one object."""
    seaweedfs.client("s3").create_bucket(Bucket=BUCKET)
    keys = {
        name: seaweedfs.user(
            f"gc-{name}", _s3_policy.identity_policy(BUCKET, PREFIX, delete=name == "maintenance")["Statement"]
        )
        for name in IDENTITIES
    }
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(artifacts_server(tmp_path / name, seaweedfs, keys[name])) for name in IDENTITIES
        }
        said = run_mlflow(tmp_path, "-c", MAKE, f"sqlite:///{tmp_path}/mlflow.db", *RUNS)
        (ids,) = [line for line in said.splitlines() if line.startswith("{")]
        runs: dict[str, str] = json.loads(ids)
        made = Place(tmp_path, seaweedfs, runs, servers)
        with contextlib.closing(sqlite3.connect(made.database)) as connection:
            for name, seconds in RUNS.items():
                seaweedfs.put(f"{PREFIX}/1/{runs[name]}/artifacts/a b+ü.bin", b"x", bucket=BUCKET)
                if seconds is not None:
                    deleted = int((time.time() - seconds) * 1000)
                    connection.execute("UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", (deleted, runs[name]))
            connection.commit()
        for name, url in servers.items():
            wait_for(url, tmp_path / name / "log")
        yield made


@pytest.mark.long
def test_maintenance_deletes_what_the_servers_cannot(place: Place) -> None:
    assert place.rows() == place.objects() == set(RUNS)

    # Through the servers' identity MLflow says that the run is gone. Its object stays, and nothing points to it any more.
    said = place.collect("runtime", "--run-ids", place.runs["old"])
    assert f"{place.runs['old']} has been permanently deleted" in said
    assert place.rows() == {"older", "young", "live"}
    assert place.objects() == set(RUNS)

    # Through maintenance's the object goes as well; what is in use or was deleted a short while ago is not touched.
    said = place.collect("maintenance")
    assert f"{place.runs['older']} has been permanently deleted" in said
    assert place.rows() == {"young", "live"}
    assert place.objects() == {"old", "young", "live"}
