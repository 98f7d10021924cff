"""mlflow_azure_container: each request by method, path and body, and what becomes of each refusal. The cloud is a recorder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _cloud_client
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.recorder import TOKEN, Asked, Recorder, recording

GROUP = "/subscriptions/s-1/resourceGroups/mlflow"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acmedev"
SERVICE = f"{ACCOUNT}/blobServices/default"
CONTAINER = f"{SERVICE}/containers/artifacts"
RULES = f"{ACCOUNT}/managementPolicies/default"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mlflow-dev"
STORAGE, RIGHTS = "?api-version=2023-05-01", "?api-version=2022-04-01"
MARK = {"mlflow_environment": "dev"}
PROPERTIES = {
    "supportsHttpsTrafficOnly": True,
    "minimumTlsVersion": "TLS1_2",
    "allowBlobPublicAccess": False,
    "allowSharedKeyAccess": False,
}
RULE = {
    "name": "mlflow-dev-versions",
    "enabled": True,
    "type": "Lifecycle",
    "definition": {
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["artifacts/mlflow/"]},
        "actions": {"version": {"delete": {"daysAfterCreationGreaterThan": 30}}},
    },
}
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


@pytest.fixture(name="cloud")
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(_cloud_client.Client, "pause", 0.01)
    with recording() as recorder:
        # Every account has this service from its first moment; there is no account without it here.
        recorder.resources[SERVICE] = {"sku": {"name": "Standard_ZRS"}, "properties": {"cors": {"corsRules": []}}}
        recorder.adds[IDENTITY] = {"properties": {"principalId": "p-1", "clientId": "c-1"}}
        yield recorder


def container(cloud: Recorder, *, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
    return run_module(
        "mlflow_azure_container",
        check_mode=check_mode,
        **{
            "host": "app1",
            "environment": "dev",
            "account": "acmedev",
            "container": "artifacts",
            "prefix": "mlflow",
            "subscription": "s-1",
            "resource_group": "mlflow",
            "location": "westeurope",
            "identity": "mlflow-dev",
            "token": TOKEN,
            "api_url": cloud.url,
            "timeout": 5,
            **changes,
        },
    )


def one(answer: dict[str, Any], finding: str, sentence: str) -> None:
    assert ids(answer) == [finding]
    assert answer["msg"].startswith(f"[{finding}] app1: {sentence}")


def names(cloud: Recorder) -> tuple[str, str]:
    """The names of role and assignment, which are made of what they are for."""
    role, right = [call.path for call in cloud.changes if "Microsoft.Authorization" in call.path]
    return tuple(path.partition("?")[0].rpartition("/")[2] for path in (role, right))  # type: ignore[return-value]


# ----- what is sent


def test_everything_is_made_and_a_second_run_sends_nothing(cloud: Recorder) -> None:
    first = container(cloud)
    assert (first["changed"], first["findings"]) == (True, [])
    assert first["identity"] == {"principal_id": "p-1", "client_id": "c-1"}
    role, right = names(cloud)
    kept = {"enabled": True, "days": 30}
    assert cloud.changes == [
        Asked(
            "PUT",
            ACCOUNT + STORAGE,
            {
                "location": "westeurope",
                "kind": "StorageV2",
                "sku": {"name": "Standard_ZRS"},
                "tags": MARK,
                "properties": {**PROPERTIES, "isHnsEnabled": False},
            },
        ),
        Asked(
            "PUT",
            SERVICE + STORAGE,
            {
                "properties": {
                    "cors": {"corsRules": []},
                    "deleteRetentionPolicy": kept,
                    "containerDeleteRetentionPolicy": kept,
                    "isVersioningEnabled": True,
                }
            },
        ),
        Asked("PUT", CONTAINER + STORAGE, {"properties": {"publicAccess": "None", "metadata": MARK}}),
        Asked("PUT", RULES + STORAGE, {"properties": {"policy": {"rules": [RULE]}}}),
        Asked("PUT", f"{IDENTITY}?api-version=2023-01-31", {"location": "westeurope", "tags": MARK}),
        Asked(
            "PUT",
            f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/{role}{RIGHTS}",
            {
                "properties": {
                    "roleName": "MLflow artifacts (mlflow)",
                    "type": "CustomRole",
                    "assignableScopes": [GROUP],
                    "permissions": [
                        {
                            "actions": [],
                            "notActions": [],
                            "dataActions": [f"{BLOBS}/add/action", f"{BLOBS}/read", f"{BLOBS}/write"],
                            "notDataActions": [],
                        }
                    ],
                }
            },
        ),
        Asked(
            "PUT",
            f"{CONTAINER}/providers/Microsoft.Authorization/roleAssignments/{right}{RIGHTS}",
            {
                "properties": {
                    "roleDefinitionId": f"/subscriptions/s-1/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": "p-1",
                    "principalType": "ServicePrincipal",
                }
            },
        ),
    ]
    assert first["calls"] == [f"{call.method} {cloud.url}{call.path}" for call in cloud.changes]
    cloud.asked.clear()
    second = container(cloud)
    assert (second["changed"], second["calls"], second["findings"]) == (False, [], [])
    assert cloud.changes == []
    assert second["identity"] == first["identity"]


def test_nobody_who_serves_may_delete(cloud: Recorder) -> None:
    container(cloud)
    [sent] = [call.body for call in cloud.changes if "roleDefinitions" in call.path]
    assert not [
        right for right in sent["properties"]["permissions"][0]["dataActions"] if "delete" in right or "*" in right
    ]


def test_check_mode_foretells_every_change_and_sends_none(cloud: Recorder) -> None:
    foretold = container(cloud, check_mode=True)
    assert cloud.changes == []
    done = container(cloud)
    # Under which name the right will stand depends on the identity, which is yet to be made.
    assert foretold["calls"][:-1] == done["calls"][:-1]
    assert len(foretold["calls"]) == len(done["calls"])


def test_what_others_have_put_there_stays(cloud: Recorder) -> None:
    container(cloud)
    theirs = {"name": "archive", "enabled": True, "type": "Lifecycle", "definition": {"actions": {}}}
    cloud.resources[RULES]["properties"]["policy"]["rules"] = [theirs]
    cloud.resources[ACCOUNT]["tags"] = {"team": "ml", **MARK}
    cloud.resources[ACCOUNT]["properties"]["minimumTlsVersion"] = "TLS1_0"
    cloud.resources[CONTAINER]["properties"].update(publicAccess="Blob", metadata={"team": "ml", **MARK})
    cloud.asked.clear()
    container(cloud)
    assert cloud.changes == [
        Asked("PATCH", ACCOUNT + STORAGE, {"properties": {"minimumTlsVersion": "TLS1_2"}}),
        Asked("PATCH", CONTAINER + STORAGE, {"properties": {"publicAccess": "None"}}),
        Asked("PUT", RULES + STORAGE, {"properties": {"policy": {"rules": [theirs, RULE]}}}),
    ]


def test_an_account_that_is_adopted_keeps_its_tags(cloud: Recorder) -> None:
    cloud.resources[ACCOUNT] = {"tags": {"team": "ml"}, "properties": {**PROPERTIES, "isHnsEnabled": False}}
    one(
        container(cloud),
        "STORE_CLOUD_UNMARKED",
        "The storage account acmedev exists and carries the name of no environment. Set mlflow_artifact_store_adopt=true",
    )
    assert cloud.changes == []
    container(cloud, adopt=True)
    assert cloud.changes[0] == Asked("PATCH", ACCOUNT + STORAGE, {"tags": {"team": "ml", **MARK}})


def test_for_a_data_lake_the_account_has_folders_and_keeps_no_versions(cloud: Recorder) -> None:
    container(cloud, hierarchical=True)
    assert cloud.changes[0].body["properties"]["isHnsEnabled"] is True
    assert cloud.changes[1].body["properties"]["isVersioningEnabled"] is False
    assert RULES + STORAGE not in [call.path for call in cloud.asked]


def test_an_identity_that_exists_is_given_the_right(cloud: Recorder) -> None:
    answer = container(cloud, identity="", principal_id="p-9")
    assert answer["identity"] == {"principal_id": "p-9", "client_id": ""}
    assert cloud.changes[-1].body["properties"]["principalId"] == "p-9"
    assert not [call for call in cloud.asked if "ManagedIdentity" in call.path]


def test_keys_are_good_for_something_only_where_they_are_used(cloud: Recorder) -> None:
    container(cloud, shared_key=True, soft_delete_days=0)
    assert cloud.changes[0].body["properties"]["allowSharedKeyAccess"] is True
    assert cloud.changes[1].body["properties"]["deleteRetentionPolicy"] == {"enabled": False}


def test_an_account_that_azure_makes_behind_its_answer_is_waited_for(
    cloud: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = "/subscriptions/s-1/providers/Microsoft.Storage/operations/o-1"
    cloud.resources[operation] = {}
    later = Reply(202, b"", {"Location": f"{cloud.url}{operation}?api-version=2023-05-01"})
    cloud.refused["PUT", ACCOUNT] = [later]
    cloud.refused["GET", operation] = [later, later]
    container(cloud)
    assert [call.path for call in cloud.asked].count(f"{operation}{STORAGE}") == 3
    cloud.refused["PUT", ACCOUNT] = [later]
    cloud.refused["GET", operation] = [later] * 1000
    monkeypatch.setattr(_cloud_client.Client, "pause", 0.4)
    one(
        container(cloud, timeout=1),
        "STORE_CLOUD_UNREACHABLE",
        "The storage account acmedev: it was not done within 1 s.",
    )


def test_an_identity_that_azure_does_not_know_everywhere_yet_is_waited_for(cloud: Recorder) -> None:
    container(cloud)
    [right] = [call.path.partition("?")[0] for call in cloud.changes if "roleAssignments" in call.path]
    del cloud.resources[right]
    cloud.refuse("PUT", right, 400, "Principal p-1 does not exist in the directory.", times=2)
    cloud.asked.clear()
    assert container(cloud)["findings"] == []
    assert len(cloud.changes) == 3


# ----- what is refused


def test_a_container_of_another_environment_is_not_touched(cloud: Recorder) -> None:
    container(cloud)
    cloud.resources[CONTAINER]["properties"]["metadata"] = {"mlflow_environment": "prod"}
    cloud.asked.clear()
    one(
        container(cloud),
        "STORE_CLOUD_FOREIGN",
        "The container artifacts belongs to the environment 'prod', not to 'dev'.",
    )
    assert cloud.changes == []


def test_an_account_cannot_become_a_data_lake(cloud: Recorder) -> None:
    container(cloud)
    one(
        container(cloud, hierarchical=True),
        "STORE_CLOUD_FIXED",
        "The storage account acmedev: properties.isHnsEnabled is false, wanted is true.",
    )


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (401, "STORE_CLOUD_TOKEN"),
        (403, "STORE_CLOUD_DENIED"),
        (409, "STORE_CLOUD_REFUSED"),
        (503, "STORE_CLOUD_UNREACHABLE"),
    ],
)
def test_what_azure_says_is_said(cloud: Recorder, status: int, finding: str) -> None:
    cloud.refuse("PUT", ACCOUNT, status, "The storage account named acmedev is already taken.")
    answer = container(cloud)
    url = f"{cloud.url}{ACCOUNT}{STORAGE}"
    one(
        answer,
        finding,
        f"The storage account acmedev: PUT {url} was answered with {status}: The storage account named acmedev is already taken.",
    )
    assert TOKEN not in str(answer)


# ----- looked at only


def test_what_somebody_else_looks_after_is_compared_and_left_alone(cloud: Recorder) -> None:
    container(cloud)
    cloud.resources[ACCOUNT]["properties"]["allowBlobPublicAccess"] = True
    cloud.resources[SERVICE]["properties"]["isVersioningEnabled"] = False
    cloud.asked.clear()
    answer = container(cloud, managed=False, fail_on="warning")
    assert ids(answer) == ["STORE_CLOUD_DIFFERENT", "STORE_CLOUD_DIFFERENT"]
    assert [finding["summary"] for finding in answer["findings"]] == [
        "The storage account acmedev: properties.allowBlobPublicAccess is true, wanted is false.",
        "The Blob service of acmedev: properties.isVersioningEnabled is false, wanted is true.",
    ]
    assert answer["msg"].endswith("Nothing was changed.")
    assert [call.method for call in cloud.asked] == ["GET"] * 3


def test_an_account_that_nobody_made_is_said(cloud: Recorder) -> None:
    one(container(cloud, managed=False), "STORE_CLOUD_MISSING", "The storage account acmedev does not exist.")
    assert cloud.changes == []
