"""The hosts of the scenario by name, and the site's keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from ansible_collections.mlops.mlflow.molecule.shared.several import given, hosts, site, slots, tell

__all__ = ["given", "hosts", "site", "slots", "tell"]

DATABASE = "ops-db"
SERVERS = ("ops-a", "ops-b")
STORE = "ops-store"


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """The hosts of the inventory."""
    return (DATABASE, *SERVERS, STORE)


@pytest.fixture(scope="session")
def tracking() -> tuple[str, str]:
    """Where what clients write is."""
    return DATABASE, "mlflow"


@pytest.fixture(scope="session")
def site_secret(site: Path) -> Callable[[str], str]:
    """A secret of the site: a lookup in the inventory, which testinfra does not evaluate."""
    return lambda name: (site / name).read_text(encoding="utf-8").strip()


@pytest.fixture(scope="session")
def s3(given: Mapping[str, Mapping[str, Any]], site: Path, site_secret: Callable[[str], str]) -> Callable[[str], Any]:
    """A client of the site's S3 server, as one of its identities."""

    def login(name: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=given[DATABASE]["mlflow_artifact_store_endpoint_url"],
            region_name="eu-central-1",
            verify=str(site / "ca.pem"),
            aws_access_key_id=name,
            aws_secret_access_key=site_secret(name),
        )

    return login


@pytest.fixture(scope="session")
def store(s3: Callable[[str], Any]) -> Any:
    """The site's S3 server, as its administrator sees it."""
    return s3("administrator")


def in_a_hurry(host: Any) -> None:
    """Until it boots again, the jobs of a host do not give way: here they would to all hosts of all scenarios, and take minutes for seconds."""
    for job in ("database", "gc", "traces", "orphans", "leftovers", "capacity", "expiry"):
        folder = f"/run/systemd/system/mlflow-maintenance-{job}.service.d"
        host.check_output("mkdir -p %s", folder)
        host.check_output(
            "printf %s > %s",
            "[Service]\nNice=0\nIOSchedulingClass=best-effort\nCPUWeight=100\n",
            f"{folder}/hurry.conf",
        )
    host.check_output("systemctl daemon-reload")


@pytest.fixture(scope="session", autouse=True)
def jobs_in_a_hurry(hosts: Mapping[str, Any]) -> None:
    """Of all hosts."""
    for name in (DATABASE, *SERVERS):
        in_a_hurry(hosts[name])
