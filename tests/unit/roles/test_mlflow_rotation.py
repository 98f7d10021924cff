"""The playbook that replaces credentials, run for real: a store that enforces, an encrypted file, a client that uploads all the while.

Only `site` is replaced: by plays that give each server what the variables say, as the role mlflow_server would.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.mlops.mlflow.plugins.module_utils._rotation import credentials_in_use, digest
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import REGION, Keys, Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the playbook does")

SITE = """\
- hosts: mlflow_servers
  connection: local
  gather_facts: false
  serial: 1
  tasks:
    - name: The server runs with what the variables say
      ansible.builtin.copy:
        dest: "{{ mlflow_config_dir }}/slot-a.env"
        mode: "0600"
        content: |
          MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://mlflow_server_{{ mlflow_database_login_slot | default('a') }}:x@/mlflow"
          MLFLOW_FLASK_SERVER_SECRET_KEY="{{ mlflow_flask_secret_key }}"
          AWS_ACCESS_KEY_ID="{{ mlflow_site_other_key | default(mlflow_artifact_store_access_key_id) }}"
          AWS_SECRET_ACCESS_KEY="{{ mlflow_artifact_store_secret_access_key }}"
      no_log: true
"""
# Of each user of the store: how the variables with its key begin.
PREFIXES = {"storage": "mlflow_artifact_store", "maintenance": "mlflow_artifact_store_maintenance"}
# Ends the run, as a power cut would, right after so many changes.
KILLER = """\
import os
import signal

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killer"
    CALLBACK_NEEDS_ENABLED = True
    left = int(os.environ.get("KILL_AFTER", "0"))

    def v2_runner_on_ok(self, result):
        if self.left and result._result.get("changed"):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
"""
OLD = {
    "mlflow_admin_password": "administrators-password",
    "mlflow_crypto_kek_passphrase": "passphrase-of-the-kek-0123456789",
    "mlflow_flask_secret_key": "first-key-of-sessions-0123456789-0123456789",
    "mlflow_database_migrator_password": "first-migrator-password",
    "mlflow_database_server_a_password": "first-server-a-password",
    "mlflow_database_server_b_password": "first-server-b-password",
}


def client(service: str, store: Store, keys: Keys) -> Any:
    return boto3.client(
        service,
        endpoint_url=store.url,
        region_name=REGION,
        aws_access_key_id=keys.id,
        aws_secret_access_key=keys.secret,
    )


@dataclass
class Site:
    """An environment with its inventory, its secrets and servers that are files."""

    folder: Path
    store: Store
    servers: tuple[str, ...] = ("app1", "app2")
    user: str = "rotating"
    uploads: int = 0
    failures: list[str] = field(default_factory=list)
    first: dict[str, Keys] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "playbooks", self.folder / "playbooks")
        (self.folder / "playbooks/site.yml").write_text(SITE)
        (self.folder / "ansible.cfg").write_text(
            f"[defaults]\ncallback_plugins={self.folder}\ncallbacks_enabled=killer\n"
        )
        (self.folder / "killer.py").write_text(KILLER)
        (self.folder / "password").write_text("password-dev\n")
        systemctl = self.folder / "bin/systemctl"
        systemctl.parent.mkdir()
        systemctl.write_text('#!/bin/sh\ncase "$*" in *@a.service) echo active;; *) echo inactive;; esac\n')
        systemctl.chmod(0o755)
        inventory = self.folder / "inventory"
        (inventory / "group_vars/mlflow").mkdir(parents=True)
        for server in self.servers:
            self.slot(server).parent.mkdir()
        hosts = {
            server: {"ansible_connection": "local", "mlflow_config_dir": str(self.slot(server).parent)}
            for server in self.servers
        }
        (inventory / "hosts.yml").write_text(
            yaml.safe_dump({"mlflow": {"children": {"mlflow_servers": {"hosts": hosts}}}})
        )
        self.main = {
            "ansible_python_interpreter": "/usr/bin/python3",
            "mlflow_environment": "dev",
            "mlflow_domain": "mlflow.example.com",
            "mlflow_artifact_uri": "s3://bucket/mlflow",
            "mlflow_artifact_store_endpoint_url": self.store.url,
            "mlflow_artifact_store_region": REGION,
            "mlflow_rotation_storage_user": self.user,
            "mlflow_rotation_maintenance_user": self.name("maintenance"),
            "mlflow_rotation_admin_access_key_id": self.store.admin.id,
            "mlflow_rotation_admin_secret_access_key": self.store.admin.secret,
            "mlflow_rotation_wait_seconds": 1,
        }
        self.choose()
        self._make_users()
        key = self.first["maintenance"]
        self.place("gc", store={"uri": "s3://bucket/mlflow", "access_key_id": key.id, "secret_access_key": key.secret})

    def name(self, identity: str) -> str:
        return self.user if identity == "storage" else f"{self.user}-maintenance"

    def _make_users(self) -> None:
        iam = client("iam", self.store, self.store.admin)
        statement = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        values: dict[str, Any] = dict(OLD)
        for identity, prefix in PREFIXES.items():
            iam.create_user(UserName=self.name(identity))
            iam.put_user_policy(UserName=self.name(identity), PolicyName="rights", PolicyDocument=policy)
            made = iam.create_access_key(UserName=self.name(identity))["AccessKey"]
            self.first[identity] = Keys(made["AccessKeyId"], made["SecretAccessKey"])
            values[f"{prefix}_access_key_id"] = made["AccessKeyId"]
            values[f"{prefix}_secret_access_key"] = made["SecretAccessKey"]
        self.write(values)

    def job(self, name: str) -> Path:
        """What a job of maintenance on the first server is told."""
        return self.slot(self.servers[0]).parent / f"maintenance/{name}.json"

    def place(self, name: str, **told: Any) -> None:
        """Have a job in place, as the role mlflow_maintenance does."""
        self.job(name).parent.mkdir(exist_ok=True)
        self.job(name).write_text(json.dumps({"job": name, "dry_run": True, **told}, indent=4, sort_keys=True))
        self.job(name).chmod(0o600)

    def in_service(self, identity: str) -> Keys:
        """The key with which the first server, or the job on it, asks the store."""
        if identity == "maintenance":
            told = json.loads(self.job("gc").read_text())["store"]
            return Keys(told["access_key_id"], told["secret_access_key"])
        values = dict(line.split("=", 1) for line in self.slot(self.servers[0]).read_text().splitlines())
        return Keys(*(values[f"AWS_{name}"].strip('"') for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")))

    def slot(self, server: str) -> Path:
        return self.folder / server / "slot-a.env"

    def choose(self, **variables: Any) -> None:
        """Set variables of the inventory."""
        main = self.folder / "inventory/group_vars/mlflow/main.yml"
        main.write_text(yaml.safe_dump({**self.main, **variables}))

    @property
    def vault(self) -> Path:
        return self.folder / "inventory/group_vars/mlflow/vault.yml"

    def write(self, values: dict[str, Any]) -> None:
        library = VaultLib([("dev", VaultSecret(b"password-dev"))])
        text = "---\n# of our own\n" + yaml.safe_dump(values)
        self.vault.write_bytes(library.encrypt(text, secret=library.secrets[0][1], vault_id="dev"))

    def held(self) -> dict[str, Any]:
        """What the file of secrets holds."""
        text: str = VaultLib([("dev", VaultSecret(b"password-dev"))]).decrypt(self.vault.read_bytes()).decode()
        assert "# of our own" in text
        values: dict[str, Any] = yaml.safe_load(text)
        return values

    def keys(self, identity: str = "storage") -> dict[str, bool]:
        """The user's keys as the store tells them, each with whether it is active."""
        iam = client("iam", self.store, self.store.admin)
        found = iam.list_access_keys(UserName=self.name(identity))["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] == "Active" for key in found}

    def running(self) -> list[dict[str, str]]:
        """What the servers run with."""
        return [credentials_in_use(self.slot(server).read_text()) for server in self.servers]

    def play(self, name: str, *arguments: str, kill_after: int = 0, **variables: Any) -> Played:
        extra = {
            "__mlflow_rotation_python": sys.executable,
            "__mlflow_rotation_sandbox": False,
            "__mlflow_rotation_pause": 1,
            "__mlflow_maintenance_running": str(self.folder / "running"),
            "mlflow_maintenance_wait_seconds": 1,
            **variables,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.folder / 'bin'}:{os.environ['PATH']}")
            patch.setenv("KILL_AFTER", str(kill_after))
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            vault = f"dev@{self.folder / 'password'}"
            options = ["-i", str(self.folder / "inventory"), "--vault-id", vault, "-e", json.dumps(extra), *arguments]
            return play(self.folder, self.folder / "playbooks" / name, *options, timeout=600)

    def rotate(self, *arguments: str, kill_after: int = 0, **variables: Any) -> Played:
        return self.play("rotate_credentials.yml", *arguments, kill_after=kill_after, **variables)

    def start(self) -> None:
        """Give the servers what the file holds, as the first installation does."""
        done = self.play("site.yml")
        assert done.code == 0, done.output

    @contextmanager
    def uploading(self, identity: str = "storage") -> Iterator[None]:
        """Have a client upload through the first server all the while, or the job on it."""
        ended = threading.Event()

        def upload() -> None:
            while not ended.wait(0.1):
                try:
                    asking = client("s3", self.store, self.in_service(identity))
                    asking.put_object(Bucket="bucket", Key=f"mlflow/{identity}", Body=b"x")
                    self.uploads += 1
                except Exception as error:
                    self.failures.append(f"{time.monotonic()}: {error}")

        thread = threading.Thread(target=upload, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(30)


@pytest.fixture(name="seaweed", scope="module")
def _seaweed() -> Iterator[Store]:
    with running_seaweedfs() as store:
        yield store


def refused(run: Played, sentence: str) -> None:
    assert run.code != 0, run.output
    assert len(run.sentences) == 1, run.output
    assert run.sentences[0].startswith(sentence), run.output
    assert "Traceback" not in run.output


def ended_well(site: Site, *identities: str) -> None:
    held = site.held()
    assert held["mlflow_rotation_journal"] == {}
    for identity, prefix in PREFIXES.items():
        key = held[f"{prefix}_access_key_id"]
        assert (key != site.first[identity].id) is (identity in identities)
        assert site.keys(identity) == {key: True}
        assert site.in_service(identity) == Keys(key, held[f"{prefix}_secret_access_key"])
    assert {running["storage"] for running in site.running()} == {held["mlflow_artifact_store_access_key_id"]}
    assert site.failures == []
    assert site.uploads > 10


@pytest.mark.parametrize("kind", [pytest.param("moto", marks=pytest.mark.long), "seaweedfs"])
def test_everything_is_replaced_while_a_client_uploads(kind: str, tmp_path: Path, seaweed: Store) -> None:
    with running_store() if kind == "moto" else contextmanager(lambda: iter([seaweed]))() as store:
        site = Site(tmp_path, store)
        site.place("expiry", credential_dates={}, credential_days=90)
        site.start()
        before = site.held()

        predicted = site.rotate("--check")
        assert predicted.code == 0, predicted.output
        assert "would replace: storage, database, session, maintenance" in predicted.output
        assert predicted.changed > 0
        assert site.held() == before
        assert site.keys() == {site.first["storage"].id: True}
        assert site.in_service("maintenance") == site.first["maintenance"]

        with site.uploading(), site.uploading("maintenance"):
            run = site.rotate("-vvv")
        assert run.code == 0, run.output[-6000:]
        ended_well(site, "storage", "maintenance")

        after = site.held()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        kept = {"mlflow_admin_password", "mlflow_crypto_kek_passphrase"}
        for name in OLD:
            assert (after[name] == before[name]) is (name in kept), name
        assert len({after[name] for name in OLD}) == len(OLD), "two secrets are the same"
        assert after["mlflow_database_login_slot"] == "b"
        assert {after["mlflow_secrets_dates"][name] for name in set(OLD) - kept} == {today}
        for running in site.running():
            assert running["database"] == "mlflow_server_b"
            assert running["session"] == digest(after["mlflow_flask_secret_key"])
        # What was told is what was replaced; the rest of a job is as it was.
        assert json.loads(site.job("gc").read_text())["dry_run"] is True
        assert json.loads(site.job("expiry").read_text())["credential_dates"] == after["mlflow_secrets_dates"]
        for name in {*OLD, *(f"{prefix}_secret_access_key" for prefix in PREFIXES.values())}:
            for values in (before, after):
                assert values[name] not in run.output, f"{name} is in the output"
        assert store.admin.secret not in run.output

        young = site.rotate(mlflow_rotation_minimum_age_days=1)
        assert young.code == 0, young.output[-6000:]
        assert "replaces: nothing" in young.output
        assert young.changed == 0, young.output
        assert site.held() == after


@pytest.mark.long
@pytest.mark.parametrize("identity", PREFIXES)
def test_a_run_that_is_killed_after_any_change_is_continued_by_the_next(
    identity: str, tmp_path: Path, seaweed: Store
) -> None:
    """One rotation, ended in each of its steps."""
    site = Site(tmp_path, seaweed, servers=("app1",), user=f"killed-{identity}")
    site.start()
    first, name = site.first[identity].id, f"{PREFIXES[identity]}_access_key_id"

    def killed(after: int) -> dict[str, Any]:
        run = site.rotate(kill_after=after, mlflow_rotation_credentials=[identity])
        assert run.code == -9, run.output
        assert site.keys(identity)[site.in_service(identity).id]
        return dict(site.held().get("mlflow_rotation_journal", {}).get(identity, {}))

    with site.uploading(identity):
        assert killed(1) == {"old": first}
        assert site.keys(identity) == {first: True}
        # Made, and the secret was lost with the run.
        assert killed(1) == {"old": first}
        (lost,) = set(site.keys(identity)) - {first}
        assert site.held()[name] == first
        # Discarded, made again, written.
        assert killed(3) == {"old": first}
        (new,) = set(site.keys(identity)) - {first}
        assert new != lost
        assert site.held()[name] == new
        assert site.in_service(identity).id == first
        # In service.
        killed(1)
        assert site.in_service(identity).id == new
        # Deactivated, and not yet noted when.
        assert killed(1) == {"old": first}
        assert site.keys(identity) == {first: False, new: True}
        assert set(killed(1)) == {"old", "deactivated"}
        # Deleted, and not yet ended.
        assert set(killed(1)) == {"old", "deactivated"}
        assert site.keys(identity) == {new: True}
        last = site.rotate(mlflow_rotation_credentials=[identity])
        assert last.code == 0, last.output
    assert site.held()[name] == new
    ended_well(site, identity)


def test_what_could_not_be_brought_to_its_end_is_refused_before_anything_is_changed(
    tmp_path: Path, seaweed: Store
) -> None:
    site = Site(tmp_path, seaweed, user="refused")
    site.start()
    before, first = site.vault.read_bytes(), site.first["storage"].id

    site.choose(mlflow_database_login_slot="a")
    refused(
        site.rotate(),
        "[CREDENTIAL_PLACE] app1, app2: mlflow_database_login_slot is set by the inventory and is not in the file of secrets. "
        f"Write it into {site.vault} (ansible-vault edit) and remove it everywhere else",
    )
    site.choose(mlflow_server_database_login_slot="a")
    refused(
        site.rotate(),
        "[CREDENTIAL_PLACE] app1, app2: mlflow_server_database_login_slot is set, and would win over what the rotation writes. "
        "Remove mlflow_server_database_login_slot from the inventory. Nothing was changed.",
    )
    site.choose()
    (said,) = site.rotate(mlflow_flask_secret_key="another-key-of-sessions-0123456789-0123").sentences
    assert said.startswith(
        "[CREDENTIAL_PLACE] app1, app2: mlflow_flask_secret_key has another value than the file of secrets."
    )

    site.choose(mlflow_rotation_storage_user="")
    refused(
        site.rotate(), "[CREDENTIAL_USER] app1: mlflow_rotation_storage_user=. Set mlflow_rotation_storage_user, or"
    )
    site.choose()
    refused(
        site.rotate(mlflow_rotation_maintenance_user=site.user),
        f"[CREDENTIAL_SHARED] app1: mlflow_rotation_maintenance_user={site.user}. Give maintenance a user of its own",
    )
    refused(
        site.rotate("--limit", "app1,localhost"), "[INVENTORY_LIMIT] app1: --limit=app1,localhost. It leaves out app2."
    )

    for user, keys in (("nobody-of-this-name", seaweed.admin), (site.user, seaweed.users["full"])):
        finding = "CREDENTIAL_ADMIN" if user == site.user else "CREDENTIAL_USER"
        run = site.rotate(
            mlflow_rotation_storage_user=user,
            mlflow_rotation_admin_access_key_id=keys.id,
            mlflow_rotation_admin_secret_access_key=keys.secret,
        )
        refused(run, f"[{finding}] app1: The access keys of the user {user} at {seaweed.url}: ")

    # The servers' key could be replaced, and it is not before maintenance's can be as well.
    refused(
        site.rotate(mlflow_rotation_maintenance_user="nobody-of-this-name"),
        f"[CREDENTIAL_USER] app1: The access keys of the user nobody-of-this-name at {seaweed.url}: ",
    )
    assert site.vault.read_bytes() == before

    second = client("iam", seaweed, seaweed.admin).create_access_key(UserName=site.user)["AccessKey"]["AccessKeyId"]
    refused(site.rotate(), f"[CREDENTIAL_SECOND_KEY] app1: beside {first} the user has {second}.")

    assert site.vault.read_bytes() == before
    assert site.keys() == {first: True, second: True}


def test_a_server_that_kept_the_old_key_ends_nothing(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="kept")
    site.start()
    first = site.first["storage"].id
    site.choose(mlflow_site_other_key=first)
    run = site.rotate(mlflow_rotation_credentials=["storage"])
    new = site.held()["mlflow_artifact_store_access_key_id"]
    refused(run, f"[CREDENTIAL_IN_USE] app1: servers run with {first}, and the new key is {new}.")
    assert site.keys() == {first: True, new: True}


@pytest.mark.long
def test_a_job_that_began_with_the_old_key_ends_with_it(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="began")
    site.start()
    first = site.first["maintenance"].id
    given = tmp_path / "running/mlflow-maintenance-gc.service/job.json"
    given.parent.mkdir(parents=True)
    shutil.copy(site.job("gc"), given)
    run = site.rotate(mlflow_rotation_credentials=["maintenance"])
    new = site.held()["mlflow_artifact_store_maintenance_access_key_id"]
    refused(
        run,
        f"[CREDENTIAL_IN_USE] app1: the run of mlflow-maintenance-gc on app1 still uses {first}, and the new key is {new}. "
        "Run the playbook again when the run has ended.",
    )
    assert site.keys("maintenance") == {first: True, new: True}
    assert site.in_service("maintenance").id == new

    given.unlink()
    again = site.rotate(mlflow_rotation_credentials=["maintenance"])
    assert again.code == 0, again.output[-6000:]
    assert site.held()["mlflow_artifact_store_maintenance_access_key_id"] == new
    assert site.keys("maintenance") == {new: True}


@pytest.mark.long
def test_jobs_without_an_identity_of_their_own_get_the_servers_new_key(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="looks")
    site.write({name: value for name, value in site.held().items() if "_maintenance_" not in name})
    site.job("gc").unlink()
    key = site.first["storage"]
    site.place("orphans", store={"uri": "s3://bucket/mlflow", "access_key_id": key.id, "secret_access_key": key.secret})
    site.start()
    run = site.rotate(mlflow_rotation_credentials=["storage", "maintenance"])
    assert run.code == 0, run.output[-6000:]
    assert '"replaces: storage"' in run.output
    held = site.held()
    told = json.loads(site.job("orphans").read_text())["store"]
    assert told == {
        "uri": "s3://bucket/mlflow",
        "access_key_id": held["mlflow_artifact_store_access_key_id"],
        "secret_access_key": held["mlflow_artifact_store_secret_access_key"],
    }
    assert site.keys() == {told["access_key_id"]: True}
    assert told["access_key_id"] != key.id


def test_it_says_what_a_login_at_a_provider_has_that_it_does_not_replace(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="provider")
    said = (
        "does not replace what mlflow_auth=oidc has of its own: mlflow_identity_key, mlflow_gate_crypto_passphrase and"
    )
    site.start()
    assert said not in site.rotate("--check").output
    own = ("mlflow_identity_key", "mlflow_gate_crypto_passphrase", "mlflow_oidc_client_secret")
    site.write({**site.held(), **{name: f"{name}-0123456789-0123456789-0123456789" for name in own}})
    site.choose(
        mlflow_auth="oidc",
        mlflow_oidc_issuer="https://login.example.com/realms/acme",
        mlflow_oidc_client_id="mlflow",
        mlflow_oidc_user_groups=["mlflow-users"],
        mlflow_oidc_admin_groups=["mlflow-admins"],
    )
    told = site.rotate("--check")
    assert told.code == 0, told.output[-3000:]
    assert said in told.output


def test_ages_are_told_and_fail_a_scheduled_job_if_that_is_wanted(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="aged")
    day = datetime.datetime.now(datetime.UTC).date()
    dates = {
        "mlflow_flask_secret_key": day - datetime.timedelta(91),
        "mlflow_artifact_store_secret_access_key": day - datetime.timedelta(90),
        "mlflow_artifact_store_maintenance_secret_access_key": day - datetime.timedelta(92),
    }
    site.write({**site.held(), "mlflow_secrets_dates": {name: str(at) for name, at in dates.items()}})
    old = {
        f"[CREDENTIAL_AGE] dev: {name} is {age} days old, and mlflow_rotation_age_limit_days=90. "
        "Run the playbook mlops.mlflow.rotate_credentials."
        for name, age in (
            ("mlflow_flask_secret_key", 91),
            ("mlflow_artifact_store_maintenance_secret_access_key", 92),
        )
    }
    told = site.play("credential_ages.yml")
    assert told.code == 0, told.output
    assert told.changed == 0
    assert {said for said in told.sentences if said.startswith("[CREDENTIAL_AGE] ")} == old
    unknown = [said.split()[2] for said in told.sentences if said.startswith("[CREDENTIAL_AGE_UNKNOWN] dev: ")]
    assert sorted(unknown) == sorted({name for name in OLD if "password" in name})
    failed = site.play("credential_ages.yml", mlflow_rotation_fail_on_age=True)
    assert failed.code != 0
    assert old <= set(failed.sentences)
    fine = site.play("credential_ages.yml", mlflow_rotation_fail_on_age=True, mlflow_rotation_age_limit_days=92)
    assert fine.code == 0, fine.output
