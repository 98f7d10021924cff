"""The roles mlflow_artifact_audit and mlflow_artifact_move as an operator runs them, with a real PostgreSQL and an S3 on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.tracking import Mlflow, tracking

PLAYBOOK = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.ROLE}
"""


@pytest.fixture(name="store", scope="module")
def _store() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture(name="mlflow")
def _mlflow(postgresql: Server, database: str, store: Store) -> Mlflow:
    """An experiment that is served from s3://bucket/mlflow, one with a bucket of before, and an object of nobody."""
    mlflow = tracking(postgresql, database)
    mlflow.experiment(4, "mlflow-artifacts:/4", "churn")
    mlflow.run("r4", 4, "mlflow-artifacts:/4/r4/artifacts", notes=True)
    store.put("mlflow/4/r4/artifacts/a.txt", b"text")
    mlflow.experiment(9, "s3://bucket/before/9", "before")
    mlflow.run("r9", 9, "s3://bucket/before/9/r9/artifacts", notes=True)
    store.put("before/9/r9/artifacts/b.txt", b"of before")
    return mlflow


def run(role: str, home: Path, mlflow: Mlflow, store: Store, *arguments: str, **variables: object) -> Played:
    """Run a role alone on app1, which is this machine."""
    keys = store.users["full"]
    given = {
        "mlflow_environment": "dev",
        "mlflow_domain": "mlflow.test",
        "mlflow_artifact_uri": "s3://bucket/mlflow",
        "mlflow_database_uri": mlflow.uri,
        "mlflow_artifact_store_access_key_id": keys.id,
        "mlflow_artifact_store_secret_access_key": keys.secret,
        "mlflow_artifact_store_endpoint_url": store.url,
        "mlflow_artifact_store_region": "us-east-1",
        f"{role}_user": "",
        f"{role}_python": sys.executable,
        "ansible_python_interpreter": sys.executable,
        **variables,
    }
    if role == "mlflow_artifact_move":
        given["mlflow_artifact_move_directory"] = str(home / "moves")
    playbook, file = home / "play.yml", home / "variables.json"
    playbook.write_text(PLAYBOOK.replace("ROLE", role), encoding="utf-8")
    file.write_text(json.dumps(given), encoding="utf-8")
    played = play(home, playbook, "-i", "app1,", "-e", f"@{file}", *arguments)
    assert keys.secret not in played.output
    return played


def test_the_audit_tells_and_changes_nothing(tmp_path: Path, mlflow: Mlflow, store: Store) -> None:
    kept = tmp_path / "audit.json"
    played = run("mlflow_artifact_audit", tmp_path, mlflow, store, mlflow_artifact_audit_file=str(kept))
    assert played.code == 0, played.output
    assert "in another store: 1 experiments, 2 locations" in played.output
    assert "[AUDIT_OTHER_STORE] app1: 2 locations of 1 experiments" in played.output
    assert json.loads(kept.read_text(encoding="utf-8"))["audit"]["rows"]["run"] == 2
    rehearsed = run("mlflow_artifact_audit", tmp_path, mlflow, store, "--check", mlflow_artifact_audit_format="json")
    assert rehearsed.code == 0, rehearsed.output
    assert rehearsed.changed == 0
    assert '"other_store"' in rehearsed.output
    failed = run("mlflow_artifact_audit", tmp_path, mlflow, store, mlflow_artifact_audit_fail_on="warning")
    assert failed.code != 0
    assert "[AUDIT_OTHER_STORE] app1: 2 locations" in failed.sentences[0]


def test_a_move_there_again_and_back(tmp_path: Path, mlflow: Mlflow, store: Store) -> None:
    rows = mlflow.everything()
    places = {"mlflow_artifact_move_from": "s3://bucket/before", "mlflow_artifact_move_to": "s3://bucket/mlflow/before"}

    def move(*arguments: str, **variables: object) -> Played:
        return run("mlflow_artifact_move", tmp_path, mlflow, store, *arguments, **places, **variables)

    rehearsed = move("--check")
    assert rehearsed.code == 0, rehearsed.output
    assert (rehearsed.changed, mlflow.everything()) == (1, rows)
    assert "Would be copied: 1 objects" in rehearsed.output
    there = move()
    assert there.code == 0, there.output
    assert there.changed == 1
    assert "Rewritten: 2 locations" in there.output
    assert "Backup of before:" in there.output
    assert store.objects("mlflow/before") == {"mlflow/before/9/r9/artifacts/b.txt": b"of before"}
    assert store.objects("before") == {"before/9/r9/artifacts/b.txt": b"of before"}
    assert ("r9", "mlflow-artifacts:/before/9/r9/artifacts") in mlflow.execute(
        "SELECT run_uuid, artifact_uri FROM runs"
    )
    again = move()
    assert (again.code, again.changed) == (0, 0), again.output
    back = move(mlflow_artifact_move_state="undone")
    assert (back.code, back.changed) == (0, 1), back.output
    assert mlflow.everything() == rows


def test_a_refusal_says_its_sentence(tmp_path: Path, mlflow: Mlflow, store: Store) -> None:
    """By the role itself, and by the module behind it, whose answer is not shown for the secrets it was asked with."""
    nowhere = run("mlflow_artifact_move", tmp_path, mlflow, store)
    assert nowhere.code != 0
    assert nowhere.sentences[0].startswith("[ARTIFACT_URI] app1: mlflow_artifact_move_to: ")
    inside = run("mlflow_artifact_move", tmp_path, mlflow, store, mlflow_artifact_move_to="s3://bucket/mlflow/in")
    assert inside.code != 0
    assert inside.sentences[0].startswith("[MOVE_PLACES] app1: s3://bucket/mlflow/in lies within s3://bucket/mlflow.")
