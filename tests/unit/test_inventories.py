"""The example inventories: they run as they are, and no two environments share what must not be shared."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.lookup.argument_specs import LookupModule
from ansible_collections.mlops.mlflow.plugins.module_utils._contract import inventory_problems
from ansible_collections.mlops.mlflow.plugins.module_utils._variables import known_variables
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, tool

ENVIRONMENTS = ("dev", "staging", "prod")
GROUPS = ["mlflow_databases", "mlflow_servers", "mlflow_edges"]
# What may never be the same in two environments, with the value an environment has that does not set it.
APART = {
    "mlflow_environment": None,
    "mlflow_domain": None,
    "mlflow_artifact_uri": "/srv/mlflow/artifacts",
    "mlflow_database_name": "mlflow",
    "mlflow_database_auth_name": "mlflow_auth",
}


def choices(environment: str) -> dict[str, Any]:
    path = ROOT / "inventories" / environment / "group_vars/mlflow/main.yml"
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ansible-inventory reads from each folder."""
    home = tmp_path_factory.mktemp("inventories")
    found = {}
    for environment in ENVIRONMENTS:
        # A copy, because the secrets that somebody made here would ask for a password.
        shutil.copytree(
            ROOT / "inventories" / environment, home / environment, ignore=shutil.ignore_patterns("vault.yml")
        )
        done = tool(home, "ansible-inventory", "-i", str(home / environment), "--list", "--export")
        assert done.code == 0, done.output
        found[environment] = json.loads(done.output[done.output.index("{") :])
    return found


def hosts(listing: dict[str, Any], group: str) -> set[str]:
    entry = listing.get(group, {})
    return set(entry.get("hosts", [])).union(*(hosts(listing, child) for child in entry.get("children", [])))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_inventory_describes_an_environment(listed: dict[str, Any], environment: str) -> None:
    groups = {group: hosts(listed[environment], group) for group in ("mlflow", *GROUPS)}
    assert inventory_problems(groups, group="mlflow", known=GROUPS, needed=GROUPS, sources=[environment]) == []


def test_topologies() -> None:
    """As documented: one host; database apart; everything apart with two servers."""
    sizes = {}
    for environment in ENVIRONMENTS:
        tree = yaml.safe_load((ROOT / "inventories" / environment / "hosts.yml").read_text(encoding="utf-8"))["mlflow"]
        names = [set(tree["children"][group]["hosts"]) for group in GROUPS]
        sizes[environment] = ([len(group) for group in names], len(set().union(*names)))
    assert sizes == {"dev": ([1, 1, 1], 1), "staging": ([1, 1, 1], 2), "prod": ([1, 2, 1], 4)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_choice_is_known_and_none_is_a_secret(environment: str) -> None:
    known = known_variables(LookupModule().run([]))
    assert set(choices(environment)) - known == set()
    assert [name for name in choices(environment) if name.endswith(("password", "key", "passphrase"))] == []
    assert choices(environment)["mlflow_environment"] == environment


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_value_that_differs_from_dev_says_why(environment: str) -> None:
    lines = (ROOT / "inventories" / environment / "group_vars/mlflow/main.yml").read_text(encoding="utf-8").splitlines()
    block_has_comment = False
    for line in lines:
        if not line.strip():
            block_has_comment = False
        elif line.startswith("#"):
            block_has_comment = True
        elif line.startswith("mlflow_"):
            assert block_has_comment, f"{environment}: {line} has no comment above it"


def test_no_two_environments_share_what_must_be_apart(listed: dict[str, Any]) -> None:
    for one, other in itertools.combinations(ENVIRONMENTS, 2):
        for name, default in APART.items():
            values = [choices(environment).get(name, default) for environment in (one, other)]
            assert values[0] != values[1], f"{name} is {values[0]} in {one} and in {other}"
        assert hosts(listed[one], "mlflow").isdisjoint(hosts(listed[other], "mlflow"))
        buckets = [
            str(choices(environment).get("mlflow_artifact_uri", "")).split("/")[2:3] for environment in (one, other)
        ]
        assert buckets[0] != buckets[1]


def test_secrets_of_examples_are_not_kept_here() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8") if (ROOT / ".gitignore").exists() else ""
    assert not ignored or "/inventories/*/group_vars/*/vault.yml" in ignored


def test_production_names_no_real_host() -> None:
    for path in (ROOT / "inventories").rglob("*.yml"):
        if path.name == "vault.yml" or "dev" in Path(path).parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert "example" in text, f"{path} is an example"
