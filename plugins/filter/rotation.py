# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about replacing credentials; their documentation is in the .yml files of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _check, _rotation


class FilterModule:
    """Filters about replacing credentials."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "credential_ages": lambda *given: [_check.sentence(one) for one in _rotation.credential_ages(*given)],
            "credentials_due": _rotation.due,
            "credential_places": _rotation.credential_places,
            "credentials_in_use": _rotation.credentials_in_use,
            "rotation_step": lambda seen, kind, host: _rotation.rotation_step(kind, seen, host),
        }
