"""The role mlflow_artifact_store: on a directory that several servers share (both are this machine, in turn as in `site`), and on a bucket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Keys, Store, allow

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for users, and a directory below /srv")
# Stands in for systemd's command, whose sandbox a unit test has not: what comes behind the options is run.
SYSTEMD_RUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
PLAYBOOK = """
- hosts: servers
  gather_facts: false
  serial: SERIAL
  environment: {PATH: "{{ playbook_dir }}:{{ lookup('ansible.builtin.env', 'PATH') }}"}
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_artifact_store, tasks_from: TASKS}
"""


@pytest.fixture(name="place")
def _place() -> Iterator[Path]:
    """A folder where one is allowed: neither /tmp nor a home."""
    with tempfile.TemporaryDirectory(prefix="mlops-mlflow-test-", dir="/srv") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def stand_in(folder: Path) -> None:
    """Put the stand-in for systemd's command where the playbook finds it."""
    (folder / "systemd-run").write_text(SYSTEMD_RUN)
    (folder / "systemd-run").chmod(0o755)


def converge(folder: Path, place: Path, *arguments: str, serial: int = 1, **second: Any) -> Played:
    """Play the directory of app1 and app2; `second` is set for app2 alone."""
    stand_in(folder)
    common = {
        "ansible_connection": "local",
        # Users of the test may run this one.
        "ansible_python_interpreter": "/usr/bin/python3",
        "mlflow_environment": "dev",
        "mlflow_artifact_uri": str(place / "artifacts"),
        "mlflow_user": "daemon",
        "mlflow_group": "daemon",
        "__mlflow_topology": {"servers": [{"name": "app1"}, {"name": "app2"}]},
    }
    hosts = {"app1": {}, "app2": second}
    (folder / "hosts.yml").write_text(json.dumps({"servers": {"hosts": hosts, "vars": common}}))
    playbook = folder / "directory.yml"
    playbook.write_text(PLAYBOOK.replace("SERIAL", str(serial)).replace("TASKS", "directory"))
    return play(folder, playbook, "-i", folder / "hosts.yml", *arguments)


def test_servers_that_share_a_directory(tmp_path: Path, place: Path) -> None:
    """One after the other, as in `site`; and at once, which a playbook of one's own may do."""
    done = converge(tmp_path, place)
    assert done.code == 0, done.output
    assert (place / "artifacts/.mlops-mlflow/environment").read_text() == "dev"
    notes = sorted((place / "artifacts/.mlops-mlflow/servers").iterdir())
    assert [(note.name, note.owner()) for note in notes] == [("app1", "daemon"), ("app2", "daemon")]
    again = converge(tmp_path, place, serial=2)
    assert (again.code, again.changed) == (0, 0), again.output


def test_check_mode_leaves_nothing(tmp_path: Path, place: Path) -> None:
    done = converge(tmp_path, place, "--check")
    assert done.code == 0, done.output
    assert list(place.iterdir()) == []


def test_servers_that_do_not_share_it(tmp_path: Path, place: Path) -> None:
    done = converge(tmp_path, place, mlflow_artifact_uri=str(place / "other"))
    assert done.code != 0
    [sentence] = done.sentences
    assert sentence.startswith(
        f"[DIRECTORY_NOT_SHARED] app2: {place}/other: app1 has just left a note there, and this host finds none."
    )


def test_a_user_with_another_number_takes_nothing_away(tmp_path: Path, place: Path) -> None:
    done = converge(tmp_path, place, mlflow_user="nobody", mlflow_group="nogroup")
    assert done.code != 0
    [sentence] = done.sentences
    assert sentence.startswith(
        f"[DIRECTORY_UID] app2: {place}/artifacts: it belongs to daemon (1), and MLflow runs as nobody (65534) on this host."
    )
    assert sentence.endswith("What serves stays as it is.")
    assert (place / "artifacts").owner() == "daemon"


def test_one_server_leaves_no_note(tmp_path: Path, place: Path) -> None:
    done = converge(tmp_path, place, "--limit", "app1", "-e", json.dumps({"mlflow_artifact_store_servers": ["app1"]}))
    assert done.code == 0, done.output
    assert [path.name for path in (place / "artifacts/.mlops-mlflow").iterdir()] == ["environment"]


@pytest.fixture(name="in_memory")
def _in_memory(place: Path) -> Iterator[Path]:
    """A file system in memory, mounted on the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_what_could_be_better_is_said_and_stops_nothing(tmp_path: Path, in_memory: Path) -> None:
    done = converge(tmp_path, in_memory)
    assert done.code == 0, done.output
    assert [sentence.partition(": a restart")[0] for sentence in done.sentences] == [
        f"[DIRECTORY_VOLATILE] {host}: {in_memory}/artifacts: {in_memory} is a tmpfs" for host in ("app1", "app2")
    ]


# ----- a bucket


def below(prefix: str, *actions: str) -> dict[str, Any]:
    """Rights to the objects below a prefix of the bucket."""
    return allow(*actions, resource=f"arn:aws:s3:::bucket/{prefix}/*")


def least(prefix: str) -> list[dict[str, Any]]:
    """What the identity of a server needs."""
    listing = allow("s3:ListBucket", resource="arn:aws:s3:::bucket")
    condition = {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}}
    return [below(prefix, "s3:PutObject", "s3:GetObject"), {**listing, "Condition": condition}]


def ask(
    folder: Path, store: Store, prefix: str, server: Keys, laptop: dict[str, str] | None = None, **variables: Any
) -> Played:
    """Play the check of a bucket as a server with a release does; `laptop` is what is set for the host of a client."""
    stand_in(folder)
    python = folder / "install/releases/one/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (python.parents[1] / ".complete").touch()
    common = {
        "ansible_connection": "local",
        "mlflow_environment": "dev",
        "mlflow_install_dir": str(folder / "install"),
        "mlflow_artifact_uri": f"s3://bucket/{prefix}",
        "mlflow_user": "root",
        "mlflow_group": "root",
        "mlflow_artifact_store_endpoint_url": store.url,
        "mlflow_artifact_store_region": "us-east-1",
        "mlflow_artifact_store_access_key_id": server.id,
        "mlflow_artifact_store_secret_access_key": server.secret,
    }
    hosts = {"servers": {"hosts": {"app1": {}}}, "clients": {"hosts": {"laptop": laptop or {}}}}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"children": hosts, "vars": {**common, **variables}}}))
    playbook = folder / "bucket.yml"
    playbook.write_text(PLAYBOOK.replace("SERIAL", "1").replace("TASKS", "s3"))
    return play(folder, playbook, "-i", folder / "hosts.yml")


def test_a_bucket_with_all_that_can_be_asked(tmp_path: Path, seaweedfs: Store) -> None:
    maintenance = seaweedfs.user("role-maintenance", [*least("role"), below("role", "s3:DeleteObject")])
    done = ask(
        tmp_path,
        seaweedfs,
        "role",
        seaweedfs.user("role-server", least("role")),
        mlflow_artifact_store_other_places=["s3://bucket/other"],
        mlflow_artifact_store_client_hosts=["laptop"],
        mlflow_artifact_store_maintenance_access_key_id=maintenance.id,
        mlflow_artifact_store_maintenance_secret_access_key=maintenance.secret,
        mlflow_server_extra_env={"MLFLOW_S3_UPLOAD_EXTRA_ARGS": '{"ServerSideEncryption": "AES256"}'},
    )
    assert (done.code, done.changed, done.sentences) == (0, 0, []), done.output
    assert "app1 -> laptop" in done.output
    assert "X-Amz-Signature" not in done.output
    head = seaweedfs.client("s3").head_object(Bucket="bucket", Key="role/.mlops-mlflow/environment")
    assert head["ServerSideEncryption"] == "AES256"


def test_a_server_that_may_delete_is_told_and_serves(tmp_path: Path, seaweedfs: Store) -> None:
    keys = seaweedfs.user("role-deletes", [*least("deletes"), below("deletes", "s3:DeleteObject")])
    done = ask(tmp_path, seaweedfs, "deletes", keys)
    assert done.code == 0, done.output
    [sentence] = done.sentences
    assert sentence.startswith(
        "[ARTIFACT_DELETE_ALLOWED] app1: s3://bucket/deletes: the identity of the server may delete;"
    )


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"mlflow_artifact_store_other_places": ["s3://bucket/refused"]},
            "[ARTIFACT_OTHER_READABLE] app1: s3://bucket/refused: the identity can list in s3://bucket/refused as well,",
        ),
        (
            {"mlflow_server_extra_env": {"MLFLOW_S3_UPLOAD_EXTRA_ARGS": "{no JSON"}},
            "[ARTIFACT_EXTRA_ARGS] app1: s3://bucket/refused: what is given for uploads cannot be used; preparing the request failed.",
        ),
        (
            {"maintenance": True},
            "[ARTIFACT_DELETE_DENIED] app1: s3://bucket/refused: the identity of maintenance may not delete objects below the prefix;",
        ),
    ],
)
def test_what_a_bucket_is_refused_for(
    tmp_path: Path, seaweedfs: Store, variables: dict[str, Any], sentence: str
) -> None:
    keys = seaweedfs.user(f"role-{tmp_path.name}"[-60:], least("refused"))
    if variables.pop("maintenance", False):
        variables = {
            "mlflow_artifact_store_maintenance_access_key_id": keys.id,
            "mlflow_artifact_store_maintenance_secret_access_key": keys.secret,
        }
    done = ask(tmp_path, seaweedfs, "refused", keys, **variables)
    assert done.code != 0
    [said] = done.sentences
    assert said.startswith(sentence)
    assert said.endswith("What serves stays as it is.")
    assert keys.secret not in done.output


def test_a_client_that_does_not_reach_the_store_stops_the_run(tmp_path: Path, seaweedfs: Store) -> None:
    """The client's host has no network."""
    python = tmp_path / "python-without-network"
    python.write_text('#!/bin/sh\nexec unshare --net -- /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    keys = seaweedfs.user("role-unreached", least("unreached"))
    laptop = {"ansible_python_interpreter": str(python)}
    done = ask(tmp_path, seaweedfs, "unreached", keys, laptop, mlflow_artifact_store_client_hosts=["laptop"])
    assert done.code != 0
    [said] = done.sentences
    assert said.startswith(
        "[ARTIFACT_PRESIGNED_UNREACHABLE] laptop: s3://bucket/unreached: this host cannot fetch what the store signed."
    )
    assert "X-Amz-Signature" not in done.output
