"""The hosts are gone. What is left is the site's store, the inventory and the file of secrets: new hosts, and one playbook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.operations import backups
from ansible_collections.mlops.mlflow.molecule.operations.conftest import DATABASE, SERVERS, STORE
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.writer import Writer

HOSTS = (DATABASE, *SERVERS)
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
KEPT, DELETED = "before/kept.bin", "before/deleted.bin"


def test_a_living_installation_is_not_overwritten(playbook: Any, hosts: Mapping[str, Any]) -> None:
    started = checks.starts(hosts[DATABASE], "postgresql@17-main")
    done = playbook("restore", "-e", "mlflow_restore_kind=in_place")
    assert done.returncode != 0
    assert f"[RESTORE_LIVING] {DATABASE}:" in done.stdout, done.stdout[-3000:]
    assert checks.starts(hosts[DATABASE], "postgresql@17-main") == started


def test_everything_comes_back_on_new_hosts(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    playbook: Any,
    store: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = os.urandom(35_000).hex()
    for name in (KEPT, DELETED):
        assert edge.ask("PUT", f"{ARTIFACTS}/{name}", login=True, body=content).status == 200
    with Writer(edge, threads=2) as writer:
        writer.wait_for(60)
    saved = playbook("backup")
    assert saved.returncode == 0, saved.stdout[-3000:]
    store.delete_object(Bucket="mlflow-artifacts", Key=f"team/artifacts/{DELETED}")
    assert edge.ask("GET", f"{ARTIFACTS}/{DELETED}", login=True).status != 200, "it is still there"

    for name in HOSTS:
        checks.hosts_tool("down", name)
        assert not checks.connects(hosts[STORE], str(given[name]["ansible_host"]), 22), "it still answers"
    for name in HOSTS:
        place = given[name]
        aliases = [word for alias in place.get("host_aliases", []) for word in ("--alias", alias)]
        checks.hosts_tool("up", name, str(place["ansible_host"]), str(place["host_image"]), *aliases)
        assert not hosts[name].file("/etc/mlflow").exists, "it is not a new one"

    done = playbook("restore", "-e", "mlflow_restore_kind=in_place")
    assert done.returncode == 0, done.stdout[-5000:]
    with capsys.disabled():
        for words in ("were deleted since", "is as it was at"):
            print("\n" + next(line.strip() for line in done.stdout.splitlines() if words in line))
    assert writer.outcome.lost(hosts[DATABASE], "mlflow") == []
    for name in (KEPT, DELETED):
        found = edge.ask("GET", f"{ARTIFACTS}/{name}", login=True)
        assert (found.status, found.body.decode()) == (200, content), name
    assert backups.problems(hosts[DATABASE]) == set()
    again = playbook("verify")
    assert again.returncode == 0, again.stdout[-3000:]
