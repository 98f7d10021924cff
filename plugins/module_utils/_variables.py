# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which variables a user may set: whatever the argument specs of the collection's roles name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

# Left to users for variables of their own.
USER_PREFIX = "mlflow_site_"


def known_variables(specs: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return every option and alias of every entry point of the given argument specs (parsed files)."""
    known: set[str] = set()
    for spec in specs:
        for entry_point in (spec.get("argument_specs") or {}).values():
            for name, option in (entry_point.get("options") or {}).items():
                known.add(str(name))
                known.update(str(alias) for alias in (option or {}).get("aliases") or [])
    return known


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that resembles `name` most, or an empty string if none does."""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return matches[0] if matches else ""


def unknown_variables(names: Iterable[str], known: Iterable[str]) -> list[dict[str, str]]:
    """Return the names no spec knows, each with the nearest known one; names of the user's own are left alone."""
    known = set(known)
    return [
        {"name": name, "nearest": nearest(name, known)}
        for name in sorted(set(names) - known)
        if not name.startswith(USER_PREFIX)
    ]
