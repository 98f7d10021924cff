# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""List, put, read and overwrite one fixed object of a place for artifacts, and say what happened; judged by _artifacts.py.

Runs apart from the module (see _probe.py) with Python's standard library, and boto3 for S3. The object holds the name of the
environment, so that two environments cannot share a place unnoticed: where another name stands, nothing is written.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import ssl
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Below the prefix or the directory. What else lies there is never touched.
MARKER = ".mlops-mlflow/environment"
# More than any name; a longer object is somebody else's.
_NAME_BYTES = 200


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Ask one place.

    Args:
        request: `kind` ("directory" or "s3"), `path` or `bucket` and `prefix`, `environment` (its name), `write` (false: list and
            read only), `seconds` (of the whole probe), and for S3 `access_key_id`, `secret_access_key`, `session_token`,
            `endpoint_url`, `region`, `ca_file`, each empty to leave it to what the host offers.

    Returns:
        `steps` that were done; `found`, the name that stood there before; `failures`, each with `step`, `type`, `code` and
        `text`; `user`, who asked; and facts that help to judge a failure.
    """
    answer: dict[str, Any] = {"steps": [], "failures": [], "found": "", "user": _user()}
    if request["kind"] == "directory":
        _ask_directory(request, answer)
    else:
        _ask_s3(request, answer)
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
) -> None:
    """Go through the steps that both kinds of places have.

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
            {"step": what, "type": "Different", "code": "", "text": got[:80].decode(errors="replace")}
        )

    listed = step("list")
    before = step("read") if listed != b"" else b""
    if before:
        answer["found"] = before[:_NAME_BYTES].decode(errors="replace").strip()
    # Without a look at what stands there nothing may be written.
    if before is None or (answer["found"] not in ("", request["environment"])) or not request["write"]:
        return
    for what in ("put", "overwrite"):
        if step(what) is None:
            return
        got = step("read")
        if got is not None and got != name:
            differs("compare", got)
        if what == "put" and listed is not None and step("list") == b"":
            differs("list", b"")


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

    def failed(what: str, error: Exception) -> bool:
        number = getattr(error, "errno", None)
        answer["failures"].append(
            {
                "step": what,
                "type": type(error).__name__,
                "code": number or "",
                "text": _text(error),
            }
        )
        return False

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


# ----- S3


def _ask_s3(request: dict[str, Any], answer: dict[str, Any]) -> None:
    key = f"{request['prefix']}/{MARKER}"
    bucket = request["bucket"]

    def failed(what: str, error: Exception) -> bool:
        failure = _failure(what, error)
        answer["failures"].append(failure)
        # Of rights, each is tried; everything else would only be met again.
        return (
            failure["type"] == "ClientError" and failure["code"] in ("AccessDenied", "403") and what in ("list", "read")
        )

    try:
        client = _client(request)
    except Exception as error:  # a missing library, an impossible endpoint, an unreadable file of authorities
        failed("prepare", error)
        answer["python"] = sys.executable
        return

    def act(what: str) -> bytes:
        if what == "list":
            listed = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
            return b"".join(entry["Key"].encode() for entry in listed.get("Contents") or [])
        if what == "read":
            try:
                return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read(_NAME_BYTES + 1))
            except client.exceptions.NoSuchKey:
                raise FileNotFoundError from None
        client.put_object(Bucket=bucket, Key=key, Body=request["environment"].encode())
        return b"done"

    try:
        _walk(answer, request, act, failed)
    except _Stop:
        last = answer["failures"][-1]
        if last["type"] != "ClientError" or last["code"].isdigit():  # not the words of an S3 service
            answer.update(_look_at(request["endpoint_url"], min(5.0, request["seconds"] / 4)))


def _client(request: dict[str, Any]) -> Any:
    import boto3
    import botocore.config

    if request["ca_file"]:
        ssl.create_default_context(cafile=request["ca_file"])
    seconds = request["seconds"]
    settings = botocore.config.Config(
        connect_timeout=min(5.0, seconds / 4),
        read_timeout=min(20.0, seconds / 3),
        retries={"total_max_attempts": 2},
        # As MLflow does it.
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


def _failure(what: str, error: Exception) -> dict[str, Any]:
    """Describe an error of boto3: the service's code, or the class of botocore's own."""
    response = getattr(error, "response", None) or {}
    said = response.get("Error") or {}
    meta = response.get("ResponseMetadata") or {}
    headers = meta.get("HTTPHeaders") or {}
    return {
        "step": what,
        "type": "ClientError" if response else type(error).__name__,
        "code": str(said.get("Code") or getattr(error, "errno", "") or ""),
        "text": _text(said.get("Message") or error),
        "status": meta.get("HTTPStatusCode") or 0,
        "region": str(said.get("Region") or headers.get("x-amz-bucket-region") or ""),
        "classes": [one.__name__ for one in type(error).__mro__],
    }


def _look_at(endpoint: str, seconds: float) -> dict[str, Any]:
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
