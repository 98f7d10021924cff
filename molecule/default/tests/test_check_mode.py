"""Check mode tells the truth: what it said of a bare host is what converge then did, task by task."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import plays


@pytest.fixture(scope="module")
def bare() -> list[plays.Difference]:
    """Where the check of the bare host and the first converge differ. Molecule runs them one after the other."""
    folder = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "plays"
    runs = [plays.read(path) for path in sorted(folder.glob("converge-*.xml"), key=lambda path: path.stat().st_mtime)]
    assert len(runs) >= 2, f"{folder} does not hold a check and a converge"
    assert [plays.in_earnest(run) for run in runs[:2]] == [False, True], "the first was not the check of the bare host"
    changed = [task for task, statuses in runs[1].items() if statuses[0] == "changed"]
    assert len(changed) > 40, "this was not a bare host"
    return plays.differences(runs[0], runs[1])


def test_nothing_else_happens_than_check_mode_said(bare: list[plays.Difference]) -> None:
    """A difference is allowed only where rehearsal.yml gives a reason."""
    entries = plays.allowed("bare", "every")
    surprises = [str(difference) for difference in bare if not any(entry.covers(difference) for entry in entries)]
    assert surprises == []


def test_the_list_holds_nothing_that_check_mode_can_do(bare: list[plays.Difference]) -> None:
    """Each entry is still needed, and none of them hides a change: all that is left out is looking."""
    entries = plays.allowed("bare", "every")
    print(f"{len(entries)} tasks are skipped in check mode only")
    assert [entry.task for entry in entries if not any(entry.covers(difference) for difference in bare)] == []
    assert {(entry.check, entry.converge) for entry in entries} == {("skipped", "ok")}
