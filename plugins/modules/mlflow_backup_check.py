#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the backups of a host; the documentation is in the .yml file of the same name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _check
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._probe import last_words


def main() -> None:
    """Ask the program of the host, report."""
    module = AnsibleModule(
        argument_spec={
            **_check.OPTIONS,
            "timeout": {"type": "int", "default": 90},
            "program": {"type": "path", "default": "/usr/local/lib/mlflow-backup/mlflow_backup.py"},
            "config": {"type": "path", "default": "/etc/mlflow/backup/backup.json"},
            "python": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    host, seconds = _check.begin(module)
    given = module.params
    absent = [path for path in (given["program"], given["config"]) if not Path(path).exists()]
    if absent:
        summary = f"No backups are set up here: {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there."
        _check.finish(module, [report("BACKUP_ABSENT", host=host, summary=summary)], seen={})
    command = [given["python"], "-B", given["program"], "--config", given["config"], "look"]
    # The program limits each of its looks; this is for the case that it does not.
    limited = ["timeout", "--kill-after=5", f"{seconds:.0f}", *command]
    code, said, complained = module.run_command(limited, encoding=None)
    seen: dict[str, Any] = {}
    try:
        seen = json.loads(said) if code == 0 else {}
    except ValueError:
        code = -1
    if not seen:
        reason = f"did not end within {seconds:.0f} s" if code in (124, 137) else f"ended with {code}"
        words = last_words(bytes(complained).decode(errors="replace"))
        summary = f"The program that looks at the backups {reason}."
        found = [report("BACKUP_SILENT", host=host, summary=summary, evidence=f"{' '.join(command)}: {words}")]
    else:
        found = [
            report(one["id"], host=host, summary=one["summary"], evidence=one["evidence"])
            for one in seen.pop("problems")
        ]
    _check.finish(module, found, seen=seen)


if __name__ == "__main__":
    main()
