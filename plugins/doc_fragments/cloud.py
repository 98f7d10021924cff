# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options and attributes of modules that make a store through a cloud's control plane (plugins/module_utils/_cloud_client.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """One fragment for all of them."""

    DOCUMENTATION = r"""
options:
  environment:
    description:
      - The name of the environment that the store belongs to, for example V(prod). The store carries it, and one that carries another
        name is not touched.
    type: str
    required: true
  prefix:
    description:
      - What the names of MLflow's objects begin with, without a slash at its ends. The identity may do nothing outside of it where the cloud
        can tell prefixes apart.
    type: str
    required: true
  token:
    description:
      - OAuth access token of an administrator. It is used for these requests and kept nowhere.
    type: str
    required: true
  managed:
    description:
      - Whether to make and change the store. V(false) only says what differs, as findings.
    type: bool
    default: true
  adopt:
    description:
      - Take over a store that exists, is in use and carries the name of no environment.
    type: bool
    default: false
  ca_file:
    description:
      - File of authorities to trust in place of the system's.
    type: str
    default: ""
  host:
    description:
      - The name by which findings call the host that they are about. The machine's own name if it is empty.
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
      - Seconds that a request may take, and that the cloud may take until it knows everywhere what was made, from 1 to 600.
    type: int
    default: 60
attributes:
  check_mode:
    description: Looks in check mode, and says what would be made and changed.
    support: full
  diff_mode:
    description: Returns what differed, by resource.
    support: full
"""
