"""Every case of the table that a controller alone can show, run as its user would."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.mlops.mlflow.tests.refusals.cases import CONTROLLER, FACTS
from ansible_collections.mlops.mlflow.tests.refusals.live import RUNS
from ansible_collections.mlops.mlflow.tests.refusals.table import Case, filled, judge, play_case, said_about, sentences
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority

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


def secrets_of(folder: Path, case: Case) -> None:
    """The file of secrets beside the inventory, and passwords for it."""
    for word in ("right", "wrong"):
        (folder / word).write_text(f"the {word} one\n", encoding="utf-8")
    if case.vault:
        path = folder / "group_vars/mlflow/vault.yml"
        path.parent.mkdir(parents=True)
        library = VaultLib([("test", VaultSecret(b"the right one"))])
        path.write_bytes(case.vault.encode() if case.is_plain else library.encrypt(case.vault, vault_id="test"))


@pytest.fixture(scope="module")
def brought() -> dict[str, bytes]:
    """Certificates that somebody could bring, by the names of their files."""
    root = Authority.make("root")
    files = {"root.pem": root.certificate.public_bytes(Encoding.PEM)}
    for name, domain, days in (("right", "mlflow.test", 10), ("other", "other.test", 10), ("old", "mlflow.test", -1)):
        files[f"{name}.pem"], files[f"{name}.key"] = root.issue(domain, days=days)
    return files


@pytest.mark.parametrize("case", CONTROLLER, ids=lambda case: case.name)
def test_what_cannot_work_is_refused_in_one_sentence(tmp_path: Path, case: Case, brought: dict[str, bytes]) -> None:
    inventory = inventory_of(tmp_path, case)
    secrets_of(tmp_path, case)
    for name, content in brought.items():
        (tmp_path / name).write_bytes(content)
    facts = [] if case.playbook.endswith(".yml") else ["-e", json.dumps({"ansible_facts": FACTS})]
    played = play_case(tmp_path, case.playbook, inventory, *case.arguments, *facts)
    ended = x509.load_pem_x509_certificate(brought["old.pem"]).not_valid_after_utc.strftime("%Y%m%d%H%M%SZ")
    words = {"name": case.name, "inventory": str(inventory), "folder": str(tmp_path), "ended": ended}
    said = sentences(played)
    every = [line for lines in said.values() for line in lines]
    judge(
        played, every if case.inventory or case.vault else said_about(said, case.name), filled(case.sentence, **words)
    )


def test_the_table_is_what_it_should_be() -> None:
    """More than the types of values, and much of it with something real on the other side."""
    live = [case for run in RUNS for case in run.cases]
    assert len({case.name for case in (*CONTROLLER, *live)}) == len(CONTROLLER) + len(live) >= 40
    assert sum(case.is_choice for case in (*CONTROLLER, *live)) <= 12 <= len(live)
