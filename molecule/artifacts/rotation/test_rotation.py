"""Keys, logins and the sessions' key are exchanged under a client that uploads: it sees no failure, and what was before is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.uploader import Uploader

BUCKET, PREFIX = "mlflow-artifacts", "team/artifacts"
ROTATED = (
    "mlflow_artifact_store_access_key_id",
    "mlflow_artifact_store_secret_access_key",
    "mlflow_artifact_store_maintenance_access_key_id",
    "mlflow_artifact_store_maintenance_secret_access_key",
    "mlflow_flask_secret_key",
    "mlflow_database_server_a_password",
    "mlflow_database_server_b_password",
)


def test_nobody_notices_and_what_was_before_is_refused(
    hosts: Mapping[str, Any],
    edge: checks.Edge,
    store: Callable[[str], Any],
    now: Callable[[], dict[str, Any]],
    playbook: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One playbook, while files are uploaded and read back."""
    before = now()
    old = {identity: store(identity) for identity in ("", "maintenance")}
    for client in old.values():
        client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/")
    with Uploader(edge) as uploader:
        uploader.wait_for(10)
        done = playbook("rotate_credentials")
        uploader.wait_for(10)
    with capsys.disabled():
        print(f"\nrotation: {uploader.done} files uploaded and read back meanwhile, {len(uploader.failures)} failures")
    assert done.returncode == 0, done.stdout[-4000:]
    assert uploader.failures == []
    after = now()
    assert [name for name in ROTATED if before[name] == after[name]] == []
    for identity, client in old.items():
        with pytest.raises(ClientError) as caught:
            client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/")
        assert caught.value.response["Error"]["Code"] == "InvalidAccessKeyId"
        assert store(identity).list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/", MaxKeys=1)["KeyCount"] == 1
    for login in ("a", "b"):
        role, password = f"mlflow_server_{login}", str(before[f"mlflow_database_server_{login}_password"])
        tried = checks.as_login(hosts["art-a"], role, password, "mlflow", "SELECT 1")
        assert tried.returncode != 0
        assert "password authentication failed" in tried.stderr


def test_site_has_nothing_left_to_do(playbook: Any) -> None:
    """What the rotation left is what site wants."""
    done = playbook("site")
    assert done.returncode == 0, done.stdout[-3000:]
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    assert all("changed=0" in line for line in recap.splitlines() if "ok=" in line), recap
