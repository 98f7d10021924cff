"""No secret of maintenance or backups is anywhere but in the files that are meant to hold it. After the other tests: what they ran is looked at too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.operations.conftest import DATABASE, SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks, hunting

HOSTS = (DATABASE, *SERVERS)


@pytest.fixture(scope="module")
def all_secrets(
    secrets: dict[str, str], given: Mapping[str, Mapping[str, Any]], site_secret: Callable[[str], str]
) -> dict[str, str]:
    """Every generated secret, the passphrase of the backups, and all keys of the store."""
    variables = given[SERVERS[0]]
    of_here = {
        "passphrase of the backups": variables["mlflow_backup_passphrase"],
        "key of the backups": site_secret("backups"),
        "key of the store's administrator": site_secret("administrator"),
        "key of MLflow": variables["mlflow_artifact_store_secret_access_key"],
        "key of maintenance": variables["mlflow_artifact_store_maintenance_secret_access_key"],
    }
    assert all(len(secret) >= 30 for secret in of_here.values()), "these are no secrets"
    return checks.Private({**secrets, **of_here})


@pytest.fixture(scope="module")
def wanted(all_secrets: dict[str, str]) -> dict[str, list[str]]:
    """What is looked for."""
    return hunting.needles(all_secrets)


@pytest.mark.parametrize("name", HOSTS)
def test_no_secret_on_the_host(hosts: Mapping[str, Any], wanted: dict[str, list[str]], name: str) -> None:
    """Processes, journal, units, logs and files that others can read."""
    assert hunting.hunt(hosts[name], wanted) == []


@pytest.mark.parametrize("name", HOSTS)
def test_each_host_has_only_what_its_jobs_need(
    hosts: Mapping[str, Any], all_secrets: dict[str, str], name: str
) -> None:
    """Not even in files that only root reads: the key of maintenance where gc runs, the administrator's nowhere."""
    looked = "\n".join(
        [
            "import sys",
            "from pathlib import Path",
            "word = sys.stdin.readline().strip().encode()",
            "roots = ('/etc', '/opt/mlflow', '/var/lib/mlflow', '/var/lib/mlflow-backup', '/root', '/usr/local')",
            "files = [one for root in roots for one in Path(root).rglob('*') if one.is_file() and not one.is_symlink()]",
            "print('\\n'.join(str(one) for one in files if word in one.read_bytes()))",
        ]
    )

    def holders(secret: str) -> set[str]:
        found = checks.run_with_input(hosts[name], ["python3", "-c", looked], all_secrets[secret] + "\n")
        return set(found.split())

    assert holders("key of the store's administrator") == set()
    of_maintenance = {f"/etc/mlflow/maintenance/{job}.json" for job in ("gc", "traces", "orphans")}
    assert holders("key of maintenance") == (of_maintenance if name in SERVERS else set())
    # The first server restores the database in drills.
    of_database = {"/etc/mlflow/backup/pgbackrest.conf"} if name in (DATABASE, SERVERS[0]) else set()
    passphrase = {"/etc/mlflow/backup/passphrase"} | of_database
    assert holders("passphrase of the backups") == passphrase


def test_no_secret_in_what_ansible_said(wanted: dict[str, list[str]]) -> None:
    """The log of converge."""
    assert hunting.in_the_log_of_converge(wanted) == []


@pytest.mark.parametrize("name", HOSTS)
def test_a_second_converge_changed_nothing(name: str) -> None:
    """Files, starts and rows, as they were recorded around it."""
    checks.a_second_converge_changed_nothing(name)
