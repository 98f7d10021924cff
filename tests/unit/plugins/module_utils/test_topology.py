# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who talks to whom, and which certificates follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._topology import (
    SERVER_NAME,
    address_of,
    certificates,
    firewall_rules,
    topology,
)

ONE = {"all1": {"ansible_host": "192.0.2.1"}}
APART = {
    "db1": {"ansible_host": "192.0.2.1"},
    "app1": {"ansible_host": "192.0.2.2"},
    "app2": {"ansible_host": "192.0.2.3", "mlflow_address": "10.0.0.3"},
    "edge1": {},
}


def names(host: str, hostvars: dict[str, dict[str, str]], **groups: list[str]) -> list[str]:
    seen = topology(hostvars, host, groups["databases"], groups["servers"], groups["edges"])
    return [entry["name"] for entry in certificates(seen, host, "mlflow.example.com", "mlflow")]


@pytest.mark.parametrize(("host", "expected"), [("db1", "192.0.2.1"), ("app2", "10.0.0.3"), ("edge1", "edge1")])
def test_the_service_address_wins_over_the_management_address(host: str, expected: str) -> None:
    assert address_of(host, APART) == expected


def test_one_host_needs_only_the_public_certificate() -> None:
    seen = topology(ONE, "all1", ["all1"], ["all1"], ["all1"])
    assert seen["edge_is_local"]
    assert seen["database_is_local"]
    assert seen["database_clients"] == []
    assert names("all1", ONE, databases=["all1"], servers=["all1"], edges=["all1"]) == ["edge"]


def test_hosts_apart_present_certificates_to_each_other() -> None:
    groups = {"databases": ["db1"], "servers": ["app1", "app2"], "edges": ["edge1"]}
    assert names("db1", APART, **groups) == ["postgresql"]
    assert names("app1", APART, **groups) == ["server"]
    assert names("edge1", APART, **groups) == ["edge", "edge-client"]
    seen = topology(APART, "app1", **groups)
    assert seen["database_clients"] == ["192.0.2.2", "10.0.0.3"]
    assert not seen["edge_is_local"]
    assert not seen["database_is_local"]


def test_an_edge_beside_one_of_two_servers_still_uses_tls_to_both() -> None:
    seen = topology(APART, "app1", ["db1"], ["app1", "app2"], ["app1"])
    assert not seen["edge_is_local"]
    assert [entry["name"] for entry in certificates(seen, "app1", "mlflow.example.com", "mlflow")] == [
        "server",
        "edge",
        "edge-client",
    ]


def test_server_certificates_carry_the_shared_name_and_addresses_go_into_ip() -> None:
    seen = topology(APART, "app2", ["db1"], ["app1", "app2"], ["edge1"])
    (entry,) = certificates(seen, "app2", "mlflow.example.com", "mlflow")
    assert entry["dns"] == [SERVER_NAME, "app2"]
    assert entry["ip"] == ["10.0.0.3"]
    assert entry["group"] == "mlflow"


def test_a_site_without_a_database_host_has_no_database_address() -> None:
    assert topology(APART, "app1", [], ["app1"], ["edge1"])["database_address"] == ""


def test_every_server_tells_the_ports_of_its_slots() -> None:
    hostvars: dict[str, dict[str, object]] = {
        "app1": {"mlflow_server_port_a": "7001"},
        "app2": {"mlflow_server_port_b": 7002},
        "edge1": {},
    }
    seen = topology(hostvars, "edge1", [], ["app1", "app2"], ["edge1"])
    assert [entry["ports"] for entry in seen["servers"]] == [[7001, 5002], [5001, 7002]]
    assert topology(hostvars, "app1", [], ["app1", "app2"], ["edge1"])["ports"] == [7001, 5002]


def test_only_those_who_need_a_port_may_connect() -> None:
    def rules(host: str, **given: Any) -> list[dict[str, Any]]:
        return firewall_rules(topology(APART, host, ["db1"], ["app1", "app2"], ["edge1"]), **given)

    assert rules("db1") == [{"name": "PostgreSQL", "ports": [5432], "sources": ["192.0.2.2", "10.0.0.3"]}]
    assert rules("app1") == [{"name": "MLflow server", "ports": [5001, 5002], "sources": ["edge1"]}]
    assert rules("edge1") == []
    assert rules("db1", database_port=5433, database_clients=["10.1.0.0/16"]) == [
        {"name": "PostgreSQL", "ports": [5433], "sources": ["10.1.0.0/16"]}
    ]
    assert rules("app1", edges=["10.2.0.1"])[0]["sources"] == ["10.2.0.1"]


def test_a_port_for_nobody_else_or_for_everybody_gets_no_rule() -> None:
    assert firewall_rules(topology(ONE, "all1", ["all1"], ["all1"], ["all1"])) == []
    assert firewall_rules(topology(APART, "app1", [], ["app1"], [])) == []
    seen = topology(APART, "db1", ["db1"], ["app1"], ["edge1"])
    for everybody in ("hostssl all all all scram-sha-256", "host all all 0.0.0.0/0 scram-sha-256"):
        assert firewall_rules(seen, database_hba=[everybody]) == []


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        ("hostssl reports reader 10.3.0.0/24 scram-sha-256", ["10.3.0.0/24"]),
        ("host reports reader 10.3.0.7 255.255.255.255 scram-sha-256  # one", ["10.3.0.7/32"]),
        ("hostssl reports reader reports.example.com scram-sha-256 clientcert=verify-full", ["reports.example.com"]),
        ("host all all 10.9.0.0/16 reject", []),
        ("local all nagios peer", []),
        ("# hostssl reports reader 10.3.0.0/24 scram-sha-256", []),
    ],
)
def test_whom_the_rules_of_the_site_admit_may_connect(rule: str, sources: list[str]) -> None:
    (made,) = firewall_rules(topology(APART, "db1", ["db1"], ["app1"], ["edge1"]), database_hba=[rule])
    assert made["sources"] == ["192.0.2.2", *sources]
