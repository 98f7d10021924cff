# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options and attributes that all check modules have (plugins/module_utils/_check.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments: `check` for every check, `check.sandbox` for those that may ask as the server does."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The name by which findings call the host that asks. The machine's own name if it is empty.
    type: str
    default: ""
  fail_on:
    description:
      - What makes the task fail, V(never) for nothing. Findings of at least this severity become the message, one sentence each;
        all of them are returned in any case.
    type: str
    choices: [never, critical, warning]
    default: critical
  timeout:
    description:
      - Seconds after which the check stops waiting and says so, from 1 to 600.
    type: int
    default: 20
attributes:
  check_mode:
    description: Can run in check mode and do the same, because nothing is changed.
    support: full
  diff_mode:
    description: Returns details on what has changed.
    support: none
"""

    SANDBOX = r"""
options:
  sandbox:
    description:
      - Ask from inside the sandbox of the MLflow server on this host, as its user and with its environment
        (a systemd unit whose name begins with C(mlflow-probe-)). Needs root, and the role C(mlflow_server) on the host before.
    type: bool
    default: false
"""
