"""What was there before the adoption is there after it, through the edge, and PostgreSQL lets nobody else in."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.molecule.shared import checks

HERE = Path(__file__).parent
PAGE = (checks.REPOSITORY / "docs/how-to/adopt.md").read_text(encoding="utf-8")
ADOPTED = "/etc/ansible/facts.d/mlflow_adoption.fact"


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """What MLflow's client read from the old server."""
    text = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "before.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def adopted(host: Any) -> dict[str, Any]:
    """What the host says about its backups."""
    found: dict[str, Any] = json.loads(host.file(ADOPTED).content_string)
    return found


def test_the_how_to_has_the_variables_of_this_scenario() -> None:
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    used = yaml.safe_load((HERE.parent / "inventory/group_vars/mlflow/main.yml").read_text(encoding="utf-8"))
    assert yaml.safe_load(shown.group(1)).items() <= used.items()


def test_the_commands_of_the_how_to_move_local_artifacts(host: Any) -> None:
    """Before they are run, the experiment is one whose files the server does not hold; afterwards no place of the kind is left."""
    block = re.search(r"<!-- run: artifacts -->\n```bash\n(.*?)```", PAGE, re.DOTALL)
    assert block
    count = "SELECT count(*) FROM experiments WHERE artifact_location LIKE 'file://%'"
    assert checks.query(host, "mlflow", count) == ["1"]
    checks.run_with_input(host, ["bash", "-euo", "pipefail", "-"], block.group(1))
    assert checks.query(host, "mlflow", count) == ["0"]


def test_every_run_model_artifact_and_trace_is_there(client: Any, before: dict[str, Any]) -> None:
    """The same program as before, with the client of this release, through the public address."""
    assert len(before["runs"]) == 6, "the old installation held something"
    assert sum(len(run["artifacts"]) for run in before["runs"].values()) == 10
    done = client(str(HERE / "read.py"))
    assert done.returncode == 0, done.stderr[-2000:]
    after = json.loads(done.stdout)
    for kind, entries in before.items():
        if kind == "traces":
            assert [entry for entry in entries if entry not in after[kind]] == []
        else:
            assert {key: value for key, value in entries.items() if after[kind].get(key) != value} == {}, kind


def test_users_keep_their_ids_passwords_and_permissions(host: Any, edge: checks.Edge) -> None:
    rows = checks.query(host, "mlflow_auth", "SELECT id, username FROM users ORDER BY id")
    assert rows == ["1|admin", "2|ann"]
    login = {"Authorization": "Basic " + b64encode(b"ann:password-of-ann-1").decode()}
    asked = edge.ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=served", headers=login)
    assert asked.status == 200
    experiment = json.loads(asked.body)["experiment"]["experiment_id"]
    body = json.dumps({"experiment_id": experiment, "key": "seen", "value": "by ann"})
    tag = "/api/2.0/mlflow/experiments/set-experiment-tag"
    headers = {**login, "Content-Type": "application/json"}
    assert edge.ask("POST", tag, headers=headers, body=body).status == 200, "she manages it"
    other = json.dumps({"experiment_id": "0", "key": "seen", "value": "by ann"})
    assert edge.ask("POST", tag, headers=headers, body=other).status == 403, "and nothing else"
    old = {"Authorization": "Basic " + b64encode(b"admin:by-hand-1234").decode()}
    assert edge.ask("GET", "/", headers=old).status == 401, "the administrator has the password of the vault"


def test_the_backup_is_one_of_before(host: Any, adopted: dict[str, Any]) -> None:
    """It holds the older schema, can be restored, and only postgres can read it."""
    now = checks.query(host, "mlflow", "SELECT version_num FROM alembic_version")
    assert [adopted["mlflow"]["revision"]] != now, "a migration was part of it"
    folder = host.file("/var/backups/mlflow")
    assert (folder.user, folder.mode) == ("postgres", 0o700)
    host.run_test("runuser -u postgres -- dropdb --if-exists restored")
    assert host.run_expect([0], "runuser -u postgres -- createdb restored")
    try:
        dump = adopted["mlflow"]["backup"]
        host.run_expect([0], f"runuser -u postgres -- pg_restore --no-owner --dbname restored {dump}")
        revision = checks.query(host, "restored", "SELECT version_num FROM alembic_version")
        assert revision == [adopted["mlflow"]["revision"]]
        assert checks.query(host, "restored", "SELECT count(*) FROM runs") == ["6"]
    finally:
        host.run_expect([0], "runuser -u postgres -- dropdb restored")


def test_everything_has_our_owner_and_the_old_login_is_out(host: Any) -> None:
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S')"
    for database in ("mlflow", "mlflow_auth"):
        assert checks.query(host, database, owners) == ["mlflow_owner"]
        assert checks.query(
            host, database, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ) == ["mlflow_owner"]
    refused = checks.as_login(host, "mlflow", "by-hand-1234", "mlflow", "SELECT 1")
    assert refused.returncode != 0
    assert "rejects connection" in refused.stderr


def test_the_old_server_is_stopped_and_ours_is_ready(host: Any) -> None:
    assert not host.service("mlflow").is_running
    assert not host.service("mlflow").is_enabled
    checks.server_is_ready(host)
