# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Google Cloud Storage and Azure Blob Storage, as MLflow asks them; sent along with _artifact_probe.py, which asks (see _probe.py).

Each request is made once and with a bound: the drivers would try again for minutes.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.parse import parse_qs

# More than any name of an environment; a longer object is somebody else's.
_NAME_BYTES = 200


class Unusable(Exception):
    """What was given as credentials is none."""


def _text(error: object) -> str:
    return " ".join(str(error).split())[:400].rstrip(".")


class Gcs:
    """A bucket of Google Cloud Storage."""

    # To overwrite an object takes the right to delete it, and a policy knows no prefixes.
    confines = False
    keeps = False

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._bound = {"timeout": min(20.0, request["seconds"] / 3), "retry": None}
        self._client: Any = None

    def connect(self) -> None:
        from google.cloud import storage

        given = self._request["gcs_credentials"]
        if not given:
            # MLflow goes on as nobody where this finds no credentials.
            self._client = storage.Client()
            return
        try:
            self._client = storage.Client.from_service_account_info(json.loads(given))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # Its own words may quote the key.
            raise Unusable(f"the key of a service account cannot be read ({type(error).__name__})") from None

    def list(self, prefix: str, bucket: str = "") -> bytes:
        found = self._client.list_blobs(bucket or self._request["bucket"], prefix=prefix, max_results=1, **self._bound)
        return b"".join(blob.name.encode() for blob in found)

    def _blob(self, key: str, bucket: str = "") -> Any:
        return self._client.bucket(bucket or self._request["bucket"]).blob(key)

    def read(self, key: str, bucket: str = "") -> bytes:
        from google.api_core.exceptions import NotFound

        try:
            return bytes(self._blob(key, bucket).download_as_bytes(end=_NAME_BYTES, **self._bound))
        except NotFound:
            raise FileNotFoundError from None

    def write(self, key: str, body: bytes) -> None:
        self._blob(key).upload_from_string(body, **self._bound)

    def delete(self, key: str) -> None:
        self._blob(key).delete(**self._bound)

    def sign(self, _key: str) -> str:
        return ""  # MLflow has it for S3 only

    def describe(self, error: Exception) -> dict[str, Any]:
        """The status of the service, or the class of the driver's own."""
        classes = [one.__name__ for one in type(error).__mro__]
        return {
            "type": type(error).__name__,
            "code": str(getattr(error, "code", None) or ""),
            "text": _text(getattr(error, "message", None) or error),
            "denied": "Forbidden" in classes,
            "classes": classes,
        }

    def look(self, _failure: dict[str, Any]) -> dict[str, Any]:
        return {}


class Azure:
    """A container of Azure Blob Storage, also where MLflow asks it as a data lake (abfss)."""

    confines = False
    keeps = True
    _DENIED = (
        "AuthorizationPermissionMismatch",
        "AuthorizationResourceTypeMismatch",
        "AuthorizationServiceMismatch",
        "InsufficientAccountPermissions",
        "UnauthorizedBlobOverwrite",
        "BlobImmutableDueToPolicy",
    )

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._client: Any = None
        self._ends = ""  # of a signature that is given in the place of a key

    def connect(self) -> None:
        from azure.storage.blob import BlobServiceClient

        seconds = self._request["seconds"]
        bound = {"connection_timeout": min(5.0, seconds / 4), "read_timeout": min(20.0, seconds / 3), "retry_total": 0}
        url = f"https://{self._request['account']}.blob.{self._request['dns_suffix']}"
        if self._request["scheme"] == "abfss":
            # MLflow takes no key and no connection string there.
            credential = signature = os.environ.get("AZURE_STORAGE_SAS_TOKEN", "")
        else:
            said = self._request["azure_connection_string"] or os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
            if said:
                signature = said.partition("SharedAccessSignature=")[2]
                self._ends = parse_qs(signature).get("se", [""])[0]
                try:
                    self._client = BlobServiceClient.from_connection_string(said, **bound)
                except (ValueError, AttributeError, KeyError) as error:
                    raise Unusable(f"the connection string cannot be read ({type(error).__name__})") from None
                return
            credential = self._request["azure_access_key"] or os.environ.get("AZURE_STORAGE_ACCESS_KEY", "")
            signature = ""
        self._ends = parse_qs(signature).get("se", [""])[0]
        self._client = BlobServiceClient(url, credential=credential or _own_identity(), **bound)

    def _container(self, container: str = "") -> Any:
        return self._client.get_container_client(container or self._request["bucket"])

    def list(self, prefix: str, bucket: str = "") -> bytes:
        found = next(iter(self._container(bucket).list_blobs(name_starts_with=prefix, results_per_page=1)), None)
        return found.name.encode() if found else b""

    def read(self, key: str, bucket: str = "") -> bytes:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return bytes(self._container(bucket).download_blob(key, offset=0, length=_NAME_BYTES + 1).readall())
        except ResourceNotFoundError as error:
            if self.describe(error)["code"] != "BlobNotFound":
                raise
            raise FileNotFoundError from None

    def write(self, key: str, body: bytes) -> None:
        self._container().upload_blob(key, body, overwrite=True)

    def delete(self, key: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self._container().delete_blob(key)
        except ResourceNotFoundError:
            raise FileNotFoundError from None

    def sign(self, _key: str) -> str:
        return ""  # MLflow has it for S3 only

    def describe(self, error: Exception) -> dict[str, Any]:
        """The service's code, or the class of the driver's own."""
        code = getattr(error, "error_code", None) or ""
        code = str(getattr(code, "value", code))
        return {
            "type": type(error).__name__,
            "code": code,
            # The first line is for people; what follows repeats the request, with the signature that was computed.
            "text": _text((str(getattr(error, "message", None) or error).splitlines() or [""])[0]),
            "denied": code in self._DENIED,
            # A signature that is good for one container is no signature for another.
            "refused": code in ("AuthenticationFailed", "AuthorizationFailure"),
            "ends": self._ends,
            "expired": bool(self._ends) and self._ends < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "classes": [one.__name__ for one in type(error).__mro__],
        }

    def look(self, _failure: dict[str, Any]) -> dict[str, Any]:
        return {}


def _own_identity() -> Any:
    """What the host is in Azure: a managed identity, or what its environment says."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
