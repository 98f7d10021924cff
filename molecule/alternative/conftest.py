"""The hosts of the scenario by name, for tests that are about several of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.alternative.names import ALL
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.several import given, hosts, site, slots, tell

__all__ = ["given", "hosts", "site", "slots", "tell"]


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return ALL


@pytest.fixture(scope="session")
def tracking() -> tuple[str, str]:
    """Where what clients write is."""
    return "alt-db", "tracking"


@pytest.fixture(scope="module")
def variables(given: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The variables of the installation: as a server has them."""
    return given["alt-a"]


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
