"""Which variables are known, and what is suggested for the others."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.filter.variables import FilterModule
from ansible_collections.mlops.mlflow.plugins.lookup.argument_specs import LookupModule
from ansible_collections.mlops.mlflow.plugins.module_utils._variables import known_variables, unknown_variables

SPECS: list[dict[str, Any]] = [
    {"argument_specs": {"main": {"options": {"mlflow_domain": {"type": "str"}, "mlflow_edge_port": {"type": "int"}}}}},
    {
        "argument_specs": {
            "main": {},
            "other": {"options": {"mlflow_server_workers": {"aliases": ["mlflow_server_processes"]}}},
        }
    },
    {},
]
KNOWN = known_variables(SPECS)


def test_options_of_every_entry_point_and_aliases_are_known() -> None:
    expected = {"mlflow_domain", "mlflow_edge_port", "mlflow_server_workers", "mlflow_server_processes"}
    assert expected == KNOWN


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mlflow_domian", "mlflow_domain"),
        ("mlflow_server_worker", "mlflow_server_workers"),
        ("mlflow_edge_prot", "mlflow_edge_port"),
        ("mlflow_quite_another_thing", ""),
    ],
)
def test_the_nearest_known_name_is_suggested(name: str, nearest: str) -> None:
    assert unknown_variables([name, "mlflow_domain"], KNOWN) == [{"name": name, "nearest": nearest}]


def test_names_of_the_users_own_are_left_alone() -> None:
    assert unknown_variables(["mlflow_site_rack", "mlflow_site_domian"], KNOWN) == []


def test_unknown_names_come_once_and_sorted() -> None:
    names = [entry["name"] for entry in unknown_variables(["mlflow_zz", "mlflow_aa", "mlflow_zz"], KNOWN)]
    assert names == ["mlflow_aa", "mlflow_zz"]


def test_the_filter_compares_with_specs() -> None:
    unknown = FilterModule().filters()["unknown_variables"]
    assert unknown(["mlflow_domian"], SPECS) == [{"name": "mlflow_domian", "nearest": "mlflow_domain"}]
    with pytest.raises(AnsibleFilterError, match="argument specs of at least one role"):
        unknown(["mlflow_domian"], [])


def test_the_lookup_reads_the_specs_of_this_collection() -> None:
    known = known_variables(LookupModule().run([]))
    assert {"mlflow_environment", "mlflow_admin_password", "mlflow_secrets_file", "mlflow_host_packages"} <= known
    assert known_variables(LookupModule().run(["mlflow_host"])) == {"mlflow_host_packages"}


def of_hosts(**hosts: dict[str, Any]) -> list[str]:
    options = {f"mlflow_{name}": {"type": "str"} for name in ("auth", "identity_key", "gate_crypto_passphrase")}
    groups = {"mlflow": list(hosts), "mlflow_edges": list(hosts)}
    specs = [{"argument_specs": {"main": {"options": options}}}]
    said: list[str] = FilterModule().filters()["variable_problems"](groups, "mlflow", hosts, specs)
    return said


def test_keys_that_differ_between_hosts_are_named_and_not_shown() -> None:
    oidc = {"mlflow_auth": "oidc", "mlflow_identity_key": "k" * 32, "mlflow_gate_crypto_passphrase": "p" * 32}
    assert of_hosts(app1=oidc, edge1=oidc) == []
    assert of_hosts(app1=oidc, db1={"mlflow_auth": "oidc"}) == []
    (said,) = of_hosts(app1=oidc, edge1={**oidc, "mlflow_identity_key": "another-of-them-" * 2})
    assert said == (
        "[OIDC_KEYS] app1, edge1: mlflow_identity_key differs. Set it once for the environment, in its vault file, and not for single hosts."
        " Nothing was changed."
    )
    (said,) = of_hosts(edge1=oidc, edge2={**oidc, "mlflow_gate_crypto_passphrase": "q" * 32})
    assert said.startswith("[OIDC_KEYS] edge1, edge2: mlflow_gate_crypto_passphrase differs.")
    basic = {**oidc, "mlflow_auth": "basic"}
    assert of_hosts(app1=basic, edge1={**basic, "mlflow_identity_key": "another"}) == []
