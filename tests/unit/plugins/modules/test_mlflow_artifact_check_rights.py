"""mlflow_artifact_check against SeaweedFS, which enforces policies with their conditions: what an identity lacks, and what it has too much."""

from __future__ import annotations

import base64
import datetime
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import botocore.auth
import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, http_peer, server_context
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, allow
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

pytestmark = pytest.mark.usefixtures("in_this_process", "alone")
DELETABLE = ".mlops-mlflow/deletable"
OBJECTS = ("s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor settings of the machine that runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "MLFLOW_S3_UPLOAD_EXTRA_ARGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def below(prefix: str, *actions: str) -> dict[str, Any]:
    """Rights to the objects below a prefix of the bucket."""
    return allow(*actions, resource=f"arn:aws:s3:::bucket/{prefix}/*")


def listing(*prefixes: str) -> dict[str, Any]:
    """The right to list below these prefixes of the bucket, and nothing else there."""
    patterns = [pattern for prefix in prefixes for pattern in (prefix, f"{prefix}/*")]
    allowed = allow("s3:ListBucket", resource="arn:aws:s3:::bucket")
    return {**allowed, "Condition": {"StringLike": {"s3:prefix": patterns}}} if prefixes else allowed


def least(prefix: str) -> list[dict[str, Any]]:
    """What the identity of a server needs."""
    return [below(prefix, *OBJECTS), listing(prefix)]


def check(store: Store, keys: Keys, prefix: str, **options: Any) -> dict[str, Any]:
    """Run the module as host app1 of the environment dev, without failing."""
    arguments: dict[str, Any] = {
        "uri": f"s3://bucket/{prefix}",
        "environment": "dev",
        "host": "app1",
        "endpoint_url": store.url,
        "access_key_id": keys.id,
        "secret_access_key": keys.secret,
        "region": "us-east-1",
        "ca_file": store.ca,
        "fail_on": "never",
        "timeout": 60,
    }
    return run_module("mlflow_artifact_check", **{**arguments, **options})


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "") -> dict[str, str]:
    """Assert that this is all that was found, and return it."""
    assert ids(answer) == [finding_id], answer
    finding: dict[str, str] = answer["findings"][0]
    assert summary in finding["summary"]
    assert evidence in finding["evidence"]
    return finding


# ----- the identity of the server


def test_what_a_server_needs_is_enough_and_not_too_much(seaweedfs: Store) -> None:
    keys = seaweedfs.user("check-least", least("least"))
    for _again in range(2):
        answer = check(seaweedfs, keys, "least")
        assert answer["findings"] == [], answer
        assert answer["steps"][-3:] == ["list", "overwrite", "read"]
    assert seaweedfs.objects("least") == {"least/.mlops-mlflow/environment": b"dev"}


@pytest.mark.parametrize(
    ("name", "statements", "finding_id", "step"),
    [
        ("list", [below("denied", *OBJECTS), listing("elsewhere")], "ARTIFACT_LIST_DENIED", "listing"),
        ("get", [below("denied", "s3:PutObject"), listing("denied")], "ARTIFACT_GET_DENIED", "reading"),
        ("put", [below("denied", "s3:GetObject"), listing("denied")], "ARTIFACT_PUT_DENIED", "writing"),
    ],
)
def test_each_right_that_is_missing_is_named(
    seaweedfs: Store, name: str, statements: Sequence[Mapping[str, Any]], finding_id: str, step: str
) -> None:
    seaweedfs.put("denied/.mlops-mlflow/environment", b"dev")
    answer = check(seaweedfs, seaweedfs.user(f"check-no-{name}", statements), "denied")
    finding = one(answer, finding_id, f"{step} failed.", "AccessDenied")
    assert f"s3:{name.title()}" in finding["remedy"]


def test_an_unknown_key_and_a_wrong_secret(seaweedfs: Store) -> None:
    unknown = check(seaweedfs, Keys("NOBODYKNOWSTHISKEY00", "x" * 40), "x")
    one(
        unknown, "ARTIFACT_KEY_UNKNOWN", "the store does not know the access key; listing failed.", "InvalidAccessKeyId"
    )
    wrong = check(seaweedfs, Keys(seaweedfs.admin.id, "x" * 40), "x")
    one(wrong, "ARTIFACT_SECRET_WRONG", "does not belong to the access key", "SignatureDoesNotMatch")


def test_a_bucket_that_does_not_exist(seaweedfs: Store) -> None:
    answer = check(seaweedfs, seaweedfs.admin, "x", uri="s3://no-such-bucket/x")
    one(answer, "ARTIFACT_BUCKET_MISSING", "the bucket does not exist; listing failed.", "NoSuchBucket")


def test_a_clock_that_is_wrong(seaweedfs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's clock is two hours late, so that requests are signed for a time that is over."""
    now = botocore.auth.get_current_datetime

    def late(*arguments: Any, **named: Any) -> datetime.datetime:
        seen: datetime.datetime = now(*arguments, **named)
        return seen - datetime.timedelta(hours=2)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", late)
    answer = check(seaweedfs, seaweedfs.admin, "x")
    one(answer, "ARTIFACT_CLOCK", "the store finds the host's clock wrong; listing failed.", "RequestTimeTooSkewed")


# ----- more than it needs


def test_a_server_that_may_delete(seaweedfs: Store) -> None:
    keys = seaweedfs.user("check-deletes", [*least("deletes"), below("deletes", "s3:DeleteObject")])
    seaweedfs.put("deletes/run/model", b"kept")
    answer = check(seaweedfs, keys, "deletes")
    finding = one(answer, "ARTIFACT_DELETE_ALLOWED", "s3://bucket/deletes: the identity of the server may delete;")
    assert (finding["severity"], answer["refusals"]) == ("warning", [])
    assert answer["remarks"] == [f"[ARTIFACT_DELETE_ALLOWED] app1: {finding['summary']} {finding['remedy']}"]
    assert set(seaweedfs.objects("deletes")) == {"deletes/run/model", "deletes/.mlops-mlflow/environment"}


def test_a_server_that_can_list_the_whole_bucket(seaweedfs: Store) -> None:
    keys = seaweedfs.user("check-wide", [below("wide", *OBJECTS), listing()])
    finding = one(check(seaweedfs, keys, "wide"), "ARTIFACT_LIST_WIDE", "can list the whole bucket bucket, not only")
    assert finding["severity"] == "warning"


@pytest.mark.parametrize(
    ("reached", "more"),
    [
        ("list", listing("theirs")),
        ("read", below("theirs", "s3:GetObject")),
    ],
)
def test_a_server_that_reaches_another_environment(seaweedfs: Store, reached: str, more: dict[str, Any]) -> None:
    seaweedfs.put("theirs/.mlops-mlflow/environment", b"prod")
    alone = seaweedfs.user(f"check-within-{reached}", least("ours"))
    assert check(seaweedfs, alone, "ours", other_places=["s3://bucket/theirs"])["findings"] == []
    both = seaweedfs.user(f"check-beyond-{reached}", [*least("ours"), more])
    answer = check(seaweedfs, both, "ours", other_places=["s3://bucket/theirs"])
    finding = one(
        answer,
        "ARTIFACT_OTHER_READABLE",
        f"s3://bucket/ours: the identity can {reached} in s3://bucket/theirs as well, which is not its environment's.",
    )
    assert finding["severity"] == "critical"


def test_another_bucket_that_is_reached_and_one_that_does_not_exist(seaweedfs: Store) -> None:
    seaweedfs.client("s3").create_bucket(Bucket="check-theirs")
    keys = seaweedfs.user(
        "check-all-buckets", [*least("ours"), allow("s3:ListBucket", resource="arn:aws:s3:::check-*")]
    )
    answer = check(seaweedfs, keys, "ours", other_places=["s3://check-theirs/x", "s3://check-none/x"])
    assert ids(answer) == ["ARTIFACT_OTHER_READABLE", "ARTIFACT_OTHER_UNPROVED"], answer
    readable, unproved = answer["findings"]
    assert "the identity can list in s3://check-theirs/x as well" in readable["summary"]
    assert "whether the identity reaches s3://check-none/x as well could not be told." in unproved["summary"]
    assert "NoSuchBucket" in unproved["evidence"]


def test_check_mode_neither_writes_nor_deletes(seaweedfs: Store) -> None:
    keys = seaweedfs.user("check-mode", [*least("mode"), below("mode", "s3:DeleteObject"), listing()])
    seaweedfs.put(f"mode/{DELETABLE}", b"kept")
    arguments: dict[str, Any] = {
        "access_key_id": keys.id,
        "secret_access_key": keys.secret,
        "endpoint_url": seaweedfs.url,
    }
    answer = run_module(
        "mlflow_artifact_check",
        check_mode=True,
        uri="s3://bucket/mode",
        environment="dev",
        region="us-east-1",
        **arguments,
    )
    assert ids(answer) == ["ARTIFACT_LIST_WIDE"]
    assert answer["steps"] == ["list"]
    assert seaweedfs.objects("mode") == {f"mode/{DELETABLE}": b"kept"}


# ----- the identity of maintenance


def test_maintenance_deletes_what_it_wrote(seaweedfs: Store) -> None:
    keys = seaweedfs.user("check-maintenance", [*least("kept"), below("kept", "s3:DeleteObject")])
    seaweedfs.put("kept/run/model", b"kept")
    answer = check(seaweedfs, keys, "kept", role="maintenance")
    assert answer["findings"] == [], answer
    assert answer["steps"][-1] == "delete"
    assert set(seaweedfs.objects("kept")) == {"kept/run/model", "kept/.mlops-mlflow/environment"}


def test_maintenance_that_may_not_delete_is_named_although_the_store_says_nothing(seaweedfs: Store) -> None:
    """The answer's status is 200, and MLflow looks no further: gc would report success."""
    keys = seaweedfs.user("check-silent", least("silent"))
    answer = check(seaweedfs, keys, "silent", role="maintenance")
    one(
        answer,
        "ARTIFACT_DELETE_DENIED",
        "s3://bucket/silent: the identity of maintenance may not delete objects below the prefix; deleting failed.",
        "AccessDenied",
    )
    key = f"silent/{DELETABLE}"
    said = seaweedfs.client("s3", keys).delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key}]})
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert key in seaweedfs.objects("silent")


def test_a_key_of_maintenance_is_corrected_where_it_is_set(seaweedfs: Store) -> None:
    answer = check(seaweedfs, Keys("NOBODYKNOWSTHISKEY00", "x" * 40), "x", role="maintenance")
    finding = one(answer, "ARTIFACT_KEY_UNKNOWN", "does not know the access key")
    assert finding["remedy"].startswith(
        "Correct mlflow_artifact_store_maintenance_access_key_id, or mlflow_artifact_store_endpoint_url"
    )


# ----- what is given for uploads


@pytest.fixture(name="sealed", scope="module")
def _sealed(seaweedfs: Store) -> Keys:
    """The keys of a user of the bucket `sealed`, which takes no object whose upload does not ask for encryption."""
    seaweedfs.client("s3").create_bucket(Bucket="sealed")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::sealed/*",
        "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}},
    }
    allowed = {**allow(*OBJECTS, resource="arn:aws:s3:::sealed/x/*"), "Principal": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement, allowed]})
    seaweedfs.client("s3").put_bucket_policy(Bucket="sealed", Policy=policy)
    objects = allow(*OBJECTS, resource="arn:aws:s3:::sealed/x/*")
    lists = {**listing("x"), "Resource": "arn:aws:s3:::sealed"}
    return seaweedfs.user("check-sealed", [objects, lists])


def test_a_bucket_that_demands_what_uploads_ask_for(seaweedfs: Store, sealed: Keys) -> None:
    uri = "s3://sealed/x"
    one(check(seaweedfs, sealed, "", uri=uri), "ARTIFACT_PUT_DENIED", "s3://sealed/x: ", "AccessDenied")
    answer = check(seaweedfs, sealed, "", uri=uri, upload_extra_args={"ServerSideEncryption": "AES256"})
    assert answer["findings"] == [], answer
    head = seaweedfs.client("s3").head_object(Bucket="sealed", Key="x/.mlops-mlflow/environment")
    assert head["ServerSideEncryption"] == "AES256"


def test_what_the_server_is_started_with_counts_where_nothing_is_given(
    seaweedfs: Store, sealed: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_S3_UPLOAD_EXTRA_ARGS", '{"ServerSideEncryption": "AES256"}')
    assert check(seaweedfs, sealed, "", uri="s3://sealed/x")["findings"] == []


@pytest.mark.parametrize(
    ("given", "evidence"),
    [
        ("{ServerSideEncryption: AES256}", "it is no JSON: Expecting property name"),
        ('["ServerSideEncryption"]', "it is no JSON object"),
        ('{"Nope": 1, "StorageClass": "STANDARD"}', "boto3 does not know Nope"),
        ('{"StorageClass": 5}', "Invalid type for parameter StorageClass"),
    ],
)
def test_what_no_upload_could_take(seaweedfs: Store, given: str, evidence: str) -> None:
    keys = seaweedfs.admin
    answer = check(seaweedfs, keys, "extra", upload_extra_args=given)
    finding = one(
        answer, "ARTIFACT_EXTRA_ARGS", "s3://bucket/extra: what is given for uploads cannot be used;", evidence
    )
    assert "MLFLOW_S3_UPLOAD_EXTRA_ARGS" in finding["remedy"]


@pytest.mark.parametrize("name", ["SSECustomerKey", "Tagging"])
def test_what_may_be_secret_is_not_repeated(seaweedfs: Store, name: str) -> None:
    answer = check(
        seaweedfs, seaweedfs.admin, "extra", upload_extra_args=json.dumps({name: ["a-key-that-nobody-may-read"]})
    )
    assert ids(answer) == ["ARTIFACT_EXTRA_ARGS"]
    assert "that-nobody-may-read" not in str(answer["findings"])


# ----- addresses that are signed


def signed(store: Store, prefix: str) -> str:
    """What a server has signed."""
    keys = store.user(f"check-{prefix}", least(prefix))
    answer = check(store, keys, prefix, presign=True)
    assert answer["findings"] == [], answer
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(answer["presigned_url"]).query)["X-Amz-Expires"] == ["300"]
    return str(answer["presigned_url"])


def fetched(url: str, prefix: str, **options: Any) -> dict[str, Any]:
    """What the module says on the host of a client."""
    arguments = {
        "uri": f"s3://bucket/{prefix}",
        "environment": "dev",
        "host": "laptop",
        "presigned_url": url,
        "timeout": 10,
    }
    return run_module("mlflow_artifact_check", fail_on="never", **{**arguments, **options})


@pytest.mark.usefixtures("apart")
def test_a_client_fetches_what_the_store_signed(seaweedfs: Store) -> None:
    assert fetched(signed(seaweedfs, "signed"), "signed")["findings"] == []


def unreachable(answer: dict[str, Any], *words: str) -> None:
    """Assert the finding, and that nothing of the signature is in it."""
    finding = one(answer, "ARTIFACT_PRESIGNED_UNREACHABLE", "this host cannot fetch what the store signed. ")
    assert finding["host"] == "laptop"
    assert all(word in finding["summary"] for word in words), finding
    assert "X-Amz-" not in str(answer["findings"])


def test_a_client_that_does_not_reach_the_store(seaweedfs: Store) -> None:
    parts = urllib.parse.urlsplit(signed(seaweedfs, "unreached"))
    for address, words in {
        f"127.0.0.1:{free_port()}": ["does not take a connection; the step tcp failed."],
        "s3.invalid:9000": ["the step dns failed."],
    }.items():
        unreachable(fetched(parts._replace(netloc=address).geturl(), "unreached"), *words)


def test_a_signature_that_does_not_hold(seaweedfs: Store) -> None:
    url = signed(seaweedfs, "broken").replace("X-Amz-Expires=300", "X-Amz-Expires=301")
    unreachable(fetched(url, "broken"), "the status is 403, and 200 is expected.")


def test_a_client_that_does_not_trust_the_store(tmp_path: Path) -> None:
    context = server_context(Authority.make("test"), tmp_path, LOOPBACK)
    with http_peer(lambda _request: Reply(body=b"dev"), context=context) as port:
        unreachable(fetched(f"https://127.0.0.1:{port}/bucket/x?X-Amz-Signature=0", "x"), "the step tls failed.")


def test_something_else_that_answers_a_client() -> None:
    with http_peer(lambda _request: Reply(body=b"<title>Sign in</title>")) as port:
        unreachable(
            fetched(f"http://127.0.0.1:{port}/bucket/x?X-Amz-Signature=0", "x"), "the body does not hold ^dev$."
        )


# ----- sessions, and TLS

# One role that everybody may take, for five seconds.
SESSIONS = {
    "sts": {
        "issuer": "test",
        "signingKey": base64.b64encode(b"0123456789abcdef0123456789abcdef").decode(),
        "tokenDuration": "5s",
        "maxSessionLength": "5s",
    },
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
    "policies": [{"name": "all", "document": {"Version": "2012-10-17", "Statement": [allow("s3:*")]}}],
    "roles": [
        {
            "roleName": "session",
            "roleArn": "arn:aws:iam::role/session",
            "trustPolicy": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}],
            },
            "attachedPolicies": ["all"],
        }
    ],
}


@pytest.fixture(name="with_tls", scope="module")
def _with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A server with a certificate of an authority of our own, whose sessions end after five seconds."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.make("test")
    certificate, key = authority.issue(LOOPBACK)
    (folder / "store.pem").write_bytes(certificate)
    (folder / "store.key").write_bytes(key)
    ca = str(authority.write(folder / "authority.pem"))
    files = (folder / "store.pem", folder / "store.key")
    with running_seaweedfs(certificate=files, authority=ca, iam=SESSIONS) as store:
        yield store


def test_a_real_store_with_tls(with_tls: Store) -> None:
    keys = with_tls.user("check-tls", least("tls"))
    assert check(with_tls, keys, "tls")["findings"] == []
    answer = check(with_tls, keys, "tls", ca_file="")
    one(answer, "ARTIFACT_TLS", f"the endpoint's certificate is not trusted ({with_tls.url}); listing failed.")


def test_a_session_that_ended(with_tls: Store) -> None:
    """Given by the store itself, and good for some seconds."""
    given = with_tls.client("sts").assume_role(RoleArn="arn:aws:iam::role/session", RoleSessionName="check")[
        "Credentials"
    ]
    keys = Keys(given["AccessKeyId"], given["SecretAccessKey"])
    answer = check(with_tls, keys, "session", session_token=given["SessionToken"])
    assert "overwrite" in answer["steps"], answer["findings"]
    until = time.monotonic() + 30
    # It may end between two steps; what counts is a check that begins after its end.
    while answer["steps"]:
        assert time.monotonic() < until, answer["findings"]
        time.sleep(0.5)
        answer = check(with_tls, keys, "session", session_token=given["SessionToken"])
    one(
        answer,
        "ARTIFACT_TOKEN_EXPIRED",
        "the session token is expired or not valid; listing failed.",
        "InvalidAccessKeyId",
    )
    assert given["SessionToken"] not in str(answer["findings"])
