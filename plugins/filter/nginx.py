# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filters about the configuration of nginx; their documentation is in the .yml file of the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._nginx import conflicts


def nginx_conflicts(
    dump: str,
    own_files: Sequence[str],
    names: Sequence[str],
    https_port: int,
    http_port: int = 0,
    addresses: Sequence[str] = (),
) -> list[str]:
    """Filter `nginx_conflicts`."""
    return conflicts(str(dump), own_files, names, int(https_port), int(http_port), addresses)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"nginx_conflicts": nginx_conflicts}
