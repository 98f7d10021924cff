"""The hosts of the scenario by name, and the site's keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.molecule.shared.several import given, hosts, site, slots

__all__ = ["given", "hosts", "site", "slots"]

DATABASE = "ops-db"
SERVERS = ("ops-a", "ops-b")
STORE = "ops-store"


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return (DATABASE, *SERVERS, STORE)


@pytest.fixture(scope="session")
def site_secret(site: Path) -> Callable[[str], str]:
    """A secret of the site: a lookup in the inventory, which testinfra does not evaluate."""
    return lambda name: (site / name).read_text(encoding="utf-8").strip()
