# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLflow's tracking database, as far as artifacts are concerned: read locations, rewrite them, dump. Needs psycopg2."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import Row
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import COLUMNS, TRACE_KEYS
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._database import secrets_of
from ansible_collections.mlops.mlflow.plugins.module_utils._postgresql import connection_parameters

# The registry hides a deleted version so; prompts are versions without artifacts.
_DELETED_VERSION = "Deleted_Internal"
_PROMPT_SOURCE = "dummy-source"
# With which MLflow notes that a run got artifacts, and when a logged model is whole (LoggedModelStatus.READY).
_RUN_NOTES = ("mlflow.log-model.history", "mlflow.loggedArtifacts", "mlflow.loggedImages")
_READY = 2
_PAGE = 1000

ROWS = """
SELECT 'experiment', experiment_id::text, experiment_id::text, artifact_location, lifecycle_stage = 'active', false, name, false
  FROM experiments
UNION ALL
SELECT 'run', run_uuid, experiment_id::text, artifact_uri, lifecycle_stage = 'active',
       EXISTS (SELECT FROM tags t WHERE t.run_uuid = r.run_uuid AND t.key = ANY(%(notes)s)), name, false
  FROM runs r
UNION ALL
SELECT 'logged_model', model_id, experiment_id::text, artifact_location, lifecycle_stage = 'active', status = %(ready)s, name, false
  FROM logged_models
UNION ALL
SELECT 'trace', t.request_id, i.experiment_id::text, t.value, i.status IN ('OK', 'ERROR'),
       coalesce(s.value, 'ARTIFACT_REPO') = CASE t.key WHEN 'mlflow.artifactLocation' THEN 'ARTIFACT_REPO' ELSE 'ARCHIVE_REPO' END,
       '', false
  FROM trace_tags t
  JOIN trace_info i ON i.request_id = t.request_id
  LEFT JOIN trace_tags s ON s.request_id = t.request_id AND s.key = 'mlflow.trace.spansLocation'
 WHERE t.key = ANY(%(traces)s)
UNION ALL
SELECT 'version', v.name || '/' || v.version, '',
       coalesce(v.storage_location, CASE WHEN v.source NOT LIKE 'models:/%%' THEN v.source END), true, true, '',
       v.source LIKE 'models:/m-%%' AND NOT EXISTS (SELECT FROM logged_models m WHERE 'models:/' || m.model_id = v.source)
  FROM model_versions v
 WHERE v.current_stage IS DISTINCT FROM %(deleted)s AND v.source IS DISTINCT FROM %(prompt)s
"""
# Of the columns that this schema has: their table's key and how many characters they take.
SHAPE = """
SELECT c.table_name::text, c.column_name::text, coalesce(c.character_maximum_length, 0)::int,
       (SELECT array_agg(k.column_name::text ORDER BY k.ordinal_position)
          FROM information_schema.table_constraints p
          JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name, table_name)
         WHERE p.constraint_type = 'PRIMARY KEY' AND p.table_schema = c.table_schema AND p.table_name = c.table_name)
  FROM information_schema.columns c
 WHERE c.table_schema = current_schema()
"""


class DatabaseError(Exception):
    """What the database said, in one line, without secrets."""


class RowsChanged(Exception):
    """Rows were not as they had been read; nothing was committed."""


@dataclass(frozen=True)
class Location:
    """One location that can be rewritten."""

    table: str
    column: str
    key: tuple[tuple[str, Any], ...]  # columns of the primary key and their values
    value: str
    limit: int  # characters, 0 without one


@dataclass(frozen=True)
class Change:
    """One location and what it shall be."""

    table: str
    column: str
    key: tuple[tuple[str, Any], ...]
    old: str
    new: str

    def reversed(self) -> Change:
        """The way back."""
        return Change(self.table, self.column, self.key, self.new, self.old)


class Tracking:
    """A connection to the tracking database."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        """Take the parameters of libpq (_database.judge_uri)."""
        self._parameters = dict(parameters)

    @property
    def name(self) -> str:
        """The database's name."""
        return self._parameters.get("dbname", "")

    def rows(self) -> Iterator[Row]:
        """Everything that has a location, of one moment."""
        told = {
            "notes": list(_RUN_NOTES),
            "ready": _READY,
            "traces": list(TRACE_KEYS),
            "deleted": _DELETED_VERSION,
            "prompt": _PROMPT_SOURCE,
        }
        with self._connected(readonly=True) as connection, connection.cursor("rows") as cursor:
            cursor.itersize = 10 * _PAGE
            cursor.execute(ROWS, told)
            for kind, id_, experiment, location, active, expected, name, dangling in cursor:
                yield Row(
                    kind, id_, experiment, location or "", bool(active), bool(expected), name or "", bool(dangling)
                )

    def locations(self) -> Iterator[Location]:
        """Every location, with what is needed to rewrite it. Columns that an older schema does not have are left out."""
        from psycopg2 import sql

        with self._connected(readonly=True) as connection:
            with connection.cursor() as cursor:
                cursor.execute(SHAPE)
                shape = {(table, column): (limit, keys) for table, column, limit, keys in cursor}
            if ("experiments", "artifact_location") not in shape:
                raise DatabaseError(f"the database {self.name} holds no experiments")
            for column in COLUMNS:
                limit, keys = shape.get((column.table, column.name), (0, None))
                if not keys:
                    continue
                statement = sql.SQL(
                    "SELECT {column}, {keys} FROM {table} WHERE {column} IS NOT NULL AND {where}"
                ).format(
                    column=sql.Identifier(column.name),
                    keys=sql.SQL(", ").join(map(sql.Identifier, keys)),
                    table=sql.Identifier(column.table),
                    where=sql.SQL(column.where or "true"),
                )
                with connection.cursor("locations") as cursor:
                    cursor.itersize = 10 * _PAGE
                    cursor.execute(statement)
                    for value, *key in cursor:
                        pairs = tuple(zip(keys, key, strict=True))
                        yield Location(column.table, column.name, pairs, value, limit)

    def ask(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of one statement that reads."""
        with self._connected(readonly=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement, dict(values))
            return list(cursor.fetchall())

    def last_run(self) -> float:
        """When the last finished run ended, in seconds since 1970; 0 if none has."""
        with self._connected(readonly=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(end_time), 0) FROM runs")
            row = cursor.fetchone()
        return float(row[0]) / 1000 if row else 0.0

    def rewrite(self, changes: Sequence[Change], before_commit: Callable[[], None] = lambda: None) -> None:
        """Make all changes in one transaction, or none.

        Args:
            changes: each is made only where the old value still stands.
            before_commit: called when all are made and nobody else sees them yet.

        Raises:
            RowsChanged: a row has another value, or is gone; nothing was committed.
        """
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '30s'")
            groups: dict[tuple[str, str, tuple[str, ...]], list[Change]] = {}
            for change in changes:
                names = tuple(name for name, _value in change.key)
                groups.setdefault((change.table, change.column, names), []).append(change)
            for (table, column, names), group in groups.items():
                done = sum(
                    _update(cursor, table, column, names, group[start : start + _PAGE])
                    for start in range(0, len(group), _PAGE)
                )
                if done != len(group):
                    connection.rollback()
                    raise RowsChanged(f"{len(group) - done} of {len(group)} rows of {table}.{column}")
            before_commit()

    # ----- dumps

    def dump(self, file: Path) -> None:
        """Write a dump of the whole database, readable to its owner only."""
        from psycopg2.extensions import make_dsn

        shown = {name: value for name, value in self._parameters.items() if name not in ("password", "sslpassword")}
        environment = {**os.environ, "PGPASSWORD": self._parameters.get("password", "")}
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_name(f"{file.name}.partial")
        partial.touch(mode=0o600)
        _run(
            [
                program("pg_dump"),
                "--format=custom",
                "--no-password",
                f"--file={partial}",
                f"--dbname={make_dsn(**shown)}",
            ],
            environment,
        )
        partial.replace(file)

    @contextlib.contextmanager
    def _connected(self, *, readonly: bool = False) -> Iterator[Any]:
        """A transaction: committed at the end, rolled back at an error."""
        try:
            import psycopg2
        except ImportError as error:
            raise DatabaseError(words(error)) from None
        try:
            parameters: dict[str, Any] = {
                "connect_timeout": "20",
                "application_name": "mlops-mlflow-artifacts",
                **self._parameters,
            }
            with contextlib.closing(psycopg2.connect(**parameters)) as connection:
                connection.set_session(
                    isolation_level="REPEATABLE READ" if readonly else "READ COMMITTED", readonly=readonly
                )
                with connection:  # one transaction
                    with connection.cursor() as cursor:
                        # A million rows take longer than what a server's own statements are given.
                        cursor.execute("SET LOCAL statement_timeout = 0")
                    yield connection
        except psycopg2.Error as error:
            text = words(error)
            for secret in secrets_of(self._parameters):
                text = text.replace(secret, "***")
            raise DatabaseError(text) from None


def _update(cursor: Any, table: str, column: str, names: Sequence[str], changes: Sequence[Change]) -> int:
    from psycopg2 import sql
    from psycopg2.extras import execute_values

    keys = [sql.Identifier(f"key_{position}") for position, _name in enumerate(names)]
    same = [sql.SQL("t.{} = v.{}").format(sql.Identifier(name), key) for name, key in zip(names, keys, strict=True)]
    statement = sql.SQL(
        "UPDATE {table} AS t SET {column} = v.new FROM (VALUES %s) AS v(old, new, {keys}) WHERE t.{column} = v.old AND {same}"
    ).format(
        table=sql.Identifier(table),
        column=sql.Identifier(column),
        keys=sql.SQL(", ").join(keys),
        same=sql.SQL(" AND ").join(same),
    )
    values = [(change.old, change.new, *(value for _name, value in change.key)) for change in changes]
    execute_values(cursor, statement.as_string(cursor), values, page_size=len(values))
    return int(cursor.rowcount)


def program(name: str) -> str:
    """The newest of PostgreSQL's programs on this host, as Debian installs them, or the one on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if found:
        return str(found[-1])
    if path := shutil.which(name):
        return path
    raise DatabaseError(f"{name} is not installed on this host (Debian's package postgresql-client)")


async def _talk(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=dict(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    return process.returncode, said.decode(errors="replace"), complained.decode(errors="replace")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    status, said, complained = asyncio.run(_talk(command, environment))
    if status != 0:
        raise DatabaseError(f"{Path(command[0]).name}: {words(RuntimeError(complained))}")
    return said


def read_dump(file: Path) -> str:
    """Read a dump from its beginning to its end and return what it says it holds (`pg_restore --list`, times in UTC)."""
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    if not file.is_file():
        raise DatabaseError(f"{file} is no file on this host")
    restore = program("pg_restore")
    _run([restore, "--file=/dev/null", str(file)], environment)
    return _run([restore, "--list", str(file)], environment)


def parameters_of(uri: str, environment_file: str) -> dict[str, str]:
    """Return the parameters of libpq, from a URI or from the environment that the server on this host is started with."""
    if not uri and environment_file:
        try:
            uri = server_variable(Path(environment_file).read_text(encoding="utf-8"), "MLFLOW_BACKEND_STORE_URI")
        except OSError as error:
            raise DatabaseError(f"{environment_file}: {error.strerror}") from None
    if not uri:
        raise DatabaseError(f"there is neither a URI nor MLFLOW_BACKEND_STORE_URI in {environment_file or 'a file'}")
    try:
        return connection_parameters(uri)
    except ValueError as error:
        raise DatabaseError(words(error)) from None


def server_variable(text: str, name: str) -> str:
    """Return a variable of a systemd EnvironmentFile as roles/mlflow_server writes it; empty if it is not there."""
    found = re.search(rf'^{re.escape(name)}="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else ""
