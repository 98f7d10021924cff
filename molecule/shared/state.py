"""Prints, as JSON, the state of a host that a second converge must leave as it is.

Runs on the host with its own Python: managed files with checksum and modification time, since when units run, what the
databases hold. Reads only. The converge playbook records it before and after (record.yml), test_idempotence.py compares.

Arguments: the directories of configuration and of releases.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

CONFIG, INSTALL = sys.argv[1:]
PLACES = [
    CONFIG,
    "/etc/nginx",
    "/etc/postgresql",
    "/etc/postgresql-common",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/etc/logrotate.d",
    "/etc/ansible/facts.d",
    "/etc/apt",
    "/etc/ssl",
    "/etc/passwd",
    "/etc/group",
    "/usr/local",
    f"{INSTALL}/current",
    f"{INSTALL}/tools",
]
# Jobs write these by themselves, whenever their timers come.
OF_JOBS = {"/etc/ansible/facts.d/mlflow_backup.fact"}
CATALOGUES = [
    "pg_authid",
    "pg_auth_members",
    "pg_class",
    "pg_attribute",
    "pg_index",
    "pg_constraint",
    "pg_default_acl",
    "pg_db_role_setting",
    "pg_description",
    "pg_shdescription",
    "pg_extension",
    "pg_namespace",
    "pg_proc",
    "pg_sequence",
]
# Rights and passwords are columns: a row count does not see them, a digest does.
DIGESTS = {
    "passwords": "SELECT md5(coalesce(string_agg(rolname || coalesce(rolpassword, ''), ',' ORDER BY rolname), '')) FROM pg_authid",
    "rights": "SELECT md5(coalesce(string_agg(relname || coalesce(relacl::text, '') || relowner, ',' ORDER BY oid), '')) FROM pg_class",
    "settings": "SELECT md5(string_agg(name || '=' || setting, ',' ORDER BY name)) FROM pg_settings WHERE source NOT IN ('client', 'session')",
}
ROWS = """
SELECT table_schema || '.' || table_name, (xpath('/row/c/text()',
  query_to_xml(format('SELECT count(*) AS c FROM %I.%I', table_schema, table_name), false, true, '')))[1]::text
FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
"""
SEPARATOR = "\x1f"


def files() -> dict[str, str]:
    """Checksum, mode and time of every managed file; where a link points to."""
    found = {}
    for place in PLACES:
        root = Path(place)
        for path in [root, *sorted(root.rglob("*"))] if root.is_dir() and not root.is_symlink() else [root]:
            # Byte code is written by whoever imports first.
            if "__pycache__" in path.parts or str(path) in OF_JOBS or not os.path.lexists(path):
                continue
            status = path.lstat()
            if path.is_symlink():
                said = f"-> {path.readlink()}"
            elif path.is_file():
                said = f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]} {status.st_mtime_ns}"
            else:
                said = "folder"
            found[str(path)] = f"{said} {status.st_mode:o} {status.st_uid}:{status.st_gid}"
    return found


def output(*command: str) -> str:
    """What a command prints; nothing if it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/").stdout
    except OSError:
        return ""


def units() -> dict[str, str]:
    """Each start of a unit has an id of its own."""
    patterns = ("mlflow-server@*.service", "mlflow-*.timer", "nginx.service", "postgresql@*.service")
    found = {}
    for block in output("systemctl", "show", "--property=Id,InvocationID,ActiveState,MainPID", *patterns).split("\n\n"):
        known = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if known.get("ActiveState") == "active":
            # A timer has no process.
            found[known["Id"]] = f"{known['InvocationID']} {known.get('MainPID', '')}".strip()
    return found


def query(database: str, text: str) -> list[list[str]]:
    """Rows of a query as PostgreSQL's administrator."""
    command = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-F", SEPARATOR, "-d", database, "-c", text]
    return [line.split(SEPARATOR) for line in output(*command).splitlines() if line]


def databases() -> dict[str, dict[str, str]]:
    """Rows of every table and catalogue, and digests of rights and passwords."""
    found = {}
    names = [row[0] for row in query("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")]
    for name in names:
        rows = {row[0]: row[1] for row in query(name, ROWS)}
        for catalogue in CATALOGUES:
            rows[f"pg_catalog.{catalogue}"] = query(name, f"SELECT count(*) FROM {catalogue}")[0][0]
        for what, text in DIGESTS.items():
            rows[what] = query(name, text)[0][0]
        found[name] = rows
    return found


print(json.dumps({"files": files(), "units": units(), "databases": databases()}))
