"""Checks that ask from inside the server's own sandbox, as its user: on real systemd, by the modules themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.artifacts.conftest import SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks


@pytest.mark.parametrize("name", SERVERS)
def test_the_public_address_as_the_server_sees_it(hosts: Mapping[str, Any], edge: checks.Edge, name: str) -> None:
    """The server's unit has no other network than its host, and its own authorities."""
    where = f"url={edge.url}/health ca_file=/etc/mlflow/tls/ca.pem sandbox=true"
    address = hosts["art-a"].ansible.get_variables()["ansible_host"]
    good = hosts[name].ansible(
        "mlops.mlflow.mlflow_endpoint_check", f"{where} address={address} body=^OK$", check=False
    )
    assert good["findings"] == []
    assert good["changed"] is False
    bad = hosts[name].ansible("mlops.mlflow.mlflow_endpoint_check", f"{where} address=192.0.2.1 timeout=3", check=False)
    assert [one["severity"] for one in bad["findings"]] == ["critical"]


def test_mlflow_itself_as_the_server_sees_it(hosts: Mapping[str, Any], edge: checks.Edge) -> None:
    """With the login of an operator, which is not shown."""
    given = (
        f"url={edge.url} ca_file=/etc/mlflow/tls/ca.pem sandbox=true username={edge.username} password={edge.password}"
    )
    address = hosts["art-a"].ansible.get_variables()["ansible_host"]
    answer = hosts["art-a"].ansible("mlops.mlflow.mlflow_server_info", f"{given} address={address}", check=False)
    assert answer["findings"] == []
    assert answer["server"]["version"] == "3.17.2"
    assert edge.password not in str(answer["server"])
