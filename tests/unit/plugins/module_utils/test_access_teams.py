"""Whatever MLflow has and whatever is listed: the requests lead to the list, what is taken comes first, and a second plan is empty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import _access, _access_teams, _access_things
from ansible_collections.mlops.mlflow.plugins.module_utils._access import FoundGrant, FoundRole, FoundUser, Grant, Later
from ansible_collections.mlops.mlflow.plugins.module_utils._access_teams import MARK, Found, Rules, Team
from ansible_collections.mlops.mlflow.plugins.module_utils._access_things import FoundExperiment, FoundModel

PEOPLE = ("anna", "bert", "carla")
THINGS = ("one", "two", "three")
NAMES = ("fraud", "ads", "by-hand")


def after(found: Found, plan: _access.Plan) -> Found:
    """What MLflow has after the requests, each answered as its API says; a request about what is not there is a KeyError."""
    roles = {one.id: one for one in found.roles}
    experiments, models, known = dict(found.experiments), dict(found.models), dict[Later, Any]()
    grants = {grant.id: role.id for role in found.roles for grant in role.grants}
    fresh = 1000
    for step in plan.steps:
        fresh += 1
        told = {key: known[value] if isinstance(value, Later) else value for key, value in step.payload.items()}
        path = step.path.removeprefix(_access.ROLES)
        if path == "/create" and step.path.startswith(_access.ROLES):
            assert told["name"] not in {one.name for one in roles.values()}
            roles[fresh] = FoundRole(fresh, told["name"], told["description"])
            known[Later("role", told["name"])] = fresh
        elif path == "/update":
            roles[told["role_id"]] = replace(roles[told["role_id"]], description=told["description"])
        elif path == "/delete" and step.path.startswith(_access.ROLES):
            del roles[told["role_id"]]
        elif path == "/assign":
            role = roles[told["role_id"]]
            assert told["username"] not in role.members
            roles[role.id] = replace(role, members=role.members | {told["username"]})
        elif path == "/unassign":
            role = roles[told["role_id"]]
            roles[role.id] = replace(role, members=frozenset(role.members) - {told["username"]})
        elif path == "/permissions/add":
            role = roles[told["role_id"]]
            assert (told["resource_type"], told["resource_pattern"]) not in {(g.kind, g.pattern) for g in role.grants}
            one = FoundGrant(fresh, told["resource_type"], told["resource_pattern"], told["permission"])
            roles[role.id] = replace(role, grants=(*role.grants, one))
            grants[fresh] = role.id
        elif path in ("/permissions/update", "/permissions/remove"):
            number = told["role_permission_id"]
            role = roles[grants[number]]
            changed = [replace(one, permission=told.get("permission", "")) for one in role.grants if one.id == number]
            assert changed
            kept = tuple(one for one in role.grants if one.id != number)
            roles[role.id] = replace(role, grants=kept + (tuple(changed) if path.endswith("update") else ()))
        elif step.path == f"{_access_things.EXPERIMENTS}/create":
            experiments[told["name"]] = FoundExperiment(str(fresh), "mlflow-artifacts:/x")
            known[Later("experiment", told["name"])] = str(fresh)
        elif step.path == f"{_access_things.EXPERIMENTS}/restore":
            name = next(name for name, one in experiments.items() if one.number == told["experiment_id"])
            experiments[name] = replace(experiments[name], active=True)
        elif step.path == f"{_access_things.MODELS}/create":
            models[told["name"]] = FoundModel()
        else:
            raise AssertionError(step)
    return Found(found.login, tuple(roles.values()), found.users, experiments, models)


permissions = st.sampled_from(_access.PERMISSIONS)
people = st.frozensets(st.sampled_from(PEOPLE))


@st.composite
def states(draw: st.DrawFn) -> Found:
    """Any MLflow: some of the experiments and models, roles of teams and of others, with any grants and members."""
    numbers = {name: str(number) for number, name in enumerate(draw(st.lists(st.sampled_from(THINGS), unique=True)), 1)}
    experiments = {
        name: FoundExperiment(number, "mlflow-artifacts:/x", active=draw(st.booleans()))
        for name, number in numbers.items()
    }
    roles = []
    for place, name in enumerate(draw(st.lists(st.sampled_from((*NAMES, "of-old")), unique=True))):
        places = [("experiment", number) for number in (*numbers.values(), "*", "99")]
        places += [("registered_model", name) for name in THINGS]
        kept = draw(st.lists(st.sampled_from(places), unique=True, max_size=4))
        held = tuple(
            FoundGrant(100 * (place + 1) + number, kind, pattern, draw(permissions))
            for number, (kind, pattern) in enumerate(kept)
        )
        mark = "" if name == "by-hand" else f"words {MARK}"
        roles.append(FoundRole(place + 1, name, mark, held, draw(people)))
    models = {name: FoundModel() for name in draw(st.frozensets(st.sampled_from(THINGS)))}
    users = {name: FoundUser(number, admin=False) for number, name in enumerate(PEOPLE)}
    return Found("admin", tuple(roles), users, experiments, models)


@st.composite
def lists(draw: st.DrawFn) -> tuple[Team, ...]:
    """Any list of teams that can be."""

    def things(kind: str) -> st.SearchStrategy[tuple[Grant, ...]]:
        names = st.lists(st.sampled_from(THINGS), unique=True)
        return names.map(lambda chosen: tuple(Grant(kind, name, draw(permissions)) for name in chosen))

    return tuple(
        Team(
            name,
            draw(st.sampled_from(["", "words"])),
            draw(st.none() | people.map(lambda chosen: tuple(sorted(chosen)))),
            draw(things("experiment")),
            draw(things("registered_model")),
            draw(st.sampled_from([(), (Grant("experiment", "*", "READ"),)])),
        )
        for name in draw(st.lists(st.sampled_from(NAMES[:2]), unique=True))
    )


@settings(max_examples=80, deadline=None)
@given(found=states(), teams=lists())
def test_requests_lead_to_the_list(found: Found, teams: tuple[Team, ...]) -> None:
    rules = Rules()
    assert _access_teams.list_problems(teams) == []
    assert _access_teams.team_problems(found, teams, (), rules) == []
    plan = _access_teams.plan_teams(found, teams, (), rules)
    assert [step.takes for step in plan.steps] == sorted((step.takes for step in plan.steps), reverse=True)
    there = after(found, plan)
    roles = {role.name: role for role in there.roles}
    for team in teams:
        role = roles[team.name]
        assert role.description.endswith(MARK)
        if team.members is not None:
            assert role.members == set(team.members)
        wanted = {
            (one.kind, there.numbers.get(one.resource, one.resource) if one.kind == "experiment" else one.resource): one
            for one in team.all_grants
        }
        assert {(one.kind, one.pattern): one.permission for one in role.grants} == {
            key: one.permission for key, one in wanted.items()
        }
        assert all(there.experiments[one.resource].active for one in team.experiments)
    assert {role.name for role in there.roles if _access_teams.is_team(role)} == {team.name for team in teams}
    before = {role.name: role for role in found.roles}
    assert roles.get("by-hand") == before.get("by-hand")
    assert set(there.experiments) >= set(found.experiments)
    again = _access_teams.plan_teams(there, teams, (), rules)
    assert (again.steps, again.before, again.after) == ((), {}, {})


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("team", " ", "is empty"),
        ("team", "__user_7__", "begins with __user_"),
        ("user", "a\u200bb", "has something invisible in it"),
        ("user", "a" * 256, "is longer than 255 characters"),
        ("registered_model", "..", "is none that MLflow takes for a model"),
    ],
)
def test_names_that_cannot_be(kind: str, name: str, why: str) -> None:
    [(finding, said)] = _access.name_problem(kind, name)
    assert finding == "ACCESS_NAME"
    assert why in said


def test_no_password_is_shown() -> None:
    user = _access.User("anna", "a-password-of-a-user")
    plan = _access.plan_user(FoundUser(1, admin=False, accepts=False), user)
    assert [step.said for step in plan.steps] == ["the user anna gets another password"]
    assert "a-password" not in f"{user} {plan.before} {plan.after} {[step.said for step in plan.steps]}"
