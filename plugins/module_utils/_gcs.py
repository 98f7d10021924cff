# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bucket of Google Cloud Storage, its service account and that account's rights have to be like. Pure.

JSON API: https://cloud.google.com/storage/docs/json_api/v1; IAM: https://cloud.google.com/iam/docs/reference/rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ansible_collections.mlops.mlflow.plugins.module_utils._cloud import Call, Resource

# What MLflow does. Google counts overwriting as deleting, and MLflow overwrites: a deleted object comes back from its older version.
PERMISSIONS = (
    "storage.multipartUploads.abort",
    "storage.multipartUploads.create",
    "storage.multipartUploads.listParts",
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
_DAY = 86400
# A label is how Google calls a tag; the name of an environment is one by its own rules.
MARK = "labels.mlflow_environment"
# Of a project, so that all its environments share it: what it is good for, each policy says.
_ROLE = "mlflowArtifacts"


@dataclass(frozen=True)
class Wanted:
    """What a site decided."""

    environment: str
    bucket: str
    prefix: str
    project: str
    location: str
    service_account: str
    kms_key: str = ""
    versioning: bool = True
    soft_delete_days: int = 7
    noncurrent_days: int = 30
    api_url: str = "https://storage.googleapis.com"
    iam_api_url: str = "https://iam.googleapis.com"

    @property
    def email(self) -> str:
        """The service account's name everywhere: its own, or the one it has in its project."""
        if "@" in self.service_account:
            return self.service_account
        return f"{self.service_account}@{self.project}.iam.gserviceaccount.com"


def bucket(wanted: Wanted) -> Resource:
    """Private, encrypted, versioned, and cleaned up by itself."""
    state: dict[str, Any] = {
        "location": wanted.location,
        "labels": {"mlflow_environment": wanted.environment},
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "versioning": {"enabled": wanted.versioning},
        "softDeletePolicy": {"retentionDurationSeconds": wanted.soft_delete_days * _DAY},
        "lifecycle": {"rule": _rules(wanted)},
    }
    if wanted.kms_key:
        state["encryption"] = {"defaultKmsKeyName": wanted.kms_key}
    place = f"{wanted.api_url}/storage/v1/b"
    return Resource(
        name=f"the bucket {wanted.bucket}",
        url=f"{place}/{wanted.bucket}?projection=noAcl",
        wanted=state,
        make=Call("POST", f"{place}?project={quote(wanted.project)}", {"name": wanted.bucket, **state}),
        change=("PATCH", f"{place}/{wanted.bucket}"),
        fixed=("location",),
        mark=MARK,
    )


def _rules(wanted: Wanted) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}]
    if wanted.versioning:
        condition = {"daysSinceNoncurrentTime": wanted.noncurrent_days, "isLive": False}
        rules.append({"action": {"type": "Delete"}, "condition": condition})
    return rules


def objects_url(wanted: Wanted) -> str:
    """Where one object at most is listed: only whether there is one counts."""
    return f"{wanted.api_url}/storage/v1/b/{wanted.bucket}/o?maxResults=1"


def account(wanted: Wanted) -> Resource:
    """The service account of the servers; one that was named with its project is somebody else's."""
    place = f"{wanted.iam_api_url}/v1/projects/{quote(wanted.project)}/serviceAccounts"
    display = f"MLflow {wanted.environment}"
    own = "@" not in wanted.service_account
    body = {"accountId": wanted.service_account, "serviceAccount": {"displayName": display}}
    return Resource(
        name=f"the service account {wanted.email}",
        url=f"{place}/{wanted.email}" if own else f"{wanted.iam_api_url}/v1/projects/-/serviceAccounts/{wanted.email}",
        wanted={"disabled": False},
        make=Call("POST", place, body) if own else None,
        fixed=("disabled",),
    )


def role(wanted: Wanted) -> Resource:
    """A role that can do what MLflow does and nothing else."""
    place = f"{wanted.iam_api_url}/v1/projects/{quote(wanted.project)}/roles"
    state = {"includedPermissions": sorted(PERMISSIONS)}
    made = {"title": "MLflow artifacts", "stage": "GA", **state}
    return Resource(
        name=f"the role {_ROLE}",
        url=f"{place}/{_ROLE}",
        wanted={**state, "deleted": False},
        make=Call("POST", place, {"roleId": _ROLE, "role": made}),
        change=("PATCH", f"{place}/{_ROLE}?updateMask=includedPermissions"),
        fixed=("deleted",),
    )


def public(wanted: Wanted) -> Resource:
    """The policy of a bucket that is only looked at."""
    url = f"{wanted.api_url}/storage/v1/b/{wanted.bucket}/iam?optionsRequestedPolicyVersion=3"
    return Resource(name=f"the policy of the bucket {wanted.bucket}", url=url)


def policy(wanted: Wanted) -> Resource:
    """The role for the account, below the prefix of this bucket only; all other bindings stay."""
    url = f"{wanted.api_url}/storage/v1/b/{wanted.bucket}/iam"
    below = (
        f"resource.name.startsWith('projects/_/buckets/{wanted.bucket}/objects/{wanted.prefix}/')"
        f" || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('{wanted.prefix}/')"
    )
    grant = {
        "role": f"projects/{wanted.project}/roles/{_ROLE}",
        "members": [f"serviceAccount:{wanted.email}"],
        "condition": {"title": f"mlflow {wanted.prefix}", "expression": below},
    }
    return Resource(
        name=f"the policy of the bucket {wanted.bucket}",
        url=f"{url}?optionsRequestedPolicyVersion=3",
        wanted={"version": 3},
        change=("PUT", url),
        whole=("etag", "kind", "resourceId"),
        entries=(grant,),
        entries_at="bindings",
        entries_by=("role", "condition.title"),
        patient=True,
    )


def credentials_problem(text: str) -> str:
    """Why a text is no key of a service account; empty if it is one. MLflow would ask as nobody, without a word."""
    try:
        key = json.loads(text)
    except ValueError:
        return "is not JSON"
    if not isinstance(key, Mapping):
        return "is not a JSON object"
    if key.get("type") != "service_account":
        return f"is of the type {str(key.get('type') or 'none')[:40]}, not service_account"
    missing = [name for name in ("client_email", "private_key", "token_uri") if not key.get(name)]
    return f"lacks {' and '.join(missing)}" if missing else ""
