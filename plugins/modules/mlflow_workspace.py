#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make, change or delete a workspace of MLflow; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access, _access_workspaces
from ansible_collections.mlops.mlflow.plugins.module_utils._access_client import OPTIONS, STATE, Work, run


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "name": {"type": "str", "required": True},
            "description": {"type": "str"},
            "artifact_root": {"type": "str"},
            "force": {"type": "bool", "default": False},
            "state": STATE,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    wanted = _access_workspaces.Workspace(
        name=given["name"],
        description=given["description"],
        root=given["artifact_root"],
        present=given["state"] == "present",
        force=given["force"],
    )

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access.name_problem(_access.WORKSPACE, wanted.name))
        work.refuse(_access_workspaces.off_problems(on=work.has_workspaces()))
        found = work.workspace_of(wanted.name)
        if found and not wanted.present:
            work.workspace = wanted.name
            found = replace(found, holds=work.contents())
            # The request that deletes it is about none.
            work.workspace = _access.DEFAULT_WORKSPACE
        work.refuse(_access_workspaces.workspace_problems(found, wanted))
        work.apply(_access_workspaces.plan_workspace(found, wanted))
        return {}

    run(module, act)


if __name__ == "__main__":
    main()
