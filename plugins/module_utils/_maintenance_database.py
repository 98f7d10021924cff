# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL is kept lean: vacuumed and analysed where it lags behind, its bloat measured, and bloated indexes built anew beside the old ones.

Autovacuum goes on doing its part. Nothing here is in the way of who writes: no statement takes a lock that conflicts with writing, and each
gives up when it would have to wait longer than the limit.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import size
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._database import secrets_of
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say

# Sooner than autovacuum's own defaults (a fifth), and not for what a few rows more or less make.
_DEAD_SHARE, _DEAD_LEAST = 0.1, 1000
_CHANGED_SHARE = 0.1
# The new index beside the old one, and the same in the WAL.
_ROOM = 2
# What PostgreSQL fills a new page of a B-tree with, and what REINDEX CONCURRENTLY leaves behind when it is interrupted.
_FULL = 90.0
LEFT_BEHIND = re.compile(r"_cc(?:new|old)\d*$")
_SHOWN = 20

TABLES = """
SELECT s.relid::bigint, format('%I.%I', s.schemaname, s.relname), pg_table_size(s.relid), s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze,
       s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL
  FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
 WHERE c.relkind = 'r' AND c.relpersistence = 'p'
   -- Whoever may not do it would only get a warning.
   AND pg_has_role(c.relowner, 'USAGE')
 ORDER BY 2
"""
# Below eight pages nothing is won: the one leaf of a small index is rarely full.
INDEXES = """
SELECT i.indexrelid::bigint, format('%%I.%%I', n.nspname, c.relname), pg_relation_size(i.indexrelid), i.indisvalid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid OR p.relid = i.indrelid)
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_class t ON t.oid = i.indrelid
  JOIN pg_am a ON a.oid = c.relam
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' AND c.relkind = 'i' AND c.relpersistence = 'p'
   AND pg_has_role(t.relowner, 'USAGE') AND (NOT i.indisvalid OR (a.amname = 'btree' AND pg_relation_size(i.indexrelid) >= greatest(%(least)s, 65536)))
 ORDER BY 3 DESC
"""


@dataclass(frozen=True)
class Table:
    """A table as PostgreSQL's statistics know it."""

    oid: int
    name: str
    bytes: int
    live: int
    dead: int
    changed: int  # rows since it was analysed
    analysed: bool

    def needs(self) -> str:
        """What is to be done with it: "vacuum" (which analyses as well), "analyse" or nothing."""
        if self.dead >= _DEAD_LEAST and self.dead > _DEAD_SHARE * (self.live + self.dead):
            return "vacuum"
        lags = self.changed >= _DEAD_LEAST and self.changed > _CHANGED_SHARE * self.live
        return "analyse" if lags or (not self.analysed and self.live) else ""


@dataclass(frozen=True)
class Index:
    """An index, and how much of it is air."""

    oid: int
    name: str
    bytes: int
    valid: bool
    in_work: bool

    def left_behind(self) -> bool:
        """What an interrupted REINDEX CONCURRENTLY left: it costs every write and serves nobody."""
        return not self.valid and not self.in_work and bool(LEFT_BEHIND.search(self.name.strip('"')))


def bloat_percent(density: float) -> int:
    """How much smaller an index would be if it were new, from how full its leaves are. An index that was never filled says NaN."""
    return 0 if math.isnan(density) else max(0, round(100 * (1 - density / _FULL)))


class Database:
    """One database."""

    def __init__(self, parameters: Mapping[str, str], lock_seconds: int) -> None:
        """Take the parameters of libpq, and how long anything may wait for a lock."""
        self._parameters, self._lock_seconds = dict(parameters), lock_seconds
        self.name = str(parameters.get("dbname", ""))

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A cursor that commits each statement."""
        import psycopg2

        told: dict[str, Any] = {
            "connect_timeout": "20",
            "application_name": "mlops-mlflow-database",
            **self._parameters,
        }
        try:
            with contextlib.closing(psycopg2.connect(**told)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = %s", (f"{self._lock_seconds}s",))
                    cursor.execute("SET statement_timeout = 0")
                    # Who owns the tables could put something of its own before what is meant here.
                    cursor.execute("SET search_path = pg_catalog")
                    # Who waits for an answer goes first.
                    cursor.execute("SET vacuum_cost_delay = '2ms'")
                    yield cursor
        except psycopg2.Error as error:
            text = words(error)
            for secret in secrets_of(self._parameters):
                text = text.replace(secret, "***")
            raise JobError(f"Database {self.name}: {text}.") from None

    @staticmethod
    def tables(cursor: Any) -> list[Table]:
        """The tables that may be looked after."""
        cursor.execute(TABLES)
        return [Table(*row) for row in cursor.fetchall()]

    @staticmethod
    def indexes(cursor: Any, least: int) -> list[Index]:
        """B-trees of some size, the largest first, and whatever is not valid."""
        cursor.execute(INDEXES, {"least": least})
        return [Index(*row) for row in cursor.fetchall()]

    @staticmethod
    @contextlib.contextmanager
    def measuring(cursor: Any) -> Iterator[Any]:
        """The schema with the functions that measure, until the context ends; nothing if this login cannot have them.

        Schema and extension are made inside a transaction that is rolled back: nobody else ever sees them, and nothing of them stays.
        """
        import psycopg2
        from psycopg2 import sql

        cursor.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pgstattuple'")
        if row := cursor.fetchone():
            yield sql.SQL(row[0])  # quoted already where it has to be
            return
        cursor.execute("BEGIN")
        try:
            cursor.execute("CREATE SCHEMA mlops_measuring")
            cursor.execute("CREATE EXTENSION pgstattuple SCHEMA mlops_measuring")
        except psycopg2.Error:  # not installed, or no right to
            cursor.execute("ROLLBACK")
            yield None
            return
        try:
            yield sql.SQL("mlops_measuring")
        finally:
            cursor.execute("ROLLBACK")

    def room(self, cursor: Any) -> int | None:
        """How many bytes the disk of the cluster has free; None if it is another host's, or this login may not know where it is."""
        if not self._parameters.get("host", "").startswith("/"):
            return None
        cursor.execute("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
        row = cursor.fetchone()
        try:
            return shutil.disk_usage(row[0]).free if row else None
        except OSError:
            return None

    def density(self, cursor: Any, index: Index) -> float | None:
        """How full the leaves of an index are, in percent, read to its end."""
        return self._measured(cursor, "SELECT avg_leaf_density FROM {}.pgstatindex(%s::oid::regclass)", index.oid)

    def air(self, cursor: Any, table: Table) -> float | None:
        """How many percent of a table hold nothing or what is dead, without reading the pages that everybody sees."""
        asked = "SELECT approx_free_percent + dead_tuple_percent FROM {}.pgstattuple_approx(%s::oid::regclass)"
        return self._measured(cursor, asked, table.oid)

    def _measured(self, cursor: Any, asked: str, oid: int) -> float | None:
        from psycopg2 import sql

        with self.measuring(cursor) as schema:
            if schema is None:
                return None
            cursor.execute(sql.SQL(asked).format(schema), (oid,))
            return float(cursor.fetchone()[0])


@dataclass
class Done:
    """What was done with one database, or would be."""

    database: str
    vacuumed: list[str]
    analysed: list[str]
    reindexed: list[dict[str, Any]]
    dropped: list[str]
    postponed: dict[str, str]
    bloated: dict[str, int]
    unmeasured: bool = False
    cramped: dict[str, str] = field(default_factory=dict)  # indexes whose building anew would fill the disk


def keep_lean(database: Database, settings: Mapping[str, Any], say: Say, *, dry_run: bool) -> Done:
    """Do all of it with one database."""
    done = Done(database.name, [], [], [], [], {}, {})
    least = int(settings["least_mb"]) * 1024**2
    with database.connected() as cursor:
        tables = database.tables(cursor)
        for number, table in enumerate(tables, 1):
            need = table.needs()
            if need:
                say(f"{database.name}: {need} {table.name}", number, len(tables))
                # Without TRUNCATE: giving pages back to the file system locks out everybody. SKIP_LOCKED: somebody else is at it.
                verb = "VACUUM (ANALYZE, SKIP_LOCKED, TRUNCATE false)" if need == "vacuum" else "ANALYZE (SKIP_LOCKED)"
                if dry_run or _tried(cursor, f"{verb} {table.name}", table.name, done):
                    (done.vacuumed if need == "vacuum" else done.analysed).append(table.name)
            if table.bytes >= least:
                air = database.air(cursor, table)
                done.unmeasured = done.unmeasured or air is None
                if air is not None and air > int(settings["table_bloat_percent"]):
                    done.bloated[table.name] = round(air)
        indexes = database.indexes(cursor, least)
        for number, index in enumerate(indexes, 1):
            if index.left_behind():
                if dry_run or _tried(cursor, f"DROP INDEX CONCURRENTLY {index.name}", index.name, done):
                    done.dropped.append(index.name)
            elif index.valid and not index.in_work:
                say(f"{database.name}: measuring {index.name}", number, len(indexes))
                _reindex(database, cursor, index, int(settings["index_bloat_percent"]), done, say, dry_run=dry_run)
    return done


def _reindex(database: Database, cursor: Any, index: Index, limit: int, done: Done, say: Say, *, dry_run: bool) -> None:
    density = database.density(cursor, index)
    if density is None:
        done.unmeasured = True
        return
    bloat = bloat_percent(density)
    if bloat <= limit:
        return
    told = {"index": index.name, "bloat_percent": bloat, "bytes": index.bytes}
    if dry_run:
        done.reindexed.append(told)
        return
    needed = _ROOM * index.bytes * (100 - bloat) // 100
    if (free := database.room(cursor)) is not None and free < needed:
        done.cramped[index.name] = f"{size(needed)} with its WAL, and the disk has {size(free)} free"
        return
    say(f"{database.name}: building {index.name} anew, {bloat} % of it are air")
    if _tried(cursor, f"REINDEX INDEX CONCURRENTLY {index.name}", index.name, done):
        cursor.execute("SELECT pg_relation_size(%s::regclass)", (index.name,))
        done.reindexed.append({**told, "bytes_after": int(cursor.fetchone()[0])})
        return
    # What it had built so far is not used by anybody and slows down whoever writes.
    for left in database.indexes(cursor, 2**62):
        if left.left_behind() and _tried(cursor, f"DROP INDEX CONCURRENTLY {left.name}", left.name, done):
            done.dropped.append(left.name)


def _tried(cursor: Any, statement: str, name: str, done: Done) -> bool:
    """Do it, unless that would mean to wait for somebody: then it is for the next run."""
    import psycopg2
    from psycopg2 import errorcodes

    try:
        cursor.execute(statement)
    except psycopg2.Error as error:
        if error.pgcode not in (
            errorcodes.LOCK_NOT_AVAILABLE,
            errorcodes.DEADLOCK_DETECTED,
            errorcodes.UNDEFINED_TABLE,
        ):
            raise
        done.postponed[name] = words(error)
        return False
    return True


def work(request: Mapping[str, Any], say: Say) -> Result:
    """Do the job.

    Args:
        request: `host`, `dry_run`, `lock_seconds`, `least_mb`, `index_bloat_percent`, `table_bloat_percent` and `databases`, the parameters of
            libpq of each.
        say: how it tells what it does.
    """
    dry = bool(request["dry_run"])
    done = [
        keep_lean(Database(parameters, int(request["lock_seconds"])), request, say, dry_run=dry)
        for parameters in request["databases"]
    ]
    return Result(
        sentence_of(done, dry=dry), {"databases": [_short(one) for one in done]}, judge(done, str(request["host"]))
    )


def sentence_of(done: list[Done], *, dry: bool) -> str:
    """What was done, for people."""
    saved = sum(one["bytes"] - one.get("bytes_after", one["bytes"]) for each in done for one in each.reindexed)
    counted = [
        (sum(len(one.vacuumed) for one in done), "tables vacuumed"),
        (sum(len(one.analysed) for one in done), "analysed"),
        (sum(len(one.reindexed) for one in done), "indexes built anew" + (f" ({size(saved)} less)" if saved else "")),
        (sum(len(one.dropped) for one in done), "left-over indexes dropped"),
        (sum(len(one.postponed) for one in done), "put off because somebody held a lock"),
    ]
    said = ", ".join(f"{number} {what}" for number, what in counted if number or what.startswith("tables"))
    unmeasured = "; bloat was not measured, for this login may not" if any(one.unmeasured for one in done) else ""
    return f"{'It would be: ' if dry else ''}{said}{unmeasured}."


def _short(done: Done) -> dict[str, Any]:
    told = asdict(done)
    for key in ("vacuumed", "analysed", "reindexed", "dropped"):
        told[key] = told[key][:_SHOWN]
    return told


def judge(done: list[Done], host: str) -> list[dict[str, str]]:
    """Return the findings."""
    findings = []
    cramped = {f"{one.database} {name}": said for one in done for name, said in one.cramped.items()}
    if cramped:
        findings.append(
            report(
                "MAINTENANCE_INDEX_ROOM",
                host=host,
                summary=f"{len(cramped)} indexes are not built anew, because that would fill the disk.",
                evidence="; ".join(f"{name}: {said}" for name, said in list(cramped.items())[:5]),
            )
        )
    bloated = {f"{one.database} {name}": air for one in done for name, air in one.bloated.items()}
    if not bloated:
        return findings
    worst = sorted(bloated.items(), key=lambda item: -item[1])
    return [
        *findings,
        report(
            "MAINTENANCE_TABLE_BLOAT",
            host=host,
            summary=f"{len(bloated)} tables hold more air than mlflow_maintenance_database.table_bloat_percent allows.",
            evidence="; ".join(f"{name}: {air} %" for name, air in worst[:5]),
        ),
    ]
