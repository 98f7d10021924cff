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
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/before/kept.bin"


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
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = os.urandom(35_000).hex()
    assert edge.ask("PUT", ARTIFACT, login=True, body=content).status == 200
    with Writer(edge, threads=2) as writer:
        writer.wait_for(60)
    saved = playbook("backup")
    assert saved.returncode == 0, saved.stdout[-3000:]

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
        print("\n" + next(line.strip() for line in done.stdout.splitlines() if "is as it was at" in line))
    assert writer.outcome.lost(hosts[DATABASE], "mlflow") == []
    found = edge.ask("GET", ARTIFACT, login=True)
    assert (found.status, found.body.decode()) == (200, content)
    assert backups.problems(hosts[DATABASE]) == set()
    again = playbook("verify")
    assert again.returncode == 0, again.stdout[-3000:]
