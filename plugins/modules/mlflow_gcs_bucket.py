#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a bucket of Google Cloud Storage for MLflow, or compare it; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _gcs
from ansible_collections.mlops.mlflow.plugins.module_utils._cloud_client import OPTIONS, Stopped, Work, begin, finish


def _settle(work: Work, wanted: _gcs.Wanted) -> None:
    """One resource after the other; each needs those before it."""

    def is_empty() -> bool:
        return not (work.client.ask("GET", _gcs.objects_url(wanted)) or {}).get("items")

    there = work.settle(_gcs.bucket(wanted), is_empty)
    if not work.managed:
        # Whose rights are whose is the business of those who look after it; that everybody has some is not.
        if there:
            work.settle(_gcs.public(wanted))
        return
    work.settle(_gcs.account(wanted))
    work.settle(_gcs.role(wanted))
    if there or not work.check_mode:
        work.settle(_gcs.policy(wanted))
    else:
        work.announce(_gcs.policy(wanted))


def main() -> None:
    """Look, decide, tell, report."""
    text: dict[str, Any] = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "bucket": {"type": "str", "required": True},
            "project": text,
            "location": text,
            "service_account": text,
            "kms_key": {**text, "no_log": False},
            "versioning": {"type": "bool", "default": True},
            "soft_delete_days": {"type": "int", "default": 7},
            "noncurrent_days": {"type": "int", "default": 30},
            "api_url": {"type": "str", "default": "https://storage.googleapis.com"},
            "iam_api_url": {"type": "str", "default": "https://iam.googleapis.com"},
        },
        supports_check_mode=True,
        required_if=[("managed", True, ("project", "location", "service_account"))],
    )
    work = begin(module)
    wanted = _gcs.Wanted(**{one.name: module.params[one.name] for one in fields(_gcs.Wanted)})
    try:
        _settle(work, wanted)
    except Stopped:
        finish(module, work, service_account=wanted.email)
    finish(module, work, service_account=wanted.email)


if __name__ == "__main__":
    main()
