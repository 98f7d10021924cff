# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about teams and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _access_teams


class FilterModule:
    """Filters about teams and what they may do."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"team_problems": _access_teams.list_sentences}
