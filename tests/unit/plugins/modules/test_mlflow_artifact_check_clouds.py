"""mlflow_artifact_check against the emulators of Google Cloud Storage and Azure Blob Storage, with the libraries that a release has.

Azurite checks keys, signatures and their rights. fake-gcs-server checks nobody: how Google refuses is answered as it was recorded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ansible_collections.mlops.mlflow.tests.unit.support.emulators import (
    ACCOUNT,
    Azurite,
    FakeGcs,
    python,
    running_azurite,
    running_gcs,
)
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, http_peer
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port

KEY = ".mlops-mlflow/environment"
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(name="gcs", scope="module")
def _gcs() -> Iterator[FakeGcs]:
    with running_gcs() as gcs:
        gcs.bucket("bucket")
        yield gcs


@pytest.fixture(name="azurite", scope="module")
def _azurite() -> Iterator[Azurite]:
    with running_azurite() as azurite:
        azurite.container("data")
        azurite.container("theirs")
        yield azurite


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter with the libraries, and no identity that the machine may have."""
    monkeypatch.setattr(sys, "executable", python())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    # Of all that it would try, the one that asks nobody.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "STORAGE_EMULATOR_HOST",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCESS_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)


def check(uri: str, **options: Any) -> dict[str, Any]:
    """Run the module as host app1 of the environment dev, without failing."""
    return run_module(
        "mlflow_artifact_check",
        **{"uri": uri, "environment": "dev", "host": "app1", "fail_on": "never", "timeout": 60, **options},
    )


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "") -> dict[str, str]:
    """Assert that this is all that was found, and return it."""
    assert ids(answer) == [finding_id], answer
    finding: dict[str, str] = answer["findings"][0]
    assert summary in finding["summary"]
    assert evidence in finding["evidence"]
    assert "mlflow_artifact_store_access_key_id" not in finding["remedy"]
    return finding


# ----- Google Cloud Storage


@pytest.fixture(name="emulated")
def _emulated(alone: None, gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> FakeGcs:
    assert alone is None  # first, because it takes away what is set here
    for name, value in gcs.environment.items():
        monkeypatch.setenv(name, value)
    return gcs


def test_a_bucket_of_google_that_can_be_used(emulated: FakeGcs) -> None:
    for _again in range(2):
        answer = check("gs://bucket/good")
        assert answer["findings"] == [], answer
        assert answer["steps"][-3:] == ["list", "overwrite", "read"]
    assert emulated.objects("bucket", "good") == {f"good/{KEY}": b"dev"}


def test_maintenance_deletes_in_a_bucket_of_google(emulated: FakeGcs) -> None:
    emulated.put("bucket", "kept/model", b"kept")
    answer = check("gs://bucket/kept", role="maintenance")
    assert (answer["findings"], answer["steps"][-1]) == ([], "delete")
    assert set(emulated.objects("bucket", "kept")) == {"kept/model", f"kept/{KEY}"}


def test_a_bucket_of_google_that_belongs_to_another_environment(emulated: FakeGcs) -> None:
    emulated.put("bucket", f"theirs/{KEY}", b"prod")
    one(
        check("gs://bucket/theirs"),
        "ARTIFACT_ENVIRONMENT",
        "gs://bucket/theirs belongs to the environment 'prod', not to 'dev'.",
    )
    answer = check("gs://bucket/ours", other_places=["gs://bucket/theirs"])
    one(answer, "ARTIFACT_OTHER_READABLE", "the identity can list in gs://bucket/theirs as well")


@pytest.mark.usefixtures("emulated")
def test_a_bucket_of_google_that_does_not_exist() -> None:
    finding = one(
        check("gs://no-such-bucket/x"),
        "ARTIFACT_BUCKET_MISSING",
        "the bucket does not exist; listing failed.",
        "NotFound: ",
    )
    assert finding["remedy"] == "Make the bucket, or correct mlflow_artifact_uri."


def test_google_that_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    one(
        check("gs://bucket/x"),
        "ARTIFACT_ENDPOINT_DOWN",
        "does not take a connection; listing failed.",
        "Connection refused",
    )


def test_no_credentials_for_google() -> None:
    """MLflow would go on as nobody, and say so at the first artifact only."""
    finding = one(
        check("gs://bucket/x"),
        "ARTIFACT_CREDENTIALS_NONE",
        "there are no keys for the bucket; preparing the request failed.",
    )
    assert "mlflow_artifact_store_gcs_credentials" in finding["remedy"]


@pytest.mark.parametrize(
    "given", ["no JSON", "[]", "{}", '{"type": "service_account", "client_email": "a@b", "private_key": "secret-part"}']
)
def test_credentials_of_google_that_are_none(given: str) -> None:
    answer = check("gs://bucket/x", gcs_credentials=given)
    one(
        answer,
        "ARTIFACT_CREDENTIALS_UNUSABLE",
        "cannot be read; preparing the request failed.",
        "the key of a service account cannot be read",
    )
    assert "secret-part" not in str(answer["findings"])


def service_account(token_uri: str) -> str:
    """The key of an account that nobody made."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "emulated",
            "client_email": "mlflow@emulated.iam.gserviceaccount.com",
            "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "token_uri": token_uri,
        }
    )


def test_a_key_of_google_that_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
    with http_peer(lambda _request: Reply(400, said, {"Content-Type": "application/json"})) as port:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        answer = check("gs://bucket/x", gcs_credentials=service_account(f"http://127.0.0.1:{port}/token"))
    one(answer, "ARTIFACT_SECRET_WRONG", "does not belong to the access key; listing failed.", "Invalid JWT Signature")


@pytest.mark.parametrize(
    ("method", "finding_id", "step"),
    [("GET", "ARTIFACT_LIST_DENIED", "listing"), ("POST", "ARTIFACT_PUT_DENIED", "writing")],
)
def test_what_google_refuses(monkeypatch: pytest.MonkeyPatch, method: str, finding_id: str, step: str) -> None:
    message = "mlflow@emulated.iam.gserviceaccount.com does not have storage.objects access to the Google Cloud Storage bucket."
    denied = json.dumps({"error": {"code": 403, "message": message}}).encode()
    with http_peer(
        lambda request: Reply(
            403 if request.method == method else 200,
            denied if request.method == method else b"{}",
            {"Content-Type": "application/json"},
        )
    ) as port:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        answer = check("gs://bucket/x", other_places=[])
    finding = one(answer, finding_id, f"{step} failed.", "Forbidden: ")
    assert "storage.objects." in finding["remedy"]


def test_a_python_without_the_library_of_google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    one(check("gs://bucket/x"), "ARTIFACT_LIBRARY", "has no library for the store (", "No module named 'google'")


# ----- Azure Blob Storage


def place(container: str = "data", prefix: str = "x") -> str:
    """As MLflow writes it; the connection string leads to the emulator."""
    return f"wasbs://{container}@{ACCOUNT}.blob.core.windows.net/{prefix}"


def test_a_container_that_can_be_used(azurite: Azurite) -> None:
    for _again in range(2):
        answer = check(place(prefix="good"), azure_connection_string=azurite.signed("data", "rcwl"))
        assert answer["findings"] == [], answer
        assert answer["steps"][-3:] == ["list", "overwrite", "read"]
    assert azurite.objects("data", "good") == {f"good/{KEY}": b"dev"}


def test_what_the_server_is_started_with_counts_where_nothing_is_given(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.signed("data", "rcwl"))
    assert check(place(prefix="environment"))["findings"] == []


def test_a_key_of_the_account_may_delete(azurite: Azurite) -> None:
    azurite.put("data", "all/model", b"kept")
    answer = check(place(prefix="all"), azure_connection_string=azurite.connection_string)
    one(answer, "ARTIFACT_DELETE_ALLOWED", "the identity of the server may delete;")
    assert set(azurite.objects("data", "all")) == {"all/model", f"all/{KEY}"}


def test_maintenance_deletes_in_a_container(azurite: Azurite) -> None:
    answer = check(place(prefix="gc"), azure_connection_string=azurite.signed("data", "rcwld"), role="maintenance")
    assert (answer["findings"], answer["steps"][-1]) == ([], "delete")
    answer = check(place(prefix="gc"), azure_connection_string=azurite.signed("data", "rcwl"), role="maintenance")
    one(answer, "ARTIFACT_DELETE_DENIED", "deleting failed.", "AuthorizationPermissionMismatch: ")


@pytest.mark.parametrize(
    ("rights", "finding_id", "step"),
    [
        ("rcw", "ARTIFACT_LIST_DENIED", "listing"),
        ("cwl", "ARTIFACT_GET_DENIED", "reading"),
        ("rl", "ARTIFACT_PUT_DENIED", "writing"),
    ],
)
def test_each_right_that_is_missing_in_a_container(azurite: Azurite, rights: str, finding_id: str, step: str) -> None:
    azurite.put("data", f"denied/{KEY}", b"dev")
    answer = check(place(prefix="denied"), azure_connection_string=azurite.signed("data", rights))
    finding = one(answer, finding_id, f"{step} failed.", "AuthorizationPermissionMismatch: ")
    assert "on the container" in finding["remedy"]


def test_an_access_that_ended(azurite: Azurite) -> None:
    answer = check(place(), azure_connection_string=azurite.signed("data", "rcwl", seconds=-60))
    one(answer, "ARTIFACT_TOKEN_EXPIRED", "the session token is expired or not valid (it ended at 20")


def test_a_wrong_key_of_the_account(azurite: Azurite) -> None:
    wrong = "A" * 86 + "=="
    answer = check(place(), azure_connection_string=azurite.connection(wrong))
    finding = one(answer, "ARTIFACT_SECRET_WRONG", "does not belong to the access key; listing failed.")
    assert "mlflow_artifact_store_azure_access_key" in finding["remedy"]
    assert wrong not in str(answer["findings"])


def test_a_container_that_does_not_exist(azurite: Azurite) -> None:
    answer = check(place("no-such-container"), azure_connection_string=azurite.connection_string)
    one(answer, "ARTIFACT_BUCKET_MISSING", "the bucket does not exist; listing failed.", "ContainerNotFound: ")


def test_a_container_of_another_environment(azurite: Azurite) -> None:
    azurite.put("theirs", f"x/{KEY}", b"prod")
    theirs = [place("theirs")]
    answer = check(place(prefix="within"), azure_connection_string=azurite.signed("data", "rcwl"), other_places=theirs)
    assert answer["findings"] == [], answer
    answer = check(place(prefix="within"), azure_connection_string=azurite.connection_string, other_places=theirs)
    assert ids(answer) == ["ARTIFACT_DELETE_ALLOWED", "ARTIFACT_OTHER_READABLE"]
    one(
        check(place("theirs"), azure_connection_string=azurite.connection_string),
        "ARTIFACT_ENVIRONMENT",
        "to the environment 'prod'",
    )


@pytest.mark.parametrize(
    ("given", "step", "evidence"),
    [
        ("no connection string", "preparing the request", "the connection string cannot be read"),
        ("AccountName=a;AccountKey=secret-part", "listing", "AzureSigningError: "),
    ],
)
def test_a_connection_string_that_is_none(given: str, step: str, evidence: str) -> None:
    answer = check(place(), azure_connection_string=given)
    one(answer, "ARTIFACT_CREDENTIALS_UNUSABLE", f"{step} failed.", evidence)
    assert "secret-part" not in str(answer["findings"])


def test_an_account_that_is_not_reached(azurite: Azurite) -> None:
    said = azurite.connection_string.replace(azurite.url, f"http://127.0.0.1:{free_port()}/{ACCOUNT}")
    one(check(place(), azure_connection_string=said), "ARTIFACT_ENDPOINT_DOWN", "listing failed.", "Connection refused")


@pytest.mark.parametrize("uri", [place(), f"abfss://data@{ACCOUNT}.dfs.core.windows.net/x"])
def test_no_credentials_for_azure(uri: str) -> None:
    finding = one(
        check(uri),
        "ARTIFACT_CREDENTIALS_NONE",
        "there are no keys for the bucket; listing failed.",
        "Credential",
    )
    assert "managed identity" in finding["remedy"]
