"""Which servers are in the way of an adoption, and what a database means to a release."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._adoption import (
    Process,
    backup_problem,
    problems,
    records,
    running,
    running_problem,
    servers,
    serves,
    unit_of,
    warnings,
)

SCHEMAS: dict[str, Any] = {
    "mlflow": "3.17.2",
    "tracking": {
        "title": "tracking",
        "head": "new",
        "revisions": ["old", "new"],
        "tables": ["experiments", "spans"],
    },
    "auth": {"title": "auth", "head": "anew", "revisions": ["anew"], "tables": ["users"]},
}


def database(**changes: Any) -> dict[str, Any]:
    found = {
        "name": "mlflow",
        "schema": "tracking",
        "tables": ["alembic_version", "experiments"],
        "revisions": ["old"],
        "sessions": [],
        "outside": [],
        "bytes": 50_000_000,
    }
    return found | changes


def judge(*databases: dict[str, Any], room_mb: int = 1000, schemas: dict[str, Any] | None = None) -> list[str]:
    return problems(
        list(databases), "own-a", schemas=SCHEMAS if schemas is None else schemas, room_mb=room_mb, directory="/b"
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/srv/venv/bin/python /srv/venv/bin/mlflow server --port 5000", True),
        ("mlflow ui", True),
        ("python3 -m mlflow server", True),
        ("python -m uvicorn --workers 4 mlflow.server.fastapi_app:app", True),
        ("gunicorn -b 0.0.0.0:5000 mlflow.server:app", True),
        ("mlflow models serve -m models:/a/1", False),
        ("mlflow run .", False),
        ("vi mlflow server.txt", False),
        ("python train.py mlflow", False),
        ("", False),
    ],
)
def test_what_is_a_server(command: str, expected: bool) -> None:
    assert serves(command.split()) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/system.slice/mlflow.service\n", "mlflow.service"),
        ("0::/system.slice/system-mlflow\\x2dserver.slice/mlflow-server@a.service\n", "mlflow-server@a.service"),
        ("0::/user.slice/user-0.slice/session-4.scope\n", "session-4.scope"),
        ("0::/\n", ""),
    ],
)
def test_the_unit_of_a_process(text: str, expected: str) -> None:
    assert unit_of(text) == expected


def test_one_entry_a_unit_and_none_for_ours() -> None:
    command = ("mlflow", "server")
    worker = ("python", "-m", "uvicorn", "mlflow.server.fastapi_app:app")
    found = servers(
        [
            Process(12, worker, "mlflow.service", "ml", (5000,)),
            Process(11, command, "mlflow.service", "ml"),
            Process(20, command, "session-4.scope", "bob", (5005,)),
            Process(30, command, "mlflow-server@a.service", "mlflow", (5001,)),
            Process(40, ("sshd",), "ssh.service", "root", (22,)),
        ]
    )
    assert found == [
        {"unit": "mlflow.service", "pid": 11, "user": "ml", "ports": [5000]},
        {"unit": "", "pid": 20, "user": "bob", "ports": [5005]},
    ]
    sentence = running_problem(found, "own-a")
    assert sentence.startswith("[ADOPT_RUNNING] own-a: mlflow_database_adopt=True. MLflow still runs here: ")
    assert "mlflow.service (user ml, port 5000): systemctl disable --now mlflow.service" in sentence
    assert "process 20 (user bob, port 5005): kill 20" in sentence
    assert sentence.endswith("Nothing was changed.")
    assert running_problem([], "own-a") == ""


def test_this_machine_can_be_looked_at() -> None:
    assert all(set(server) == {"unit", "pid", "user", "ports"} for server in running())


@pytest.mark.parametrize(
    "fits",
    [
        database(),
        database(revisions=["new"], tables=["alembic_version", "experiments", "spans", "mine"]),
        database(revisions=[], tables=[]),
        database(schema="auth", revisions=[], tables=["users"]),
    ],
)
def test_older_same_and_empty_schemas_can_be_taken_over(fits: dict[str, Any]) -> None:
    assert judge(fits) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (database(revisions=["future"]), "is at revision future, which MLflow 3.17.2 (revision new) does not know"),
        (database(revisions=["new"]), "claims the revision of MLflow 3.17.2 (revision new) but lacks tables (spans)"),
        (database(revisions=["old", "new"]), "records 2 revisions"),
        (database(revisions=[], tables=["customers"]), "no revision of MLflow's tracking schema (customers)"),
    ],
)
def test_other_schemas_are_refused(wrong: dict[str, Any], words: str) -> None:
    (sentence,) = judge(wrong)
    assert sentence.startswith("[ADOPT_SCHEMA] own-a: ")
    assert words in sentence
    assert sentence.endswith("Nothing was changed.")


def test_without_a_release_nobody_can_tell() -> None:
    (sentence,) = judge(database(), schemas={})
    assert "Run site.yml without --tags" in sentence


def test_sessions_and_room_are_looked_at() -> None:
    used, full = judge(database(sessions=["mlflow from 10.0.0.7 (5 sessions)"]), room_mb=49)
    assert used.startswith("[ADOPT_IN_USE] own-a: ")
    assert "Connected to mlflow: mlflow from 10.0.0.7 (5 sessions)" in used
    assert full.startswith(
        "[ADOPT_ROOM] own-a: mlflow_database_adopt_backup_directory=/b. 50 MB of databases, 49 MB free"
    )


def test_what_is_not_taken_over_is_said() -> None:
    assert warnings([database()], "own-a") == []
    places, users = warnings(
        [database(outside=["3 local: /home/bob/mlruns/3"], tables=["experiments", "alembic_version_auth", "users"])],
        "own-a",
    )
    assert places.startswith("[ADOPT_ARTIFACTS] own-a: mlflow=3 local: /home/bob/mlruns/3.")
    assert users.startswith("[ADOPT_USERS] own-a: mlflow=")
    assert "Nothing was changed" not in places + users


def test_a_record_names_the_revision_of_the_backup() -> None:
    found = records(
        [
            database(),
            database(name="a", schema="auth", revisions=[], tables=["users"]),
            database(revisions=[], tables=[]),
        ],
        "/b/x",
    )
    assert found[0] == {"schema": "tracking", "revision": "old", "backup": "/b/x.mlflow.dump"}
    assert [record["revision"] for record in found[1:]] == ["unrecorded", ""]


LISTING = """;
; Archive created at 2026-11-24 14:00:00 UTC
215; 1259 16389 TABLE public experiments mlflow
3400; 0 16389 TABLE DATA public experiments mlflow
3401; 0 16390 TABLE DATA public runs mlflow
"""


def test_a_backup_holds_the_rows_of_every_table() -> None:
    assert backup_problem(LISTING, "own-a", "/b/x.dump", ["experiments", "runs"], "") == ""
    for listing, tables in ((LISTING, ["experiments", "spans"]), ("", ["spans"])):
        sentence = backup_problem(listing, "own-a", "/b/x.dump", tables, "")
        assert sentence.startswith("[ADOPT_BACKUP] own-a: backup=/b/x.dump. it lacks the rows of spans.")
