"""The PostgreSQL server that other unit tests stand on."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server


def test_the_server_is_real_and_has_what_mlflow_needs(postgresql: Server, database: str) -> None:
    assert postgresql.version >= 15
    postgresql.execute("CREATE EXTENSION pg_trgm", database=database)
    postgresql.execute("CREATE EXTENSION pg_stat_statements", database=database)
    assert postgresql.execute("SELECT similarity('mlflow', 'mlflow'), %s", 7, database=database) == [(1.0, 7)]


def test_each_database_is_empty_and_gone_afterwards(postgresql: Server, database: str) -> None:
    assert postgresql.execute("SELECT count(*) FROM pg_stat_user_tables", database=database) == [(0,)]
    with postgresql.database("another") as name:
        postgresql.execute("CREATE TABLE t (i int)", database=name)
    assert postgresql.execute("SELECT 1 FROM pg_database WHERE datname = 'another'") == []


def test_other_roles_can_log_in(postgresql: Server) -> None:
    postgresql.execute("CREATE ROLE somebody LOGIN")
    try:
        assert postgresql.execute("SELECT current_user::text", user="somebody") == [("somebody",)]
    finally:
        postgresql.execute("DROP ROLE somebody")
