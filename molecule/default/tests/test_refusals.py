"""The part of the table of bad input that takes a live host: tests/refusals/live.py, run as a user would.

The sequence verifies twice; what was refused before the power cut would be refused after it as well and is not asked again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.default.tests.faults import FAULTS
from ansible_collections.mlops.mlflow.molecule.shared import refusing
from ansible_collections.mlops.mlflow.tests.refusals.live import RUNS, Run
from ansible_collections.mlops.mlflow.tests.refusals.table import Case


@pytest.fixture(scope="module")
def seen(
    host: Any, once: Callable[[str], None], variables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Run], refusing.Seen]:
    """Plays a run at its first case."""
    once("refusals")
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    theatre = refusing.Theatre(host, scenario, variables, "/etc/mlflow /opt/mlflow", FAULTS)
    return lambda run: theatre.see(run, tmp_path_factory.mktemp(run.name))


@pytest.mark.parametrize(("run", "case"), list(refusing.each_case(RUNS)))
def test_what_cannot_work_is_refused_in_one_sentence(
    seen: Callable[[Run], refusing.Seen], run: Run, case: Case
) -> None:
    refusing.said_one_sentence(seen(run), run, case)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_nothing_was_changed(seen: Callable[[Run], refusing.Seen], run: Run) -> None:
    """Not only in Ansible's own words."""
    refusing.changed_nothing(seen(run), {"mlflow", "mlflow_auth"})
