# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access keys of a user of an S3 store: what has to be done, and what a service's error means. Pure.

Codes of IAM: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html; those of other stores as they were met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report

LISTED = "listed"
PRESENT = "present"
ABSENT = "absent"


@dataclass(frozen=True)
class Key:
    """An access key without its secret. Not every store tells when it was made: `created` is then empty."""

    id: str
    active: bool
    created: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as modules do."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What has to be done: `create`, `activate`, `deactivate`, `delete` or nothing; and the keys as they are then."""

    action: str
    key_id: str
    after: tuple[Key, ...]


class KeyMissing(Exception):
    """A key that should be there is not, and no one can make a key of a given id."""


def plan(found: Sequence[Key], *, state: str, key_id: str, active: bool, known: Sequence[str]) -> Plan:
    """Say what leads from the keys that were found to those that are wanted.

    Args:
        found: the user's keys.
        state: LISTED, PRESENT or ABSENT.
        key_id: which key; empty with PRESENT means one besides those of `known`.
        active: whether a key that is present by its id may be used.
        known: ids of keys that do not count as the new one.

    Raises:
        KeyMissing: `key_id` is to be present and is not.
    """
    unchanged = Plan("", key_id, tuple(found))
    if state == LISTED:
        return unchanged
    if state == PRESENT and not key_id:
        new = next((key for key in found if key.id not in known), None)
        return Plan("", new.id, tuple(found)) if new else Plan("create", "", tuple(found))
    before = next((key for key in found if key.id == key_id), None)
    if state == ABSENT:
        return Plan("delete", key_id, tuple(key for key in found if key != before)) if before else unchanged
    if before is None:
        raise KeyMissing(key_id)
    if before.active == active:
        return unchanged
    after = tuple(replace(key, active=active) if key == before else key for key in found)
    return Plan("activate" if active else "deactivate", key_id, after)


_CODES = {
    "NoSuchEntity": "CREDENTIAL_USER",
    "NoSuchEntityException": "CREDENTIAL_USER",
    "LimitExceeded": "CREDENTIAL_KEY_LIMIT",
    "AccessDenied": "CREDENTIAL_ADMIN",
    "AccessDeniedException": "CREDENTIAL_ADMIN",
    "ExpiredToken": "CREDENTIAL_ADMIN",
    "InvalidAccessKeyId": "CREDENTIAL_ADMIN",
    "InvalidClientTokenId": "CREDENTIAL_ADMIN",
    "SignatureDoesNotMatch": "CREDENTIAL_ADMIN",
}
_CLASSES = {
    "ModuleNotFoundError": "CREDENTIAL_LIBRARY",
    "NoCredentialsError": "CREDENTIAL_ADMIN",
    "PartialCredentialsError": "CREDENTIAL_ADMIN",
}


def judge(error: Exception, *, user: str, endpoint: str, host: str) -> dict[str, str]:
    """Return the finding of an error that boto3 or the service raised."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    # A store that has IAM and S3 at one address may answer IAM's questions with an error in the form of S3, without the envelope.
    said = response.get("Error") or response
    code, name = str(said.get("Code") or ""), type(error).__name__
    finding_id = _CODES.get(code) or _CLASSES.get(name, "CREDENTIAL_SERVICE")
    text = " ".join(str(said.get("Message") or error).split())[:400].rstrip(".")
    return report(
        finding_id,
        host=host,
        summary=f"The access keys of the user {user} at {endpoint or 'AWS'}: {code or name}: {text}.",
        evidence=f"{code or name}: {text}",
    )


def missing(key_id: str, *, user: str, host: str) -> dict[str, str]:
    """Return the finding of a key that should be there."""
    return report("CREDENTIAL_KEY", host=host, summary=f"The user {user} has no access key {key_id}.")
