# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that judge what is to be taken over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _adoption


class FilterModule:
    """Filters that judge what is to be taken over."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "adoption_backup_problem": _adoption.backup_problem,
            "adoption_problems": _adoption.problems,
            "adoption_records": _adoption.records,
            "adoption_running_problem": _adoption.running_problem,
            "adoption_warnings": _adoption.warnings,
        }
