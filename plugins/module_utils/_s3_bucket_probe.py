# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read everything about a bucket that matters for artifacts, and change nothing; judged by _s3_bucket.py.

Runs apart from the module (see _probe.py) with boto3, and with _artifact_probe.py, which makes the client and describes failures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_probe import describe_s3, look_at, s3_client

# How services say that they do not have a feature.
_LACKING = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented", "501", "405"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "403"})
# How they say that it was never set.
_UNSET = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "NoSuchTagSetError",
        "OwnershipControlsNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
# An account that nobody has: a server that lets it pass as the bucket's owner does not look.
_NOBODYS_ACCOUNT = "000000000000"


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Look at one bucket.

    Args:
        request: `bucket`, `expected_owner` (an account, or empty), and what _artifact_probe.py needs for its client.

    Returns:
        `exists`; `empty` (None if that may not be seen); `read`, what each feature is set to, without those that are not set; `lacking`,
        features that the server does not have; `denied`, those that may not be read; `errors`, what else became of reading one;
        `foreign`, whether it belongs to another account than the expected one; and `failures` as _artifact_probe.py tells them.
    """
    answer: dict[str, Any] = {
        "exists": False,
        "empty": None,
        "foreign": False,
        "steps": [],
        "found": "",
        "user": "",
        # Of what an identity can do beyond its task: an administrator can do everything.
        "wide": False,
        "deletable": False,
        "others": [],
        "read": {},
        "lacking": [],
        "denied": [],
        "errors": {},
        "failures": [],
    }
    try:
        client = s3_client(request)
    except Exception as error:  # a missing library, an impossible endpoint, an unreadable file of authorities
        answer["failures"].append({"step": "prepare", **describe_s3(error)})
        return answer
    try:
        listed = client.list_objects_v2(Bucket=request["bucket"], MaxKeys=1)
        answer["empty"] = not listed.get("Contents")
    except Exception as error:
        failure = {"step": "look", **describe_s3(error)}
        if failure["code"] == "NoSuchBucket":
            return answer
        # Who may not list may still be allowed to read the settings.
        if failure["code"] not in _DENIED:
            answer["failures"].append(failure)
            if failure["type"] != "ClientError" or failure["code"].isdigit():
                answer.update(look_at(request["endpoint_url"], min(5.0, request["seconds"] / 4)))
            return answer
        answer["denied"].append("objects")
    answer["exists"] = True
    for feature, read in _features(client, request["bucket"]).items():
        _read(feature, read, answer)
    if request["expected_owner"]:
        _ask_owner(client, request, answer)
    return answer


def _read(feature: str, read: Callable[[], Any], answer: dict[str, Any]) -> None:
    """Read one feature into the answer."""
    try:
        value = read()
    except Exception as error:
        failure = {"step": "look", **describe_s3(error)}
        if failure["code"] in _LACKING:
            answer["lacking"].append(feature)
        elif failure["code"] in _DENIED:
            answer["denied"].append(feature)
        elif failure["code"] not in _UNSET:
            answer["errors"][feature] = f"{failure['code'] or failure['type']}: {failure['text']}"
        return
    if value:
        answer["read"][feature] = value


def _features(client: Any, bucket: str) -> Mapping[str, Callable[[], Any]]:
    """Return what reads each feature."""

    def encryption() -> dict[str, str]:
        rules = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        default = rules[0].get("ApplyServerSideEncryptionByDefault") or {} if rules else {}
        return {"algorithm": default.get("SSEAlgorithm", ""), "kms_key": default.get("KMSMasterKeyID", "")}

    def ownership() -> str:
        rules = client.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        return str(rules[0]["ObjectOwnership"]) if rules else ""

    return {
        "region": lambda: client.get_bucket_location(Bucket=bucket).get("LocationConstraint"),
        "encryption": encryption,
        "versioning": lambda: client.get_bucket_versioning(Bucket=bucket).get("Status"),
        "ownership": ownership,
        "public_access_block": lambda: client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "policy": lambda: json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"]),
        "lifecycle": lambda: json.loads(
            json.dumps(client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"], default=str)
        ),
        "tags": lambda: {one["Key"]: one["Value"] for one in client.get_bucket_tagging(Bucket=bucket)["TagSet"]},
    }


def _ask_owner(client: Any, request: Mapping[str, Any], answer: dict[str, Any]) -> None:
    """Find out whether the bucket is the expected account's, and whether the server looks at that at all."""

    def passes(account: str) -> bool:
        try:
            client.head_bucket(Bucket=request["bucket"], ExpectedBucketOwner=account)
        except Exception:
            return False
        return True

    if not passes(request["expected_owner"]):
        # Who may not look at all is no stranger for it.
        answer["foreign"] = "objects" not in answer["denied"]
    elif passes(_NOBODYS_ACCOUNT):
        answer["lacking"].append("expected_owner")
