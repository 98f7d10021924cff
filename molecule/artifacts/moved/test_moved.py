"""The audit says what is lost; then everything moves from the bucket to a directory that both servers share, and some of it back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.artifacts.conftest import SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks

BUCKET, PREFIX = "mlflow-artifacts", "team/artifacts"
S3, SHARED, DIRECTORY = f"s3://{BUCKET}/{PREFIX}", "/srv/shared", "/srv/shared/artifacts"
# What an operator writes into group_vars for the directory.
CHOICES = {"mlflow_artifact_uri": DIRECTORY, "mlflow_server_artifact_uri_before": S3}
NAMES = ("plain.bin", "with blank/and-ümlaut.bin", "plus+sign (1).bin")
# A run with files and a registered model; prints the ids, and of each file the name and checksum.
WRITES = """
import hashlib, json, os, pathlib, sys, tempfile
import mlflow
experiment = mlflow.create_experiment(sys.argv[1])
sums = {}
with mlflow.start_run(experiment_id=experiment) as run, tempfile.TemporaryDirectory() as folder:
    for name in sys.argv[2:]:
        file = pathlib.Path(folder, pathlib.PurePosixPath(name).name)
        file.write_bytes(os.urandom(700_000))
        parent = str(pathlib.PurePosixPath(name).parent)
        mlflow.log_artifact(str(file), None if parent == "." else parent)
        sums[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    code = pathlib.Path(folder, "model.py")
    code.write_text("import mlflow\\nmlflow.models.set_model(lambda model_input: model_input)\\n")
    mlflow.pyfunc.log_model(name="model", python_model=str(code), pip_requirements=[], registered_model_name=sys.argv[1])
print(json.dumps({"experiment": experiment, "run": run.info.run_id, "sums": sums}))
"""
# The same files again, and the model.
READS = """
import hashlib, json, pathlib, sys
import mlflow
folder = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=sys.argv[1]))
mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}/1")
files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
print(json.dumps({name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}))
"""

# All of one host: they are one journey, in the order of this file.
pytestmark = pytest.mark.usefixtures("edge")

Written = Mapping[str, Any]


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """What `test_it_is_written` wrote, for the tests after it."""
    return {}


@pytest.fixture
def audit(playbook: Any, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Asks what database and store say about each other: exit code, JSON, what an operator reads."""

    def run(**variables: Any) -> tuple[int, dict[str, Any], str]:
        file = tmp_path / "audit.json"
        file.unlink(missing_ok=True)
        done = playbook("audit_artifacts", "-e", json.dumps({**variables, "mlflow_artifact_audit_file": str(file)}))
        assert file.exists(), done.stdout[-3000:]
        return done.returncode, json.loads(file.read_text(encoding="utf-8")), done.stdout

    return run


def ids(told: Mapping[str, Any]) -> set[str]:
    """The ids of the findings."""
    return {one["id"] for one in told["findings"]}


def recap(done: Any) -> dict[str, str]:
    """The line of each host at the end of a play."""
    lines = done.stdout.rpartition("PLAY RECAP")[2].splitlines()
    return {line.split(":", 1)[0].strip(): line for line in lines if "ok=" in line}


def reads(client: Any, written: Written) -> None:
    """A client reads the files and the model, equal."""
    done = client("-c", READS, written["run"], written["name"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == written["sums"]


def location(edge: checks.Edge, experiment: str) -> str:
    """Where MLflow says that the artifacts of an experiment are."""
    answer = edge.ask("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}", login=True)
    return str(json.loads(answer.body)["experiment"]["artifact_location"])


def test_it_is_written(client: Any, written: dict[str, Any]) -> None:
    """By a client that knows the public address."""
    name = f"moved-{os.urandom(3).hex()}"
    done = client("-c", WRITES, name, *NAMES)
    assert done.returncode == 0, done.stderr[-3000:]
    written.update(json.loads(done.stdout.splitlines()[-1]), name=name)
    reads(client, written)


def test_the_audit_says_which_version_has_lost_its_artifacts(
    audit: Any, client: Any, store: Callable[[str], Any], written: dict[str, Any]
) -> None:
    """A model's files are deleted behind MLflow's back, and put back from the bucket's older versions."""
    admin = store("admin")
    code, told, _said = audit(mlflow_artifact_audit_fail_on="critical")
    assert code == 0, told["findings"]
    assert told["audit"]["place"] == S3
    prefix = f"{PREFIX}/{written['experiment']}/models/"
    keys = [one["Key"] for one in admin.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
    for key in keys:
        admin.delete_object(Bucket=BUCKET, Key=key)
    code, told, said = audit(mlflow_artifact_audit_fail_on="critical")
    assert code == 2
    assert {"AUDIT_LOST", "AUDIT_VERSION_LOST"} <= ids(told)
    assert [one["id"] for one in told["audit"]["lost"]["version"]["items"]] == [f"{written['name']}/1"]
    assert f"{written['name']}/1" in said
    for marker in admin.list_object_versions(Bucket=BUCKET, Prefix=prefix)["DeleteMarkers"]:
        admin.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])
    code, told, _said = audit(mlflow_artifact_audit_fail_on="critical")
    assert code == 0, told["findings"]
    reads(client, written)


def test_the_audit_says_which_objects_belong_to_nothing(audit: Any, store: Callable[[str], Any]) -> None:
    """Young ones are left out, as an operator would want it."""
    store("admin").put_object(Bucket=BUCKET, Key=f"{PREFIX}/nobody/knows.bin", Body=b"x" * 1234)
    _code, told, _said = audit()
    assert "AUDIT_ORPHANS" not in ids(told)
    _code, told, _said = audit(mlflow_artifact_audit_grace_seconds=0, mlflow_artifact_audit_limit=0)
    assert "AUDIT_ORPHANS" in ids(told)
    assert {"key": "nobody", "objects": 1, "bytes": 1234} in told["audit"]["orphans"]["items"]


def test_no_server_is_switched_unless_all_of_them_can_use_the_directory(
    hosts: Mapping[str, Any], slots: Callable[[str], tuple[str, int]], playbook: Any
) -> None:
    """The second server has another directory at that path: the first one, which could, stays as it is."""
    before = {name: slots(name) for name in SERVERS}
    hosts["art-store"].run_expect(
        [0], "install --directory --owner=share --group=share /srv/other /srv/other/artifacts"
    )
    options = hosts["art-b"].check_output(f"findmnt --fstab --noheadings --output=OPTIONS {SHARED}")
    hosts["art-b"].run_expect([0], f"umount {SHARED}")
    hosts["art-b"].run_expect([0], f"mount -t fuse.sshfs -o {options} share@store.artifacts.test:/srv/other {SHARED}")
    try:
        done = playbook("site", "-e", json.dumps(CHOICES))
        assert done.returncode == 2, done.stdout[-3000:]
        assert f"[DIRECTORY_NOT_SHARED] art-b: {DIRECTORY}" in done.stdout
        assert {name: slots(name) for name in SERVERS} == before
    finally:
        hosts["art-b"].run_expect([0], f"umount --lazy {SHARED} && mount {SHARED}")


def test_everything_moves_to_the_directory_that_the_servers_share(
    hosts: Mapping[str, Any], edge: checks.Edge, client: Any, playbook: Any, written: dict[str, Any]
) -> None:
    """Copied, switched, copied once more; no location changes, and both servers read and write there."""
    before = location(edge, written["experiment"])
    first = playbook("move_artifacts", "-e", f"mlflow_artifact_move_to={DIRECTORY}")
    assert first.returncode == 0, first.stdout[-4000:]
    assert f"mlflow_artifact_uri to {DIRECTORY}" in first.stdout
    switched = playbook("site", "-e", json.dumps(CHOICES))
    assert switched.returncode == 0, switched.stdout[-4000:]
    places = {**CHOICES, "mlflow_artifact_move_from": S3, "mlflow_artifact_move_to": DIRECTORY}
    last = playbook("move_artifacts", "-e", json.dumps(places))
    assert last.returncode == 0, last.stdout[-4000:]
    assert location(edge, written["experiment"]) == before
    reads(client, written)
    assert hosts["art-store"].file(f"/srv/export/artifacts/{written['experiment']}").exists


def test_both_servers_serve_from_the_directory(hosts: Mapping[str, Any], edge: checks.Edge) -> None:
    """What one writes the other reads, and each has read the notes of the other."""
    path = "/api/2.0/mlflow-artifacts/artifacts/shared"
    for number in range(12):
        content = f"content {number}"
        assert edge.ask("PUT", f"{path}/{number}.txt", login=True, body=content).status == 200
        assert edge.ask("GET", f"{path}/{number}.txt", login=True).body == content.encode()
    asked = 'grep -F /artifacts/shared/ /var/log/nginx/mlflow-access.log | grep -o \'"upstream":"[^"]*"\' | sort -u'
    said = hosts["art-a"].check_output(asked).splitlines()
    assert len(said) >= len(SERVERS), said
    file = hosts["art-store"].file("/srv/export/artifacts/shared/0.txt")
    assert (file.content_string, file.uid) == ("content 0", 20001)
    notes = hosts["art-store"].file("/srv/export/artifacts/.mlops-mlflow/servers").listdir()
    assert sorted(notes) == sorted(SERVERS)


def test_the_site_has_nothing_left_to_do(playbook: Any) -> None:
    """With the directory as well, a second run changes nothing."""
    done = playbook("site", "-e", json.dumps(CHOICES))
    assert done.returncode == 0, done.stdout[-3000:]
    assert all("changed=0" in line for line in recap(done).values()), recap(done)


def test_the_audit_finds_nothing_lost_in_the_directory(audit: Any) -> None:
    """It looks where the servers now serve from."""
    code, told, _said = audit(**CHOICES, mlflow_artifact_audit_fail_on="critical")
    assert code == 0, told["findings"]
    assert told["audit"]["place"] == DIRECTORY
    assert told["audit"]["lost"]["version"]["count"] == 0


def test_one_experiment_moves_back_to_the_bucket_and_the_move_is_undone(
    hosts: Mapping[str, Any],
    edge: checks.Edge,
    client: Any,
    playbook: Any,
    store: Callable[[str], Any],
    written: dict[str, Any],
) -> None:
    """Its locations are rewritten with a dump of the database taken first, and put back."""
    before = location(edge, written["experiment"])
    places = {
        **CHOICES,
        "mlflow_artifact_move_from": DIRECTORY,
        "mlflow_artifact_move_to": f"{S3}/one-team",
        "mlflow_artifact_move_experiments": [written["experiment"]],
    }
    moved = playbook("move_artifacts", "-e", json.dumps(places))
    assert moved.returncode == 0, moved.stdout[-4000:]
    assert location(edge, written["experiment"]).startswith(f"{S3}/one-team")
    kept = f"{PREFIX}/one-team/"
    copies = [one["Key"] for one in store("").list_objects_v2(Bucket=BUCKET, Prefix=kept)["Contents"]]
    (copy,) = [key for key in copies if key.endswith(f"/{NAMES[1]}")]
    body = store("").get_object(Bucket=BUCKET, Key=copy)["Body"].read()
    assert hashlib.sha256(body).hexdigest() == written["sums"][NAMES[1]]
    dumps = hosts["art-a"].check_output("find /var/backups/mlflow-moves -name '*.dump' -size +1k")
    assert dumps, hosts["art-a"].check_output("find /var/backups/mlflow-moves")
    undone = playbook("move_artifacts", "-e", json.dumps({**places, "mlflow_artifact_move_state": "undone"}))
    assert undone.returncode == 0, undone.stdout[-4000:]
    assert location(edge, written["experiment"]) == before
    reads(client, written)


def test_a_server_without_the_mount_is_refused_and_serves_on(
    hosts: Mapping[str, Any], edge: checks.Edge, playbook: Any
) -> None:
    """The directory below the mount is on the server's own disk: what it wrote there nobody else would see."""
    hosts["art-b"].run_expect([0], f"umount --lazy {SHARED}")
    try:
        assert hosts["art-b"].run(f"findmnt {SHARED}").rc == 1, "it is mounted still"
        done = playbook("site", "-e", json.dumps(CHOICES))
        assert done.returncode == 2, done.stdout[-3000:]
        assert "[ARTIFACTS_NOT_SHARED] art-b: mlflow_artifact_uri" in done.stdout
        assert all("changed=0" in line for line in recap(done).values()), recap(done)
    finally:
        hosts["art-b"].run_expect([0], f"mount {SHARED}")
    assert edge.ask("GET", "/api/2.0/mlflow-artifacts/artifacts/shared/0.txt", login=True).body == b"content 0"
