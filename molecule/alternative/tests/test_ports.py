"""Who gets a connection to what: a scan from every host to every other, compared with the written matrix."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks

# What listens where, and who may connect: the same as docs/reference/ports.md says.
MATRIX = {
    ("databases", "mlflow_database_port"): "servers",
    ("servers", "mlflow_server_port_a"): "edges",
    ("servers", "mlflow_server_port_b"): "edges",
    ("edges", "mlflow_https_port"): "everybody",
    ("edges", "mlflow_edge_redirect_http"): "everybody",
}
PLACES = {"alt-db": "databases", "alt-a": "servers", "alt-b": "servers", "alt-edge": "edges"}
SSH = 22
SCANNER = (Path(checks.__file__).parent / "scan.py").read_text(encoding="utf-8")


def test_the_reference_says_the_same() -> None:
    """The table that users read is the matrix that is tested."""
    page = (checks.REPOSITORY / "docs/reference/ports.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ][1:]
    written = {}
    for on, what, variable, _default, who in rows:
        names = re.findall(r"`(mlflow_\w+)`", variable or what)
        if names:
            written[(on, names[0])] = who
    assert written == MATRIX


@pytest.fixture(scope="module")
def addresses(given: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The address of every host of the installation."""
    return {name: str(given[name]["ansible_host"]) for name in PLACES}


def listening(host: Any) -> set[int]:
    """Every TCP port on which something listens, on whatever address."""
    return {int(line.split()[3].rpartition(":")[2]) for line in host.check_output("ss -Hltn").splitlines()}


def expected(source: str, target: str, variables: Mapping[str, Any], listens: set[int]) -> list[int]:
    """The ports of the target that the source should reach. Of the two slots of a server only one listens."""
    ports = {SSH}
    for (on, variable), who in MATRIX.items():
        if on == PLACES[target] and who in ("everybody", PLACES.get(source, "stranger")):
            port = (
                (80 if variables[variable] else 0)
                if variable == "mlflow_edge_redirect_http"
                else int(variables[variable])
            )
            ports |= {port} & listens
    return sorted(ports)


def scanned(host: Any, request: dict[str, Any]) -> dict[str, list[int]]:
    """What a host sees of others; None is this machine, which is no host of the site at all."""
    given = json.dumps(request)
    if host is None:
        done = subprocess.run([sys.executable, "-c", SCANNER], input=given, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))
    return dict(json.loads(checks.run_with_input(host, ["python3", "-c", SCANNER], given)))


def test_every_host_reaches_what_it_needs_and_nothing_else(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], addresses: dict[str, str]
) -> None:
    """From every host, and from outside, to every other: all that listens there, and all ports of the installation."""
    listens = {name: listening(hosts[name]) for name in PLACES}
    assert all(len(found) > 1 for found in listens.values()), listens
    own = {int(given["alt-a"][variable]) for _on, variable in MATRIX if variable.endswith(("port", "port_a", "port_b"))}
    wrong, seen = [], 0
    for source in [*hosts, "outside"]:
        others = {name: address for name, address in addresses.items() if name != source}
        ports = sorted(set().union(own, {80}, *(listens[name] for name in others)))
        found = scanned(hosts.get(source), {"addresses": list(others.values()), "ports": ports})
        for name, address in others.items():
            seen += 1
            wanted = expected(source, name, given[name], listens[name])
            if found[address] != wanted:
                wrong.append(f"{source} reaches {found[address]} of {name}, and should reach {wanted}")
    assert wrong == []
    assert seen == len(PLACES) * (len(hosts) + 1) - len(PLACES)


def test_nothing_is_open_beyond_that(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], addresses: dict[str, str]
) -> None:
    """All 65,535 ports of every host, seen by one that is not of the installation."""
    found = scanned(hosts["alt-store"], {"addresses": list(addresses.values())})
    wanted = {
        address: expected("alt-store", name, given[name], listening(hosts[name])) for name, address in addresses.items()
    }
    assert found == wanted


def test_the_scan_sees_a_port_that_is_opened(hosts: Mapping[str, Any], addresses: dict[str, str], slots: Any) -> None:
    """A listener that nobody asked for is found; so is one that the rules close, once they are gone."""
    server, address = hosts["alt-a"], addresses["alt-a"]
    server.check_output(
        "systemd-run --quiet --collect --unit=planted-listener python3 -m http.server 7999 --bind %s", address
    )
    try:
        checks.wait_until(lambda: 7999 in listening(server), 20, "the planted listener listens")
        assert scanned(None, {"addresses": [address], "ports": [7998, 7999]}) == {address: [7999]}
    finally:
        server.check_output("systemctl stop planted-listener")
    _slot, port = slots("alt-a")
    assert scanned(None, {"addresses": [address], "ports": [port]}) == {address: []}
    server.check_output("systemctl stop mlflow-firewall")
    try:
        assert scanned(None, {"addresses": [address], "ports": [port]}) == {address: [port]}
    finally:
        server.check_output("systemctl start mlflow-firewall")
    assert scanned(None, {"addresses": [address], "ports": [port]}) == {address: []}
