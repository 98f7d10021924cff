# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at a PostgreSQL database; what it means is judged by _database.py.

Self-contained, because it runs as a file of its own (_probe.py): Python's standard library and psycopg2, nothing else. Whatever
the peer does, an answer comes before `until`: the talking happens in a thread, and what that has learnt by then is the answer.
It only reads, never waits for a lock longer than two seconds, and leaves no setting behind in the session (a pooler may hand the
session to somebody else).

The request: `parameters` of libpq; `schema` (tracking or auth); `until`, a time in seconds since 1970.
The answer: `stage`, the last thing that was begun (`done` at the end), and by their names what the stages found.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib.util
import os
import re
import socket
import ssl
import statistics
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SAMPLES = 5
SAMPLE_PAUSE = 0.05
LOCK_MS = 2000
TEXT_LIMIT = 600
ADDRESS_LIMIT = 4
SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's manual, 55.7
VERSION_TABLES = {"tracking": "alembic_version", "auth": "alembic_version_auth"}
SCRIPTS = {"tracking": "store/db_migrations/versions", "auth": "server/auth/db/migrations/versions"}
# What MLflow makes before it records the first revision (InitialBase of its store/db_migrations).
FIRST_TABLES = ("experiments", "metrics", "params", "runs", "tags")

SERVER = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       current_setting('server_encoding') AS encoding,
       current_database()::text AS name,
       session_user::text AS login,
       current_user::text AS role,
       current_schema()::text AS schema,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
       inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1' AS local,
       coalesce((SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()), '') AS comment
"""
PRIVILEGES = """
SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
       coalesce((SELECT json_agg(relname ORDER BY relname) FROM pg_class
                  WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))
                    AND CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'USAGE') END), '[]'::json) AS sequences
"""
TABLES = """
SELECT c.relname::text AS name,
       EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p') AS primary_key,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       (SELECT coalesce(json_agg(needed), '[]'::json)
          FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
         WHERE NOT has_table_privilege(c.oid, needed)) AS lacking
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.relname
"""
LIMITS = """
SELECT current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS superuser_reserved,
       coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user) AS role_limit,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit
"""
# Rows of other roles show no more than this to a login without pg_read_all_stats.
ACTIVITY = """
SELECT usename::text AS role, coalesce(application_name, '') AS application, coalesce(datname::text, '') AS database,
       count(*)::int AS connections
  FROM pg_stat_activity
 WHERE usename IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid()
 GROUP BY 1, 2, 3
 ORDER BY 4 DESC, 1, 2
 LIMIT 200
"""
TRANSACTIONS = """
SELECT pid, coalesce(usename::text, '') AS role, coalesce(application_name, '') AS application, coalesce(state, '') AS state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'
 ORDER BY xact_start
 LIMIT 50
"""
# waitstart came with PostgreSQL 14.
LOCKS = """
SELECT l.pid, coalesce(a.usename::text, '') AS role, coalesce(a.application_name, '') AS application, l.mode,
       coalesce(l.relation::regclass::text, l.locktype) AS waits_for,
       extract(epoch FROM clock_timestamp() - (to_jsonb(l) ->> 'waitstart')::timestamptz)::float8 AS seconds,
       array_to_json(pg_blocking_pids(l.pid)) AS blockers
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE NOT l.granted AND a.datname = current_database()
 LIMIT 50
"""
INDEXES = """
SELECT c.relname::text AS name, i.indrelid::regclass::text AS "table", i.indisvalid AS valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS being_built
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema()))
 ORDER BY 1
"""
EXTENSIONS = """
SELECT name::text AS name, installed_version IS NOT NULL OR has_database_privilege(current_database(), 'CREATE') AS usable
  FROM pg_available_extensions
"""
UPKEEP = """
SELECT s.relname::text AS name, n_live_tup AS live, n_dead_tup AS dead,
       coalesce(greatest(last_autovacuum, last_vacuum)::timestamp(0)::text, '') AS last_vacuum,
       coalesce(greatest(last_autoanalyze, last_analyze)::timestamp(0)::text, '') AS last_analyze,
       pg_table_size(s.relid) AS table_bytes, pg_indexes_size(s.relid) AS index_bytes
  FROM pg_stat_user_tables s
 WHERE schemaname = current_schema()
 ORDER BY n_dead_tup DESC
 LIMIT 100
"""
SETTINGS = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('autovacuum', 'track_counts', 'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names',
                'data_checksums', 'idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')
"""
# What MLflow keeps by workspaces, of those tables that this login may read.
WORKSPACE_TABLES = """
SELECT c.relname::text AS name
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'workspace' AND NOT a.attisdropped
 WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p')
   AND c.relname IN ('experiments', 'registered_models', 'evaluation_datasets', 'webhooks', 'secrets', 'endpoints',
                     'model_definitions', 'mcp_servers')
   AND has_table_privilege(c.oid, 'SELECT')
 ORDER BY 1
"""
STANDBYS = "SELECT count(*)::int AS connected FROM pg_stat_replication"


class Notes:
    """What was learnt so far; written by the thread that talks, read by the one that answers."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {"stage": "start", "unanswered": {}}

    def put(self, name: str, value: Any) -> None:
        """Keep what a stage found."""
        with self._lock:
            self._facts[name] = value

    def leave_open(self, name: str, reason: str) -> None:
        """Keep why a question has no answer."""
        with self._lock:
            self._facts["unanswered"] = {**self._facts["unanswered"], name: reason}

    def so_far(self) -> dict[str, Any]:
        """Return a copy that nobody alters any more."""
        with self._lock:
            return dict(self._facts)


def brief(error: object) -> str:
    """Put what was said into one line of bounded length."""
    return re.sub(r"\s+", " ", str(error)).strip()[:TEXT_LIMIT] or type(error).__name__


# ----- the release


def _calls(function: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)]


def _tables_of(tree: ast.Module, action: str) -> list[str]:
    """Names of tables that upgrade(), and what it calls, creates or drops; only those that are written as they are."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    reached, waiting, names = set[str](), ["upgrade"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in reached or name not in functions:
            continue
        reached.add(name)
        for call in _calls(functions[name]):
            if isinstance(call.func, ast.Name):
                waiting.append(call.func.id)
            elif isinstance(call.func, ast.Attribute) and call.func.attr == action and call.args:
                first = call.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value)
    return sorted(names)


def _assigned(node: ast.stmt) -> list[tuple[str, ast.expr]]:
    """Names and values of a plain or an annotated assignment."""
    if isinstance(node, ast.Assign):
        return [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return [(node.target.id, node.value)]
    return []


def read_script(text: str) -> dict[str, Any] | None:
    """Return what a migration script says about itself, without running it; None if it is none."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    said: dict[str, Any] = {}
    for node in tree.body:
        for name, value in _assigned(node):
            if name in ("revision", "down_revision"):
                with contextlib.suppress(ValueError):
                    said[name] = ast.literal_eval(value)
    if not isinstance(said.get("revision"), str):
        return None
    down = said.get("down_revision")
    return {
        "revision": said["revision"],
        "down": [down] if isinstance(down, str) else [str(item) for item in down or ()],
        "creates": _tables_of(tree, "create_table"),
        "drops": _tables_of(tree, "drop_table"),
    }


def read_release(schema: str) -> dict[str, Any] | None:
    """Return the migrations of the MLflow that is installed beside this interpreter; it is not imported."""
    try:
        found = importlib.util.find_spec("mlflow")
    except (ImportError, ValueError):
        return None
    for place in (found.submodule_search_locations or []) if found else []:
        package = Path(place)
        scripts = [
            script
            for path in sorted((package / SCRIPTS[schema]).glob("*.py"))
            if (script := read_script(path.read_text(encoding="utf-8", errors="replace")))
        ]
        if not scripts:
            continue
        version = package / "version.py"
        text = version.read_text(encoding="utf-8", errors="replace") if version.is_file() else ""
        number = re.search(r"^VERSION\s*=\s*[\"']([\w.+-]+)[\"']", text, re.M)
        return {"mlflow": number[1] if number else "", "scripts": scripts}
    return None


# ----- the way there


def places(parameters: Mapping[str, str]) -> list[tuple[str, str]]:
    """Hosts and ports in the order in which libpq tries them; no host: libpq's own default, which is not looked at."""
    hosts = (parameters.get("hostaddr") or parameters.get("host") or "").split(",")
    ports = (parameters.get("port") or "").split(",")
    if len(ports) != len(hosts):
        ports = ports[:1] * len(hosts)
    return [(host, port or "5432") for host, port in zip(hosts, ports, strict=True) if host]


def is_socket(host: str) -> bool:
    """Tell whether libpq takes it for the directory of a socket."""
    return host.startswith(("/", "@"))


def resolve(host: str, port: str) -> dict[str, Any]:
    """Addresses of a host, or why there are none."""
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        return {"host": host, "addresses": [], "error": brief(getattr(error, "strerror", None) or error)}
    return {"host": host, "addresses": list(dict.fromkeys(str(item[4][0]) for item in found)), "error": ""}


REFUSED = {errno.ECONNREFUSED: "refused", errno.ENOENT: "absent", errno.EACCES: "denied", errno.EPERM: "denied"}


def reach(host: str, address: str, port: str, seconds: float) -> dict[str, str]:
    """Open a connection and close it again."""
    outcome, said = "reached", ""
    try:
        if is_socket(host):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(seconds)
                path = f"{host}/.s.PGSQL.{port}"
                connection.connect("\0" + path[1:] if path.startswith("@") else path)
        else:
            with socket.create_connection((address, int(port)), seconds):
                pass
    except TimeoutError:
        outcome = "silent"
    except (OSError, OverflowError, ValueError) as error:
        code = getattr(error, "errno", None)
        outcome, said = REFUSED.get(code or 0, "unreachable"), brief(getattr(error, "strerror", None) or error)
    return {"host": host, "address": address, "port": port, "outcome": outcome, "error": said}


def look_at_tls(address: str, port: str, parameters: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Begin TLS as libpq does, to learn what libpq does not tell: why a certificate was not accepted, and what it names."""
    seen: dict[str, Any] = {
        "answer": "",
        "verify_code": 0,
        "verify_message": "",
        "names": [],
        "expires": "",
        "error": "",
    }
    try:
        with socket.create_connection((address, int(port)), seconds) as connection:
            connection.settimeout(seconds)
            if parameters.get("sslnegotiation") != "direct":
                connection.sendall(SSL_REQUEST)
                seen["answer"] = connection.recv(1).decode("latin-1")
                if seen["answer"] != "S":
                    return seen
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            if context.options & ssl.OP_NO_TLSv1_3 == 0 and parameters.get("sslnegotiation") == "direct":
                context.set_alpn_protocols(["postgresql"])
            root = parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT") or "~/.postgresql/root.crt"
            if root == "system":
                context.load_default_certs()
            else:
                context.load_verify_locations(Path(root).expanduser())
            with context.wrap_socket(connection, server_hostname=parameters.get("host") or address) as encrypted:
                certificate = encrypted.getpeercert() or {}
                names: Any = certificate.get("subjectAltName", ())
                seen["names"] = [str(name[1]) for name in names]
                seen["expires"] = str(certificate.get("notAfter", ""))
    except ssl.SSLCertVerificationError as error:
        seen["verify_code"], seen["verify_message"] = error.verify_code, brief(error.verify_message)
    except (OSError, ValueError, UnicodeError) as error:
        seen["error"] = brief(error)
    return seen


def go_there(parameters: Mapping[str, str], notes: Notes, until: float) -> list[tuple[str, str]]:
    """Resolve names and try every address; returns those (address, port) over TCP that can be reached, or ones that need no look."""
    wanted = places(parameters)
    notes.put("stage", "dns")
    names = []
    targets = []
    for host, port in wanted:
        if is_socket(host):
            targets.append((host, "", port))
        else:
            names.append(resolve(host, port))
            targets += [(host, address, port) for address in names[-1]["addresses"][:ADDRESS_LIMIT]]
            notes.put("names", list(names))
    notes.put("stage", "tcp")
    attempts: list[dict[str, str]] = []
    for host, address, port in targets:
        seconds = max(0.2, min(5.0, (until - time.time()) / (len(targets) - len(attempts) + 1)))
        attempts.append(reach(host, address, port, seconds))
        notes.put("attempts", list(attempts))
    return [(item["address"], item["port"]) for item in attempts if item["outcome"] == "reached"]


# ----- the questions


class Session:
    """A connection on which each question is a short transaction that reads."""

    def __init__(self, connection: Any, notes: Notes, until: float) -> None:
        """Take an open connection."""
        self._connection = connection
        self._notes = notes
        self._until = until
        connection.set_session(readonly=True, autocommit=False)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Ask, with a bound on waiting that ends with the transaction."""
        remaining = max(100, int((self._until - time.time()) * 1000))
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {remaining}")
                cursor.execute(statement)
                columns = [column[0] for column in cursor.description or ()]
                return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        finally:
            if not self._connection.closed:
                self._connection.rollback()

    def ask(self, name: str, statement: str) -> list[dict[str, Any]]:
        """Ask and note the answer; note why there is none and go on."""
        self._notes.put("stage", name)
        try:
            found = self.rows(statement)
        except Exception as error:
            self._notes.leave_open(name, brief(error))
            if self._connection.closed:
                raise
            return []
        self._notes.put(name, found)
        return found

    def sample(self) -> None:
        """Measure the way there and back, and count connections, a few times."""
        self._notes.put("stage", "samples")
        latencies, counts = [], []
        try:
            for turn in range(SAMPLES):
                if turn:
                    time.sleep(SAMPLE_PAUSE)
                with self._connection.cursor() as cursor:
                    cursor.execute("SELECT 0")  # begins the transaction, so that the next one is a single exchange
                    begun = time.perf_counter()
                    cursor.execute("SELECT 1")
                    cursor.fetchall()
                    latencies.append((time.perf_counter() - begun) * 1000)
                self._connection.rollback()
                counts.append(self.rows(ACTIVITY))
        except Exception as error:
            self._notes.leave_open("samples", brief(error))
            if self._connection.closed:
                raise
            return
        self._notes.put("latencies_ms", [round(value, 3) for value in latencies])
        self._notes.put("latency_ms", round(statistics.median(latencies), 3))
        self._notes.put("activity", counts)


def revision_of(session: Session, schema: str, tables: Sequence[str]) -> None:
    """Note which revision is recorded, and whether tables without one hold anything."""
    table = VERSION_TABLES[schema]
    recorded: list[dict[str, Any]] = []
    if table in tables:
        recorded = session.ask("revisions", f"SELECT version_num::text AS revision FROM {table} LIMIT 10")
    if not recorded:
        first = [name for name in FIRST_TABLES if name in tables]
        parts = [f"SELECT EXISTS (SELECT FROM {name}) AS holds" for name in first]
        if parts:
            session.ask("first_rows", " UNION ALL ".join(parts))


def workspaces_of(session: Session) -> None:
    """Note in which workspaces other than `default` there is something."""
    parts = [
        f"SELECT DISTINCT workspace::text AS name FROM {row['name']} WHERE workspace <> 'default'"
        for row in session.ask("workspace_tables", WORKSPACE_TABLES)
    ]
    if parts:
        session.ask("workspaces", f"{' UNION '.join(parts)} ORDER BY 1 LIMIT 20")


def talk(request: Mapping[str, Any], notes: Notes) -> None:
    """Go through the stages until one fails."""
    parameters: dict[str, str] = request["parameters"]
    schema: str = request["schema"]
    until: float = request["until"]
    notes.put("stage", "release")
    try:
        notes.put("release", read_release(schema))
    except OSError as error:
        notes.leave_open("release", brief(error))
    notes.put("stage", "driver")
    try:
        import psycopg2
    except ImportError as error:
        notes.put("driver", {"error": brief(error)})
        return
    notes.put("driver", {"libpq": int(psycopg2.extensions.libpq_version())})

    reached = go_there(parameters, notes, until)
    if places(parameters) and not reached:
        return
    notes.put("stage", "login")
    patience = max(2, int((until - time.time()) / 2))
    try:
        defaults = {"connect_timeout": str(patience), "fallback_application_name": "mlops-mlflow-check"}
        connection = psycopg2.connect(psycopg2.extensions.make_dsn(**{**defaults, **parameters}))
    except Exception as error:
        notes.put("refusal", {"text": brief(error), "kind": type(error).__name__})
        tcp = [place for place in reached if place[0]]
        if tcp and re.search(r"ssl|certificate", str(error), re.I):
            notes.put("stage", "tls")
            notes.put("tls", look_at_tls(*tcp[0], parameters, max(0.5, min(5.0, until - time.time()))))
        return
    try:
        notes.put("encrypted", bool(connection.info.ssl_in_use))
        ask_all(Session(connection, notes, until), schema)
        notes.put("stage", "done")
    except Exception as error:
        notes.put("broken", brief(error))
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def ask_all(session: Session, schema: str) -> None:
    """Ask everything there is to ask."""
    session.ask("server", SERVER)
    session.ask("privileges", PRIVILEGES)
    tables = [str(row.get("name")) for row in session.ask("tables", TABLES)]
    revision_of(session, schema, tables)
    if schema == "tracking":
        workspaces_of(session)
    session.ask("limits", LIMITS)
    session.sample()
    session.ask("transactions", TRANSACTIONS)
    session.ask("locks", LOCKS)
    session.ask("indexes", INDEXES)
    session.ask("extensions", EXTENSIONS)
    session.ask("upkeep", UPKEEP)
    session.ask("settings", SETTINGS)
    session.ask("standbys", STANDBYS)


def probe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was learnt before the time was up."""
    notes = Notes()

    def work() -> None:
        try:
            talk(request, notes)
        except Exception as error:
            notes.put("crash", brief(f"{type(error).__name__}: {error}"))

    # A daemon: what hangs in the network does not keep this process from ending.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(0.2, request["until"] - time.time()))
    facts = notes.so_far()
    facts["in_time"] = not thread.is_alive()
    return facts
