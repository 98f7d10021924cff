"""The playbook of teams and the role behind it as an operator runs them, against a real MLflow with logins on a real PostgreSQL."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS
from ansible_collections.mlops.mlflow.tests.unit.support.logins import PASSWORD, Logins, running_logins
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

WORD = "a-password-of-a-user"
RIGHT = {
    "mlflow_environment": "test",
    "mlflow_domain": "mlflow.test",
    "mlflow_admin_password": PASSWORD,
    "mlflow_access_ca_file": "",
    "mlflow_access_address": "",
    # This machine stands for the hosts.
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
}
TEAMS = [
    {"name": "fraud", "members": ["anna"], "experiments": [{"name": "fraud/churn"}], "models": [{"name": "churn"}]},
    {"name": "ads", "members": ["bert"], "experiments": [{"name": "fraud/churn", "permission": "READ"}]},
]
USERS = [{"name": name, "password": WORD} for name in ("anna", "bert")]


@pytest.fixture(name="logins", scope="module")
def _logins(tmp_path_factory: pytest.TempPathFactory, postgresql: Server) -> Iterator[Logins]:
    with running_logins(tmp_path_factory.mktemp("mlflow"), postgresql) as logins:
        yield logins


def run(home: Path, url: str, *arguments: str, **variables: Any) -> Played:
    """Run the playbook with two servers in the inventory. No password is in what it says."""
    inventory = home / "hosts.yml"
    groups: dict[str, Any] = {
        name: {"hosts": {"app1": {}, "app2": {}}} for name in ("mlflow_databases", "mlflow_servers", "mlflow_edges")
    }
    given = {**RIGHT, "mlflow_access_url": url, **variables}
    inventory.write_text(json.dumps({"mlflow": {"children": groups, "vars": given}}), encoding="utf-8")
    played = play(home, ROOT / "playbooks/teams.yml", "-i", inventory, "-vvv", *arguments, timeout=400)
    assert [word for word in (PASSWORD, WORD, "scrypt") if word in played.output] == []
    return played


def test_a_list_becomes_teams_and_its_end_their_end(tmp_path: Path, logins: Logins) -> None:
    url, before = logins.server.url, logins.everything()
    listed = {"mlflow_teams": TEAMS, "mlflow_access_users": USERS}
    rehearsed = run(tmp_path, url, "--check", **listed)
    assert (rehearsed.code, rehearsed.changed) == (0, 1), rehearsed.output
    assert logins.everything() == before
    done = run(tmp_path, url, **listed)
    assert (done.code, done.changed) == (0, 1), done.output
    for played in (rehearsed, done):
        assert "the team fraud gets EDIT on experiment fraud/churn" in played.output
    again = run(tmp_path, url, **listed)
    assert (again.code, again.changed) == (0, 0), again.output
    number = logins.number("fraud/churn")
    anna, bert = logins.person("anna", WORD), logins.person("bert", WORD)
    assert (anna.logs(number), bert.reads(number), bert.logs(number)) == (200, 200, 403)

    empty = run(tmp_path, url, mlflow_teams=[])
    assert (empty.code, empty.changed) == (0, 1), empty.output
    assert (anna.reads(number), bert.reads(number), logins.admin.reads(number)) == (403, 403, 200)
    assert [role["name"] for role in logins.everything()["roles"]["roles"] if role["name"] in ("fraud", "ads")] == []


def test_what_mlflow_knows_and_the_list_does_not_is_refused(tmp_path: Path, logins: Logins) -> None:
    before = logins.everything()
    played = run(tmp_path, logins.server.url, mlflow_teams=[{"name": "x", "members": ["nobody"]}])
    assert played.code != 0
    remedy = FINDINGS["ACCESS_USER_UNKNOWN"].remedy
    said = f"[ACCESS_USER_UNKNOWN] app1: The team x: there is no user nobody. {remedy} Nothing was changed."
    assert said in played.sentences
    assert logins.everything() == before


def test_check_mode_of_a_host_that_does_not_serve_yet(tmp_path: Path) -> None:
    url = f"http://localhost:{free_port()}"
    played = run(tmp_path, url, "--check", mlflow_teams=TEAMS)
    assert (played.code, played.changed) == (0, 1), played.output
    assert "a run brings it to 2 teams and 0 users." in played.output
    real = run(tmp_path, url, mlflow_teams=TEAMS)
    assert real.code != 0
    assert real.sentences[0].startswith("[ENDPOINT_TCP] app1: ")


def test_the_variable_is_what_the_module_takes() -> None:
    """Names, types, choices and defaults, down to the last part."""

    def shape(options: dict[str, Any], inside: str) -> dict[str, Any]:
        kept = ("type", "elements", "required", "choices", "default")
        return {
            name: {key: option[key] for key in kept if key in option}
            | {"parts": shape(option[inside], inside) if inside in option else {}}
            for name, option in options.items()
        }

    def load(path: str) -> Any:
        return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))

    module = load("plugins/modules/mlflow_teams.yml")["DOCUMENTATION"]["options"]
    choices = load("roles/mlflow_preflight/meta/argument_specs.yml")["argument_specs"]["choices"]["options"]
    users = load("roles/mlflow_access/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert shape(choices["mlflow_teams"]["options"], "options") == shape(module["teams"]["suboptions"], "suboptions")
    assert shape(users["mlflow_access_users"]["options"], "options") == shape(
        module["users"]["suboptions"], "suboptions"
    )
