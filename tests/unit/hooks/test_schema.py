"""What a database found at a start or a migration means, and what is said about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_mlflow_hooks.schema import Found, Schema, Schemas, State, classify, refusal

TRACKING = Schema(
    title="tracking",
    version_table="alembic_version",
    head="head",
    revisions=frozenset({"old", "head"}),
    tables=frozenset({"experiments", "runs", "spans"}),
    first_tables=frozenset({"experiments", "runs"}),
)
AUTH = Schema(
    title="auth",
    version_table="alembic_version_auth",
    head="head",
    revisions=frozenset({"old", "head"}),
    tables=frozenset({"users", "roles"}),
    first_tables=frozenset(),
)
ALL = TRACKING.tables | {"alembic_version"}


@pytest.mark.parametrize(
    ("schema", "found", "state"),
    [
        (TRACKING, Found(frozenset(), None, False), State.EMPTY),
        (TRACKING, Found(frozenset({"alembic_version"}), None, False), State.EMPTY),
        (TRACKING, Found(frozenset({"experiments", "runs"}), None, False), State.UNFINISHED),
        (TRACKING, Found(frozenset({"experiments", "runs"}), None, True), State.FOREIGN),
        (TRACKING, Found(frozenset({"experiments", "spans"}), None, False), State.FOREIGN),
        (TRACKING, Found(frozenset({"customers"}), None, False), State.FOREIGN),
        (TRACKING, Found(ALL, "head"), State.CURRENT),
        (TRACKING, Found(ALL | {"somebody_elses"}, "head"), State.CURRENT),
        (TRACKING, Found(ALL - {"spans"}, "head"), State.DAMAGED),
        (TRACKING, Found(ALL - {"spans"}, "old"), State.OLDER),
        (TRACKING, Found(ALL, "ffffffffffff"), State.NEWER),
        (AUTH, Found(frozenset({"users", "experiment_permissions"}), None), State.OLDER),
        (AUTH, Found(frozenset({"customers"}), None), State.FOREIGN),
    ],
)
def test_what_a_database_means(schema: Schema, found: Found, state: State) -> None:
    assert classify(found, schema) is state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.OLDER, "mlops.mlflow.upgrade"),
        (State.NEWER, "mlops.mlflow.rollback"),
        (State.FOREIGN, "not MLflow's"),
        (State.DAMAGED, "backup"),
        (State.EMPTY, "migration step"),
    ],
)
def test_a_refusal_is_one_sentence_with_a_way_out(state: State, words: str) -> None:
    said = refusal(state, Found(frozenset({"customers"}), "ffffffffffff"), TRACKING, "3.17.2")
    assert words in said
    assert said.count("\n") == 0
    assert said.endswith(".")


@given(
    st.frozensets(st.sampled_from([*sorted(ALL), "customers"])),
    st.none() | st.sampled_from(["old", "head", "x"]),
    st.booleans(),
)
def test_only_what_holds_nothing_is_created(tables: frozenset[str], revision: str | None, has_rows: bool) -> None:
    state = classify(Found(tables, revision, has_rows), TRACKING)
    if state.creatable:
        assert revision is None
        assert tables <= TRACKING.first_tables | {"alembic_version"}
        assert not (has_rows and tables & TRACKING.first_tables)


def test_what_a_release_keeps_comes_back(tmp_path: Path) -> None:
    schemas = Schemas("3.17.2", TRACKING, AUTH)
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schemas.to_json()))
    assert Schemas.load(file) == schemas
