# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who talks to whom: what a playbook hands to the roles about the hosts of an environment.

Private to the collection. Pure: the inventory goes in, a dictionary comes out. Roles never name inventory groups; their
defaults read this dictionary, so an inventory (or the caller of a single role) can still say something else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

# The one name that certificates of MLflow servers carry beside their own: an edge checks it, so that a new server needs no
# change at the edges.
SERVER_NAME = "mlflow-server"
# The defaults of mlflow_server_port_a and mlflow_server_port_b.
SLOT_PORTS = {"a": 5001, "b": 5002}


def address_of(name: str, hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the address under which other hosts of the environment reach `name`.

    The first that is set: `mlflow_address` (a site whose management and service networks differ), `ansible_host`, the
    inventory name itself.
    """
    variables = hostvars[name]
    for key in ("mlflow_address", "ansible_host"):
        if value := variables.get(key):
            return str(value)
    return name


def slot_ports(variables: Mapping[str, Any]) -> list[int]:
    """Return the ports of a server's two slots: `mlflow_server_port_a` and `mlflow_server_port_b`, or their defaults."""
    return [int(variables.get(f"mlflow_server_port_{slot}", port)) for slot, port in SLOT_PORTS.items()]


def topology(
    hostvars: Mapping[str, Mapping[str, Any]],
    host: str,
    databases: Sequence[str],
    servers: Sequence[str],
    edges: Sequence[str],
) -> dict[str, Any]:
    """Describe the environment as `host` sees it.

    Returns:
        database_address: str, "" when the environment has no database host of its own.
        database_is_local: bool, this host is the database host.
        database_clients: list[str], addresses of the servers that are not the database host.
        server_count: int.
        servers: list of {name, address, ports}, in inventory order; `ports` are those of the server's two slots.
        edges: list[str], addresses of the edges.
        edge_is_local: bool, one host is every server and every edge, so that loopback suffices between them.
        address: str, this host's own address.
        ports: list[int], those of the two slots of a server on this host.
        is_database, is_server, is_edge: bool, what this host is.
    """
    one_host = len({*servers, *edges}) == 1 and bool(servers) and bool(edges)
    return {
        "address": address_of(host, hostvars),
        "ports": slot_ports(hostvars[host]),
        "database_address": address_of(databases[0], hostvars) if databases else "",
        "database_is_local": host in databases,
        "database_clients": [address_of(name, hostvars) for name in servers if name not in databases],
        "server_count": len(servers),
        "servers": [
            {"name": name, "address": address_of(name, hostvars), "ports": slot_ports(hostvars[name])}
            for name in servers
        ],
        "edges": [address_of(name, hostvars) for name in edges],
        "edge_is_local": one_host,
        "is_database": host in databases,
        "is_server": host in servers,
        "is_edge": host in edges,
    }


def is_ip(name: str) -> bool:
    """Whether a name of a host is an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _certificate(name: str, usage: list[str], group: str, names: Sequence[str], owner: str = "root") -> dict[str, Any]:
    unique = list(dict.fromkeys(names))
    return {
        "name": name,
        "common_name": unique[0][:64],
        "dns": [entry for entry in unique if not is_ip(entry)],
        "ip": [entry for entry in unique if is_ip(entry)],
        "usage": usage,
        "owner": owner,
        "group": group,
    }


def certificates(
    seen: Mapping[str, Any], host: str, domain: str, server_group: str, extra_names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """List the certificates that `host` needs, given what `topology` said about it.

    Nothing is issued that nobody would present: no server certificate where the edge is on the same host, none for
    PostgreSQL without a client on another host.

    Returns:
        A list of {name, common_name, dns, ip, usage, owner, group}; `extra_names` are added to the public certificate.
    """
    wanted = []
    if seen["is_database"] and seen["database_clients"]:
        wanted.append(_certificate("postgresql", ["serverAuth"], "postgres", [host, seen["address"]], owner="postgres"))
    if seen["is_server"] and not seen["edge_is_local"]:
        wanted.append(
            _certificate("server", ["serverAuth", "clientAuth"], server_group, [SERVER_NAME, host, seen["address"]])
        )
    if seen["is_edge"]:
        wanted.append(_certificate("edge", ["serverAuth"], "root", [domain, *extra_names]))
        if not seen["edge_is_local"]:
            wanted.append(_certificate("edge-client", ["clientAuth"], "root", [f"edge.{host}"]))
    return wanted


def _allowed_by_rules(rules: Sequence[str]) -> list[str]:
    """List the addresses of rules for pg_hba.conf that admit somebody over the network, as they stand there."""
    found = []
    for rule in rules:
        words = rule.split("#")[0].split()
        if len(words) >= 5 and words[0].startswith("host") and words[-1] != "reject":
            with_mask = words[4].count(".") == 3 or words[4].count(":") > 1
            found.append(
                f"{words[3]}/{ipaddress.ip_network(f'0.0.0.0/{words[4]}').prefixlen}" if with_mask else words[3]
            )
    return found


def firewall_rules(
    seen: Mapping[str, Any],
    *,
    database_port: int = 5432,
    database_clients: Sequence[str] | None = None,
    database_hba: Sequence[str] = (),
    edges: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """List who may connect to the ports of `seen["address"]` that are not for users, given what `topology` said about it.

    A port that listens on loopback only, or for nobody we know of, gets no rule: PostgreSQL without clients on other hosts, a
    server beside its edge, a server whose edges are not in the inventory.

    Args:
        seen: What `topology` returned for the host.
        database_port: Port of PostgreSQL.
        database_clients: Addresses of those who use PostgreSQL; None takes the servers of the inventory.
        database_hba: Rules of the site for pg_hba.conf. Whom they admit may connect; if that is everybody, there is no rule.
        edges: Addresses of the edges; None takes those of the inventory.

    Returns:
        A list of {name, ports, sources}.
    """
    rules = []
    clients = list(seen["database_clients"] if database_clients is None else database_clients)
    if seen["is_database"] and clients:
        sources = list(dict.fromkeys([*clients, *_allowed_by_rules(database_hba)]))
        if not {"all", "samehost", "samenet", "0.0.0.0/0", "::/0", "::0/0"} & set(sources):
            rules.append({"name": "PostgreSQL", "ports": [int(database_port)], "sources": sources})
    known = list(seen["edges"] if edges is None else edges)
    if seen["is_server"] and not seen["edge_is_local"] and known:
        rules.append({"name": "MLflow server", "ports": list(seen["ports"]), "sources": known})
    return rules
