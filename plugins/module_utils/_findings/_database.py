# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a database."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "DATABASE_FOREIGN",
        CRITICAL,
        "A PostgreSQL or a database that is not ours is there",
        "The host or the name is in use. It is never trampled.",
        "Use another host or name, or set mlflow_database_adopt=true to use what is there.",
    ),
    Finding(
        "DATABASE_ENVIRONMENT",
        CRITICAL,
        "The database belongs to another environment",
        "Its comment names it; the inventory or the address is mixed up.",
        "Use the inventory of its environment, or another database host.",
    ),
    Finding(
        "DATABASE_NAME",
        CRITICAL,
        "A name or address may not stand in SQL or in pg_hba.conf",
        "Other characters than lower-case letters, digits and underscores, or a name used twice.",
        "Correct the name.",
    ),
    Finding(
        "DATABASE_CERTIFICATE",
        CRITICAL,
        "PostgreSQL has no certificate and is to serve other hosts",
        "The role mlflow_certificates did not run before.",
        "Apply the role mlflow_certificates first, or name files of your own.",
    ),
    Finding(
        "DATABASE_CONFIGURATION",
        CRITICAL,
        "PostgreSQL would not accept its access rules",
        "A line of mlflow_database_extra_hba or a setting is wrong.",
        "Correct it; PostgreSQL runs on with the rules it had.",
    ),
    Finding(
        "DATABASE_CHECKSUMS",
        CRITICAL,
        "The cluster has no data checksums",
        "It was made without them, and damage of its disk would go unnoticed.",
        "Stop it and run pg_checksums --enable, or set mlflow_database_accept_missing_checksums=true.",
    ),
    Finding(
        "DATABASE_LOGIN",
        CRITICAL,
        "The database that somebody else runs refuses the login",
        "Wrong URI, password, address or access rule.",
        "Correct the URI (reserved characters percent-encoded), or let the host in.",
    ),
)
