# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which choices about a restore cannot work. Private to the collection; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render
from ansible_collections.mlops.mlflow.plugins.module_utils._restore import moment_of


def problems(choices: Mapping[str, Any], host: str) -> list[str]:
    """Return a sentence for each choice that cannot work.

    Args:
        choices: kind, manifest, to, over, directory, environment, external (the database is somebody else's).
        host: the host as the inventory names it.
    """
    found = []

    def refuse(name: str, limit: str) -> None:
        found.append(
            render("RESTORE_CHOICE", host=host, variable=f"mlflow_restore_{name}", value=choices[name], limit=limit)
        )

    in_place = choices["kind"] == "in_place"
    if choices["kind"] not in ("beside", "in_place"):
        refuse("kind", "It is beside or in_place")
    if choices["to"]:
        try:
            moment_of(str(choices["to"]))
        except ValueError:
            refuse("to", "It is a moment in UTC such as 2026-11-28T02:30:00Z")
        if choices["manifest"]:
            refuse("to", f"There is mlflow_restore_manifest={choices['manifest']} as well; leave out one of them")
    if choices["manifest"] and not re.fullmatch(r"\d{8}T\d{6}Z", str(choices["manifest"])):
        refuse("manifest", "It is the name of a manifest such as 20261128T043000Z")
    if in_place and choices["external"]:
        refuse(
            "kind",
            "Somebody else runs the database (mlflow_database_uri) and restores it; beside restores artifacts and configuration",
        )
    if in_place and choices["over"] and choices["over"] != choices["environment"]:
        refuse("over", f"The environment is {choices['environment']}")
    if not in_place and not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", str(choices["directory"])):
        refuse("directory", "It is an absolute folder")
    return found
