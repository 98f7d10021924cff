"""The role mlflow_artifact_store makes buckets and identities on real servers, and refuses those that are not its own.

SeaweedFS enforces what is made; what only AWS has is moto's, which is open here because it takes no notice of conditions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from botocore.exceptions import ClientError

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, allow, open_store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

TAG = "mlops-mlflow-environment"
ROLE = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_artifact_store, tasks_from: ENTRY}
"""
# Ends the run, as a power cut would, right before the task of this name.
KILLER = """\
import os
import signal

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killer"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task, is_conditional):
        if task.name == os.environ.get("KILL_BEFORE"):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Site:
    """A controller's folder, and a store that its environment uses."""

    home: Path
    store: Store

    def run(self, entry: str, *arguments: str, hosts: int = 1, **variables: Any) -> Played:
        """Apply one entry point of the role, or the playbook of that name."""
        usual = {
            "mlflow_environment": "test",
            "mlflow_domain": "mlflow.test",
            "mlflow_artifact_uri": "s3://artifacts-test/mlflow",
            "mlflow_artifact_store_managed": True,
            "mlflow_artifact_store_endpoint_url": self.store.url,
            "mlflow_artifact_store_admin_access_key_id": self.store.admin.id,
            "mlflow_artifact_store_admin_secret_access_key": self.store.admin.secret,
            "mlflow_artifact_store_admin_ca_file": self.store.ca,
            "mlflow_artifact_store_s3_tls_only": self.store.url.startswith("https://"),
            # Nobody connects to it: what is done is done on the controller.
            "ansible_host": "192.0.2.1",
        }
        names: dict[str, dict[str, str]] = {f"app{number}": {} for number in range(1, hosts + 1)}
        inventory = {"mlflow": {"children": {"mlflow_servers": {"hosts": names}}, "vars": {**usual, **variables}}}
        (self.home / "hosts.yml").write_text(json.dumps(inventory), encoding="utf-8")
        playbook = ROOT / entry
        if not entry.endswith(".yml"):
            playbook = self.home / "play.yml"
            playbook.write_text(ROLE.replace("ENTRY", entry), encoding="utf-8")
        return play(self.home, playbook, "-i", self.home / "hosts.yml", *arguments, timeout=900)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("the store's")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Store]:
    """SeaweedFS with TLS, so that a bucket may deny what comes without it."""
    folder = tmp_path_factory.mktemp("weed")
    certificate = folder / "store.pem", folder / "store.key"
    for path, content in zip(certificate, authority.issue("127.0.0.1"), strict=True):
        path.write_bytes(content)
    with running_seaweedfs(certificate=certificate, authority=str(authority.write(folder / "ca.pem"))) as store:
        yield store


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Site]:
    with open_store() as store:
        yield Site(tmp_path, store)


def outcome(client: Any, call: str, **arguments: Any) -> str:
    """The code with which a store refuses; "done" if it does not."""
    try:
        getattr(client, call)(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


# ----- a bucket and an identity, from nothing


def test_from_nothing_to_a_private_bucket_with_an_identity_that_can_do_what_mlflow_needs(
    tmp_path: Path, secure: Store
) -> None:
    """The whole way on a server that enforces: rehearse, make, again without a change, and what is made holds."""
    site = Site(tmp_path, secure)
    (tmp_path / "password").write_text("the vault's\n", encoding="utf-8")
    wanted: dict[str, Any] = {"mlflow_artifact_store_identity": "keys", "mlflow_artifact_store_maintenance": True}
    vault = ("--vault-id", f"test@{tmp_path / 'password'}")

    rehearsed = site.run("playbooks/artifact_store.yml", "--check", *vault, **wanted)
    assert (rehearsed.code, rehearsed.changed > 0) == (0, True), rehearsed.output
    assert outcome(secure.client("s3"), "head_bucket", Bucket="artifacts-test") == "404"

    made = site.run("playbooks/artifact_store.yml", *vault, **wanted)
    assert made.code == 0, made.output
    assert "[STORE_LACKING] app1: s3://artifacts-test is on a server without a block of public access" in made.output
    again = site.run("playbooks/artifact_store.yml", *vault, **wanted)
    assert (again.code, again.changed) == (0, 0), again.output

    encrypted = (tmp_path / "group_vars/mlflow/vault.yml").read_bytes()
    kept = yaml.safe_load(VaultLib([("test", VaultSecret(b"the vault's"))]).decrypt(encrypted))
    runtime = Keys(kept["mlflow_artifact_store_access_key_id"], kept["mlflow_artifact_store_secret_access_key"])
    maintenance = Keys(
        kept["mlflow_artifact_store_maintenance_access_key_id"],
        kept["mlflow_artifact_store_maintenance_secret_access_key"],
    )
    for secret in (runtime.secret, maintenance.secret, secure.admin.secret):
        assert secret not in made.output + again.output + rehearsed.output

    place = {"Bucket": "artifacts-test"}
    client, cleaner = secure.client("s3", runtime), secure.client("s3", maintenance)
    assert outcome(client, "put_object", **place, Key="mlflow/object", Body=b"x") == "done"
    assert outcome(client, "list_objects_v2", **place, Prefix="mlflow/") == "done"
    assert outcome(client, "list_objects_v2", **place) == "AccessDenied"
    assert outcome(client, "put_object", **place, Key="others/object", Body=b"x") == "AccessDenied"
    assert outcome(client, "delete_object", **place, Key="mlflow/object") == "AccessDenied"
    assert outcome(client, "get_object", **place, Key="mlflow/object") == "done"
    assert outcome(client, "list_objects_v2", Bucket="bucket", Prefix="mlflow/") == "AccessDenied"
    assert outcome(cleaner, "delete_object", **place, Key="mlflow/object") == "done"
    assert outcome(cleaner, "delete_object", **place, Key="others/object") == "AccessDenied"

    admin = secure.client("s3")
    tags = admin.get_bucket_tagging(**place)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {TAG: "test"}
    assert admin.get_bucket_versioning(**place)["Status"] == "Enabled"
    assert json.loads(admin.get_bucket_policy(**place)["Policy"])["Statement"][0]["Sid"] == "MlopsMlflowTlsOnly"


def test_a_run_that_is_killed_around_the_first_key_is_repaired_by_the_next(
    tmp_path: Path, secure: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key whose secret was lost goes, also the second time. One that was there before may be in use, and stays."""
    site, iam, user = Site(tmp_path, secure), secure.client("iam"), "killed"
    elsewhere = secure.user(user, [allow("s3:ListBucket")]).id
    (tmp_path / "password").write_text("the vault's\n", encoding="utf-8")
    (tmp_path / "killer.py").write_text(KILLER, encoding="utf-8")
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncallback_plugins={tmp_path}\ncallbacks_enabled=killer\n")
    file = tmp_path / "group_vars/mlflow/vault.yml"

    def run(killed_before: str = "") -> tuple[dict[str, Any], set[str]]:
        """What the file of secrets holds then, and the other keys that the user has."""
        monkeypatch.setenv("KILL_BEFORE", killed_before)
        played = site.run(
            "keys",
            *("--vault-id", f"test@{tmp_path / 'password'}"),
            mlflow_artifact_store_identity="keys",
            mlflow_artifact_store_s3_user=user,
            mlflow_artifact_store_keys_file=str(file),
        )
        assert played.code == (-9 if killed_before else 0), played.output
        held = yaml.safe_load(VaultLib([("test", VaultSecret(b"the vault's"))]).decrypt(file.read_bytes()))
        found = {key["AccessKeyId"] for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]}
        assert elsewhere in found
        return held, found - {elsewhere}

    begun = {"mlflow_artifact_store_journal": {user: [elsewhere]}}
    assert run("The user gets a key") == (begun, set())
    held, (lost,) = run("The key is in the vault")
    assert held == begun
    held, (lost_as_well,) = run("The key is in the vault")
    assert held == begun
    assert lost_as_well != lost
    held, (key,) = run("The file of secrets says that all keys are made")
    assert key not in {lost, lost_as_well}
    assert (held["mlflow_artifact_store_access_key_id"], held["mlflow_artifact_store_journal"]) == (
        key,
        begun["mlflow_artifact_store_journal"],
    )
    made = Keys(key, held["mlflow_artifact_store_secret_access_key"])
    assert outcome(secure.client("s3", made), "list_objects_v2", Bucket="bucket") == "done"
    assert run() == ({**held, "mlflow_artifact_store_journal": {}}, {key})


def test_what_only_aws_has(aws: Site) -> None:
    """All settings, a role with its profile, and what somebody changed meanwhile is put right."""
    wanted: dict[str, Any] = {
        "mlflow_artifact_store_identity": "instance_profile",
        "mlflow_artifact_store_region": "eu-central-1",
        "mlflow_artifact_store_s3_encryption": "aws:kms",
        "mlflow_artifact_store_s3_kms_key": "arn:aws:kms:eu-central-1:123456789012:key/one",
        "mlflow_artifact_store_s3_tags": {"team": "ml"},
    }
    made = aws.run("managed", **wanted)
    assert made.code == 0, made.output
    again = aws.run("managed", **wanted)
    assert (again.code, again.changed) == (0, 0), again.output

    s3, iam, place = aws.store.client("s3"), aws.store.client("iam"), {"Bucket": "artifacts-test"}
    assert s3.get_bucket_location(**place)["LocationConstraint"] == "eu-central-1"
    (rule,) = s3.get_bucket_encryption(**place)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": "arn:aws:kms:eu-central-1:123456789012:key/one",
    }
    assert set(s3.get_public_access_block(**place)["PublicAccessBlockConfiguration"].values()) == {True}
    (control,) = s3.get_bucket_ownership_controls(**place)["OwnershipControls"]["Rules"]
    assert control["ObjectOwnership"] == "BucketOwnerEnforced"
    (rule,) = s3.get_bucket_lifecycle_configuration(**place)["Rules"]
    assert (rule["ID"], rule["NoncurrentVersionExpiration"]["NoncurrentDays"]) == ("mlops-mlflow", 30)
    (profile,) = iam.list_instance_profiles_for_role(RoleName="mlflow-test")["InstanceProfiles"]
    assert profile["InstanceProfileName"] == "mlflow-test"
    policy = iam.get_role_policy(RoleName="mlflow-test", PolicyName="mlflow-artifacts")["PolicyDocument"]
    assert [one["Sid"] for one in policy["Statement"]] == ["MlopsMlflowObjects", "MlopsMlflowList", "MlopsMlflowKey"]

    # Somebody else's rule and tag stay; what was weakened is put right, and said before.
    s3.put_bucket_versioning(**place, VersioningConfiguration={"Status": "Suspended"})
    s3.put_public_access_block(**place, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "mlflow/old/"}, "Expiration": {"Days": 9}}
    s3.put_bucket_lifecycle_configuration(**place, LifecycleConfiguration={"Rules": [theirs]})
    tags = [{"Key": TAG, "Value": "test"}, {"Key": "cost", "Value": "1"}]
    s3.put_bucket_tagging(**place, Tagging={"TagSet": tags})
    rehearsed = aws.run("managed", "--check", **wanted)
    assert (rehearsed.code, rehearsed.changed) == (0, 1), rehearsed.output
    assert "versioning, public_access_block, lifecycle, tags" in rehearsed.output
    assert aws.run("managed", **wanted).code == 0
    assert s3.get_bucket_versioning(**place)["Status"] == "Enabled"
    assert {rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(**place)["Rules"]} == {
        "theirs",
        "mlops-mlflow",
    }
    found = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(**place)["TagSet"]}
    assert found == {TAG: "test", "cost": "1", "team": "ml"}


def test_a_bucket_that_is_not_managed_is_looked_at_and_not_changed(aws: Site) -> None:
    aws.store.client("s3").create_bucket(Bucket="artifacts-test")
    played = aws.run("managed", mlflow_artifact_store_managed=False)
    assert (played.code, played.changed) == (0, 0), played.output
    assert "[STORE_VERSIONING] app1: s3://artifacts-test keeps no versions (never enabled)." in played.output
    assert outcome(aws.store.client("s3"), "get_bucket_tagging", Bucket="artifacts-test") == "NoSuchTagSet"


def test_deleting_may_be_granted_to_the_servers_and_is_regretted_aloud(aws: Site) -> None:
    played = aws.run("managed", mlflow_artifact_store_s3_runtime_may_delete=True, mlflow_artifact_store_identity="keys")
    assert played.code == 0, played.output
    assert "[STORE_RUNTIME_DELETES] app1: mlflow_artifact_store_s3_runtime_may_delete=True." in played.output
    policy = aws.store.client("iam").get_user_policy(UserName="mlflow-test", PolicyName="mlflow-artifacts")
    assert "s3:DeleteObject" in policy["PolicyDocument"]["Statement"][0]["Action"]


# ----- refusals by what the bucket is; those of choices are rows of tests/refusals/cases.py


def test_a_bucket_that_is_not_this_environments_is_not_touched(aws: Site) -> None:
    s3 = aws.store.client("s3")
    s3.create_bucket(Bucket="artifacts-test")
    s3.put_object(Bucket="artifacts-test", Key="somebody", Body=b"x")
    assert aws.run("refuse").sentences == [
        (
            f"[STORE_FOREIGN] app1: s3://artifacts-test holds objects and carries no environment (tag {TAG}). Use another bucket, or set"
            " mlflow_artifact_store_adopt to true if this one is the environment's. The bucket was not changed."
        )
    ]
    s3.put_bucket_tagging(Bucket="artifacts-test", Tagging={"TagSet": [{"Key": TAG, "Value": "prod"}]})
    played = aws.run("managed", mlflow_artifact_store_adopt=True)
    assert played.sentences == [
        (
            "[STORE_ENVIRONMENT] app1: s3://artifacts-test belongs to the environment 'prod', not to 'test'. Give each environment a bucket of"
            " its own in mlflow_artifact_uri. The bucket was not changed."
        )
    ]
    assert played.changed == 0


def test_an_administrator_who_may_not_make_users_is_told_so(tmp_path: Path) -> None:
    with running_store() as store:
        half = Store(store.url, store.user("half-an-administrator", [allow("s3:*")]))
        played = Site(tmp_path, half).run(
            "managed", mlflow_artifact_uri="s3://half-made/mlflow", mlflow_artifact_store_identity="keys"
        )
    (said,) = [sentence for sentence in played.sentences if sentence.startswith("[STORE_ADMIN]")] or [played.output]
    assert said.startswith("[STORE_ADMIN] app1: s3://half-made/mlflow: the administrator was refused (")
    assert "AccessDenied" in said
    assert said.endswith("The servers were not changed.")
