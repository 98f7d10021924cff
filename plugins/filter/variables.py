# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the names of variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils._variables import (
    known_variables,
    unknown_variables,
    variable_problems,
)


def unknown(names: Sequence[str], specs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Filter `unknown_variables`: the names that none of the argument specs knows, each with the nearest known one."""
    known = known_variables(specs)
    if not known:
        raise AnsibleFilterError("mlops.mlflow.unknown_variables needs the argument specs of at least one role.")
    return unknown_variables(names, known)


def problems(
    groups: Mapping[str, Sequence[str]],
    group: str,
    hostvars: Mapping[str, Mapping[str, Any]],
    specs: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Filter `variable_problems`: a sentence for each variable of the group's hosts that is misspelt or of the wrong form."""
    return variable_problems(hostvars, groups.get(group, []), specs)


class FilterModule:
    """Filters about the names of variables."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"unknown_variables": unknown, "variable_problems": problems}
