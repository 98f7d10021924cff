"""Every case of the table that a controller alone can show, run as its user would."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from ansible_collections.mlops.mlflow.tests.refusals.cases import CONTROLLER, FACTS
from ansible_collections.mlops.mlflow.tests.refusals.table import Case, filled, judge, run, said_about, sentences

RIGHT = {
    "mlflow_environment": "test",
    "mlflow_domain": "mlflow.test",
    # This machine stands for the host, and a Python that is surely there asks it.
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
}


def inventory_of(folder: Path, case: Case) -> Path | None:
    """The inventory of a case: one host that is everything, or the one that is the mistake."""
    path = folder / "hosts.yml"
    if case.inventory == "-":
        return None
    if case.inventory != "/":
        path.write_text(case.inventory, encoding="utf-8")
    if case.inventory:
        return path
    groups: dict[str, object] = {
        name: {"hosts": {case.name: {}}} for name in ("mlflow_databases", "mlflow_servers", "mlflow_edges")
    }
    variables = {**RIGHT, **filled(case.variables, folder=str(folder))}
    path.write_text(json.dumps({"mlflow": {"children": groups, "vars": variables}}), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CONTROLLER, ids=lambda case: case.name)
def test_what_cannot_work_is_refused_in_one_sentence(tmp_path: Path, case: Case) -> None:
    (tmp_path / "password").write_text("of the vault\n", encoding="utf-8")
    library = VaultLib([("test", VaultSecret(b"of the vault"))])
    encrypted = library.encrypt("mlflow_admin_pasword: Xk3vQ9zLr2Tn8WpB\n", vault_id="test")
    (tmp_path / "more.yml").write_bytes(encrypted)
    inventory = inventory_of(tmp_path, case)
    facts = [] if case.playbook.endswith(".yml") else ["-e", json.dumps({"ansible_facts": FACTS})]
    played = run(tmp_path, case, inventory, *facts)
    said = sentences(played)
    lines = said_about(said, case.name) if not case.inventory else [line for lines in said.values() for line in lines]
    judge(played, lines, filled(case.sentence, name=case.name, inventory=str(inventory)))
