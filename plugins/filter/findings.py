# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters that say what is wrong, in the collection's one shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils._adoption import may_migrate
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import CRITICAL, PROMISE, UnknownFinding, render


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


def refused(results: Any, host: str, promise: str = PROMISE) -> list[str]:
    """Filter `refused`: a sentence for each critical finding of a check that ran in a loop, and what it has not changed."""
    sentences = []
    for result in results:
        item = result["item"]
        subject = item if isinstance(item, str) else item["subject"]
        backed_up = "" if isinstance(item, str) else item.get("backed_up", "")
        for found in result.get("findings", []):
            if may_migrate(found["id"], result.get("database", {}).get("revision", ""), backed_up):
                continue
            if found["severity"] == CRITICAL:
                # Quotation marks would be escaped by whatever prints the sentence.
                said_there = found["evidence"].rstrip(".").replace('"', "'")
                evidence = f"({said_there}) " if said_there else ""
                said = f"{subject}: {found['summary']} {evidence}{found['remedy']} {promise}"
                sentences.append(f"[{found['id']}] {host}: {said}")
    return sentences


class FilterModule:
    """Filters that say what is wrong."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"finding": finding, "refused": refused}
