# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where artifacts are kept: the one parser of `mlflow_artifact_uri`.

Private to the collection. MLflow takes many a wrong URI without a word and then writes somewhere else: into the working
directory, onto the local root, below the bucket's root. What it would take silently is refused here with a sentence, and where
it can be guessed what was meant, with the URI to write instead.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote

# Known to MLflow and not to this collection: refused with another sentence than a typo.
_FOREIGN = (
    "r2",
    "b2",
    "ftp",
    "sftp",
    "dbfs",
    "hdfs",
    "viewfs",
    "http",
    "https",
    "mlflow-artifacts",
)
# What people write for what MLflow calls otherwise.
_MEANT = {"minio": "s3", "s3a": "s3", "s3n": "s3", "gcs": "gs", "wasb": "wasbs", "abfs": "abfss"}
# Directories that hold an operating system: a store needs a folder of its own below them.
_NOT_A_STORE = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/tmp",
)
# Emptied or hidden from the service: nothing that is meant to stay may lie there.
_FLEETING = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp", "/home", "/root")
_USABLE = "use an absolute path, or a bucket such as s3://bucket/prefix (also gs, wasbs and abfss)"
# What is suggested where nothing of the given value can stay.
_USUAL = "/srv/mlflow/artifacts"
# A bucket's address on the web, as consoles show it: the bucket in the host's name, or first in the path.
_AWS_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9.-]+)\.)?s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
_GCS_HOST = re.compile(r"(?:(?P<bucket>[a-z0-9._-]+)\.)?storage\.(?:cloud\.google|googleapis)\.com")
_AZURE_HOST = re.compile(
    r"(?P<account>[a-z0-9]{3,24})\.(?P<service>blob|dfs)\.(?P<suffix>core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))"
)
# Which of an Azure account's services a scheme speaks with; MLflow takes the name of it from the URI.
_AZURE_SERVICE = {"wasbs": "blob", "abfss": "dfs"}
_S3_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# With dots it is a domain, and longer: https://cloud.google.com/storage/docs/buckets#naming
_GCS_BUCKET = re.compile(
    r"(?=.{3,222}$)[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*"
)
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


class ArtifactUriError(ValueError):
    """The URI cannot be used; the message is one or two sentences, and ends with the suggestion if there is one.

    Attributes:
        reason: why, without the suggestion.
        suggestion: a URI that can be used and may be what was meant; empty if that cannot be guessed.
    """

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(f"{message} Write {suggestion} instead." if suggestion else message)
        self.reason = message
        self.suggestion = suggestion


@dataclass(frozen=True)
class ArtifactUri:
    """A place for artifacts that this collection can look after."""

    kind: str  # "directory", "s3", "gcs" or "azure"
    uri: str  # as MLflow gets it
    path: str = ""  # of a directory
    bucket: str = ""  # or container
    prefix: str = ""  # in the bucket, without a slash at its ends
    account: str = ""  # of Azure's storage
    dns_suffix: str = ""  # of that account, behind the name of the service: "core.windows.net"
    scheme: str = ""  # "s3", "gs", "wasbs" or "abfss"; a directory has none

    def to_dict(self) -> dict[str, Any]:
        """As templates see it."""
        return asdict(self)


def parse(uri: str) -> ArtifactUri:
    """Understand `uri` or refuse it.

    Returns:
        A directory (an absolute path), or a bucket or container with a prefix.

    Raises:
        ArtifactUriError: it cannot be used; `suggestion` holds what may have been meant.
    """
    try:
        return _parse(uri)
    except _Refused as refused:
        raise ArtifactUriError(str(refused), _suggestion(uri)) from None


class _Refused(ValueError):
    """Why a URI cannot be used, before anything is suggested."""


def _parse(uri: str) -> ArtifactUri:
    _refuse_characters(uri)
    if uri.startswith("/"):
        return _directory(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if ":" in uri:
            raise _Refused(f"'{uri}' lacks the two slashes of a URI.")
        raise _Refused(f"'{uri}' is a relative path, and MLflow would write into its working directory.")
    if scheme != scheme.lower():
        raise _Refused(f"The scheme of '{uri}' must be in lower case.")
    if scheme == "file":
        raise _Refused(f"'{uri}': a directory is an absolute path, without file://.")
    if scheme == "s3":
        return _s3(uri, rest)
    if scheme == "gs":
        return _gcs(uri, rest)
    if scheme in _AZURE_SERVICE:
        return _azure(uri, scheme, rest)
    if scheme in _MEANT:
        raise _Refused(f"MLflow has no scheme {scheme}://; what it calls {_MEANT[scheme]}:// may be meant.")
    if scheme in _FOREIGN:
        raise _Refused(f"{scheme}:// is not looked after by mlops.mlflow: {_USABLE}.")
    raise _Refused(f"MLflow has no scheme {scheme}://: {_USABLE}.")


def _refuse_characters(uri: str) -> None:
    if not uri:
        raise _Refused(f"The artifact URI is empty: {_USABLE}.")
    if any(character.isspace() or not character.isprintable() for character in uri):
        raise _Refused(f"{uri!r} holds a blank or an invisible character: MLflow would take it as part of the name.")
    for character, effect in {
        "?": "MLflow would drop what follows it",
        "#": "MLflow would drop what follows it",
        "%": "MLflow would take it literally",
        "\\": "MLflow would take it literally",
        '"': "no name of a place may hold it",
        "'": "no name of a place may hold it",
    }.items():
        if character in uri:
            raise _Refused(f"'{uri}' holds '{character}': {effect}.")


def _refuse_parts(uri: str, parts: list[str]) -> None:
    if "" in parts:
        raise _Refused(f"'{uri}' holds an empty part ('//'): MLflow writes there and then lists nothing.")
    if "." in parts or ".." in parts:
        raise _Refused(f"'{uri}' holds a '.' or '..': a place is named without detours.")


def _directory(uri: str) -> ArtifactUri:
    path = uri.rstrip("/") or "/"
    if path in _NOT_A_STORE:
        raise _Refused(f"'{uri}' belongs to the operating system: a folder of MLflow's own is needed.")
    _refuse_parts(uri, path[1:].split("/"))
    for root in _FLEETING:
        if path.startswith(f"{root}/"):
            raise _Refused(f"'{uri}' is below {root}, which is emptied or hidden from services.")
    return ArtifactUri(kind="directory", uri=path, path=path)


def _prefix(uri: str, prefix: str) -> str:
    """Return the prefix as it begins the names of objects."""
    prefix = prefix.removesuffix("/")
    if not prefix:
        raise _Refused(f"'{uri}' has no prefix, and MLflow would fill the root of the bucket.")
    _refuse_parts(uri, prefix.split("/"))
    for character in "*$":
        if character in prefix:
            raise _Refused(f"'{uri}' holds '{character}': in a policy it would stand for other places as well.")
    return prefix


def _s3(uri: str, rest: str) -> ArtifactUri:
    bucket, _slash, prefix = rest.partition("/")
    if not _S3_BUCKET.fullmatch(bucket) or ".." in bucket or _IPV4.fullmatch(bucket):
        raise _Refused(
            f"'{uri}' has no valid bucket name ('{bucket}'): 3 to 63 lower-case letters, digits, dots and dashes."
        )
    prefix = _prefix(uri, prefix)
    return ArtifactUri(kind="s3", uri=f"s3://{bucket}/{prefix}", bucket=bucket, prefix=prefix, scheme="s3")


def _gcs(uri: str, rest: str) -> ArtifactUri:
    bucket, _slash, prefix = rest.partition("/")
    if not _GCS_BUCKET.fullmatch(bucket) or _IPV4.fullmatch(bucket):
        raise _Refused(
            f"'{uri}' has no valid bucket name ('{bucket}'): 3 to 63 lower-case letters, digits, dots, dashes and underscores."
        )
    prefix = _prefix(uri, prefix)
    return ArtifactUri(kind="gcs", uri=f"gs://{bucket}/{prefix}", bucket=bucket, prefix=prefix, scheme="gs")


def _azure(uri: str, scheme: str, rest: str) -> ArtifactUri:
    authority, _slash, prefix = rest.partition("/")
    container, _at, host = authority.partition("@")
    found = _AZURE_HOST.fullmatch(host)
    if not found or found["service"] != _AZURE_SERVICE[scheme]:
        raise _Refused(
            f"'{uri}' does not name a storage account: {scheme}://container@account.{_AZURE_SERVICE[scheme]}.core.windows.net/prefix"
            " is needed (core.chinacloudapi.cn and core.usgovcloudapi.net are known as well)."
        )
    if not _CONTAINER.fullmatch(container):
        raise _Refused(
            f"'{uri}' has no valid container name ('{container}'): 3 to 63 lower-case letters, digits and single dashes."
        )
    prefix = _prefix(uri, prefix)
    if any(part.endswith(".") for part in prefix.split("/")):
        raise _Refused(f"'{uri}' has a part that ends with a dot, which Azure drops.")
    return ArtifactUri(
        kind="azure",
        uri=f"{scheme}://{container}@{host}/{prefix}",
        bucket=container,
        prefix=prefix,
        account=found["account"],
        dns_suffix=found["suffix"],
        scheme=scheme,
    )


# ----- what may have been meant


def _suggestion(uri: str) -> str:
    """Return a URI that can be used and is as near to the given one as can be told; empty if none is."""
    guessed = _guess(uri)
    try:
        return _parse(guessed).uri
    except _Refused:
        return ""


def _guess(uri: str) -> str:
    """Correct what is known to go wrong; the result may still be refused."""
    uri = "".join(character for character in uri.strip() if character.isprintable() or character.isspace())
    uri = re.sub(r"\s+", "-", re.sub(r"[?#].*", "", re.sub(r"[\"']", "", uri), flags=re.S).strip())
    uri = unquote(uri).replace("\\", "/")
    matched = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)(.*)", uri, flags=re.S)
    if not matched:
        return _guess_directory(uri)
    scheme, rest = matched[1].lower(), matched[3]
    scheme = _MEANT.get(scheme, scheme)
    if scheme == "file":
        return _guess_file(matched[2], rest)
    if scheme in ("http", "https"):
        scheme, rest = _guess_console(rest)
    bucket, _slash, prefix = rest.partition("/")
    bucket = bucket.lower()
    if scheme != "gs":
        bucket = bucket.replace("_", "-")
    if scheme in _AZURE_SERVICE:
        bucket = re.sub(r"\.(blob|dfs)\.core\.", f".{_AZURE_SERVICE[scheme]}.core.", bucket)
        prefix = re.sub(r"\.+(?=/|$)", "", prefix)
    elif scheme not in ("s3", "gs"):
        return ""  # somebody else's scheme
    prefix = _without_detours(re.sub(r"[*$]", "", prefix))
    return f"{scheme}://{bucket}/{prefix or 'mlflow'}"


def _guess_console(rest: str) -> tuple[str, str]:
    """Return scheme and rest of the place whose address on the web this is; empty if it is none that is known."""
    host, _slash, path = rest.partition("/")
    for scheme, known in (("s3", _AWS_HOST), ("gs", _GCS_HOST)):
        if found := known.fullmatch(host.lower()):
            return scheme, f"{found['bucket']}/{path}" if found["bucket"] else path
    if found := _AZURE_HOST.fullmatch(host.lower()):
        container, _slash, path = path.partition("/")
        return ("wasbs" if found["service"] == "blob" else "abfss"), f"{container}@{host}/{path}"
    return "", ""


def _guess_file(slashes: str, rest: str) -> str:
    """Return the path of a file: URI. Behind two slashes stands a host; a short name there was meant as a folder."""
    host, _slash, path = rest.partition("/")
    if len(slashes) == 2 and (host == "localhost" or "." in host):
        return _guess_directory(f"/{path}")
    return _guess_directory(f"/{rest}")


def _guess_directory(path: str) -> str:
    clean = _without_detours(path)
    if not path.startswith("/"):
        return f"/srv/mlflow/{clean}" if clean else _USUAL
    whole = f"/{clean}"
    if any(whole == root or whole.startswith(f"{root}/") for root in _FLEETING):
        return _USUAL
    # Of the system's own directories, those that hold data of others may hold a folder for MLflow.
    if whole in ("/srv", "/mnt", "/media", "/opt", "/var/lib"):
        return f"{whole}/mlflow/artifacts"
    return _USUAL if whole in _NOT_A_STORE else whole


def _without_detours(path: str) -> str:
    """Return the path without empty parts, dots and slashes at its ends."""
    return posixpath.normpath(f"/{path}").strip("/")
