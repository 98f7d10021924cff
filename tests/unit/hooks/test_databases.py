"""Start and migration against a real PostgreSQL; MLflow's own part is replaced, it is proved on real hosts."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlops_mlflow_hooks import migrate, start
from mlops_mlflow_hooks.database import (
    DatabaseError,
    auth_uri_of,
    engine_for,
    look,
    only_one,
    sentence,
    where,
    with_options,
)
from mlops_mlflow_hooks.schema import Schema, Schemas

from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

TRACKING = Schema(
    title="tracking",
    version_table="alembic_version",
    head="head",
    revisions=frozenset({"old", "head"}),
    tables=frozenset({"experiments", "spans"}),
    first_tables=frozenset({"experiments"}),
)
SCHEMAS = Schemas("3.17.2", TRACKING, TRACKING)


@pytest.fixture
def uri(postgresql: Server, database: str) -> str:
    return postgresql.uri(database).replace("postgresql://", "postgresql+psycopg2://")


def run_sql(uri: str, *statements: str) -> None:
    with engine_for(uri).begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def create(uri: str) -> None:
    run_sql(
        uri,
        "CREATE TABLE experiments (id int)",
        "CREATE TABLE spans (id int)",
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('head')",
    )


def upgrade(uri: str) -> None:
    run_sql(uri, "CREATE TABLE spans (id int)", "UPDATE alembic_version SET version_num = 'head'")


def settle(uri: str, *, dry_run: bool = False, backed_up: str = "") -> dict[str, Any]:
    return migrate.settle(uri, TRACKING, "3.17.2", migrate.Steps(create, upgrade, backed_up), dry_run=dry_run)


def test_an_empty_database_is_created_once(uri: str) -> None:
    assert settle(uri, dry_run=True)["changed"] is True
    assert look(engine_for(uri), TRACKING).tables == frozenset(), "a rehearsal changes nothing"
    assert settle(uri) == {"changed": True, "found": "empty", "before": None, "after": "head"}
    assert settle(uri) == {"changed": False, "found": "current", "before": "head", "after": "head"}


def test_a_creation_that_was_cut_off_is_finished(uri: str) -> None:
    run_sql(uri, "CREATE TABLE experiments (id int)")
    with pytest.raises(DatabaseError, match="already exists"):
        settle(uri)  # MLflow's own creation skips what exists; this one's error must arrive as a sentence
    run_sql(uri, "DROP TABLE experiments")
    assert settle(uri)["changed"] is True


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["CREATE TABLE customers (id int)"], "not MLflow's"),
        (["CREATE TABLE experiments (id int)", "INSERT INTO experiments VALUES (1)"], "not MLflow's"),
        (
            ["CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('old')"],
            "mlops.mlflow.upgrade",
        ),
        (
            ["CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('new')"],
            "does not know",
        ),
        (
            ["CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('head')"],
            "lacks tables",
        ),
    ],
)
def test_a_database_that_holds_anything_else_is_refused_and_left_alone(
    uri: str, statements: list[str], words: str
) -> None:
    run_sql(uri, *statements)
    before = look(engine_for(uri), TRACKING)
    with pytest.raises(migrate.Refused, match=words) as refused:
        settle(uri)
    assert str(refused.value).endswith("Nothing was changed.")
    assert look(engine_for(uri), TRACKING) == before


OLDER = [
    "CREATE TABLE experiments (id int)",
    "INSERT INTO experiments VALUES (1)",
    "CREATE TABLE alembic_version (version_num text)",
    "INSERT INTO alembic_version VALUES ('old')",
]


def test_an_older_schema_is_migrated_only_at_the_revision_of_its_backup(uri: str) -> None:
    run_sql(uri, *OLDER)
    for backed_up in ("", "older", "head", "unrecorded"):
        with pytest.raises(migrate.Refused, match="mlflow_database_adopt=true"):
            settle(uri, backed_up=backed_up)
    assert settle(uri, backed_up="old", dry_run=True)["changed"] is True
    assert look(engine_for(uri), TRACKING).revision == "old", "a rehearsal changes nothing"
    assert settle(uri, backed_up="old") == {"changed": True, "found": "older", "before": "old", "after": "head"}
    assert settle(uri, backed_up="old")["changed"] is False
    with engine_for(uri).connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM experiments")).scalar() == 1


def test_a_backup_allows_nothing_but_a_migration(uri: str) -> None:
    run_sql(uri, *OLDER[:-1], "INSERT INTO alembic_version VALUES ('new')")
    with pytest.raises(migrate.Refused, match="does not know"):
        settle(uri, backed_up="new")


def test_two_migrations_at_a_time_do_the_work_once(uri: str) -> None:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(settle(uri))) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["changed"] for result in results) == [False, False, False, True]


def test_whoever_waits_too_long_for_another_migration_says_so(uri: str) -> None:
    with (
        only_one(engine_for(uri), 5),
        pytest.raises(DatabaseError, match="Another migration"),
        only_one(engine_for(uri), 1),
    ):
        pass


def test_the_second_database_is_looked_at_before_the_first_is_changed(
    uri: str, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "create_tracking", create)
    with postgresql.database("test_foreign") as name:
        foreign = postgresql.uri(name).replace("postgresql://", "postgresql+psycopg2://")
        run_sql(foreign, "CREATE TABLE customers (id int)")
        with pytest.raises(migrate.Refused):
            migrate.run({"tracking_uri": uri, "auth_uri": foreign}, SCHEMAS, dry_run=False)
    assert look(engine_for(uri), TRACKING).tables == frozenset()


def test_a_refusal_is_json_with_its_own_exit_code(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_sql(uri, "CREATE TABLE customers (id int)")
    monkeypatch.setattr(Schemas, "load", classmethod(lambda _cls: SCHEMAS))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"tracking_uri": uri, "auth_uri": None, "admin": None})))
    assert migrate.main([]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"] is True
    assert answer["changed"] is False


def test_a_start_is_refused_with_a_sentence_and_without_the_password(uri: str) -> None:
    assert "migration step" in str(start.problem(uri, TRACKING, "3.17.2"))
    create(uri)
    assert start.problem(uri, TRACKING, "3.17.2") is None
    nobody = uri.replace("postgres@", "nobody:s3cret@")
    said = str(start.problem(nobody, TRACKING, "3.17.2"))
    assert "cannot be used" in said
    assert "s3cret" not in said


def test_a_database_that_is_away_is_waited_for_only_so_long() -> None:
    said = start.problem("postgresql+psycopg2://x:s3cret@127.0.0.1:1/mlflow", TRACKING, "3.17.2", patience=0)
    assert said is not None
    assert said.startswith("The database mlflow at 127.0.0.1 as x cannot be used: ")


def test_errors_and_places_hide_the_password() -> None:
    uri = "postgresql+psycopg2://me:p%40ss@db.example.com/mlflow"
    assert where(uri) == "database mlflow at db.example.com as me"
    assert sentence(ValueError("bad p@ss\nagain"), uri) == "bad *** again"


def test_settings_are_added_to_those_of_a_uri() -> None:
    uri = with_options(
        "postgresql+psycopg2://me:p%40s%2Fs@/mlflow?host=/run/postgresql&options=-c%20a%3D1", lock_timeout="5"
    )
    url = sqlalchemy.make_url(uri)
    assert url.query == {"host": "/run/postgresql", "options": "-c a=1 -c lock_timeout=5"}
    assert url.password == "p@s/s"


def test_the_uri_of_the_users_is_read_as_mlflow_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "auth.ini"
    file.write_text("[mlflow]\ndatabase_uri = postgresql+psycopg2://me:p%%40ss@/mlflow_auth\n")
    assert auth_uri_of(file) == "postgresql+psycopg2://me:p%40ss@/mlflow_auth"
