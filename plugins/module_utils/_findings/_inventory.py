# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with an inventory."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "INVENTORY_MISSING",
        CRITICAL,
        "No inventory, or one without the group that holds the environment",
        "ansible-playbook was started without -i, with a path that does not exist, or with a list of hosts without groups.",
        "Give an inventory that has the group, for example -i inventories/dev.",
    ),
    Finding(
        "INVENTORY_GROUP_UNKNOWN",
        CRITICAL,
        "A group begins with mlflow and no playbook knows it",
        "A misspelt name. Its hosts would be left out silently.",
        "Correct the name, or begin the names of your own groups with mlflow_site_.",
    ),
    Finding(
        "INVENTORY_GROUP_EMPTY",
        CRITICAL,
        "A group that must hold a host is empty",
        "The inventory names no host for a part that the installation cannot do without.",
        "Add a host to the group.",
    ),
    Finding(
        "INVENTORY_LIMIT",
        CRITICAL,
        "A run that was limited leaves out hosts it depends on",
        "PostgreSQL's connections are the sum of what all servers need; with some of them left out it would be made too small.",
        "Name the servers in --limit too, or leave --limit out.",
    ),
    Finding(
        "INVENTORY_HOST_IDLE",
        CRITICAL,
        "A host is in the environment but has no part in it",
        "It is in the group that holds every host, but in none of the groups that say what a host does.",
        "Put it into a group that says what it does, or remove it.",
    ),
)
