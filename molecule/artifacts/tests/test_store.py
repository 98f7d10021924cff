"""The bucket is what was promised, its identities may do what they need, and both servers keep a client's files in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.mlops.mlflow.molecule.artifacts.conftest import SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks, hunting

BUCKET, PREFIX = "mlflow-artifacts", "team/artifacts"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def refused(client: Any, what: str, **arguments: Any) -> str:
    """The code with which the store refuses a request."""
    with pytest.raises(ClientError) as caught:
        getattr(client, what)(Bucket=BUCKET, **arguments)
    return str(caught.value.response["Error"]["Code"])


def test_the_bucket_is_private_encrypted_versioned_and_cleans_up(store: Callable[[str], Any]) -> None:
    """As the store itself says."""
    admin = store("admin")
    rules = admin.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert [rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules] == ["AES256"]
    assert admin.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    (rule,) = admin.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    tags = {one["Key"]: one["Value"] for one in admin.get_bucket_tagging(Bucket=BUCKET)["TagSet"]}
    assert "molecule-artifacts" in tags.values()
    policy = json.loads(admin.get_bucket_policy(Bucket=BUCKET)["Policy"])
    assert [one["Effect"] for one in policy["Statement"]] == ["Deny"]
    assert policy["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_what_one_server_stores_the_other_reads(
    hosts: Mapping[str, Any], edge: checks.Edge, store: Callable[[str], Any]
) -> None:
    """Through the edge, until both have answered; and the object is in the bucket, encrypted."""
    for number in range(12):
        path, content = f"both/{os.urandom(4).hex()}.txt", f"content {number}"
        assert edge.ask("PUT", f"{ARTIFACTS}/{path}", login=True, body=content).status == 200
        assert edge.ask("GET", f"{ARTIFACTS}/{path}", login=True).body == content.encode()
        answer = store("").get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")
        assert (answer["Body"].read(), answer["ServerSideEncryption"]) == (content.encode(), "AES256")
    asked = 'grep -F %s /var/log/nginx/mlflow-access.log | grep -o \'"upstream":"[^"]*"\' | sort -u'
    said = hosts["art-a"].check_output(asked, "/artifacts/both/").splitlines()
    assert len(said) >= len(SERVERS), said


def test_the_snippet_logs_and_reads_back(client: Any) -> None:
    """A run, 100 MB, a dataset, a trace and a registered model: clients need the public address alone."""
    done = client(str(checks.REPOSITORY / "docs" / "examples" / "snippet.py"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "written and read back equal" in done.stdout


def test_mlflow_may_put_get_and_list_below_its_prefix_and_nothing_else(store: Callable[[str], Any]) -> None:
    """Really denied, by the store."""
    runtime = store("")
    key = f"{PREFIX}/rights/{os.urandom(4).hex()}"
    runtime.put_object(Bucket=BUCKET, Key=key, Body=b"here")
    assert runtime.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"here"
    assert runtime.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 1
    assert refused(runtime, "delete_object", Key=key) == "AccessDenied"
    assert refused(runtime, "put_object", Key="elsewhere", Body=b"") == "AccessDenied"
    assert refused(runtime, "list_objects_v2") == "AccessDenied"
    assert refused(runtime, "list_objects_v2", Prefix="team/other") == "AccessDenied"
    assert refused(runtime, "put_bucket_policy", Policy="{}") == "AccessDenied"
    # What was refused did not happen.
    assert runtime.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"here"


def test_maintenance_may_delete_there_and_nowhere_else(store: Callable[[str], Any]) -> None:
    """The identity of what deletes for good."""
    admin, maintenance = store("admin"), store("maintenance")
    key = f"{PREFIX}/rights/{os.urandom(4).hex()}"
    admin.put_object(Bucket=BUCKET, Key=key, Body=b"here")
    admin.put_object(Bucket=BUCKET, Key="elsewhere/kept", Body=b"here")
    maintenance.delete_object(Bucket=BUCKET, Key=key)
    assert admin.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0
    assert refused(maintenance, "delete_object", Key="elsewhere/kept") == "AccessDenied"
    assert admin.get_object(Bucket=BUCKET, Key="elsewhere/kept")["Body"].read() == b"here"


def test_site_and_verify_find_the_bucket_in_order(playbook: Any) -> None:
    """Nothing to do, and a client's journey."""
    done = playbook("verify")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=0" in done.stdout


@pytest.mark.parametrize("name", SERVERS)
def test_no_key_of_the_store_on_any_host(
    hosts: Mapping[str, Any], secrets: dict[str, str], keys: Callable[[str], tuple[str, str]], name: str
) -> None:
    """Processes, journal, units, logs and files that others can read; the administrator's and maintenance's nowhere at all."""
    store = {identity: keys(identity)[1] for identity in ("", "maintenance", "admin")}
    assert all(len(secret) >= 30 for secret in store.values()), "these are no secrets"
    wanted = {**secrets, **{f"secret key of {identity or 'MLflow'}": secret for identity, secret in store.items()}}
    assert hunting.hunt(hosts[name], hunting.needles(wanted, "admin")) == []
    for identity in ("maintenance", "admin"):
        found = hosts[name].run(f"grep -rlF '{store[identity]}' /etc /opt/mlflow /var/lib/mlflow /root 2>/dev/null")
        assert found.stdout == "", identity
    # The look itself sees what is there.
    assert hosts[name].run(f"grep -rlF '{store['']}' /etc/mlflow").stdout != ""


@pytest.mark.parametrize("name", SERVERS)
def test_a_second_converge_changed_nothing(name: str) -> None:
    """Files, starts and rows, as they were recorded around it."""
    checks.a_second_converge_changed_nothing(name)
