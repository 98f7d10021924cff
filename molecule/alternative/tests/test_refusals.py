"""What is refused about a database and a bucket on other hosts (tests/refusals/remote.py), asked from a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import refusing
from ansible_collections.mlops.mlflow.tests.refusals.live import Run
from ansible_collections.mlops.mlflow.tests.refusals.remote import RUNS
from ansible_collections.mlops.mlflow.tests.refusals.table import Case


@pytest.fixture(scope="module")
def seen(
    hosts: Mapping[str, Any], variables: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Run], refusing.Seen]:
    """Plays a run at its first case."""
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    theatre = refusing.Theatre(hosts["alt-a"], scenario, variables, "/etc/tracking /srv/tracking", {})
    return lambda run: theatre.see(run, tmp_path_factory.mktemp(run.name))


@pytest.mark.parametrize(("run", "case"), list(refusing.each_case(RUNS)))
def test_what_cannot_work_is_refused_in_one_sentence(
    seen: Callable[[Run], refusing.Seen], run: Run, case: Case
) -> None:
    refusing.said_one_sentence(seen(run), run, case)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_nothing_was_changed(seen: Callable[[Run], refusing.Seen], run: Run) -> None:
    """Not only in Ansible's own words."""
    refusing.changed_nothing(seen(run), set())
