"""Fixtures of scenarios with several hosts. The scenario's conftest imports them and says `names`, the hosts of its inventory, and `tracking`,
the host and the name of the tracking database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import testinfra

from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.writer import Outcome, Writer

Tell = Callable[[str, Writer], Outcome]


@pytest.fixture(scope="session")
def hosts(names: Iterable[str]) -> Mapping[str, Any]:
    """Every host of the inventory, also one that is not of the installation."""
    inventory = os.environ["MOLECULE_SCENARIO_DIRECTORY"] + "/inventory"
    return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in names}


@pytest.fixture(scope="session")
def given(hosts: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What the inventory says about each host, decrypted and evaluated."""
    return {name: checks.Private(host.ansible.get_variables()) for name, host in hosts.items()}


@pytest.fixture(scope="session")
def slots(hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> Any:
    """Asks for the slot and the port that serve on a server, now."""

    def ask(name: str) -> tuple[str, int]:
        (slot,) = checks.live_slots(hosts[name])
        return slot, int(given[name].get(f"mlflow_server_port_{slot}", {"a": 5001, "b": 5002}[slot]))

    return ask


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of what the site has beside MLflow: its authority, certificates that it issued."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "site"


@pytest.fixture
def tell(hosts: Mapping[str, Any], tracking: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> Tell:
    """Prints what a writer saw, and fails if an acknowledged write is not in the database."""

    def say(what: str, writer: Writer) -> Outcome:
        name, database = tracking
        outcome = writer.outcome
        lost = outcome.lost(hosts[name], database)
        with capsys.disabled():
            print(f"\n{what}: {outcome}; acknowledged and lost: {len(lost)}")
        assert lost == []
        return outcome

    return say
