"""Which way artifacts take: refusals, and what clients set."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _transfer
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri

PROXIED = "Set mlflow_artifact_transfer to proxied, or mlflow_artifact_uri to a bucket that it works with. Nothing was changed."


def problems(**choices: Any) -> list[str]:
    return _transfer.transfer_problems(choices, "app1")


@pytest.mark.parametrize("transfer", [None, "", "proxied", "presigned", "direct"])
def test_every_way_leads_to_a_bucket(transfer: str | None) -> None:
    endpoint = "https://s3.example.com"
    assert (
        problems(artifact_uri="s3://bucket/mlflow", artifact_transfer=transfer, artifact_store_endpoint_url=endpoint)
        == []
    )


def test_the_default_suits_a_directory() -> None:
    assert problems(artifact_uri="/srv/mlflow/artifacts", artifact_store_endpoint_url="http://127.0.0.1:1") == []


@pytest.mark.parametrize("transfer", ["presigned", "direct"])
def test_a_directory_is_reached_through_the_server_only(transfer: str) -> None:
    assert problems(artifact_uri="/srv/mlflow/artifacts", artifact_transfer=transfer) == [
        (
            f"[TRANSFER_SCHEME] app1: mlflow_artifact_transfer={transfer}. A directory on the servers is no place to which clients could"
            f" go themselves. {PROXIED}"
        )
    ]


@pytest.mark.parametrize(("kind", "name"), [("gcs", "Google Cloud Storage"), ("azure", "Azure Blob Storage")])
def test_only_s3_has_signed_urls(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    monkeypatch.setattr(_transfer, "parse", lambda uri: ArtifactUri(kind=kind, uri=uri))
    assert problems(artifact_uri="any", artifact_transfer="presigned") == [
        (
            f"[TRANSFER_SCHEME] app1: mlflow_artifact_transfer=presigned. {name} has no signed URLs for downloads in MLflow, only S3 has."
            f" {PROXIED}"
        )
    ]
    assert problems(artifact_uri="any", artifact_transfer="direct") == []


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:9000", "https://localhost", "http://[::1]:9000", "http://store.localhost"]
)
@pytest.mark.parametrize("transfer", ["presigned", "direct"])
def test_clients_do_not_find_a_store_on_loopback(transfer: str, endpoint: str) -> None:
    found = problems(
        artifact_uri="s3://bucket/mlflow", artifact_transfer=transfer, artifact_store_endpoint_url=endpoint
    )
    assert found == [
        (
            f"[TRANSFER_ENDPOINT] app1: mlflow_artifact_store_endpoint_url={endpoint}. With mlflow_artifact_transfer={transfer} clients go"
            " there themselves, and would look on their own machines. Set mlflow_artifact_store_endpoint_url to an address that servers"
            " and clients reach, or mlflow_artifact_transfer to proxied. Nothing was changed."
        )
    ]


@pytest.mark.parametrize("size", [0, 4, 5121, "6000"])
def test_a_part_is_of_a_size_that_s3_takes(size: int | str) -> None:
    chosen = {"artifact_uri": "s3://bucket/mlflow", "artifact_transfer_part_mb": size}
    assert problems(**chosen, artifact_transfer="presigned") == [
        (
            f"[TRANSFER_PART] app1: mlflow_artifact_transfer_part_mb={size}. S3 takes parts of 5 to 5120 MiB."
            " Set it to a size in between, for example 64. Nothing was changed."
        )
    ]
    assert problems(**chosen, artifact_transfer="proxied") == problems(**chosen, artifact_transfer="direct") == []


def test_a_place_or_a_way_that_is_none_is_for_others_to_refuse() -> None:
    assert problems(artifact_uri="mlruns", artifact_transfer="presigned") == []
    assert problems(artifact_uri="/srv/mlflow/artifacts", artifact_transfer="by pigeon") == []


# ----- what clients set

STORE = {
    "mlflow_artifact_uri": "s3://bucket/mlflow",
    "mlflow_artifact_store_endpoint_url": "https://s3.example.com",
    "mlflow_artifact_store_region": "eu-central-1",
    "mlflow_artifact_store_access_key_id": "id",
    "mlflow_artifact_store_secret_access_key": "a secret",
    "mlflow_artifact_transfer_ca_file": "/etc/ssl/own.pem",
}


def test_nothing_is_set_where_the_server_moves_the_bytes() -> None:
    assert _transfer.client_environment({}) == {}
    assert _transfer.client_environment({**STORE, "mlflow_artifact_transfer": "proxied"}) == {}


def test_signed_urls_need_no_key() -> None:
    settings = _transfer.client_environment(
        {**STORE, "mlflow_artifact_transfer": "presigned", "mlflow_artifact_transfer_part_mb": "16"}
    )
    assert settings == {
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "16777216",
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "16777216",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/own.pem",
    }


def test_the_size_of_a_part_has_a_default_and_no_file_is_none() -> None:
    settings = _transfer.client_environment({"mlflow_artifact_transfer": "presigned"})
    assert settings["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] == str(64 * 1024 * 1024)
    assert "REQUESTS_CA_BUNDLE" not in settings


def test_the_direct_way_needs_keys() -> None:
    settings = _transfer.client_environment({**STORE, "mlflow_artifact_transfer": "direct"})
    assert settings == {
        "MLFLOW_S3_ENDPOINT_URL": "https://s3.example.com",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CA_BUNDLE": "/etc/ssl/own.pem",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "a secret",
    }
    assert _transfer.shown(settings)[-2:] == ["AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=(in the vault file)"]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("gcs", {}),
        ("azure", {"AZURE_STORAGE_CONNECTION_STRING": "a=b", "AZURE_STORAGE_ACCESS_KEY": "another secret"}),
    ],
)
def test_other_clouds_are_reached_with_their_own_variables(
    monkeypatch: pytest.MonkeyPatch, kind: str, wanted: dict[str, str]
) -> None:
    monkeypatch.setattr(_transfer, "parse", lambda uri: ArtifactUri(kind=kind, uri=uri))
    settings = _transfer.client_environment(
        {
            "mlflow_artifact_uri": "any",
            "mlflow_artifact_transfer": "direct",
            "mlflow_artifact_store_azure_connection_string": "a=b",
            "mlflow_artifact_store_azure_access_key": "another secret",
        }
    )
    assert settings == wanted
    assert not [line for line in _transfer.shown(settings) if "secret" in line or "a=b" in line]
