#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a bucket and judge its settings; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _artifact_clouds,
    _artifact_probe,
    _artifacts,
    _check,
    _probe,
    _s3_access,
    _s3_bucket,
    _s3_bucket_probe,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import CRITICAL

# What the probe is told as it is.
_TOLD = (
    "bucket",
    "expected_owner",
    *_s3_access.OPTIONS,
)
# What is wanted, by the same names.
_WANTED = (
    "bucket",
    "environment",
    "managed",
    "adopt",
    "region",
    "expected_owner",
    "encryption",
    "kms_key",
    "versioning",
    "tls_only",
    "abort_days",
    "noncurrent_days",
    "tags",
)


def main() -> None:
    """Ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            **_s3_access.OPTIONS,
            "bucket": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "expected_owner": {"type": "str", "default": ""},
            "managed": {"type": "bool", "default": False},
            "adopt": {"type": "bool", "default": False},
            "encryption": {"type": "str", "choices": ["none", "AES256", "aws:kms"], "default": "AES256"},
            "kms_key": {"type": "str", "default": "", "no_log": False},
            "versioning": {"type": "bool", "default": True},
            "tls_only": {"type": "bool", "default": True},
            "abort_days": {"type": "int", "default": 7},
            "noncurrent_days": {"type": "int", "default": 30},
            "tags": {"type": "dict", "default": {}},
            "required": {
                "type": "list",
                "elements": "str",
                "choices": list(_s3_bucket.FEATURES),
                "default": [],
            },
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given = module.params
    # A part of a second less, so that the probe's own bounds come first and tell more.
    request: dict[str, Any] = {**{name: given[name] for name in _TOLD}, "seconds": max(seconds - 1, 1)}
    outcome = _probe.run(_s3_bucket_probe, request, seconds=seconds, libraries=[_artifact_clouds, _artifact_probe])
    place = ArtifactUri("s3", f"s3://{given['bucket']}", bucket=given["bucket"], scheme="s3")
    asked = _artifacts.Asked(
        host, place, given["environment"], given["endpoint_url"], given["region"], given["ca_file"]
    )
    nothing: dict[str, Any] = {"bucket": {}, "changes": [], "notes": []}
    if reason := _check.no_answer(outcome, seconds):
        _check.finish(module, [_artifacts.silent(reason, asked)], **nothing)
    if outcome.answer["failures"]:
        _check.finish(module, _artifacts.judge(outcome.answer, asked), **nothing)
    wanted = _s3_bucket.Wanted(
        host=host,
        endpoint=given["endpoint_url"],
        required=tuple(given["required"]),
        **{name: given[name] for name in _WANTED},
    )
    findings = _s3_bucket.judge(outcome.answer, wanted)
    _check.finish(
        module,
        findings,
        notes=[_check.sentence(finding) for finding in findings if finding["severity"] != CRITICAL],
        bucket=_s3_bucket.describe(outcome.answer, wanted.endpoint),
        changes=_s3_bucket.changes(outcome.answer, wanted),
    )


if __name__ == "__main__":
    main()
