# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which way artifacts take: what cannot work, and what clients have to set so that they agree with the server.

Private to the collection. Pure decisions: no network, no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

PROXIED, PRESIGNED, DIRECT = "proxied", "presigned", "direct"
# Of a part, in MiB: what S3 takes.
LEAST_PART, LARGEST_PART = 5, 5120
_NAMES = {"directory": "A directory", "gcs": "Google Cloud Storage", "azure": "Azure Blob Storage"}


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is the machine itself, whoever uses it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def transfer_problems(choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each reason why artifacts cannot take the chosen way.

    `choices` holds by name without the prefix `mlflow_`: artifact_uri, artifact_transfer, artifact_transfer_part_mb and
    artifact_store_endpoint_url. A place that cannot be used, and a way that is none, are for others to refuse.
    """
    transfer = str(choices.get("artifact_transfer") or PROXIED)
    if transfer not in (PRESIGNED, DIRECT):
        return []
    try:
        kind = parse(str(choices.get("artifact_uri") or "")).kind
    except ArtifactUriError:
        return []
    limit = ""
    if kind == "directory":
        limit = f"{_NAMES[kind]} on the servers is no place to which clients could go themselves"
    elif transfer == PRESIGNED and kind != "s3":
        limit = f"{_NAMES[kind]} has no signed URLs for downloads in MLflow, only S3 has"
    if limit:
        return [render("TRANSFER_SCHEME", host=host, variable="mlflow_artifact_transfer", value=transfer, limit=limit)]

    problems = []
    endpoint = str(choices.get("artifact_store_endpoint_url") or "")
    if kind == "s3" and is_loopback(_host_of(endpoint)):
        problems.append(
            render(
                "TRANSFER_ENDPOINT",
                host=host,
                variable="mlflow_artifact_store_endpoint_url",
                value=endpoint,
                limit=f"With mlflow_artifact_transfer={transfer} clients go there themselves, and would look on their own machines",
            )
        )
    part = choices.get("artifact_transfer_part_mb", LEAST_PART)
    if transfer == PRESIGNED and not LEAST_PART <= int(part) <= LARGEST_PART:
        problems.append(
            render(
                "TRANSFER_PART",
                host=host,
                variable="mlflow_artifact_transfer_part_mb",
                value=part,
                limit=f"S3 takes parts of {LEAST_PART} to {LARGEST_PART} MiB",
            )
        )
    return problems


def client_environment(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return what a client has to set beside the server's address and its login, so that artifacts take the chosen way.

    `variables` holds an environment's variables by their full names; one that is not set counts as its default. Keys of the
    store are among the result where clients need some and the environment has them. Nothing for `proxied`: the server offers
    no other way, and a client's own settings do not lead to one.
    """

    def value(name: str) -> str:
        return str(variables.get(f"mlflow_artifact_{name}") or "")

    transfer = value("transfer") or PROXIED
    if transfer == PRESIGNED:
        size = str(int(value("transfer_part_mb") or 64) * 2**20)
        settings = {
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
            "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": size,
            "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": size,
            # MLflow's client asks for signed URLs' certificates as other libraries do, not as it asks for the server's.
            "REQUESTS_CA_BUNDLE": value("transfer_ca_file"),
        }
    elif transfer == DIRECT:
        settings = _direct(parse(value("uri")).kind, value)
    else:
        settings = {}
    return {name: setting for name, setting in settings.items() if setting}


def _direct(kind: str, value: Any) -> dict[str, str]:
    if kind == "s3":
        return {
            "MLFLOW_S3_ENDPOINT_URL": value("store_endpoint_url"),
            "MLFLOW_S3_EXPECTED_BUCKET_OWNER": value("store_s3_expected_owner"),
            "AWS_DEFAULT_REGION": value("store_region"),
            "AWS_CA_BUNDLE": value("transfer_ca_file"),
            "AWS_ACCESS_KEY_ID": value("store_access_key_id"),
            "AWS_SECRET_ACCESS_KEY": value("store_secret_access_key"),
        }
    if kind == "azure":
        return {
            "REQUESTS_CA_BUNDLE": value("transfer_ca_file"),
            "AZURE_STORAGE_CONNECTION_STRING": value("store_azure_connection_string"),
            "AZURE_STORAGE_ACCESS_KEY": value("store_azure_access_key"),
        }
    # Google's libraries take keys from a file only, which is the client's own.
    return {"REQUESTS_CA_BUNDLE": value("transfer_ca_file")}


_SECRET = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCESS_KEY")


def shown(settings: Mapping[str, str]) -> list[str]:
    """Return clients' settings as a run may print them: NAME=value, without values that are secrets."""
    return [f"{name}={'(in the vault file)' if name in _SECRET else setting}" for name, setting in settings.items()]
