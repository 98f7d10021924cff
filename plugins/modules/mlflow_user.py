#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make, change or delete a user of MLflow; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access
from ansible_collections.mlops.mlflow.plugins.module_utils._access_client import OPTIONS, STATE, Work, run


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "name": {"type": "str", "required": True},
            "user_password": {"type": "str", "no_log": True},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "always",
                "no_log": False,
            },
            "admin": {"type": "bool"},
            "state": STATE,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    keep = given["update_password"] == "on_create"
    wanted = _access.User(given["name"], given["user_password"], given["admin"], given["state"] == "present")

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access.name_problem("user", wanted.name))
        login = work.login()
        _roles, users = work.people()
        found = users.get(wanted.name)
        asked = replace(wanted, password=None) if keep and found else wanted
        if found and asked.present and asked.password is not None:
            found = replace(found, accepts=work.accepts(asked.name, asked.password))
        work.refuse(_access.user_problems(asked, found, login))
        work.apply(_access.plan_user(found, asked, keep_password=keep))
        return {}

    run(module, act)


if __name__ == "__main__":
    main()
