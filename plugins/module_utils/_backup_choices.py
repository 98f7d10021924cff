# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which choices about backups cannot work. Private to the collection; pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

# Safe in the files of both programs, in an environment file and in a URI.
_PASSPHRASE = re.compile(r"[A-Za-z0-9._~-]{20,}")
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+(?: .*)?")
_PRIVATE = re.compile(r"AGE-SECRET-KEY-|PRIVATE KEY")
_BUCKET_WANTED = "Name a bucket (s3://bucket/prefix) or an absolute directory"


def _within(inner: str, outer: str) -> bool:
    return (inner.rstrip("/") + "/").startswith(outer.rstrip("/") + "/")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _overlap(repository: ArtifactUri, artifacts: ArtifactUri) -> bool:
    if repository.kind != artifacts.kind or (repository.kind == "s3" and repository.bucket != artifacts.bucket):
        return False
    mine, theirs = (
        (repository.path, artifacts.path)
        if repository.kind == "directory"
        else (f"/{repository.prefix}", f"/{artifacts.prefix}")
    )
    return _within(mine, theirs) or _within(theirs, mine)


def _place_problem(choices: Mapping[str, Any]) -> str:
    """Say why backups cannot be kept in the repository; empty if they can."""
    if not choices["repository"]:
        return f"It is not set. {_BUCKET_WANTED}"
    try:
        repository = parse(choices["repository"])
    except ArtifactUriError:
        return f"It is no place of its own. {_BUCKET_WANTED}, apart from those of the operating system"
    if repository.kind not in ("directory", "s3"):
        return f"Backups go to no such place. {_BUCKET_WANTED}"
    if repository.kind == "s3":
        endpoint = urlsplit(str(choices["endpoint"]))
        if endpoint.scheme != "https":
            return f"pgBackRest speaks to S3 by TLS only, and the endpoint is {choices['endpoint']}. Use one that begins with https://"
        if _is_address(endpoint.hostname or ""):
            return f"pgBackRest looks for a name in the store's certificate, and the endpoint is {choices['endpoint']}. Use the store's name"
    if _overlap(repository, parse(choices["artifacts"])):
        return f"It and the artifacts ({choices['artifacts']}) lie within each other. Use another bucket, prefix or directory"
    if repository.kind == "directory":
        for path in choices["protected"]:
            if _within(repository.path, path):
                return f"It lies in {path}, which is backed up itself. Use a directory apart from it"
    return ""


def problems(choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice that cannot work.

    Args:
        choices: repository, endpoint, artifacts, protected (directories that are backed up), passphrase, recipients, due_hours, jobs (names),
            wal_warning_mb, wal_limit_mb, keep_days, bucket_days (for which a bucket of artifacts keeps what was deleted; 0 for ever, or nobody
            knows), drill_sample, drill_directory.
        host: the host as the inventory names it.
    """
    found = []

    def refuse(identity: str, name: str, limit: str, value: object = None) -> None:
        found.append(render(identity, host=host, variable=f"mlflow_backup_{name}", value=value, limit=limit))

    if limit := _place_problem(choices):
        refuse("BACKUP_PLACE", "repository", limit, choices["repository"])
    if not _PASSPHRASE.fullmatch(str(choices["passphrase"] or "")):
        refuse("BACKUP_KEY", "passphrase", "It is 20 or more letters, digits and signs of -._~")
    recipients = [str(one).strip() for one in choices["recipients"]]
    if any(_PRIVATE.search(one) for one in recipients):
        refuse(
            "BACKUP_RECIPIENTS",
            "recipients",
            "It holds a private key, which must not be there. Take it out, and make a new one",
        )
    elif not recipients or not all(map(_RECIPIENT.fullmatch, recipients)):
        refuse("BACKUP_RECIPIENTS", "recipients", "It holds public keys, at least one", ", ".join(recipients))
    if unknown := sorted(set(choices["due_hours"]) - set(choices["jobs"])):
        refuse(
            "BACKUP_LIMIT", "due_hours", f"There is no job {', '.join(unknown)}; there are {', '.join(choices['jobs'])}"
        )
    if 0 < int(choices["wal_limit_mb"]) <= int(choices["wal_warning_mb"]):
        limit = f"It is 0 or more than mlflow_backup_wal_warning_mb={choices['wal_warning_mb']}, or WAL is thrown away before anybody is told"
        refuse("BACKUP_LIMIT", "wal_limit_mb", limit, choices["wal_limit_mb"])
    days = int(choices["bucket_days"])
    if parse(choices["artifacts"]).kind == "s3" and 0 < days < int(choices["keep_days"]):
        limit = (
            f"The bucket of artifacts keeps what was deleted for {days} days (mlflow_artifact_store_s3_noncurrent_days), and a restore to an earlier"
            " moment would lack it"
        )
        refuse("BACKUP_LIMIT", "keep_days", limit, choices["keep_days"])
    if int(choices["drill_sample"]) < 0:
        refuse("BACKUP_LIMIT", "drill_sample", "It is a number of artifacts, 0 or more", choices["drill_sample"])
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", choices["drill_directory"]):
        refuse("BACKUP_LIMIT", "drill_directory", "It is an absolute directory", choices["drill_directory"])
    return found


def warnings(repository: str, device: int, others: Iterable[int], host: str) -> list[str]:
    """Return a sentence if a directory is on the disk of what it holds.

    Args:
        repository: the directory.
        device: the number of its file system.
        others: those of what is backed up.
        host: the host as the inventory names it.
    """
    if device not in set(others):
        return []
    limit = "It is on the file system of what it shall protect"
    return [render("BACKUP_SAME_HOST", host=host, variable="mlflow_backup_repository", value=repository, limit=limit)]
