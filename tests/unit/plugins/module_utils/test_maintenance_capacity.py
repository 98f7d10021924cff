"""The history of capacity, in a real PostgreSQL: what is noted and by whom, and what planted trends lead to."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_capacity import (
    CONNECTIONS,
    DATABASE,
    DISK,
    OBJECTS,
    ROWS,
    STORE,
    Sample,
    days_left,
    disks,
    judge,
    look_ahead,
    note_store,
    trend,
    work,
)
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result
from ansible_collections.mlops.mlflow.tests.unit.support.maintenance import Host
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_release import ask
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

NOW = 1_800_000_000.0
DAY = 86400.0
GB = 10**9
SERVED = "capacity_server"


def say(text: str, done: int = 0, of: int = 0) -> None:
    """Nobody listens."""
    del text, done, of


# ----- what a past leads to


def days(amounts: Sequence[float]) -> list[tuple[float, float]]:
    """One sample a day, the last of them now."""
    return [(NOW - (len(amounts) - 1 - number) * DAY, amount) for number, amount in enumerate(amounts)]


def test_a_straight_line_is_seen_to_its_end() -> None:
    past = days([100.0 + 2 * day for day in range(20)])
    known = trend(past)
    assert known is not None
    assert (known.per_day, known.least_per_day) == pytest.approx((2.0, 2.0))
    assert days_left(past, 138, 200) == pytest.approx(31)
    assert days_left(past, 250, 200) == 0, "it is full already"


def test_noise_and_a_day_that_is_an_exception_do_not_turn_it() -> None:
    chance = random.Random(7)
    amounts = [100.0 + 2 * day + chance.gauss(0, 4) for day in range(40)]
    amounts[11] += 5000
    amounts[30] -= 90
    found = days_left(days(amounts), amounts[-1], 300)
    assert found is not None
    assert found == pytest.approx((300 - amounts[-1]) / 2, rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_is_no_trend(seed: int) -> None:
    chance = random.Random(seed)
    assert days_left(days([100 + chance.gauss(0, 10) for _day in range(40)]), 100, 120) is None


@pytest.mark.parametrize(
    "amounts",
    [
        [100.0 - day for day in range(30)],
        [100.0] * 30,
        [100.0] * 25 + [180.0] * 5,  # a jump that stays is no growth
    ],
)
def test_what_shrinks_or_stays_is_never_full(amounts: list[float]) -> None:
    assert days_left(days(amounts), amounts[-1], 200) is None


@pytest.mark.parametrize("number", [0, 1, 6])
def test_a_short_history_claims_nothing(number: int) -> None:
    assert trend(days([float(one) for one in range(number)])) is None


def test_many_samples_of_one_day_are_a_short_history() -> None:
    assert trend([(NOW + number * 3600, float(number)) for number in range(20)]) is None


def test_the_slope_is_that_of_scipy(tmp_path: Path) -> None:
    """Which MLflow brings along: slope, and the lower end of what it may be."""
    chance = random.Random(3)
    amounts = [50 + 0.4 * day + chance.gauss(0, 3) for day in range(33)]
    program = (
        "from scipy.stats import theilslopes\n"
        "found = theilslopes(given['amounts'], range(len(given['amounts'])), 0.95)\n"
        "answer = [float(found[0]), float(found[2])]"
    )
    known = trend(days(amounts))
    assert known is not None
    assert [known.per_day, known.least_per_day] == pytest.approx(ask(program, tmp_path, amounts=amounts), rel=1e-6)


def test_of_connections_the_most_of_a_week_counts_and_not_the_night() -> None:
    amounts = [10.0 + day for day in range(20)]
    amounts[-1] = 1.0
    (one,) = look_ahead([Sample(CONNECTIONS, "PostgreSQL", 1, 48)], {(CONNECTIONS, "PostgreSQL"): days(amounts)})
    assert one.days_left == pytest.approx(20)
    (found,) = judge("db1", [one], 30)
    assert found["id"] == "CAPACITY_FULL_SOON"
    assert found["summary"].startswith("All connections of PostgreSQL are taken in 20 days if it grows on by 1.0 a day")


# ----- what is there


@pytest.fixture(name="served")
def _served(postgresql: Server, database: str) -> Iterator[str]:
    """A database with some of MLflow's tables, into which a login of servers may write rows and no more."""
    postgresql.execute("CREATE TABLE experiments (experiment_id int PRIMARY KEY)", database=database)
    postgresql.execute("CREATE TABLE metrics (run_uuid text, value float8)", database=database)
    postgresql.execute("INSERT INTO metrics SELECT n::text, n FROM generate_series(1, 30000) n", database=database)
    postgresql.execute("ANALYZE metrics", database=database)
    postgresql.execute(f"CREATE ROLE {SERVED} LOGIN")
    postgresql.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON experiments TO {SERVED}", database=database)
    try:
        yield database
    finally:
        postgresql.execute(f"DROP OWNED BY {SERVED}", database=database)
        postgresql.execute(f"DROP ROLE {SERVED}")


def request(server: Server, name: str, user: str = "postgres", **more: Any) -> dict[str, Any]:
    known = {"host": server.socket, "port": str(server.port), "user": user, "dbname": name}
    given = {"host": "db1", "lock_seconds": 1, "tables": 20, "full_days": 30, "trend_days": 60, "keep_days": 400}
    return {
        **given,
        "disks": ["/", "/etc", "/nonexistent"],
        "measures": True,
        "makes": True,
        "databases": [known],
        **more,
    }


def on_server(server: Server, name: str, **more: Any) -> dict[str, Any]:
    """A server whose database has a host of its own."""
    return request(server, name, SERVED, host="app1", measures=False, makes=False, **more)


def history(server: Server, name: str) -> dict[tuple[str, str, str], tuple[int, int | None]]:
    found = server.execute(
        "SELECT measure, subject, day::text, used, most FROM mlops_maintenance.capacity", database=name
    )
    return {(measure, subject, day): (used, most) for measure, subject, day, used, most in found}


def plant(server: Server, name: str, measure: str, subject: str, amounts: Sequence[float], most: int) -> None:
    """A past of one sample a day until yesterday."""
    for number, amount in enumerate(reversed(amounts), 1):
        server.execute(
            "INSERT INTO mlops_maintenance.capacity SELECT %s, %s, to_timestamp(%s)::date, to_timestamp(%s), %s, %s",
            measure,
            subject,
            NOW - number * DAY,
            NOW - number * DAY,
            int(amount),
            most,
            database=name,
        )


def run(given: dict[str, Any], now: float = NOW) -> Result:
    return work(given, say, now=now)


def test_what_is_noted(postgresql: Server, served: str) -> None:
    result = run(request(postgresql, served))
    found = history(postgresql, served)
    today = "2027-01-15"
    assert {day for _measure, _subject, day in found} == {today}
    assert found[ROWS, f"{served}/public.metrics", today] == (30000, None)
    assert found[DATABASE, served, today][0] > 8_000_000
    used, most = found[CONNECTIONS, "PostgreSQL", today]
    assert 1 <= used < 20
    assert most == 97, "max_connections without those of superusers"
    usage = shutil.disk_usage("/")
    used, most = found[DISK, "db1:/", today]
    assert most is not None
    assert most - used == pytest.approx(usage.free, rel=0.1)
    assert (DISK, "db1:/etc", today) not in found, "it is the same file system"
    assert not [subject for _measure, subject, _day in found if "mlops_maintenance" in subject]
    assert result.findings == []
    assert result.sentence.endswith("1 disks; the history is too short to look ahead.")


def test_a_day_has_one_row_and_of_connections_the_most(postgresql: Server, served: str) -> None:
    run(request(postgresql, served))
    before = history(postgresql, served)
    with contextlib.ExitStack() as stack:
        for _number in range(12):
            stack.enter_context(contextlib.closing(postgresql.connect(served)))
        run(request(postgresql, served), NOW + 3600)
    most = history(postgresql, served)[CONNECTIONS, "PostgreSQL", "2027-01-15"][0]
    assert most >= before[CONNECTIONS, "PostgreSQL", "2027-01-15"][0] + 12
    postgresql.execute("DELETE FROM metrics", database=served)
    postgresql.execute("VACUUM ANALYZE metrics", database=served)
    run(request(postgresql, served), NOW + 7200)
    after = history(postgresql, served)
    assert after.keys() == before.keys()
    assert after[CONNECTIONS, "PostgreSQL", "2027-01-15"][0] == most
    assert after[ROWS, f"{served}/public.metrics", "2027-01-15"] == (0, None)


def test_a_disk_and_connections_that_are_full_soon(postgresql: Server, served: str) -> None:
    run(request(postgresql, served))
    usage = shutil.disk_usage("/")
    step = usage.free / 20  # so that it is full in twenty days
    plant(postgresql, served, DISK, "db1:/", [usage.used - number * step for number in range(14, 0, -1)], usage.total)
    # This one grows as well, and is another host's to tell.
    plant(postgresql, served, DISK, "app1:/", [number * GB for number in range(14)], 14 * GB)
    # 97 are there: 90 of them yesterday.
    plant(postgresql, served, CONNECTIONS, "PostgreSQL", [48 + 3 * number for number in range(15)], 97)
    result = run(request(postgresql, served))
    assert [one["id"] for one in result.findings] == ["CAPACITY_FULL_SOON"] * 2
    connections, disk = sorted(one["summary"] for one in result.findings)
    assert connections.startswith("All connections of PostgreSQL are taken in 2 days if it grows on by 3.0 a day, and")
    assert disk.startswith("The disk at / is full in ")
    assert result.details["days_left"]["db1:/"] == pytest.approx(20, abs=2)
    assert "PostgreSQL is the first to be full, in 2 days." in result.sentence
    # The limit is a variable, and how much of the past counts as well.
    assert run(request(postgresql, served, full_days=1)).findings == []
    assert run(request(postgresql, served, trend_days=5)).findings == []


def test_an_old_history_goes(postgresql: Server, served: str) -> None:
    run(request(postgresql, served))
    plant(postgresql, served, DISK, "gone:/", [1.0] * 40, 10)
    result = run(request(postgresql, served, keep_days=30))
    assert result.details["forgotten"] == 10
    kept = [day for _measure, subject, day in history(postgresql, served) if subject == "gone:/"]
    assert (len(kept), min(kept)) == (30, "2026-12-16")


def test_servers_note_their_disks_and_cannot_make_or_forget(postgresql: Server, served: str) -> None:
    early = run(on_server(postgresql, served))
    assert early.sentence.startswith("Nothing was written down: ")
    run(request(postgresql, served))
    result = run(on_server(postgresql, served))
    assert (DISK, "app1:/", "2027-01-15") in history(postgresql, served)
    assert result.sentence.startswith("1 disks; ")
    for statement in ("DELETE FROM mlops_maintenance.capacity", "CREATE TABLE mlops_maintenance.mine (x int)"):
        with pytest.raises(Exception, match="permission denied"):
            postgresql.execute(statement, database=served, user=SERVED)
    # Whoever may not write MLflow's rows may not even look.
    postgresql.execute("CREATE ROLE capacity_nobody LOGIN")
    try:
        with pytest.raises(Exception, match="permission denied"):
            postgresql.execute("SELECT FROM mlops_maintenance.capacity", database=served, user="capacity_nobody")
    finally:
        postgresql.execute("DROP ROLE capacity_nobody")


def test_a_login_that_may_not_make_it_is_told_what_to_ask_for(postgresql: Server, served: str) -> None:
    foreign = request(postgresql, served, SERVED)
    with pytest.raises(JobError, match="CREATE SCHEMA mlops_maintenance AUTHORIZATION the login"):
        run(foreign)
    postgresql.execute(f"CREATE SCHEMA mlops_maintenance AUTHORIZATION {SERVED}", database=served)
    with pytest.raises(JobError):
        run(foreign)
    postgresql.execute(f"GRANT CREATE ON DATABASE {served} TO {SERVED}")
    assert "some 30000 rows" in run(foreign).sentence


def test_a_table_that_is_locked_for_long_is_left_out(postgresql: Server, served: str) -> None:
    run(request(postgresql, served))
    with contextlib.closing(postgresql.connect(served)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
        result = run(request(postgresql, served))
    assert result.details["locked"] == served
    assert "were locked and left out" in result.sentence
    assert "disk_bytes db1:/" in result.details["samples"]


def test_a_listing_of_the_store_is_noted_where_there_is_a_history(postgresql: Server, served: str) -> None:
    login = on_server(postgresql, served)["databases"][0]
    assert note_store(login, "s3://b/p", 12, 3000, NOW) is False
    run(request(postgresql, served))
    assert note_store(login, "s3://b/p", 12, 3000, NOW) is True
    found = history(postgresql, served)
    assert found[OBJECTS, "s3://b/p", "2027-01-15"] == (12, None)
    assert found[STORE, "s3://b/p", "2027-01-15"] == (3000, None)
    assert note_store({**login, "port": "1"}, "s3://b/p", 12, 3000, NOW) is False


def test_disks_that_are_not_there_are_left_out() -> None:
    assert disks("db1", ["/nonexistent"]) == []


def test_the_program_as_hosts_have_it(tmp_path: Path, postgresql: Server, served: str) -> None:
    """On a server with the environment of its unit, and no lock: each host has disks of its own."""
    run(request(postgresql, served), time.time())
    given = {key: value for key, value in on_server(postgresql, served).items() if key != "databases"}
    uri = postgresql.uri(served, SERVED).replace("postgresql:", "postgresql+psycopg2:")
    ran = Host(tmp_path).run("capacity", given, f'MLFLOW_BACKEND_STORE_URI="{uri}"\n')
    assert ran.code == 0, ran.output
    assert "disk_bytes app1:/" in ran.result["details"]["samples"]


def test_mlflow_neither_knows_nor_minds(tmp_path: Path, postgresql: Server) -> None:
    """Its checks and its migrations work with the history in the same database, and leave it as it is."""
    with postgresql.database("capacity_mlflow") as name:
        uri = postgresql.uri(name).replace("postgresql:", "postgresql+psycopg2:")
        program = (
            "import mlflow\n"
            "from mlflow.store.db.utils import _upgrade_db, _verify_schema, create_sqlalchemy_engine\n"
            "mlflow.set_tracking_uri(given['uri'])\n"
            "engine = create_sqlalchemy_engine(given['uri'])\n"
            "client = mlflow.MlflowClient()\n"
            "client.search_experiments()\n"
            "_verify_schema(engine)\n"
            "_upgrade_db(engine)\n"
            "answer = client.create_run('0').info.status"
        )
        assert ask(program, tmp_path, uri=uri) == "RUNNING"
        run(request(postgresql, name))
        before = history(postgresql, name)
        assert len(before) > 40
        assert ask(program, tmp_path, uri=uri) == "RUNNING"
        assert history(postgresql, name) == before
