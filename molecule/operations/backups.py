"""What several tests ask about the backups of this scenario."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.mlops.mlflow.molecule.shared import checks

RESULTS = "/var/lib/mlflow-backup/results"
PROGRAM = "/usr/bin/python3 -B /usr/local/lib/mlflow-backup/mlflow_backup.py --config /etc/mlflow/backup/backup.json"


def result(host: Any, job: str) -> dict[str, Any]:
    """The last result of a job; nothing if it has none yet."""
    said = host.run(f"cat {RESULTS}/{job}.json")
    return dict(json.loads(said.stdout)) if said.rc == 0 else {}


def look(host: Any) -> dict[str, Any]:
    """All that the program sees of the backups of a host."""
    return dict(json.loads(host.check_output(f"{PROGRAM} look")))


def problems(host: Any) -> set[str]:
    """The ids of what is wrong with the backups of a host, now."""
    return {one["id"] for one in look(host)["problems"]}


def waiting(host: Any) -> int:
    """Segments of WAL that wait for the archive."""
    (count,) = checks.query(
        host, "postgres", "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    )
    return int(count)


def archived(host: Any) -> int:
    """How many segments were archived since the statistics began."""
    return int(checks.query(host, "postgres", "SELECT archived_count FROM pg_stat_archiver")[0])


def switch(host: Any) -> None:
    """Begin a new segment of WAL, so that the one of now goes to the archive."""
    checks.query(host, "postgres", "SELECT pg_create_restore_point('of-a-test')")
    checks.query(host, "postgres", "SELECT pg_switch_wal()")
