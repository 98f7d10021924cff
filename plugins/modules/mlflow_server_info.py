#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell what an MLflow server is like; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _check,
    _endpoint,
    _probe,
    _rest,
    _server_info,
    _server_info_probe,
)


def main() -> None:
    """Ask, describe, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            **_check.SANDBOX,
            **_rest.OPTIONS,
            "expected_version": {"type": "str", "default": ""},
            "anonymous": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given: dict[str, Any] = module.params
    # A little less than the whole, so that what is known by then is told.
    own = seconds - min(1.0, seconds / 4)
    request = {"client": {**{name: given[name] for name in _rest.OPTIONS}, "seconds": own}, "seconds": own}
    outcome = _probe.run(_server_info_probe, request, seconds=seconds, sandbox=given["sandbox"], libraries=[_rest])
    if reason := _check.no_answer(outcome, seconds):
        _check.finish(module, [_endpoint.silent(reason, given["url"], host)], server={})
    asked = _server_info.Asked(given["url"], host, given["username"], given["expected_version"], given["anonymous"])
    findings = _server_info.judge(outcome.answer, asked)
    _check.finish(module, findings, server=_server_info.describe(outcome.answer))


if __name__ == "__main__":
    main()
