"""Objects that belong to nothing: told, and deleted by the identity that may, with neighbours that have to stay."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_uri, _s3_policy
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_orphans import is_orphan, work
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import Tracking
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import REGION, Keys, Store
from ansible_collections.mlops.mlflow.tests.unit.support.tracking import Mlflow, tracking

NOW = time.time()
WEEK = 7 * 86400
OWNED = (
    "4/run1/artifacts/model.bin",
    "4/run1/artifacts/deep/er/a b+ü.txt",
    "4/models/m-1/artifacts/MLmodel",
    "4/traces/tr-1/artifacts/t.json",
)
ORPHANS = (
    "4/run9/artifacts/left.bin",
    "4/run1-2/artifacts/near.bin",
    "7/models/m-7/artifacts/%41 #?&.txt",
    "stray.txt",
)
YOUNG = "4/run8/artifacts/just-written.bin"
OURS = ".mlops-mlflow/environment"


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


@pytest.fixture(name="mlflow")
def _mlflow(postgresql: Server, database: str) -> Mlflow:
    made = tracking(postgresql, database)
    made.experiment(4, "mlflow-artifacts:/4")
    made.run("run1", 4, "mlflow-artifacts:/4/run1/artifacts")
    made.model("m-1", 4, "mlflow-artifacts:/4/models/m-1/artifacts")
    made.trace("tr-1", 4, "mlflow-artifacts:/4/traces/tr-1/artifacts")
    return made


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory; that of tests is below /tmp, where a store may not be."""
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    for key in (*OWNED, *ORPHANS, YOUNG, OURS):
        put(tmp_path / "store", key, NOW if key == YOUNG else NOW - 10 * 86400)
    return tmp_path / "store"


def put(root: Path, key: str, modified: float) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (modified, modified))


def keys(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def request(uri: str | Path, mlflow: Mlflow, **more: Any) -> dict[str, Any]:
    access = dict.fromkeys(
        ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region", "ca_file"), ""
    )
    given = {"host": "app1", "dry_run": False, "grace_days": 7, "most_percent": 50, "transfer": "proxied"}
    return {**given, "database_uri": mlflow.uri, "store": {"uri": str(uri), **access}, **more}


def test_a_dry_run_only_tells(place: Path, mlflow: Mlflow) -> None:
    before = keys(place)
    result = work(request(place, mlflow, dry_run=True), say, now=NOW)
    assert [one["id"] for one in result.findings] == ["AUDIT_ORPHANS"]
    assert result.sentence == "4 of 9 objects (4 B) belong to nothing; nothing was deleted."
    assert keys(place) == before


def test_what_belongs_to_nothing_goes_and_nothing_else(place: Path, mlflow: Mlflow) -> None:
    # Young and old side by side in one folder that nobody owns, and a link that leads to something that is owned.
    put(place, "4/run9/artifacts/young.bin", NOW)
    (place / "4/run9/link").symlink_to(place / OWNED[0])
    os.utime(place / "4/run9/link", (NOW - WEEK * 2, NOW - WEEK * 2), follow_symlinks=False)
    result = work(request(place, mlflow), say, now=NOW)
    assert result.sentence == "5 objects that belonged to nothing were deleted."
    assert result.findings == []
    assert keys(place) == {*OWNED, YOUNG, OURS, "4/run9/artifacts/young.bin"}
    assert not (place / "7").exists(), "folders that are empty then go as well"
    assert work(request(place, mlflow), say, now=NOW).sentence == "0 of 6 objects (0 B) belong to nothing."


def test_whoever_came_while_it_looked_keeps_what_is_his(
    place: Path, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old object that gets an owner after the rows were read, and before anything is deleted: a restore, or an import."""
    rows = Tracking.rows
    read = 0

    def once_more(self: Any) -> Any:
        nonlocal read
        read += 1
        if read == 2:
            mlflow.run("run9", 4, "mlflow-artifacts:/4/run9/artifacts")
        return rows(self)

    monkeypatch.setattr(Tracking, "rows", once_more)
    work(request(place, mlflow), say, now=NOW)
    assert read == 2
    assert keys(place) == {*OWNED, YOUNG, OURS, ORPHANS[0]}


def test_the_wrong_database_deletes_nothing(place: Path, postgresql: Server, mlflow: Mlflow) -> None:
    before = keys(place)
    with (
        postgresql.database("empty_mlflow") as name,
        pytest.raises(JobError, match=r"^Nothing was deleted: the database knows of no run, model or trace"),
    ):
        work(request(place, tracking(postgresql, name)), say, now=NOW)
    for number in range(100):
        put(place, f"old/{number}", NOW - WEEK * 2)
    with pytest.raises(
        JobError, match=r"104 of 109 objects would belong to nothing, and mlflow_maintenance_orphans.most_percent=50"
    ):
        work(request(place, mlflow), say, now=NOW)
    assert keys(place) >= before
    assert len(keys(place)) == len(before) + 100
    assert work(request(place, mlflow, most_percent=100), say, now=NOW).sentence.startswith("104 objects")


def test_a_bucket_with_the_identity_of_maintenance_and_without(
    seaweedfs: Store, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    seaweedfs.client("s3").create_bucket(Bucket="orphaned")
    users: dict[str, Keys] = {
        name: seaweedfs.user(
            f"orphans-{name}",
            _s3_policy.identity_policy("orphaned", "mlflow", delete=name == "maintenance")["Statement"],
        )
        for name in ("runtime", "maintenance")
    }
    for key in (*OWNED, *ORPHANS, OURS):
        seaweedfs.put(f"mlflow/{key}", b"x", bucket="orphaned")
    seaweedfs.put("elsewhere/not-ours.txt", b"x", bucket="orphaned")
    # Everything in the bucket is new: the job comes ten days later.
    later = NOW + 10 * 86400
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def asked(name: str) -> dict[str, Any]:
        keys_of = users[name]
        given = request("s3://orphaned/mlflow", mlflow)
        access = {
            "access_key_id": keys_of.id,
            "secret_access_key": keys_of.secret,
            "endpoint_url": seaweedfs.url,
            "region": REGION,
        }
        return {**given, "store": {**given["store"], **access}}

    refused = work(asked("runtime"), say, now=later)
    assert [one["id"] for one in refused.findings] == ["MAINTENANCE_ORPHANS_LEFT"]
    assert "AccessDenied" in refused.findings[0]["evidence"]
    assert refused.sentence == "0 objects that belonged to nothing were deleted."
    result = work(asked("maintenance"), say, now=later)
    assert (result.sentence, result.findings) == ("4 objects that belonged to nothing were deleted.", [])
    assert set(seaweedfs.objects(bucket="orphaned")) == {
        *(f"mlflow/{key}" for key in (*OWNED, OURS)),
        "elsewhere/not-ours.txt",
    }


def test_a_store_that_says_yes_and_deletes_nothing(
    place: Path, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.unlink", lambda *_arguments, **_named: None)
    result = work(request(place, mlflow), say, now=NOW)
    monkeypatch.undo()
    assert [one["id"] for one in result.findings] == ["MAINTENANCE_ORPHANS_LEFT"]
    assert "it is still listed" in result.findings[0]["evidence"]
    assert result.sentence == "0 objects that belonged to nothing were deleted."


def test_a_store_that_is_not_looked_into(mlflow: Mlflow) -> None:
    with pytest.raises(JobError, match=r"neither a directory nor S3"):
        work(request("gs://bucket/prefix", mlflow), say, now=NOW)


@pytest.mark.parametrize(
    ("key", "age", "orphan"),
    [
        ("4/run1/artifacts/a", WEEK * 2, False),
        ("4/run1/artifacts", WEEK * 2, False),
        ("4/run1", WEEK * 2, True),
        ("4/run10/artifacts/a", WEEK * 2, True),
        ("4/run10/artifacts/a", WEEK / 2, False),
        (".mlops-mlflow/x", WEEK * 2, False),
    ],
)
def test_one_object(key: str, age: float, orphan: bool) -> None:
    assert is_orphan(key, NOW - age, frozenset({"4/run1/artifacts"}), NOW - WEEK) is orphan
