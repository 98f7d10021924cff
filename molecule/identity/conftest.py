"""The hosts of the scenario by name, and people with a browser."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared.several import hosts, site

__all__ = ["hosts", "site"]

URL, LOGIN = "https://mlflow.identity.test", "https://login.identity.test:9443"


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return ("sso-app", "sso-provider")


@pytest.fixture
def person(hosts: Mapping[str, Any]) -> Callable[..., list[dict[str, Any]]]:
    """A browser that nobody else uses: call it with steps of files/journey.mjs, as often as you like; it keeps its cookies."""
    state = f"/tmp/person-{uuid.uuid4().hex}.json"

    def does(*steps: Mapping[str, Any]) -> list[dict[str, Any]]:
        journey = json.dumps({"url": URL, "state": state, "steps": steps})
        said = hosts["sso-provider"].check_output("cd /opt/provider && ./node journey.mjs %s", journey)
        seen: list[dict[str, Any]] = json.loads(said.splitlines()[-1])
        return seen

    return does
