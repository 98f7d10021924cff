#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move artifacts from one store to another; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_mover
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_move import Wanted, places_problem
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_mover import Means, Refusal, Report
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import OPTIONS, StoreError, open_place
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._artifacts import refuse
from ansible_collections.mlops.mlflow.plugins.module_utils._check import sentence
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._tracking_database import (
    DatabaseError,
    Tracking,
    parameters_of,
)

ARGUMENTS: dict[str, Any] = {
    "host": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["moved", "undone"], "default": "moved"},
    "source": {"type": "dict", "required": True, "options": dict(OPTIONS)},
    "target": {"type": "dict", "required": True, "options": dict(OPTIONS)},
    "served": {"type": "str", "required": True},
    "transfer": {"type": "str", "choices": ["proxied", "presigned", "direct"], "default": "proxied"},
    "experiments": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "str", "required": True},
    "database_uri": {"type": "str", "default": "", "no_log": True},
    "server_environment": {"type": "str", "default": ""},
    "journal": {"type": "str", "required": True},
    "backup": {"type": "str", "default": ""},
    "backup_directory": {"type": "str", "required": True},
    "changed_since": {"type": "str", "choices": ["refuse", "keep", "take"], "default": "refuse"},
    "user": {"type": "str", "default": ""},
    "workers": {"type": "int", "default": 8},
}


def act(given: dict[str, Any], *, check_mode: bool) -> Report:
    """Do as the options say.

    Raises:
        Refusal: why it did not go on.
        ArtifactUriError: a place cannot be understood.
    """
    wanted = Wanted(
        parse(given["source"]["uri"]),
        parse(given["target"]["uri"]),
        parse(given["served"]),
        given["transfer"] == "direct",
        tuple(sorted(set(given["experiments"]))),
    )
    if problem := places_problem(wanted):
        raise Refusal("MOVE_PLACES", f"{problem}.")
    try:
        means = Means(
            source=open_place(wanted.source, given["source"]),
            target=open_place(wanted.target, given["target"]),
            database=Tracking(parameters_of(given["database_uri"], given["server_environment"])),
            journal=Path(given["journal"]),
            environment=given["environment"],
            backup=given["backup"],
            backup_directory=Path(given["backup_directory"]),
            user=given["user"],
            workers=max(1, given["workers"]),
            check_mode=check_mode,
            changed_since=given["changed_since"],
        )
    except StoreError as error:
        raise Refusal("MOVE_STORE", "A store cannot be asked.", [str(error)]) from None
    except DatabaseError as error:
        raise Refusal("MOVE_DATABASE", "The database cannot be asked.", [str(error)]) from None
    return _artifact_mover.move(wanted, means) if given["state"] == "moved" else _artifact_mover.undo(wanted, means)


def main() -> None:
    """Act and report."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host = module.params["host"] or platform.node() or "localhost"
    try:
        done = act(module.params, check_mode=module.check_mode)
    except Refusal as refusal:
        finding = report(refusal.finding_id, host=host, summary=refusal.summary, evidence=refusal.evidence)
        module.fail_json(msg=sentence(finding), findings=[finding])
    except ArtifactUriError as error:
        finding = refuse(error, host)
        module.fail_json(msg=sentence(finding), findings=[finding])
    module.exit_json(changed=done.changed, findings=[], **asdict(done))


if __name__ == "__main__":
    main()
