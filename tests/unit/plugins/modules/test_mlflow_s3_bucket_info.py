"""The module mlflow_s3_bucket_info against real servers: what a bucket is like, and what is wrong with it.

AWS's features are moto's here; it is open (nobody is refused), because it takes no notice of a policy's conditions. SeaweedFS refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_bucket, _s3_policy
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, allow, open_store

pytestmark = pytest.mark.usefixtures("in_this_process")
OURS = {"TagSet": [{"Key": _s3_bucket.TAG, "Value": "test"}]}
BLOCK = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
RULE: dict[str, Any] = {
    "ID": "clean",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
}


@pytest.fixture
def aws() -> Iterator[Store]:
    with open_store() as store:
        yield store


def look(store: Store, bucket: str = "bucket", keys: Keys | None = None, **options: Any) -> dict[str, Any]:
    keys = keys or store.admin
    return run_module(
        "mlflow_s3_bucket_info",
        host="app1",
        bucket=bucket,
        environment="test",
        endpoint_url=store.url,
        access_key_id=keys.id,
        secret_access_key=keys.secret,
        **{"fail_on": "never", **options},
    )


def furnish(store: Store, bucket: str = "bucket") -> None:
    """Give a bucket everything that is wanted."""
    s3 = store.client("s3")
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [default]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCK)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [RULE]})
    s3.put_bucket_tagging(Bucket=bucket, Tagging=OURS)
    # The last one: moto takes no notice of its condition, and lets nobody in any more.
    policy = json.dumps(_s3_policy.bucket_policy(bucket, {}, tls_only=True))
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def summaries(answer: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in answer["findings"]:
        found.setdefault(finding["id"], []).append(finding["summary"])
    return found


def test_a_bucket_as_aws_makes_it_lacks_what_is_wanted(aws: Store) -> None:
    answer = look(aws)
    assert answer["changed"] is False
    assert answer["bucket"]["exists"] is True
    assert (answer["bucket"]["empty"], answer["bucket"]["lacking"], answer["bucket"]["denied"]) == (True, [], [])
    assert summaries(answer) == {
        "STORE_ENCRYPTION": ["s3://bucket encrypts new objects with nothing, not with AES256."],
        "STORE_VERSIONING": ["s3://bucket keeps no versions (never enabled)."],
        "STORE_OWNERSHIP": ["s3://bucket leaves access lists of objects in force (not set)."],
        "STORE_PUBLIC": [f"s3://bucket may be made public ({', '.join(BLOCK)} off)."],
        "STORE_TLS": ["s3://bucket can be used without TLS."],
        "STORE_LIFECYCLE": [
            "s3://bucket keeps parts of uploads that nobody ended for longer than 7 days.",
            "s3://bucket keeps versions that were replaced for longer than 30 days.",
        ],
    }


def test_a_bucket_that_is_as_wanted(aws: Store) -> None:
    furnish(aws)
    answer = look(aws, managed=True)
    # moto's own fault, see furnish().
    assert set(answer["bucket"]["denied"]) <= {"objects"}
    assert set(ids(answer)) <= {"STORE_DENIED"}
    assert answer["bucket"]["encryption"] == {"algorithm": "AES256", "kms_key": ""}
    assert answer["bucket"]["public_access_block"] == BLOCK
    assert answer["bucket"]["tags"] == {_s3_bucket.TAG: "test"}
    assert [rule["ID"] for rule in answer["bucket"]["lifecycle"]] == ["clean"]


def test_what_would_be_changed_is_what_is_different_and_not_lacking(aws: Store, seaweedfs: Store) -> None:
    everything = ["encryption", "versioning", "ownership", "public_access_block", "policy", "lifecycle", "tags"]
    assert look(aws)["changes"] == everything
    assert "public_access_block" not in look(seaweedfs)["changes"]
    furnish(aws)
    s3 = aws.client("s3")
    assert look(aws)["changes"] == ["lifecycle"]  # a rule of somebody else's is left alone
    ours = {"Rules": [RULE, {**RULE, "ID": _s3_bucket.RULE}]}
    s3.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration=ours)
    assert look(aws)["changes"] == []
    assert look(aws, noncurrent_days=60)["changes"] == ["lifecycle"]
    assert look(aws, tls_only=False)["changes"] == ["policy"]
    assert look(aws, tags={"team": "ml"})["changes"] == ["tags"]
    assert look(aws, "nobodys-bucket")["changes"] == ["bucket"]


def test_what_is_not_wanted_is_not_missed(aws: Store) -> None:
    wants: dict[str, Any] = {
        "encryption": "none",
        "versioning": False,
        "tls_only": False,
        "abort_days": 0,
        "noncurrent_days": 0,
    }
    assert ids(look(aws, **wants)) == ["STORE_OWNERSHIP", "STORE_PUBLIC"]


def test_a_key_of_the_sites_own(aws: Store) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:1:key/one"}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    aws.client("s3").put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration=rules)
    assert "STORE_ENCRYPTION" not in summaries(look(aws, encryption="aws:kms"))
    assert summaries(look(aws, encryption="aws:kms", kms_key="arn:aws:kms:us-east-1:1:key/two"))[
        "STORE_ENCRYPTION"
    ] == ["s3://bucket encrypts with the key arn:aws:kms:us-east-1:1:key/one, not arn:aws:kms:us-east-1:1:key/two."]
    assert summaries(look(aws))["STORE_ENCRYPTION"] == [
        "s3://bucket encrypts new objects with aws:kms, not with AES256."
    ]


@pytest.mark.parametrize(
    "rule",
    [
        {**RULE, "Status": "Disabled"},
        {**RULE, "Filter": {"Prefix": "elsewhere/"}},
        {**RULE, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 8}},
    ],
)
def test_a_rule_that_cleans_up_too_late_or_elsewhere_does_not_count(aws: Store, rule: dict[str, Any]) -> None:
    aws.client("s3").put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": [rule]})
    said = summaries(look(aws))["STORE_LIFECYCLE"]
    assert said[0] == "s3://bucket keeps parts of uploads that nobody ended for longer than 7 days."


# ----- whose it is


def test_a_bucket_of_another_environment_is_refused(aws: Store) -> None:
    other = {"TagSet": [{"Key": _s3_bucket.TAG, "Value": "prod"}]}
    aws.client("s3").put_bucket_tagging(Bucket="bucket", Tagging=other)
    for managed in (False, True):
        answer = look(aws, managed=managed, adopt=True)
        assert answer["refusals"] == [
            (
                "[STORE_ENVIRONMENT] app1: s3://bucket belongs to the environment 'prod', not to 'test'."
                " Give each environment a bucket of its own in mlflow_artifact_uri."
            )
        ]


def test_a_bucket_that_holds_what_nobody_knows_is_refused_until_it_is_adopted(aws: Store) -> None:
    aws.put("somebody/object", b"x")
    assert look(aws, managed=True)["refusals"] == [
        (
            "[STORE_FOREIGN] app1: s3://bucket holds objects and carries no environment (tag mlops-mlflow-environment). Use another bucket, or"
            " set mlflow_artifact_store_adopt to true if this one is the environment's."
        )
    ]
    adopted = look(aws, managed=True, adopt=True)
    assert adopted["refusals"] == []
    assert summaries(adopted)["STORE_TAG"] == ["s3://bucket carries no environment yet (tag mlops-mlflow-environment)."]
    # What is only looked at may be whose it wants.
    assert look(aws)["refusals"] == []


def test_a_bucket_that_is_missing(aws: Store) -> None:
    assert look(aws, "nobodys-bucket")["refusals"] == [
        "[STORE_MISSING] app1: s3://nobodys-bucket does not exist. Make the bucket, or let the role do it (mlflow_artifact_store_managed: true)."
    ]
    answer = look(aws, "nobodys-bucket", managed=True)
    assert (answer["findings"], answer["bucket"]["exists"]) == ([], False)


def test_a_bucket_in_another_region(aws: Store) -> None:
    aws.client("s3").create_bucket(Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert look(aws, "far", region="eu-central-1")["refusals"] == []
    assert look(aws, "far", region="eu-west-1")["refusals"] == [
        (
            "[STORE_REGION] app1: s3://far is in the region eu-central-1, not in eu-west-1. Set mlflow_artifact_store_region to eu-central-1,"
            " or use another bucket."
        )
    ]


def owned_by(account: str) -> Callable[[Request], Reply]:
    """A server that has a bucket of this account, looks at who is expected to own it, as AWS does, and has nothing else."""

    def answer(request: Request) -> Reply:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("x-amz-expected-bucket-owner", account) != account:
            return Reply(403)
        if "list-type=2" in request.path or request.method == "HEAD":
            return Reply(body=b"<ListBucketResult></ListBucketResult>")
        return Reply(501, b"<Error><Code>NotImplemented</Code><Message>No.</Message></Error>")

    return answer


def test_a_bucket_that_somebody_else_took_is_refused() -> None:
    with http_peer(owned_by("999999999999")) as port:
        store = Store(f"http://127.0.0.1:{port}", Keys("key", "secret"))
        (refusal,) = look(store, expected_owner="123456789012")["refusals"]
        assert refusal == (
            "[STORE_OWNER] app1: s3://bucket does not belong to the account 123456789012. Use a bucket of your account, or correct"
            " mlflow_artifact_store_s3_expected_owner."
        )
        right = look(store, expected_owner="999999999999")
    assert right["refusals"] == []
    assert "expected_owner" not in right["bucket"]["lacking"]


def test_a_server_that_lets_any_owner_pass_lacks_the_guard(aws: Store) -> None:
    assert look(aws)["bucket"]["lacking"] == []
    (refusal,) = look(aws, expected_owner="123456789012", required=["expected_owner"])["refusals"]
    assert refusal.startswith(
        "[STORE_REQUIRED] app1: s3://bucket is on a server without the guard of the bucket's owner (expected_owner)."
    )


# ----- a server that refuses, and lacks


def test_a_server_that_lacks_a_feature_says_so_and_is_refused_only_if_it_is_required(seaweedfs: Store) -> None:
    answer = look(seaweedfs)
    assert "public_access_block" in answer["bucket"]["lacking"]
    assert (
        "s3://bucket is on a server without a block of public access (public_access_block)."
        in summaries(answer)["STORE_LACKING"]
    )
    assert answer["refusals"] == []
    assert look(seaweedfs, required=["public_access_block", "versioning"])["refusals"] == [
        (
            "[STORE_REQUIRED] app1: s3://bucket is on a server without a block of public access (public_access_block). Use a server that has it,"
            " or take its name out of mlflow_artifact_store_s3_required."
        )
    ]


def test_who_may_not_see_the_settings_is_told_which(seaweedfs: Store) -> None:
    keys = seaweedfs.user("blind", [allow("s3:GetBucketVersioning", resource="arn:aws:s3:::bucket")])
    answer = look(seaweedfs, keys=keys)
    assert {"objects", "policy", "lifecycle"} <= set(answer["bucket"]["denied"])
    assert "versioning" not in answer["bucket"]["denied"]
    assert (
        "s3://bucket does not let this identity see lifecycle rules (lifecycle)." in summaries(answer)["STORE_UNSEEN"]
    )
    assert answer["bucket"]["empty"] is None
    assert answer["refusals"] == []
    refusals = look(seaweedfs, keys=keys, managed=True)["refusals"]
    assert (
        "[STORE_DENIED] app1: s3://bucket does not let this identity see lifecycle rules (lifecycle). Allow the administrator's identity to"
        " read and write the bucket's settings, or set mlflow_artifact_store_managed to false." in refusals
    )


@pytest.mark.parametrize(
    ("keys", "finding"),
    [
        (Keys("NOBODYKNOWSTHISKEY00", "x" * 40), "ARTIFACT_KEY_UNKNOWN"),
        (Keys("administrator", "x" * 40), "ARTIFACT_SECRET_WRONG"),
    ],
)
def test_keys_that_do_not_open_are_told_as_the_check_of_the_place_does(
    seaweedfs: Store, keys: Keys, finding: str
) -> None:
    answer = look(seaweedfs, keys=keys)
    assert (ids(answer), answer["bucket"]) == ([finding], {})
    assert answer["findings"][0]["summary"].endswith("; looking at the bucket failed.")


@pytest.mark.usefixtures("apart")
def test_an_endpoint_that_is_down() -> None:
    store = Store(f"http://127.0.0.1:{free_port()}", Keys("key", "secret"))
    answer = look(store, fail_on="critical")
    assert (ids(answer), answer["failed"]) == (["ARTIFACT_ENDPOINT_DOWN"], True)
    assert answer["msg"].startswith(
        f"[ARTIFACT_ENDPOINT_DOWN] app1: s3://bucket: the endpoint does not take a connection ({store.url}"
    )
