"""All that stands between a browser and MLflow, on loopback: edge, gate, identity provider, MLflow with its users in PostgreSQL.

Edge and gate are rendered from the roles' own templates; MLflow runs in the package of hooks, as a release does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python
from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment as environment_of
from ansible_collections.mlops.mlflow.tests.unit.support.identity import (
    KEY,
    Answer,
    Browser,
    Provider,
    Site,
    place,
    running_edge,
    running_gate,
    running_provider,
    values_for,
)
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import MlflowServer, running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server as Postgresql

API = "https://api.mlflow.test"  # the audience of tokens for programs
PASSWORD = "the-password-of-admin"
ACCOUNTS_KEY = hashlib.sha256(f"accounts {KEY}".encode()).hexdigest()
FAILURES = 3  # failed logins by password that an address has
# What the migration step does on hosts.
MAKE = """
import sys
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(sys.argv[1])
store.create_user("admin", sys.argv[2], is_admin=True)
"""
SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
admin_username = admin
authorization_function = mlops_mlflow_hooks.identity:authenticate
"""
RULES = {
    "accounts": ["admin"],
    "reserved": ["admin"],
    "admin_groups": ["mlflow-admins"],
    "group_roles": {},
    "separator": "\t",
    "seconds": 30,
}
# Every route that the installed MLflow answers: those of Flask, and those that its FastAPI answers itself.
ROUTES = """
import json, os
os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"  # as `mlflow server` says to whoever makes the application
from mlflow.server import app, auth
found = []
def walk(routes, prefix=""):
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if hasattr(route, "effective_route_contexts"):  # a router that was included, as newer releases of FastAPI keep it
            found.extend(("native", sorted(one.methods or []), prefix + one.path) for one in route.effective_route_contexts())
        elif getattr(route, "methods", None):
            found.append(("native", sorted(route.methods), path))
        else:
            walk(getattr(route, "routes", None) or [], path)
walk(auth.create_app(app).routes)
found.extend(("flask", sorted(rule.methods), rule.rule) for rule in app.url_map.iter_rules())
print("routes:" + json.dumps(found))
"""


@dataclass(frozen=True)
class Route:
    """One of MLflow's, with a value in the place of each of its parts that vary."""

    kind: str
    method: str
    pattern: str

    @property
    def path(self) -> str:
        """An address of it."""
        parts = []
        for part in self.pattern.replace("<", "{").replace(">", "}").split("{"):
            _varies, brace, rest = part.partition("}")
            parts.append(f"1{rest}" if brace else part)
        return "".join(parts)


def encoded(data: bytes) -> str:
    """As tokens have it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def basic(user: str, password: str) -> str:
    """What a client that logs in by password sends."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True)
class Signer:
    """Whoever holds the provider's key: it signs what a test wants."""

    file: Path

    @property
    def public(self) -> dict[str, str]:
        """The key that the provider shows."""
        (found,) = json.loads(self.file.read_text())["keys"]
        return {name: found[name] for name in ("kty", "n", "e", "kid", "alg", "use")}

    def token(self, claims: Mapping[str, Any], **head: Any) -> str:
        """A token with exactly these claims."""
        (found,) = json.loads(self.file.read_text())["keys"]
        number = {
            name: int.from_bytes(base64.urlsafe_b64decode(found[name] + "=="), "big")
            for name in ("n", "e", "d", "p", "q", "dp", "dq", "qi")
        }
        key = rsa.RSAPrivateNumbers(
            number["p"],
            number["q"],
            number["d"],
            number["dp"],
            number["dq"],
            number["qi"],
            rsa.RSAPublicNumbers(number["e"], number["n"]),
        ).private_key()
        header = {"alg": "RS256", "kid": found["kid"], "typ": "JWT", **head}
        said = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{said}.{encoded(key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@dataclass(frozen=True)
class Whole:
    """All of it."""

    site: Site
    provider: Provider
    server: MlflowServer
    values: dict[str, Any]
    environment: Mapping[str, str]
    authority: Authority

    @property
    def netloc(self) -> str:
        """As the edge's name is in a Host header."""
        return urllib.parse.urlsplit(self.site.url).netloc

    @property
    def signer(self) -> Signer:
        """Of the provider's tokens."""
        return Signer(self.provider.folder / "provider-keys.json")

    def browser(self, name: str) -> Browser:
        """Somebody who has logged in."""
        browser = self.site.browser()
        answer = browser.log_in(f"{self.site.url}/oidc/start", name, f"password of {name}")
        assert (answer.status, answer.url) == (200, f"{self.site.url}/oidc/start"), answer
        return browser

    def cookie(self, browser: Browser) -> str:
        """Its session."""
        return "; ".join(f"{name}={one.value}" for name, one in browser.cookies[self.netloc].items())

    def raw(self, *parts: bytes | str) -> list[int]:
        """Send exactly these bytes to the edge; what comes until it closes, as statuses."""
        return [int(status) for status in re.findall(r"HTTP/1\.1 (\d{3}) ", self.said(*parts))]

    def said(self, *parts: bytes | str) -> str:
        """Send exactly these bytes to the edge; what comes until it closes."""
        data = b"".join(part if isinstance(part, bytes) else part.encode("latin-1") for part in parts)
        port = urllib.parse.urlsplit(self.site.url).port
        plain = socket.create_connection((LOOPBACK, port), timeout=20)
        with self.site.trust.wrap_socket(plain, server_hostname="localhost") as wrapped:
            wrapped.sendall(data)
            return _until_closed(wrapped).decode("latin-1").replace("\r\n", "\n")

    def at_server(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """A request past the edge, straight to MLflow."""
        return _plain(self.server.port, path, method, headers)

    def routes(self) -> Sequence[Route]:
        """All routes of the installed MLflow, method by method."""
        done = subprocess.run(
            [client_python(), "-c", ROUTES],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        said = [line for line in done.stdout.splitlines() if line.startswith("routes:")]
        assert said, done.stderr[-3000:]
        found = json.loads(said[-1].removeprefix("routes:"))
        return [Route(kind, method, pattern) for kind, methods, pattern in found for method in methods]


def _until_closed(wrapped: ssl.SSLSocket) -> bytes:
    came = b""
    wrapped.settimeout(10)
    with contextlib.suppress(TimeoutError, ssl.SSLEOFError, ConnectionResetError):
        while part := wrapped.recv(65536):
            came += part
    return came


def _plain(port: int, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
    try:
        body = b"{}" if method in ("POST", "PUT", "PATCH", "DELETE") else None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/json", **sent})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode(errors="replace"), path)
    finally:
        connection.close()


@contextlib.contextmanager
def running_whole(folder: Path, postgresql: Postgresql) -> Iterator[Whole]:
    """Start all of it."""
    authority, edge_port = Authority.make("of a test"), free_port()
    url = f"https://localhost:{edge_port}"
    with contextlib.ExitStack() as stack:
        users = stack.enter_context(postgresql.database("whole_login"))
        uri = postgresql.uri(users).replace("postgresql://", "postgresql+psycopg2://")
        subprocess.run([client_python(), "-c", MAKE, uri, PASSWORD], check=True, capture_output=True, timeout=1500)
        (folder / "auth.ini").write_text(SETTINGS.format(uri=uri.replace("%", "%%")))
        environment = {
            "MLFLOW_UVICORN_OPTS": "--timeout-worker-healthcheck 120",
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
            # The server's own probes come by its port.
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"localhost:{edge_port},localhost:*,127.0.0.1:*",
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": url,
            "MLOPS_IDENTITY": json.dumps(RULES),
            "MLOPS_IDENTITY_KEY": KEY,
            "MLOPS_IDENTITY_ACCOUNTS_KEY": ACCOUNTS_KEY,
        }
        server = stack.enter_context(running_mlflow(folder, environment, "mlops-oidc"))
        site = stack.enter_context(place())
        [build] = environment_of("client").glob("lib/python*/site-packages/mlflow/server/js/build")
        ports = {"edge": edge_port, "gate": free_port(), "server": server.port}
        provider = stack.enter_context(running_provider(site, authority, url, API, 600))
        values = values_for(
            site,
            ports,
            mlflow_oidc_issuer=provider.issuer,
            mlflow_oidc_audiences=[API],
            mlflow_oidc_password_accounts=["admin"],
            mlflow_edge_login_failures=FAILURES,
            mlflow_edge_login_window=600,
            # As on a host that has a release as well.
            __mlflow_edge_static_candidate=str(build),
            __mlflow_edge_static={"stat": {"exists": True}},
        )
        stack.enter_context(running_gate(site, values))
        stack.enter_context(running_edge(site, authority, values))
        enumerating = {
            **environment,
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(folder / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        yield Whole(Site(url, provider.trust, site, ports["gate"]), provider, server, values, enumerating, authority)
