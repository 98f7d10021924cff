# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules: what they say for each choice. Whether they hold is seen on real hosts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2

ROLE = Path(__file__).resolve().parents[3] / "roles/mlflow_firewall"
SERVER = {"name": "MLflow server", "ports": [5001, 5002], "sources": ["192.0.2.9", "edge1"]}


def rules(
    *wanted: dict[str, Any], extra: tuple[str, ...] = (), addresses: dict[str, list[str]] | None = None
) -> list[str]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["comment"] = lambda said: f"# {said}"
    environment.tests["search"] = lambda text, pattern: re.search(pattern, text) is not None
    environment.filters["select"] = lambda values, _test, pattern: [one for one in values if re.search(pattern, one)]
    environment.filters["reject"] = lambda values, _test, pattern: [
        one for one in values if not re.search(pattern, one)
    ]
    text = environment.from_string((ROLE / "templates/firewall.nft.j2").read_text()).render(
        ansible_managed="managed",
        mlflow_firewall_rules=list(wanted),
        mlflow_firewall_extra_sources=list(extra),
        __mlflow_firewall_addresses=addresses or {},
    )
    return [line.strip() for line in text.splitlines() if "dport" in line]


def test_who_needs_a_port_is_let_in_and_the_rest_is_told_no() -> None:
    assert rules(SERVER, addresses={"edge1": ["192.0.2.8", "2001:db8::8"]}) == [
        "tcp dport { 5001, 5002 } ip saddr 192.0.2.8 accept",
        "tcp dport { 5001, 5002 } ip saddr 192.0.2.9 accept",
        "tcp dport { 5001, 5002 } ip6 saddr 2001:db8::8 accept",
        "tcp dport { 5001, 5002 } tcp flags & (syn | ack) == syn counter reject with tcp reset",
    ]


def test_others_are_let_into_every_port() -> None:
    made = rules(
        {"name": "PostgreSQL", "ports": [5432], "sources": ["192.0.2.1"]},
        {"name": "MLflow server", "ports": [5001, 5002], "sources": ["192.0.2.2"]},
        extra=("198.51.100.0/24",),
    )
    assert "tcp dport { 5432 } ip saddr 198.51.100.0/24 accept" in made
    assert "tcp dport { 5001, 5002 } ip saddr 198.51.100.0/24 accept" in made


def test_only_a_table_of_our_own_is_touched() -> None:
    text = (ROLE / "templates/firewall.nft.j2").read_text() + (
        ROLE / "templates/mlflow-firewall.service.j2"
    ).read_text()
    assert set(re.findall(r"table ((?:inet|ip6?|arp|bridge|netdev) \w+)", text)) == {"inet mlflow_firewall"}
    assert "nft flush" not in text
    assert "flush ruleset" not in text
