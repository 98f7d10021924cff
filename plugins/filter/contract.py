# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that return one sentence for each thing that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _contract


class FilterModule:
    """Filters that return one sentence for each thing that cannot work."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "account_problems": _contract.account_problems,
            "choice_problems": _contract.choice_problems,
            "host_problems": _contract.host_problems,
            "host_warnings": _contract.host_warnings,
            "inventory_problems": _contract.inventory_problems,
            "reach_problems": _contract.reach_problems,
            "secret_problems": _contract.secret_problems,
        }
