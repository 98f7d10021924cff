"""The identity function inside of MLflow, as a release runs it: two workers, MLflow's own users and roles in PostgreSQL."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import MlflowServer, running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

KEY, ACCOUNTS_KEY, JOBS_KEY = "gate-" * 8, "accounts-" * 4, "jobs-" * 8
ADMIN, SERVICE = ("admin", "the-password-of-admin"), ("nightly", "the-password-of-nightly")
RULES = {
    "accounts": ["admin", "nightly"],
    "reserved": ["admin", "nightly"],
    "admin_groups": ["mlflow-admins"],
    "group_roles": {},
    "separator": "\t",
    "seconds": 1,
}
# What the migration step does on hosts.
MAKE = """
import sys
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(sys.argv[1])
for name, password, admin in (("admin", sys.argv[2], True), ("nightly", sys.argv[3], False), ("old", "the-password-of-old", True)):
    store.create_user(name, password, is_admin=admin)
"""
SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
admin_username = admin
authorization_function = mlops_mlflow_hooks.identity:authenticate
"""
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
TRACES = "/v1/traces"
CURRENT = "/ajax-api/2.0/mlflow/users/current"


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Release:
    """A server, and its database of users."""

    server: MlflowServer
    postgresql: Server
    database: str

    def ask(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        """Send a request, straight to the server: headers with underscores for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method or ("GET" if data is None else "POST"), path, data, sent)
            response = connection.getresponse()
            return Answer(
                response.status,
                response.read().decode(errors="replace"),
                {name.lower(): value for name, value in response.getheaders()},
            )
        finally:
            connection.close()

    def as_(self, user: str, *groups: str, path: str = SEARCH, body: Any = None, method: str = "") -> Answer:
        """Send a request as the edge does for somebody whom the gate let in."""
        return self.ask(
            path,
            body,
            method,
            X_Proxy_Key=KEY,
            X_Forwarded_User=user.encode().decode("latin-1"),
            X_Forwarded_Groups="\t".join(groups).encode().decode("latin-1"),
        )

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.postgresql.execute(statement, *values, database=self.database)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def release(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    with postgresql.database("identity_users") as users:
        uri = postgresql.uri(users).replace("postgresql://", "postgresql+psycopg2://")
        subprocess.run(
            [client_python(), "-c", MAKE, uri, ADMIN[1], SERVICE[1]], check=True, capture_output=True, timeout=1500
        )
        settings = folder / "auth.ini"
        settings.write_text(SETTINGS.format(uri=uri.replace("%", "%%")))
        environment = {
            "MLFLOW_WORKERS": "2",
            "MLFLOW_UVICORN_OPTS": "--timeout-worker-healthcheck 120",
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
            "MLOPS_IDENTITY": json.dumps(RULES),
            "MLOPS_IDENTITY_KEY": KEY,
            "MLOPS_IDENTITY_ACCOUNTS_KEY": ACCOUNTS_KEY,
            "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN": JOBS_KEY,
        }
        with running_mlflow(folder, environment, "mlops-oidc") as server:
            yield Release(server, postgresql, users)


PROTECTED = [
    ("GET", SEARCH),
    ("POST", "/api/2.0/mlflow/runs/search"),
    ("GET", "/version"),
    ("POST", "/graphql"),
    ("GET", CURRENT),
    ("GET", "/get-artifact?run_id=0&path=x"),
    # Not of Flask.
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/x"),
    ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/0/x"),
    ("POST", TRACES),
    ("POST", "/gateway/any/mlflow/invocations"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_nobody_is_let_in_whom_the_edge_does_not_vouch_for(release: Release, method: str, path: str) -> None:
    said = {"X_Forwarded_User": "alice", "X_Forwarded_Groups": "mlflow-admins"}
    body = b"{}" if method != "GET" else None
    for headers in (
        {},
        said,
        {**said, "X_Proxy_Key": KEY[:-1]},
        {**said, "X_Proxy_Key": KEY.upper()},
        {**said, "X_Proxy_Key": ""},
        {**said, "X_Proxy_Key": f"{KEY},{KEY}"},
        {**said, "X_Proxy_Key": "\xff" * 40},
        {"Authorization": basic(*ADMIN)},
        {"Authorization": f"Bearer {KEY}"},
        {"X_Proxy_Key": KEY},
        {"X_Proxy_Key": KEY, "Authorization": basic(*ADMIN)},
    ):
        answer = release.ask(path, body, method, **headers)
        assert answer.status == 401, (headers, answer)
        assert "www-authenticate" not in answer.headers, "a browser would ask for a password that nobody has"
    assert release.sql("SELECT 1 FROM users WHERE username = 'alice'") == []


def test_somebody_new_is_a_user_once_however_many_ask_at_once(release: Release) -> None:
    release.sql("INSERT INTO roles (name, workspace) VALUES ('crowd', 'default')")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _number: release.as_("carol@example.test", "crowd", path=CURRENT), range(48)))
    assert {answer.status for answer in answers} == {200}, [one for one in answers if one.status != 200]
    assert {answer.json["user"]["username"] for answer in answers} == {"carol@example.test"}
    assert {answer.json["user"]["is_admin"] for answer in answers} == {False}
    ((count, roles),) = release.sql(
        "SELECT count(DISTINCT users.id), count(*) FROM users JOIN user_role_assignments ON user_id = users.id "
        "WHERE username = 'carol@example.test'"
    )
    assert (count, roles) == (1, 1)


def test_names_of_all_languages_are_names(release: Release) -> None:
    answer = release.as_("jörg@bücher.test", path=CURRENT)
    assert answer.json["user"]["username"] == "jörg@bücher.test"
    # By way of a native route as well: the same user.
    assert release.as_("jörg@bücher.test", path="/api/2.0/mlflow-artifacts/artifacts/0/x").status == 403
    assert release.sql("SELECT count(*) FROM users WHERE username LIKE 'j%%rg@%%'") == [(1,)]


def is_admin(release: Release, user: str, *groups: str) -> bool:
    return bool(release.as_(user, *groups, path=CURRENT).json["user"]["is_admin"])


def until(expected: int, ask: Callable[[], Answer]) -> None:
    """What one worker remembers another may have changed meanwhile: it lasts no longer than the rules say (a second here)."""
    deadline = time.monotonic() + 20
    while (answer := ask()).status != expected:
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)


def test_an_administrator_is_one_as_long_as_the_group_says_so(release: Release) -> None:
    assert not is_admin(release, "dora")
    assert is_admin(release, "dora", "mlflow-admins", "others")
    assert not is_admin(release, "dora", "others")
    assert not is_admin(release, "dora", "x,mlflow-admins")
    assert (
        release.as_(
            "dora", "more", path="/api/2.0/mlflow/users/delete", body={"username": "old"}, method="DELETE"
        ).status
        == 403
    )


def test_rights_follow_the_groups_on_all_routes(release: Release) -> None:
    admin = ("root@example.test", "mlflow-admins")
    made = release.as_("owner", path="/api/2.0/mlflow/experiments/create", body={"name": "of the owner"})
    experiment = made.json["experiment_id"]
    artifact = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/run/artifacts/file.txt"
    assert release.as_("owner", path=artifact, body=b"bytes", method="PUT").status == 200
    role = release.as_(
        *admin, path="/api/3.0/mlflow/roles/create", body={"name": "team1", "workspace": "default"}
    ).json["role"]["id"]
    granted = release.as_(
        *admin,
        path="/api/3.0/mlflow/roles/permissions/add",
        body={"role_id": role, "resource_type": "experiment", "resource_pattern": experiment, "permission": "READ"},
    )
    assert granted.status == 200, granted
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    for groups, read in (((), 403), (("team1",), 200), (("team2", "team1"), 200), ((), 403)):
        until(read, functools.partial(release.as_, "bob", *groups, path=get))
        until(read, functools.partial(release.as_, "bob", *groups, path=artifact))
        assert release.as_("bob", *groups, path=artifact, body=b"x", method="PUT").status == 403
        deleted = release.as_(
            "bob", *groups, path="/api/2.0/mlflow/experiments/delete", body={"experiment_id": experiment}
        )
        assert deleted.status == 403
    assert release.as_("owner", path=get).status == 200, "what was granted to the owner alone stays"
    # The role that holds what the owner has is no group.
    ((own,),) = release.sql(
        "SELECT roles.name FROM roles JOIN user_role_assignments ON role_id = roles.id JOIN users ON user_id = users.id "
        "WHERE username = 'owner'"
    )
    assert release.as_("bob", own, path=get).status == 403


def test_what_somebody_else_changed_in_the_database_does_not_last(release: Release) -> None:
    assert not is_admin(release, "fritz")
    release.sql("UPDATE users SET is_admin = true WHERE username = 'fritz'")
    assert not is_admin(release, "fritz", "another group, so that no worker remembers")


@pytest.mark.parametrize("name", ["admin", "nightly", "x" * 256, "bob\u200b"])
def test_names_of_accounts_and_impossible_ones_are_refused(release: Release, name: str) -> None:
    for path in (SEARCH, "/api/2.0/mlflow-artifacts/artifacts/0/x"):
        answer = release.as_(name, "mlflow-admins", path=path)
        assert answer.status == 403, answer
        assert "identity provider" in answer.body
    assert release.sql("SELECT is_admin FROM users WHERE username = 'admin'") == [(True,)]


def test_accounts_log_in_by_password_on_a_path_of_their_own(release: Release) -> None:
    artifact = "/api/2.0/mlflow-artifacts/artifacts/0/x"
    for path, status in ((CURRENT, 200), (artifact, 403)):
        answer = release.ask(path, X_Proxy_Key=ACCOUNTS_KEY, Authorization=basic(*SERVICE))
        assert answer.status == status, answer
        for wrong in (
            {"Authorization": basic(SERVICE[0], "wrong-password")},
            {"Authorization": basic("old", "the-password-of-old")},  # right, but none of the accounts
            {"X_Forwarded_User": "alice", "X_Forwarded_Groups": "mlflow-admins"},
            {"Authorization": basic(SERVICE[0], JOBS_KEY)},
        ):
            answer = release.ask(path, X_Proxy_Key=ACCOUNTS_KEY, **wrong)
            assert (answer.status, answer.headers.get("www-authenticate")) == (401, 'Basic realm="mlflow"'), wrong
    admin = release.ask(CURRENT, X_Proxy_Key=ACCOUNTS_KEY, Authorization=basic(*ADMIN))
    assert admin.json["user"]["is_admin"] is True


def test_jobs_of_mlflow_reach_its_gateway_and_nothing_else(release: Release) -> None:
    job = {"Authorization": basic("admin", JOBS_KEY)}
    assert release.ask("/gateway/any/mlflow/invocations", {}, **job).status not in (401, 403)
    assert release.ask("/gateway/any/mlflow/invocations", {}, Authorization=basic("nobody", JOBS_KEY)).status == 401
    assert release.ask(SEARCH, **job).status == 401
    assert release.ask(TRACES, b"{}", **job).status == 401


def test_what_the_server_says_to_everybody_stays_open(release: Release) -> None:
    for path in ("/health", "/mlops/ready", "/api/3.0/mlflow/server-info"):
        assert release.ask(path).status == 200


def test_the_log_holds_no_key(release: Release) -> None:
    log = Path(release.server.log).read_text(errors="replace")
    assert "Made the user carol@example.test" in log
    assert not [secret for secret in (KEY, ACCOUNTS_KEY, JOBS_KEY, ADMIN[1], SERVICE[1]) if secret in log]
