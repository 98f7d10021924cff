# Copyright (c) the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters around module_utils/_sizing: what templates hand over becomes numbers, what is wrong a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils import _sizing
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render


def _int(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"{name} must be a whole number, not {value!r}") from None


def postgresql_settings(memory_mb: Any, cpus: Any, connections: Any, disk: str = "ssd") -> dict[str, Any]:
    """Settings of a PostgreSQL that holds MLflow."""
    try:
        return _sizing.postgresql_settings(
            _int("memory_mb", memory_mb), _int("cpus", cpus), _int("connections", connections), str(disk)
        )
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"postgresql_settings: {error}") from error


def server_plan(
    cpus: Any,
    memory_mb: Any,
    stores: Any = 2,
    threads: Any = 4,
    slots: Any = 2,
    workers: Any = 0,
    environment: Any = None,
) -> dict[str, Any]:
    """Workers, threads and pools of one node."""
    try:
        return dict(
            _sizing.server_plan(
                _int("cpus", cpus),
                _int("memory_mb", memory_mb),
                stores=_int("stores", stores),
                threads=_int("threads", threads),
                slots=_int("slots", slots),
                workers=_int("workers", workers),
                environment=dict(environment or {}),
            )
        )
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"server_plan: {error}") from error


def connection_budget(nodes: Any, reserve: Any = _sizing.DEFAULT_RESERVE) -> int:
    """Connections that PostgreSQL must grant to all nodes, with a reserve."""
    if isinstance(nodes, (str, Mapping)) or not isinstance(nodes, Sequence):
        raise AnsibleFilterError(f"connection_budget: a list of plans or numbers is needed, not {nodes!r}")
    try:
        return _sizing.connection_budget(
            [node if isinstance(node, Mapping) else _int("connections of a node", node) for node in nodes],
            _int("reserve", reserve),
        )
    except KeyError as error:
        raise AnsibleFilterError(f"connection_budget: a plan without {error} was not made by server_plan") from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"connection_budget: {error}") from error


def _sentences(
    finding_id: str, prefix: str, misfits: Sequence[_sizing.Misfit], numbers: Mapping[str, Any], host: str
) -> list[str]:
    return [
        render(finding_id, host=host, variable=f"{prefix}{misfit.name}", value=numbers[misfit.name], limit=misfit.limit)
        for misfit in misfits
    ]


def server_plan_problems(numbers: Mapping[str, Any], host: str) -> list[str]:
    """Filter `server_plan_problems`: what `server_plan` and the pools could not work with."""
    wanted = {name: _int(name, numbers[name]) for name in ("cpus", "memory_mb", "threads", "workers")}
    problems = _sentences("HOST_SIZE", "mlflow_server_", _sizing.plan_misfits(wanted), wanted, host)
    extra = dict(numbers["extra_env"])
    if misfit := _sizing.pool_misfit(extra, wanted["threads"]):
        variable = f"mlflow_server_extra_env: {misfit.name}"
        problems.append(
            render("SERVER_POOL", host=host, variable=variable, value=extra.get(misfit.name), limit=misfit.limit)
        )
    return problems


def postgresql_problems(numbers: Mapping[str, Any], host: str) -> list[str]:
    """Filter `postgresql_problems`: what `postgresql_settings` could not work with, or the servers not with it."""
    wanted = {name: _int(name, numbers[name]) for name in ("cpus", "memory_mb", "connections")}
    problems = _sentences(
        "HOST_SIZE", "mlflow_database_", _sizing.settings_misfits(wanted, str(numbers["disk"])), wanted, host
    )
    needed = _int("needed", numbers["needed"])
    granted = {"mlflow_database_connections": wanted["connections"]}
    if "max_connections" in numbers["extra_settings"]:
        most = _int("max_connections", numbers["extra_settings"]["max_connections"])
        granted["mlflow_database_extra_settings: max_connections"] = most
        # Some of them are for superusers only.
        needed += _sizing.SUPERUSER_RESERVED
    for variable, connections in granted.items():
        if connections < needed and not problems:
            limit = f"The servers of the environment need {needed}"
            problems.append(render("SERVER_CONNECTIONS", host=host, variable=variable, value=connections, limit=limit))
    return problems


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "postgresql_settings": postgresql_settings,
            "server_plan": server_plan,
            "connection_budget": connection_budget,
            "server_plan_problems": server_plan_problems,
            "postgresql_problems": postgresql_problems,
        }
