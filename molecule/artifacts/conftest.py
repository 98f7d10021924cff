"""The hosts of the scenario by name, and the store as each of its identities sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from testinfra.utils.ansible_runner import AnsibleRunner

from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.several import given, hosts, site, slots

__all__ = ["given", "hosts", "site", "slots"]

SERVERS = ("art-a", "art-b")


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return (*SERVERS, "art-store")


@pytest.fixture(scope="session")
def now() -> Callable[[], dict[str, Any]]:
    """The inventory as it is now; testinfra's own answer is that of the beginning, and a rotation writes into it."""
    inventory = os.environ["MOLECULE_SCENARIO_DIRECTORY"] + "/inventory"
    return lambda: checks.Private(AnsibleRunner(inventory).get_variables(SERVERS[0]))


@pytest.fixture(scope="session")
def keys(now: Callable[[], dict[str, Any]], site: Path) -> Callable[[str], tuple[str, str]]:
    """Id and secret that the inventory now has for an identity: "", "maintenance" or "admin"."""

    def read(identity: str) -> tuple[str, str]:
        if identity == "admin":  # a lookup in the inventory, which testinfra does not evaluate
            return "administrator", (site / "administrator").read_text(encoding="utf-8").strip()
        variables = now()
        prefix = "mlflow_artifact_store_" + (f"{identity}_" if identity else "")
        return variables[f"{prefix}access_key_id"], variables[f"{prefix}secret_access_key"]

    return read


@pytest.fixture(scope="session")
def store(
    now: Callable[[], dict[str, Any]], keys: Callable[[str], tuple[str, str]], site: Path
) -> Callable[[str], Any]:
    """An S3 client with the keys that an identity has now."""

    def client(identity: str) -> Any:
        variables = now()
        key, secret = keys(identity)
        return boto3.client(
            "s3",
            endpoint_url=variables["mlflow_artifact_store_endpoint_url"],
            region_name=variables["mlflow_artifact_store_region"],
            verify=str(site / "ca.pem"),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    return client
