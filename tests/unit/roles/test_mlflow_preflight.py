"""The contract as an operator meets it: real runs on the controller that end with one sentence and change nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play

ROLE_ALONE = """\
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.ROLE, tasks_from: ENTRY}
"""
SECRETS = [
    *("flask_secret_key", "crypto_kek_passphrase", "admin_password"),
    *("database_migrator_password", "database_server_a_password", "database_server_b_password"),
]
GOOD = ["-e", "mlflow_environment=test", "-e", "mlflow_domain=mlflow.test"]


def run(home: Path, role: str, *arguments: str, entry: str = "main") -> Played:
    playbook = home / "play.yml"
    playbook.write_text(ROLE_ALONE.replace("ROLE", role).replace("ENTRY", entry))
    # Tasks run with this Python: what would be discovered depends on the machine.
    own = ["-e", f"mlflow_config_dir={home}/etc", "-e", f"ansible_python_interpreter={sys.executable}"]
    return play(home, playbook, "-i", "app1,", *own, *arguments)


def refused(played: Played, *sentences: str) -> None:
    assert played.code != 0
    assert played.changed == 0
    assert len(played.sentences) == len(sentences), played.output
    for said, wanted in zip(played.sentences, sentences, strict=True):
        assert said.startswith(wanted)
        assert said.endswith("Nothing was changed.")


def test_the_choices_alone_pass(tmp_path: Path) -> None:
    played = run(tmp_path, "mlflow_preflight", *GOOD, "-e", "mlflow_site_rack=b7", entry="choices")
    assert played.code == 0, played.output
    assert played.changed == 0


def test_a_misspelt_variable_is_refused_first_and_by_a_role_that_runs_alone(tmp_path: Path) -> None:
    """The role that would change the host does not begin."""
    arguments = ["-e", "mlflow_environment=test", "-e", "mlflow_domian=mlflow.test", "-e", "mlflow_server_worker=3"]
    refused(
        run(tmp_path, "mlflow_host", *arguments),
        "[VARIABLE_UNKNOWN] app1: mlflow_domian is set, and no role of mlops.mlflow knows it. Did you mean mlflow_domain?",
        "[VARIABLE_UNKNOWN] app1: mlflow_server_worker is set, and no role of mlops.mlflow knows it. Did you mean mlflow_server_workers?",
        "[CHOICE_MISSING] app1: mlflow_domain is not set.",
    )


def test_a_wrong_type_is_refused_by_the_specification(tmp_path: Path) -> None:
    played = run(tmp_path, "mlflow_preflight", *GOOD, "-e", "mlflow_auth=ldap", entry="choices")
    assert played.code != 0
    assert "value of mlflow_auth must be one of: basic, none, oidc, got: ldap" in played.output


def test_a_value_made_of_what_only_a_role_or_a_host_knows_is_left_to_them(tmp_path: Path) -> None:
    """Not so the misspelt one beside it."""
    path = tmp_path / "hosts.yml"
    path.write_text(
        "mlflow:\n  children: {mlflow_servers: {hosts: {app1: {}}}}\n  vars:\n"
        '    mlflow_artifact_store_ca_file: "{{ mlflow_config_dir }}/tls/ca.pem"\n'
        '    mlflow_server_workers: "{{ ansible_facts.processor_vcpus }}"\n'
        '    mlflow_server_extra_env: {HOME: "{{ mlflow_install_dir }}/home"}\n'
        '    mlflow_server_allowed_hosts: ["{{ ansible_facts.fqdn }}"]\n'
        "    mlflow_auth: bsic\n"
    )
    playbook = tmp_path / "play.yml"
    tasks = ROLE_ALONE.replace("ROLE", "mlflow_preflight").replace("ENTRY", "variables").replace("all", "localhost")
    playbook.write_text(f"{tasks}      vars: {{mlflow_preflight_group: mlflow}}\n")
    refused(
        play(tmp_path, playbook, "-i", str(path)),
        "[VARIABLE_VALUE] app1: mlflow_auth=bsic. It is one of basic, none, oidc.",
    )


def test_a_host_of_another_environment_and_missing_secrets_are_said_together(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/environment").write_text("prod\n")
    # This machine need not be one that could carry a server: nothing is asked of it but whose it is.
    concerns = ["-e", '{"mlflow_preflight_concerns": [], "mlflow_preflight_memory_minimum_mb": 1}']
    played = run(tmp_path, "mlflow_preflight", *GOOD, *concerns)
    assert any(
        sentence.startswith("[HOST_ENVIRONMENT] app1: mlflow_environment=test.") for sentence in played.sentences
    )
    assert any(sentence.startswith("[SECRET_MISSING] app1: mlflow_flask_secret_key, ") for sentence in played.sentences)
    assert played.code != 0
    assert played.changed == 0


@pytest.mark.parametrize(
    ("inventory", "sentence"),
    [
        (None, "[INVENTORY_MISSING] PATH: there is no group mlflow."),
        ("mlflow:\n  hosts: {app1: {}}\n", "[INVENTORY_GROUP_EMPTY] PATH: the group mlflow_servers has no host."),
        (
            "mlflow:\n  children:\n    mlflow_server: {hosts: {app1: {}}}\n    mlflow_servers: {hosts: {app2: {}}}\n",
            "[INVENTORY_GROUP_UNKNOWN] PATH: the group mlflow_server is not one of",
        ),
    ],
)
def test_site_never_ends_green_having_done_nothing(tmp_path: Path, inventory: str | None, sentence: str) -> None:
    path = tmp_path / "hosts.yml"
    if inventory:
        path.write_text(inventory)
    played = play(tmp_path, ROOT / "site.yml", "-i", str(path))
    refused(played, sentence.replace("PATH", str(path)))


def test_a_limit_that_would_size_postgresql_for_some_of_the_servers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "mlflow:\n  vars: {ansible_connection: local}\n  children:\n"
        "    mlflow_databases: {hosts: {db1: {}}}\n    mlflow_servers: {hosts: {app1: {}, app2: {}}}\n"
        "    mlflow_edges: {hosts: {app1: {}}}\n"
    )
    own = f"ansible_python_interpreter={sys.executable}"
    played = play(tmp_path, ROOT / "site.yml", "-i", str(path), "--limit", "db1,app1", "-e", own)
    refused(played, "[INVENTORY_LIMIT] db1: --limit=db1,app1. It leaves out app2.")


def test_that_secrets_are_shown_is_said(tmp_path: Path) -> None:
    """A warning, on a machine of which nothing else is asked."""
    secrets = {f"mlflow_{name}": "Xk3vQ9zLr2Tn8WpBXk3vQ9zLr2Tn8WpB" for name in SECRETS}
    authority = {f"mlflow_certificates_ca_{name}": "x1y2z" * 30 for name in ("certificate", "private_key")}
    given = {"mlflow_preflight_concerns": [], "mlflow_preflight_memory_minimum_mb": 1, "mlflow_debug_secrets": True}
    played = run(tmp_path, "mlflow_preflight", *GOOD, "-e", json.dumps({**secrets, **authority, **given}))
    assert played.code == 0, played.output
    assert any(
        sentence.startswith(
            "[DEBUG_SECRETS] app1: mlflow_debug_secrets=true, and the output of this run holds passwords."
        )
        for sentence in played.sentences
    )
