# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections of our own: short, bounded in time, and with errors that fit into a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.pool import NullPool

from mlops_mlflow_hooks.schema import Found, Schema

# One lock for everything that changes a schema: an arbitrary number that only this package uses.
LOCK = 0x6D6C666C6F77

CONNECT_SECONDS = 5


class DatabaseError(Exception):
    """A database could not be used; the message is one sentence without secrets."""


def sentence(error: BaseException, uri: str) -> str:
    """Shorten an error of the database to what it says, and take the password out."""
    text = str(getattr(error, "orig", None) or error).strip().splitlines()
    url = sqlalchemy.make_url(uri)
    said = " ".join(line.strip() for line in text[:3])
    return said.replace(str(url.password), "***") if url.password else said


def where(uri: str) -> str:
    """Name a database without its password."""
    url = sqlalchemy.make_url(uri)
    host = url.query.get("host") or url.host or "the local socket"
    return f"database {url.database} at {host} as {url.username}"


def with_options(uri: str, **settings: str) -> str:
    """Add PostgreSQL settings to a URI, so that connections that MLflow opens itself have them as well."""
    url = sqlalchemy.make_url(uri)
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    merged = " ".join(filter(None, [str(url.query.get("options", "")), options]))
    return url.update_query_dict({"options": merged}).render_as_string(hide_password=False)


def engine_for(uri: str) -> sqlalchemy.Engine:
    """Make an engine that keeps no connection."""
    return sqlalchemy.create_engine(uri, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})


def look(engine: sqlalchemy.Engine, schema: Schema) -> Found:
    """Read what a database holds. Needs no more than the rights of a server."""
    with engine.connect() as connection:
        tables = frozenset(sqlalchemy.inspect(connection).get_table_names())
        revision = None
        if schema.version_table in tables:
            revision = connection.scalar(sqlalchemy.text(f"SELECT version_num FROM {schema.version_table}"))
        has_rows = revision is None and any(
            connection.scalar(sqlalchemy.text(f'SELECT EXISTS (SELECT 1 FROM "{table}")'))
            for table in sorted(tables & schema.first_tables)
        )
    return Found(tables=tables, revision=revision, has_rows=has_rows)


@contextmanager
def only_one(engine: sqlalchemy.Engine, seconds: int) -> Iterator[Any]:
    """Hold the lock under which schemas and the admin are changed, waiting for it at most `seconds`."""
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SET lock_timeout = {seconds * 1000}"))
        try:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        except sqlalchemy.exc.OperationalError as error:
            raise DatabaseError(
                f"Another migration has held the lock of this database for {seconds} seconds; nothing was changed."
            ) from error
        # The lock belongs to the session, not to the transaction: end that one, or it would hold back vacuum for as long.
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
            connection.commit()


def auth_uri_of(path: Path) -> str:
    """Read the URI of the auth database from MLflow's configuration file of it."""
    parser = ConfigParser()
    with path.open() as file:
        parser.read_file(file)
    return parser["mlflow"]["database_uri"]
