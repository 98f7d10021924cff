#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prove that MLflow can use a place for artifacts; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_probe, _artifacts, _check, _probe
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri, ArtifactUriError, parse

# What the probe is told as it is.
_TOLD = (
    "environment",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "endpoint_url",
    "region",
    "ca_file",
)


def _ask(module: AnsibleModule, place: ArtifactUri, seconds: float) -> _probe.Outcome:
    """Ask as the options say."""
    given = module.params
    request: dict[str, Any] = {**place.to_dict(), **{name: given[name] for name in _TOLD}}
    # A part of a second less, so that the probe's own bounds come first and tell more.
    request.update(write=not module.check_mode, seconds=max(seconds - 1, 1))
    # A store that is new today is not yet open in the sandbox of a server that was configured yesterday.
    opened = [f"ReadWritePaths=-{place.path}"] if place.kind == "directory" else []
    return _probe.run(
        _artifact_probe, request, seconds=seconds, sandbox=given["sandbox"], user=given["user"], properties=opened
    )


def main() -> None:
    """Parse, ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            **_check.SANDBOX,
            "uri": {"type": "str", "required": True},
            "environment": {"type": "str", "required": True},
            "access_key_id": {"type": "str", "default": ""},
            "secret_access_key": {"type": "str", "default": "", "no_log": True},
            "session_token": {"type": "str", "default": "", "no_log": True},
            "endpoint_url": {"type": "str", "default": ""},
            "region": {"type": "str", "default": ""},
            "ca_file": {"type": "str", "default": ""},
            "user": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given = module.params
    try:
        place = parse(given["uri"])
    except ArtifactUriError as error:
        _check.finish(module, [_artifacts.refuse(error, host)], place={}, suggestion=error.suggestion, steps=[])
    asked = _artifacts.Asked(
        host, place, given["environment"], given["endpoint_url"], given["region"], given["ca_file"]
    )
    if place.kind not in _artifacts.ASKED:
        _check.finish(module, [_artifacts.refuse_kind(asked)], place=place.to_dict(), suggestion="", steps=[])
    outcome = _ask(module, place, seconds)
    reason = _check.no_answer(outcome, seconds)
    findings = [_artifacts.silent(reason, asked)] if reason else _artifacts.judge(outcome.answer, asked)
    steps = outcome.answer.get("steps", [])
    _check.finish(module, findings, place=place.to_dict(), suggestion="", steps=steps)


if __name__ == "__main__":
    main()
