# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policies of an S3 store, all of them rendered here. Pure.

What MLflow needs was found by taking one right away at a time from a server that enforces: listing is needed to download as well, and
aborting belongs to uploads in parts. Deleting is left to the identity of maintenance.
Statements that are ours carry names that begin with `MlopsMlflow`: what others wrote into the bucket's policy stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Policy = dict[str, Any]
Statement = dict[str, Any]

OURS = "MlopsMlflow"
_VERSION = "2012-10-17"
_PUT_GET = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
_DELETE = "s3:DeleteObject"


def partition_of(region: str) -> str:
    """Return the part of AWS's world that a region is in, as names of resources begin with it."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def bucket_arn(bucket: str, partition: str = "aws") -> str:
    """Return the name of the bucket in policies."""
    return f"arn:{partition}:s3:::{bucket}"


def identity_policy(
    bucket: str, prefix: str, *, delete: bool = False, kms_key: str = "", partition: str = "aws"
) -> Policy:
    """Return what an identity may do: put, get and list below the prefix, and nothing else.

    Args:
        bucket: the bucket.
        prefix: where MLflow keeps its artifacts in it; neither empty nor with wildcards (_artifact_uri.py refuses both).
        delete: also delete objects, as maintenance does.
        kms_key: ARN of the key that encrypts the bucket, if it is one of the site's own.
        partition: "aws", "aws-cn" or "aws-us-gov".
    """
    statements: list[Statement] = [
        {
            "Sid": f"{OURS}Objects",
            "Effect": "Allow",
            "Action": sorted([*_PUT_GET, *([_DELETE] if delete else [])]),
            "Resource": f"{bucket_arn(bucket, partition)}/{prefix}/*",
        },
        {
            "Sid": f"{OURS}List",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": bucket_arn(bucket, partition),
            "Condition": {"StringLike": {"s3:prefix": [prefix, f"{prefix}/*"]}},
        },
    ]
    if kms_key:
        statements.append(
            {
                "Sid": f"{OURS}Key",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": kms_key,
            }
        )
    return {"Version": _VERSION, "Statement": statements}


def trust_policy(service: str) -> Policy:
    """Return who may take the role of an instance profile."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": _VERSION, "Statement": [statement]}


def bucket_policy(bucket: str, existing: Mapping[str, Any], *, tls_only: bool, partition: str = "aws") -> Policy:
    """Return the policy that the bucket shall have: ours, and the statements of others as they are; empty if there are none.

    Args:
        bucket: the bucket.
        existing: its policy now; empty if it has none.
        tls_only: deny whatever does not come over TLS.
        partition: "aws", "aws-cn" or "aws-us-gov".
    """
    statements = [one for one in _statements(existing) if not str(one.get("Sid", "")).startswith(OURS)]
    if tls_only:
        arn = bucket_arn(bucket, partition)
        statements.append(
            {
                "Sid": f"{OURS}TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        )
    if not statements:
        return {}
    kept = {"Id": existing["Id"]} if existing.get("Id") else {}
    return {"Version": existing.get("Version") or _VERSION, **kept, "Statement": statements}


def denies_plain_http(policy: Mapping[str, Any], bucket: str) -> bool:
    """Tell whether the policy refuses everybody whatever does not come over TLS, whoever wrote it."""
    return any(
        one.get("Effect") == "Deny"
        and _everybody(one.get("Principal"))
        and {"s3:*", "*"} & set(_listed(one.get("Action")))
        and _covers(_listed(one.get("Resource")), bucket)
        and _is_plain(one.get("Condition"))
        for one in _statements(policy)
    )


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two policies say the same: servers give a list of one back as a text, and other orders."""
    return bool(_normal(one) == _normal(other))


def _statements(policy: Mapping[str, Any]) -> list[Statement]:
    said = policy.get("Statement") or []
    return [dict(one) for one in ([said] if isinstance(said, Mapping) else said)]


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in value]


def _everybody(principal: Any) -> bool:
    return "*" in (_listed(principal.get("AWS")) if isinstance(principal, Mapping) else _listed(principal))


def _covers(resources: Sequence[str], bucket: str) -> bool:
    """Whether bucket and objects are meant, in any partition."""
    names = {resource.partition(":s3:::")[2] or resource for resource in resources}
    return "*" in names or {bucket, f"{bucket}/*"} <= names or f"{bucket}*" in names


def _is_plain(condition: Any) -> bool:
    """Whether exactly what does not come over TLS is meant."""
    return bool(_normal(_lowered(condition)) == {"bool": {"aws:securetransport": "false"}})


def _lowered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key).lower(): _lowered(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lowered(one) for one in value]
    return str(value).lower()


def _normal(value: Any) -> Any:
    """Return a form in which only what a policy says counts: a text is the same as a list of it, and lists have no order."""
    if isinstance(value, Mapping):
        return {key: _normal(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        entries = sorted((_normal(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
        return entries[0] if len(entries) == 1 else entries
    return str(value).lower() if isinstance(value, bool) else value
