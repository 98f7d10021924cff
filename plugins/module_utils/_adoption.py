# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Taking over an MLflow that somebody else installed: which servers run, and what a database means to this release.

`servers` and `problems` are pure; `running` reads /proc and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render
from ansible_collections.mlops.mlflow.plugins.module_utils._host import listening

# What this collection starts itself.
OURS = ("mlflow-server@", "mlflow-probe-")
# A database that holds MLflow's users but records no revision is one of before MLflow 3.6.
UNRECORDED = "unrecorded"


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    command: tuple[str, ...]
    unit: str  # the systemd unit or scope it belongs to; empty if none
    user: str
    ports: tuple[int, ...] = ()  # TCP ports it listens on


def serves(command: Sequence[str]) -> bool:
    """Whether a command line is that of an MLflow tracking server, its parent or one of its workers.

    `mlflow server`, `mlflow ui`, `python -m mlflow server`; uvicorn, gunicorn or waitress with an application of mlflow.server.
    """
    words = [Path(word).name if position < 2 else word for position, word in enumerate(command)]
    if any(word.startswith("mlflow.server") and ":" in word for word in words):
        return True
    return any(first == "mlflow" and second in ("server", "ui") for first, second in pairwise(words))


def unit_of(cgroup: str) -> str:
    """The unit or scope of a process, from the text of /proc/PID/cgroup."""
    for line in cgroup.splitlines():
        for name in reversed(line.rpartition(":")[2].split("/")):
            if name.endswith((".service", ".scope")):
                return name
    return ""


def servers(processes: Iterable[Process]) -> list[dict[str, Any]]:
    """MLflow servers that are not ours, one entry a unit; those started by hand one a process."""
    found: dict[str, dict[str, Any]] = {}
    for process in sorted(processes, key=lambda process: process.pid):
        if not serves(process.command) or process.unit.startswith(OURS):
            continue
        service = process.unit if process.unit.endswith(".service") and not process.unit.startswith("user@") else ""
        entry = found.setdefault(
            service or f"{process.unit or process.pid} {process.user}",
            {"unit": service, "pid": process.pid, "user": process.user, "ports": []},
        )
        entry["ports"] = sorted({*entry["ports"], *process.ports})
    return list(found.values())


def running() -> list[dict[str, Any]]:
    """MLflow servers on this host that are not ours. As root; what cannot be read is not there."""
    processes = []
    ports = listening()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = tuple(
                word.decode(errors="replace") for word in (folder / "cmdline").read_bytes().split(b"\0") if word
            )
            unit, user = unit_of((folder / "cgroup").read_text()), folder.owner()
        except (OSError, KeyError):
            continue
        pid = int(folder.name)
        processes.append(Process(pid, command, unit, user, tuple(ports.get(pid, ()))))
    return servers(processes)


def describe(server: Mapping[str, Any]) -> str:
    """A server in a few words, and how to stop it."""
    ports = ", ".join(str(port) for port in server["ports"])
    what = f"{server['unit'] or 'process ' + str(server['pid'])} (user {server['user']}{', port ' + ports if ports else ''})"
    how = (
        f"systemctl disable --now {server['unit']}"
        if server["unit"]
        else f"kill {server['pid']}, and whatever starts it"
    )
    return f"{what}: {how}"


def running_problem(found: Sequence[Mapping[str, Any]], host: str) -> str:
    """One sentence if servers run that are to be taken over, otherwise nothing."""
    if not found:
        return ""
    return render(
        "ADOPT_RUNNING",
        host=host,
        variable="mlflow_database_adopt",
        value=True,
        limit="MLflow still runs here: " + "; ".join(describe(server) for server in found),
        fix="Stop it so that it stays stopped, then run again",
    )


def _schema_problem(database: Mapping[str, Any], schema: Mapping[str, Any], mlflow: str) -> str:
    tables, revisions = set(database["tables"]), list(database["revisions"])
    this = f"MLflow {mlflow} (revision {schema['head']})"
    name = database["name"]
    if len(revisions) > 1:
        return f"{name} records {len(revisions)} revisions ({', '.join(sorted(revisions))}): a migration was cut off"
    if not revisions:
        if not tables or (schema["title"] == "auth" and "users" in tables):
            return ""
        return f"{name} holds tables but no revision of MLflow's {schema['title']} schema ({', '.join(sorted(tables)[:5])})"
    if revisions[0] not in schema["revisions"]:
        return f"{name} is at revision {revisions[0]}, which {this} does not know: it is of a newer MLflow, or of another program"
    missing = set(schema["tables"]) - tables if revisions[0] == schema["head"] else set()
    if missing:
        return f"{name} claims the revision of {this} but lacks tables ({', '.join(sorted(missing)[:5])})"
    return ""


def problems(
    databases: Sequence[Mapping[str, Any]], host: str, schemas: Mapping[str, Any], room_mb: int, directory: str
) -> list[str]:
    """What forbids to take over these databases, as sentences.

    Each database has `name`, `schema` (tracking or auth), `tables`, `revisions`, `sessions` (list of sentences), `bytes`.
    `schemas` is the release's schema.json; `room_mb` what is free where the backup will be.
    """
    found = []
    if sessions := [f"{database['name']}: {session}" for database in databases for session in database["sessions"]]:
        found.append(
            render(
                "ADOPT_IN_USE",
                host=host,
                limit=f"Connected to {'; '.join(sessions)}",
                fix="End these sessions, then run again",
            )
        )
    for database in databases:
        schema = schemas.get(database["schema"])
        problem = (
            _schema_problem(database, schema, str(schemas["mlflow"]))
            if schema
            else f"the release that would use {database['name']} is not known to this run, so nobody can tell whether it fits"
        )
        if problem:
            fix = (
                "Set mlflow_version to the version that made it, or choose other names"
                if schema
                else "Run site.yml without --tags"
            )
            found.append(render("ADOPT_SCHEMA", host=host, limit=problem, fix=fix))
    needed = sum(int(database["bytes"]) for database in databases) // 10**6
    if room_mb < needed:
        found.append(
            render(
                "ADOPT_ROOM",
                host=host,
                variable="mlflow_database_adopt_backup_directory",
                value=directory,
                limit=f"{needed} MB of databases, {room_mb} MB free",
            )
        )
    return found


def warnings(databases: Sequence[Mapping[str, Any]], host: str) -> list[str]:
    """What is not taken over with these databases, as sentences. Each has `outside`: experiments with artifacts of their own place."""
    found = []
    for database in databases:
        if outside := list(database["outside"]):
            found.append(
                render(
                    "ADOPT_ARTIFACTS",
                    host=host,
                    variable=str(database["name"]),
                    value="; ".join(outside),
                    limit="Clients use them directly",
                )
            )
        if database["schema"] == "tracking" and "alembic_version_auth" in database["tables"]:
            found.append(
                render("ADOPT_USERS", host=host, variable=str(database["name"]), value="users, roles and permissions")
            )
    return found


def records(databases: Sequence[Mapping[str, Any]], backup: str) -> list[dict[str, str]]:
    """What is remembered of each backup: the revision it holds (empty for an empty database) and its file."""
    found = []
    for database in databases:
        revisions = list(database["revisions"])
        revision = str(revisions[0]) if revisions else (UNRECORDED if database["tables"] else "")
        found.append(
            {"schema": str(database["schema"]), "revision": revision, "backup": f"{backup}.{database['name']}.dump"}
        )
    return found


def may_migrate(finding_id: str, revision: str, backed_up: str) -> bool:
    """Whether a finding only says that the schema is older, and a backup holds exactly this revision: then it may be migrated.

    `revision` is what the database records, empty if nothing; `backed_up` what `records` remembered of its backup.
    """
    return finding_id == "DATABASE_SCHEMA_OLDER" and backed_up == (revision or UNRECORDED)


def tables_held(listing: str) -> set[str]:
    """The tables whose rows a dump holds, from the text of `pg_restore --list`."""
    return set(re.findall(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+) \S+$", listing, re.MULTILINE))


def backup_problem(listing: str, host: str, file: str, tables: Iterable[str], error: str) -> str:
    """One sentence if a backup cannot be read to its end or lacks rows of a table; otherwise nothing.

    `listing` is the text of `pg_restore --list`, `error` what pg_restore said on its way through the file.
    """
    lacking = sorted(set(tables) - tables_held(listing))
    what = " ".join(error.split()) or (f"it lacks the rows of {', '.join(lacking[:5])}" if lacking else "")
    return render("ADOPT_BACKUP", host=host, variable="backup", value=file, limit=what) if what else ""
