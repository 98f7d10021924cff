# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a directory for artifacts, its mount, and those who share it. Whether it can be used at all: see _artifacts.py."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, INFO, WARNING, Finding

REGISTERED = (
    Finding(
        "DIRECTORY_OWNER",
        WARNING,
        "The directory belongs to another user than MLflow's",
        "It was made by hand, came from another installation, or the user got another number.",
        "Give it to MLflow's user (chown -R), or name its owner in mlflow_user.",
    ),
    Finding(
        "DIRECTORY_OPEN",
        WARNING,
        "Every user of the host can look into the directory",
        "Its mode gives rights to others than owner and group: they read artifacts past MLflow's permissions.",
        "Take them away (chmod o-rwx); mlops.mlflow.site makes it 0750.",
    ),
    Finding(
        "DIRECTORY_VOLATILE",
        WARNING,
        "The directory does not outlive a restart of the host",
        "It lies in a file system that is kept in memory.",
        "Choose a directory on a disk or a network share in mlflow_artifact_uri.",
    ),
    Finding(
        "DIRECTORY_MOUNT_SOFT",
        WARNING,
        "The mount gives up while its server is slow",
        "With soft or softerr a write that takes too long ends as an error in the middle of an artifact.",
        "Mount it with the option hard.",
    ),
    Finding(
        "DIRECTORY_MOUNT_STALE",
        WARNING,
        "The mount may show old content of a file",
        "With nocto a host does not ask the server again when it opens a file that another host has written.",
        "Mount it without the option nocto.",
    ),
    Finding(
        "DIRECTORY_MOUNT_SLOW",
        INFO,
        "The mount asks its server about every file each time",
        "With noac nothing about files is remembered and every write waits. MLflow does not need that.",
        "Mount it without the option noac.",
    ),
    Finding(
        "DIRECTORY_NOT_SHARED",
        CRITICAL,
        "Servers do not share the directory",
        "What one server writes another does not find there: it is a directory of each host, or another export is mounted.",
        "Mount the same network directory there on every server, or set mlflow_artifact_uri to a bucket.",
    ),
    Finding(
        "DIRECTORY_UID",
        CRITICAL,
        "MLflow's user has another number on another server",
        "A shared directory knows users by their numbers: what one server writes the other may neither read nor change.",
        "Set mlflow_uid and mlflow_gid to the same numbers for all servers, and change what exists as docs/how-to/share-a-directory.md shows.",
    ),
)
