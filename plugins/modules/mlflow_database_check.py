#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check a PostgreSQL database for MLflow; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _database_probe, _probe
from ansible_collections.mlops.mlflow.plugins.module_utils._database import (
    Judgement,
    Wanted,
    judge,
    judge_uri,
    secrets_of,
)

ARGUMENTS: dict[str, Any] = {
    **_check.OPTIONS,
    **_check.SANDBOX,
    "uri": {"type": "str", "required": True, "no_log": True},
    "needs": {"type": "str", "choices": ["rows", "schema"], "default": "rows"},
    "schema": {"type": "str", "choices": ["tracking", "auth"], "default": "tracking"},
    "expected_revision": {"type": "str", "default": ""},
    "schema_may_be_missing": {"type": "bool", "default": False},
    "workspaces": {"type": "bool", "default": True},
    "environment": {"type": "str", "default": ""},
    "connections": {"type": "int", "default": 0},
    "require_tls": {"type": "bool", "default": True},
    "indexes": {"type": "bool", "default": True},
    "max_latency_ms": {"type": "float", "default": 20.0},
    "max_transaction_seconds": {"type": "int", "default": 600},
    "max_idle_seconds": {"type": "int", "default": 60},
    "max_lock_wait_seconds": {"type": "int", "default": 5},
}


def check(options: Mapping[str, Any], host: str, seconds: float) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Look and judge: the findings, and what is known about the database."""
    parameters, findings = judge_uri(options["uri"], host)
    if findings:
        return findings, {}
    wanted = Wanted(**{option.name: options[option.name] for option in fields(Wanted)})
    # The probe answers with what it knows a little before it would be ended.
    until = time.time() + seconds - min(1.0, seconds / 4)
    request = {"parameters": parameters, "schema": wanted.schema, "until": until}
    outcome = _probe.run(_database_probe, request, seconds=seconds, sandbox=options["sandbox"])
    if silence := _check.no_answer(outcome, seconds):
        judgement = Judgement(host, secrets_of(parameters))
        judgement.add("DATABASE_CHECK", "The check gave no answer.", evidence=silence)
        return judgement.findings, {}
    return judge(outcome.answer, wanted, parameters, host)


def main() -> None:
    """Check and report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host, seconds = _check.begin(module)
    findings, database = check(module.params, host, seconds)
    _check.finish(module, findings, database=database)


if __name__ == "__main__":
    main()
