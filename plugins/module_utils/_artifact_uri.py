# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where artifacts are kept: the one parser of `mlflow_artifact_uri`.

Private to the collection. MLflow takes many a wrong URI without a word and then writes somewhere else: into the working
directory, onto the local root, below the bucket's root. What it would take silently is refused here with a sentence.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

# Known to MLflow, not yet to this collection: refused with another sentence than a typo.
_LATER = (
    "gs",
    "wasbs",
    "abfss",
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
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")


class ArtifactUriError(ValueError):
    """The URI cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class ArtifactUri:
    """A place for artifacts that this collection can look after."""

    kind: str  # "directory" or "s3"
    uri: str  # as MLflow gets it
    path: str = ""  # of a directory
    bucket: str = ""  # of S3
    prefix: str = ""  # of S3, without a slash at its ends

    def to_dict(self) -> dict[str, Any]:
        """As templates see it."""
        return asdict(self)


def parse(uri: str) -> ArtifactUri:
    """Understand `uri` or refuse it.

    Returns:
        A directory (an absolute path) or an S3 place (bucket and prefix).
    """
    _refuse_characters(uri)
    if uri.startswith("/"):
        return _directory(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if ":" in uri:
            wanted = uri.partition(":")[0]
            raise ArtifactUriError(f"'{uri}' lacks the two slashes of a URI: write {wanted}://bucket/prefix.")
        raise ArtifactUriError(
            f"'{uri}' is a relative path, and MLflow would write into its working directory: write an absolute path."
        )
    if scheme != scheme.lower():
        raise ArtifactUriError(f"The scheme of '{uri}' must be in lower case: {scheme.lower()}://{rest}.")
    if scheme == "file":
        raise ArtifactUriError(f"'{uri}': write a directory as an absolute path, without file://.")
    if scheme == "s3":
        return _s3(uri, rest)
    if scheme in _MEANT:
        raise ArtifactUriError(f"MLflow has no scheme {scheme}://; what it calls {_MEANT[scheme]}:// may be meant.")
    if scheme in _LATER:
        raise ArtifactUriError(
            f"{scheme}:// is not looked after by this release of mlops.mlflow: use an absolute path or s3://bucket/prefix."
        )
    raise ArtifactUriError(f"MLflow has no scheme {scheme}://: use an absolute path or s3://bucket/prefix.")


def _refuse_characters(uri: str) -> None:
    if not uri:
        raise ArtifactUriError("The artifact URI is empty: use an absolute path or s3://bucket/prefix.")
    if any(character.isspace() or not character.isprintable() for character in uri):
        raise ArtifactUriError(
            f"'{uri}' holds a blank or an invisible character: MLflow would take it as part of the name."
        )
    for character, effect in {
        "?": "MLflow would drop what follows it",
        "#": "MLflow would drop what follows it",
        "%": "MLflow would take it literally",
        "\\": "MLflow would take it literally",
        '"': "no name of a place may hold it",
        "'": "no name of a place may hold it",
    }.items():
        if character in uri:
            raise ArtifactUriError(f"'{uri}' holds '{character}': {effect}.")


def _refuse_parts(uri: str, parts: list[str]) -> None:
    if "" in parts:
        raise ArtifactUriError(f"'{uri}' holds an empty part ('//'): MLflow writes there and then lists nothing.")
    if "." in parts or ".." in parts:
        raise ArtifactUriError(f"'{uri}' holds a '.' or '..': write the place without detours.")


def _directory(uri: str) -> ArtifactUri:
    path = uri.rstrip("/") or "/"
    if path in _NOT_A_STORE:
        raise ArtifactUriError(
            f"'{uri}' belongs to the operating system: name a folder of MLflow's own, such as /srv/mlflow/artifacts."
        )
    _refuse_parts(uri, path[1:].split("/"))
    for root in _FLEETING:
        if path.startswith(f"{root}/"):
            raise ArtifactUriError(
                f"'{uri}' is below {root}, which is emptied or hidden from services: use a folder such as /srv/mlflow/artifacts."
            )
    return ArtifactUri(kind="directory", uri=path, path=path)


def _s3(uri: str, rest: str) -> ArtifactUri:
    bucket, _slash, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _IPV4.fullmatch(bucket):
        raise ArtifactUriError(
            f"'{uri}' has no valid bucket name ('{bucket}'): 3 to 63 lower-case letters, digits, dots and dashes."
        )
    prefix = prefix.removesuffix("/")
    if not prefix:
        raise ArtifactUriError(
            f"'{uri}' has no prefix, and MLflow would fill the root of the bucket: write s3://{bucket}/mlflow."
        )
    _refuse_parts(uri, prefix.split("/"))
    return ArtifactUri(kind="s3", uri=f"s3://{bucket}/{prefix}", bucket=bucket, prefix=prefix)
