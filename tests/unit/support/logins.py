"""A real MLflow with logins: the application of our servers, its two databases in a real PostgreSQL, and people who ask it."""

from __future__ import annotations

import base64
import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import MlflowServer, running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

ADMIN, PASSWORD = "admin", "p:/?#[]@-a-long-password"
# As roles/mlflow_server/templates/auth.ini.j2 with the defaults of the role. A server that changes a login forgets it at once.
SETTINGS = """\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
admin_username = {admin}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
auth_cache_ttl_seconds = 30
"""


@dataclass(frozen=True)
class Person:
    """Somebody with a login."""

    server: MlflowServer
    name: str
    password: str
    workspace: str = ""  # that the requests name; none if it is empty

    def in_workspace(self, name: str) -> Person:
        """The same one, in a workspace."""
        return replace(self, workspace=name)

    def ask(self, method: str, path: str, payload: Any = None, /, **query: Any) -> tuple[int, Any]:
        """Status and answer of a request. Bytes are sent as they are."""
        login = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        url = f"{self.server.url}{path}" + (f"?{urlencode(query)}" if query else "")
        request = urllib.request.Request(
            url,
            data=payload if payload is None or isinstance(payload, bytes) else json.dumps(payload).encode(),
            method=method,
            headers={
                "Authorization": f"Basic {login}",
                "Content-Type": "application/octet-stream" if isinstance(payload, bytes) else "application/json",
                **({"X-MLFLOW-WORKSPACE": self.workspace} if self.workspace else {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _read(error.read())

    def reads(self, experiment: str) -> int:
        """The status of reading an experiment."""
        return self.ask("GET", "/api/2.0/mlflow/experiments/get", experiment_id=experiment)[0]

    def logs(self, experiment: str) -> int:
        """The status of making a run in it."""
        return self.ask("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": 1})[0]

    def deletes(self, experiment: str) -> int:
        """The status of deleting it."""
        return self.ask("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment})[0]


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


@dataclass(frozen=True)
class Logins:
    """A running server with logins."""

    server: MlflowServer

    @property
    def admin(self) -> Person:
        """Its first administrator."""
        return Person(self.server, ADMIN, PASSWORD)

    def person(self, name: str, password: str) -> Person:
        """Anybody."""
        return Person(self.server, name, password)

    def everything(self) -> dict[str, Any]:
        """All users, roles with grants, experiments and models."""
        every: dict[str, Any] = {"view_type": "ALL", "max_results": 1000}
        questions: dict[str, tuple[str, dict[str, Any]]] = {
            "users": ("/api/2.0/mlflow/users/list", {}),
            "roles": ("/api/3.0/mlflow/roles/list", {}),
            "experiments": ("/api/2.0/mlflow/experiments/search", every),
            "models": ("/api/2.0/mlflow/registered-models/search", {"max_results": 1000}),
        }
        found = {}
        for name, (path, query) in questions.items():
            status, answer = self.admin.ask("GET", path, **query)
            assert status == 200, answer
            found[name] = answer
        return found

    def grants(self, role: str) -> dict[tuple[str, str], str]:
        """What a role grants: permission by type and pattern."""
        roles = self.everything()["roles"]["roles"]
        one = next(entry for entry in roles if entry["name"] == role)
        return {
            (grant["resource_type"], grant["resource_pattern"]): grant["permission"] for grant in one["permissions"]
        }

    def members(self, role: str) -> list[str]:
        """Who has a role."""
        users = self.everything()["users"]["users"]
        return sorted(user["username"] for user in users if role in [one["name"] for one in user["roles"]])

    def number(self, experiment: str) -> str:
        """The number of an experiment."""
        path = "/api/2.0/mlflow/experiments/get-by-name"
        return str(self.admin.ask("GET", path, experiment_name=experiment)[1]["experiment"]["experiment_id"])


@contextlib.contextmanager
def running_logins(folder: Path, postgresql: Server) -> Iterator[Logins]:
    """Start a server whose databases are new."""
    with (
        login_databases(folder, postgresql) as environment,
        running_mlflow(folder, environment, app="mlops-basic") as server,
    ):
        yield Logins(server)


@contextlib.contextmanager
def login_databases(folder: Path, postgresql: Server) -> Iterator[dict[str, str]]:
    """Make the databases, and return the environment of a server that has them."""

    def uri(name: str) -> str:
        return postgresql.uri(name).replace("postgresql:", "postgresql+psycopg2:")

    with postgresql.database("access_tracking") as tracking, postgresql.database("access_logins") as logins:
        settings = folder / "auth.ini"
        settings.write_text(SETTINGS.format(uri=uri(logins).replace("%", "%%"), admin=ADMIN), encoding="utf-8")
        yield {
            "MLFLOW_BACKEND_STORE_URI": uri(tracking),
            "MLFLOW_AUTH_CONFIG_PATH": str(settings),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-of-this-test-and-nothing-else",
        }
