#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a directory of artifacts and at those who share it; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _directory, _directory_probe, _host, _probe


def main() -> None:
    """Ask, judge, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "default": ""},
            "server": {"type": "str", "default": ""},
            "servers": {"type": "dict", "default": {}},
            "token": {"type": "str", "default": "", "no_log": False},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given = module.params
    others = {str(name): str(token or "") for name, token in given["servers"].items() if name != given["server"]}
    asked = _directory.Asked(host, given["path"], given["server"], others)
    request: dict[str, Any] = {
        "path": given["path"],
        "server": given["server"],
        "servers": others,
        "token": given["token"],
        "write": not module.check_mode,
        "seconds": seconds,
    }
    outcome = _probe.run(_directory_probe, request, seconds=seconds, user=given["user"], libraries=[_host])
    reason = _check.no_answer(outcome, seconds)
    findings = [_directory.silent(reason, asked)] if reason else _directory.judge(outcome.answer, asked)
    told = {name: outcome.answer.get(name, {}) for name in ("directory", "mount", "notes")}
    _check.finish(module, findings, **told)


if __name__ == "__main__":
    main()
