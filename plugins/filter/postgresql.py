# Copyright (c) the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters around module_utils/_postgresql."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils import _postgresql
from ansible_collections.mlops.mlflow.plugins.module_utils._database import own_indexes


def scram_verifier(password: Any, current: Any = "") -> str:
    """Return what PostgreSQL stores for a password: the present verifier if it fits, otherwise a new one."""
    try:
        return _postgresql.scram_verifier(str(password), str(current or ""), secrets.token_bytes)
    except ValueError as error:
        raise AnsibleFilterError(f"scram_verifier: {error}") from error


def postgresql_connection(uri: Any) -> dict[str, str]:
    """Parameters of libpq that a database URI stands for."""
    try:
        return _postgresql.connection_parameters(str(uri))
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_connection: {error}") from error


def hba_problems(lines: Sequence[Any]) -> list[dict[str, str]]:
    """Lines for pg_hba.conf that PostgreSQL would not read, each with the reason."""
    found = ((str(line), _postgresql.hba_problem(str(line))) for line in lines)
    return [{"line": line, "reason": reason} for line, reason in found if reason]


def database_indexes(latest_metrics: Any) -> list[dict[str, Any]]:
    """Indexes of the collection's own, each with its statement."""
    return [dict(index) for index in own_indexes(bool(latest_metrics))]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "scram_verifier": scram_verifier,
            "postgresql_connection": postgresql_connection,
            "hba_problems": hba_problems,
            "database_indexes": database_indexes,
        }
