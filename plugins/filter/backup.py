# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the choices of backups; the documentation is in the .yml files of the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _backup_choices, _check
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report


def backup_sentences(problems: Iterable[Mapping[str, str]], host: str) -> list[str]:
    """Filter `backup_sentences`: what the program on a host found wrong, in the collection's one shape."""
    sentences = []
    for one in problems:
        # Quotation marks would be escaped by whatever prints the sentence.
        evidence = one["evidence"].rstrip(".").replace('"', "'")
        summary = f"{one['summary']} ({evidence})" if evidence else one["summary"]
        sentences.append(_check.sentence(report(one["id"], host=host, summary=summary)))
    return sentences


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {
            "backup_problems": _backup_choices.problems,
            "backup_sentences": backup_sentences,
            "backup_warnings": _backup_choices.warnings,
        }
