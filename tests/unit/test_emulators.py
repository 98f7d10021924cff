"""The emulators that other unit tests stand on, and MLflow's own code for both stores, with the libraries of a release."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support import emulators
from ansible_collections.mlops.mlflow.tests.unit.support.emulators import Azurite, FakeGcs
from ansible_collections.mlops.mlflow.tests.unit.support.environments import ROOT, client_python

# As MLflow's server does it behind its API: everything that a client can ask for, with names that have to be encoded.
USE = """
import pathlib, sys, tempfile
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

place = get_artifact_repository(sys.argv[1])
work = pathlib.Path(tempfile.mkdtemp())
(work / "folder").mkdir()
(work / "folder/a b+ü.txt").write_bytes(b"first")
(work / "folder/large").write_bytes(bytes(range(256)) * 16384)
place.log_artifact(str(work / "folder/a b+ü.txt"), "one")
place.log_artifact(str(work / "folder/a b+ü.txt"), "one")
place.log_artifacts(str(work / "folder"), "run/artifacts")
assert [found.path for found in place.list_artifacts()] == ["one", "run"], place.list_artifacts()
assert sorted(found.path for found in place.list_artifacts("run/artifacts")) == ["run/artifacts/a b+ü.txt", "run/artifacts/large"]
got = pathlib.Path(place.download_artifacts("run", str(work)))
assert (got / "artifacts/large").read_bytes() == bytes(range(256)) * 16384
assert (got / "artifacts/a b+ü.txt").read_bytes() == b"first"
place.delete_artifacts("one")
assert [found.path for found in place.list_artifacts()] == ["run"]
print("used")
"""
# A script of Azure's library: what it raises is what a probe has to tell apart.
ASK = """
import sys
from azure.storage.blob import BlobServiceClient

place = BlobServiceClient.from_connection_string(sys.argv[1]).get_container_client("container")
for act in (
    lambda: place.upload_blob("mlflow/new", b"x", overwrite=True),
    lambda: list(place.list_blobs()),
    lambda: place.delete_blob("mlflow/new"),
):
    try:
        act()
        print("done")
    except Exception as error:
        code = getattr(error, "error_code", type(error).__name__)
        print(getattr(code, "value", code))
"""


@pytest.fixture(name="gcs", scope="module")
def _gcs() -> Iterator[FakeGcs]:
    with emulators.running_gcs() as store:
        yield store


@pytest.fixture(name="azurite", scope="module")
def _azurite() -> Iterator[Azurite]:
    with emulators.running_azurite() as store:
        store.container("container")
        yield store


def script(python: str | Path, text: str, argument: str, environment: Mapping[str, str]) -> str:
    """What a Python with the clouds' libraries says to it."""
    done = subprocess.run(
        [python, "-c", text, argument],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mlflow_uses_google_cloud_storage(gcs: FakeGcs) -> None:
    gcs.bucket("artifacts")
    assert "used" in script(client_python(), USE, "gs://artifacts/mlflow/dev", gcs.environment)
    assert sorted(gcs.objects("artifacts")) == [
        "mlflow/dev/run/artifacts/a b+ü.txt",
        "mlflow/dev/run/artifacts/large",
    ]


def test_mlflow_uses_azure_blob(azurite: Azurite) -> None:
    azurite.container("artifacts")
    environment = {"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string}
    uri = f"wasbs://artifacts@{emulators.ACCOUNT}.blob.core.windows.net/mlflow/dev"
    assert "used" in script(client_python(), USE, uri, environment)
    assert sorted(azurite.objects("artifacts")) == [
        "mlflow/dev/run/artifacts/a b+ü.txt",
        "mlflow/dev/run/artifacts/large",
    ]


def test_objects_are_put_and_read_without_a_library(gcs: FakeGcs, azurite: Azurite) -> None:
    gcs.bucket("plain")
    gcs.put("plain", "mlflow/a b+ü", b"1")
    assert gcs.objects("plain", "mlflow/") == {"mlflow/a b+ü": b"1"}
    assert gcs.objects("plain", "other/") == {}
    azurite.put("container", "plain/a b+ü", b"1")
    assert azurite.objects("container", "plain/") == {"plain/a b+ü": b"1"}
    assert azurite.objects("container", "other/") == {}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        azurite.objects("nothing")


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("key", ["done", "done", "done"]),
        ("another key", ["AuthorizationFailure"] * 3),
        ("put and list", ["done", "done", "AuthorizationPermissionMismatch"]),
        ("list", ["AuthorizationPermissionMismatch", "done", "AuthorizationPermissionMismatch"]),
        ("expired", ["AuthorizationFailure"] * 3),
    ],
)
def test_azurite_checks_who_asks(azurite: Azurite, login: str, said: list[str]) -> None:
    strings = {
        "key": azurite.connection_string,
        "another key": azurite.connection("A" * 86 + "=="),
        "put and list": azurite.signed("container", "rwl"),
        "list": azurite.signed("container", "l"),
        "expired": azurite.signed("container", "rwld", seconds=-60),
    }
    assert script(emulators.python(), ASK, strings[login], {}).split() == said


def test_each_package_of_node_is_locked_by_its_hash_and_comes_from_nowhere_in_particular() -> None:
    lock = json.loads((ROOT / "requirements/azurite/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 50
    assert [name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []
