# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that say what is wrong, in the collection's one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import UnknownFinding, render


def finding(
    finding_id: str,
    host: str,
    variable: str = "",
    value: Any = None,
    limit: str = "",
    fix: str = "",
) -> str:
    """Filter `finding`: the sentence for a registered finding."""
    try:
        return render(str(finding_id), host=host, variable=variable, value=value, limit=limit, fix=fix)
    except UnknownFinding:
        raise AnsibleFilterError(f"mlops.mlflow.finding does not know the id '{finding_id}'.") from None


class FilterModule:
    """Filters that say what is wrong."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"finding": finding}
