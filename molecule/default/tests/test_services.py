"""What runs, what listens, what others can read, and how far each unit of ours is locked in."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks

pytestmark = pytest.mark.usefixtures("variables")


def test_services_run_and_survive_a_boot(host: Any) -> None:
    """Server, database and edge."""
    checks.server_is_ready(host)
    checks.unit_is_up(host, "nginx")
    checks.unit_is_up(host, "postgresql")


def test_nothing_has_failed(host: Any) -> None:
    """No unit of ours is in the state failed."""
    assert (
        host.check_output("systemctl list-units --failed --no-legend --plain 'mlflow*' nginx.service 'postgresql*'")
        == ""
    )


def listeners(host: Any) -> dict[int, set[str]]:
    """Addresses on which each TCP port listens."""
    found: dict[int, set[str]] = {}
    for line in host.check_output("ss --tcp --listening --numeric --no-header").splitlines():
        address, _separator, port = line.split()[3].rpartition(":")
        found.setdefault(int(port), set()).add(address.strip("[]").partition("%")[0])
    return found


def test_only_the_edge_listens_in_public(host: Any) -> None:
    """The server is behind the edge, the database is for this host alone."""
    seen = listeners(host)
    loopback = {"127.0.0.1", "::1"}
    assert seen.get(5001, set()) | seen.get(5002, set()), "no slot listens"
    for port in (5001, 5002, 5432):
        assert seen.get(port, set()) <= loopback, f"{port} listens on {seen[port]}"
    assert seen[443] & {"0.0.0.0", "*", "::", *[str(one) for one in host.interface("host0").addresses]}
    assert set(seen) - {22, 80, 443, 5001, 5002, 5432} == set(), "a port that nobody asked for"


def test_exposure_of_the_units(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`systemd-analyze security`: 1.3 for the server, 2.0 for everything else of ours; never raised."""
    found = checks.exposures(host)
    with capsys.disabled():
        print("\nexposure: " + ", ".join(f"{name} {value}" for name, value in sorted(found.items())))
    assert "mlflow-server@a.service" in found
    ceilings = {
        name: checks.SERVER_CEILING if name.startswith("mlflow-server@") else checks.UNIT_CEILING for name in found
    }
    assert {name: value for name, value in found.items() if value > ceilings[name]} == {}


def test_secret_files_are_for_root_alone(host: Any) -> None:
    """The files that hold secrets; keys may be read by the service that needs them, and by nobody else."""
    listed = host.check_output("find /etc/mlflow -type f -printf '%m %U %p\\n'").splitlines()
    modes = {path: (mode, user) for mode, user, path in (line.split(" ", 2) for line in listed)}
    assert modes["/etc/mlflow/server.env"] == ("600", "0")
    for path, (mode, user) in modes.items():
        if path.endswith((".env", ".ini")):
            assert (mode, user) == ("600", "0"), path
        if path.endswith(".key"):
            assert mode in ("600", "640"), f"{path} has mode {mode}"


def test_the_release_belongs_to_root(host: Any) -> None:
    """The service cannot change its own program."""
    current = host.file("/opt/mlflow/current")
    assert current.is_symlink
    assert str(current.linked_to).startswith("/opt/mlflow/releases/")
    assert host.check_output("find /opt/mlflow -not -user root -printf '%p\\n'") == ""
    assert host.check_output("find /opt/mlflow -not -type l -perm /022 -printf '%p\\n'") == ""


def test_the_host_carries_its_environment(host: Any, variables: dict[str, Any]) -> None:
    """Another environment's playbooks refuse this host."""
    assert host.file("/etc/mlflow/environment").content_string.strip() == variables["mlflow_environment"]
