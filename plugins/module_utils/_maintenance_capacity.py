# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much there is and how much there can be, written down day by day, and what is full soon if it goes on like that.

The history is a table in a schema of its own in the tracking database: MLflow looks into its own schema only, a backup takes it along, and every
host with a login of MLflow's reaches it. A day has one row a thing, so an installation of years has some ten thousand rows.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import size
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance import stamp
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_database import Database
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say, measurable

ROWS, TABLE, DATABASE, CONNECTIONS, DISK, OBJECTS, STORE = (
    "rows",
    "table_bytes",
    "database_bytes",
    "connections",
    "disk_bytes",
    "objects",
    "object_bytes",
)
# What can be full. The others only grow.
LIMITED = (DISK, CONNECTIONS)
_DAY = 86400.0
# Fewer samples, or less time, prove nothing.
_LEAST_SAMPLES, _LEAST_DAYS = 7, 6.0
# Of the normal distribution: a claim is wrong in 1 of 40 cases where there is no trend.
_Z = 1.96

SCHEMA = "mlops_maintenance"
KNOWN = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT, INSERT') AND has_table_privilege(c.oid, 'UPDATE')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'mlops_maintenance' AND c.relname = 'capacity'
"""
# In one transaction, and not by two hosts at once.
MAKE = """
SELECT pg_advisory_xact_lock(1835819888, 1);
CREATE SCHEMA IF NOT EXISTS mlops_maintenance;
CREATE TABLE IF NOT EXISTS mlops_maintenance.capacity (
  measure text NOT NULL, subject text NOT NULL, day date NOT NULL, taken timestamptz NOT NULL, used bigint NOT NULL, most bigint,
  PRIMARY KEY (measure, subject, day));
COMMENT ON SCHEMA mlops_maintenance IS 'What mlops.mlflow notes about this installation; MLflow neither knows nor needs it';
"""
# Who may write MLflow's rows may write these.
WRITERS = """
SELECT DISTINCT r.rolname
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT c.relowner AS role UNION SELECT grantee FROM aclexplode(c.relacl) WHERE privilege_type = 'INSERT') w
  JOIN pg_roles r ON r.oid = w.role
 WHERE c.relname = 'experiments' AND c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'
   AND NOT (has_schema_privilege(r.oid, 'mlops_maintenance', 'USAGE') AND has_table_privilege(r.oid, 'mlops_maintenance.capacity', 'INSERT'))
"""
# The last of a day counts, and of connections the most.
NOTE = """
INSERT INTO mlops_maintenance.capacity AS c (measure, subject, day, taken, used, most)
VALUES (%(measure)s, %(subject)s, (%(taken)s::timestamptz AT TIME ZONE 'UTC')::date, %(taken)s, %(used)s, %(most)s)
ON CONFLICT (measure, subject, day) DO UPDATE
   SET taken = excluded.taken, most = excluded.most,
       used = CASE WHEN c.measure = 'connections' THEN greatest(c.used, excluded.used) ELSE excluded.used END
"""
PAST = """
SELECT measure, subject, extract(epoch FROM taken)::float8, used, most
  FROM mlops_maintenance.capacity
 WHERE taken > %(since)s AND (measure, subject) IN %(things)s
 ORDER BY taken
"""
FORGET = "DELETE FROM mlops_maintenance.capacity WHERE taken < %(before)s"
# Rows as the last vacuum or analyse counted them: nobody reads a table of a hundred million rows for this.
TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname),
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint ELSE coalesce(s.n_live_tup, 0) END, pg_total_relation_size(c.oid)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT IN ('information_schema', 'mlops_maintenance')
 ORDER BY 3 DESC LIMIT %(tables)s
"""
SESSIONS = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true), '0')::int
"""


@dataclass(frozen=True)
class Sample:
    """How much of something there was at a time."""

    measure: str
    subject: str
    used: int
    most: int | None = None  # nothing where there is no limit


@dataclass(frozen=True)
class Trend:
    """How much more it becomes in a day, and how little more it could be."""

    per_day: float
    least_per_day: float


def trend(samples: Sequence[tuple[float, float]]) -> Trend | None:
    """Return how a thing grows, or nothing if there is too little to say so.

    The slope is that of Theil and Sen, the median of the slopes between all pairs: a day on which somebody copied or deleted much does not turn
    it. Its lower bound is Sen's, from the variance of Kendall's S without ties: P. K. Sen, "Estimates of the regression coefficient
    based on Kendall's tau", Journal of the American Statistical Association 63 (1968), pages 1379-1389.

    Args:
        samples: time in seconds and amount, in the order of time.
    """
    days = [(time / _DAY, amount) for time, amount in samples]
    if len(days) < _LEAST_SAMPLES or days[-1][0] - days[0][0] < _LEAST_DAYS:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(days)
        for later in days[place + 1 :]
        if later[0] > earlier[0]
    )
    n = len(days)
    spread = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    lowest = max(0, round((len(slopes) - spread) / 2) - 1)
    return Trend(statistics.median(slopes), slopes[lowest])


def days_left(samples: Sequence[tuple[float, float]], level: float, most: float) -> float | None:
    """Return after how many days it is full if it grows on like that; nothing if that it grows is not certain.

    Args:
        samples: time in seconds and amount, in the order of time.
        level: the amount from which it grows on.
        most: how much there can be.
    """
    known = trend(samples)
    if known is None or known.least_per_day <= 0:
        return None
    return max(0.0, most - level) / known.per_day


# ----- what there is


def disks(host: str, paths: Iterable[str]) -> list[Sample]:
    """What is used of each file system, under the first of the paths that lie on it. What only root could use counts as used by nobody."""
    found: dict[int, Sample] = {}
    for path in paths:
        try:
            place = measurable(path)
            if place is None:
                continue  # not on this host
            device, usage = place.stat().st_dev, shutil.disk_usage(place)
        except OSError:
            continue  # the job expiry says so
        found.setdefault(device, Sample(DISK, f"{host}:{path}", usage.used, usage.used + usage.free))
    return list(found.values())


def measure(databases: Sequence[Database], tables: int) -> tuple[list[Sample], str]:
    """Rows, bytes and connections; and what somebody's lock kept from being looked at."""
    from psycopg2 import errors

    found: list[Sample] = []
    locked = []
    for number, database in enumerate(databases):
        with database.connected() as cursor:
            cursor.execute("SELECT current_database(), pg_database_size(current_database())")
            name, total = cursor.fetchone()
            found.append(Sample(DATABASE, name, total))
            if not number:
                cursor.execute(SESSIONS)
                found.append(Sample(CONNECTIONS, "PostgreSQL", *cursor.fetchone()))
            try:
                cursor.execute(TABLES, {"tables": tables})
            except errors.LockNotAvailable:  # a migration, for instance: the next run sees them again
                locked.append(name)
                continue
            for table, rows, size_ in cursor.fetchall():
                found += [Sample(ROWS, f"{name}/{table}", rows), Sample(TABLE, f"{name}/{table}", size_)]
    return found, ", ".join(locked)


# ----- the history


class History:
    """The table of all days."""

    def __init__(self, database: Database) -> None:
        """Take the tracking database."""
        self._database = database

    def ready(self, *, make: bool) -> bool:
        """Whether it can be written; it is made where it is not there and this login may do so."""
        import psycopg2
        from psycopg2 import errors, sql

        with self._database.connected() as cursor:
            cursor.execute(KNOWN)
            row = cursor.fetchone()
            if not row and make:
                try:
                    cursor.execute(MAKE)
                except errors.InsufficientPrivilege:
                    return False
                row = (True,)
            if make:
                cursor.execute(WRITERS)
                for (role,) in cursor.fetchall():
                    for right in (
                        "USAGE ON SCHEMA mlops_maintenance",
                        "SELECT, INSERT, UPDATE ON mlops_maintenance.capacity",
                    ):
                        try:
                            cursor.execute(sql.SQL(f"GRANT {right} TO {{}}").format(sql.Identifier(role)))
                        except psycopg2.Error:  # it is somebody else's; who needs the right says so
                            break
            return bool(row and row[0])

    def note(self, samples: Iterable[Sample], now: float) -> None:
        """Write down what there is."""
        with self._database.connected() as cursor:
            for one in samples:
                cursor.execute(
                    NOTE,
                    {
                        "measure": one.measure,
                        "subject": one.subject,
                        "used": one.used,
                        "most": one.most,
                        "taken": stamp(now),
                    },
                )

    def forget(self, before: float) -> int:
        """Take away what is older; returns how many rows."""
        with self._database.connected() as cursor:
            cursor.execute(FORGET, {"before": stamp(before)})
            return int(cursor.rowcount)

    def past(self, things: Iterable[tuple[str, str]], since: float) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """Time and amount of each thing, in the order of time."""
        found: dict[tuple[str, str], list[tuple[float, float]]] = {thing: [] for thing in things}
        if found:
            with self._database.connected() as cursor:
                cursor.execute(PAST, {"since": stamp(since), "things": tuple(found)})
                for measure_, subject, taken, used, _most in cursor.fetchall():
                    found[measure_, subject].append((taken, float(used)))
        return found


def note_store(parameters: Mapping[str, str], place: str, objects: int, size_: int, now: float) -> bool:
    """Write down what a whole listing of the store counted. It is no reason to fail that nobody has made the table yet."""
    history = History(Database(parameters, 10))
    try:
        if not history.ready(make=False):
            return False
        history.note([Sample(OBJECTS, place, objects), Sample(STORE, place, size_)], now)
    except JobError:
        return False
    return True


# ----- what it means


@dataclass(frozen=True)
class Outlook:
    """What becomes of a thing."""

    sample: Sample
    trend: Trend | None
    days_left: float | None


def look_ahead(
    samples: Iterable[Sample], past: Mapping[tuple[str, str], Sequence[tuple[float, float]]]
) -> list[Outlook]:
    """Return what becomes of each thing whose past is known."""
    found = []
    for one in samples:
        known = past.get((one.measure, one.subject))
        if known is None:
            continue
        # Of connections, today's most is not known yet.
        level = max((used for _time, used in known[-7:]), default=0.0) if one.measure == CONNECTIONS else one.used
        left = None if one.most is None else days_left(known, level, one.most)
        found.append(Outlook(one, trend(known), left))
    return found


def _amount(measure_: str, number: float) -> str:
    return size(round(number)) if measure_.endswith("_bytes") else f"{number:.1f}"


def judge(host: str, outlooks: Iterable[Outlook], days: int) -> list[dict[str, str]]:
    """Findings about what is full within so many days."""
    findings = []
    for one in outlooks:
        if one.days_left is None or one.days_left > days or one.trend is None:
            continue
        what = "The disk at" if one.sample.measure == DISK else "All connections of"
        full = "is full" if one.sample.measure == DISK else "are taken"
        rate = _amount(one.sample.measure, one.trend.per_day)
        findings.append(
            report(
                "CAPACITY_FULL_SOON",
                host=host,
                summary=f"{what} {one.sample.subject.partition(':')[2] or one.sample.subject} {full} in {one.days_left:.0f} days"
                f" if it grows on by {rate} a day, and mlflow_maintenance_capacity.full_days={days}.",
                evidence=f"{_amount(one.sample.measure, one.sample.used)} of {_amount(one.sample.measure, one.sample.most or 0)} now",
            )
        )
    return findings


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `disks`, `tables`, `full_days`, `trend_days`, `keep_days`, `lock_seconds`; `databases`, the parameters of libpq of
            each, the tracking database first; `measures` (this host looks at PostgreSQL) and `makes` (it makes the table).
        say: how it tells what it does.
        now: the time.
    """
    host = str(request["host"])
    databases = [Database(parameters, int(request["lock_seconds"])) for parameters in request["databases"]]
    history = History(databases[0])
    if not history.ready(make=bool(request["makes"])):
        if request["makes"]:
            raise JobError(
                f"The login of the database {databases[0].name} may not make the schema {SCHEMA}:"
                f" have its owner run CREATE SCHEMA {SCHEMA} AUTHORIZATION the login, or set mlflow_maintenance_capacity.enabled to false."
            )
        return Result(
            "Nothing was written down: the job of the same name on the host of the database has not made its table yet."
        )
    say("Counting")
    samples, locked = measure(databases, int(request["tables"])) if request["measures"] else ([], "")
    samples += disks(host, request["disks"])
    history.note(samples, now)
    forgotten = history.forget(now - int(request["keep_days"]) * _DAY) if request["makes"] else 0
    things = [(one.measure, one.subject) for one in samples if one.measure in (*LIMITED, DATABASE)]
    outlooks = look_ahead(samples, history.past(things, now - int(request["trend_days"]) * _DAY))
    details = {
        "samples": {f"{one.measure} {one.subject}": [one.used, one.most] for one in samples},
        "per_day": {
            f"{one.sample.measure} {one.sample.subject}": round(one.trend.per_day, 1) for one in outlooks if one.trend
        },
        "days_left": {one.sample.subject: round(one.days_left, 1) for one in outlooks if one.days_left is not None},
        "forgotten": forgotten,
        "locked": locked,
    }
    return Result(_sentence(samples, outlooks, locked), details, judge(host, outlooks, int(request["full_days"])))


def _sentence(samples: Sequence[Sample], outlooks: Sequence[Outlook], locked: str) -> str:
    parts = []
    if total := sum(one.used for one in samples if one.measure == DATABASE):
        rows = sum(one.used for one in samples if one.measure == ROWS)
        parts.append(f"{size(total)} of databases with some {rows} rows")
    parts += [f"{one.used} of {one.most} connections" for one in samples if one.measure == CONNECTIONS]
    parts.append(f"{sum(one.measure == DISK for one in samples)} disks")
    if locked:
        parts.append(f"tables of {locked} were locked and left out")
    soonest = min(
        (one for one in outlooks if one.days_left is not None), key=lambda one: one.days_left or 0, default=None
    )
    if soonest:
        ahead = f"{soonest.sample.subject} is the first to be full, in {soonest.days_left:.0f} days"
    elif any(one.trend for one in outlooks):
        ahead = "nothing of it grows for certain"
    else:
        ahead = "the history is too short to look ahead"
    return f"{', '.join(parts)}; {ahead}."
