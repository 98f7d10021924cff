# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask MLflow for users, roles, experiments and models, and tell it what _access.py and its neighbours decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ansible_collections.mlops.mlflow.plugins.module_utils import (
    _access,
    _access_things,
    _access_workspaces,
    _check,
    _rest,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._access import (
    ALL,
    EXPERIMENT,
    HIDDEN,
    MODEL,
    FoundGrant,
    FoundRole,
    FoundUser,
    Grant,
    Later,
    Plan,
    Problem,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._access_things import FoundExperiment, FoundModel
from ansible_collections.mlops.mlflow.plugins.module_utils._access_workspaces import FoundWorkspace
from ansible_collections.mlops.mlflow.plugins.module_utils._endpoint import failed, plain
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import CRITICAL, PROMISE, report

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# The options of modules that give and take access; documented in plugins/doc_fragments/access.py and connection.py.
OPTIONS: Mapping[str, Mapping[str, Any]] = {**_check.OPTIONS, **_rest.OPTIONS}
STATE: Mapping[str, Any] = {"type": "str", "choices": ["present", "absent"], "default": "present"}
# Of modules whose work is in one workspace.
PLACE: Mapping[str, Mapping[str, Any]] = {"workspace": {"type": "str", "default": _access.DEFAULT_WORKSPACE}}
GRANT: Mapping[str, Mapping[str, Any]] = {
    "resource_type": {
        "type": "str",
        "choices": [*_access.RESOURCES, *_access.PARTS, _access.WORKSPACE],
        "required": True,
    },
    "resource": {"type": "str", "required": True},
    "permission": {"type": "str", "choices": [*_access.PERMISSIONS], "required": True},
}
# MLflow lists each user with all roles and all of their grants.
_BODY_BYTES = 256 * 1024**2
_OF_USERS = (_access.USERS, _access.USER_GRANTS, _access.ROLES)

T = TypeVar("T")


class Stopped(Exception):
    """What is wrong is in the findings."""


@dataclass
class Work:
    """What a module does, from the first question to its answer.

    Args:
        module: whose work it is.
        host: who asks, in findings.
        client: asks.
        workspace: what the questions and changes are about.
    """

    module: AnsibleModule
    host: str
    client: _rest.Client
    workspace: str = _access.DEFAULT_WORKSPACE
    findings: list[dict[str, str]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    known: dict[tuple[str, Later], Any] = field(default_factory=dict)

    # ----- what MLflow has

    def login(self) -> str:
        """Who the login is; he has to be an administrator."""
        user = _part(self.ask("who the login is", f"{_access.USERS}/current"), "user", dict)
        if user.get("is_admin") is not True:
            self.refuse([("ACCESS_DENIED", f"the login {user.get('username')} is no administrator.")])
        return str(user.get("username"))

    def has_workspaces(self) -> bool:
        """Whether MLflow runs with workspaces."""
        told = self.ask("what it is", "/api/3.0/mlflow/server-info", may_miss=True)
        return isinstance(told, Mapping) and told.get("workspaces_enabled") is True

    def enter(self, workspace: str) -> None:
        """Let all that follows be about this workspace, which has to exist."""
        if workspace == _access.DEFAULT_WORKSPACE:
            return
        self.refuse(_access.name_problem(_access.WORKSPACE, workspace))
        self.refuse(_access_workspaces.off_problems(on=self.has_workspaces()))
        if self.workspace_of(workspace) is None:
            self.refuse([("ACCESS_WORKSPACE_UNKNOWN", f"there is no workspace {workspace}.")])
        self.workspace = workspace

    def workspace_of(self, name: str) -> FoundWorkspace | None:
        """A workspace by its name."""
        told = self.ask(f"the workspace {name}", f"{_access_workspaces.WORKSPACES}/{name}", may_miss=True)
        return None if told is None else _workspace(_part(told, "workspace", dict))

    def workspaces(self) -> dict[str, FoundWorkspace]:
        """All workspaces."""
        listed = _part(self.ask("its workspaces", _access_workspaces.WORKSPACES), "workspaces", list)
        return {one.name: one for one in map(_workspace, listed)}

    def contents(self) -> str:
        """What is in the workspace, as far as experiments and models tell; deleted ones count until they are gone for good."""
        holds = []
        for what, path, query in (
            ("experiments", f"{_access_things.EXPERIMENTS}/search", {"max_results": 1, "view_type": "ALL"}),
            ("registered models", f"{_access_things.MODELS}/search", {"max_results": 1}),
        ):
            told = self.ask(f"the {what} of the workspace {self.workspace}", path, query=query)
            if told.get(what.replace(" ", "_")):
                holds.append(what)
        return " and ".join(holds)

    def people(self, *, everywhere: bool = False) -> tuple[list[FoundRole], dict[str, FoundUser]]:
        """All roles of the workspace, or of all, with their members, the hidden ones among them, and all users."""
        query = {} if everywhere else {"workspace": self.workspace}
        listed = _part(self.ask("its roles", f"{_access.ROLES}/list", query=query), "roles", list)
        users = _part(self.ask("its users", f"{_access.USERS}/list"), "users", list)
        belong: dict[int, set[str]] = {}
        with _as_promised():
            for user in users:
                for role in user.get("roles") or ():
                    belong.setdefault(int(role["id"]), set()).add(str(user["username"]))
            return (
                [_role(one, belong.get(int(one["id"]), set())) for one in listed],
                {str(one["username"]): FoundUser(int(one["id"]), bool(one["is_admin"])) for one in users},
            )

    def experiment(self, name: str) -> FoundExperiment | None:
        """An experiment by its name, also a deleted one."""
        path = f"{_access_things.EXPERIMENTS}/get-by-name"
        told = self.ask(f"the experiment {name}", path, query={"experiment_name": name}, may_miss=True)
        if told is None:
            return None
        return _experiment(told)[1]

    def named(self, roles: Iterable[FoundRole], known: Mapping[str, FoundExperiment]) -> dict[str, FoundExperiment]:
        """The experiments that these roles have grants on, by name, and those that are known: for what is said about them."""
        found = dict(known)
        numbers = {one.number for one in known.values()}
        grants = (grant for role in roles for grant in role.grants if grant.kind == EXPERIMENT and grant.pattern != ALL)
        for number in dict.fromkeys(grant.pattern for grant in grants):
            if number not in numbers:
                path = f"{_access_things.EXPERIMENTS}/get"
                told = self.ask(f"the experiment {number}", path, query={"experiment_id": number}, may_miss=True)
                if told is not None:
                    name, one = _experiment(told)
                    found.setdefault(name, one)
        return found

    def model(self, name: str) -> FoundModel | None:
        """A registered model by its name."""
        path = f"{_access_things.MODELS}/get"
        told = self.ask(f"the registered model {name}", path, query={"name": name}, may_miss=True)
        if told is None:
            return None
        found = _part(told, "registered_model", dict)
        with _as_promised():
            return FoundModel(
                description=str(found.get("description") or ""),
                tags=_tags(found),
                has_versions=bool(found.get("latest_versions")),
            )

    def accepts(self, name: str, password: str) -> bool:
        """Whether MLflow takes this login. Nobody else is asked for a password than MLflow itself."""
        other = replace(self.client, username=name, password=password, token="", route=_rest.Route())
        try:
            other.call("GET", f"{_access.USERS}/current")
        except _rest.RestError as error:
            if error.status == 401:
                return False
            self._refuse_error(error, f"the login {name}", f"{_access.USERS}/current")
        return True

    def wanted(self, grants: Iterable[Grant], *, must: bool = True) -> dict[str, FoundExperiment]:
        """The experiments that grants name; with `must`, those and models have to exist."""
        experiments: dict[str, FoundExperiment] = {}
        problems: list[Problem] = []
        for kind, name in dict.fromkeys((one.kind, one.resource) for one in grants if one.resource != ALL):
            exists = True
            if kind == EXPERIMENT:
                found = self.experiment(name)
                exists = found is not None and found.active
                if found is not None:
                    experiments[name] = found
            elif kind == MODEL and must:
                exists = self.model(name) is not None
            if must and not exists:
                problems.append(("ACCESS_RESOURCE_UNKNOWN", f"there is no {_access.where(kind, name)}."))
        self.refuse(problems)
        return experiments

    # ----- asking and telling

    def ask(self, what: str, path: str, *, query: Mapping[str, Any] | None = None, may_miss: bool = False) -> Any:
        """The answer to a question; None if it `may_miss` and MLflow says that there is no such thing."""
        try:
            return self.client.call("GET", path, query=query, headers=_headers(self.workspace))
        except _rest.RestError as error:
            if may_miss and error.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            self._refuse_error(error, what, path)

    def apply(self, plan: Plan) -> None:
        """Send the requests one after the other; in check mode only say what they would do."""
        self.before, self.after = plan.before, plan.after
        for step in plan.steps:
            if not self.module.check_mode:
                workspace = step.workspace or self.workspace
                payload = {
                    name: self.known[workspace, value] if isinstance(value, Later) else value
                    for name, value in step.payload.items()
                }
                try:
                    told = self.client.call(step.method, step.path, payload=payload, headers=_headers(workspace))
                except _rest.RestError as error:
                    self._refuse_error(error, f"'{step.said}'", step.path)
                if step.makes:
                    with _as_promised():
                        made = told if step.makes.kind == EXPERIMENT else _part(told, "role", dict)
                        self.known[workspace, step.makes] = made[
                            "experiment_id" if step.makes.kind == EXPERIMENT else "id"
                        ]
            self.done.append(step.said)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Stop if there is a problem; all of them are said."""
        for finding, said in problems:
            self._find(finding, said)
        if self.findings:
            raise Stopped

    def _find(self, finding: str, said: str, evidence: str = "") -> None:
        summary = said[:1].upper() + said[1:]
        self.findings.append(report(finding, host=self.host, summary=summary, evidence=evidence))

    def _refuse_error(self, error: _rest.RestError, what: str, path: str) -> NoReturn:
        url, who = (
            plain(self.client.url),
            self.client.username or ("with the token" if self.client.token else "of nobody"),
        )
        # What MLflow adds of its database's words holds the values of a row, the hash of a password among them.
        text = str(error).partition(" Error: ")[0]
        code = f"{error.code or f'HTTP {error.status}'}: {text}"
        if error.step != "api":
            failure = {"step": error.step, "reason": error.reason, "text": str(error)}
            self.findings.append(failed(failure, self.client.url, self.host, asdict(self.client.route)))
        elif error.reason != "status" or (error.status == 404 and not error.code and not path.startswith(_OF_USERS)):
            self._find("ENDPOINT_NOT_MLFLOW", f"{url}: what answers for {what} is not MLflow.", code)
        elif error.status == 401:
            self._find("ENDPOINT_LOGIN", f"{url}: the login {who} is refused.", code)
        elif error.status == 403:
            self._find("ACCESS_DENIED", f"{url}: the login {who} may not have {what}.", code)
        elif error.status == 404 and not error.code:
            self._find("ACCESS_NO_LOGINS", f"{url}: it has no users and roles.", code)
        elif error.status >= 500:
            self._find("ENDPOINT_MLFLOW_ERROR", f"{url}: MLflow does not answer for {what}.", code)
        else:
            self._find("ACCESS_REFUSED", f"{what}: {text}.", code)
        raise Stopped


@contextmanager
def _as_promised() -> Iterator[None]:
    """Of what is read from an answer: another shape than the API promises is an answer of somebody else."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _rest.RestError("api", "shape", f"{type(error).__name__} in it") from None


def _part(told: Any, name: str, kind: type[T]) -> T:
    """Of an answer, what the API promises."""
    part = told.get(name) if isinstance(told, Mapping) else None
    if not isinstance(part, kind):
        raise _rest.RestError("api", "shape", f"{name} is missing")
    return part


def numbers_of(experiments: Mapping[str, FoundExperiment]) -> dict[str, str]:
    """Return the numbers of experiments by name, as plans want them."""
    return {name: one.number for name, one in experiments.items()}


def _experiment(told: Any) -> tuple[str, FoundExperiment]:
    """Its name, and what is there."""
    found = _part(told, "experiment", dict)
    with _as_promised():
        return str(found["name"]), FoundExperiment(
            number=str(found["experiment_id"]),
            location=str(found.get("artifact_location") or ""),
            active=found.get("lifecycle_stage") != "deleted",
            tags=_tags(found),
        )


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags") or ()}


def _role(told: Mapping[str, Any], members: Iterable[str]) -> FoundRole:
    grants = (
        FoundGrant(int(one["id"]), str(one["resource_type"]), str(one["resource_pattern"]), str(one["permission"]))
        for one in told.get("permissions") or ()
    )
    return FoundRole(
        id=int(told["id"]),
        name=str(told["name"]),
        description=str(told.get("description") or ""),
        grants=tuple(grants),
        members=frozenset(members),
        workspace=str(told.get("workspace") or _access.DEFAULT_WORKSPACE),
    )


def _workspace(told: Mapping[str, Any]) -> FoundWorkspace:
    with _as_promised():
        return FoundWorkspace(
            name=str(told["name"]),
            description=str(told.get("description") or ""),
            root=str(told.get("default_artifact_root") or ""),
        )


def _headers(workspace: str) -> dict[str, str]:
    """What says which workspace is meant. Without it MLflow takes `default`, and one without workspaces knows no other."""
    return {} if workspace == _access.DEFAULT_WORKSPACE else {_access.WORKSPACE_HEADER: workspace}


def hidden_role(user: FoundUser) -> str:
    """Return the name of the role in which MLflow keeps the grants of a user."""
    return f"{HIDDEN}{user.id}__"


def is_hidden(role: FoundRole) -> bool:
    """Tell whether a role is MLflow's own for the grants of a user."""
    return role.name.startswith(HIDDEN)


def run(module: AnsibleModule, act: Callable[[Work], Mapping[str, Any]]) -> NoReturn:
    """Do a module's work and end it: with all that was found and done, or as failed when `fail_on` says so.

    `refusals` has the sentences of the critical findings, for tasks that ask with secrets (no_log) and judge in the next one.
    """
    host, seconds = _check.begin(module)
    given = module.params
    returned: dict[str, Any] = {}
    work: Work | None = None
    findings: list[dict[str, str]]
    try:
        client = _rest.Client(**{name: given[name] for name in _rest.OPTIONS}, seconds=seconds, body_bytes=_BODY_BYTES)
        work = Work(module, host, client)
        returned.update(act(work))
        findings = work.findings
    except Stopped:
        findings = work.findings if work else []
    except _rest.RestError as error:
        # Of the options of the connection, or an answer of another shape than the API promises.
        if error.step == "api":
            summary = f"{plain(given['url'])}: what answers is not MLflow."
            findings = [report("ENDPOINT_NOT_MLFLOW", host=host, summary=summary, evidence=str(error))]
        else:
            failure = {"step": error.step, "reason": error.reason, "text": str(error)}
            findings = [failed(failure, given["url"], host, {})]
    changes = list(work.done) if work else []
    done = f"Done before it: {'; '.join(changes)}." if changes and not module.check_mode else PROMISE
    returned.update(
        changed=bool(changes),
        changes=changes,
        diff={"before": dict(work.before) if work else {}, "after": dict(work.after) if work else {}},
        findings=findings,
        refusals=[f"{said} {done}" for said in _check.refusals(findings, CRITICAL)],
    )
    if sentences := _check.refusals(findings, given["fail_on"]):
        module.fail_json(msg="\n".join(f"{said} {done}" for said in sentences), **returned)
    module.exit_json(**returned)
