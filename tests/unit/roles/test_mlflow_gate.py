# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gate and edge with a real identity provider: nginx, Apache and mod_auth_openidc as Debian ships them, from the roles' own templates."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer
from ansible_collections.mlops.mlflow.tests.unit.support.identity import (
    ACCOUNTS,
    KEY,
    USERS,
    Answer,
    Browser,
    Provider,
    Site,
    debian,
    libraries,
    place,
    render,
    running_edge,
    running_gate,
    running_provider,
    running_redis,
    values_for,
)
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import Played, play

API = "https://api.mlflow.test"  # the audience of tokens for programs
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@dataclass
class Server:
    """What stands behind the edge: it answers what it was asked."""

    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        said = {name.lower(): value.encode("latin-1").decode() for name, value in request.headers.items()}
        status = 401 if request.headers.get("Authorization", "").endswith("d3Jvbmc=") else 200
        body = json.dumps({"path": request.path, "headers": said}).encode()
        return Reply(
            status, body, {"Set-Cookie": "session=of-a-form; HttpOnly; Path=/"} if request.path == "/signup" else {}
        )


@dataclass(frozen=True)
class Login:
    """All of it."""

    site: Site
    provider: Provider
    server: Server
    values: dict[str, Any]
    authority: Authority

    def browser(self, name: str) -> Browser:
        """Somebody who has logged in."""
        browser = self.site.browser()
        answer = browser.log_in(f"{self.site.url}/oidc/start", name, f"password of {name}")
        assert (answer.status, answer.url) == (200, f"{self.site.url}/oidc/start"), answer
        return browser

    def said(self, browser: Browser, path: str = SEARCH, **headers: str) -> dict[str, str]:
        """What the server heard about whoever asks."""
        answer = browser.ask(self.site.url + path, **headers)
        assert answer.status == 200, answer
        heard: dict[str, str] = json.loads(answer.body)["headers"]
        return heard


@pytest.fixture(scope="module")
def login() -> Iterator[Login]:
    authority, server = Authority.make("of a test"), Server()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(place())
        port = stack.enter_context(http_peer(server.answer))
        ports = {"edge": free_port(), "gate": free_port(), "server": port}
        url = f"https://localhost:{ports['edge']}"
        provider = stack.enter_context(running_provider(folder, authority, url, API, 600))
        values = values_for(
            folder,
            ports,
            mlflow_oidc_issuer=provider.issuer,
            mlflow_oidc_audiences=[API],
            mlflow_oidc_password_accounts=ACCOUNTS,
            mlflow_edge_login_failures=3,
            mlflow_edge_allowed_origins=["https://notebooks.example.com", "https://*.lab.example.com", "*"],
        )
        stack.enter_context(running_gate(folder, values))
        stack.enter_context(running_edge(folder, authority, values))
        yield Login(Site(url, provider.trust, folder, ports["gate"]), provider, server, values, authority)


@pytest.fixture(autouse=True)
def forgotten(login: Login) -> None:
    login.server.asked.clear()


def test_a_browser_logs_in_once_and_the_server_hears_who_it_is(login: Login) -> None:
    browser = login.browser("bob")
    (begun,) = [url for url in browser.seen if "/auth?" in url]
    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(begun).query))
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{login.site.url}/oidc/callback"
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    heard = login.said(browser)
    assert (heard["x-forwarded-user"], heard["x-forwarded-groups"].split("\t")) == ("bob", ["mlflow-users", "größe, x"])
    assert heard["x-proxy-key"] == KEY
    assert "cookie" not in heard
    assert "authorization" not in heard
    # Every path is one check; nobody is sent to the provider again.
    assert browser.ask(f"{login.site.url}/").status == 200
    assert not [url for url in browser.seen[-2:] if login.provider.issuer in url]


def test_cookies_are_for_this_host_by_tls_and_not_for_scripts_or_other_sites(login: Login) -> None:
    jar = login.browser("bob").cookies[urllib.parse.urlsplit(login.site.url).netloc]
    assert list(jar) == ["__Host-mlflow_session"], "the cookie of a login that was begun is gone"
    (session,) = jar.values()
    assert session["secure"]
    assert session["httponly"]
    assert (session["path"], session["samesite"], session["domain"]) == ("/", "Lax", "")


def test_cookies_of_mlflow_are_for_tls_and_not_for_other_sites(login: Login) -> None:
    """MLflow sets one for its forms, and says neither."""
    browser = login.browser("bob")
    assert browser.ask(f"{login.site.url}/signup").status == 200
    morsel = browser.cookies[urllib.parse.urlsplit(login.site.url).netloc]["session"]
    assert (bool(morsel["secure"]), bool(morsel["httponly"]), morsel["samesite"].lower()) == (True, True, "lax")


def test_names_and_groups_of_all_languages_arrive(login: Login) -> None:
    assert login.said(login.browser("joerg"))["x-forwarded-user"] == "jörg"


def test_a_wrong_password_stays_at_the_provider(login: Login) -> None:
    browser = login.site.browser()
    answer = browser.log_in(f"{login.site.url}/oidc/start", "bob", "wrong")
    assert (answer.status, "Name or password is wrong" in answer.body) == (401, True)
    assert browser.ask(login.site.url + SEARCH).status == 401


@pytest.mark.parametrize("name", ["eve", "groupless"])
def test_somebody_outside_of_the_groups_reads_so_and_is_not_sent_in_circles(login: Login, name: str) -> None:
    browser = login.browser(name)
    page = browser.ask(f"{login.site.url}/")
    assert (page.status, page.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "None of your groups may use MLflow here" in page.body
    assert "/oidc/sign-out" in page.body
    answer = browser.ask(login.site.url + SEARCH, Accept="application/json")
    assert (answer.status, json.loads(answer.body)["error_code"]) == (403, "PERMISSION_DENIED")
    assert login.server.asked == []


def test_somebody_without_a_name_is_nobody(login: Login) -> None:
    browser = login.site.browser()
    browser.log_in(f"{login.site.url}/oidc/start", "nameless", USERS["nameless"]["password"])
    assert browser.ask(login.site.url + SEARCH).status in (401, 403, 503)
    assert login.server.asked == []


SPOOFS = {
    "X_Forwarded_User": "alice",
    "X_Forwarded_Groups": "mlflow-admins",
    "X_Auth_User": "alice",
    "X_Auth_Groups": "mlflow-admins",
    "X_Proxy_Key": KEY,
    "Remote_User": "alice",
    "OIDC-CLAIM-groups": "mlflow-admins",
}


@pytest.mark.parametrize(
    "path", ["/", SEARCH, "/v1/traces", "/metrics-not", "/health/x", "/static-files/x", "/graphql"]
)
@pytest.mark.parametrize(
    "headers", [{}, SPOOFS, {"Authorization": "Basic YWRtaW46YWRtaW4="}], ids=["", "spoof", "basic"]
)
def test_nobody_anonymous_reaches_the_server(login: Login, path: str, headers: dict[str, str]) -> None:
    answer = login.site.ask(path, **headers)
    assert (answer.status, json.loads(answer.body)["error_code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["Cache-Control"] == "no-store"
    page = login.site.ask(path, Accept="text/html,*/*", **headers)
    assert (page.status, page.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    (nonce,) = re.findall('script nonce="([0-9a-f]{32})"', page.body)
    assert f"script-src 'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
    assert login.server.asked == []


def test_what_a_client_says_about_itself_is_not_heard(login: Login) -> None:
    browser = login.browser("bob")
    said = {**SPOOFS, "X_FORWARDED_USER": "alice", "x_forwarded_groups": "mlflow-admins", "Authorization_": "x"}
    heard = login.said(browser, **said)
    assert (heard["x-forwarded-user"], heard["x-proxy-key"]) == ("bob", KEY)
    assert "mlflow-admins" not in heard["x-forwarded-groups"]
    assert not {"remote-user", "x-auth-user", "x-auth-groups"} & heard.keys()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://notebooks.example.com", 200),
        ("https://x.lab.example.com", 200),
        ("https://notebooks.example.com.evil.example.test", 403),
        ("https://notebooksXexample.com", 403),
        ("http://notebooks.example.com", 403),
        ("https://another.example.com", 403),
        ("null", 403),
    ],
)
def test_pages_of_sites_that_were_named_may_ask_and_no_others(login: Login, origin: str, status: int) -> None:
    answer = login.browser("bob").ask(login.site.url + SEARCH, "POST", b"{}", Origin=origin)
    assert answer.status == status, answer
    assert bool(login.server.asked) is (status == 200)
    if status == 403:
        assert "A page of another site may not use MLflow in your name" in json.loads(answer.body)["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/mlops/gate",
        "/mlops/sign-in",
        "/mlops/ready",
        "/mlops/not-allowed",
        "/metrics",
        "/oidc/",
        "/oidc/x",
        "/accounts/mlops/ready",
        "/accounts/%6dlops/ready",
        "/accounts//mlops/ready",
        "/accounts/x/../mlops/ready",
        "/accounts/metrics",
    ],
)
def test_what_is_not_for_clients_is_not_there(login: Login, path: str) -> None:
    assert login.site.ask(path, Authorization="Basic YWRtaW46cmlnaHQ=").status == 404
    assert login.server.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "/health/../api/2.0/mlflow/experiments/search",
        "/health%2f..%2fapi/2.0/mlflow/experiments/search",
        "/accounts/../api/2.0/mlflow/experiments/search",
        "/oidc/../api/2.0/mlflow/experiments/search",
        "//api/2.0/mlflow/experiments/search",
        "/%61pi/2.0/mlflow/experiments/search",
        "/health/",
        "/healthz",
    ],
)
def test_no_way_of_writing_a_path_leads_around_the_gate(login: Login, path: str) -> None:
    assert login.site.ask(path).status == 401
    assert login.server.asked == []


def test_health_is_open_and_says_nothing_about_who_asks(login: Login) -> None:
    assert login.site.ask("/health", **SPOOFS).status == 200
    (request,) = login.server.asked
    assert not {"x-proxy-key", "x-forwarded-user", "x-forwarded-groups"} & {name.lower() for name in request.headers}


# ----- programs


def bearer(login: Login, token: str, path: str = SEARCH) -> Answer:
    return login.site.ask(path, Authorization=f"Bearer {token}")


def test_a_program_brings_a_token(login: Login) -> None:
    answer = bearer(login, login.provider.token("ci", API))
    assert answer.status == 200, answer
    heard = json.loads(answer.body)["headers"]
    assert (heard["x-forwarded-user"], heard["x-forwarded-groups"]) == ("ci-runner", "mlflow-users")
    assert "authorization" not in heard, "the token is the gate's affair"


def test_a_token_for_somebody_else_is_none(login: Login) -> None:
    assert bearer(login, login.provider.token("ci", "https://another.example.test")).status == 403


def test_a_program_outside_of_the_groups_is_refused(login: Login) -> None:
    assert bearer(login, login.provider.token("stranger", API)).status == 403


def _encoded(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def test_tokens_that_nobody_signed_are_refused(login: Login) -> None:
    token = login.provider.token("ci", API)
    head, claims, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    admin = _encoded({**told, "groups": ["mlflow-admins"]})
    for forged in (
        f"{head}.{admin}.{signature}",
        f"{_encoded({'alg': 'none'})}.{admin}.",
        f"{_encoded({'alg': 'HS256', 'kid': 'k'})}.{admin}.{signature}",
        f"{head}.{claims}.{signature[:-6]}AAAAAA",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        "garbage",
        "",
    ):
        assert bearer(login, forged).status == 401, forged
    assert login.server.asked == []


def test_a_token_of_another_provider_is_refused(login: Login) -> None:
    with place() as folder, running_provider(folder, login.authority, login.site.url, API, 600) as another:
        assert bearer(login, another.token("ci", API)).status == 401
    # Some sign for all of their customers with the same keys: then the issuer tells them apart.
    keys = login.provider.folder / "provider-keys.json"
    with place() as folder, running_provider(folder, login.authority, login.site.url, API, 600, keys) as another:
        assert bearer(login, another.token("ci", API)).status == 403
    assert login.server.asked == []


# ----- accounts with passwords


def basic(password: str = "right", user: str = "admin") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_accounts_have_a_path_and_a_key_of_their_own(login: Login) -> None:
    artifact = "/api/2.0/mlflow-artifacts/artifacts/0/a%2Fb%20c?x=%2F"
    answer = login.site.ask(f"/accounts{artifact}", Authorization=basic(), **SPOOFS)
    assert answer.status == 200, answer
    said = json.loads(answer.body)
    assert said["path"] == artifact, "as it was sent"
    assert said["headers"]["authorization"] == basic()
    assert said["headers"]["x-proxy-key"] not in (KEY, "")
    assert not {"x-forwarded-user", "x-forwarded-groups", "cookie"} & said["headers"].keys()


@pytest.mark.parametrize("authorization", ["", "Bearer x", "Negotiate x"])
def test_who_brings_no_password_there_is_asked_for_one(login: Login, authorization: str) -> None:
    answer = login.site.ask("/accounts/health", **({"Authorization": authorization} if authorization else {}))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="mlflow"')
    assert login.server.asked == []


def test_guessing_there_is_limited_and_an_accepted_password_goes_on(login: Login) -> None:
    assert login.site.ask(f"/accounts{SEARCH}", Authorization=basic()).status == 200
    guesses = [login.site.ask(f"/accounts{SEARCH}", Authorization=basic("wrong", f"a{n}")).status for n in range(6)]
    assert guesses == [401, 401, 401, 429, 429, 429]
    assert login.site.ask(f"/accounts{SEARCH}", Authorization=basic()).status == 200
    # The login of everybody else is not that of accounts.
    assert bearer(login, login.provider.token("ci", API)).status == 200


def test_the_log_says_who_it_was_and_no_secret(login: Login) -> None:
    login.said(login.browser("alice"), "/graphql?of-alice")
    token = login.provider.token("ci", API)
    bearer(login, token, "/graphql?of-ci")
    time.sleep(0.5)
    lines = [json.loads(line) for line in (login.site.folder / "access.log").read_text().splitlines()]
    users = {entry["user"] for entry in lines if entry["path"] == "/graphql" and entry["status"] == 200}
    assert {"alice", "ci-runner"} <= users
    assert not [secret for secret in (KEY, "secret of mlflow", token, "password of") if secret in login.site.logs]


# ----- the end of a session


def test_a_logout_ends_the_session_here_and_at_the_provider(login: Login) -> None:
    browser = login.browser("bob")
    kept = dict(browser.cookies[urllib.parse.urlsplit(login.site.url).netloc])
    answer = browser.go(f"{login.site.url}/oidc/sign-out")
    if "logout" in answer.body and login.provider.issuer in answer.url:  # the provider asks whether one means it
        (action,) = re.findall('action="([^"]+)"', answer.body)
        fields = dict(re.findall('name="([^"]+)" value="([^"]*)"', answer.body)) | {"logout": "yes"}
        done = browser.ask(
            action, "POST", urllib.parse.urlencode(fields).encode(), Content_Type="application/x-www-form-urlencoded"
        )
        answer = browser.go(done.location)
    assert (answer.status, answer.url) == (200, f"{login.site.url}/oidc/signed-out"), answer
    # The cookie as it was is worth nothing.
    browser.cookies[urllib.parse.urlsplit(login.site.url).netloc] = kept
    assert browser.ask(login.site.url + SEARCH).status == 401
    assert "The company's login" in browser.go(f"{login.site.url}/oidc/start").body


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example.test/",
        "//evil.example.test/",
        "https://localhost.evil.example.test/oidc/signed-out",
        "{url}/oidc/signed-out/../../x",
        "{url}.evil.example.test/oidc/signed-out",
        "{url}@evil.example.test/oidc/signed-out",
        "https://evil.example.test/<script>",
    ],
)
def test_a_logout_leads_to_no_other_place(login: Login, target: str) -> None:
    wanted = urllib.parse.quote(target.format(url=login.site.url), safe="")
    answer = login.browser("bob").ask(f"{login.site.url}/oidc/callback?logout={wanted}")
    assert "Location" not in answer.headers
    assert "not allowed" in answer.body or "not a valid URL" in answer.body, answer
    assert "<script>" not in answer.body


def test_what_leads_back_after_a_login_is_never_another_site(login: Login) -> None:
    # The address is kept by the browser itself; nothing of it is in what is sent.
    script = login.site.ask("/oidc/start.js")
    assert (script.status, script.headers["Content-Type"]) == (200, "text/javascript")
    assert "target.origin === location.origin" in script.body
    page = login.browser("bob").ask(f"{login.site.url}/oidc/start?rd=https://evil.example.test/")
    assert (page.status, "evil" in page.body) == (200, False)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]


def test_an_answer_that_was_not_asked_for_logs_nobody_in(login: Login) -> None:
    browser = login.site.browser()
    answer = browser.ask(f"{login.site.url}/oidc/callback?code=x&state=y")
    assert answer.status in (400, 401, 500, 302)
    assert browser.ask(login.site.url + SEARCH).status == 401
    planted = login.site.browser()
    netloc = urllib.parse.urlsplit(login.site.url).netloc
    planted.ask(login.site.url + "/", Cookie="__Host-mlflow_session=chosen-by-somebody-else")
    planted.log_in(f"{login.site.url}/oidc/start", "bob", "password of bob")
    assert planted.cookies[netloc]["__Host-mlflow_session"].value != "chosen-by-somebody-else"


def test_logins_that_are_begun_and_not_ended_do_not_pile_up(login: Login) -> None:
    browser = login.site.browser()
    for _turn in range(12):
        browser.ask(f"{login.site.url}/oidc/start")
    begun = [name for name in browser.cookies[urllib.parse.urlsplit(login.site.url).netloc] if "state" in name]
    assert 1 <= len(begun) <= 8


def test_without_a_gate_nobody_is_let_in(login: Login) -> None:
    closed = {**login.values, "__mlflow_edge_gate": {"netloc": f"127.0.0.1:{free_port()}", "path": "/check"}}
    with place() as folder:
        changed = {
            name: str(folder / Path(value).name)
            if isinstance(value, str) and value.startswith(f"{login.site.folder}/")
            else value
            for name, value in closed.items()
        }
        changed["mlflow_edge_https_port"] = free_port()
        with running_edge(folder, login.authority, changed):
            url = f"https://localhost:{changed['mlflow_edge_https_port']}"
            for headers in ({}, {"Authorization": f"Bearer {login.provider.token('ci', API)}"}, SPOOFS):
                answer = Browser(login.site.trust).ask(url + SEARCH, **headers)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert login.server.asked == []
            assert Browser(login.site.trust).ask(f"{url}/health").status == 200


@dataclass(frozen=True)
class Edges:
    """Two edges of one name, which share sessions in a Redis, and how the Redis is had."""

    addresses: tuple[str, ...]
    redis: contextlib.ExitStack

    def status(self, browser: Browser, url: str) -> list[int]:
        """What each edge answers to whoever asks."""
        said = []
        for address in self.addresses:
            browser.ways[urllib.parse.urlsplit(url).netloc] = address
            said.append(browser.ask(url).status)
        return said


@pytest.fixture
def edges(login: Login) -> Iterator[Edges]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(contextlib.ExitStack())
        shared = redis.enter_context(running_redis(redis.enter_context(place()), "requirepass 'of \"sessions\"'"))
        addresses = ("127.0.0.2", "127.0.0.3")
        for address in addresses:
            folder = stack.enter_context(place())
            login.authority.write(folder / "provider-ca.pem")
            upstream = login.values["mlflow_edge_upstreams"][0]["ports"][0]
            ports = {"edge": login.values["mlflow_edge_https_port"], "gate": free_port(), "server": upstream}
            values = values_for(
                folder,
                ports,
                mlflow_oidc_issuer=login.provider.issuer,
                mlflow_oidc_audiences=[API],
                mlflow_edge_listen_addresses=[address],
                mlflow_gate_cache="redis",
                mlflow_gate_redis_server=f"127.0.0.1:{shared}",
                mlflow_gate_redis_password='of "sessions"',
            )
            stack.enter_context(running_gate(folder, values))
            stack.enter_context(running_edge(folder, login.authority, values))
        yield Edges(addresses, redis)


def logged_in(login: Login, edges: Edges) -> Browser:
    """Bob, at the first edge, which has the public name for as long."""
    browser = login.site.browser()
    browser.ways[urllib.parse.urlsplit(login.site.url).netloc] = edges.addresses[0]
    assert browser.log_in(f"{login.site.url}/oidc/start", "bob", "password of bob").status == 200
    return browser


def test_a_session_is_known_to_every_edge_and_ends_on_all(login: Login, edges: Edges) -> None:
    browser = logged_in(login, edges)
    assert edges.status(browser, login.site.url + SEARCH) == [200, 200]
    assert [asked.headers["X-Forwarded-User"] for asked in login.server.asked] == ["bob", "bob"]
    # A copy of the cookie: what ends is the session, not what the browser keeps.
    copy = Browser(browser.trust, {name: dict(jar) for name, jar in browser.cookies.items()})
    browser.go(f"{login.site.url}/oidc/sign-out")
    assert edges.status(copy, login.site.url + SEARCH) == [401, 401]


def test_without_its_redis_nobody_has_a_session(login: Login, edges: Edges) -> None:
    browser = logged_in(login, edges)
    assert edges.status(browser, login.site.url + SEARCH) == [200, 200]
    login.server.asked.clear()
    edges.redis.close()
    assert set(edges.status(browser, login.site.url + SEARCH)) <= {401, 503}
    assert login.server.asked == []
    # Programs have no session, and go on.
    program = Browser(login.site.trust, ways={urllib.parse.urlsplit(login.site.url).netloc: edges.addresses[1]})
    token = f"Bearer {login.provider.token('ci', API)}"
    assert program.ask(login.site.url + SEARCH, Authorization=token).status == 200


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_gate, tasks_from: preflight, public: true}
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_gate, tasks_from: ENTRY}
"""


def played(login: Login, folder: Path, entry: str, **changes: Any) -> Played:
    """A part of the role on this machine, with the running provider."""
    program = folder / "apache2"
    variables = " ".join(f"{name}={value}" for name, value in libraries().items())
    program.write_text(f'#!/bin/sh\nexec /usr/bin/env {variables} {debian()}/usr/sbin/apache2 "$@"\n')
    program.chmod(0o755)
    own = {name: value for name, value in login.values.items() if name.startswith(("mlflow_oidc", "mlflow_gate"))}
    given = {"mlflow_environment": "test", "mlflow_domain": "mlflow.test", "mlflow_auth": "oidc", **own, **changes}
    (folder / "input.json").write_text(json.dumps({**given, "mlflow_config_dir": str(folder)}))
    (folder / "play.yml").write_text(PLAY.replace("ENTRY", entry))
    internals = {
        "__mlflow_gate_program": str(program),
        "__mlflow_gate_modules": login.values["__mlflow_gate_modules"],
        "__mlflow_gate_log": str(folder / "gate.log"),
        "__mlflow_gate_run": str(folder),
        "__mlflow_gate_tries": 1,
        "ansible_python_interpreter": sys.executable,
    }
    return play(folder, folder / "play.yml", "-e", json.dumps(internals), timeout=400)


@pytest.mark.skipif(os.geteuid() != 0, reason="files belong to root, as on hosts")
def test_what_apache_would_not_take_does_not_get_there(login: Login, tmp_path: Path) -> None:
    done = played(login, tmp_path, "configure", mlflow_gate_session_seconds=1)
    (said,) = done.sentences
    assert said.startswith("[GATE_CONFIGURATION] localhost: Apache does not accept the gate's configuration:"), (
        done.output
    )
    assert "OIDCSessionMaxDuration" in said
    assert not (tmp_path / "gate/apache2.conf").exists()
    assert (tmp_path / "gate/secrets.conf").stat().st_mode & 0o777 == 0o600


def test_a_gate_that_does_not_do_its_work_is_named(login: Login, tmp_path: Path) -> None:
    assert played(login, tmp_path, "verify").code == 0
    done = played(login, tmp_path, "verify", mlflow_gate_port=free_port())
    assert done.sentences[-1].startswith("[GATE_NOT_READY] localhost: the gate at 127.0.0.1:"), done.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mlflow_oidc_issuer": "{issuer}/"}, "It calls itself {issuer}."),
        ({"mlflow_gate_ca_file": ""}, "certificate verify failed"),
    ],
)
def test_a_provider_that_is_another_or_is_not_trusted_is_named(
    login: Login, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    issuer = login.provider.issuer
    done = played(login, tmp_path, "verify", **{name: value.format(issuer=issuer) for name, value in change.items()})
    (said,) = done.sentences
    assert said.startswith("[OIDC_PROVIDER] localhost: mlflow_oidc_issuer="), done.output
    assert words.format(issuer=issuer) in said
    assert done.changed == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"mlflow_oidc_client_secret": "another secret"},
            (
                "[OIDC_SECRET] localhost: {issuer} refuses mlflow_oidc_client_id=mlflow with mlflow_oidc_client_secret (invalid_client). Copy"
                " it once more, or make a new one, and set mlflow_oidc_client_secret in the vault file. Nothing was changed."
            ),
        ),
        (
            {"mlflow_gate_public_url": "https://another.example.test"},
            (
                "[OIDC_LOGIN] localhost: {issuer} answers 400 to a login that would come back to https://another.example.test/oidc/callback,"
                " with mlflow_oidc_client_id=mlflow and mlflow_oidc_scopes=openid profile email groups. Set that address at the client, letter"
                " by letter; compare mlflow_oidc_client_id and mlflow_oidc_scopes with what the provider has. Nothing was changed."
            ),
        ),
    ],
    ids=["secret", "redirect"],
)
def test_a_provider_that_refuses_the_client_is_asked_before_anything_changes(
    login: Login, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    done = played(login, tmp_path, "verify", **change)
    assert done.sentences == [sentence.format(issuer=login.provider.issuer)], done.output
    assert done.changed == 0
    assert "another secret" not in done.output


def test_a_scope_for_groups_that_is_not_asked_for_is_remarked_upon(login: Login, tmp_path: Path) -> None:
    done = played(login, tmp_path, "verify", mlflow_oidc_scopes=["openid", "profile"])
    assert done.code == 0, done.output
    assert "[OIDC_GROUPS] localhost: mlflow_oidc_scopes=openid profile." in done.output
    assert "[OIDC_GROUPS]" not in played(login, tmp_path, "verify").output


def test_a_clock_that_is_wrong_is_named(login: Login, tmp_path: Path) -> None:
    with place() as folder, running_provider(folder, login.authority, login.site.url, API, 600, behind=600) as late:
        done = played(login, tmp_path, "verify", mlflow_oidc_issuer=late.issuer)
    (said,) = done.sentences
    assert re.match(
        r"\[OIDC_CLOCK\] localhost: this host's clock is (59|6[0-9])\d seconds ahead of that of https://localhost:\d+\. They may be 120"
        r" seconds apart\. Set the edge's clock",
        said,
    ), done.output
    assert done.changed == 0


def test_a_redis_that_does_not_keep_sessions_is_named(login: Login, tmp_path: Path) -> None:
    server = f"127.0.0.1:{free_port()}"
    gone = played(login, tmp_path, "verify", mlflow_gate_cache="redis", mlflow_gate_redis_server=server)
    assert gone.sentences == [
        (
            f"[GATE_REDIS] localhost: {server}: it cannot be reached (Connection refused). From the edge, try redis-cli -h HOST -p PORT ping;"
            " compare mlflow_gate_redis_server and mlflow_gate_redis_password. Nothing was changed."
        )
    ], gone.output
    with place() as folder, running_redis(folder, "requirepass right") as port:
        given = {"mlflow_gate_cache": "redis", "mlflow_gate_redis_server": f"127.0.0.1:{port}"}
        wrong = played(login, tmp_path, "verify", **given, mlflow_gate_redis_password="not-that-one")
        right = played(login, tmp_path, "verify", **given, mlflow_gate_redis_password="right")
    (said,) = wrong.sentences
    assert "it does not take the password (WRONGPASS" in said, wrong.output
    assert "not-that-one" not in wrong.output
    assert (right.code, right.changed) == (0, 0), right.output


def test_a_certificate_of_the_provider_that_is_over_is_named(login: Login, tmp_path: Path) -> None:
    with place() as folder, running_provider(folder, login.authority, login.site.url, API, 600, days=-1) as over:
        done = played(login, tmp_path, "verify", mlflow_oidc_issuer=over.issuer)
    (said,) = done.sentences
    assert said.startswith(f"[OIDC_PROVIDER] localhost: mlflow_oidc_issuer={over.issuer}. "), done.output
    assert "certificate has expired" in said
    assert done.changed == 0


def test_only_root_reads_the_secrets(login: Login) -> None:
    text = render("mlflow_gate", "apache2.conf.j2", login.values) + render(
        "mlflow_edge", "mlflow.conf.j2", login.values
    )
    for secret in (KEY, "secret of mlflow", login.values["mlflow_gate_crypto_passphrase"]):
        assert secret not in text
