# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that render the policies of an S3 store; the documentation is in the .yml files of the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_policy


def s3_identity_policy(
    place: Mapping[str, Any], delete: bool = False, kms_key: str = "", region: str = ""
) -> dict[str, Any]:
    """Filter `s3_identity_policy`."""
    return _s3_policy.identity_policy(
        place["bucket"],
        place["prefix"],
        delete=delete,
        kms_key=kms_key,
        partition=_s3_policy.partition_of(region),
    )


def s3_bucket_policy(
    existing: Mapping[str, Any], bucket: str, tls_only: bool = True, region: str = ""
) -> dict[str, Any]:
    """Filter `s3_bucket_policy`."""
    return _s3_policy.bucket_policy(bucket, existing, tls_only=tls_only, partition=_s3_policy.partition_of(region))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "s3_identity_policy": s3_identity_policy,
            "s3_bucket_policy": s3_bucket_policy,
            "s3_trust_policy": _s3_policy.trust_policy,
        }
