"""What the role mlflow_database writes and asks, tried on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import html
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._adoption import backup_problem
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server, programs, unprivileged

ROLE = ROOT / "roles/mlflow_database"
SHARED = ROOT / "roles/mlflow_preflight"  # holds the choices that roles share
TRACKING = "mlflow"
CLIENTS = ["192.0.2.7", "2001:db8::7", "198.51.100.0/24", "server.example.com"]

# Rendered by Ansible itself, with the role's own defaults, all in one task.
PLAYBOOK = f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{SHARED}/defaults/main.yml, {ROLE}/defaults/main.yml, {ROLE}/vars/main.yml]
  tasks:
    - ansible.builtin.copy: {{content: "{{{{ EVERYTHING | to_json }}}}", dest: "{{{{ out }}}}", mode: "0600"}}
"""
CHOICES = {
    "mlflow_environment": "dev",
    "mlflow_config_dir": "/etc/mlflow",
    "mlflow_database_memory_mb": 4096,
    "mlflow_database_cpus": 2,
    "mlflow_database_postgresql_version": 15,
    "mlflow_database_migrator_password": "m",
    "mlflow_database_server_a_password": "a",
    "mlflow_database_server_b_password": "b",
}
# name: template and what differs from CHOICES
RENDERINGS: dict[str, tuple[str, dict[str, object]]] = {
    "local.conf": ("50-mlflow.conf", {}),
    "remote.conf": (
        "50-mlflow.conf",
        {
            "mlflow_database_clients": CLIENTS,
            "mlflow_database_extra_settings": {"work_mem": "7MB", "cluster_name": "it's"},
        },
    ),
    "local.hba": ("pg_hba.conf", {}),
    "remote.hba": ("pg_hba.conf", {"mlflow_database_clients": CLIENTS}),
    "indexes.sql": ("indexes.sql", {}),
    "indexes-latest.sql": ("indexes.sql", {"mlflow_database_index_latest_metrics": True}),
    "indexes-external.sql": ("indexes.sql", {"mlflow_database_uri": "postgresql://u:p@h/d"}),
    "state.sql": ("state.sql", {}),
    "postgres.privileges": ("privileges.sql", {"__mlflow_database_asked": "postgres"}),
    "mlflow.privileges": ("privileges.sql", {"__mlflow_database_asked": "mlflow"}),
    "adopt.sql": ("adopt.sql", {"item": "mlflow"}),
    "adopt-auth.sql": ("adopt.sql", {"item": "mlflow_auth"}),
    "mlflow_auth.privileges": ("privileges.sql", {"__mlflow_database_asked": "mlflow_auth"}),
}
TABLES = """
CREATE TABLE runs (run_uuid varchar(32) PRIMARY KEY, experiment_id int, lifecycle_stage varchar(20), start_time bigint);
CREATE TABLE params (key varchar(250), value varchar(8000), run_uuid varchar(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE tags (key varchar(250), value varchar(8000), run_uuid varchar(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE metrics (key varchar(250), value float8, run_uuid varchar(32), step bigint);
CREATE TABLE latest_metrics (key varchar(250), value float8, is_nan bool, run_uuid varchar(32));
CREATE TABLE experiments (experiment_id serial PRIMARY KEY, name text);
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each rendering by its name."""
    home = tmp_path_factory.mktemp("rendered")
    lookups = [
        f"'{name}': lookup('ansible.builtin.template', '{ROLE}/templates/{template}.j2',"
        f" template_vars=differing['{name}'])"
        for name, (template, _differing) in RENDERINGS.items()
    ]
    playbook = home / "play.yml"
    playbook.write_text(PLAYBOOK.replace("EVERYTHING", "{" + ", ".join(lookups) + "}"))
    out = home / "out.json"
    differing = {name: variables for name, (_template, variables) in RENDERINGS.items()}
    done = play(home, playbook, "-e", json.dumps({**CHOICES, "out": str(out), "differing": differing}))
    assert done.code == 0, done.output
    found: dict[str, str] = json.loads(out.read_text())
    return found


def settings_of(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value.strip("'") for name, value in (line.split(" = ", 1) for line in lines)}


@pytest.mark.parametrize("name", ["local.conf", "remote.conf"])
def test_postgresql_takes_every_setting(rendered: dict[str, str], name: str) -> None:
    # pytest's own folder is closed to the user that PostgreSQL has to run as
    folder = Path("/tmp") / f"mlops-conf-{name}"
    folder.mkdir(exist_ok=True)
    try:
        file = folder / "postgresql.conf"
        file.write_text(rendered[name])
        done = subprocess.run(
            [programs() / "postgres", "-C", "max_connections", "-D", folder, f"--config_file={file}"],
            capture_output=True,
            text=True,
            check=False,
            **unprivileged(),
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "100"
    finally:
        shutil.rmtree(folder)


def test_without_clients_there_is_no_tcp_and_with_them_there_is_tls(rendered: dict[str, str]) -> None:
    local, remote = settings_of(rendered["local.conf"]), settings_of(rendered["remote.conf"])
    assert (local["listen_addresses"], local["ssl"]) == ("", "off")
    assert (remote["listen_addresses"], remote["ssl"]) == ("*", "on")
    assert remote["ssl_key_file"] == "/etc/mlflow/tls/postgresql.key"
    assert local["log_statement"] == remote["log_statement"] == "none", "more would log ALTER ROLE"


def test_settings_of_the_site_win_and_are_quoted(rendered: dict[str, str]) -> None:
    assert settings_of(rendered["remote.conf"])["work_mem"] == "7MB"
    assert "cluster_name = 'it''s'" in rendered["remote.conf"]


def rules_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_only_named_logins_get_in_and_over_the_network_only_with_tls(rendered: dict[str, str]) -> None:
    logins = "mlflow,mlflow_auth mlflow_migrator,mlflow_server_a,mlflow_server_b"
    local = ["local all postgres peer", f"local {logins} scram-sha-256"]
    rest = ["local all all reject", "host all all all reject"]
    assert rules_of(rendered["local.hba"]) == [*local, *rest]
    assert rules_of(rendered["remote.hba"]) == [
        *local,
        f"hostssl {logins} 192.0.2.7/32 scram-sha-256",
        f"hostssl {logins} 2001:db8::7/128 scram-sha-256",
        f"hostssl {logins} 198.51.100.0/24 scram-sha-256",
        f"hostssl {logins} server.example.com scram-sha-256",
        *rest,
    ]


@dataclass
class Databases:
    """The server, and what it lacks according to the role's queries."""

    server: Server
    rendered: dict[str, str]

    def lacking(self, name: str, database: str = TRACKING) -> list[str]:
        return [row[0] for row in self.server.execute(self.rendered[name], database=database)]

    def apply(self, name: str, database: str = TRACKING) -> list[str]:
        statements = self.lacking(name, database)
        for statement in statements:
            self.server.execute(statement, database=database)
        assert self.lacking(name, database) == [], "a second run must change nothing"
        return statements

    def refuses(self, statement: str, user: str, database: str = TRACKING) -> bool:
        try:
            self.server.execute(statement, database=database, user=user)
        except (psycopg2.errors.InsufficientPrivilege, psycopg2.OperationalError):
            return True
        return False


ROLES = ("mlflow_migrator", "mlflow_server_a", "mlflow_server_b", "mlflow_runtime", "mlflow_owner")


@pytest.fixture
def databases(postgresql: Server, rendered: dict[str, str]) -> Iterator[Databases]:
    """Roles and databases as the role makes them, before it looks at privileges."""
    for role in ROLES:
        postgresql.execute(f"CREATE ROLE {role} {'NOLOGIN' if role in ROLES[3:] else 'LOGIN'}")
    postgresql.execute("ALTER ROLE mlflow_migrator SET role = 'mlflow_owner'")
    try:
        with postgresql.database(TRACKING), postgresql.database("mlflow_auth"):
            for name in (TRACKING, "mlflow_auth"):
                postgresql.execute(f"ALTER DATABASE {name} OWNER TO mlflow_owner")
            yield Databases(postgresql, rendered)
    finally:
        postgresql.execute("DROP EXTENSION IF EXISTS pg_stat_statements")
        for role in ROLES:
            postgresql.execute(f"DROP ROLE {role}")


@pytest.fixture
def secured(databases: Databases) -> Databases:
    """The same with all privileges in place."""
    for name in ("postgres", TRACKING, "mlflow_auth"):
        assert databases.apply(f"{name}.privileges", name)
    return databases


def test_a_server_uses_what_the_migrator_makes_and_makes_nothing(secured: Databases) -> None:
    run = secured.server.execute
    run("CREATE TABLE t (id serial PRIMARY KEY, v text)", database=TRACKING, user="mlflow_migrator")
    for user in ("mlflow_server_a", "mlflow_server_b"):
        assert run("INSERT INTO t (v) VALUES ('x') RETURNING v", database=TRACKING, user=user) == [("x",)]
        run("UPDATE t SET v = 'y'", database=TRACKING, user=user)
        assert run("SELECT v FROM t", database=TRACKING, user=user) == [("y",)]
        run("DELETE FROM t", database=TRACKING, user=user)
        for refused in (
            "CREATE TABLE u (i int)",
            "CREATE TEMPORARY TABLE u (i int)",
            "CREATE SCHEMA s",
            "ALTER TABLE t ADD COLUMN w int",
            "DROP TABLE t",
            "TRUNCATE t",
            "SET ROLE mlflow_owner",
        ):
            assert secured.refuses(refused, user), refused
    owner = run("SELECT tableowner::text FROM pg_tables WHERE tablename = 't'", database=TRACKING)
    assert owner == [("mlflow_owner",)]


def test_nobody_else_gets_into_the_databases(secured: Databases) -> None:
    secured.server.execute("CREATE ROLE somebody LOGIN")
    try:
        for name in (TRACKING, "mlflow_auth"):
            assert secured.refuses("SELECT 1", "somebody", name)
    finally:
        secured.server.execute("DROP ROLE somebody")


def test_what_was_granted_by_hand_is_taken_back(secured: Databases) -> None:
    for statement in (
        "GRANT mlflow_owner TO mlflow_server_a",
        "GRANT CREATE ON DATABASE mlflow TO mlflow_runtime",
        "GRANT ALL ON DATABASE mlflow TO PUBLIC",
    ):
        secured.server.execute(statement)
    secured.server.execute("GRANT ALL ON SCHEMA public TO PUBLIC, mlflow_runtime", database=TRACKING)
    assert secured.apply("postgres.privileges", "postgres") == ["REVOKE mlflow_owner FROM mlflow_server_a"]
    assert secured.apply("mlflow.privileges") == [
        "REVOKE ALL ON DATABASE mlflow FROM PUBLIC",
        "REVOKE CREATE, TEMPORARY ON DATABASE mlflow FROM mlflow_runtime",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM mlflow_runtime",
    ]


def test_an_adopted_database_gets_the_right_owner_and_grants(databases: Databases) -> None:
    databases.server.execute(TABLES, database=TRACKING)
    databases.apply("postgres.privileges", "postgres")
    databases.apply("mlflow.privileges")
    owners = databases.server.execute(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')",
        database=TRACKING,
    )
    assert owners == [("mlflow_owner",)]
    databases.server.execute("INSERT INTO experiments (name) VALUES ('x')", database=TRACKING, user="mlflow_server_b")


def what_would_be_taken_over(databases: Databases, name: str, database: str) -> dict[str, Any]:
    fields = ("name", "schema", "bytes", "tables", "revisions", "outside", "sessions")
    (row,) = databases.server.execute(databases.rendered[name], database=database)
    return dict(zip(fields, row, strict=True))


def test_an_empty_database_has_nothing_to_take_over(databases: Databases) -> None:
    found = what_would_be_taken_over(databases, "adopt.sql", TRACKING)
    assert found.pop("bytes") > 0
    assert found == {
        "name": TRACKING,
        "schema": "tracking",
        "tables": [],
        "revisions": [],
        "outside": [],
        "sessions": [],
    }


def test_what_is_to_be_taken_over_is_known(databases: Databases) -> None:
    run = databases.server.execute
    run(
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('abc'), ('def')",
        database=TRACKING,
    )
    run(
        "CREATE TABLE experiments (experiment_id int, name text, artifact_location text, lifecycle_stage text);"
        "INSERT INTO experiments VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active'), (3, 'a & b', 'file:///srv/3', 'active'),"
        " (4, 'gone', '/srv/4', 'deleted')",
        database=TRACKING,
    )
    with contextlib.closing(databases.server.connect(TRACKING)), contextlib.closing(databases.server.connect(TRACKING)):
        found = what_would_be_taken_over(databases, "adopt.sql", TRACKING)
    assert found["tables"] == ["alembic_version", "experiments"]
    assert found["revisions"] == ["abc", "def"]
    assert [html.unescape(place) for place in found["outside"]] == ["3 a & b: file:///srv/3"]
    assert found["sessions"] == ["postgres from this host (2 sessions)"]


def test_a_backup_that_was_cut_off_is_noticed(databases: Databases, tmp_path: Path) -> None:
    databases.server.execute(
        "CREATE TABLE notes AS SELECT md5(i::text) FROM generate_series(1, 20000) i", database=TRACKING
    )
    whole, half = tmp_path / "whole.dump", tmp_path / "half.dump"
    uri = databases.server.uri(TRACKING)
    subprocess.run([programs() / "pg_dump", "--format=custom", f"--file={whole}", uri], check=True)
    half.write_bytes(whole.read_bytes()[:-100_000])

    def judge(file: Path) -> str:
        read = subprocess.run(
            [programs() / "pg_restore", "--file=/dev/null", file], capture_output=True, text=True, check=False
        )
        listed = subprocess.run([programs() / "pg_restore", "--list", file], capture_output=True, text=True, check=True)
        return backup_problem(listed.stdout, "own-a", str(file), ["notes"], read.stderr if read.returncode else "")

    assert judge(whole) == ""
    assert judge(half).startswith(f"[ADOPT_BACKUP] own-a: backup={half}. pg_restore: error: ")


def test_users_have_a_schema_of_their_own(databases: Databases) -> None:
    databases.server.execute(
        "CREATE TABLE users (id int); CREATE TABLE alembic_version_auth (version_num text); INSERT INTO alembic_version_auth VALUES ('u')",
        database="mlflow_auth",
    )
    found = what_would_be_taken_over(databases, "adopt-auth.sql", "mlflow_auth")
    assert (found["schema"], found["revisions"], found["tables"]) == ("auth", ["u"], ["alembic_version_auth", "users"])


@pytest.fixture
def migrated(secured: Databases) -> Databases:
    """The same with MLflow's tables."""
    secured.server.execute(TABLES, database=TRACKING, user="mlflow_migrator")
    return secured


def test_nothing_is_indexed_before_the_tables_exist(secured: Databases) -> None:
    assert secured.lacking("indexes.sql") == []


def test_indexes_are_concurrent_ours_and_harmless_to_long_values(migrated: Databases) -> None:
    made = [statement for statement in migrated.apply("indexes.sql") if "INDEX" in statement]
    assert len(made) == 3
    assert all(statement.startswith("CREATE INDEX CONCURRENTLY mlops_") for statement in made)
    for table in ("params", "tags"):
        migrated.server.execute(
            f"INSERT INTO {table} SELECT 'k', string_agg(md5(i::text), ''), 'r' FROM generate_series(1, 250) i",
            database=TRACKING,
        )


def test_the_index_on_latest_metrics_comes_and_goes(migrated: Databases) -> None:
    migrated.apply("indexes.sql")
    (made,) = migrated.apply("indexes-latest.sql")
    assert made.startswith("CREATE INDEX CONCURRENTLY mlops_latest_metrics_key_value ON latest_metrics (key, value")
    assert migrated.apply("indexes.sql") == ["DROP INDEX CONCURRENTLY mlops_latest_metrics_key_value"]


def test_what_an_interrupted_build_left_is_built_again(migrated: Databases) -> None:
    migrated.apply("indexes.sql")
    migrated.server.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'mlops_tags_value_trgm'::regclass",
        database=TRACKING,
    )
    assert migrated.apply("indexes.sql") == [
        "DROP INDEX CONCURRENTLY mlops_tags_value_trgm",
        "CREATE INDEX CONCURRENTLY mlops_tags_value_trgm ON tags USING gin (value gin_trgm_ops)",
    ]


def test_in_somebody_elses_database_only_indexes_are_made(migrated: Databases) -> None:
    assert {statement.split()[0] for statement in migrated.apply("indexes-external.sql")} == {"CREATE"}


def test_a_login_that_may_not_create_extensions_still_indexes_runs(migrated: Databases) -> None:
    migrated.server.execute("DROP EXTENSION pg_trgm", database=TRACKING)
    rows = migrated.server.execute(migrated.rendered["indexes-external.sql"], database=TRACKING, user="mlflow_server_a")
    assert [row[0].split()[3] for row in rows] == ["mlops_runs_experiment_stage_start"]


def test_a_database_says_what_it_is(secured: Databases) -> None:
    secured.server.execute("COMMENT ON DATABASE mlflow IS 'mlflow environment: dev'")
    ((_version, checksums, found, roles),) = secured.server.execute(secured.rendered["state.sql"])
    assert checksums == "on"
    assert found == [{"name": "mlflow", "comment": "mlflow environment: dev"}, {"name": "mlflow_auth", "comment": ""}]
    assert sorted(roles) == sorted(ROLES)


# ----- a database that somebody else runs

EXTERNAL = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: mlops.mlflow.mlflow_preflight, tasks_from: choices}
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_database, tasks_from: external_check}
"""
OURS = {"mlflow_environment": "dev", "mlflow_domain": "mlflow.example.com"}
PLAN = {"connections_running": 62, "connections_switching": 62}


def look_at(home: Path, uri: str, **more: object) -> Played:
    playbook = home / "external.yml"
    playbook.write_text(EXTERNAL)
    return play(home, playbook, "-e", json.dumps({**OURS, "mlflow_database_uri": uri, **more}))


def test_an_empty_database_of_ones_own_is_taken(postgresql: Server, database: str, tmp_path: Path) -> None:
    uri = postgresql.uri(database)
    done = look_at(
        tmp_path,
        uri,
        mlflow_database_auth_uri=uri,
        __mlflow_topology_plans=[{"connections_running": 1, "connections_switching": 1}],
    )
    assert done.code == 0, done.output
    assert done.changed == 0


@pytest.mark.parametrize(
    ("statements", "query", "more", "words"),
    [
        (
            ["COMMENT ON DATABASE test_database IS 'mlflow environment: prod'"],
            "",
            {},
            ["[DATABASE_ENVIRONMENT] localhost: mlflow_database_uri: ", "belongs to the environment prod, not to dev"],
        ),
        (
            ["CREATE ROLE poor LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"],
            "user=poor",
            {},
            [
                "[DATABASE_PRIVILEGE] localhost: ",
                "poor may not create tables in the schema public",
                "GRANT USAGE, CREATE",
            ],
        ),
        (
            ["CREATE TABLE invoices (i int)"],
            "",
            {},
            ["[DATABASE_FOREIGN] localhost: ", "holds tables that are not MLflow's (invoices)"],
        ),
        (
            [],
            "",
            {"__mlflow_topology_plans": [PLAN, PLAN]},
            ["[DATABASE_POOL_BUDGET] localhost: ", "may open 186 connections, and PostgreSQL grants 97"],
        ),
        (
            [],
            "user=nobody_here",
            {},
            ["[DATABASE_ROLE] localhost: ", "nobody_here", "role 'nobody_here' does not exist"],
        ),
    ],
)
def test_a_database_that_will_not_do_is_refused_in_one_sentence(
    postgresql: Server,
    database: str,
    tmp_path: Path,
    statements: list[str],
    query: str,
    more: dict[str, object],
    words: list[str],
) -> None:
    for statement in statements:
        postgresql.execute(statement, database=database)
    uri = postgresql.uri(database)
    if query:
        uri = uri.replace("postgres@", "") + f"&{query}"
    try:
        done = look_at(tmp_path, uri, **more)
    finally:
        postgresql.execute("DROP ROLE IF EXISTS poor")
    assert done.code != 0
    (sentence,) = done.sentences
    assert all(word in sentence for word in words), sentence
    assert sentence.endswith("Nothing was changed.")
    assert done.changed == 0


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "mysql://u:tellnoone@h/d",
            "[DATABASE_URI] localhost: mlflow_database_uri: A database URI must begin with postgresql",
        ),
        ("postgresql://u:tell@noone@h/d", "holds @ (write %40) as it is"),
        (
            "postgresql://u:tellnoone@127.0.0.1:9/d",
            "[DATABASE_REFUSED] localhost: mlflow_database_uri: Nothing listens at 127.0.0.1:9.",
        ),
    ],
)
def test_a_uri_that_leads_nowhere_is_refused_without_its_password(tmp_path: Path, uri: str, words: str) -> None:
    done = look_at(tmp_path, uri)
    assert done.code != 0
    assert words in " ".join(done.sentences)
    assert "noone" not in done.output
