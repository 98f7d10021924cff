"""PostgreSQL: how it lets in, what it checks, and how little each login may."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.mlflow.molecule.shared import checks

RUNTIME = "mlflow_server_a"


def setting(host: Any, name: str) -> str:
    """One setting that is in force."""
    return checks.query(host, "postgres", f"SHOW {name}")[0]


def test_passwords_are_scram_and_pages_have_checksums(host: Any) -> None:
    """And nothing waits for a restart."""
    assert setting(host, "password_encryption") == "scram-sha-256"
    assert setting(host, "data_checksums") == "on"
    assert setting(host, "ssl_min_protocol_version") in ("TLSv1.2", "TLSv1.3")
    assert checks.query(host, "postgres", "SELECT name FROM pg_settings WHERE pending_restart") == []
    hashed = checks.query(
        host, "postgres", "SELECT rolname FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'"
    )
    assert hashed == []


def test_who_may_log_in_and_how(host: Any) -> None:
    """scram for everybody, also on the socket; peer for the administrator alone; in the network only with TLS."""
    columns = "type, coalesce(user_name::text, ''), coalesce(address, ''), auth_method"
    rows = [
        row.split("|")
        for row in checks.query(host, "postgres", f"SELECT {columns} FROM pg_hba_file_rules WHERE error IS NULL")
    ]
    assert checks.query(host, "postgres", "SELECT line_number FROM pg_hba_file_rules WHERE error IS NOT NULL") == []
    assert rows, "pg_hba.conf has no rule"
    for kind, users, address, method in rows:
        if method == "peer":
            assert (kind, users) == ("local", "{postgres}")
        else:
            assert method in ("scram-sha-256", "reject"), f"{kind} {users} {address} {method}"
        if kind not in ("local", "hostssl") and method != "reject":
            assert address in ("127.0.0.1", "::1"), f"{kind} {address} would let in without TLS"


def test_objects_belong_to_the_owner_role(host: Any) -> None:
    """No login owns a table: a password can be replaced without touching an object."""
    for database in ("mlflow", "mlflow_auth"):
        text = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        assert checks.query(host, database, text) == ["mlflow_owner"]
    text = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'mlflow%' AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication)"
    assert checks.query(host, "postgres", text) == []
    text = "SELECT rolname FROM pg_roles WHERE rolname IN ('mlflow_owner', 'mlflow_runtime') AND rolcanlogin"
    assert checks.query(host, "postgres", text) == []


def test_the_server_reads_and_writes_rows_and_nothing_else(host: Any, secrets: dict[str, str]) -> None:
    """So a starting server cannot migrate a schema in silence."""
    password = secrets["mlflow_database_server_a_password"]

    def said(text: str, database: str = "mlflow") -> str:
        return checks.as_login(host, RUNTIME, password, database, text).stderr

    assert said("SELECT count(*) FROM experiments") == ""
    assert said("BEGIN; UPDATE experiments SET name = name; ROLLBACK") == ""
    for text in (
        "CREATE TABLE mine (x int)",
        "ALTER TABLE experiments ADD COLUMN mine int",
        "DROP TABLE experiments",
        "TRUNCATE experiments",
        "SET ROLE mlflow_owner",
        "CREATE SCHEMA mine",
        "COPY experiments TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
    ):
        error = said(text)
        refused = ("permission denied", "must be owner", "must be superuser")  # the last one is PostgreSQL 15's
        assert any(words in error for words in refused), f"{text}: {error or 'was allowed'}"


def test_a_wrong_password_is_refused_on_the_socket(host: Any) -> None:
    """Being on the host is not enough."""
    done = checks.as_login(host, RUNTIME, "not-the-password", "mlflow", "SELECT 1")
    assert done.returncode != 0
    assert "password authentication failed" in done.stderr


def test_databases_carry_their_environment(host: Any, variables: dict[str, Any]) -> None:
    """Read by whoever finds the database without its inventory."""
    text = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'mlflow'"
    assert variables["mlflow_environment"] in checks.query(host, "postgres", text)[0]
