"""People log in once, in a real browser; programs bring tokens; nobody else gets in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.molecule.identity.conftest import LOGIN, URL
from ansible_collections.mlops.mlflow.molecule.shared import checks

WHO = "ajax-api/2.0/mlflow/users/current"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
Person = Callable[..., list[dict[str, Any]]]


def log_in(name: str) -> dict[str, list[str]]:
    return {"log_in": [name, f"of-{name}"]}


Keep = Callable[[str, Mapping[str, Any]], None]
Company = Callable[..., AbstractContextManager[None]]


def test_a_deep_link_leads_through_the_login_to_where_it_points(person: Person, keep: Keep) -> None:
    asked, there, who = person({"go": f"{URL}/#/experiments/0", "picture": True}, log_in("bob"), {"ask": WHO})
    keep("login", asked)
    assert asked["url"].startswith(f"{LOGIN}/login/")
    assert there["url"].startswith(f"{URL}/#/experiments/0"), there
    assert there["title"].endswith("MLflow")
    assert json.loads(who["answer"]["body"])["user"] | {"id": 0} == {"id": 0, "username": "bob", "is_admin": False}
    # The session goes on; nobody is asked again.
    (again,) = person({"go": f"{URL}/#/models"})
    assert again["url"].startswith(f"{URL}/#/models")


def test_an_administrator_is_one_by_group(person: Person, keep: Keep) -> None:
    *_way, there, who = person(
        {"go": URL}, log_in("alice"), {"go": f"{URL}/#/experiments", "picture": True}, {"ask": WHO}
    )
    keep("experiments", there)
    assert json.loads(who["answer"]["body"])["user"]["is_admin"] is True


def test_a_wrong_password_is_said_by_the_provider(person: Person) -> None:
    _form, wrong, right = person({"go": URL}, {"log_in": ["bob", "guessed"]}, log_in("bob"))
    assert "Name or password is wrong" in wrong["text"]
    assert right["url"].startswith(URL)


def test_somebody_outside_of_the_groups_reads_why(person: Person, keep: Keep) -> None:
    _form, page = person({"go": URL}, log_in("eve") | {"picture": True})
    keep("outside", page)
    assert page["status"] == 403
    assert "None of your groups may use MLflow here" in page["text"]


def test_a_logout_ends_the_session_here_and_at_the_provider(person: Person, keep: Keep) -> None:
    *_way, asked, out, after = person(
        {"go": URL},
        log_in("bob"),
        {"go": f"{URL}/oidc/sign-out"},
        {"confirm": "button[value=yes]", "picture": True},
        {"go": URL},
    )
    keep("signed-out", out)
    assert asked["url"].startswith(LOGIN)
    assert (out["url"], "You are logged out" in out["text"]) == (f"{URL}/oidc/signed-out", True)
    assert after["url"].startswith(f"{LOGIN}/login/"), "the provider asks for the password again"


def test_a_session_outlives_the_server(person: Person, hosts: Mapping[str, Any]) -> None:
    person({"go": URL}, log_in("bob"))
    (slot,) = checks.live_slots(hosts["sso-app"])
    hosts["sso-app"].check_output("systemctl restart mlflow-server@%s", slot)
    there, who = person({"go": URL}, {"ask": WHO})
    assert there["url"].startswith(URL)
    assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"


def test_a_change_of_groups_counts_from_the_next_login_on(person: Person, company: Company) -> None:
    *_way, who = person({"go": URL}, log_in("bob"), {"ask": WHO})
    assert json.loads(who["answer"]["body"])["user"]["is_admin"] is False
    with company(bob=["mlflow-admins"]):
        _there, who = person({"go": URL}, {"ask": WHO})
        assert json.loads(who["answer"]["body"])["user"]["is_admin"] is False, "the session is that of before"
        *_way, who = person({"go": f"{URL}/oidc/sign-out"}, {"go": URL}, log_in("bob"), {"ask": WHO})
        assert json.loads(who["answer"]["body"])["user"]["is_admin"] is True
    *_way, who = person({"go": f"{URL}/oidc/sign-out"}, {"go": URL}, log_in("bob"), {"ask": WHO})
    assert json.loads(who["answer"]["body"])["user"]["is_admin"] is False


def test_who_has_left_the_company_is_out(person: Person, company: Company, hosts: Mapping[str, Any]) -> None:
    person({"go": URL}, log_in("bob"))
    with company(bob=None):
        # What the how-to says for whom it must not last until the session is over: all begin new ones.
        hosts["sso-app"].check_output("systemctl restart mlflow-gate")
        _form, wrong = person({"go": URL}, log_in("bob"))
        assert "Name or password is wrong" in wrong["text"]
        _form, there = person({"go": URL}, log_in("alice"))
        assert there["url"].startswith(URL), "everybody else logs in again"


def ask(host: Any, path: str, *headers: str) -> tuple[int, str]:
    """A program on the provider's host; returns status and body."""
    options = " ".join(f"-H '{header}'" for header in headers)
    said = host.check_output(f"curl --silent --insecure {options} --write-out '\\n%{{http_code}}' '{URL}{path}'")
    body, _line, status = said.rpartition("\n")
    return int(status), body


def token_of_ci(hosts: Mapping[str, Any], site: Path) -> str:
    """A program's own, for the client credentials that the provider's people gave it."""
    return str(
        hosts["sso-provider"].check_output(
            "curl --silent --insecure --user ci:%s --data grant_type=client_credentials %s"
            ' | sed \'s/.*"access_token":"\\([^"]*\\)".*/\\1/\'',
            (site / "machine").read_text().split()[0],
            f"{LOGIN}/token",
        )
    )


def test_a_program_brings_a_token(hosts: Mapping[str, Any], site: Path) -> None:
    token = token_of_ci(hosts, site)
    status, body = ask(hosts["sso-provider"], f"/{WHO}", f"Authorization: Bearer {token}")
    assert (status, json.loads(body)["user"]["username"]) == (200, "ci-runner")
    assert ask(hosts["sso-provider"], SEARCH, f"Authorization: Bearer {token[:-8]}AAAAAAAA")[0] == 401


def test_a_session_outlives_its_token_and_a_program_needs_a_new_one(
    person: Person, company: Company, hosts: Mapping[str, Any], site: Path
) -> None:
    with company(seconds=10):
        person({"go": URL}, log_in("bob"))
        first = f"Authorization: Bearer {token_of_ci(hosts, site)}"
        assert ask(hosts["sso-provider"], SEARCH, first)[0] == 200
        checks.wait_until(lambda: ask(hosts["sso-provider"], SEARCH, first)[0] == 401, 120, "the token is over")
        _there, who = person({"go": URL}, {"ask": WHO})
        assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"
        second = f"Authorization: Bearer {token_of_ci(hosts, site)}"
        assert ask(hosts["sso-provider"], SEARCH, second)[0] == 200


def test_other_hosts_reach_the_edge_and_nothing_behind_it(hosts: Mapping[str, Any]) -> None:
    app = hosts["sso-app"]
    address = str(app.ansible.get_variables()["ansible_host"])
    (slot,) = checks.live_slots(app)
    behind = (4181, {"a": 5001, "b": 5002}[slot])
    assert [port for port in behind if not app.socket(f"tcp://127.0.0.1:{port}").is_listening] == []
    assert [port for port in (443, *behind) if checks.connects(hosts["sso-provider"], address, port)] == [443]


def test_nobody_else_gets_in(hosts: Mapping[str, Any]) -> None:
    spoof = ("X-Forwarded-User: alice", "X-Forwarded-Groups: mlflow-admins", "X-Proxy-Key: x")
    for path in ("/", SEARCH, "/graphql", "/v1/traces"):
        assert ask(hosts["sso-provider"], path)[0] == 401
        assert ask(hosts["sso-provider"], path, *spoof)[0] == 401
    # Past the edge: the server on the host itself.
    (slot,) = checks.live_slots(hosts["sso-app"])
    port = {"a": 5001, "b": 5002}[slot]
    direct = (
        "import http.client; past = http.client.HTTPConnection('127.0.0.1', %d);"
        " past.request('GET', '%s', headers={'X-Forwarded-User': 'alice'}); print(past.getresponse().status)"
    )
    assert hosts["sso-app"].check_output("/usr/bin/python3 -c %s", direct % (port, SEARCH)).strip() == "401"


def test_without_its_gate_the_edge_lets_nobody_in(hosts: Mapping[str, Any]) -> None:
    hosts["sso-app"].check_output("systemctl stop mlflow-gate")
    try:
        assert ask(hosts["sso-provider"], SEARCH)[0] == 503
        assert ask(hosts["sso-provider"], "/health")[0] == 200
    finally:
        hosts["sso-app"].check_output("systemctl start mlflow-gate")


def test_keys_are_root_s_alone(hosts: Mapping[str, Any]) -> None:
    for path in ("/etc/nginx/mlflow-identity.conf", "/etc/mlflow/gate/secrets.conf"):
        file = hosts["sso-app"].file(path)
        assert (file.user, file.mode) == ("root", 0o600)


def test_the_gate_s_unit_is_hardened(hosts: Mapping[str, Any]) -> None:
    said = hosts["sso-app"].check_output("systemd-analyze security --no-pager mlflow-gate.service | tail -n 1")
    assert float(said.split(": ")[1].split()[0]) <= 2.5, said
