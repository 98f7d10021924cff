"""A second converge leaves files, starts and rows as they are: more than Ansible's own word for it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks


@pytest.mark.parametrize("what", ["files", "units"])
def test_files_and_starts_are_the_same(record: Any, what: str) -> None:
    """Checksum, mode, owner and time of every managed file; no unit was started again."""
    before, after = record("before"), record("after")
    assert len(before[what]) > 2, "nothing was recorded"
    assert checks.differences(before[what], after[what]) == {}


def test_rows_and_rights_are_the_same(record: Any) -> None:
    """In every database, catalogues and the tables of MLflow: `site` ends with verify, which leaves nothing."""
    before, after = record("before"), record("after")
    assert {"mlflow", "mlflow_auth"} <= set(before["databases"])
    for database in before["databases"]:
        assert checks.differences(before["databases"][database], after["databases"].get(database, {})) == {}, database
