"""Plays the live part of the table of bad input (tests/refusals) against a host of a scenario, and keeps what the host was like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.refusals.live import Run
from ansible_collections.mlops.mlflow.tests.refusals.table import Case, filled, judge, play_case, said_about, sentences
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played

Fault = Callable[[Any], AbstractContextManager[dict[str, str]]]
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


def state(host: Any, places: str) -> dict[str, Any]:
    """Managed files, starts of units, rows of databases."""
    return dict(json.loads(host.check_output(f"/usr/bin/python3 -c %s {places}", STATE)))


def inventory_of(folder: Path, run: Run, scenario: Path, variables: Mapping[str, Any]) -> Path:
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


class Theatre:
    """Plays each run once, with all its faults in place, on one host.

    `variables` are the host's, `scenario` the folder of the scenario, `places` the folders whose files must not change.
    """

    def __init__(
        self, host: Any, scenario: Path, variables: Mapping[str, Any], places: str, faults: Mapping[str, Fault]
    ) -> None:
        self.host, self.scenario, self.variables, self.places, self.faults = host, scenario, variables, places, faults
        self.known: dict[str, Seen | Exception] = {}

    def _look(self, run: Run, folder: Path) -> Seen:
        inventory = inventory_of(folder, run, self.scenario, self.variables)
        vault = f"{self.variables['mlflow_environment']}@{ROOT}/molecule/vault-password"
        with ExitStack() as stack:
            words = {
                "address": str(self.variables["ansible_host"]),
                "environment": str(self.variables["mlflow_environment"]),
                "locks": str(ROOT / ".collections/ansible_collections/mlops/mlflow/roles/mlflow_server/files/locks"),
            }
            for name in run.faults:
                words.update(stack.enter_context(self.faults[name](self.host)))
            before = state(self.host, self.places)
            played = play_case(folder, run.playbook, inventory, *run.arguments, "--vault-id", vault)
            return Seen(played, sentences(played), words, before, state(self.host, self.places))

    def see(self, run: Run, folder: Path) -> Seen:
        """What came of a run; an error of its first case is one of all its cases."""
        if run.name not in self.known:
            try:
                self.known[run.name] = self._look(run, folder)
            except Exception as error:
                self.known[run.name] = error
        it = self.known[run.name]
        if isinstance(it, Exception):
            raise it
        return it


def said_one_sentence(it: Seen, run: Run, case: Case) -> None:
    """The case's sentence, exactly, and no other about its host."""
    name = run.host or case.name
    wanted = filled(case.sentence, name=name, **it.words)
    said = said_about(it.said, name)
    if run.host:  # one host says all that is wrong with it: a sentence a fault, and no other
        assert len(said) == len(run.cases), "\n".join(said)
        said = [line for line in said if line == wanted] or said
    judge(it.played, said, wanted)


def changed_nothing(it: Seen, databases: set[str]) -> None:
    """Files with their times, starts of units, rows of every table and catalogue: more than Ansible's own word for it."""
    assert len(it.before["files"]) > 100, "nothing was recorded"
    assert databases <= set(it.before["databases"])
    for what in it.before:
        keys = it.before[what].keys() | it.after[what].keys()
        differences = {key: (it.before[what].get(key), it.after[what].get(key)) for key in keys}
        assert {key: pair for key, pair in differences.items() if pair[0] != pair[1]} == {}, what


def each_case(runs: Iterable[Run]) -> Iterator[Any]:
    """Parameters `run` and `case` of a test."""
    for run in runs:
        for case in run.cases:
            yield pytest.param(run, case, id=f"{run.name}-{case.name}")
