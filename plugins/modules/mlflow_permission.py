#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Give or take one grant of a role or of a user; the documentation is in the .yml file of the same name."""

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
    hidden_role,
    numbers_of,
    run,
)


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            **PLACE,
            "user": {"type": "str"},
            "role": {"type": "str"},
            **GRANT,
            "permission": {**GRANT["permission"], "required": False},
            "state": STATE,
        },
        supports_check_mode=True,
        required_one_of=[("user", "role")],
        mutually_exclusive=[("user", "role")],
        required_if=[("state", "present", ("permission",))],
    )
    given: dict[str, Any] = module.params
    present = given["state"] == "present"
    # What is taken away is taken whatever it allows.
    wanted = _access.grant_of({**given, "permission": given["permission"] or "MANAGE"})

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access.permission_problems(wanted, user=given["user"]))
        work.login()
        work.enter(given["workspace"])
        roles, users = work.people()
        name, user = given["role"], given["user"]
        if user is not None:
            work.refuse(_access.unknown_users([user], users, "a grant"))
            name = hidden_role(users[user])
        role = next((one for one in roles if one.name == name), None)
        if role is None and user is None:
            work.refuse([("ACCESS_ROLE_UNKNOWN", f"there is no role {name}.")])
        numbers = numbers_of(work.wanted([wanted], must=present))
        found = _access.find_grant(role.grants if role else (), wanted, numbers)
        work.apply(
            _access.plan_grant(found, wanted, numbers, user=user, role=role, present=present),
        )
        return {}

    run(module, act)


if __name__ == "__main__":
    main()
