"""Passwords may hold every character that can be typed: they are changed on a running installation, and people log in with them."""

from __future__ import annotations

import json
import string
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks

# All of ASCII that prints, blank and quotes included, and letters beyond it where they may be. No two braces in a row: Ansible would read
# a template.
RESERVED, BEYOND = f" {string.punctuation} ", "ü€"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def changed(once: Any) -> dict[str, str]:
    """The passwords, each another; made once, before the power cut."""
    once("passwords")
    logins = ("database_migrator", "database_server_a", "database_server_b")
    databases = {f"mlflow_{name}_password": f"{number}{RESERVED}{BEYOND}{name}" for number, name in enumerate(logins)}
    # MLflow reads those of people as ASCII on some of its routes (SECRET_CHARACTERS).
    return {**databases, "mlflow_admin_password": f"3{RESERVED}admin"}


def test_every_character_works_in_a_password(
    host: Any, edge: checks.Edge, playbook: Any, secrets: dict[str, str], changed: dict[str, str], tmp_path: Path
) -> None:
    """Administrator and database logins, in files of settings, URIs and headers; then the old ones again."""
    given = tmp_path / "passwords.json"
    given.write_text(json.dumps(changed), encoding="utf-8")
    slot = checks.live_slots(host)[0]

    def converged(done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stdout[-3000:]
        assert "failed=0" in done.stdout
        assert checks.ready_status(host, checks.live_slots(host)[0]) == 200

    try:
        converged(playbook("site", "--tags", "database,server", "-e", f"@{given}"))
        assert checks.live_slots(host) != [slot], "the server that knows the new passwords took over"
        other = replace(edge, password=changed["mlflow_admin_password"])
        assert other.ask("GET", SEARCH, login=True).status == 200
        for role in ("migrator", "server_a", "server_b"):
            password = changed[f"mlflow_database_{role}_password"]
            answer = checks.as_login(host, f"mlflow_{role}", password, "mlflow", "SELECT 1")
            assert (answer.returncode, answer.stdout.strip()) == (0, "1"), f"{role}: {answer.stderr}"
    finally:
        converged(playbook("site", "--tags", "database,server"))
    assert edge.ask("GET", SEARCH, login=True).status == 200
    for role in ("migrator", "server_a", "server_b"):
        answer = checks.as_login(
            host, f"mlflow_{role}", secrets[f"mlflow_database_{role}_password"], "mlflow", "SELECT 1"
        )
        assert answer.returncode == 0, f"{role}: {answer.stderr}"
