# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be asked of MLflow so that users, roles and grants are as wanted. Pure: from what was found to requests in their order.

MLflow keeps grants with roles, and a user's own with a hidden role of his. A grant names a type, a resource and a permission; the resource
is an experiment's number, another's name, or all of its type. Roles, experiments and models are in a workspace, `default` unless it is named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

USERS = "/api/2.0/mlflow/users"
USER_GRANTS = "/api/3.0/mlflow/users/permissions"
ROLES = "/api/3.0/mlflow/roles"
DEFAULT_WORKSPACE = "default"
# Says in a request which workspace it is about.
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"

# From none to all; each holds those before it.
PERMISSIONS = ("DENY", "READ", "USE", "EDIT", "MANAGE")
EXPERIMENT, MODEL, WORKSPACE = "experiment", "registered_model", "workspace"
# What can be granted one by one.
RESOURCES = (
    EXPERIMENT,
    MODEL,
    "prompt",
    "scorer",
    "gateway_secret",
    "gateway_endpoint",
    "gateway_model_definition",
    "mcp_server",
)
# What can be granted for all of its type only.
PARTS = (
    "run",
    "trace",
    "assessment",
    "logged_model",
    "review_queue",
    "registered_model_version",
    "prompt_version",
    "scorer_version",
    "mcp_server_version",
)
ALL = "*"
HIDDEN = "__user_"  # names of the hidden roles begin with it
PASSWORD_LENGTH = 12
_LONGEST = {"role": 255, "team": 255, "user": 255, EXPERIMENT: 500, MODEL: 256, WORKSPACE: 63}
_WORKSPACE_NAME = re.compile(r"[a-z0-9][-a-z0-9]{0,61}[a-z0-9]")
_NO_WORKSPACES = ("workspaces", "api", "ajax-api", "static-files")

# The id of a finding, and what is said.
Problem = tuple[str, str]


class Later(NamedTuple):
    """In a request, the number of something that an earlier request makes."""

    kind: str
    name: str


@dataclass(frozen=True)
class Step:
    """One request that changes something."""

    said: str
    method: str
    path: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    makes: Later | None = None
    takes: bool = False  # whether somebody can do less afterwards
    workspace: str = ""  # empty: the one that the work is about


@dataclass(frozen=True)
class Plan:
    """Requests, and what they lead from and to."""

    steps: tuple[Step, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """A wanted grant; an experiment goes by its name."""

    kind: str
    resource: str
    permission: str


@dataclass(frozen=True)
class FoundGrant:
    """A grant that there is; an experiment goes by its number."""

    id: int
    kind: str
    pattern: str
    permission: str


@dataclass(frozen=True)
class FoundRole:
    """A role that there is."""

    id: int
    name: str
    description: str = ""
    grants: tuple[FoundGrant, ...] = ()
    members: frozenset[str] = frozenset()
    workspace: str = DEFAULT_WORKSPACE


@dataclass(frozen=True)
class Role:
    """A wanted role. What is None is left as it is."""

    name: str
    description: str | None = None
    grants: tuple[Grant, ...] | None = None
    members: tuple[str, ...] | None = None
    workspace: str = DEFAULT_WORKSPACE


@dataclass(frozen=True)
class FoundUser:
    """A user that there is; `accepts` tells whether the wanted password is his, None if it was not tried."""

    id: int
    admin: bool
    accepts: bool | None = None


@dataclass(frozen=True)
class User:
    """A wanted user, or one that shall not be. What is None is left as it is."""

    name: str
    password: str | None = field(default=None, repr=False)
    admin: bool | None = None
    present: bool = True


# ----- what cannot be


def name_problem(kind: str, name: str) -> list[Problem]:
    """Return what is wrong with the name of a role, team, user, experiment or model."""
    if not name.strip():
        why = "is empty"
    elif name != name.strip():
        why = "begins or ends with a blank"
    elif not name.isprintable():
        why = "has something invisible in it"
    elif len(name) > _LONGEST[kind]:
        why = f"is longer than {_LONGEST[kind]} characters"
    elif kind in ("role", "team") and name.startswith(HIDDEN):
        why = f"begins with {HIDDEN}, which MLflow keeps for itself"
    elif kind == WORKSPACE and (name in _NO_WORKSPACES or not _WORKSPACE_NAME.fullmatch(name)):
        why = "is none that MLflow takes for a workspace: 2 to 63 small letters, digits and dashes between them, and no reserved word"
    elif kind == "user" and ":" in name:
        why = "has a colon in it, and a login ends there"
    elif kind == MODEL and (set("/:") & set(name) or name in (".", "..")):
        why = "is none that MLflow takes for a model: no slash, no colon, no dots alone"
    else:
        return []
    return [("ACCESS_NAME", f"the name of the {words(kind)} '{name}' {why}.")]


def grant_problem(grant: Grant) -> list[Problem]:
    """Return why MLflow has no such grant."""
    if grant.kind in (*PARTS, WORKSPACE) and grant.resource != ALL:
        why = f"{words(grant.kind)} is granted for all ('{ALL}') only"
    elif grant.kind == WORKSPACE and grant.permission not in ("USE", "MANAGE"):
        why = "a workspace knows USE and MANAGE"
    elif not grant.resource:
        why = f"the resource is empty, and all are '{ALL}'"
    else:
        return []
    return [("ACCESS_GRANT", f"{grant.permission} on {where(grant.kind, grant.resource)}: {why}.")]


def role_problems(wanted: Role) -> list[Problem]:
    """Return what is wrong with a wanted role itself."""
    problems = name_problem("role", wanted.name)
    for grant in wanted.grants or ():
        problems += grant_problem(grant)
    counted = Counter((one.kind, one.resource) for one in wanted.grants or ())
    twice = [where(*what) for what, count in counted.items() if count > 1]
    return problems + [("ACCESS_TEAMS", f"the role {wanted.name} has {on} twice.") for on in twice]


def permission_problems(grant: Grant, user: str | None) -> list[Problem]:
    """Return what is wrong with a grant for a role, or for a user himself."""
    if user is not None and grant.kind == WORKSPACE:
        return [("ACCESS_GRANT", "a workspace is granted to roles, and not to a user himself.")]
    return grant_problem(grant)


def password_problem(wanted: User) -> list[Problem]:
    """Return what is wrong with the password of a wanted user; none counts as empty."""
    password = wanted.password or ""
    if len(password) < PASSWORD_LENGTH:
        said = f"has {len(password)} characters, and {PASSWORD_LENGTH} are the least."
    elif not password.isascii():
        # mlflow/server/auth/__init__.py, the routes that FastAPI serves itself: b64decode(credentials).decode("ascii").
        said = "holds a character beyond ASCII, with which MLflow refuses to upload artifacts."
    else:
        return []
    return [("ACCESS_PASSWORD", f"the password of the user {wanted.name} {said}")]


def user_problems(wanted: User, found: FoundUser | None, login: str) -> list[Problem]:
    """Return why the user cannot be made as wanted by whoever has `login`."""
    problems = name_problem("user", wanted.name)
    if wanted.present and (found is None or wanted.password is not None):
        problems += password_problem(wanted)
    if wanted.name == login and found is not None:
        why = ""
        if not wanted.present:
            why = "cannot delete itself"
        elif wanted.admin is False:
            why = "cannot take its own administrator's right away"
        elif found.accepts is False:
            why = "does not give itself another password"
        problems += [("ACCESS_SELF", f"the login {login} {why}.")] if why else []
    return problems


def unknown_users(names: Iterable[str], known: Iterable[str], owner: str) -> list[Problem]:
    """Return that these users do not exist."""
    missing = sorted(set(names) - set(known))
    return [("ACCESS_USER_UNKNOWN", f"{owner}: there is no user {', '.join(missing)}.")] if missing else []


# ----- words


def words(kind: str) -> str:
    """Say a type."""
    return kind.replace("_", " ")


def where(kind: str, resource: str) -> str:
    """Say what a grant is for."""
    if kind == WORKSPACE:
        return "the workspace"  # the one in which the role is
    return f"every {words(kind)}" if resource == ALL else f"{words(kind)} {resource}"


# ----- roles and their grants


def plan_grants(
    owner: str,
    role: int | Later,
    found: Sequence[FoundGrant],
    wanted: Sequence[Grant],
    numbers: Mapping[str, str],
    *,
    exact: bool,
) -> list[Step]:
    """Return what changes the grants of a role.

    Args:
        owner: whose they are, in words.
        role: its number.
        found: its grants.
        wanted: the grants it shall have.
        numbers: of experiments that exist, by name.
        exact: take away all others.
    """
    names = {number: name for name, number in numbers.items()}
    there = {(one.kind, one.pattern): one for one in found}
    steps: list[Step] = []
    kept: set[int] = set()
    for grant in wanted:
        pattern = _pattern(grant, numbers)
        on = where(grant.kind, grant.resource)
        one = there.get((grant.kind, pattern)) if isinstance(pattern, str) else None
        if one is None:
            given = {"role_id": role, "resource_type": grant.kind, "resource_pattern": pattern}
            given["permission"] = grant.permission
            steps.append(Step(f"{owner} gets {grant.permission} on {on}", "POST", f"{ROLES}/permissions/add", given))
            continue
        kept.add(one.id)
        if one.permission != grant.permission:
            steps.append(
                Step(
                    f"{owner} has {grant.permission} in place of {one.permission} on {on}",
                    "PATCH",
                    f"{ROLES}/permissions/update",
                    {"role_permission_id": one.id, "permission": grant.permission},
                    takes=_rank(grant.permission) < _rank(one.permission),
                )
            )
    for one in found if exact else ():
        if one.id not in kept:
            steps.append(remove_grant(owner, one, names))
    return steps


def remove_grant(owner: str, found: FoundGrant, names: Mapping[str, str]) -> Step:
    """Return what takes a grant away."""
    return Step(
        f"{owner} loses {found.permission} on {where(found.kind, _name(found, names))}",
        "DELETE",
        f"{ROLES}/permissions/remove",
        {"role_permission_id": found.id},
        takes=True,
    )


def plan_members(
    owner: str, role: int | Later, found: Iterable[str], wanted: Iterable[str], *, exact: bool
) -> list[Step]:
    """Return what changes who has a role."""
    there, shall = set(found), set(wanted)
    joins = [
        Step(f"{user} joins {owner}", "POST", f"{ROLES}/assign", {"username": user, "role_id": role})
        for user in sorted(shall - there)
    ]
    leaves = [
        Step(f"{user} leaves {owner}", "DELETE", f"{ROLES}/unassign", {"username": user, "role_id": role}, takes=True)
        for user in sorted(there - shall if exact else ())
    ]
    return joins + leaves


def plan_role(
    found: FoundRole | None,
    wanted: Role,
    numbers: Mapping[str, str],
    *,
    exact_grants: bool = True,
    exact_members: bool = True,
    owner: str = "",
) -> Plan:
    """Return what makes a role as it is wanted, or makes it."""
    owner = owner or f"the role {wanted.name}"
    steps: list[Step] = []
    role: int | Later = found.id if found else Later("role", wanted.name)
    if found is None:
        made = {"name": wanted.name, "workspace": wanted.workspace, "description": wanted.description or ""}
        steps.append(Step(f"{owner} is made", "POST", f"{ROLES}/create", made, makes=Later("role", wanted.name)))
    elif wanted.description is not None and wanted.description != found.description:
        told = {"role_id": role, "description": wanted.description}
        steps.append(Step(f"{owner} is described anew", "PATCH", f"{ROLES}/update", told))
    there = found or FoundRole(0, wanted.name)
    if wanted.grants is not None:
        steps += plan_grants(owner, role, there.grants, wanted.grants, numbers, exact=exact_grants)
    if wanted.members is not None:
        steps += plan_members(owner, role, there.members, wanted.members, exact=exact_members)
    after = _after(there, wanted, numbers, exact_grants=exact_grants, exact_members=exact_members)
    return Plan(tuple(steps), shown_role(found, numbers) if found else {}, after)


def delete_role(found: FoundRole, numbers: Mapping[str, str], owner: str = "") -> Plan:
    """Return what deletes a role; MLflow takes its grants and members with it."""
    owner = owner or f"the role {found.name}"
    step = Step(f"{owner} is deleted", "DELETE", f"{ROLES}/delete", {"role_id": found.id}, takes=True)
    return Plan((step,), shown_role(found, numbers), {})


def shown_role(found: FoundRole, numbers: Mapping[str, str]) -> dict[str, Any]:
    """Show a role in a difference."""
    names = {number: name for name, number in numbers.items()}
    grants = {where(one.kind, _name(one, names)): one.permission for one in found.grants}
    return {"description": found.description, "grants": grants, "members": sorted(found.members)}


def _after(
    found: FoundRole, wanted: Role, numbers: Mapping[str, str], *, exact_grants: bool, exact_members: bool
) -> dict[str, Any]:
    shown = shown_role(found, numbers)
    if wanted.description is not None:
        shown["description"] = wanted.description
    if wanted.grants is not None:
        given = {where(one.kind, one.resource): one.permission for one in wanted.grants}
        shown["grants"] = given if exact_grants else {**shown["grants"], **given}
    if wanted.members is not None:
        shown["members"] = sorted({*wanted.members, *(() if exact_members else found.members)})
    return shown


def _pattern(grant: Grant, numbers: Mapping[str, str]) -> str | Later:
    """What MLflow calls the resource: an experiment has a number, unless it is yet to be made."""
    if grant.kind != EXPERIMENT or grant.resource == ALL:
        return grant.resource
    return numbers.get(grant.resource) or Later(EXPERIMENT, grant.resource)


def _name(found: FoundGrant, names: Mapping[str, str]) -> str:
    if found.kind != EXPERIMENT or found.pattern == ALL:
        return found.pattern
    return names.get(found.pattern, f"number {found.pattern}")


def _rank(permission: str) -> int:
    return PERMISSIONS.index(permission) if permission in PERMISSIONS else 0


# ----- users and their own grants


def plan_user(found: FoundUser | None, wanted: User, *, keep_password: bool = False) -> Plan:
    """Return what makes a user as wanted. Passwords are in requests, and in nothing that is said or shown.

    Args:
        found: the user that there is.
        wanted: as it shall be.
        keep_password: do not change the password of somebody who has one.
    """
    owner, name = f"the user {wanted.name}", {"username": wanted.name}
    if not wanted.present:
        if found is None:
            return Plan()
        step = Step(f"{owner} is deleted", "DELETE", f"{USERS}/delete", name, takes=True)
        return Plan((step,), _shown_user(found), {})
    steps: list[Step] = []
    if found is None:
        made = {**name, "password": wanted.password}
        steps.append(Step(f"{owner} is made", "POST", f"{USERS}/create", made))
    there = found or FoundUser(0, admin=False)
    before = _shown_user(found) if found else {}
    after = _shown_user(there)
    if wanted.admin is not None and wanted.admin != there.admin:
        said = "becomes an administrator" if wanted.admin else "is no administrator any more"
        told = {**name, "is_admin": wanted.admin}
        steps.append(Step(f"{owner} {said}", "PATCH", f"{USERS}/update-admin", told, takes=not wanted.admin))
        after["admin"] = wanted.admin
    if found and found.accepts is False and not keep_password:
        told = {**name, "password": wanted.password}
        steps.append(Step(f"{owner} gets another password", "PATCH", f"{USERS}/update-password", told))
        before, after = {**before, "password": "another"}, {**after, "password": "as given"}
    return Plan(tuple(steps), before, after)


def _shown_user(found: FoundUser) -> dict[str, Any]:
    return {"admin": found.admin}


def plan_grant(
    found: FoundGrant | None,
    grant: Grant,
    numbers: Mapping[str, str],
    *,
    role: FoundRole | None,
    user: str | None,
    present: bool,
) -> Plan:
    """Return what gives one grant, changes it or takes it away.

    Args:
        found: the grant that there is on the resource.
        grant: the wanted one.
        numbers: of experiments that exist, by name.
        role: whose it is; of a user, his hidden one, None if he has none yet.
        user: the user, if it is his own.
        present: whether it shall be there.
    """
    owner = f"the role {role.name}" if user is None and role else f"the user {user}"
    on = where(grant.kind, grant.resource)
    before = {on: found.permission} if found else {}
    if not present:
        names = {number: name for name, number in numbers.items()}
        return Plan((remove_grant(owner, found, names),), before, {}) if found else Plan()
    after = {on: grant.permission}
    if found is None and user is not None:
        given = {"username": user, "resource_type": grant.kind, "resource_id": _pattern(grant, numbers)}
        given["permission"] = grant.permission
        step = Step(f"{owner} gets {grant.permission} on {on}", "POST", f"{USER_GRANTS}/grant", given)
        return Plan((step,), before, after)
    steps = plan_grants(owner, role.id if role else 0, [found] if found else [], [grant], numbers, exact=False)
    return Plan(tuple(steps), before, after)


def grant_of(told: Mapping[str, Any]) -> Grant:
    """Read a grant as options and the inventory have it."""
    return Grant(str(told["resource_type"]), str(told.get("resource") or ""), str(told["permission"]))


def find_grant(found: Iterable[FoundGrant], grant: Grant, numbers: Mapping[str, str]) -> FoundGrant | None:
    """Return the grant on that resource, whatever its permission."""
    pattern = _pattern(grant, numbers)
    return next((one for one in found if (one.kind, one.pattern) == (grant.kind, pattern)), None)
