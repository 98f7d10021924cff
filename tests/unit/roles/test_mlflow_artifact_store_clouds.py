"""The role makes and compares stores in Google Cloud and Azure through the module of each; the clouds are recorders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.plugins.modules.test_mlflow_gcs_bucket import STATE, made
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.recorder import TOKEN, Recorder, recording

PLAY = """
- hosts: all
  gather_facts: false
  serial: 1
  vars_files: [input.json]
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_artifact_store, tasks_from: ENTRY}
"""
# No connection is made to it: what is asked, the controller asks.
INVENTORY = "app1 ansible_host=192.0.2.1\n"
SERVICE = (
    "/subscriptions/s-1/resourceGroups/mlflow/providers/Microsoft.Storage/storageAccounts/acmedev/blobServices/default"
)
IDENTITY = (
    "/subscriptions/s-1/resourceGroups/mlflow/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mlflow-dev"
)
COMMON = {"mlflow_environment": "dev", "mlflow_domain": "mlflow.example.com", "mlflow_artifact_store_managed": True}


@pytest.fixture(name="google")
def _google() -> Iterator[Recorder]:
    with recording(made) as recorder:
        yield recorder


@pytest.fixture(name="azure")
def _azure() -> Iterator[Recorder]:
    with recording() as recorder:
        recorder.resources[SERVICE] = {"properties": {}}
        recorder.adds[IDENTITY] = {"properties": {"principalId": "p-1", "clientId": "c-1"}}
        yield recorder


def settle(
    folder: Path, settings: dict[str, Any], *arguments: str, entry: str = "managed_clouds", hosts: str = INVENTORY
) -> Played:
    (folder / "input.json").write_text(json.dumps({**COMMON, **settings}))
    (folder / "hosts").write_text(hosts)
    (folder / "play.yml").write_text(PLAY.replace("ENTRY", entry))
    return play(folder, folder / "play.yml", "-i", folder / "hosts", *arguments)


def in_google(google: Recorder, **changes: Any) -> dict[str, Any]:
    return {
        "mlflow_artifact_uri": "gs://acme/mlflow/dev",
        "mlflow_artifact_store_gcs_project": "ml",
        "mlflow_artifact_store_gcs_location": "EU",
        "mlflow_artifact_store_gcs_admin_token": TOKEN,
        "mlflow_artifact_store_gcs_api_url": google.url,
        "mlflow_artifact_store_gcs_iam_api_url": google.url,
        **changes,
    }


def in_azure(azure: Recorder, **changes: Any) -> dict[str, Any]:
    return {
        "mlflow_artifact_uri": "wasbs://artifacts@acmedev.blob.core.windows.net/mlflow",
        "mlflow_artifact_store_azure_subscription": "s-1",
        "mlflow_artifact_store_azure_resource_group": "mlflow",
        "mlflow_artifact_store_azure_location": "westeurope",
        "mlflow_artifact_store_azure_admin_token": TOKEN,
        "mlflow_artifact_store_azure_management_url": azure.url,
        **changes,
    }


def test_a_bucket_is_foretold_made_and_then_left_alone(tmp_path: Path, google: Recorder) -> None:
    foretold = settle(tmp_path, in_google(google), "--check")
    assert (foretold.code, foretold.changed) == (0, 1), foretold.output
    assert google.changes == []
    done = settle(tmp_path, in_google(google), "-vvv")
    assert (done.code, done.changed) == (0, 1), done.output
    assert [call.method for call in google.changes] == ["POST", "POST", "POST", "PUT"]
    assert google.resources["/storage/v1/b/acme"]["labels"] == {"mlflow_environment": "dev"}
    google.asked.clear()
    again = settle(tmp_path, in_google(google))
    assert (again.code, again.changed, google.changes) == (0, 0, []), again.output
    assert TOKEN not in foretold.output + done.output + again.output


def test_a_container_is_foretold_made_and_then_left_alone(tmp_path: Path, azure: Recorder) -> None:
    foretold = settle(tmp_path, in_azure(azure), "--check")
    assert (foretold.code, foretold.changed) == (0, 1), foretold.output
    assert azure.changes == []
    done = settle(tmp_path, in_azure(azure), "-vvv")
    assert (done.code, done.changed) == (0, 1), done.output
    assert "set mlflow_artifact_store_azure_client_id: c-1" in done.output
    assert azure.changes[0].body["properties"]["allowSharedKeyAccess"] is False
    azure.asked.clear()
    again = settle(tmp_path, in_azure(azure, mlflow_artifact_store_azure_client_id="c-1"))
    assert (again.code, again.changed, azure.changes) == (0, 0, []), again.output
    assert "Give this identity" not in again.output
    assert TOKEN not in foretold.output + done.output + again.output


def test_an_account_whose_key_is_used_leaves_its_keys_on(tmp_path: Path, azure: Recorder) -> None:
    uri = "abfss://artifacts@acmedev.dfs.core.windows.net/mlflow"
    settle(tmp_path, in_azure(azure, mlflow_artifact_uri=uri, mlflow_artifact_store_azure_access_key="k3y"))
    sent = azure.changes[0].body["properties"]
    assert (sent["allowSharedKeyAccess"], sent["isHnsEnabled"]) == (True, True)


@pytest.mark.parametrize("cloud", ["gcs", "azure"])
def test_what_nobody_can_be_asked_without_is_named(
    tmp_path: Path, google: Recorder, azure: Recorder, cloud: str
) -> None:
    empty = {"mlflow_artifact_store_gcs_location": "", "mlflow_artifact_store_azure_location": ""}
    settings = in_google(google, **empty) if cloud == "gcs" else in_azure(azure, **empty)
    done = settle(tmp_path, settings)
    assert done.code != 0
    assert f"[STORE_CLOUD_SETTING] app1: mlflow_artifact_store_{cloud}_location not set." in " ".join(
        done.output.split()
    )
    assert google.asked + azure.asked == []


def test_a_refusal_of_the_cloud_is_one_sentence(tmp_path: Path, google: Recorder) -> None:
    done = settle(tmp_path, in_google(google, mlflow_artifact_store_gcs_admin_token="expired"))
    assert done.code != 0
    assert "[STORE_CLOUD_TOKEN] app1: The bucket acme: GET" in done.output
    assert "expired" not in done.output


def test_what_somebody_else_looks_after_is_said_and_does_not_stop_a_run(tmp_path: Path, google: Recorder) -> None:
    google.resources.update(made("/storage/v1/b", {"name": "acme", **STATE, "versioning": {"enabled": False}}))
    done = settle(tmp_path, in_google(google, mlflow_artifact_store_managed=False))
    assert (done.code, done.changed, google.changes) == (0, 0, []), done.output
    assert "versioning.enabled is false, wanted is true" in " ".join(done.output.split())


def test_what_the_cloud_would_refuse_is_refused_before_anything_is_changed(tmp_path: Path, google: Recorder) -> None:
    foretold = settle(tmp_path, in_google(google), entry="refuse_clouds")
    assert (foretold.code, foretold.changed, google.changes) == (0, 0, []), foretold.output
    labels = {"mlflow_environment": "prod"}
    google.resources.update(made("/storage/v1/b", {"name": "acme", **STATE, "labels": labels}))
    done = settle(tmp_path, in_google(google), entry="refuse_clouds")
    assert done.code != 0
    assert "[STORE_CLOUD_FOREIGN] app1: The bucket acme belongs to the environment 'prod', not to 'dev'." in done.output
    assert (done.changed, google.changes) == (0, [])


def test_nobody_is_asked_where_nothing_says_so(tmp_path: Path, google: Recorder, azure: Recorder) -> None:
    settings = {
        **in_google(google, mlflow_artifact_store_gcs_admin_token=""),
        **in_azure(azure, mlflow_artifact_store_azure_admin_token=""),
        "mlflow_artifact_store_managed": False,
    }
    del settings["mlflow_artifact_uri"]
    places = ("gs://acme/mlflow", "wasbs://artifacts@acmedev.blob.core.windows.net/mlflow", "/srv/mlflow/artifacts")
    hosts = "".join(f"app{number} mlflow_artifact_uri={place}\n" for number, place in enumerate(places))
    done = settle(tmp_path, settings, hosts=hosts)
    assert (done.code, done.changed) == (0, 0), done.output
    assert google.asked + azure.asked == []
