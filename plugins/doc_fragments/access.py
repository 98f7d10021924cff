# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options and attributes of modules that give and take access (plugins/module_utils/_access_client.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments: `access` for all of them, `access.workspace` for those in one workspace, `access.grant` for what can be granted."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The name by which findings call the host that asks. The machine's own name if it is empty.
    type: str
    default: ""
  fail_on:
    description:
      - What makes the task fail, V(never) for nothing. Whatever is found stops the work and is returned in any case.
    type: str
    choices: [never, critical, warning]
    default: critical
  timeout:
    description:
      - Seconds that one request may take, from 1 to 600.
    type: int
    default: 20
attributes:
  check_mode:
    description: Asks in check mode, and says what would be changed.
    support: full
  diff_mode:
    description: Returns what is there and what shall be there. Passwords are in neither.
    support: full
  action_group:
    description: Shares the options of the connection with all modules of the group, C(module_defaults) of C(group/mlops.mlflow.mlflow).
    support: full
    membership: [mlops.mlflow.mlflow]
"""

    WORKSPACE = r"""
options:
  workspace:
    description:
      - The workspace in which it is. Others than V(default) have to exist, in an MLflow that runs with workspaces.
    type: str
    default: default
"""

    GRANT = r"""
options:
  resource_type:
    description:
      - What it is about. Parts of something (V(run), V(trace), versions and so on) are granted for all of their kind only, and win over
        the grant on what they are part of. V(workspace) knows V(USE) and V(MANAGE).
    type: str
    choices:
      - experiment
      - registered_model
      - prompt
      - scorer
      - gateway_secret
      - gateway_endpoint
      - gateway_model_definition
      - mcp_server
      - run
      - trace
      - assessment
      - logged_model
      - review_queue
      - registered_model_version
      - prompt_version
      - scorer_version
      - mcp_server_version
      - workspace
    required: true
  resource:
    description:
      - The name of an experiment, a model or a prompt, and what MLflow calls the others. V(*) is all of the type, those to come among them.
    type: str
    required: true
"""
