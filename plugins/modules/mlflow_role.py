#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make, change or delete a role of MLflow; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access
from ansible_collections.mlops.mlflow.plugins.module_utils._access_client import (
    GRANT,
    OPTIONS,
    PLACE,
    STATE,
    Work,
    numbers_of,
    run,
)


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            **PLACE,
            "name": {"type": "str", "required": True},
            "description": {"type": "str"},
            "grants": {"type": "list", "elements": "dict", "options": GRANT},
            "members": {"type": "list", "elements": "str"},
            "append": {"type": "bool", "default": False},
            "state": STATE,
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    wanted = _access.Role(
        name=given["name"],
        description=given["description"],
        grants=None if given["grants"] is None else tuple(_access.grant_of(one) for one in given["grants"]),
        members=None if given["members"] is None else tuple(given["members"]),
        workspace=given["workspace"],
    )

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access.role_problems(wanted))
        work.login()
        work.enter(given["workspace"])
        roles, users = work.people()
        found = next((one for one in roles if one.name == wanted.name), None)
        if given["state"] == "absent":
            if found:
                work.apply(_access.delete_role(found, numbers_of(work.named([found], {}))))
            return {}
        work.refuse(_access.unknown_users(wanted.members or (), users, f"the role {wanted.name}"))
        numbers = numbers_of(work.named([found] if found else [], work.wanted(wanted.grants or ())))
        exact = not given["append"]
        work.apply(_access.plan_role(found, wanted, numbers, exact_grants=exact, exact_members=exact))
        return {}

    run(module, act)


if __name__ == "__main__":
    main()
