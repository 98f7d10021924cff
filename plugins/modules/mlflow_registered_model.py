#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make, describe or delete a registered model of MLflow; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access, _access_things
from ansible_collections.mlops.mlflow.plugins.module_utils._access_client import OPTIONS, PLACE, STATE, Work, run


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            **PLACE,
            "name": {"type": "str", "required": True},
            "description": {"type": "str"},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "state": STATE,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    wanted = _access_things.Model(
        name=given["name"],
        description=given["description"],
        tags=None if given["tags"] is None else {str(key): str(value) for key, value in given["tags"].items()},
        purge_tags=given["purge_tags"],
        present=given["state"] == "present",
        force=given["force"],
    )

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access.name_problem(_access.MODEL, wanted.name))
        work.enter(given["workspace"])
        found = work.model(wanted.name)
        work.refuse(_access_things.model_problems(found, wanted))
        work.apply(_access_things.plan_model(found, wanted))
        return {}

    run(module, act)


if __name__ == "__main__":
    main()
