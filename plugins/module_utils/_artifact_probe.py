# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""List, put, read and overwrite one fixed object of a place for artifacts, and say what happened; judged by _artifacts.py.

Runs apart from the module (see _probe.py) with Python's standard library, and the driver of the store: boto3 for S3. The object holds the name of the
environment, so that two environments cannot share a place unnoticed: where another name stands, nothing is written.
What the identity should not be able to do is tried as well: with requests that read, and with the deletion of a second fixed object.
"""

from __future__ import annotations

import errno
import io
import json
import os
import pwd
import re
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_clouds import Azure, Gcs

# Below the prefix or the directory. What else lies there is never touched.
MARKER = ".mlops-mlflow/environment"
# The only object that is ever deleted. Maintenance's identity writes it before; for the server's it does not exist.
DELETABLE = ".mlops-mlflow/deletable"
# More than any name; a longer object is somebody else's.
_NAME_BYTES = 200
# As long as MLflow signs for (MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS).
_SIGNED_SECONDS = 300
_DENIED = ("AccessDenied", "AllAccessDisabled", "403")


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Ask one place.

    Args:
        request: `kind` ("directory", "s3", "gcs" or "azure"), `path` or `bucket` and `prefix`, `environment` (its name), `write` (false: list and
            read only), `seconds` (of the whole probe), `others` (places like this one that must not be readable), and for S3
            `access_key_id`, `secret_access_key`, `session_token`, `endpoint_url`, `region`, `ca_file`, `upload_extra_args`, each
            empty to leave it to what the host offers, `role` ("runtime" or "maintenance") and `presign`.

    Returns:
        `steps` that were done; `found`, the name that stood there before; `failures`, each with `step`, `type`, `code`, `text` and
        `denied`; `user`, who asked; facts that help to judge a failure; and what the identity can do beyond its task: `wide` (list
        the whole bucket), `deletable` (delete), `others`, each with `uri`, `reached` ("list", "read", "" or "unknown") and `text`.
        `presigned_url` fetches the object, and is as good as a password while it holds.
    """
    answer: dict[str, Any] = {
        "steps": [],
        "failures": [],
        "found": "",
        "user": _user(),
        "wide": False,
        "deletable": False,
        "others": [],
        "presigned_url": "",
    }
    if request["kind"] == "directory":
        _ask_directory(request, answer)
    else:
        stores: dict[str, Callable[[dict[str, Any]], _Store]] = {"s3": _S3, "gcs": Gcs, "azure": Azure}
        _ask_bucket(request, answer, stores[request["kind"]](request))
    return answer


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class _Stop(Exception):
    """Nothing more can be learned, or must be done."""


def _walk(
    answer: dict[str, Any], request: dict[str, Any], act: Callable[[str], bytes], failed: Callable[..., bool]
) -> bool:
    """Go through the steps that all kinds of places have, and return whether objects could be written.

    Args:
        answer: gets the steps, the failures and the name that was found.
        request: see `probe`.
        act: does one of the steps "list", "read", "put", "overwrite"; returns what it read or the names it listed. FileNotFoundError
            says that there is no such object.
        failed: notes an error at a step; returns whether the next one is worth trying.
    """
    name = request["environment"].encode()

    def step(what: str) -> bytes | None:
        try:
            got = act(what)
        except FileNotFoundError:
            return b""
        except Exception as error:  # whatever a driver raises is what the check is for
            if not failed(what, error):
                raise _Stop from None
            return None
        answer["steps"].append(what)
        return got

    def differs(what: str, got: bytes) -> None:
        answer["failures"].append(
            {
                "step": what,
                "type": "Different",
                "code": "",
                "text": got[:80].decode(errors="replace"),
                "denied": False,
            }
        )

    listed = step("list")
    before = step("read") if listed != b"" else b""
    if before:
        answer["found"] = before[:_NAME_BYTES].decode(errors="replace").strip()
    # Without a look at what stands there nothing may be written.
    if before is None or (answer["found"] not in ("", request["environment"])) or not request["write"]:
        return False
    for what in ("put", "overwrite"):
        if step(what) is None:
            return False
        got = step("read")
        if got is not None and got != name:
            differs("compare", got)
        if what == "put" and listed is not None and step("list") == b"":
            differs("list", b"")
    return True


def _reach(act: Callable[[], object], describe: Callable[[Exception], dict[str, Any]]) -> tuple[str, str]:
    """Try what should be denied; return "yes", "no" or "unknown", and the words of the store."""
    try:
        act()
    except FileNotFoundError:
        return "yes", ""  # only who may look is told that nothing is there
    except Exception as error:  # anything but a denial says nothing about rights
        failure = describe(error)
        said = f"{failure['code'] or failure['type']}: {failure['text']}"
        # Whose credentials just worked, and are not taken elsewhere, is denied as well.
        return ("no" if failure["denied"] or failure.get("refused") else "unknown"), said
    return "yes", ""


def _other(
    uri: str, lists: Callable[[], object], reads: Callable[[], object], describe: Callable[[Exception], dict[str, Any]]
) -> dict[str, str]:
    """Say how far one gets into another place."""
    unknown = ""
    for what, act in (("list", lists), ("read", reads)):
        reached, said = _reach(act, describe)
        if reached == "yes":
            return {"uri": uri, "reached": what, "text": ""}
        if reached == "unknown":
            unknown = said
    return {"uri": uri, "reached": "unknown" if unknown else "", "text": unknown}


# ----- a directory


def _ask_directory(request: dict[str, Any], answer: dict[str, Any]) -> None:
    place = Path(request["path"])
    marker = place / MARKER
    fresh = marker.with_name("environment.new")

    def act(what: str) -> bytes:
        if what == "list":
            _names(place)
            return b"".join(os.fsencode(entry) for entry in _names(marker.parent) if entry == marker.name)
        if what == "read":
            with marker.open("rb") as file:
                return file.read(_NAME_BYTES + 1)
        # In one piece, so that a full disk never leaves a marker without a name.
        marker.parent.mkdir(exist_ok=True)
        try:
            with fresh.open("wb") as file:
                file.write(request["environment"].encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(marker)
        finally:
            fresh.unlink(missing_ok=True)
        return b"done"

    def describe(error: Exception) -> dict[str, Any]:
        return {
            "type": type(error).__name__,
            "code": getattr(error, "errno", None) or "",
            "text": _text(error),
            "denied": isinstance(error, PermissionError),
        }

    def failed(what: str, error: Exception) -> bool:
        answer["failures"].append({"step": what, **describe(error)})
        return False

    def enter(path: str) -> None:
        # What does not exist cannot be told from what cannot be seen: as root would find it, or not at all.
        try:
            next(Path(path).iterdir(), None)
        except FileNotFoundError as error:
            raise RuntimeError(str(error)) from None

    answer["place"] = _describe(place)
    try:
        if not stat.S_ISDIR(place.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(place))
    except OSError as error:
        failed("find", error)
        return
    try:
        _walk(answer, request, act, failed)
    except _Stop:
        return
    answer["others"] = [
        _other(other["uri"], partial(enter, other["path"]), partial(enter, other["path"]), describe)
        for other in request["others"]
    ]


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _describe(place: Path) -> str:
    """Owner and mode as `ls` shows them; empty where they cannot be seen."""
    try:
        seen = place.stat()
    except OSError:
        return ""
    try:
        owner = pwd.getpwuid(seen.st_uid).pw_name
    except KeyError:
        owner = str(seen.st_uid)
    return f"{stat.filemode(seen.st_mode)} {owner}"


# ----- a bucket


class _Store(Protocol):
    """What every kind of bucket can be asked. Errors are those of its driver; FileNotFoundError says that there is no such object.

    Attributes:
        confines: whether an identity can be confined to a prefix.
        keeps: whether it can be kept from deleting what it may overwrite.
    """

    confines: bool
    keeps: bool

    def connect(self) -> None:
        """Import the driver and make a client; nothing is sent."""

    def list(self, prefix: str, bucket: str = "") -> bytes:
        """Return the first name with this prefix, or nothing."""

    def read(self, key: str, bucket: str = "") -> bytes:
        """Return the first bytes of an object."""

    def write(self, key: str, body: bytes) -> None:
        """Put an object as MLflow does."""

    def delete(self, key: str) -> None:
        """Delete an object as MLflow does."""

    def sign(self, key: str) -> str:
        """Return an address from which the object can be fetched without an identity; empty where the store has none."""

    def describe(self, error: Exception) -> dict[str, Any]:
        """Return `type`, `code`, `text` and `denied` of an error, and what else helps to judge it."""

    def look(self, failure: dict[str, Any]) -> dict[str, Any]:
        """Return what can be seen without the driver, if the failure is not the store's own words."""


def _ask_bucket(request: dict[str, Any], answer: dict[str, Any], store: _Store) -> None:
    key = f"{request['prefix']}/{MARKER}"

    def failed(what: str, error: Exception) -> bool:
        failure = {"step": what, **store.describe(error)}
        answer["failures"].append(failure)
        # Of rights, each is tried; everything else would only be met again.
        return bool(failure["denied"]) and what in ("list", "read")

    def act(what: str) -> bytes:
        if what == "list":
            return store.list(key)
        if what == "read":
            return store.read(key)
        store.write(key, request["environment"].encode())
        return b"done"

    try:
        store.connect()
    except Exception as error:  # a missing library, an impossible endpoint, an unreadable file of authorities
        failed("prepare", error)
        answer["python"] = sys.executable
        return
    try:
        written = _walk(answer, request, act, failed)
        # Of a store that loses or changes objects, or is another environment's, nothing more is asked.
        if answer["found"] in ("", request["environment"]) and all(one["denied"] for one in answer["failures"]):
            _look_beyond(request, answer, store)
            if written:
                _delete(request, answer, store, failed)
    except _Stop:
        answer.update(store.look(answer["failures"][-1]))


def _look_beyond(request: dict[str, Any], answer: dict[str, Any], store: _Store) -> None:
    """Try to read what the identity should not see, and sign what a client should be able to fetch."""
    answer["wide"] = store.confines and _reach(lambda: store.list(""), store.describe)[0] == "yes"
    answer["others"] = [
        _other(
            other["uri"],
            partial(store.list, f"{other['prefix']}/", other["bucket"]),
            partial(store.read, f"{other['prefix']}/{MARKER}", other["bucket"]),
            store.describe,
        )
        for other in request["others"]
    ]
    if request["presign"] and "read" in answer["steps"]:
        answer["presigned_url"] = store.sign(f"{request['prefix']}/{MARKER}")


def _delete(request: dict[str, Any], answer: dict[str, Any], store: _Store, failed: Callable[..., bool]) -> None:
    """See whether the identity may delete. Only maintenance's has to, and then what it deleted has to be gone."""
    key = f"{request['prefix']}/{DELETABLE}"
    if request["role"] != "maintenance":
        answer["deletable"] = store.keeps and _reach(lambda: store.delete(key), store.describe)[0] == "yes"
        return
    step = "put"
    try:
        store.write(key, b"to be deleted")
        step = "delete"
        store.delete(key)
        answer["steps"].append(step)
        step = "list"
        left = store.list(key)
    except Exception as error:  # as in _walk
        failed(step, error)
        raise _Stop from None
    if left:
        failure = {"step": "delete", "type": "Still", "code": "", "text": f"{key} is still listed", "denied": False}
        answer["failures"].append(failure)


# ----- S3


class _ExtraArgs(Exception):
    """What is given for uploads is not what boto3 takes."""


class _NotDeleted(Exception):
    """An error for one key within an answer that says that all went well: MLflow does not look at these."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said.get("Message") or "it was not deleted")
        self.response = {"Error": said}


class _S3:
    """S3, as MLflow asks it."""

    confines = True
    keeps = True

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._bucket = request["bucket"]
        self._extra: dict[str, Any] = {}
        self._client: Any = None

    def connect(self) -> None:
        self._client = s3_client(self._request)
        self._extra = _extra_args(
            self._request["upload_extra_args"] or os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS", "")
        )

    def list(self, prefix: str, bucket: str = "") -> bytes:
        listed = self._client.list_objects_v2(Bucket=bucket or self._bucket, Prefix=prefix, MaxKeys=1)
        return b"".join(entry["Key"].encode() for entry in listed.get("Contents") or [])

    def read(self, key: str, bucket: str = "") -> bytes:
        try:
            return bytes(self._client.get_object(Bucket=bucket or self._bucket, Key=key)["Body"].read(_NAME_BYTES + 1))
        except self._client.exceptions.NoSuchKey:
            raise FileNotFoundError from None

    def write(self, key: str, body: bytes) -> None:
        if not self._extra:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
            return
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import ParamValidationError

        try:
            one_thread = TransferConfig(use_threads=False)
            self._client.upload_fileobj(io.BytesIO(body), self._bucket, key, ExtraArgs=self._extra, Config=one_thread)
        except (ParamValidationError, TypeError, ValueError) as error:
            # botocore repeats the value, which can be a key of encryption.
            raise _ExtraArgs(re.sub(r"value: .*?, type:", "type:", str(error), flags=re.S)) from None

    def delete(self, key: str) -> None:
        answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key}]})
        if errors := answer.get("Errors"):
            raise _NotDeleted(errors[0])

    def sign(self, key: str) -> str:
        return str(
            self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=_SIGNED_SECONDS
            )
        )

    def describe(self, error: Exception) -> dict[str, Any]:
        return describe_s3(error)

    def look(self, failure: dict[str, Any]) -> dict[str, Any]:
        if failure["type"] == "ClientError" and not failure["code"].isdigit():  # the words of an S3 service
            return {}
        return look_at(self._request["endpoint_url"], min(5.0, self._request["seconds"] / 4))


def describe_s3(error: Exception) -> dict[str, Any]:
    """Describe an error of boto3: the service's code, or the class of botocore's own."""
    response = getattr(error, "response", None) or {}
    said = response.get("Error") or {}
    meta = response.get("ResponseMetadata") or {}
    headers = meta.get("HTTPHeaders") or {}
    code = str(said.get("Code") or getattr(error, "errno", "") or "")
    return {
        "type": "ClientError" if response else type(error).__name__,
        "code": code,
        "text": _text(said.get("Message") or error),
        "denied": bool(response) and code in _DENIED,
        "status": meta.get("HTTPStatusCode") or 0,
        "region": str(said.get("Region") or headers.get("x-amz-bucket-region") or ""),
        "classes": [one.__name__ for one in type(error).__mro__],
    }


def _extra_args(text: str) -> dict[str, Any]:
    """Read what MLflow gives to each upload, as it does, but at once."""
    if not text:
        return {}
    from boto3.s3.transfer import S3Transfer

    try:
        extra = json.loads(text)
    except ValueError as error:
        raise _ExtraArgs(f"it is no JSON: {error}") from None
    if not isinstance(extra, dict):
        raise _ExtraArgs("it is no JSON object")
    if unknown := sorted(set(extra) - set(S3Transfer.ALLOWED_UPLOAD_ARGS)):
        raise _ExtraArgs(f"boto3 does not know {', '.join(unknown)}")
    return extra


def s3_client(request: dict[str, Any]) -> Any:
    import boto3
    import botocore.config

    if request["ca_file"]:
        ssl.create_default_context(cafile=request["ca_file"])
    seconds = request["seconds"]
    settings = botocore.config.Config(
        connect_timeout=min(5.0, seconds / 4),
        read_timeout=min(20.0, seconds / 3),
        retries={"total_max_attempts": 2},
        # As MLflow does it; of the version only addresses that are signed notice.
        signature_version="s3v4",
        s3={"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")},
    )
    return boto3.client(
        "s3",
        aws_access_key_id=request["access_key_id"] or None,
        aws_secret_access_key=request["secret_access_key"] or None,
        aws_session_token=request["session_token"] or None,
        endpoint_url=request["endpoint_url"] or None,
        region_name=request["region"] or None,
        verify=request["ca_file"] or None,
        config=settings,
    )


def look_at(endpoint: str, seconds: float) -> dict[str, Any]:
    """See for ourselves whether the endpoint's name resolves and whether it speaks TLS, which drivers do not tell."""
    parts = urlsplit(endpoint)
    try:
        address, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    if not address:
        return {}
    try:
        socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return {"unresolved": _text(error)}
    try:
        connection = socket.create_connection((address, port), timeout=seconds)
    except OSError as error:
        return {"unreachable": _text(error)}
    # Only which of both it speaks is asked: nothing is sent, nobody has to be trusted.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connection, context.wrap_socket(connection, server_hostname=address):
            return {"tls": True}
    except (OSError, ValueError):
        return {"tls": False}


def _text(error: object) -> str:
    return " ".join(str(error).split())[:400].rstrip(".")
