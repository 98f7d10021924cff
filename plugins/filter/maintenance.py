# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the jobs of maintenance; their documentation is in the .yml files of the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _maintenance


def _place(given: Mapping[str, Any]) -> _maintenance.Place:
    return _maintenance.Place(
        host=str(given["host"]),
        concerns=tuple(given["concerns"]),
        artifact_uri=str(given["artifact_uri"]),
        may_delete=bool(given["may_delete"]),
        database_is_external=bool(given["database_is_external"]),
        mail=dict(given.get("mail") or {}),
        webhook=dict(given.get("webhook") or {}),
    )


def jobs(place: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Filter `maintenance_jobs`; empty where a schedule cannot be understood, which another filter refuses."""
    known = _place(place)
    return [] if problems(place, wanted) else [_maintenance.to_dict(job) for job in _maintenance.jobs_of(known, wanted)]


def problems(place: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Filter `maintenance_problems`."""
    return _maintenance.problems(_place(place), wanted)


def findings(given: Iterable[Mapping[str, Any]], host: str, now: float) -> list[str]:
    """Filter `maintenance_findings`."""
    return [_check.sentence(one) for one in _maintenance.told(host, given, float(now))]


class FilterModule:
    """Filters about the jobs of maintenance."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"maintenance_jobs": jobs, "maintenance_problems": problems, "maintenance_findings": findings}
