"""What the role does with a bucket whose objects were deleted since the moment, with a real store."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, allow

PLAY = """
- hosts: app1
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_restore, tasks_from: artifacts}
"""
BUCKET = "restored"
URI = f"s3://{BUCKET}/team"


def apply_role(home: Path, store: Store, *arguments: str, **variables: Any) -> Played:
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {
        "mlflow_environment": "dev",
        "mlflow_domain": "mlflow.example.com",
        "mlflow_artifact_store_managed": True,
        "mlflow_artifact_store_endpoint_url": store.url,
        "mlflow_artifact_store_region": "eu-central-1",
        "mlflow_artifact_store_admin_access_key_id": store.admin.id,
        "mlflow_artifact_store_admin_secret_access_key": store.admin.secret,
        "__mlflow_restore_wanted": {
            "moment": moment,
            "artifacts": {"kind": "bucket", "uri": URI, "not_before": moment, "versioned": "True"},
        },
        **variables,
    }
    (home / "play.yml").write_text(PLAY)
    return play(home, home / "play.yml", "-i", "app1,", "-e", json.dumps(given), *arguments)


def test_what_was_deleted_from_the_bucket_is_back(seaweedfs: Store, tmp_path: Path) -> None:
    s3 = seaweedfs.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    keys = [f"team/{number}" for number in range(5)]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"weights")
    for key in keys[:3]:
        s3.delete_object(Bucket=BUCKET, Key=key)

    asked = apply_role(tmp_path, seaweedfs, mlflow_restore_deleted=False)
    assert (asked.code, asked.changed) == (0, 0), asked.output
    assert f"{URI} stays as it is; it holds all that was not deleted since " in asked.output

    reader = seaweedfs.user("reads-one-bucket", [allow("s3:ListBucket", resource=f"arn:aws:s3:::{BUCKET}")])
    asked = apply_role(
        tmp_path,
        seaweedfs,
        mlflow_restore_s3_admin_access_key_id=reader.id,
        mlflow_restore_s3_admin_secret_access_key=reader.secret,
    )
    assert (asked.code, asked.changed) == (2, 0), asked.output
    (sentence,) = asked.sentences
    assert sentence.startswith(f"[RESTORE_VERSIONS] app1: {URI}/ look: AccessDenied:")
    assert reader.secret not in asked.output

    asked = apply_role(tmp_path, seaweedfs, "--check")
    assert (asked.code, asked.changed) == (0, 1), asked.output
    assert f"Of 5 objects in {URI} 3 were deleted since " in asked.output
    assert " and would come back" in asked.output
    assert set(seaweedfs.objects("team/", BUCKET)) == set(keys[3:])

    asked = apply_role(tmp_path, seaweedfs)
    assert (asked.code, asked.changed) == (0, 1), asked.output
    assert f"Of 5 objects in {URI} 3 were deleted since " in asked.output
    assert " and are back" in asked.output
    assert seaweedfs.objects("team/", BUCKET) == dict.fromkeys(keys, b"weights")
    assert seaweedfs.admin.secret not in asked.output

    asked = apply_role(tmp_path, seaweedfs)
    assert (asked.code, asked.changed) == (0, 0), asked.output

    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})
    asked = apply_role(tmp_path, seaweedfs)
    assert (asked.code, asked.changed) == (0, 0), asked.output
    assert "0 were deleted since" in asked.output
    assert "; the bucket keeps no versions (Suspended)" in asked.output
