"""mlflow_gcs_bucket: each request by method, path and body, and what becomes of each refusal. The cloud is a recorder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _cloud_client
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.recorder import TOKEN, Asked, Recorder, recording

BUCKET = "/storage/v1/b/acme"
EMAIL = "mlflow-dev@ml.iam.gserviceaccount.com"
ACCOUNT = f"/v1/projects/ml/serviceAccounts/{EMAIL}"
ROLE = "/v1/projects/ml/roles/mlflowArtifacts"
STATE: dict[str, Any] = {
    "location": "EU",
    "labels": {"mlflow_environment": "dev"},
    "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
    "versioning": {"enabled": True},
    "softDeletePolicy": {"retentionDurationSeconds": 604800},
    "lifecycle": {
        "rule": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30, "isLive": False}},
        ]
    },
}
PERMISSIONS = [
    "storage.multipartUploads.abort",
    "storage.multipartUploads.create",
    "storage.multipartUploads.listParts",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
]
GRANT = {
    "role": "projects/ml/roles/mlflowArtifacts",
    "members": [f"serviceAccount:{EMAIL}"],
    "condition": {
        "title": "mlflow mlflow/dev",
        "expression": "resource.name.startsWith('projects/_/buckets/acme/objects/mlflow/dev/')"
        " || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('mlflow/dev/')",
    },
}
OWNERS = {"role": "roles/storage.legacyBucketOwner", "members": ["projectOwner:ml"]}


def made(path: str, body: Any) -> Mapping[str, Any]:
    """What Google has after a POST. It writes numbers as texts, places in upper case, and adds what nobody asked for."""
    if path == "/storage/v1/b":
        kept = {
            **body,
            "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": "2026-01-01T00:00:00Z"},
        }
        return {
            f"{path}/{body['name']}": {**kept, "location": body["location"].upper(), "storageClass": "STANDARD"},
            f"{path}/{body['name']}/iam": {
                "kind": "storage#policy",
                "etag": "CAE=",
                "version": 1,
                "bindings": [OWNERS],
            },
        }
    if path.endswith("/roles"):
        return {f"{path}/{body['roleId']}": body["role"]}
    return {f"{path}/{body['accountId']}@ml.iam.gserviceaccount.com": body["serviceAccount"]}


@pytest.fixture(name="cloud")
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(_cloud_client.Client, "pause", 0.01)
    with recording(made) as recorder:
        yield recorder


def bucket(cloud: Recorder | str, *, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
    url = cloud if isinstance(cloud, str) else cloud.url
    return run_module(
        "mlflow_gcs_bucket",
        check_mode=check_mode,
        **{
            "host": "app1",
            "environment": "dev",
            "bucket": "acme",
            "prefix": "mlflow/dev",
            "project": "ml",
            "location": "eu",
            "service_account": "mlflow-dev",
            "token": TOKEN,
            "api_url": url,
            "iam_api_url": url,
            "timeout": 5,
            **changes,
        },
    )


def one(answer: dict[str, Any], finding: str, sentence: str, *, failed: bool = True) -> None:
    assert ids(answer) == [finding]
    assert answer.get("failed", False) is failed
    said = answer["msg"] if failed else answer["findings"][0]["summary"]
    assert said.startswith(f"[{finding}] app1: {sentence}" if failed else sentence)


# ----- what is sent


def test_everything_is_made_in_four_steps_and_a_second_run_sends_nothing(cloud: Recorder) -> None:
    first = bucket(cloud)
    assert (first["changed"], first["findings"], first["service_account"]) == (True, [], EMAIL)
    assert cloud.asked == [
        Asked("GET", f"{BUCKET}?projection=noAcl"),
        Asked("POST", "/storage/v1/b?project=ml", {"name": "acme", **STATE, "location": "eu"}),
        Asked("GET", ACCOUNT),
        Asked(
            "POST",
            "/v1/projects/ml/serviceAccounts",
            {"accountId": "mlflow-dev", "serviceAccount": {"displayName": "MLflow dev"}},
        ),
        Asked("GET", ROLE),
        Asked(
            "POST",
            "/v1/projects/ml/roles",
            {
                "roleId": "mlflowArtifacts",
                "role": {"title": "MLflow artifacts", "stage": "GA", "includedPermissions": PERMISSIONS},
            },
        ),
        Asked("GET", f"{BUCKET}/iam?optionsRequestedPolicyVersion=3"),
        Asked("GET", f"{BUCKET}/iam?optionsRequestedPolicyVersion=3"),
        Asked(
            "PUT",
            f"{BUCKET}/iam",
            {"version": 3, "kind": "storage#policy", "etag": "CAE=", "bindings": [OWNERS, GRANT]},
        ),
    ]
    assert first["calls"] == [f"{call.method} {cloud.url}{call.path}" for call in cloud.changes]
    cloud.asked.clear()
    second = bucket(cloud)
    assert (second["changed"], second["calls"], second["findings"]) == (False, [], [])
    assert cloud.changes == []


def test_check_mode_foretells_every_change_and_sends_none(cloud: Recorder) -> None:
    foretold = bucket(cloud, check_mode=True)
    assert cloud.changes == []
    assert foretold["calls"] == bucket(cloud)["calls"]
    assert foretold["diff"]["after"]["the bucket acme"] == "present"


@pytest.mark.parametrize(
    ("there", "sent"),
    [
        ({"versioning": {"enabled": False}}, {"versioning": {"enabled": True}}),
        (
            {
                "iamConfiguration": {
                    "publicAccessPrevention": "inherited",
                    "uniformBucketLevelAccess": {"enabled": True},
                }
            },
            {"iamConfiguration": {"publicAccessPrevention": "enforced"}},
        ),
        ({"lifecycle": {"rule": []}}, {"lifecycle": STATE["lifecycle"]}),
        ({"softDeletePolicy": None}, {"softDeletePolicy": {"retentionDurationSeconds": 604800}}),
    ],
)
def test_only_what_differs_is_changed(cloud: Recorder, there: dict[str, Any], sent: dict[str, Any]) -> None:
    bucket(cloud)
    cloud.resources[BUCKET].update(there)
    cloud.asked.clear()
    assert bucket(cloud)["changed"]
    assert cloud.changes == [Asked("PATCH", BUCKET, sent)]


def test_a_key_of_the_site_encrypts_what_is_new(cloud: Recorder) -> None:
    key = "projects/ml/locations/eu/keyRings/r/cryptoKeys/k"
    bucket(cloud)
    cloud.asked.clear()
    bucket(cloud, kms_key=key)
    assert cloud.changes == [Asked("PATCH", BUCKET, {"encryption": {"defaultKmsKeyName": key}})]


def test_without_versions_nothing_is_kept_or_cleaned_up(cloud: Recorder) -> None:
    bucket(cloud, versioning=False, soft_delete_days=0)
    sent = cloud.changes[0].body
    assert sent["versioning"] == {"enabled": False}
    assert sent["softDeletePolicy"] == {"retentionDurationSeconds": 0}
    assert [rule["action"]["type"] for rule in sent["lifecycle"]["rule"]] == ["AbortIncompleteMultipartUpload"]


def test_a_role_that_can_more_is_cut_back(cloud: Recorder) -> None:
    bucket(cloud)
    cloud.resources[ROLE]["includedPermissions"] = [*PERMISSIONS, "storage.buckets.delete"]
    cloud.asked.clear()
    bucket(cloud)
    assert cloud.changes == [
        Asked("PATCH", f"{ROLE}?updateMask=includedPermissions", {"includedPermissions": PERMISSIONS})
    ]


def test_an_account_of_somebody_else_is_given_the_role_and_not_made(cloud: Recorder) -> None:
    other = "tracking@shared.iam.gserviceaccount.com"
    cloud.resources[f"/v1/projects/-/serviceAccounts/{other}"] = {"email": other}
    assert bucket(cloud, service_account=other)["service_account"] == other
    assert [call.path for call in cloud.changes] == [
        "/storage/v1/b?project=ml",
        "/v1/projects/ml/roles",
        f"{BUCKET}/iam",
    ]
    assert cloud.changes[-1].body["bindings"][-1]["members"] == [f"serviceAccount:{other}"]


def test_an_account_that_google_does_not_know_everywhere_yet_is_waited_for(cloud: Recorder) -> None:
    cloud.refuse("PUT", f"{BUCKET}/iam", 400, f"Service account {EMAIL} does not exist.", times=2)
    assert bucket(cloud)["findings"] == []
    assert [call.path for call in cloud.changes].count(f"{BUCKET}/iam") == 3


def test_a_policy_that_somebody_changed_meanwhile_is_read_again(cloud: Recorder) -> None:
    cloud.refuse("PUT", f"{BUCKET}/iam", 412, "Precondition Failed", times=1)
    bucket(cloud)
    last = [call for call in cloud.asked if call.path.startswith(f"{BUCKET}/iam")]
    assert [call.method for call in last] == ["GET", "GET", "PUT", "GET", "PUT"]


# ----- what is refused


def test_a_bucket_of_another_environment_is_not_touched(cloud: Recorder) -> None:
    bucket(cloud)
    cloud.asked.clear()
    answer = bucket(cloud, environment="prod")
    one(answer, "STORE_CLOUD_FOREIGN", "The bucket acme belongs to the environment 'dev', not to 'prod'.")
    assert answer["msg"].endswith("Nothing was changed.")
    assert cloud.changes == []


def test_a_bucket_in_use_that_carries_no_name_is_not_touched_unless_it_is_adopted(cloud: Recorder) -> None:
    cloud.resources.update(made("/storage/v1/b", {"name": "acme", **STATE, "labels": {"team": "ml"}}))
    cloud.resources[f"{BUCKET}/o"] = {"items": [{"name": "theirs"}]}
    one(bucket(cloud), "STORE_CLOUD_UNMARKED", "The bucket acme exists and carries the name of no environment.")
    assert cloud.changes == []
    assert bucket(cloud, adopt=True)["findings"] == []
    assert cloud.changes[0] == Asked("PATCH", BUCKET, {"labels": {"mlflow_environment": "dev"}})
    assert cloud.resources[BUCKET]["labels"] == {"team": "ml", "mlflow_environment": "dev"}


def test_an_empty_bucket_is_taken(cloud: Recorder) -> None:
    cloud.resources.update(made("/storage/v1/b", {"name": "acme", "location": "EU"}))
    assert bucket(cloud)["findings"] == []
    assert Asked("GET", f"{BUCKET}/o?maxResults=1") in cloud.asked
    assert cloud.changes[0] == Asked(
        "PATCH", BUCKET, {name: STATE[name] for name in STATE if name not in ("location", "softDeletePolicy")}
    )


def test_a_bucket_stays_where_it_was_made(cloud: Recorder) -> None:
    bucket(cloud)
    one(bucket(cloud, location="US"), "STORE_CLOUD_FIXED", "The bucket acme: location is EU, wanted is US.")


def test_an_account_that_was_switched_off_stays_so(cloud: Recorder) -> None:
    bucket(cloud)
    cloud.resources[ACCOUNT]["disabled"] = True
    one(bucket(cloud), "STORE_CLOUD_FIXED", f"The service account {EMAIL}: disabled is true, wanted is false.")


def test_a_bucket_for_everybody_is_said(cloud: Recorder) -> None:
    bucket(cloud)
    everybody = {"role": "roles/storage.objectViewer", "members": ["allUsers"]}
    cloud.resources[f"{BUCKET}/iam"]["bindings"].append(everybody)
    for managed in (True, False):
        answer = bucket(cloud, managed=managed)
        one(answer, "STORE_CLOUD_PUBLIC", "The policy of the bucket acme gives everybody roles/storage.objectViewer.")


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (401, "STORE_CLOUD_TOKEN"),
        (403, "STORE_CLOUD_DENIED"),
        (409, "STORE_CLOUD_REFUSED"),
        (503, "STORE_CLOUD_UNREACHABLE"),
    ],
)
def test_what_google_says_is_said(cloud: Recorder, status: int, finding: str) -> None:
    cloud.refuse("POST", "/storage/v1/b", status, "The bucket name\n is not for you.")
    answer = bucket(cloud)
    url = f"{cloud.url}/storage/v1/b?project=ml"
    one(answer, finding, f"The bucket acme: POST {url} was answered with {status}: The bucket name is not for you.")
    assert not answer["changed"]
    assert answer["msg"].endswith("Nothing was changed.")
    assert TOKEN not in str(answer)


def test_what_was_done_before_a_refusal_is_said(cloud: Recorder) -> None:
    cloud.refuse("GET", ROLE, 403, "iam.roles.get is missing.")
    answer = bucket(cloud)
    assert answer["changed"]
    assert answer["msg"].endswith(
        f"Done before it: POST {cloud.url}/storage/v1/b?project=ml, POST {cloud.url}/v1/projects/ml/serviceAccounts."
    )


def test_a_cloud_that_is_not_there_is_said() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    answer = bucket(url)
    one(
        answer,
        "STORE_CLOUD_UNREACHABLE",
        f"The bucket acme: GET {url}{BUCKET}?projection=noAcl: [Errno 111] Connection refused.",
    )


# ----- looked at only


def test_a_bucket_that_somebody_else_looks_after_is_compared_and_left_alone(cloud: Recorder) -> None:
    bucket(cloud)
    cloud.resources[BUCKET]["versioning"] = {"enabled": False}
    cloud.asked.clear()
    answer = bucket(cloud, managed=False)
    said = "The bucket acme: versioning.enabled is false, wanted is true."
    one(answer, "STORE_CLOUD_DIFFERENT", said, failed=False)
    assert cloud.asked == [
        Asked("GET", f"{BUCKET}?projection=noAcl"),
        Asked("GET", f"{BUCKET}/iam?optionsRequestedPolicyVersion=3"),
    ]


def test_a_bucket_that_nobody_made_is_said(cloud: Recorder) -> None:
    one(bucket(cloud, managed=False), "STORE_CLOUD_MISSING", "The bucket acme does not exist.")
    assert cloud.changes == []
