"""The job that keeps PostgreSQL lean, on a real one: with tables and indexes full of air, and somebody who writes meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_database
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_database import (
    Database,
    Index,
    Table,
    bloat_percent,
    work,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

ROWS = 60_000


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


@pytest.fixture(name="name")
def _name(postgresql: Server) -> Iterator[str]:
    """A database with a table of which most was deleted, whose index is mostly air, and a small one that is in order."""
    with postgresql.database("lean_database") as name:
        postgresql.execute("CREATE TABLE bloated (id int, filler text) WITH (autovacuum_enabled = off)", database=name)
        postgresql.execute("CREATE INDEX bloated_id ON bloated (id)", database=name)
        postgresql.execute(
            f"INSERT INTO bloated SELECT n, repeat('x', 100) FROM generate_series(1, {ROWS}) n", database=name
        )
        postgresql.execute("DELETE FROM bloated WHERE id % 10 > 0", database=name)
        postgresql.execute("CREATE TABLE fine (id int PRIMARY KEY)", database=name)
        postgresql.execute("INSERT INTO fine SELECT generate_series(1, 100)", database=name)
        postgresql.execute("ANALYZE fine", database=name)
        statistics(postgresql, name)
        yield name


def statistics(server: Server, name: str) -> None:
    """Statistics come a moment after what they count."""
    asked = "SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'bloated' AND n_dead_tup > 50000 AND n_mod_since_analyze > 0"
    end = time.monotonic() + 20
    while server.execute(asked, database=name) != [(1,)]:
        assert time.monotonic() < end
        time.sleep(0.1)


def request(server: Server, name: str, user: str = "postgres", **more: Any) -> dict[str, Any]:
    known = {"host": server.socket, "port": str(server.port), "user": user, "dbname": name}
    given = {
        "host": "db1",
        "dry_run": False,
        "lock_seconds": 1,
        "least_mb": 0,
        "index_bloat_percent": 40,
        "table_bloat_percent": 50,
        "databases": [known],
    }
    return {**given, **more}


def size_of(server: Server, name: str, relation: str = "bloated_id") -> int:
    ((found,),) = server.execute("SELECT pg_relation_size(%s::regclass)", relation, database=name)
    return int(found)


def invalid(server: Server, name: str) -> list[str]:
    found = server.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1", database=name
    )
    return [one for (one,) in found]


def test_what_lags_behind_is_vacuumed_and_what_is_mostly_air_is_built_anew(postgresql: Server, name: str) -> None:
    before = size_of(postgresql, name)
    result = work(request(postgresql, name), say)
    (done,) = result.details["databases"]
    assert done["vacuumed"] == ["public.bloated"]
    assert done["analysed"] == [], "the other table is in order"
    (index,) = done["reindexed"]
    assert index["index"] == "public.bloated_id"
    assert index["bloat_percent"] > 80
    assert index["bytes_after"] == size_of(postgresql, name) < before / 5
    assert (done["postponed"], done["unmeasured"], invalid(postgresql, name)) == ({}, False, [])
    ((dead, analysed),) = postgresql.execute(
        "SELECT n_dead_tup, last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'bloated'", database=name
    )
    assert (dead, analysed) == (0, True)
    # The measuring leaves nothing behind.
    assert postgresql.execute("SELECT extname FROM pg_extension WHERE extname = 'pgstattuple'", database=name) == []
    assert result.sentence.startswith("1 tables vacuumed, 1 indexes built anew (")
    # A table cannot be built anew beside the old one: somebody has to know.
    (found,) = result.findings
    assert found["id"] == "MAINTENANCE_TABLE_BLOAT"
    assert "lean_database public.bloated: " in found["evidence"]
    again = work(request(postgresql, name), say)
    assert again.sentence == "0 tables vacuumed."


def test_an_index_for_which_there_is_no_room_stays(
    postgresql: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "room", lambda *_given: 1000)
    before = size_of(postgresql, name)
    result = work(request(postgresql, name), say)
    assert size_of(postgresql, name) == before
    assert [one["id"] for one in result.findings] == ["MAINTENANCE_INDEX_ROOM", "MAINTENANCE_TABLE_BLOAT"]
    assert "lean_database public.bloated_id: " in result.findings[0]["evidence"]
    assert "the disk has 1" in result.findings[0]["evidence"]
    monkeypatch.undo()
    here = {**request(postgresql, name)["databases"][0], "host": postgresql.socket}
    with Database(here, 2).connected() as cursor:
        assert (Database(here, 2).room(cursor) or 0) > 0
        assert Database({**here, "host": "db.example.com"}, 2).room(cursor) is None, "it is another host's disk"


def test_a_dry_run_only_tells(postgresql: Server, name: str) -> None:
    before = size_of(postgresql, name)
    result = work(request(postgresql, name, dry_run=True), say)
    # How much of the index will be air, nobody knows before the table is vacuumed.
    assert result.sentence == "It would be: 1 tables vacuumed."
    assert size_of(postgresql, name) == before
    ((vacuumed,),) = postgresql.execute(
        "SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'bloated'", database=name
    )
    assert not vacuumed


def test_limits_decide(postgresql: Server, name: str) -> None:
    work(request(postgresql, name, index_bloat_percent=99, table_bloat_percent=99), say)
    result = work(request(postgresql, name, least_mb=1000), say)
    assert (result.sentence, result.findings) == ("0 tables vacuumed.", [])


def test_nobody_who_writes_waits_and_what_would_have_to_is_put_off(postgresql: Server, name: str) -> None:
    """A writer whose transaction stays open: a build beside the old index has to wait for it, and gives up."""
    before = size_of(postgresql, name)
    slowest = 0.0
    stop = threading.Event()

    def write() -> None:
        nonlocal slowest
        with contextlib.closing(postgresql.connect(name)) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                start = time.monotonic()
                cursor.execute("INSERT INTO bloated VALUES (1, 'new')")
                slowest = max(slowest, time.monotonic() - start)
                time.sleep(0.005)

    with contextlib.closing(postgresql.connect(name)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE bloated SET filler = 'held' WHERE id = 10")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            result = work(request(postgresql, name), say)
        finally:
            stop.set()
            writer.join()
            cursor.execute("ROLLBACK")
    (done,) = result.details["databases"]
    assert done["reindexed"] == []
    assert "lock timeout" in done["postponed"]["public.bloated_id"]
    assert size_of(postgresql, name) >= before
    assert slowest < 0.9, "the job waited for a second, and the writer did not wait with it"
    # What the build had left is gone, now or, where even that had to wait, in the next run.
    final = work(request(postgresql, name), say)
    assert invalid(postgresql, name) == []
    assert [one["index"] for one in final.details["databases"][0]["reindexed"]] == ["public.bloated_id"]


def test_what_an_interrupted_build_left_is_dropped(postgresql: Server, name: str) -> None:
    postgresql.execute("CREATE INDEX bloated_id_ccnew ON bloated (id)", database=name)
    postgresql.execute("CREATE INDEX somebody_s ON bloated (filler)", database=name)
    postgresql.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('bloated_id_ccnew'::regclass, 'somebody_s'::regclass)",
        database=name,
    )
    result = work(request(postgresql, name), say)
    assert result.details["databases"][0]["dropped"] == ["public.bloated_id_ccnew"]
    assert invalid(postgresql, name) == ["somebody_s"], "what is not of a build beside an old index is somebody's own"


def test_a_login_that_may_not_measure_does_the_rest(postgresql: Server, name: str) -> None:
    postgresql.execute("DROP ROLE IF EXISTS lean_owner")
    postgresql.execute("CREATE ROLE lean_owner LOGIN")
    try:
        postgresql.execute("ALTER TABLE bloated OWNER TO lean_owner", database=name)
        result = work(request(postgresql, name, user="lean_owner"), say)
        assert result.details["databases"][0]["vacuumed"] == ["public.bloated"]
        assert result.sentence == "1 tables vacuumed; bloat was not measured, for this login may not."
    finally:
        postgresql.execute("REASSIGN OWNED BY lean_owner TO postgres", database=name)
        postgresql.execute("DROP ROLE lean_owner")


def test_a_database_that_is_away(postgresql: Server) -> None:
    with pytest.raises(JobError, match=r'^Database none: .*database "none" does not exist\.$'):
        work(request(postgresql, "none"), say)


@pytest.mark.parametrize(
    ("table", "need"),
    [
        (Table(1, "t", 0, 10_000, 1_200, 0, True), "vacuum"),
        (Table(1, "t", 0, 10_000, 1_000, 0, True), ""),
        (Table(1, "t", 0, 100, 900, 0, True), ""),  # few rows are nobody's business
        (Table(1, "t", 0, 10_000, 0, 1_200, True), "analyse"),
        (Table(1, "t", 0, 10, 0, 10, False), "analyse"),
        (Table(1, "t", 0, 0, 0, 0, False), ""),
    ],
)
def test_what_a_table_needs(table: Table, need: str) -> None:
    assert table.needs() == need


@pytest.mark.parametrize(("density", "bloat"), [(90.0, 0), (95.0, 0), (45.0, 50), (9.0, 90), (float("nan"), 0)])
def test_how_much_of_an_index_is_air(density: float, bloat: int) -> None:
    assert bloat_percent(density) == bloat


@pytest.mark.parametrize(
    ("index", "left"),
    [
        (Index(1, "public.a_ccnew", 0, False, False), True),
        (Index(1, 'public."A_ccold12"', 0, False, False), True),
        (Index(1, "public.a_ccnew", 0, False, True), False),
        (Index(1, "public.a_ccnew", 0, True, False), False),
        (Index(1, "public.a", 0, False, False), False),
    ],
)
def test_what_was_left_behind(index: Index, left: bool) -> None:
    assert index.left_behind() is left
    assert _maintenance_database.LEFT_BEHIND.search("ccnew") is None
