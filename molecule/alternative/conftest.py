"""The hosts of the scenario by name, for tests that are about several of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import testinfra

from ansible_collections.mlops.mlflow.molecule.alternative import names
from ansible_collections.mlops.mlflow.molecule.shared import checks


@pytest.fixture(scope="session")
def hosts() -> Mapping[str, Any]:
    """Every host of the inventory, also the one that is not of the installation."""
    inventory = os.environ["MOLECULE_SCENARIO_DIRECTORY"] + "/inventory"
    return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in names.ALL}


@pytest.fixture(scope="session")
def given(hosts: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What the inventory says about each host, decrypted and evaluated."""
    return {name: checks.Private(host.ansible.get_variables()) for name, host in hosts.items()}


@pytest.fixture(scope="module")
def variables(given: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The variables of the installation: as a server has them."""
    return given["alt-a"]


@pytest.fixture(scope="session")
def slots(hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> Any:
    """Asks for the slot and the port that serve on a server, now."""

    def ask(name: str) -> tuple[str, int]:
        (slot,) = checks.live_slots(hosts[name])
        return slot, int(given[name][f"mlflow_server_port_{slot}"])

    return ask


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of what the site has beside MLflow: its authority, certificates that it issued."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "site"


@pytest.fixture(scope="module")
def edge(variables: Mapping[str, Any], site: Path) -> checks.Edge:
    """The public address, whose certificate comes from the site's own authority."""
    return checks.Edge(
        name=str(variables["mlflow_domain"]),
        port=int(variables["mlflow_https_port"]),
        authorities=(site / "ca.pem").read_text(encoding="utf-8"),
        username=str(variables["mlflow_admin_username"]),
        password=str(variables["mlflow_admin_password"]),
    )
