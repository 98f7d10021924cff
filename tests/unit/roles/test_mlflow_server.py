"""The server's configuration: what systemd, MLflow and SQLAlchemy read is what was meant, whatever the characters."""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

ROLE = ROOT / "roles/mlflow_server"
# Every character that means something to a URI, an INI file, an environment file or a shell.
NASTY = [
    "p%41@:/[]",
    "a b'c\"d$e\\f#g",
    "`x`$(y)${z};&|",
    "%%s%(x)s=1",
    "ü€😀",
    "\\\\n\\t",
    "-",
    "://u:p@h/",
    "#start",
    " end ",
]


def systemd_reads(text: str) -> dict[str, str]:
    """An EnvironmentFile as systemd reads it: the states of parse_env_file_internal() in its src/basic/env-file.c."""
    values: dict[str, str] = {}
    state, key, value = "before key", "", ""
    kept = 0  # of an unquoted value, up to its last character that is not blank
    for character in f"{text}\n":
        if state == "before key":
            if character in "#;":
                state = "comment"
            elif not character.isspace():
                state, key, value, kept = "key", character, "", 0
        elif state == "key":
            if character == "\n":
                state = "before key"
            elif character == "=":
                state = "before value"
            else:
                key += character
        elif state == "before value":
            if character == "\n":
                state = "before key"
                values[key.strip()] = value
            elif character in "'\"":
                state = "single" if character == "'" else "double"
            elif character == "\\":
                state = "escape"
            elif not character.isspace():
                state, value = "value", value + character
                kept = len(value)
        elif state == "value":
            if character == "\n":
                values[key.strip()] = value[:kept]
                state = "before key"
            elif character == "\\":
                state = "escape"
                kept = len(value)
            else:
                value += character
                if not character.isspace():
                    kept = len(value)
        elif state == "escape":
            state = "value"
            if character != "\n":
                value += character
                kept = len(value)
        elif state == "single":
            if character == "'":
                state = "before value"
            else:
                value += character
        elif state == "double":
            if character == '"':
                state = "before value"
            elif character == "\\":
                state = "double escape"
            else:
                value += character
        elif state == "double escape":
            state = "double"
            if character in '"\\`$':
                value += character
            elif character != "\n":
                value += f"\\{character}"
        elif state == "comment" and character == "\n":
            state = "before key"
    return values


# ----- quoting


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_systemd_reads_back_any_value(value: str) -> None:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(ROLE / "templates"))
    template = environment.from_string("{% from '_quote.j2' import quote %}BEFORE=1\nX={{ quote(value) }}\nAFTER=2\n")
    assert systemd_reads(template.render(value=value)) == {"BEFORE": "1", "X": value, "AFTER": "2"}


# ----- what the role renders

INPUT: dict[str, Any] = {
    "mlflow_environment": "test",
    "mlflow_domain": "mlflow.example.com",
    "mlflow_admin_password": "of-the-administrator",
    "mlflow_flask_secret_key": "flask" + "".join(NASTY),
    "mlflow_crypto_kek_passphrase": "kek" + "".join(NASTY),
    "mlflow_database_migrator_password": "migrator" + "".join(NASTY),
    "mlflow_database_server_a_password": "server-a" + "".join(NASTY),
    "mlflow_database_server_b_password": "server-b" + "".join(NASTY),
    "ansible_facts": {
        "distribution": "Debian",
        "distribution_major_version": "13",
        "processor_vcpus": 2,
        "memtotal_mb": 4000,
    },
}
SOURCES = "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX"
RENDER = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  vars: {role_path: "ROLE"}
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_server, tasks_from: plan, public: true}
    - ansible.builtin.template: {src: "{{ item }}", dest: "{{ playbook_dir }}/{{ item }}", mode: "0600"}
      vars: {__mlflow_server_slot: b, __mlflow_server_certificate: {stat: {}}}
      loop: [server.env.j2, slot.env.j2, auth.ini.j2, sandbox.conf.j2, "mlflow-server@.service.j2", mlflow-drain.j2]
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/request.json"
        mode: "0600"
        content: "{{ __mlflow_server_migration_request | to_json }}"
"""


def render(folder: Path, **changes: Any) -> Played:
    """Let the role write its files into a folder."""
    (folder / "input.json").write_text(json.dumps({**INPUT, **changes}))
    for name in ("files", "templates"):  # where the role's own look-ups find them
        (folder / name).symlink_to(ROLE / name)
    playbook = folder / "render.yml"
    playbook.write_text(RENDER.replace("ROLE", str(ROLE)))
    return play(folder, playbook)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    done = render(folder)
    assert done.code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Edge, server and database on three hosts; artifacts in S3; more of what a site may set."""
    folder = tmp_path_factory.mktemp("apart")
    done = render(
        folder,
        __mlflow_topology={
            "address": "10.0.0.5",
            "database_address": "db.example.com",
            "database_is_local": False,
            "edges": ["10.0.0.9"],
            "edge_is_local": False,
        },
        mlflow_https_port=8443,
        mlflow_server_tmp_dir="/var/tmp/mlflow",
        mlflow_database_login_slot="b",
        mlflow_artifact_uri="s3://bucket/mlflow",
        mlflow_artifact_store_access_key_id="id",
        mlflow_artifact_store_secret_access_key="".join(NASTY),
        mlflow_artifact_store_endpoint_url="https://s3.example.com",
        mlflow_artifact_store_s3_expected_owner="123456789012",
        mlflow_server_https_proxy="http://proxy:3128",
        mlflow_server_extra_env={"MLFLOW_S3_UPLOAD_EXTRA_ARGS": '{"ServerSideEncryption": "aws:kms"}', "LANG": "C"},
        mlflow_workspaces=True,
    )
    assert done.code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def behind_a_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A login at an identity provider."""
    folder = tmp_path_factory.mktemp("gate")
    done = render(
        folder,
        mlflow_auth="oidc",
        mlflow_oidc_issuer="https://login.example.com",
        mlflow_oidc_client_id="mlflow",
        mlflow_oidc_user_groups=["".join(NASTY).strip()],
        mlflow_oidc_admin_groups=["admins"],
        mlflow_oidc_group_roles={"größe": ["readers"]},
        mlflow_oidc_password_accounts=["nightly"],
        mlflow_identity_key="identity" + "".join(NASTY),
        mlflow_server_job_execution=True,
    )
    assert done.code == 0, done.output
    return folder


def environment_of(folder: Path, name: str = "server.env.j2") -> dict[str, str]:
    return systemd_reads((folder / name).read_text())


def test_secrets_arrive_as_they_are(rendered: Path) -> None:
    environment = environment_of(rendered)
    assert environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] == INPUT["mlflow_flask_secret_key"]
    assert environment["MLFLOW_CRYPTO_KEK_PASSPHRASE"] == INPUT["mlflow_crypto_kek_passphrase"]


def test_passwords_survive_uris_ini_files_and_environment_files(rendered: Path) -> None:
    parser = configparser.ConfigParser()  # as MLflow reads it
    parser.read(rendered / "auth.ini.j2")
    request = json.loads((rendered / "request.json").read_text())
    for uri, user, password, database in [
        (environment_of(rendered)["MLFLOW_BACKEND_STORE_URI"], "mlflow_server_a", "server_a", "mlflow"),
        (parser["mlflow"]["database_uri"], "mlflow_server_a", "server_a", "mlflow_auth"),
        (request["tracking_uri"], "mlflow_migrator", "migrator", "mlflow"),
        (request["auth_uri"], "mlflow_migrator", "migrator", "mlflow_auth"),
    ]:
        url = make_url(uri)
        assert (url.drivername, url.username, url.database) == ("postgresql+psycopg2", user, database)
        assert url.password == INPUT[f"mlflow_database_{password}_password"]
        assert (url.host, dict(url.query)) == (None, {"host": "/run/postgresql", "port": "5432"})


def test_behind_a_gate_the_server_knows_who_is_who(behind_a_gate: Path) -> None:
    environment = environment_of(behind_a_gate)
    key = INPUT["mlflow_flask_secret_key"].replace("flask", "identity", 1)
    assert environment["MLOPS_IDENTITY_KEY"] == key
    assert environment["MLOPS_IDENTITY_ACCOUNTS_KEY"] == hashlib.sha256(f"accounts {key}".encode()).hexdigest()
    assert json.loads(environment["MLOPS_IDENTITY"]) == {
        "accounts": ["nightly"],
        "reserved": ["admin", "nightly"],
        "admin_groups": ["admins"],
        "group_roles": {"größe": ["readers"]},
        "separator": "\t",
        "seconds": 30,
    }
    assert environment["_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN"]
    parser = configparser.ConfigParser()
    parser.read(behind_a_gate / "auth.ini.j2")
    assert parser["mlflow"]["authorization_function"] == "mlops_mlflow_hooks.identity:authenticate"
    unit = (behind_a_gate / "mlflow-server@.service.j2").read_text()
    assert "mlflow server --app-name mlops-oidc\n" in unit
    assert "LoadCredential=auth.ini:" in unit
    assert json.loads((behind_a_gate / "request.json").read_text())["admin"]["username"] == "admin"


def test_without_a_gate_nothing_is_said_about_it(rendered: Path) -> None:
    assert not [name for name in environment_of(rendered) if name.startswith("MLOPS_IDENTITY")]
    parser = configparser.ConfigParser()
    parser.read(rendered / "auth.ini.j2")
    assert parser["mlflow"]["authorization_function"] == "mlflow.server.auth:authenticate_request_basic_auth"


def test_workspaces_are_as_they_were_chosen(rendered: Path, apart: Path) -> None:
    names = ("MLFLOW_ENABLE_WORKSPACES", "MLFLOW_RBAC_SEED_DEFAULT_ROLES", SOURCES)
    assert not [name for name in environment_of(rendered) if name in names]
    environment = environment_of(apart)
    assert [environment[name] for name in names[:2]] == ["true", "false"]


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("runs:/0123/model", True),
        ("models:/m-0123", True),
        ("mlflow-artifacts:/workspaces/fraud/1/models/m-0123/artifacts", True),
        ("dummy-source", True),  # of a prompt
        ("s3://bucket/mlflow/workspaces/fraud/1/models/m-0123/artifacts", False),
        (" s3://bucket/mlflow/workspaces/fraud", False),
        ("\ns3://bucket/mlflow/workspaces/fraud", False),
        ("S3://bucket/mlflow", False),
        ("runs:/0123\ns3://bucket/mlflow", False),
        ("https://elsewhere.example.com/model", False),
    ],
)
def test_with_workspaces_no_model_comes_from_an_address_in_the_bucket(apart: Path, source: str, taken: bool) -> None:
    """As MLflow compares it (mlflow.server.handlers:_create_model_version)."""
    assert bool(re.search(environment_of(apart)[SOURCES], source)) is taken


def test_a_remote_database_is_checked_against_its_certificate(apart: Path) -> None:
    url = make_url(environment_of(apart)["MLFLOW_BACKEND_STORE_URI"])
    assert (url.username, url.password) == ("mlflow_server_b", INPUT["mlflow_database_server_b_password"])
    assert (url.host, url.port) == ("db.example.com", 5432)
    assert dict(url.query) == {"sslmode": "verify-full", "sslrootcert": "/etc/mlflow/tls/ca.pem"}


def test_the_login_that_may_create_tables_is_in_no_file(rendered: Path) -> None:
    for path in rendered.glob("*.j2"):
        assert "mlflow_migrator" not in path.read_text(), path.name


def test_pools_are_one_connection_larger_than_the_threads(rendered: Path) -> None:
    environment = environment_of(rendered)
    assert environment["MLOPS_SERVER_THREADS"] == environment["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] == "4"
    assert environment["MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"] == "1"


def test_on_one_host_the_server_listens_on_loopback_without_tls(rendered: Path) -> None:
    environment = environment_of(rendered)
    assert environment["MLFLOW_HOST"] == "127.0.0.1"
    assert "--ssl" not in environment["MLFLOW_UVICORN_OPTS"]
    assert "--forwarded-allow-ips 127.0.0.1,::1" in environment["MLFLOW_UVICORN_OPTS"]


def test_apart_from_its_edge_the_server_demands_a_certificate(apart: Path) -> None:
    environment = environment_of(apart)
    assert environment["MLFLOW_HOST"] == "10.0.0.5"
    assert "--ssl-cert-reqs 2" in environment["MLFLOW_UVICORN_OPTS"]
    assert "--forwarded-allow-ips 127.0.0.1,::1,10.0.0.9" in environment["MLFLOW_UVICORN_OPTS"]
    assert environment["MLOPS_TLS_NAME"] == "mlflow-server"


@pytest.mark.parametrize(
    "option", ["--loop uvloop", "--http httptools", "--no-access-log", "--timeout-graceful-shutdown 900"]
)
def test_options_of_uvicorn(rendered: Path, option: str) -> None:
    assert option in environment_of(rendered)["MLFLOW_UVICORN_OPTS"]


def test_the_public_address_may_ask_and_write(rendered: Path, apart: Path) -> None:
    assert environment_of(rendered)["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com"
    environment = environment_of(apart)
    assert environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com:8443"
    assert {"mlflow.example.com", "mlflow.example.com:8443"} < set(
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    )


def test_what_is_off_unless_asked_for(rendered: Path) -> None:
    environment = environment_of(rendered)
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert not [name for name in environment if "proxy" in name.lower() or name.startswith("AWS_")]
    # A directory has one way for artifacts, and nothing is said of it.
    assert not [name for name in environment if "TRANSFER" in name or "ARTIFACT_ROOT" in name]


def test_s3_proxies_and_a_users_own_variables(apart: Path) -> None:
    environment = environment_of(apart)
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://bucket/mlflow"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "".join(NASTY)
    assert environment["MLFLOW_S3_ENDPOINT_URL"] == "https://s3.example.com"
    assert environment["https_proxy"] == environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment["MLFLOW_S3_UPLOAD_EXTRA_ARGS"] == '{"ServerSideEncryption": "aws:kms"}'
    assert environment["LANG"] == "C", "what a user sets wins"


def test_a_slot_knows_its_port_and_its_units(rendered: Path) -> None:
    server, slot = environment_of(rendered), environment_of(rendered, "slot.env.j2")
    assert {**server, **slot} == slot
    assert slot["MLFLOW_PORT"] == "5002"
    assert re.fullmatch("[0-9a-f]{64}", slot["MLOPS_UNIT_DIGEST"])


def test_nobody_may_do_anything_unless_granted(rendered: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read(rendered / "auth.ini.j2")
    assert parser["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert "admin_password" not in parser["mlflow"]


def test_the_sandbox_opens_only_what_is_written(rendered: Path, apart: Path) -> None:
    paths = re.compile(r"^ReadWritePaths=(.*)$", re.M)
    assert paths.findall((rendered / "sandbox.conf.j2").read_text()) == ["/var/lib/mlflow/tmp", "/srv/mlflow/artifacts"]
    # The unit's own /var/tmp would hide it, and systemd would not start the unit.
    assert paths.findall((apart / "sandbox.conf.j2").read_text()) == []
    assert "\nBindPaths=/var/tmp/mlflow\n" in (apart / "sandbox.conf.j2").read_text()


def test_a_slot_is_stopped_later_than_its_longest_request(rendered: Path) -> None:
    unit = (rendered / "mlflow-server@.service.j2").read_text()
    assert "TimeoutStopSec=930" in unit
    assert re.search(r"^ExecStop=\+/usr/local/sbin/mlflow-drain on %i$", unit, re.M)


# ----- the release


def test_every_file_of_the_hooks_goes_into_the_release() -> None:
    named = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__mlflow_server_hooks"]
    hooks = ROLE / "files/hooks"
    present = {str(path.relative_to(ROLE / "files")) for path in [hooks / "pyproject.toml", *hooks.rglob("*.py")]}
    assert set(named) == present


LOCKS = sorted((ROLE / "files/locks").glob("mlflow-*.txt"))


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", lock.read_text(), re.M))


def test_both_versions_are_locked_for_both_debians() -> None:
    assert [lock.name for lock in LOCKS] == [
        f"mlflow-{version}-py{python}.txt" for version in ("3.16.1", "3.17.2") for python in ("3.11", "3.13")
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_what_a_server_needs_with_hashes(lock: Path) -> None:
    pinned = pins(lock)
    assert pinned["mlflow"] == lock.name.split("-")[1]
    needed = "psycopg2-binary boto3 google-cloud-storage azure-storage-blob azure-storage-file-datalake azure-identity"
    assert set(f"{needed} flask-wtf uvloop httptools psutil".split()) <= set(pinned)
    assert "psycopg" not in pinned, "one driver only"
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"\S+==\S+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines)
    assert "://" not in lock.read_text()


def test_uv_is_locked_in_one_line() -> None:
    assert re.fullmatch(r"uv==[0-9.]+( --hash=sha256:[0-9a-f]{64})+\n", (ROLE / "files/locks/uv.txt").read_text())


# ----- refusals

REFUSE = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_server, tasks_from: release, apply: {check_mode: true}}
"""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mlflow_version": "3.14.0"}, ["[SERVER_LOCK]", "mlflow_version=3.14.0", "lock.sh"]),
        ({"mlflow_server_listen_address": "0.0.0.0", "mlflow_server_tls": False}, ["[SERVER_PLAIN]", "0.0.0.0"]),
        ({"mlflow_auth": "none"}, ["[AUTH_NONE]"]),
        (
            {
                "mlflow_auth": "none",
                "mlflow_server_listen_address": "10.0.0.5",
                "mlflow_edge_listen_addresses": ["127.0.0.1"],
            },
            ["[AUTH_NONE]", "mlflow_server_listen_address=10.0.0.5"],
        ),
        ({"mlflow_database_uri": "postgresql://u:s3cret@h/d"}, ["[SERVER_AUTH_DATABASE]", "mlflow_database_auth_uri"]),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    (tmp_path / "input.json").write_text(json.dumps({**INPUT, **changes}))
    playbook = tmp_path / "refuse.yml"
    playbook.write_text(REFUSE)
    done = play(tmp_path, playbook)
    assert done.code != 0
    said = " ".join(done.output.split())
    assert all(word in said for word in words), done.output
    assert "Nothing was changed." in said
    assert "s3cret" not in said
    assert done.changed == 0


# ----- what the release finds in its databases

LOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [input.json]
  vars: {role_path: "ROLE"}
  environment: {PATH: "{{ playbook_dir }}:{{ lookup('ansible.builtin.env', 'PATH') }}", PYTHONPATH: "{{ playbook_dir }}"}
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_server, tasks_from: plan, public: true}
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_server, tasks_from: databases}
"""
# Stands in for systemd's command, whose sandbox a unit test has not: what comes behind the options is run.
SYSTEMD_RUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
SCRIPT = 'revision = "{revision}"\ndown_revision = {down}\n'
SCHEMA = "CREATE TABLE experiments (experiment_id serial PRIMARY KEY); CREATE TABLE alembic_version (version_num varchar(32));"


def look_at_databases(folder: Path, uri: str, **changes: Any) -> Played:
    """Let a release of two revisions look at what it would migrate."""
    for place in ("store/db_migrations", "server/auth/db/migrations"):
        scripts = folder / "mlflow" / place / "versions"
        scripts.mkdir(parents=True)
        (scripts / "one.py").write_text(SCRIPT.format(revision="one", down=None))
        (scripts / "two.py").write_text(SCRIPT.format(revision="two", down='"one"'))
    (folder / "mlflow/version.py").write_text('VERSION = "3.99.0"\n')
    python = folder / "release/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "systemd-run").write_text(SYSTEMD_RUN)
    (folder / "systemd-run").chmod(0o755)
    external = {"mlflow_database_uri": uri, "mlflow_database_auth_uri": uri}
    (folder / "input.json").write_text(json.dumps({**INPUT, **external, **changes}))
    (folder / "files").symlink_to(ROLE / "files")
    (folder / "templates").symlink_to(ROLE / "templates")
    playbook = folder / "look.yml"
    playbook.write_text(LOOK.replace("ROLE", str(ROLE)))
    return play(folder, playbook, "-e", f"__mlflow_server_release_dir={folder}/release")


def test_an_empty_database_may_be_migrated(postgresql: Server, database: str, tmp_path: Path) -> None:
    done = look_at_databases(tmp_path, postgresql.uri(database))
    assert done.code == 0, done.output
    assert done.changed == 0


@pytest.mark.parametrize(
    ("revision", "changes", "sentence"),
    [
        (
            "three",
            {},
            "SCHEMA_NEWER] The tracking schema in test_database is newer than the release: it is at revision three, and",
        ),
        (
            "one",
            {},
            "SCHEMA_OLDER] The tracking schema in test_database is older than the release: it is at revision one, and",
        ),
        (
            "two",
            {"mlflow_server_workers": 9},
            "POOL_BUDGET] The servers may open 182 connections, and PostgreSQL grants 97 (",
        ),
    ],
)
def test_a_database_that_this_release_cannot_work_with_is_refused(
    postgresql: Server, database: str, tmp_path: Path, revision: str, changes: dict[str, Any], sentence: str
) -> None:
    postgresql.execute(f"{SCHEMA} INSERT INTO alembic_version VALUES ('{revision}')", database=database)
    changes = {"mlflow_auth": "none", "mlflow_edge_listen_addresses": ["127.0.0.1"], **changes}
    done = look_at_databases(tmp_path, postgresql.uri(database), **changes)
    assert done.code != 0
    (said,) = done.sentences
    finding, summary = sentence.split("] ")
    assert said.startswith(f"[DATABASE_{finding}] localhost: mlflow_database_uri: {summary}")
    assert ("MLflow 3.99.0 works with two." in said) == ("SCHEMA" in finding)
    assert said.endswith("No slot was switched: what served goes on serving.")
    assert done.changed == 0
