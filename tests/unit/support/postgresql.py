"""A real PostgreSQL server for unit tests: made from Debian's programs, reached by a socket, gone afterwards.

Debian's own cluster is neither needed nor touched. Whatever ends the tests, the server ends with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

SUPERUSER = "postgres"
PORT = 5432
PROGRAMS = Path("/usr/lib/postgresql")
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "shared_preload_libraries": "pg_stat_statements",
    # Nobody needs these data after a power cut.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


@dataclass(frozen=True)
class Server:
    """A running server that trusts everyone who reaches its socket."""

    socket: str
    version: int
    port: int = PORT

    @property
    def data(self) -> Path:
        """The data directory; as root, make files in it readable to PostgreSQL's user."""
        return Path(self.socket) / "data"

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """For psycopg2.connect()."""
        return f"host={self.socket} port={self.port} user={user} dbname={database}"

    def uri(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """For programs that want a URI, MLflow and SQLAlchemy among them (prefix the driver as you need it)."""
        return f"postgresql://{user}@/{database}?host={self.socket}&port={self.port}"

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> Connection:
        """A connection that commits each statement. The caller closes it."""
        connection: Connection = psycopg2.connect(self.dsn(database, user))
        connection.autocommit = True
        return connection

    def execute(
        self, statement: str, *values: object, database: str = "postgres", user: str = SUPERUSER
    ) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; returns its rows."""
        with contextlib.closing(self.connect(database, user)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A new database, dropped at the end even if somebody is still connected."""
        self.execute(f'CREATE DATABASE "{name}"')
        try:
            yield name
        finally:
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def programs() -> Path:
    """The folder of the newest initdb and postgres of this machine."""
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise FileNotFoundError(
            f"No initdb below {PROGRAMS}: run `make setup`, or install Debian's package postgresql."
        )
    return found[-1].parent


def unprivileged() -> dict[str, Any]:
    """How subprocess shall change the user: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def end_with_parent() -> None:
    """In the child: a fast shutdown when the tests end, however they end (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGINT)


@contextlib.contextmanager
def running_server(settings: Mapping[str, str] | None = None, hba: str = "", port: int = PORT) -> Iterator[Server]:
    """Make a cluster, start it, and remove both afterwards.

    `settings` win over those of all unit tests; `hba` are the lines of pg_hba.conf, without which everybody is trusted.
    """
    binaries = programs()
    identity = unprivileged()
    # Not pytest's folder: that one is closed to other users, and a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="mlops-pg-", dir="/tmp"))
    data = folder / "data"
    log = folder / "log"
    try:
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        subprocess.run(
            [
                binaries / "initdb",
                "--pgdata",
                data,
                "--username",
                SUPERUSER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--no-sync",
                "--data-checksums",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            env=environment,
            **identity,
        )
        if hba:
            (data / "pg_hba.conf").write_text(hba, encoding="utf-8")
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-p", str(port)]
        # In the file and not on the command line, where ALTER SYSTEM could not change them any more.
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in {**SETTINGS, **(settings or {})}.items())
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,
                **identity,
            )
        try:
            yield Server(str(folder), wait(process, Server(str(folder), 0, port), log), port)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait(process: subprocess.Popen[bytes], server: Server, log: Path) -> int:
    """Until the server answers; returns its major version."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with contextlib.closing(psycopg2.connect(server.dsn())) as connection:
                return connection.server_version // 10000
        except psycopg2.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(encoding='utf-8')}") from None
            time.sleep(0.05)
