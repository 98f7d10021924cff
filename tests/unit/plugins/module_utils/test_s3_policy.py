"""The policies of an S3 store: what they say, and that a real server holds everybody to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_policy
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store

RUNTIME = _s3_policy.identity_policy("bucket", "mlflow/artifacts")
PLAIN = {"Bool": {"aws:SecureTransport": "false"}}


def statements(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["Sid"].removeprefix(_s3_policy.OURS): one for one in policy["Statement"]}


def test_who_runs_mlflow_may_put_get_and_list_below_the_prefix_and_nothing_else() -> None:
    said = statements(RUNTIME)
    assert set(said) == {"Objects", "List"}
    assert said["Objects"]["Action"] == ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    assert said["Objects"]["Resource"] == "arn:aws:s3:::bucket/mlflow/artifacts/*"
    assert said["List"]["Resource"] == "arn:aws:s3:::bucket"
    assert said["List"]["Condition"] == {"StringLike": {"s3:prefix": ["mlflow/artifacts", "mlflow/artifacts/*"]}}


def test_maintenance_may_delete_as_well() -> None:
    said = statements(_s3_policy.identity_policy("bucket", "mlflow", delete=True))
    assert set(said["Objects"]["Action"]) - set(statements(RUNTIME)["Objects"]["Action"]) == {"s3:DeleteObject"}


def test_a_key_of_the_site_and_another_partition() -> None:
    policy = _s3_policy.identity_policy("bucket", "x", kms_key="arn:aws-cn:kms:cn-north-1:1:key/2", partition="aws-cn")
    said = statements(policy)
    assert said["Key"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert said["Key"]["Resource"] == "arn:aws-cn:kms:cn-north-1:1:key/2"
    assert said["Objects"]["Resource"] == "arn:aws-cn:s3:::bucket/x/*"


@pytest.fixture(scope="module")
def places(seaweedfs: Store) -> Store:
    """A bucket with objects inside and outside the prefix."""
    seaweedfs.client("s3").create_bucket(Bucket="policies")
    for key in ("mine/run/object", "mine-too/object", "others/object"):
        seaweedfs.put(key, b"x", bucket="policies")
    return seaweedfs


def allowed(store: Store, name: str, *, delete: bool) -> set[str]:
    """What a user with our policy gets done, of everything that MLflow and a thief would try."""
    policy = _s3_policy.identity_policy("policies", "mine", delete=delete)
    keys = store.user(name, policy["Statement"])
    client, iam = store.client("s3", keys), store.client("iam", keys)
    store.put("mine/to-be-deleted", b"x", bucket="policies")
    upload = store.client("s3").create_multipart_upload(Bucket="policies", Key="mine/parts")["UploadId"]
    place = {"Bucket": "policies"}
    tried: dict[str, Callable[[], object]] = {
        "put": lambda: client.put_object(**place, Key="mine/run/new", Body=b"x"),
        "get": lambda: client.get_object(**place, Key="mine/run/object"),
        "list": lambda: client.list_objects_v2(**place, Prefix="mine/"),
        "begin parts": lambda: client.create_multipart_upload(**place, Key="mine/parts"),
        "abort parts": lambda: client.abort_multipart_upload(**place, Key="mine/parts", UploadId=upload),
        "delete": lambda: client.delete_object(**place, Key="mine/to-be-deleted"),
        "put outside": lambda: client.put_object(**place, Key="others/new", Body=b"x"),
        "put beside": lambda: client.put_object(**place, Key="mine-too/new", Body=b"x"),
        "get outside": lambda: client.get_object(**place, Key="others/object"),
        "get beside": lambda: client.get_object(**place, Key="mine-too/object"),
        "list outside": lambda: client.list_objects_v2(**place, Prefix="others/"),
        "list beside": lambda: client.list_objects_v2(**place, Prefix="mine-"),
        "list all": lambda: client.list_objects_v2(**place),
        "delete outside": lambda: client.delete_object(**place, Key="others/object"),
        "another bucket": lambda: client.list_objects_v2(Bucket="bucket", Prefix="mine/"),
        "policy": lambda: client.put_bucket_policy(**place, Policy=json.dumps(policy)),
        "make a bucket": lambda: client.create_bucket(Bucket="policies-of-a-thief"),
        "remove the bucket": lambda: client.delete_bucket(**place),
        "make a user": lambda: iam.create_user(UserName="a-thief"),
    }
    done, answers = set(), {}
    for what, act in tried.items():
        try:
            act()
            done.add(what)
        except ClientError as error:
            answers[what] = error.response["ResponseMetadata"]["HTTPStatusCode"]
    assert set(answers.values()) == {403}, answers
    return done


MAY = {"put", "get", "list", "begin parts", "abort parts"}


def test_a_server_that_enforces_gives_the_runtime_identity_what_mlflow_needs_and_no_more(places: Store) -> None:
    assert allowed(places, "runtime", delete=False) == MAY


def test_a_server_that_enforces_lets_maintenance_delete_below_the_prefix(places: Store) -> None:
    assert allowed(places, "maintenance", delete=True) == {*MAY, "delete"}


# ----- the bucket's own policy


def test_what_others_wrote_into_the_buckets_policy_stays() -> None:
    theirs = {"Sid": "Audit", "Effect": "Allow", "Principal": {"AWS": "1"}, "Action": "s3:ListBucket", "Resource": "*"}
    existing = {"Version": "2012-10-17", "Id": "theirs", "Statement": theirs}
    policy = _s3_policy.bucket_policy("bucket", existing, tls_only=True)
    assert policy["Id"] == "theirs"
    assert policy["Statement"][0] == theirs
    assert policy["Statement"][1]["Condition"] == PLAIN
    # Again, and without ours.
    assert _s3_policy.bucket_policy("bucket", policy, tls_only=True) == policy
    assert _s3_policy.bucket_policy("bucket", policy, tls_only=False) == {**existing, "Statement": [theirs]}


def test_a_bucket_without_statements_has_no_policy() -> None:
    assert _s3_policy.bucket_policy("bucket", {}, tls_only=False) == {}
    ours = _s3_policy.bucket_policy("bucket", {}, tls_only=True)
    assert _s3_policy.bucket_policy("bucket", ours, tls_only=False) == {}


DENY = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}


@pytest.mark.parametrize(
    ("change", "denied"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}, "Action": ["s3:*"]}, True),
        ({"Action": "*", "Resource": "*"}, True),
        ({"Condition": {"Bool": {"AWS:SecureTransport": ["false"]}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": False}}}, True),
        ({"Effect": "Allow"}, False),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/x"}}, False),
        ({"Action": "s3:PutObject"}, False),
        ({"Resource": "arn:aws:s3:::b/*"}, False),
        ({"Resource": ["arn:aws:s3:::c", "arn:aws:s3:::c/*"]}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Condition": {**PLAIN, "StringEquals": {"s3:prefix": "x"}}}, False),
        ({"Condition": None}, False),
    ],
)
def test_whether_a_policy_denies_what_comes_without_tls(change: dict[str, Any], denied: bool) -> None:
    policy = {"Statement": [{**DENY, "Condition": PLAIN, **change}]}
    assert _s3_policy.denies_plain_http(policy, "b") is denied


def test_our_own_statement_denies_what_comes_without_tls() -> None:
    assert _s3_policy.denies_plain_http(_s3_policy.bucket_policy("b", {}, tls_only=True), "b")
    assert not _s3_policy.denies_plain_http({}, "b")


TEXTS = st.lists(st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:*"]), min_size=1, max_size=3, unique=True)


@given(TEXTS, st.randoms(use_true_random=False))
def test_the_order_of_a_policy_says_nothing(actions: list[str], random: Any) -> None:
    one = {"Statement": [{"Action": actions, "Effect": "Deny"}, {"Action": "sts:AssumeRole", "Effect": "Allow"}]}
    shuffled = random.sample(actions, len(actions))
    other = {
        "Statement": [
            {"Effect": "Allow", "Action": ["sts:AssumeRole"]},
            {"Effect": "Deny", "Action": shuffled[0] if len(shuffled) == 1 else shuffled},
        ]
    }
    assert _s3_policy.same(one, other)
    assert not _s3_policy.same(one, {"Statement": other["Statement"][1:]})
