"""People log in once, in a real browser; programs bring tokens; nobody else gets in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.identity.conftest import LOGIN, NODES, URL
from ansible_collections.mlops.mlflow.molecule.shared import checks, hunting

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


def test_a_session_outlives_the_servers(person: Person, hosts: Mapping[str, Any]) -> None:
    person({"go": URL}, log_in("bob"))
    for name in NODES:
        (slot,) = checks.live_slots(hosts[name])
        hosts[name].check_output("systemctl restart mlflow-server@%s", slot)
    there, who = person({"go": URL}, {"ask": WHO})
    assert there["url"].startswith(URL)
    assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"


def test_a_session_moves_between_nodes(person: Person) -> None:
    """Where the name leads to another node, nobody is asked again; a logout there ends the session on both."""
    person({"go": URL}, log_in("bob"), node="sso-app")
    there, who = person({"go": f"{URL}/#/models"}, {"ask": WHO}, node="sso-next")
    assert there["url"].startswith(f"{URL}/#/models"), there
    assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"
    person({"go": f"{URL}/oidc/sign-out"}, {"confirm": "button[value=yes]"}, node="sso-next")
    (after,) = person({"go": URL}, node="sso-app")
    assert after["url"].startswith(f"{LOGIN}/login/")


def test_a_session_outlives_its_node(
    person: Person, hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]
) -> None:
    """The power of the node is cut at which somebody has logged in; at the other one he goes on."""
    place = given["sso-next"]
    person({"go": URL}, log_in("bob"), node="sso-next")
    assert "sso-next is cut" in checks.hosts_tool("cut", "sso-next")
    try:
        assert not checks.connects(hosts["sso-app"], str(place["ansible_host"]), 22), "it still answers"
        there, who = person({"go": URL}, {"ask": WHO}, node="sso-app")
        assert there["url"].startswith(URL)
        assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"
    finally:
        checks.hosts_tool("up", "sso-next", str(place["ansible_host"]), str(place["host_image"]))
        checks.wait_until(lambda: len(checks.live_slots(hosts["sso-next"])) == 1, 180, "its server starts with it")
    _there, who = person({"go": URL}, {"ask": WHO}, node="sso-next")
    assert json.loads(who["answer"]["body"])["user"]["username"] == "bob"


def test_without_what_keeps_sessions_nobody_has_one(person: Person, hosts: Mapping[str, Any], playbook: Any) -> None:
    person({"go": URL}, log_in("bob"))
    hosts["sso-provider"].check_output("systemctl stop valkey-server")
    try:
        assert not checks.connects(hosts["sso-app"], "10.213.77.61", 6379)
        for node in NODES:
            (page,) = person({"go": f"{URL}/ajax-api/2.0/mlflow/users/current"}, node=node)
            assert "bob" not in page["text"], page
        refused = playbook("site", "--check")
        assert "[GATE_REDIS] sso-app: 10.213.77.61:6379: it cannot be reached" in refused.stdout
        assert "[GATE_REDIS] sso-next: 10.213.77.61:6379: it cannot be reached" in refused.stdout
    finally:
        hosts["sso-provider"].check_output("systemctl start valkey-server")
    # Whether his session was kept there or not: the provider knows him, and asks for nothing.
    there, who = person({"go": URL}, {"ask": WHO})
    assert there["url"].startswith(URL), there
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


def test_a_group_may_what_its_team_is_listed_with(person: Person, company: Company, playbook: Any) -> None:
    """And nobody else may it; without the team the group may nothing."""
    found = {"ask": "ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=churn/of-a-team"}
    leave = ({"go": f"{URL}/oidc/sign-out"}, {"confirm": "button[value=yes]"})
    listed = [{"name": "churn", "experiments": [{"name": "churn/of-a-team"}]}]

    def teams(*wanted: Mapping[str, Any]) -> str:
        done = playbook("teams", "-e", json.dumps({"mlflow_teams": wanted}))
        assert done.returncode == 0, done.stdout[-3000:]
        return str(done.stdout)

    assert "churn/of-a-team" in teams(*listed)
    try:
        with company(carol=["mlflow-users", "churn"]):
            *_way, seen = person({"go": URL}, log_in("carol"), found)
            assert json.loads(seen["answer"]["body"])["experiment"]["name"] == "churn/of-a-team", seen
            *_way, seen = person(*leave, {"go": URL}, log_in("bob"), found)
            assert seen["answer"]["status"] == 403, seen
            teams()
            *_way, seen = person(*leave, {"go": URL}, log_in("carol"), found)
            assert seen["answer"]["status"] == 403, seen
    finally:
        teams()


def test_who_has_left_the_company_is_out(
    person: Person, company: Company, hosts: Mapping[str, Any], site: Path
) -> None:
    person({"go": URL}, log_in("bob"))
    with company(bob=None):
        # What the how-to says for whom it must not last until the session is over: all begin new ones.
        password = (site / "sessions").read_text().split()[0]
        said = hosts["sso-provider"].check_output("REDISCLI_AUTH=%s valkey-cli FLUSHDB", password)
        assert said.strip() == "OK"
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


@pytest.mark.parametrize("name", NODES)
def test_other_hosts_reach_the_edge_and_nothing_behind_it(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], slots: Any, name: str
) -> None:
    address, port = str(given[name]["ansible_host"]), slots(name)[1]
    behind = (4181, port)
    for one in behind:
        assert hosts[name].check_output("ss --listening --tcp --numeric --no-header sport = :%s", str(one)) != "", one
    assert [one for one in (443, *behind) if checks.connects(hosts["sso-provider"], address, one)] == [443]


def test_nobody_else_gets_in(hosts: Mapping[str, Any]) -> None:
    spoof = ("X-Forwarded-User: alice", "X-Forwarded-Groups: mlflow-admins", "X-Proxy-Key: x")
    for path in ("/", SEARCH, "/graphql", "/v1/traces"):
        assert ask(hosts["sso-provider"], path)[0] == 401
        assert ask(hosts["sso-provider"], path, *spoof)[0] == 401


def test_without_its_gate_the_edge_lets_nobody_in(hosts: Mapping[str, Any]) -> None:
    hosts["sso-app"].check_output("systemctl stop mlflow-gate")
    try:
        assert ask(hosts["sso-provider"], SEARCH)[0] == 503
        assert ask(hosts["sso-provider"], "/health")[0] == 200
    finally:
        hosts["sso-app"].check_output("systemctl start mlflow-gate")


@pytest.mark.parametrize("name", NODES)
def test_keys_are_root_s_alone(hosts: Mapping[str, Any], name: str) -> None:
    for path in ("/etc/nginx/mlflow-identity.conf", "/etc/mlflow/gate/secrets.conf"):
        file = hosts[name].file(path)
        assert (file.user, file.mode) == ("root", 0o600)


@pytest.mark.parametrize("name", NODES)
def test_the_gate_s_unit_is_hardened(hosts: Mapping[str, Any], name: str) -> None:
    said = hosts[name].check_output("systemd-analyze security --no-pager mlflow-gate.service | tail -n 1")
    assert float(said.split(": ")[1].split()[0]) <= 2.5, said


@pytest.fixture(name="wanted")
def _wanted(secrets: dict[str, str], given: Mapping[str, Mapping[str, Any]], site: Path) -> dict[str, list[str]]:
    """All that nobody should see: what was generated, and what the site's people put into the vault file."""
    node = given["sso-app"]
    ours = ("mlflow_identity_key", "mlflow_gate_crypto_passphrase", "mlflow_artifact_store_secret_access_key")
    theirs = {name: (site / name).read_text().split()[0] for name in ("client", "machine", "sessions", "administrator")}
    return hunting.needles({**secrets, **{name: str(node[name]) for name in ours}, **theirs})


@pytest.mark.parametrize("name", NODES)
def test_no_secret_on_any_node(hosts: Mapping[str, Any], wanted: dict[str, list[str]], name: str) -> None:
    """Processes and their environments, journal, units, logs, and every file that others can read, after all that was done above."""
    assert hunting.hunt(hosts[name], wanted) == []
    # The look itself sees what is there.
    for path, secret in (("/etc/mlflow/gate/secrets.conf", "client"), ("/etc/mlflow/gate/secrets.conf", "sessions")):
        assert any(word in hosts[name].file(path).content_string for word in wanted[secret])


def test_no_secret_in_what_ansible_said(wanted: dict[str, list[str]]) -> None:
    assert hunting.in_the_log_of_converge(wanted) == []
