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
            "mlflow_rotation_admin_access_key_id": self.store.admin.id,
            "mlflow_rotation_admin_secret_access_key": self.store.admin.secret,
            "mlflow_rotation_wait_seconds": 1,
        }
        self.choose()
        self._make_user()

    def _make_user(self) -> None:
        iam = client("iam", self.store, self.store.admin)
        iam.create_user(UserName=self.user)
        statement = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_user_policy(UserName=self.user, PolicyName="rights", PolicyDocument=policy)
        made = iam.create_access_key(UserName=self.user)["AccessKey"]
        self.first = Keys(made["AccessKeyId"], made["SecretAccessKey"])
        keys = {
            "mlflow_artifact_store_access_key_id": self.first.id,
            "mlflow_artifact_store_secret_access_key": self.first.secret,
        }
        self.write({**OLD, **keys})

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

    def keys(self) -> dict[str, bool]:
        """The user's keys as the store tells them, each with whether it is active."""
        found = client("iam", self.store, self.store.admin).list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] == "Active" for key in found}

    def running(self) -> list[dict[str, str]]:
        """What the servers run with."""
        return [credentials_in_use(self.slot(server).read_text()) for server in self.servers]

    def play(self, name: str, *arguments: str, kill_after: int = 0, **variables: Any) -> Played:
        extra = {
            "__mlflow_rotation_python": sys.executable,
            "__mlflow_rotation_sandbox": False,
            "__mlflow_rotation_pause": 1,
            **variables,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{self.folder / 'bin'}:{os.environ['PATH']}")
            patch.setenv("KILL_AFTER", str(kill_after))
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            vault = f"dev@{self.folder / 'password'}"
            options = ["-i", str(self.folder / "inventory"), "--vault-id", vault, "-e", json.dumps(extra), *arguments]
            return play(self.folder, self.folder / "playbooks" / name, *options, timeout=300)

    def rotate(self, *arguments: str, kill_after: int = 0, **variables: Any) -> Played:
        return self.play("rotate_credentials.yml", *arguments, kill_after=kill_after, **variables)

    def start(self) -> None:
        """Give the servers what the file holds, as the first installation does."""
        done = self.play("site.yml")
        assert done.code == 0, done.output

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Have a client upload through the first server all the while."""
        ended = threading.Event()

        def upload() -> None:
            while not ended.wait(0.1):
                text = self.slot(self.servers[0]).read_text()
                values = dict(line.split("=", 1) for line in text.splitlines())
                keys = Keys(*(values[f"AWS_{name}"].strip('"') for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")))
                try:
                    client("s3", self.store, keys).put_object(Bucket="bucket", Key="mlflow/upload", Body=b"x")
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


def ended_well(site: Site) -> None:
    held = site.held()
    assert held["mlflow_rotation_journal"] == {}
    key = held["mlflow_artifact_store_access_key_id"]
    assert key != site.first.id
    assert site.keys() == {key: True}
    assert {running["storage"] for running in site.running()} == {key}
    assert site.failures == []
    assert site.uploads > 10


@pytest.mark.parametrize("kind", ["moto", "seaweedfs"])
def test_everything_is_replaced_while_a_client_uploads(kind: str, tmp_path: Path, seaweed: Store) -> None:
    with running_store() if kind == "moto" else contextmanager(lambda: iter([seaweed]))() as store:
        site = Site(tmp_path, store)
        site.start()
        before = site.held()

        predicted = site.rotate("--check")
        assert predicted.code == 0, predicted.output
        assert "would replace: storage, database, session" in predicted.output
        assert predicted.changed > 0
        assert site.held() == before
        assert site.keys() == {site.first.id: True}

        with site.uploading():
            run = site.rotate("-vvv")
        assert run.code == 0, run.output[-6000:]
        ended_well(site)

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
        for name in {*OLD, "mlflow_artifact_store_secret_access_key"}:
            for values in (before, after):
                assert values[name] not in run.output, f"{name} is in the output"
        assert store.admin.secret not in run.output

        young = site.rotate(mlflow_rotation_minimum_age_days=1)
        assert young.code == 0, young.output[-6000:]
        assert "replaces: nothing" in young.output
        assert young.changed == 0, young.output
        assert site.held() == after


def test_a_run_that_is_killed_after_any_change_is_continued_by_the_next(tmp_path: Path, seaweed: Store) -> None:
    """One rotation, ended in each of its steps."""
    site = Site(tmp_path, seaweed, servers=("app1",), user="killed")
    site.start()

    def killed(after: int) -> dict[str, Any]:
        run = site.rotate(kill_after=after, mlflow_rotation_credentials=["storage"])
        assert run.code == -9, run.output
        assert [site.keys()[running["storage"]] for running in site.running()] == [True]
        return dict(site.held().get("mlflow_rotation_journal", {}).get("storage", {}))

    with site.uploading():
        assert killed(1) == {"old": site.first.id}
        assert site.keys() == {site.first.id: True}
        # Made, and the secret was lost with the run.
        assert killed(1) == {"old": site.first.id}
        (lost,) = set(site.keys()) - {site.first.id}
        assert site.held()["mlflow_artifact_store_access_key_id"] == site.first.id
        # Discarded, made again, written.
        assert killed(3) == {"old": site.first.id}
        (new,) = set(site.keys()) - {site.first.id}
        assert new != lost
        assert site.held()["mlflow_artifact_store_access_key_id"] == new
        assert site.running()[0]["storage"] == site.first.id
        # In service.
        killed(1)
        assert site.running()[0]["storage"] == new
        # Deactivated, and not yet noted when.
        assert killed(1) == {"old": site.first.id}
        assert site.keys() == {site.first.id: False, new: True}
        assert set(killed(1)) == {"old", "deactivated"}
        # Deleted, and not yet ended.
        assert set(killed(1)) == {"old", "deactivated"}
        assert site.keys() == {new: True}
        last = site.rotate(mlflow_rotation_credentials=["storage"])
        assert last.code == 0, last.output
    assert site.held()["mlflow_artifact_store_access_key_id"] == new
    ended_well(site)


def test_what_could_not_be_brought_to_its_end_is_refused_before_anything_is_changed(
    tmp_path: Path, seaweed: Store
) -> None:
    site = Site(tmp_path, seaweed, user="refused")
    site.start()
    before = site.vault.read_bytes()

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
        site.rotate(), "[CREDENTIAL_USER] app1: mlflow_rotation_storage_user=. Set mlflow_rotation_storage_user to the"
    )
    site.choose()
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

    second = client("iam", seaweed, seaweed.admin).create_access_key(UserName=site.user)["AccessKey"]["AccessKeyId"]
    refused(site.rotate(), f"[CREDENTIAL_SECOND_KEY] app1: beside {site.first.id} the user has {second}.")

    assert site.vault.read_bytes() == before
    assert site.keys() == {site.first.id: True, second: True}


def test_a_server_that_kept_the_old_key_ends_nothing(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="kept")
    site.start()
    site.choose(mlflow_site_other_key=site.first.id)
    run = site.rotate(mlflow_rotation_credentials=["storage"])
    new = site.held()["mlflow_artifact_store_access_key_id"]
    refused(run, f"[CREDENTIAL_IN_USE] app1: servers run with {site.first.id}, and the new key is {new}.")
    assert site.keys() == {site.first.id: True, new: True}


def test_ages_are_told_and_fail_a_scheduled_job_if_that_is_wanted(tmp_path: Path, seaweed: Store) -> None:
    site = Site(tmp_path, seaweed, servers=("app1",), user="aged")
    day = datetime.datetime.now(datetime.UTC).date()
    dates = {
        "mlflow_flask_secret_key": day - datetime.timedelta(91),
        "mlflow_artifact_store_secret_access_key": day - datetime.timedelta(90),
    }
    site.write({**site.held(), "mlflow_secrets_dates": {name: str(at) for name, at in dates.items()}})
    old = (
        "[CREDENTIAL_AGE] dev: mlflow_flask_secret_key is 91 days old, and mlflow_rotation_age_limit_days=90. "
        "Run the playbook mlops.mlflow.rotate_credentials."
    )
    told = site.play("credential_ages.yml")
    assert told.code == 0, told.output
    assert old in told.sentences
    assert told.changed == 0
    assert [said for said in told.sentences if said.startswith("[CREDENTIAL_AGE] ")] == [old]
    unknown = [said.split()[2] for said in told.sentences if said.startswith("[CREDENTIAL_AGE_UNKNOWN] dev: ")]
    assert sorted(unknown) == sorted({name for name in OLD if "password" in name})
    failed = site.play("credential_ages.yml", mlflow_rotation_fail_on_age=True)
    assert failed.code != 0
    assert old in failed.sentences
    fine = site.play("credential_ages.yml", mlflow_rotation_fail_on_age=True, mlflow_rotation_age_limit_days=91)
    assert fine.code == 0, fine.output
