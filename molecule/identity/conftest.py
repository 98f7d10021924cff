"""The hosts of the scenario by name, and people with a browser."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.several import given, hosts, site, slots

__all__ = ["given", "hosts", "site", "slots"]

NODES = ("sso-app", "sso-next")
URL, LOGIN = "https://mlflow.identity.test", "https://login.identity.test:9443"


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return (*NODES, "sso-provider")


@pytest.fixture
def person(hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
    """A browser that nobody else uses: call it with steps of files/journey.mjs, as often as you like; it keeps its cookies. `node` is where
    the name of the edges leads to."""
    state = f"/tmp/person-{uuid.uuid4().hex}.json"

    def does(*steps: Mapping[str, Any], node: str = NODES[0]) -> list[dict[str, Any]]:
        address = given[node]["ansible_host"]
        journey = json.dumps({"url": URL, "state": state, "node": address, "steps": steps})
        said = hosts["sso-provider"].check_output("cd /opt/provider && ./node journey.mjs %s", journey)
        seen: list[dict[str, Any]] = json.loads(said.splitlines()[-1])
        return seen

    return does


@pytest.fixture(scope="session")
def keep(site: Path) -> Callable[[str, Mapping[str, Any]], None]:
    """Keeps the screenshot of what was seen: where MLOPS_SCREENSHOTS says (`docs/images` makes those of the documentation), or beside the site."""
    folder = Path(os.environ.get("MLOPS_SCREENSHOTS") or site / "screenshots")

    def picture(name: str, seen: Mapping[str, Any]) -> None:
        data = base64.b64decode(seen["picture"])
        assert data.startswith(b"\x89PNG")
        assert len(data) > 2000
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(data)

    return picture


@pytest.fixture
def company(hosts: Mapping[str, Any]) -> Callable[..., AbstractContextManager[None]]:
    """Who and what the provider knows: within `company(bob=None)` there is no bob, within `company(bob=[...])` he has these groups, within
    `company(seconds=3)` tokens live so long."""
    place, provider = "/opt/provider/settings.json", hosts["sso-provider"]

    def known(settings: str) -> None:
        checks.run_with_input(provider, ["/usr/bin/tee", place], settings)
        provider.check_output("systemctl restart provider")
        checks.wait_until(
            lambda: provider.run(f"curl --silent --insecure --fail {LOGIN}/.well-known/openid-configuration").rc == 0,
            60,
            "the provider answers again",
        )

    @contextmanager
    def changed(seconds: int | None = None, **groups: list[str] | None) -> Iterator[None]:
        before = provider.check_output(f"cat {place}")
        settings = json.loads(before)
        settings["seconds"] = seconds or settings["seconds"]
        for name, wanted in groups.items():
            if wanted is None:
                del settings["users"][name]
            else:
                settings["users"][name]["claims"]["groups"] = wanted
        known(json.dumps(settings))
        try:
            yield
        finally:
            known(before)

    return changed
