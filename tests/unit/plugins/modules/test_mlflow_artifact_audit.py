"""mlflow_artifact_audit against a real PostgreSQL, a directory and an S3 that checks rights."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_uri
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server
from ansible_collections.mlops.mlflow.tests.unit.support.s3 import Store, running_store
from ansible_collections.mlops.mlflow.tests.unit.support.tracking import Mlflow, tracking

OLD = time.time() - 7 * 86400


@pytest.fixture(name="store", scope="module")
def _store() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture(name="mlflow")
def _mlflow(postgresql: Server, database: str) -> Mlflow:
    return tracking(postgresql, database)


@pytest.fixture(name="place")
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory; that of tests is below /tmp, where a store may not be."""
    monkeypatch.setattr(_artifact_uri, "_FLEETING", ())
    return tmp_path / "artifacts"


def put(place: Path, key: str, text: str = "text", modified: float = OLD) -> None:
    """A file as MLflow writes one, a week ago."""
    path = place / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (modified, modified))


def look(uri: str | Path, mlflow: Mlflow, **options: Any) -> dict[str, Any]:
    """Run the module as host app1, without failing."""
    store = {"uri": str(uri), **options.pop("access", {})}
    return run_module(
        "mlflow_artifact_audit",
        **{"store": store, "database_uri": mlflow.uri, "host": "app1", "fail_on": "never", **options},
    )


def fill(mlflow: Mlflow, root: str = "mlflow-artifacts:") -> list[str]:
    """A healthy environment; returns the keys that have to be in the store."""
    mlflow.experiment(4, f"{root}/4", "churn")
    mlflow.run("r1", 4, f"{root}/4/r1/artifacts", notes=True)
    mlflow.run("r2", 4, f"{root}/4/r2/artifacts")
    mlflow.model("m-1", 4, f"{root}/4/models/m-1/artifacts")
    mlflow.trace("tr-1", 4, f"{root}/4/traces/tr-1/artifacts", spans="TRACKING_STORE")
    mlflow.trace("tr-2", 4, f"{root}/4/traces/tr-2/artifacts")
    mlflow.version("churn", 1, "models:/m-1", f"{root}/4/models/m-1/artifacts")
    mlflow.version("prompt", 1, "dummy-source")
    return [
        "4/r1/artifacts/a.txt",
        "4/models/m-1/artifacts/MLmodel",
        "4/traces/tr-2/artifacts/traces.json",
        ".mlops-mlflow/environment",
    ]


def test_what_fits_has_no_findings(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    answer = look(place, mlflow)
    assert answer["findings"] == []
    assert answer["changed"] is False
    found = answer["audit"]
    # The collection's own object is nobody's artifact.
    assert (found["objects"], found["bytes"]) == (3, 12)
    assert found["rows"] == {"experiment": 1, "run": 2, "logged_model": 1, "trace": 2, "version": 1}
    assert found["empty_runs"] == 1, "a run without artifacts is no loss"
    assert found["experiments"] == {"count": 1, "items": [{"id": "4", "name": "churn", "objects": 3, "bytes": 12}]}
    assert answer["table"] == [
        f"{place} (proxied): 3 objects, 12 B",
        "1 experiments, 2 runs, 1 logged models, 2 traces, 1 registered versions; 1 runs keep nothing here",
        "in another store: 0 experiments, 0 locations",
        "by another way: 0 experiments, 0 locations",
        "belonging to nothing: 0 objects, 0 B, in 0 folders",
        "by experiment:",
        "         4  churn  3 objects  12 B",
    ]


def test_nothing_is_written(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow)[1:]:
        put(place, key)
    before = mlflow.everything(), sorted((str(path), path.stat().st_mtime_ns) for path in place.rglob("*"))
    for check_mode in (False, True):
        answer = run_module(
            "mlflow_artifact_audit",
            check_mode=check_mode,
            store={"uri": str(place)},
            database_uri=mlflow.uri,
            fail_on="never",
        )
        assert ids(answer) == ["AUDIT_LOST"]
    assert (mlflow.everything(), sorted((str(path), path.stat().st_mtime_ns) for path in place.rglob("*"))) == before


@pytest.mark.parametrize(
    ("gone", "finding", "what"),
    [
        ("4/r1/artifacts/a.txt", "AUDIT_LOST", "1 runs"),
        ("4/traces/tr-2/artifacts/traces.json", "AUDIT_LOST", "1 traces"),
    ],
)
def test_lost_artifacts_are_named(mlflow: Mlflow, place: Path, gone: str, finding: str, what: str) -> None:
    for key in fill(mlflow):
        if key != gone:
            put(place, key)
    answer = look(place, mlflow)
    assert ids(answer) == [finding]
    assert answer["sentences"][0].startswith(
        f"[AUDIT_LOST] app1: {place}: nothing is left of the artifacts of {what}. Restore"
    )


def test_a_lost_model_takes_its_versions_along(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        if "MLmodel" not in key:
            put(place, key)
    answer = look(place, mlflow)
    assert ids(answer) == ["AUDIT_LOST", "AUDIT_VERSION_LOST"]
    assert answer["sentences"][1].startswith(
        f"[AUDIT_VERSION_LOST] app1: {place}: 1 registered versions cannot be loaded any more. Restore the objects, or delete the version"
    )
    assert answer["audit"]["lost"]["version"]["items"][0]["id"] == "churn/1"
    assert "lost artifacts: 1 registered versions" in answer["table"]


def test_a_version_whose_model_is_gone_is_lost_wherever_it_was(mlflow: Mlflow, place: Path) -> None:
    """`mlflow gc` removes a logged model without asking whether it is registered."""
    for key in fill(mlflow):
        put(place, key)
    mlflow.version("other", 3, "models:/m-gone", "s3://elsewhere/x")
    answer = look(place, mlflow)
    assert ids(answer) == ["AUDIT_VERSION_LOST", "AUDIT_OTHER_STORE"]
    assert [one["id"] for one in answer["audit"]["lost"]["version"]["items"]] == ["other/3"]
    assert (answer["audit"]["other_store"]["count"], answer["audit"]["other_store"]["versions"]) == (0, 1)


def test_what_may_be_empty_is_not_lost(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    mlflow.run("deleted", 4, "mlflow-artifacts:/4/deleted/artifacts", notes=True, stage="deleted")
    mlflow.model("m-pending", 4, "mlflow-artifacts:/4/models/m-pending/artifacts", status=1)
    mlflow.model("m-deleted", 4, "mlflow-artifacts:/4/models/m-deleted/artifacts", stage="deleted")
    mlflow.trace("tr-runs", 4, "mlflow-artifacts:/4/traces/tr-runs/artifacts", status="IN_PROGRESS")
    mlflow.trace(
        "tr-old", 4, "mlflow-artifacts:/4/traces/tr-old/artifacts", spans="ARCHIVE_REPO", archive="s3://cold/4/x"
    )
    mlflow.version("gone", 1, "models:/m-away", stage="Deleted_Internal")
    assert ids(look(place, mlflow)) == ["AUDIT_OTHER_STORE"], "the archive of tr-old alone, which is kept elsewhere"


def test_an_archived_trace_that_is_lost(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    archive = "mlflow-artifacts:/archive/4/traces/tr-3/artifacts"
    mlflow.trace("tr-3", 4, "mlflow-artifacts:/4/traces/tr-3/artifacts", spans="ARCHIVE_REPO", archive=archive)
    assert look(place, mlflow)["audit"]["lost"]["trace"]["items"][0]["location"] == archive


def test_objects_of_nobody(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    put(place, "4/gone/artifacts/model.bin", "x" * 2000)
    put(place, "4/gone/artifacts/deep/er.txt")
    put(place, "7/traces/tr-9/artifacts/traces.json")
    put(place, "by-hand.txt")
    put(place, "4/new/artifacts/now.txt", modified=time.time())
    answer = look(place, mlflow)
    assert ids(answer) == ["AUDIT_ORPHANS"]
    remedy = answer["findings"][0]["remedy"]
    assert answer["sentences"] == [
        f"[AUDIT_ORPHANS] app1: {place}: 4 objects (2.0 kB) belong to nothing that MLflow knows. {remedy}",
    ]
    # As high up as nothing below is anybody's, the largest first.
    assert answer["audit"]["orphans"] == {
        "count": 3,
        "items": [
            {"key": "4/gone", "objects": 2, "bytes": 2004},
            {"key": "", "objects": 1, "bytes": 4},
            {"key": "7", "objects": 1, "bytes": 4},
        ],
        "objects": 4,
        "bytes": 2012,
    }
    assert answer["audit"]["young"] == {"objects": 1, "bytes": 4}
    assert look(place, mlflow, grace_seconds=0, limit=1)["audit"]["orphans"]["count"] == 4
    assert len(look(place, mlflow, grace_seconds=0, limit=1)["audit"]["orphans"]["items"]) == 1


def test_what_is_marked_as_deleted_owns_its_objects_until_gc(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    mlflow.run("binned", 4, "mlflow-artifacts:/4/binned/artifacts", stage="deleted")
    put(place, "4/binned/artifacts/a.txt")
    assert look(place, mlflow)["findings"] == []


def test_other_stores_and_other_ways(mlflow: Mlflow, place: Path) -> None:
    for key in fill(mlflow):
        put(place, key)
    mlflow.experiment(5, "s3://old/mlflow/5", "before")
    mlflow.run("r5", 5, "s3://old/mlflow/5/r5/artifacts", notes=True)
    mlflow.experiment(6, f"file://{place}/6", "by-path")
    mlflow.run("r6", 6, f"{place}/6/r6/artifacts", notes=True)
    put(place, "6/r6/artifacts/a.txt")
    answer = look(place, mlflow)
    assert ids(answer) == ["AUDIT_OTHER_STORE", "AUDIT_OTHER_MODE"]
    assert answer["audit"]["other_store"]["items"] == [
        {"id": "5", "name": "before", "location": "s3://old/mlflow/5", "rows": 2}
    ]
    assert answer["audit"]["other_mode"]["items"] == [
        {"id": "6", "name": "by-path", "location": f"file://{place}/6", "rows": 2}
    ]
    assert answer["sentences"][1].startswith(
        f"[AUDIT_OTHER_MODE] app1: 2 locations of 1 experiments and 0 registered versions are reached in another way than proxied, in {place}."
    )
    assert answer["sentences"][0].startswith(
        f"[AUDIT_OTHER_STORE] app1: 2 locations of 1 experiments and 0 registered versions point to another store than {place}."
    )
    # With direct it is the other way round.
    direct = look(place, mlflow, transfer="direct")["audit"]["other_mode"]
    assert [one["id"] for one in direct["items"]] == ["4"]
    assert direct["versions"] == 1


def test_a_bucket(mlflow: Mlflow, store: Store) -> None:
    for key in fill(mlflow):
        store.put(f"audited/{key}", b"text")
    store.put("audited/9/left/artifacts/a.txt", b"orphan")
    store.put("audited2/neighbour.txt", b"another place")
    keys = store.users["full"]
    access = {
        "access_key_id": keys.id,
        "secret_access_key": keys.secret,
        "endpoint_url": store.url,
        "region": "us-east-1",
    }
    answer = look("s3://bucket/audited", mlflow, access=access, grace_seconds=0)
    assert ids(answer) == ["AUDIT_ORPHANS"]
    assert answer["audit"]["objects"] == 4
    assert answer["audit"]["orphans"]["items"] == [{"key": "9", "objects": 1, "bytes": 6}]


def test_a_bucket_that_may_not_be_listed(mlflow: Mlflow, store: Store) -> None:
    keys = store.users["no-s3:ListBucket"]
    access = {
        "access_key_id": keys.id,
        "secret_access_key": keys.secret,
        "endpoint_url": store.url,
        "region": "us-east-1",
    }
    answer = look("s3://bucket/audited", mlflow, access=access)
    assert ids(answer) == ["AUDIT_STORE"]
    assert answer["refusals"][0].startswith(
        "[AUDIT_STORE] app1: s3://bucket/audited could not be listed: s3://bucket/audited/ list:"
    )
    assert "AccessDenied" in answer["refusals"][0]
    assert answer["audit"] == {}


def test_a_database_that_is_not_mlflows(postgresql: Server, database: str, place: Path) -> None:
    answer = look(place, Mlflow(postgresql, database))
    assert ids(answer) == ["AUDIT_DATABASE"]
    assert answer["refusals"][0].startswith(
        '[AUDIT_DATABASE] app1: The locations could not be read: relation "experiments" does not exist'
    )


def test_the_database_of_the_server_on_this_host(mlflow: Mlflow, place: Path, tmp_path: Path) -> None:
    """As the role mlflow_server writes its environment; nothing else of it is used."""
    fill(mlflow)
    file = tmp_path / "server.env"
    file.write_text(f'MLFLOW_HOST="::1"\nMLFLOW_BACKEND_STORE_URI="{mlflow.uri}"\nX="a\\"b"\n', encoding="utf-8")
    answer = look(place, mlflow, database_uri="", server_environment=str(file))
    assert answer["audit"]["rows"]["run"] == 2
    absent = look(place, mlflow, database_uri="", server_environment=str(tmp_path / "none"))
    assert ids(absent) == ["AUDIT_DATABASE"]
    assert "No such file" in absent["sentences"][0]


def test_a_wrong_place_is_refused_before_anything_is_asked(mlflow: Mlflow) -> None:
    assert ids(look("S3://bucket", mlflow)) == ["ARTIFACT_URI"]


def test_a_store_that_is_not_looked_into_says_so(mlflow: Mlflow) -> None:
    answer = look("gs://bucket/mlflow", mlflow)
    assert ids(answer) == ["AUDIT_STORE"]
    assert (
        "gs://bucket/mlflow is neither a directory nor S3, and other stores are not looked into"
        in answer["sentences"][0]
    )


def test_the_answer_is_json_whatever_files_are_called(mlflow: Mlflow, place: Path) -> None:
    fill(mlflow)
    put(place, "4/x/artifacts/a.txt")
    (place / os.fsdecode(b"\xff\xfe")).write_text("x", encoding="utf-8")
    (place / "link").symlink_to("/etc/passwd")
    answer = look(place, mlflow, grace_seconds=-86400)
    json.dumps(answer["audit"]).encode()
    assert answer["audit"]["objects"] == 3
