# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a server."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "SERVER_LOCK",
        CRITICAL,
        "This MLflow is not locked for this host's Python",
        "The collection holds locks for some releases only.",
        "Set mlflow_version to a locked release, or lock another one and set mlflow_server_lock_file.",
    ),
    Finding(
        "SERVER_PLAIN",
        CRITICAL,
        "Passwords would cross the network in clear",
        "The server listens on a public address without TLS.",
        "Set mlflow_server_tls=true.",
    ),
    Finding(
        "SERVER_AUTH_DATABASE",
        CRITICAL,
        "The users have no database",
        "An external database was given for runs, none for users and permissions.",
        "Set mlflow_database_auth_uri.",
    ),
    Finding(
        "SERVER_POOL",
        CRITICAL,
        "The connection pools are smaller than what the server does at a time",
        "A log-batch request holds one connection and opens a second one: T threads with T connections wait for each other for ever.",
        "Leave pools to the role; mlflow_server_threads and mlflow_server_workers say how much is done at a time.",
    ),
    Finding(
        "SERVER_CONNECTIONS",
        CRITICAL,
        "The servers would open more connections than PostgreSQL grants",
        "The pools of all workers of all servers, and once more for the slot that is being switched, do not fit into max_connections.",
        "Use fewer workers or threads, or leave out the variable that sets the number of connections: the default is what they need.",
    ),
    Finding(
        "VERSION_CHANGE",
        CRITICAL,
        "The version of a running installation would change in passing",
        "New code may migrate the schema, and that needs a backup first.",
        "Use the playbook mlops.mlflow.upgrade, or set mlflow_version back.",
    ),
    Finding(
        "SERVER_ARTIFACTS",
        CRITICAL,
        "Artifacts that were logged would be left behind",
        "Runs remember their artifacts below the server's place for them, and that place would be another one.",
        "Copy everything to the new place and set mlflow_server_artifact_uri_before to the old one, or set mlflow_artifact_uri back.",
    ),
    Finding(
        "SERVER_MIGRATION",
        CRITICAL,
        "The schema could not be brought to the release",
        "The database holds a newer schema, or a lock or right is missing.",
        "Read the message; the server was not switched.",
    ),
    Finding(
        "SERVER_NOT_READY",
        CRITICAL,
        "The server does not become ready",
        "Its configuration, its databases or its artifact store; the message holds its own last words.",
        "Correct what the message names and run the playbook again. What served before goes on serving.",
    ),
)
