# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choices about the store of artifacts that contradict each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

_PREFIX = "mlflow_artifact_store_"
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutUserPolicy.html: what the text of a policy may hold.
_POLICY_TEXT = re.compile(r"[\u0020-\u00ff]*")


def problems(place: Mapping[str, Any], choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice that cannot work with the others.

    Args:
        place: where artifacts are kept, as _artifact_uri.py returns it.
        choices: the role's variables by their names without `mlflow_artifact_store_`; no secrets.
        host: the host as sentences call it.
    """
    found: list[str] = []

    def refuse(finding: str, name: str, limit: str, fix: str = "") -> None:
        variable = _PREFIX + name
        found.append(render(finding, host=host, variable=variable, value=choices[name], limit=limit, fix=fix))

    makes = choices["identity"] != "given" or choices["maintenance"]
    if makes and not choices["managed"]:
        name = "maintenance" if choices["identity"] == "given" else "identity"
        refuse(
            "STORE_IDENTITY",
            name,
            "An identity is made only where the store is managed",
            "Set mlflow_artifact_store_managed to true, or leave the identity to those who make it",
        )
    if place["kind"] != "s3":
        return found
    if choices["identity"] == "instance_profile" and choices["access_key_id"]:
        refuse(
            "STORE_IDENTITY",
            "identity",
            "mlflow_artifact_store_access_key_id is set, and MLflow would use that key",
            "Remove the key, or set mlflow_artifact_store_identity to keys or given",
        )
    if makes and not _POLICY_TEXT.fullmatch(place["prefix"]):
        found.append(
            render(
                "STORE_CHOICE",
                host=host,
                variable="mlflow_artifact_uri",
                value=place["uri"],
                limit="A policy cannot name a prefix with such letters",
                fix="Use a prefix of Latin letters",
            )
        )
    if choices["managed"] and choices["s3_tls_only"] and str(choices["endpoint_url"]).startswith("http://"):
        refuse(
            "STORE_PLAIN_HTTP",
            "endpoint_url",
            "The bucket's policy would deny what comes over plain HTTP, also from the servers",
        )
    if choices["s3_kms_key"] and choices["s3_encryption"] != "aws:kms":
        refuse(
            "STORE_CHOICE",
            "s3_kms_key",
            f"mlflow_artifact_store_s3_encryption is {choices['s3_encryption']}, which uses no key of yours",
            "Set it to aws:kms, or leave the key out",
        )
    owner = str(choices["s3_expected_owner"])
    if owner and not re.fullmatch(r"[0-9]{12}", owner):
        refuse(
            "STORE_CHOICE", "s3_expected_owner", "An account is twelve digits", "Write the account's number, in quotes"
        )
    for name in ("s3_abort_days", "s3_noncurrent_days"):
        if int(choices[name]) < 0:
            refuse("STORE_CHOICE", name, "Days go from 1, and 0 means never", "Set a number of days")
    return found


def warnings(place: Mapping[str, Any], choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice that works and that somebody may regret; the same arguments as `problems`."""
    if place["kind"] == "s3" and choices["managed"] and choices["s3_runtime_may_delete"]:
        variable = f"{_PREFIX}s3_runtime_may_delete"
        return [render("STORE_RUNTIME_DELETES", host=host, variable=variable, value=choices["s3_runtime_may_delete"])]
    return []
