# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter `topology`: the playbooks' description of who talks to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._topology import topology

DOCUMENTATION = """
name: topology
short_description: Describe an environment as one host sees it
version_added: 0.1.0
author: mlops.mlflow maintainers (@mlops-mlflow)
description:
  - Turns the inventory into the dictionary that the playbooks of this collection hand to the roles, so that no role has
    to name an inventory group.
options:
  _input:
    description: The C(hostvars) of the play.
    type: dict
    required: true
  host:
    description: The inventory name of the host that asks.
    type: str
    required: true
  databases:
    description: Inventory names of the database hosts.
    type: list
    elements: str
    required: true
  servers:
    description: Inventory names of the MLflow server hosts.
    type: list
    elements: str
    required: true
  edges:
    description: Inventory names of the edge hosts.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
- name: Tell a role of your own where the database is
  ansible.builtin.debug:
    msg: "{{ (hostvars | mlops.mlflow.topology(inventory_hostname, ['db1'], ['app1', 'app2'], ['edge1'])).database_address }}"
"""

RETURN = """
_value:
  description:
    - A dictionary with C(address), C(database_address), C(database_is_local), C(database_clients), C(server_count),
      C(servers), C(edges) and C(edge_is_local).
  type: dict
"""



class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"topology": topology}
