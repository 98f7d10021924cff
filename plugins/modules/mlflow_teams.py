#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring MLflow to a list of teams; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _access, _access_teams, _access_workspaces
from ansible_collections.mlops.mlflow.plugins.module_utils._access_client import (
    GRANT,
    OPTIONS,
    STATE,
    Work,
    is_hidden,
    run,
)

_THING = {
    "name": {"type": "str", "required": True},
    "permission": {**GRANT["permission"], "required": False, "default": _access_teams.DEFAULT_PERMISSION},
}
_TEAM = {
    "name": {"type": "str", "required": True},
    "description": {"type": "str", "default": ""},
    "members": {"type": "list", "elements": "str"},
    "experiments": {"type": "list", "elements": "dict", "default": [], "options": _THING},
    "models": {"type": "list", "elements": "dict", "default": [], "options": _THING},
    "grants": {"type": "list", "elements": "dict", "default": [], "options": GRANT},
    "workspace": {"type": "str", "default": ""},
    "permission": {**GRANT["permission"], "required": False, "default": _access_teams.DEFAULT_PERMISSION},
}
_USER = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "admin": {"type": "bool"},
    "state": STATE,
}


def main() -> None:
    """Look, decide, tell, report."""
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "teams": {"type": "list", "elements": "dict", "required": True, "options": _TEAM},
            "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
            "members": {"type": "str", "choices": ["exact", "add"], "default": "exact"},
            "update_password": {
                "type": "str",
                "choices": ["always", "on_create"],
                "default": "always",
                "no_log": False,
            },
            "adopt": {"type": "bool", "default": False},
            "workspaces": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given: dict[str, Any] = module.params
    workspaces = given["workspaces"]
    teams = _access_teams.teams_of(given["teams"], workspaces=workspaces)
    users = _access_teams.users_of(given["users"])
    rules = _access_teams.Rules(
        adopt=given["adopt"],
        exact_members=given["members"] == "exact",
        keep_passwords=given["update_password"] == "on_create",
    )

    def act(work: Work) -> dict[str, Any]:
        work.refuse(_access_teams.list_problems(teams, users, workspaces=workspaces))
        login = work.login()
        if workspaces:
            work.refuse(_access_workspaces.off_problems(on=work.has_workspaces()))
        there = work.workspaces() if workspaces else {}
        roles, people = work.people(everywhere=True)
        for one in users if not rules.keep_passwords else ():
            if one.name in people and one.present and one.password is not None:
                accepts = work.accepts(one.name, one.password)
                people[one.name] = replace(people[one.name], accepts=accepts)
        shown = [one for one in roles if not is_hidden(one)]
        found: dict[str, _access_teams.Found] = {}
        for workspace in _access_teams.wanted_workspaces(teams, shown):
            own = [one for one in shown if one.workspace == workspace]
            found[workspace] = _access_teams.Found(login, tuple(own), people)
            # Of a workspace that is yet to be made, and of one of which MLflow does not tell, only roles are known.
            if workspace == _access.DEFAULT_WORKSPACE or workspace in there:
                work.workspace = workspace
                listed = [one for one in teams if one.workspace == workspace]
                found[workspace] = _look(work, found[workspace], listed)
        work.workspace = _access.DEFAULT_WORKSPACE
        work.refuse(_access_teams.everywhere_problems(found, teams, users, rules))
        work.apply(_access_teams.plan_everywhere(found, there, teams, users, rules))
        return {}

    run(module, act)


def _look(work: Work, found: _access_teams.Found, teams: Sequence[_access_teams.Team]) -> _access_teams.Found:
    """What the workspace has of what the list is about."""
    experiments = {name: work.experiment(name) for name in _access_teams.wanted_names(teams, _access.EXPERIMENT)}
    names = {one.name for one in teams}
    concerned = [one for one in found.roles if one.name in names or _access_teams.is_team(one)]
    models = {name: work.model(name) for name in _access_teams.wanted_names(teams, _access.MODEL)}
    return replace(
        found,
        experiments=work.named(concerned, {name: one for name, one in experiments.items() if one}),
        models={name: one for name, one in models.items() if one},
    )


if __name__ == "__main__":
    main()
