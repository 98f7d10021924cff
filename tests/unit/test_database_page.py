"""docs/how-to/check-a-database.md: its playbook runs as it stands, against a real database."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

PAGE = (ROOT / "docs/how-to/check-a-database.md").read_text(encoding="utf-8")


def run_the_page(folder: Path, uri: str) -> Played:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    (folder / "check-database.yml").write_text(block)
    (folder / "database.json").write_text(json.dumps({"database_uri": uri}))
    assert "ansible-playbook check-database.yml -e @database.json" in PAGE
    return play(folder, folder / "check-database.yml", "-e", "@database.json")


def test_a_database_that_mlflow_can_live_in(tmp_path: Path, postgresql: Server, database: str) -> None:
    played = run_the_page(tmp_path, postgresql.uri(database))
    assert played.code == 0, played.output
    # The server of unit tests writes for speed and not for keeps, and the check says so.
    assert "warning DATABASE_DURABILITY: Acknowledged writes may be lost in a power cut" in played.output
    assert re.search(r"\d+ of 97 connections are open; an exchange takes [0-9.]+ ms", " ".join(played.output.split()))
    assert played.changed == 0


def test_a_database_that_is_not_there(tmp_path: Path, postgresql: Server) -> None:
    played = run_the_page(tmp_path, postgresql.uri("nowhere"))
    assert played.code == 2
    assert "critical DATABASE_MISSING: There is no database nowhere at" in played.output
