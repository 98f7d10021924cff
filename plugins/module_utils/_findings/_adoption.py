# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands in the way of taking over an MLflow that somebody else installed."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "ADOPT_RUNNING",
        CRITICAL,
        "The MLflow to be taken over still runs",
        "It would write to a database that changes its owner and its schema. It is never stopped by this collection.",
        "Stop and disable it, then run again.",
    ),
    Finding(
        "ADOPT_IN_USE",
        CRITICAL,
        "Somebody is connected to the database that is to be taken over",
        "A server, a notebook or a session of psql, on this host or another.",
        "End these sessions, then run again.",
    ),
    Finding(
        "ADOPT_SCHEMA",
        CRITICAL,
        "The schema of the database cannot be taken over by this release",
        "It is newer than the release, half-applied, or not MLflow's.",
        "Choose the mlflow_version that made it, or another database.",
    ),
    Finding(
        "ADOPT_ROOM",
        CRITICAL,
        "There is no room for the backup that comes before anything else",
        "The file system of the backup holds less than the databases.",
        "Make room, or set mlflow_database_adopt_backup_directory to a larger file system.",
    ),
    Finding(
        "ADOPT_BACKUP",
        CRITICAL,
        "The backup could not be read back",
        "pg_restore does not find every table with its rows in it.",
        "Look at the disk and at the file that is named; nothing of the database was touched.",
    ),
    Finding(
        "ADOPT_ARTIFACTS",
        WARNING,
        "Some experiments keep their artifacts where the server does not reach them",
        "They were made with a local path or a bucket of their own, which clients read and write themselves.",
        "Move the files and rewrite the places as docs/how-to/adopt.md shows, or leave both as they are.",
    ),
    Finding(
        "ADOPT_USERS",
        WARNING,
        "Users of the old installation are in the tracking database",
        "Its basic-auth had no database of its own.",
        "Copy the tables as docs/how-to/adopt.md shows, or create the users again.",
    ),
)
