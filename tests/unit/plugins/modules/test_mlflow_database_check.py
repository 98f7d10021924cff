"""Every fault of a database is told from the others: asked of a real PostgreSQL, and of peers that only pretend to be one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import _database_probe
from ansible_collections.mlops.mlflow.plugins.module_utils._database import Wanted, judge, judge_uri, own_indexes
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS
from ansible_collections.mlops.mlflow.tests.unit.support import peers
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server, running_server, unprivileged

pytestmark = pytest.mark.usefixtures("in_this_process")
PASSWORD = (
    "p:/?#[]@!$&'()*+,;=% \\\"<>^`{|}~-._ä😀"  # every reserved character, and those that shells and INI files dislike
)
NAMES = ("localhost", "127.0.0.1")
HBA = """
local all postgres trust
local all trusted trust
local all missing trust
local all nologin trust
local all all scram-sha-256
hostssl all server,migrator,intruder 127.0.0.1/32 scram-sha-256
hostnossl plain server 127.0.0.1/32 scram-sha-256
host all outsider 0.0.0.0/0 scram-sha-256
"""
# What MLflow makes, as far as the check looks: two steps, and the tables of the first.
SCHEMA = """
CREATE TABLE experiments (experiment_id serial PRIMARY KEY, name text);
CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, experiment_id int, lifecycle_stage varchar(20), start_time bigint);
CREATE TABLE params (key varchar(250), value varchar(8000), run_uuid varchar(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE tags (key varchar(250), value varchar(8000), run_uuid varchar(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE metrics (key varchar(250), value float8, run_uuid varchar(32), step bigint, PRIMARY KEY (key, run_uuid, step));
CREATE TABLE latest_metrics (key varchar(250), value float8, is_nan bool, run_uuid varchar(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('aaa');
CREATE TABLE first_extra (i int PRIMARY KEY);
CREATE EXTENSION pg_trgm;
"""
SCRIPTS = {
    "aaa_first.py": 'revision = "aaa"\ndown_revision = None\ndef upgrade():\n    op.create_table("first_extra")\n',
    "bbb_second.py": (
        'revision: str = "bbb"\ndown_revision: str = "aaa"\n'
        "def upgrade():\n    _make()\n\n"
        'def _make():\n    op.create_table("second_extra")\n\n'
        'def downgrade():\n    op.drop_table("first_extra")\n'
    ),
    "__init__.py": "",
    "broken.py": "def (",
}


def write(path: Path, content: bytes) -> None:
    """Write a file that PostgreSQL's user can read."""
    path.write_bytes(content)
    path.chmod(0o600)
    if identity := unprivileged():
        os.chown(path, identity["user"], identity["group"])


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL with TLS, passwords and access rules."""

    server: Server
    folder: Path
    authority: Authority

    def uri(self, user: str = "server", *, password: str = PASSWORD, database: str = "mlflow", **query: str) -> str:
        """Over TCP with a verified certificate, unless the query says otherwise."""
        asked = {"sslmode": "verify-full", "sslrootcert": str(self.folder / "ca.pem"), **query}
        host = asked.pop("at", "127.0.0.1")
        port = asked.pop("port", str(self.server.port))
        secret = f":{quote(password, '')}" if password else ""
        end = "&".join(f"{name}={quote(value, '')}" for name, value in asked.items() if value)
        return f"postgresql+psycopg2://{quote(user, '')}{secret}@{host}:{port}/{database}?{end}"

    def local(self, user: str, database: str = "mlflow") -> str:
        """Over the socket."""
        return f"postgresql://{user}@/{database}?host={self.server.socket}&port={self.server.port}"

    def run(self, statement: str, database: str = "mlflow") -> list[tuple[Any, ...]]:
        return self.server.execute(statement, database=database)

    def certificate(self, *names: str, authority: Authority | None = None, days: float = 10) -> None:
        """Serve a certificate for these names from now on."""
        certificate, key = (authority or self.authority).issue(*names, days=days)
        write(self.server.data / "server.crt", certificate)
        write(self.server.data / "server.key", key)
        self.run("SELECT pg_reload_conf()")
        wait_until(lambda: self.presented() == ssl.PEM_cert_to_DER_cert(certificate.decode()))

    def presented(self) -> bytes:
        """The certificate that PostgreSQL serves at the moment."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.server.port)) as connection:
            connection.sendall(_database_probe.SSL_REQUEST)
            assert connection.recv(1) == b"S"
            with context.wrap_socket(connection) as encrypted:
                return encrypted.getpeercert(binary_form=True) or b""

    @contextlib.contextmanager
    def session(self, *statements: str, user: str = "postgres") -> Iterator[Any]:
        """An open transaction of somebody else."""
        with (
            contextlib.closing(psycopg2.connect(self.server.dsn("mlflow", user))) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            yield cursor

    @contextlib.contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Another setting of the whole cluster for a while."""
        ((before,),) = self.run(f"SHOW {name}")
        self.alter(name, value)
        try:
            yield
        finally:
            self.alter(name, before)

    def alter(self, name: str, value: str) -> None:
        """Change a setting of the whole cluster."""
        self.run(f"ALTER SYSTEM SET {name} = '{value}'")
        self.run("SELECT pg_reload_conf()")
        wait_until(lambda: self.run(f"SHOW {name}") == [(value,)])


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.make("test authority")
    authority.write(folder / "ca.pem")
    durable = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    with running_server(
        {"listen_addresses": "*", "max_connections": "40", **durable}, hba=HBA, port=peers.free_port()
    ) as server:
        found = Cluster(server, folder, authority)
        certificate, key = authority.issue(*NAMES)
        write(server.data / "server.crt", certificate)
        write(server.data / "server.key", key)
        server.execute("ALTER SYSTEM SET ssl = on")
        server.execute("SELECT pg_reload_conf()")
        wait_until(lambda: server.execute("SHOW ssl") == [("on",)])
        for role in ("server", "migrator", "outsider", "intruder", "trusted"):
            server.execute(f"CREATE ROLE {role} LOGIN PASSWORD %s", PASSWORD)
        server.execute("CREATE ROLE nologin")
        server.execute("CREATE DATABASE mlflow")
        server.execute("CREATE DATABASE plain")
        server.execute("GRANT pg_read_all_stats TO server")
        yield found


@pytest.fixture
def schema(cluster: Cluster) -> Iterator[Cluster]:
    """A schema at its first revision, the rows open to the server."""
    cluster.run(SCHEMA)
    for index in own_indexes():
        if index["wanted"]:
            cluster.run(f"CREATE INDEX {index['name']} ON {index['table']} {index['definition']}")
    cluster.run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO server")
    cluster.run("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO server")
    try:
        yield cluster
    finally:
        cluster.run("DROP SCHEMA public CASCADE")
        cluster.run("CREATE SCHEMA public")
        cluster.run("GRANT USAGE ON SCHEMA public TO PUBLIC")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An MLflow beside the interpreter whose schema has two revisions; importing it would fail."""
    for schema, version in (("store/db_migrations", ""), ("server/auth/db/migrations", "auth_")):
        scripts = tmp_path / "mlflow" / schema / "versions"
        scripts.mkdir(parents=True)
        for name, text in SCRIPTS.items():
            (scripts / name).write_text(text.replace('"aaa"', f'"{version}aaa"').replace('"bbb"', f'"{version}bbb"'))
    (tmp_path / "mlflow/__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "mlflow/version.py").write_text('import re\n\nVERSION = "3.99.0"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def check(uri: str, **options: Any) -> dict[str, Any]:
    """The module's answer; nothing secret is in it, and every finding is of the registry."""
    answer = run_module("mlflow_database_check", uri=uri, fail_on="never", host="app1", **options)
    assert answer["changed"] is False
    assert PASSWORD not in str(answer)
    assert quote(PASSWORD, "") not in str(answer)
    assert all(finding["id"] in FINDINGS and finding["host"] == "app1" for finding in answer["findings"])
    return answer


def only(answer: dict[str, Any]) -> dict[str, str]:
    """The one finding."""
    assert len(answer["findings"]) == 1, answer["findings"]
    found: dict[str, str] = answer["findings"][0]
    return found


# ----- nothing is wrong


def test_a_healthy_database_has_no_finding_and_tells_about_itself(schema: Cluster) -> None:
    answer = check(schema.uri(), expected_revision="aaa", connections=30)
    assert answer["findings"] == []
    database = answer["database"]
    assert database["encrypted"] is True
    assert database["version"].startswith(str(schema.server.version))
    assert (database["name"], database["user"], database["encoding"]) == ("mlflow", "server", "UTF8")
    assert (database["revision"], database["expected_revision"]) == ("aaa", "aaa")
    assert database["connections"]["max_connections"] == 40
    assert database["connections"]["granted"] == 37
    assert database["connections"]["peak_from"] == "the largest of 5 samples within the check"
    assert 0 < database["latency_ms"] < 10_000
    assert {table["name"] for table in database["tables"]} >= {"runs", "metrics"}


@pytest.mark.usefixtures("apart")
def test_check_mode_answers_the_same(schema: Cluster) -> None:
    assert check(schema.uri(), check_mode=True)["findings"] == []


def test_nothing_is_left_behind(schema: Cluster) -> None:
    before = schema.run(
        "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_all_tables WHERE relname = 'alembic_version'"
    )
    check(schema.uri())
    after = schema.run(
        "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_all_tables WHERE relname = 'alembic_version'"
    )
    assert before == after
    wait_until(lambda: schema.run("SELECT count(*) FROM pg_stat_activity WHERE usename = 'server'") == [(0,)])


# ----- the URI


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "found: no scheme"),
        ("sqlite:////var/lib/mlflow.db", "found: sqlite"),
        ("mysql+pymysql://u:s3cret@h/d", "found: mysql+pymysql"),
        ("postgresql+psycopg://u:s3cret@h/d", "found: postgresql+psycopg"),
        ("postgres://u:s3cret@h/d", "found: postgres"),
        ("postgresql://u:s3cret@h", "names no database"),
        ("postgresql://u:s3cret@h:65536/d", "the port"),
        ("postgresql://u:s3@cret@h/d", "the password in the database URI holds @ (write %40) as it is"),
        ("postgresql://u:s3/cret@h/d", "the password in the database URI holds / (write %2F) as it is"),
        ("postgresql://u:123/cret@h/d", "the password in the database URI holds / (write %2F) as it is"),
        ("postgresql://u:s3?cret@h/d", "the password in the database URI holds ? (write %3F) as it is"),
        ("postgresql://u:s3#cret@h/d", "the password in the database URI holds # (write %23) as it is"),
        ("postgresql://u:s3[c]ret@h/d", "holds [ (write %5B) and ] (write %5D) as it is"),
        ("postgresql://u:s3%cret@h/d", "the password in the database URI holds % (write %25) as it is"),
        ("postgresql://u:s3cret @h/d", "holds a space (write %20) as it is"),
        ("postgresql://u:s3cret@h/d\n", "holds a line break (write %0A) as it is"),
        ("postgresql://u:s3%FFcret@h/d", "not as UTF-8"),
        ("postgresql://u:s3%00cret@h/d", "%00"),
        ("postgresql://u:s3cret@h/d?sslmod=require", "did you mean sslmode?"),
        ("postgresql://u:s3cret@h/d?cursor_factory=x", "does not know"),
        ("postgresql://u:s3cret@h/d?sslmode=require&sslmode=disable", "gives the parameter sslmode twice"),
        ("postgresql://u:s3cret@h[1]x/d", "the host in the database URI holds [ (write %5B) and ] (write %5D)"),
        ("postgresql://u:s3cret@h/d#e", "holds # (write %23)"),
    ],
)
def test_a_uri_that_cannot_be_used(uri: str, words: str) -> None:
    found = only(check(uri))
    assert found["id"] == "DATABASE_URI"
    assert words.lower() in found["summary"].lower()
    assert "cret" not in str(found)


def test_a_parameter_with_a_value_that_means_nothing(cluster: Cluster) -> None:
    found = only(check(cluster.uri(sslmode="sometimes")))
    assert found["id"] == "DATABASE_URI"
    assert "sometimes" in found["evidence"]


@given(st.text(max_size=60) | st.builds("postgresql://{}".format, st.text(max_size=60)))
def test_any_text_is_judged(uri: str) -> None:
    parameters, findings = judge_uri(uri, "h")
    assert bool(parameters) != bool(findings)
    assert [finding["id"] for finding in findings] in ([], ["DATABASE_URI"])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=4, max_size=30))
def test_a_password_that_is_encoded_works_and_one_that_is_not_is_never_misread(password: str) -> None:
    parameters, findings = judge_uri(f"postgresql://u:{quote(password, '')}@db.example.com:5432/d", "h")
    assert findings == []
    assert parameters["password"] == password
    parameters, findings = judge_uri(f"postgresql://u:{password}@db.example.com:5432/d", "h")
    if findings:
        assert [finding["id"] for finding in findings] == ["DATABASE_URI"]
    elif not any(f"%{code:02x}" in password.lower() for code in range(256)):
        assert (parameters["password"], parameters["host"]) == (password, "db.example.com")


# ----- the way there


@pytest.mark.usefixtures("apart")
def test_a_python_without_the_driver(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    found = only(check(cluster.uri()))
    assert found["id"] == "DATABASE_DRIVER"
    assert "No module named 'psycopg2'" in found["evidence"]


@pytest.mark.usefixtures("apart")
def test_an_interpreter_that_is_not_there(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = only(check(cluster.uri()))
    assert found["id"] == "DATABASE_CHECK"
    assert "/nowhere/python could not be started" in found["evidence"]


def test_a_name_that_does_not_resolve() -> None:
    found = only(check("postgresql://u:s3cret@db.nowhere.invalid/mlflow"))
    assert found["id"] == "DATABASE_DNS"
    assert "db.nowhere.invalid" in found["summary"]


def test_nothing_listens(tmp_path: Path) -> None:
    found = only(check(f"postgresql://u:s3cret@127.0.0.1:{peers.free_port()}/mlflow"))
    assert found["id"] == "DATABASE_REFUSED"
    assert "Nothing listens at 127.0.0.1:" in found["summary"]
    found = only(check(f"postgresql://u@/mlflow?host={tmp_path}"))
    assert found["id"] == "DATABASE_REFUSED"
    assert f"Nothing listens at the socket of port 5432 in {tmp_path}." in found["summary"]


def test_an_address_without_a_way() -> None:
    found = only(check("postgresql://u:s3cret@224.0.0.1/mlflow"))
    assert found["id"] == "DATABASE_UNREACHABLE"
    assert "224.0.0.1:5432" in found["summary"]


def test_packets_that_are_dropped() -> None:
    with peers.deaf_port() as port:
        found = only(check(f"postgresql://u:s3cret@127.0.0.1:{port}/mlflow", timeout=3))
    assert found["id"] == "DATABASE_TIMEOUT"


def test_the_second_host_of_a_list_is_enough(schema: Cluster) -> None:
    both = f"127.0.0.1:{peers.free_port()},127.0.0.1:{schema.server.port}".split(",")
    uri = schema.uri().replace(f"127.0.0.1:{schema.server.port}/mlflow?", "/mlflow?host={}&host={}&".format(*both))
    assert check(uri)["findings"] == []


# ----- TLS


def test_an_authority_that_is_not_trusted(cluster: Cluster, tmp_path: Path) -> None:
    stranger = Authority.make("stranger").write(tmp_path / "stranger.pem")
    found = only(check(cluster.uri(sslrootcert=str(stranger))))
    assert found["id"] == "DATABASE_TLS_UNTRUSTED"
    assert "is not trusted: " in found["summary"]
    assert "issuer" in found["summary"] or "self" in found["summary"]


def test_a_certificate_of_another_name(cluster: Cluster) -> None:
    cluster.certificate("other.example.com", "db.example.com")
    try:
        found = only(check(cluster.uri()))
    finally:
        cluster.certificate(*NAMES)
    assert found["id"] == "DATABASE_TLS_NAME"
    assert "other.example.com, db.example.com" in found["remedy"]


def test_a_certificate_that_has_expired(cluster: Cluster) -> None:
    cluster.certificate(*NAMES, days=-1)
    try:
        found = only(check(cluster.uri()))
    finally:
        cluster.certificate(*NAMES)
    assert found["id"] == "DATABASE_TLS_EXPIRED"
    assert f"The certificate of 127.0.0.1:{cluster.server.port} has expired." in found["summary"]


def test_a_server_without_tls(cluster: Cluster) -> None:
    with cluster.setting("ssl", "off"):
        found = only(check(cluster.uri()))
    assert found["id"] == "DATABASE_TLS_MISSING"
    assert "sslmode=verify-full" in found["summary"]


def test_a_file_for_tls_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    found = only(check(cluster.uri(sslrootcert=str(tmp_path / "nowhere.pem"))))
    assert found["id"] == "DATABASE_TLS_FILE"
    assert "nowhere.pem" in found["evidence"]


def other_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return address


def test_a_connection_that_may_be_in_clear(schema: Cluster) -> None:
    try:
        address = other_address()
    except OSError:
        pytest.skip("this machine has no address but loopback")
    uri = schema.uri("outsider", at=address, sslmode="prefer", sslrootcert="")
    found = next(item for item in check(uri)["findings"] if item["id"] == "DATABASE_TLS")
    assert "sslmode is prefer" in found["summary"]
    assert "DATABASE_TLS" not in ids(check(uri, require_tls=False))
    assert "DATABASE_TLS" not in ids(check(uri.replace("=prefer", "=require")))


# ----- the login


def test_a_wrong_password(cluster: Cluster) -> None:
    found = only(check(cluster.uri(password="another s3cret")))
    assert found["id"] == "DATABASE_LOGIN"
    assert "refuses the user server" in found["summary"]
    assert 'password authentication failed for user "server"' in found["evidence"]


def test_no_password_where_one_is_wanted(cluster: Cluster) -> None:
    found = only(check(cluster.uri(password="")))
    assert found["id"] == "DATABASE_LOGIN"
    assert found["remedy"] == "Add the password of server to the URI."


@pytest.mark.parametrize("role", ["missing", "nologin"])
def test_no_such_role(cluster: Cluster, role: str) -> None:
    found = only(check(cluster.local(role)))
    assert found["id"] == "DATABASE_ROLE"
    assert f"The user {role} does not exist" in found["summary"]


def test_access_rules_that_let_nobody_in(cluster: Cluster) -> None:
    found = only(check(cluster.uri("stranger")))
    assert found["id"] == "DATABASE_HBA"
    assert "do not let in the user stranger to the database mlflow" in found["summary"]
    found = only(check(cluster.uri(sslmode="disable")))
    assert found["id"] == "DATABASE_HBA"
    assert found["remedy"].startswith("Add sslmode=require")


def test_no_such_database(cluster: Cluster) -> None:
    found = only(check(cluster.uri(database="mlfow")))
    assert found["id"] == "DATABASE_MISSING"
    assert "There is no database mlfow at" in found["summary"]


def test_a_login_that_may_not_connect(cluster: Cluster) -> None:
    cluster.run("REVOKE CONNECT ON DATABASE plain FROM PUBLIC")
    try:
        found = only(check(cluster.uri("intruder", database="plain")))
    finally:
        cluster.run("GRANT CONNECT ON DATABASE plain TO PUBLIC")
    assert found["id"] == "DATABASE_PRIVILEGE"
    assert found["remedy"] == "GRANT CONNECT ON DATABASE plain TO intruder;"


def test_no_connection_is_left(cluster: Cluster) -> None:
    cluster.run("ALTER ROLE server CONNECTION LIMIT 0")
    try:
        found = only(check(cluster.uri()))
    finally:
        cluster.run("ALTER ROLE server CONNECTION LIMIT -1")
    assert found["id"] == "DATABASE_FULL"
    assert "too many connections" in found["evidence"]


def test_a_server_that_is_going_down() -> None:
    with running_server() as server, contextlib.closing(server.connect()):
        main_process = int((server.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(main_process, signal.SIGTERM)  # a smart shutdown waits for the session of this test

        def refused() -> bool:
            with contextlib.suppress(psycopg2.OperationalError), contextlib.closing(server.connect()):
                return False
            return True

        wait_until(refused)
        found = only(check(server.uri()))
    assert found["id"] == "DATABASE_STARTING"
    assert "is shutting down" in found["evidence"]


# ----- what the database is


def test_an_older_postgresql(schema: Cluster) -> None:
    # Nothing as old can be installed beside the tests: a relay changes the number on its way.
    number = str(schema.run("SHOW server_version_num")[0][0]).encode()
    socket_file = Path(schema.server.socket) / f".s.PGSQL.{schema.server.port}"
    with peers.peer(peers.relaying(socket_file, lambda data: data.replace(number, b"120022"))) as port:
        answer = check(f"postgresql://trusted@127.0.0.1:{port}/mlflow")
    assert "DATABASE_VERSION" in ids(answer)


def test_another_encoding(cluster: Cluster) -> None:
    cluster.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        answer = check(cluster.uri(database="latin"), schema_may_be_missing=True)
    finally:
        cluster.run("DROP DATABASE latin WITH (FORCE)")
    assert only(answer)["id"] == "DATABASE_ENCODING"
    assert "LATIN1 instead of UTF8" in only(answer)["summary"]


def test_a_database_of_another_environment(schema: Cluster) -> None:
    schema.run("COMMENT ON DATABASE mlflow IS 'mlflow environment: prod'")
    try:
        found = only(check(schema.uri(), environment="staging"))
        assert check(schema.uri(), environment="prod")["findings"] == []
    finally:
        schema.run("COMMENT ON DATABASE mlflow IS NULL")
    assert found["id"] == "DATABASE_ENVIRONMENT"
    assert "belongs to the environment prod, not to staging" in found["summary"]


def test_a_database_that_takes_no_writes(schema: Cluster) -> None:
    found = only(check(schema.uri(options="-c default_transaction_read_only=on")))
    assert found["id"] == "DATABASE_READ_ONLY"


def test_rows_that_the_login_may_not_write(schema: Cluster) -> None:
    schema.run("REVOKE INSERT, DELETE ON runs, tags FROM server")
    schema.run("REVOKE USAGE ON SEQUENCE experiments_experiment_id_seq FROM server")
    answer = check(schema.uri())
    assert ids(answer) == ["DATABASE_PRIVILEGE", "DATABASE_PRIVILEGE"]
    rows, sequences = answer["findings"]
    assert rows["summary"] == "server lacks DELETE, INSERT on 2 tables (runs, tags)."
    assert rows["remedy"] == "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO server;"
    assert "experiments_experiment_id_seq" in sequences["summary"]


def test_a_schema_that_the_login_may_not_change(schema: Cluster) -> None:
    answer = check(schema.uri(), needs="schema")
    assert ids(answer) == ["DATABASE_PRIVILEGE", "DATABASE_PRIVILEGE"]
    assert answer["findings"][0]["summary"] == "server may not create tables in the schema public."
    assert "does not own 8 tables" in answer["findings"][1]["summary"]


def test_a_schema_that_the_login_may_not_use(cluster: Cluster) -> None:
    cluster.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    try:
        found = check(cluster.uri(), schema_may_be_missing=True)["findings"]
    finally:
        cluster.run("GRANT USAGE ON SCHEMA public TO PUBLIC")
    assert [item["id"] for item in found] == ["DATABASE_PRIVILEGE"]
    assert found[0]["remedy"] == "GRANT USAGE ON SCHEMA public TO server;"


# ----- the schema and the release


def test_a_schema_of_the_release(schema: Cluster, release: Path) -> None:
    assert (release / "mlflow").is_dir()
    schema.run("UPDATE alembic_version SET version_num = 'bbb'")
    schema.run("CREATE TABLE second_extra (i int PRIMARY KEY); GRANT ALL ON second_extra TO server")
    answer = check(schema.uri())
    assert answer["findings"] == []
    assert (answer["database"]["release"], answer["database"]["expected_revision"]) == ("3.99.0", "bbb")


@pytest.mark.usefixtures("release")
def test_a_schema_that_is_older_than_the_release(schema: Cluster) -> None:
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_SCHEMA_OLDER"
    assert "is older than the release: it is at revision aaa, and MLflow 3.99.0 works with bbb" in found["summary"]


@pytest.mark.usefixtures("release")
def test_a_schema_that_is_newer_than_the_release(schema: Cluster) -> None:
    schema.run("UPDATE alembic_version SET version_num = 'ccc'")
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_SCHEMA_NEWER"
    assert "is newer than the release: it is at revision ccc, and MLflow 3.99.0 works with bbb" in found["summary"]
    schema.run("UPDATE alembic_version SET version_num = 'bbb'")
    schema.run("CREATE TABLE second_extra (i int PRIMARY KEY); GRANT ALL ON second_extra TO server")
    assert ids(check(schema.uri(), expected_revision="aaa")) == ["DATABASE_SCHEMA_NEWER"]


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE first_extra", "lacks tables of it (first_extra)"),
        (
            "CREATE TABLE second_extra (i int PRIMARY KEY); GRANT ALL ON second_extra TO server",
            "of a later one (second_extra)",
        ),
        ("INSERT INTO alembic_version VALUES ('bbb')", "it records 2 revisions (aaa, bbb)"),
        (
            "DELETE FROM alembic_version; INSERT INTO experiments (name) VALUES ('x')",
            "alembic_version records no revision",
        ),
        ("DROP TABLE alembic_version", "tables of MLflow are there"),
    ],
)
def test_a_schema_that_is_half_applied(schema: Cluster, statement: str, words: str) -> None:
    schema.run(statement)
    found = only(check(schema.uri(), schema_may_be_missing=True))
    assert found["id"] == "DATABASE_SCHEMA_HALF"
    assert words in found["summary"]


def test_no_schema_yet(cluster: Cluster) -> None:
    assert only(check(cluster.uri()))["id"] == "DATABASE_SCHEMA_MISSING"
    assert check(cluster.uri(), schema_may_be_missing=True)["findings"] == []
    assert only(check(cluster.uri(), schema="auth"))["id"] == "DATABASE_SCHEMA_MISSING"


def test_tables_of_somebody_else(cluster: Cluster) -> None:
    cluster.run("CREATE TABLE invoices (i int); GRANT ALL ON invoices TO server", "plain")
    try:
        found = only(check(cluster.uri(database="plain"), schema_may_be_missing=True))
    finally:
        cluster.run("DROP TABLE invoices", "plain")
    assert found["id"] == "DATABASE_FOREIGN"
    assert "invoices" in found["summary"]


def test_another_revision_than_expected(schema: Cluster) -> None:
    found = only(check(schema.uri(), expected_revision="zzz"))
    assert found["id"] == "DATABASE_SCHEMA_OTHER"
    assert "is at revision aaa, and zzz is expected" in found["summary"]


@pytest.mark.usefixtures("release")
def test_the_schema_of_users_has_revisions_of_its_own(cluster: Cluster) -> None:
    made = "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE first_extra (i int PRIMARY KEY);"
    cluster.run(
        f"{made} CREATE TABLE alembic_version_auth (version_num text PRIMARY KEY); GRANT ALL ON ALL TABLES IN SCHEMA public TO server",
        "plain",
    )
    try:
        uri = cluster.uri(database="plain")
        found = only(check(uri, schema="auth"))
        assert found["id"] == "DATABASE_SCHEMA_OLDER"
        assert "before 3.6" in found["summary"]
        cluster.run("INSERT INTO alembic_version_auth VALUES ('auth_aaa')", "plain")
        found = only(check(uri, schema="auth"))
        assert "it is at revision auth_aaa, and MLflow 3.99.0 works with auth_bbb" in found["summary"]
        cluster.run("UPDATE alembic_version_auth SET version_num = 'ccc'", "plain")
        assert ids(check(uri, schema="auth")) == ["DATABASE_SCHEMA_NEWER"]
    finally:
        cluster.run("DROP TABLE users, first_extra, alembic_version_auth", "plain")


# ----- connections, time and sessions


def test_pools_that_exceed_the_connections(schema: Cluster) -> None:
    found = only(check(schema.uri(), connections=38))
    assert found["id"] == "DATABASE_POOL_BUDGET"
    assert "may open 38 connections, and PostgreSQL grants 37" in found["summary"]
    schema.run("ALTER ROLE server CONNECTION LIMIT 20")
    try:
        found = only(check(schema.uri(), connections=37))
    finally:
        schema.run("ALTER ROLE server CONNECTION LIMIT -1")
    assert "grants 20 (the connection limit of the role server)" in found["summary"]


def test_connections_that_are_nearly_used_up(schema: Cluster) -> None:
    schema.run("ALTER DATABASE mlflow CONNECTION LIMIT 5")
    try:
        with contextlib.ExitStack() as stack:
            for _number in range(4):
                connection = psycopg2.connect(schema.server.dsn("mlflow", "trusted") + " application_name=batch")
                stack.enter_context(contextlib.closing(connection))
            answer = check(schema.uri())
    finally:
        schema.run("ALTER DATABASE mlflow CONNECTION LIMIT -1")
    found = only(answer)
    assert found["id"] == "DATABASE_CONNECTIONS_BUSY"
    assert "4 of 5 connections are open (the connection limit of the database mlflow)" in found["summary"]
    assert "trusted batch: 4" in found["evidence"]


def test_a_slow_database(schema: Cluster) -> None:
    found = only(check(schema.uri(), max_latency_ms=0.0001))
    assert found["id"] == "DATABASE_LATENCY"
    assert "more than 0.0001 ms" in found["summary"]


def test_transactions_that_are_open_for_long(schema: Cluster) -> None:
    with schema.session("SET application_name = 'notebook'", "SELECT 1"):
        idle = only(check(schema.uri(), max_idle_seconds=0))
        long = only(check(schema.uri(), max_transaction_seconds=0))
    assert idle["id"] == "DATABASE_TRANSACTION_IDLE"
    assert "postgres notebook, pid " in idle["evidence"]
    assert long["id"] == "DATABASE_TRANSACTION_LONG"
    assert "1 transactions run for 0 s or more" in long["summary"]


def test_sessions_that_wait_for_locks(schema: Cluster) -> None:
    with schema.session("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE") as holding, schema.session() as waiting:

        def wait() -> None:
            with contextlib.suppress(psycopg2.Error):
                waiting.execute("SELECT count(*) FROM runs")

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        wait_until(lambda: schema.run("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        answer = check(schema.uri(), max_lock_wait_seconds=0)
        holding.connection.rollback()
        thread.join(10)
    found = next(item for item in answer["findings"] if item["id"] == "DATABASE_LOCK_WAIT")
    assert "1 sessions wait for locks, for example on runs" in found["summary"]
    assert f"waits for pid {answer['database']['locks'][0]['blockers'][0]}" in found["evidence"]


def test_what_cannot_be_asked_is_said(schema: Cluster) -> None:
    with schema.session("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"):
        answer = check(schema.uri(), expected_revision="bbb")
    found = next(item for item in answer["findings"] if item["id"] == "DATABASE_UNANSWERED")
    assert "revisions" in found["summary"]
    assert "lock timeout" in found["evidence"]
    assert not {item for item in ids(answer) if "SCHEMA" in item}


# ----- tables, indexes and settings


def test_an_index_of_ours_that_is_missing(schema: Cluster) -> None:
    schema.run("DROP INDEX mlops_tags_value_trgm")
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_INDEX_MISSING"
    assert "mlops_tags_value_trgm" in found["summary"]
    assert check(schema.uri(), indexes=False)["findings"] == []


def test_an_index_that_is_invalid(schema: Cluster) -> None:
    schema.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'mlops_tags_value_trgm'::regclass")
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_INDEX_INVALID"
    assert "mlops_tags_value_trgm" in found["summary"]


def test_a_table_that_lost_its_primary_key(schema: Cluster) -> None:
    schema.run("ALTER TABLE metrics DROP CONSTRAINT metrics_pkey")
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_PRIMARY_KEY"
    assert found["summary"] == "Tables of MLflow have no primary key: metrics."


def test_a_table_full_of_dead_rows(schema: Cluster) -> None:
    schema.run("ALTER TABLE runs SET (autovacuum_enabled = off)")
    schema.run("INSERT INTO runs SELECT i::text, 1, 'active', i FROM generate_series(1, 12000) i")
    schema.run("UPDATE runs SET start_time = 0")
    wait_until(
        lambda: schema.run("SELECT n_dead_tup >= 12000 FROM pg_stat_user_tables WHERE relname = 'runs'") == [(True,)]
    )
    found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_BLOAT"
    assert found["summary"] == "The table runs has 12000 dead rows beside 12000 living ones; last vacuum: never."


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        ("autovacuum", "off", "DATABASE_AUTOVACUUM"),
        ("track_counts", "off", "DATABASE_AUTOVACUUM"),
        ("fsync", "off", "DATABASE_DURABILITY"),
        ("full_page_writes", "off", "DATABASE_DURABILITY"),
        ("synchronous_commit", "off", "DATABASE_DURABILITY"),
    ],
)
def test_a_setting_worth_a_warning(schema: Cluster, name: str, value: str, finding: str) -> None:
    with schema.setting(name, value):
        found = only(check(schema.uri()))
    assert found["id"] == finding
    assert name in found["summary"]


def test_a_standby_that_is_not_there(schema: Cluster) -> None:
    with schema.setting("synchronous_standby_names", "nobody"):
        found = only(check(schema.uri()))
    assert found["id"] == "DATABASE_STANDBY"
    assert "synchronous_standby_names=nobody" in found["summary"]


# ----- peers that do not behave

AUTH_OK = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
ERROR = b"E\0\0\0\x1dSFATAL\0C57P03\0Mhalf of a"
MISBEHAVIOUR = {
    "says nothing": peers.silent,
    "hangs up": peers.closing,
    "answers the request for TLS with garbage": peers.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "promises TLS and hangs": peers.saying(b"S"),
    "promises TLS and hangs up": peers.saying(b"S", then=peers.closing),
    "promises TLS and talks in clear": peers.saying(b"S", b"R\0\0\0\x08\0\0\0\0"),
    "refuses TLS and hangs": peers.saying(b"N"),
    "refuses TLS, then garbage": peers.saying(b"N", bytes(range(256))),
    "half of an error": peers.saying(b"N", ERROR, then=peers.closing),
    "half of an error, then nothing": peers.saying(b"N", ERROR),
    "an endless length": peers.saying(b"N", b"R\x7f\xff\xff\xff" + b"x" * 100),
    "drips": peers.dripping(b"N" + AUTH_OK),
    "drips an error": peers.dripping(b"NE\0\0\0\xff"),
    "lets in and hangs": peers.saying(b"N", AUTH_OK),
    "lets in and hangs up": peers.saying(b"N", AUTH_OK, then=peers.closing),
    "lets in and answers with garbage": peers.saying(b"N", AUTH_OK, *[b"\xff" * 50] * 20),
    "lets in and answers with nothing but readiness": peers.saying(b"N", AUTH_OK, *[b"Z\0\0\0\x05I"] * 200),
    "an unknown method": peers.saying(b"N", b"R\0\0\0\x08\0\0\0\x63"),
}
WAY = {"DATABASE_SILENT", "DATABASE_PROTOCOL", "DATABASE_LOGIN", "DATABASE_TLS_UNTRUSTED"}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_peer_that_misbehaves_is_a_finding_within_the_time(name: str) -> None:
    with peers.peer(MISBEHAVIOUR[name]) as port:
        answer = check(f"postgresql://u:s3cret@127.0.0.1:{port}/mlflow", timeout=1)
    assert answer["findings"], "nothing was found wrong"
    assert set(ids(answer)) <= WAY | {"DATABASE_UNANSWERED"}, answer["findings"]


@pytest.mark.usefixtures("apart")
def test_a_peer_that_hangs_and_one_that_babbles_are_told_apart() -> None:
    with peers.peer(peers.silent) as port:
        found = only(check(f"postgresql://u:s3cret@127.0.0.1:{port}/mlflow", timeout=8))
    assert found["id"] == "DATABASE_SILENT"
    assert f"127.0.0.1:{port} accepts the connection and then says nothing in time" in found["summary"]
    with peers.peer(MISBEHAVIOUR["answers the request for TLS with garbage"]) as port:
        found = only(check(f"postgresql://u:s3cret@127.0.0.1:{port}/mlflow", timeout=20))
    assert found["id"] == "DATABASE_PROTOCOL"
    assert f"What answers at 127.0.0.1:{port} does not speak as PostgreSQL does" in found["summary"]


MESSAGES = st.one_of(
    st.binary(max_size=64),
    st.sampled_from([b"N", b"S", b"G", AUTH_OK, ERROR, AUTH_OK + AUTH_OK]),
    st.builds(
        lambda kind, body: kind + (len(body) + 4).to_bytes(4, "big") + body,
        st.sampled_from([b"R", b"E", b"Z", b"T", b"D", b"C", b"S", b"K", b"N"]),
        st.binary(max_size=40),
    ),
)


@given(st.lists(MESSAGES, max_size=6), st.sampled_from([peers.silent, peers.closing]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_peer_says_there_are_findings(words: list[bytes], end: peers.Conversation) -> None:
    with peers.peer(peers.saying(*words, then=end)) as port:
        parameters = {"host": "127.0.0.1", "port": str(port), "user": "u", "password": "s3cret", "dbname": "mlflow"}
        facts = _database_probe.probe({"parameters": parameters, "schema": "tracking", "until": time.time() + 0.6})
    findings, _known = judge(facts, Wanted(), parameters, "app1")
    assert findings, facts
    assert "s3cret" not in str(findings)


# ----- facts that make no sense

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
COLUMNS = re.findall(
    r"\w+",
    """
name version version_text encoding login role schema read_only local comment may_create sequences primary_key
owned lacking revision holds max_connections superuser_reserved reserved role_limit database_limit connections
application database pid state seconds state_seconds waits_for blockers valid being_built table usable live
dead last_vacuum setting connected host address port outcome error addresses
""",
)
ROW = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=12)
PARTS = re.findall(
    r"\w+",
    """
server privileges tables revisions first_rows limits transactions locks indexes extensions upkeep settings
standbys names attempts
""",
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        **{part: st.lists(ROW, max_size=3) | VALUES for part in PARTS},
        "activity": st.lists(st.lists(ROW, max_size=2), max_size=3) | VALUES,
        **dict.fromkeys(
            ("release", "tls", "driver", "refusal", "unanswered", "stage", "crash", "broken", "latency_ms"), VALUES
        ),
        "in_time": st.booleans(),
        "encrypted": VALUES,
    },
)


@given(FACTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_any_facts_are_judged(facts: dict[str, Any]) -> None:
    findings, known = judge(facts, Wanted(connections=1, environment="e"), {"dbname": "mlflow"}, "app1")
    assert all(finding["id"] in FINDINGS for finding in findings)
    assert known["place"] == "the local socket of port 5432"


# ----- failing, and the documentation


@pytest.mark.usefixtures("apart")
def test_what_fails_says_so_in_sentences(cluster: Cluster) -> None:
    answer = run_module("mlflow_database_check", uri=cluster.uri(database="mlfow"), host="app1")
    assert answer["failed"] is True
    assert answer["msg"].startswith(
        f"[DATABASE_MISSING] app1: There is no database mlfow at 127.0.0.1:{cluster.server.port}. "
    )
    assert ids(answer) == ["DATABASE_MISSING"]


def test_a_warning_fails_only_if_it_shall(schema: Cluster) -> None:
    schema.run("DROP INDEX mlops_tags_value_trgm")
    assert "failed" not in run_module("mlflow_database_check", uri=schema.uri())
    answer = run_module("mlflow_database_check", uri=schema.uri(), fail_on="warning", host="app1")
    assert answer["msg"].startswith("[DATABASE_INDEX_MISSING] app1: ")
