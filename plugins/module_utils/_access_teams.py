# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a list of teams means to MLflow: a role for each, the experiments and models it works with, and nothing of teams that left the list. Pure.

A role is a team's if its description ends with a mark, so that a team that is not in the list any more is recognised, and a role that
somebody made by hand is never taken away.

With workspaces each team has one, and its role is there: what the list says of it is about that workspace alone. Each workspace is settled
like an MLflow of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._access import (
    ALL,
    DEFAULT_WORKSPACE,
    EXPERIMENT,
    MODEL,
    WORKSPACE,
    FoundRole,
    FoundUser,
    Grant,
    Plan,
    Problem,
    Role,
    Step,
    User,
    delete_role,
    grant_of,
    grant_problem,
    name_problem,
    password_problem,
    plan_role,
    plan_user,
    unknown_users,
    user_problems,
    where,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._access_things import (
    Experiment,
    FoundExperiment,
    FoundModel,
    Model,
    model_problems,
    plan_experiment,
    plan_model,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._access_workspaces import (
    FoundWorkspace,
    Workspace,
    plan_workspace,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

MARK = "[mlops.mlflow: mlflow_teams]"
# What a team may do with what it works with, unless it says otherwise: log, change and register, and neither delete nor grant.
DEFAULT_PERMISSION = "EDIT"
# Of what is made in a team's workspace, whoever made it, all members have the team's permission.
EVERYTHING = (EXPERIMENT, MODEL, "prompt", "scorer")
_DESCRIPTION_LENGTH = 1024 - len(MARK) - 1


@dataclass(frozen=True)
class Team:
    """A team as the inventory has it. `members` is None where they are somebody else's business."""

    name: str
    description: str = ""
    members: tuple[str, ...] | None = None
    experiments: tuple[Grant, ...] = ()
    models: tuple[Grant, ...] = ()
    grants: tuple[Grant, ...] = ()
    workspace: str = DEFAULT_WORKSPACE
    permission: str = DEFAULT_PERMISSION

    @property
    def listed_grants(self) -> tuple[Grant, ...]:
        """What the list says that it may do."""
        return (*self.experiments, *self.models, *self.grants)

    @property
    def all_grants(self) -> tuple[Grant, ...]:
        """What it may do, in one list: in a workspace of its own, also to make something, and what everybody in it may."""
        if self.workspace == DEFAULT_WORKSPACE:
            return self.listed_grants
        listed = {(one.kind, one.resource) for one in self.listed_grants}
        own = (Grant(WORKSPACE, ALL, "USE"), *(Grant(kind, ALL, self.permission) for kind in EVERYTHING))
        return (*(one for one in own if (one.kind, one.resource) not in listed), *self.listed_grants)

    @property
    def role(self) -> Role:
        """Its role."""
        return Role(self.name, f"{self.description} {MARK}".strip(), self.all_grants, self.members, self.workspace)


@dataclass(frozen=True)
class Found:
    """What MLflow has, of what the list is about."""

    login: str
    roles: tuple[FoundRole, ...] = ()
    users: Mapping[str, FoundUser] = field(default_factory=dict)
    experiments: Mapping[str, FoundExperiment] = field(default_factory=dict)
    models: Mapping[str, FoundModel] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, str]:
        """Of the experiments, by name."""
        return {name: one.number for name, one in self.experiments.items()}


@dataclass(frozen=True)
class Rules:
    """How far the list goes.

    Attributes:
        adopt: take over roles that have the name of a team and no mark.
        exact_members: who is not in the list of a team's members leaves it.
        keep_passwords: do not change the password of somebody who has one.
    """

    adopt: bool = False
    exact_members: bool = True
    keep_passwords: bool = False


def teams_of(listed: Iterable[Mapping[str, Any]], *, workspaces: bool = False) -> tuple[Team, ...]:
    """Read the list as the inventory or the module has it; with workspaces a team has one of its own name, if it names no other."""

    def workspace(team: Mapping[str, Any]) -> str:
        return str(team.get("workspace") or (team.get("name") if workspaces else "") or DEFAULT_WORKSPACE)

    def grants(team: Mapping[str, Any], name: str, kind: str) -> tuple[Grant, ...]:
        return tuple(
            Grant(kind, str(one.get("name") or ""), str(one.get("permission") or DEFAULT_PERMISSION))
            for one in team.get(name) or []
        )

    return tuple(
        Team(
            name=str(team.get("name") or ""),
            description=str(team.get("description") or "").strip(),
            members=None if team.get("members") is None else tuple(str(one) for one in team["members"]),
            experiments=grants(team, "experiments", EXPERIMENT),
            models=grants(team, "models", MODEL),
            grants=tuple(grant_of(one) for one in team.get("grants") or []),
            workspace=workspace(team),
            permission=str(team.get("permission") or DEFAULT_PERMISSION),
        )
        for team in listed
    )


def users_of(listed: Iterable[Mapping[str, Any]]) -> tuple[User, ...]:
    """Read the list of users."""
    return tuple(
        User(
            name=str(one.get("name") or ""),
            password=None if one.get("password") is None else str(one["password"]),
            admin=one.get("admin"),
            present=one.get("state") != "absent",
        )
        for one in listed
    )


def list_problems(teams: Sequence[Team], users: Sequence[User] = (), *, workspaces: bool = False) -> list[Problem]:
    """Return what is wrong with the list itself, whatever MLflow has."""
    problems: list[Problem] = []
    for team in teams:
        if workspaces:
            problems += name_problem(WORKSPACE, team.workspace)
        elif team.workspace != DEFAULT_WORKSPACE:
            said = f"the team {team.name} has the workspace {team.workspace}, and there are no workspaces."
            problems.append(("ACCESS_TEAMS", said))
    for kind, names in (("team", [one.name for one in teams]), ("user", [one.name for one in users])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        problems += [("ACCESS_TEAMS", f"the {kind} {name} is in the list twice.") for name in twice]
    for team in teams:
        problems += name_problem("team", team.name)
        if len(team.description) > _DESCRIPTION_LENGTH:
            said = f"the description of the team {team.name} is longer than {_DESCRIPTION_LENGTH} characters."
            problems.append(("ACCESS_NAME", said))
        for member in team.members or ():
            problems += name_problem("user", member)
        for grant in (*team.experiments, *team.models):
            problems += name_problem(grant.kind, grant.resource)
        for grant in team.grants:
            problems += grant_problem(grant)
        counted = Counter((one.kind, one.resource) for one in team.listed_grants)
        problems += [
            ("ACCESS_TEAMS", f"the team {team.name} has {where(*what)} twice.")
            for what, count in counted.items()
            if count > 1
        ]
    for user in users:
        problems += name_problem("user", user.name)
        if user.present and user.password is not None:
            problems += password_problem(user)
    gone = {one.name for one in users if not one.present}
    for team in teams:
        for member in sorted(gone & set(team.members or ())):
            problems.append(("ACCESS_TEAMS", f"the user {member} is in the team {team.name}, and shall not exist."))
    return problems


def list_sentences(
    teams: Iterable[Mapping[str, Any]], users: Iterable[Mapping[str, Any]], host: str, workspaces: bool = False
) -> list[str]:
    """Return the sentences of what is wrong with the list itself."""
    read = teams_of(teams, workspaces=workspaces)
    return [
        render(finding, host=host, variable=said.rstrip("."))
        for finding, said in list_problems(read, users_of(users), workspaces=workspaces)
    ]


def team_problems(found: Found, teams: Sequence[Team], users: Sequence[User], rules: Rules) -> list[Problem]:
    """Return why MLflow as it is cannot have these teams, before anything is changed."""
    problems: list[Problem] = []
    for user in users:
        problems += user_problems(_settled(user, found, rules), found.users.get(user.name), found.login)
    people = {*found.users, *(one.name for one in users if one.present)}
    roles = {one.name: one for one in found.roles}
    made = {(one.kind, one.resource) for team in teams for one in (*team.experiments, *team.models)}
    for team in teams:
        problems += unknown_users(team.members or (), people, f"the team {team.name}")
        role = roles.get(team.name)
        if role and not is_team(role) and not rules.adopt:
            said = f"the role {team.name} exists, and the mark of mlflow_teams is not in its description."
            problems.append(("ACCESS_ROLE_FOREIGN", said))
        for grant in team.grants:
            if grant.resource != ALL and (grant.kind, grant.resource) not in made and not _exists(found, grant):
                said = f"the team {team.name} has a grant on {where(grant.kind, grant.resource)}, which does not exist."
                problems.append(("ACCESS_RESOURCE_UNKNOWN", said))
    for name in _named(teams, MODEL):
        problems += model_problems(found.models.get(name), Model(name))
    return problems


def everywhere_problems(
    found: Mapping[str, Found], teams: Sequence[Team], users: Sequence[User], rules: Rules
) -> list[Problem]:
    """Return the same for all workspaces; what is said of users is said once."""
    problems = (
        problem
        for workspace, one in found.items()
        for problem in team_problems(one, _in(workspace, teams), users, rules)
    )
    return list(dict.fromkeys(problems))


def plan_everywhere(
    found: Mapping[str, Found],
    workspaces: Mapping[str, FoundWorkspace],
    teams: Sequence[Team],
    users: Sequence[User],
    rules: Rules,
) -> Plan:
    """Return what brings all workspaces to the list. A workspace is made, and never deleted: it holds what a team has made.

    Args:
        found: what each workspace has, also those yet to be made.
        workspaces: those that there are.
        teams: the list.
        users: who shall be there; the first workspace has them.
        rules: how far the list goes.
    """
    steps: list[Step] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for number, (workspace, one) in enumerate(found.items()):
        own = _in(workspace, teams)
        plan = plan_teams(one, own, users, rules, with_users=number == 0)
        made = Plan()
        if own and workspace != DEFAULT_WORKSPACE and workspace not in workspaces:
            made = plan_workspace(None, Workspace(workspace, own[0].description))
        # A role of a team that was in a workspace of which MLflow does not know any more can be taken away without naming it.
        known = workspace if own or workspace in workspaces else ""
        steps += [*made.steps, *(replace(step, workspace=known) for step in plan.steps)]
        if workspace == DEFAULT_WORKSPACE:
            before, after = {**before, **plan.before}, {**after, **plan.after}
        elif made.steps or plan.steps:
            key = f"workspace {workspace}"
            before[key], after[key] = {**made.before, **plan.before}, {**made.after, **plan.after}
    return Plan(tuple(sorted(steps, key=lambda step: not step.takes)), before, after)


def wanted_workspaces(teams: Sequence[Team], roles: Iterable[FoundRole] = ()) -> list[str]:
    """Return the workspaces that the list is about: `default`, those of teams, and those in which teams were."""
    were = (one.workspace for one in roles if is_team(one))
    return list(dict.fromkeys((DEFAULT_WORKSPACE, *(one.workspace for one in teams), *were)))


def _in(workspace: str, teams: Iterable[Team]) -> tuple[Team, ...]:
    return tuple(one for one in teams if one.workspace == workspace)


def plan_teams(
    found: Found, teams: Sequence[Team], users: Sequence[User], rules: Rules, *, with_users: bool = True
) -> Plan:
    """Return what brings MLflow to the list: first what is taken from somebody, then the rest.

    Experiments and models are made, and never deleted; users are deleted only if the list says so.
    """
    plans: dict[tuple[str, str], Plan] = {}
    for user in users if with_users else ():
        one = _settled(user, found, rules)
        plans["users", user.name] = plan_user(found.users.get(user.name), one, keep_password=rules.keep_passwords)
    for name in _named(teams, EXPERIMENT):
        plans["experiments", name] = plan_experiment(found.experiments.get(name), Experiment(name))
    for name in _named(teams, MODEL):
        plans["models", name] = plan_model(found.models.get(name), Model(name))
    # Who is deleted leaves every team with that.
    gone = {one.name for one in users if not one.present}
    roles = {one.name: replace(one, members=one.members - gone) for one in found.roles}
    for team in teams:
        plans["teams", team.name] = plan_role(
            roles.get(team.name),
            team.role,
            found.numbers,
            exact_members=rules.exact_members,
            owner=_owner(team.name, team.workspace),
        )
    for role in found.roles:
        if is_team(role) and role.name not in {one.name for one in teams}:
            plans["teams", role.name] = delete_role(role, found.numbers, _owner(role.name, role.workspace))
    steps = [step for plan in plans.values() for step in plan.steps]
    changed = {key: plan for key, plan in plans.items() if plan.steps}
    return Plan(
        steps=tuple(sorted(steps, key=lambda step: not step.takes)),
        before=_by_kind({key: plan.before for key, plan in changed.items()}),
        after=_by_kind({key: plan.after for key, plan in changed.items()}),
    )


def _owner(team: str, workspace: str) -> str:
    return f"the team {team}" if workspace == DEFAULT_WORKSPACE else f"the team {team} in workspace {workspace}"


def is_team(role: FoundRole) -> bool:
    """Tell whether a role was made from the list."""
    return role.description.endswith(MARK)


def wanted_names(teams: Sequence[Team], kind: str) -> list[str]:
    """Return the names of the experiments or models that the list is about, to be looked for."""
    listed = (one.resource for team in teams for one in team.all_grants if one.kind == kind and one.resource != ALL)
    return list(dict.fromkeys(listed))


def _named(teams: Sequence[Team], kind: str) -> list[str]:
    """The names of those that are made if they are missing."""
    listed = (one.resource for team in teams for one in (*team.experiments, *team.models) if one.kind == kind)
    return list(dict.fromkeys(listed))


def _exists(found: Found, grant: Grant) -> bool:
    if grant.kind == EXPERIMENT:
        return grant.resource in found.experiments and found.experiments[grant.resource].active
    return grant.kind != MODEL or grant.resource in found.models


def _settled(user: User, found: Found, rules: Rules) -> User:
    """Without the password where it shall stay: what is not set cannot be too short."""
    return replace(user, password=None) if rules.keep_passwords and user.name in found.users else user


def _by_kind(shown: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Group what is shown in a difference; what is not there is not shown."""
    grouped: dict[str, dict[str, Any]] = {}
    for (kind, name), one in shown.items():
        if one:
            grouped.setdefault(kind, {})[name] = dict(one)
    return grouped
