# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bucket is like, against what it shall be like, from what _s3_bucket_probe.py saw. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_policy
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report

# The tag with which a bucket carries the name of its environment.
TAG = "mlops-mlflow-environment"
# The rule of the bucket's lifecycle that is ours; those of others stay.
RULE = "mlops-mlflow"
# What a server may lack, and a site may demand.
FEATURES = (
    "encryption",
    "versioning",
    "ownership",
    "public_access_block",
    "policy",
    "lifecycle",
    "tags",
    "expected_owner",
)
_TOLD = {
    "objects": "its objects",
    "region": "its region",
    "encryption": "default encryption",
    "versioning": "versions",
    "ownership": "ownership of objects",
    "public_access_block": "a block of public access",
    "policy": "policies of buckets",
    "lifecycle": "lifecycle rules",
    "tags": "tags of buckets",
    "expected_owner": "the guard of the bucket's owner",
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
_OLD_REGIONS = {"EU": "eu-west-1"}
_FIRST_REGION = "us-east-1"
# Settings whose finding is the whole difference.
_SETTINGS = {
    "encryption": "STORE_ENCRYPTION",
    "versioning": "STORE_VERSIONING",
    "ownership": "STORE_OWNERSHIP",
    "public_access_block": "STORE_PUBLIC",
}
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


@dataclass(frozen=True)
class Wanted:
    """What a bucket shall be like; no secrets."""

    host: str
    bucket: str
    environment: str
    managed: bool = False  # the collection may change it
    adopt: bool = False  # also one that is not empty and carries no environment
    endpoint: str = ""
    region: str = ""
    expected_owner: str = ""
    encryption: str = "AES256"  # "aws:kms", or "none": not looked at
    kms_key: str = ""
    versioning: bool = True
    tls_only: bool = True
    abort_days: int = 7  # 0: not looked at
    noncurrent_days: int = 30  # 0: not looked at
    tags: Mapping[str, str] = field(default_factory=dict)  # beside the environment's
    required: tuple[str, ...] = ()


def describe(answer: Mapping[str, Any], endpoint: str) -> dict[str, Any]:
    """Return the bucket as modules return it: each feature by its name, empty where it is not set."""
    read = answer["read"]
    region = str(read.get("region") or "")
    if not region and answer["exists"] and not endpoint and "region" not in answer["denied"]:
        region = _FIRST_REGION  # which AWS alone calls by no name
    return {
        "exists": answer["exists"],
        "empty": answer["empty"],
        "region": _OLD_REGIONS.get(region, region),
        "encryption": read.get("encryption") or {"algorithm": "", "kms_key": ""},
        "versioning": read.get("versioning") or "",
        "ownership": read.get("ownership") or "",
        "public_access_block": read.get("public_access_block") or {},
        "policy": read.get("policy") or {},
        "lifecycle": read.get("lifecycle") or [],
        "tags": read.get("tags") or {},
        "lacking": list(answer["lacking"]),
        "denied": list(answer["denied"]),
    }


def judge(answer: Mapping[str, Any], wanted: Wanted) -> list[dict[str, str]]:
    """Return what is wrong with a bucket that could be looked at; nothing about one that is yet to be made."""
    if not answer["exists"]:
        if wanted.managed:
            return []
        return [_say("STORE_MISSING", wanted, "does not exist")]
    bucket = describe(answer, wanted.endpoint)
    return [*_whose(answer, bucket, wanted), *_what_it_cannot(answer, wanted), *_settings(answer, bucket, wanted)]


def changes(answer: Mapping[str, Any], wanted: Wanted) -> list[str]:
    """Return what has to be changed until the bucket is as wanted: names of features, or `bucket` for one that is missing.

    What the server lacks is left out. Versions are never suspended and encryption is never removed.
    """
    if not answer["exists"]:
        return ["bucket"]
    bucket = describe(answer, wanted.endpoint)
    policy = _s3_policy.bucket_policy(
        wanted.bucket,
        bucket["policy"],
        tls_only=wanted.tls_only,
        partition=_s3_policy.partition_of(bucket["region"] or wanted.region),
    )
    tags = {**wanted.tags, TAG: wanted.environment}
    different = {
        "policy": not _s3_policy.same(policy, bucket["policy"]),
        "tags": any(bucket["tags"].get(name) != value for name, value in tags.items()),
        "lifecycle": _our_rule(bucket) != {"abort": wanted.abort_days, "noncurrent": wanted.noncurrent_days},
    }
    found = {finding["id"] for finding in _settings(answer, bucket, wanted)}
    different.update((feature, finding in found) for feature, finding in _SETTINGS.items())
    return [name for name in FEATURES if different.get(name) and name not in answer["lacking"]]


def _our_rule(bucket: Mapping[str, Any]) -> dict[str, int]:
    """Return the days of our own rule; 0 where it has none."""
    rules = [one for one in bucket["lifecycle"] if one.get("ID") == RULE and one.get("Status") == "Enabled"]
    rule: Mapping[str, Any] = rules[0] if rules else {}
    return {
        "abort": int((rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation") or 0),
        "noncurrent": int((rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays") or 0),
    }


def _say(finding_id: str, wanted: Wanted, text: str, *, evidence: str = "", fix: str = "") -> dict[str, str]:
    return report(finding_id, host=wanted.host, summary=f"s3://{wanted.bucket} {text}.", evidence=evidence, fix=fix)


def _whose(answer: Mapping[str, Any], bucket: Mapping[str, Any], wanted: Wanted) -> Iterator[dict[str, str]]:
    """Find out whether it may be touched."""
    if answer["foreign"]:
        yield _say("STORE_OWNER", wanted, f"does not belong to the account {wanted.expected_owner}")
    carried = str(bucket["tags"].get(TAG, ""))
    if carried not in ("", wanted.environment):
        yield _say(
            "STORE_ENVIRONMENT", wanted, f"belongs to the environment {carried!r}, not to {wanted.environment!r}"
        )
    elif wanted.managed and not carried and not bucket["empty"] and not wanted.adopt:
        what = "holds objects" if bucket["empty"] is False else "does not show whether it holds objects"
        yield _say("STORE_FOREIGN", wanted, f"{what} and carries no environment (tag {TAG})")
    if wanted.region and bucket["region"] not in ("", wanted.region):
        yield _say(
            "STORE_REGION",
            wanted,
            f"is in the region {bucket['region']}, not in {wanted.region}",
            fix=f"Set mlflow_artifact_store_region to {bucket['region']}, or use another bucket.",
        )


def _what_it_cannot(answer: Mapping[str, Any], wanted: Wanted) -> Iterator[dict[str, str]]:
    """Name what the server has not, and what we may not see."""
    for feature in answer["lacking"]:
        named = f"is on a server without {_TOLD[feature]} ({feature})"
        yield _say("STORE_REQUIRED" if feature in wanted.required else "STORE_LACKING", wanted, named)
    for feature in answer["denied"]:
        named = f"does not let this identity see {_TOLD[feature]} ({feature})"
        yield _say("STORE_DENIED" if wanted.managed else "STORE_UNSEEN", wanted, named)
    for feature, error in answer["errors"].items():
        named = f"gives no answer about {_TOLD[feature]} ({feature})"
        yield _say("STORE_DENIED" if wanted.managed else "STORE_UNSEEN", wanted, named, evidence=error)


def _settings(answer: Mapping[str, Any], bucket: Mapping[str, Any], wanted: Wanted) -> Iterator[dict[str, str]]:
    """Compare what could be read."""
    unknown = {*answer["lacking"], *answer["denied"], *answer["errors"]}
    found = bucket["encryption"]
    if "encryption" not in unknown and wanted.encryption != "none":
        if found["algorithm"] != wanted.encryption:
            yield _say(
                "STORE_ENCRYPTION",
                wanted,
                f"encrypts new objects with {found['algorithm'] or 'nothing'}, not with {wanted.encryption}",
            )
        elif wanted.kms_key and found["kms_key"] != wanted.kms_key:
            yield _say(
                "STORE_ENCRYPTION",
                wanted,
                f"encrypts with the key {found['kms_key'] or 'of AWS'}, not {wanted.kms_key}",
            )
    if "versioning" not in unknown and wanted.versioning and bucket["versioning"] != "Enabled":
        yield _say("STORE_VERSIONING", wanted, f"keeps no versions ({bucket['versioning'] or 'never enabled'})")
    if "ownership" not in unknown and bucket["ownership"] != "BucketOwnerEnforced":
        yield _say(
            "STORE_OWNERSHIP", wanted, f"leaves access lists of objects in force ({bucket['ownership'] or 'not set'})"
        )
    if "public_access_block" not in unknown:
        open_doors = [name for name in _BLOCKS if not bucket["public_access_block"].get(name)]
        if open_doors:
            yield _say("STORE_PUBLIC", wanted, f"may be made public ({', '.join(open_doors)} off)")
    if (
        "policy" not in unknown
        and wanted.tls_only
        and not _s3_policy.denies_plain_http(bucket["policy"], wanted.bucket)
    ):
        yield _say("STORE_TLS", wanted, "can be used without TLS")
    if "lifecycle" not in unknown:
        yield from _lifecycle(bucket, wanted)
    if (
        "tags" not in unknown
        and wanted.managed
        and bucket["tags"].get(TAG) is None
        and (bucket["empty"] or wanted.adopt)
    ):
        yield _say("STORE_TAG", wanted, f"carries no environment yet (tag {TAG})")


def _lifecycle(bucket: Mapping[str, Any], wanted: Wanted) -> Iterator[dict[str, str]]:
    """Look for rules over the whole bucket, whoever wrote them, that clean up at least as soon as wanted."""
    rules = [rule for rule in bucket["lifecycle"] if rule.get("Status") == "Enabled" and not _narrowed(rule)]
    days = [
        (
            "AbortIncompleteMultipartUpload",
            "DaysAfterInitiation",
            wanted.abort_days,
            "parts of uploads that nobody ended",
        ),
        ("NoncurrentVersionExpiration", "NoncurrentDays", wanted.noncurrent_days, "versions that were replaced"),
    ]
    for action, name, limit, what in days:
        found = [int((rule.get(action) or {}).get(name) or 0) for rule in rules]
        if limit and not any(0 < one <= limit for one in found):
            yield _say("STORE_LIFECYCLE", wanted, f"keeps {what} for longer than {limit} days")


def _narrowed(rule: Mapping[str, Any]) -> bool:
    """Whether a rule is for some objects only."""
    condition = rule.get("Filter") or {}
    return bool(rule.get("Prefix") or condition.get("Prefix") or set(condition) - {"Prefix"})
