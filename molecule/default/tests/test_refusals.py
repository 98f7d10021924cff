"""The part of the table of bad input that takes a live host: tests/refusals/live.py, run as a user would.

The sequence verifies twice; what was refused before the power cut would be refused after it as well and is not asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.default.tests.faults import FAULTS
from ansible_collections.mlops.mlflow.tests.refusals.live import RUNS, Run
from ansible_collections.mlops.mlflow.tests.refusals.table import (
    Case,
    filled,
    judge,
    play_case,
    said_about,
    sentences,
)
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played

STATE = (ROOT / "molecule/shared/state.py").read_text(encoding="utf-8")
GROUPS = ("mlflow_databases", "mlflow_servers", "mlflow_edges")


@dataclass(frozen=True)
class Seen:
    """A run, what was said in it, and what the host was like before and after it."""

    played: Played
    said: dict[str, list[str]]
    words: dict[str, str]
    before: dict[str, Any]
    after: dict[str, Any]


def state(host: Any) -> dict[str, Any]:
    """Managed files, starts of units, rows of databases."""
    return dict(json.loads(host.check_output("/usr/bin/python3 -c %s /etc/mlflow /opt/mlflow", STATE)))


def inventory_of(folder: Path, run: Run, scenario: Path, variables: dict[str, Any]) -> Path:
    """The scenario's host under the names of the cases, with the scenario's variables and secrets."""
    place = folder / "inventory"
    place.mkdir()
    (place / "group_vars").symlink_to(scenario / "inventory/group_vars")
    way = {name: value for name, value in variables.items() if name.startswith("ansible_") and isinstance(value, str)}
    names: dict[str, dict[str, Any]] = {}
    for case in run.cases:
        names.setdefault(run.host or case.name, {}).update(filled(case.variables, folder=str(folder)))
    for number in range(1, run.servers):
        names[f"{run.host}-{number + 1}"] = dict(names[run.host])
    hosts = {name: {**way, **own} for name, own in names.items()}
    groups: dict[str, Any] = {group: {"hosts": {name: {} for name in hosts}} for group in GROUPS}
    tree = {"mlflow": {"hosts": hosts, "children": groups, "vars": dict(run.variables)}}
    (place / "hosts.json").write_text(json.dumps(tree), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def scenario(once: Callable[[str], None]) -> Path:
    """The scenario's folder."""
    once("refusals")
    return Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])


@pytest.fixture(scope="module")
def seen(
    host: Any, scenario: Path, variables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Run], Seen]:
    """Plays a run at its first case, with all its faults in place."""
    known: dict[str, Seen | Exception] = {}
    vault = f"{variables['mlflow_environment']}@{ROOT}/molecule/vault-password"

    def look(run: Run) -> Seen:
        folder = tmp_path_factory.mktemp(run.name)
        inventory = inventory_of(folder, run, scenario, variables)
        with ExitStack() as stack:
            words = {
                "address": str(variables["ansible_host"]),
                "environment": str(variables["mlflow_environment"]),
                "locks": str(ROOT / ".collections/ansible_collections/mlops/mlflow/roles/mlflow_server/files/locks"),
            }
            for name in run.faults:
                words.update(stack.enter_context(FAULTS[name](host)))
            before = state(host)
            played = play_case(folder, run.playbook, inventory, *run.arguments, "--vault-id", vault)
            return Seen(played, sentences(played), words, before, state(host))

    def see(run: Run) -> Seen:
        if run.name not in known:
            try:
                known[run.name] = look(run)
            except Exception as error:  # for every case of the run, not only for its first
                known[run.name] = error
        it = known[run.name]
        if isinstance(it, Exception):
            raise it
        return it

    return see


def cases() -> Iterator[Any]:
    for run in RUNS:
        for case in run.cases:
            yield pytest.param(run, case, id=f"{run.name}-{case.name}")


@pytest.mark.parametrize(("run", "case"), list(cases()))
def test_what_cannot_work_is_refused_in_one_sentence(seen: Callable[[Run], Seen], run: Run, case: Case) -> None:
    it, name = seen(run), run.host or case.name
    wanted = filled(case.sentence, name=name, **it.words)
    said = said_about(it.said, name)
    if run.host:  # one host says all that is wrong with it: a sentence a fault, and no other
        assert len(said) == len(run.cases), "\n".join(said)
        said = [line for line in said if line == wanted] or said
    judge(it.played, said, wanted)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_nothing_was_changed(seen: Callable[[Run], Seen], run: Run) -> None:
    """Files with their times, starts of units, rows of every table and catalogue: more than Ansible's own word for it."""
    it = seen(run)
    assert len(it.before["files"]) > 100, "nothing was recorded"
    assert {"mlflow", "mlflow_auth"} <= set(it.before["databases"])
    for what in it.before:
        keys = it.before[what].keys() | it.after[what].keys()
        differences = {key: (it.before[what].get(key), it.after[what].get(key)) for key in keys}
        assert {key: pair for key, pair in differences.items() if pair[0] != pair[1]} == {}, what
