#!/usr/bin/python
# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a container of Azure Blob for MLflow, or compare it; the documentation is in the .yml file of the same name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlops.mlflow.plugins.module_utils import _azure
from ansible_collections.mlops.mlflow.plugins.module_utils._cloud import Resource, at
from ansible_collections.mlops.mlflow.plugins.module_utils._cloud_client import OPTIONS, Stopped, Work, begin, finish


def _settle(work: Work, wanted: _azure.Wanted) -> dict[str, str]:
    """One resource after the other; each needs those before it. Returns how servers call their identity."""
    account = work.settle(_azure.account(wanted))

    def within(resource: Resource, place: Any) -> dict[str, Any]:
        """What lies in something that would only be made would be made as well."""
        if place or not work.check_mode:
            return work.settle(resource)
        work.announce(resource)
        return {}

    if not work.managed and not account:
        return {}
    within(_azure.protection(wanted), account)
    container = within(_azure.container(wanted), account)
    if not work.managed:
        return {}
    if wanted.versions:
        within(_azure.lifecycle(wanted), account)
    principal, client = wanted.principal_id, ""
    if not principal:
        identity = work.settle(_azure.identity(wanted))
        principal, client = (str(at(identity, f"properties.{name}") or "") for name in ("principalId", "clientId"))
    work.settle(_azure.role(wanted))
    within(_azure.assignment(wanted, principal), container and principal)
    return {"principal_id": principal, "client_id": client}


def main() -> None:
    """Look, decide, tell, report."""
    text: dict[str, Any] = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "account": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "subscription": {"type": "str", "required": True},
            "resource_group": {"type": "str", "required": True},
            "location": text,
            "identity": text,
            "principal_id": text,
            "sku": {"type": "str", "default": "Standard_ZRS"},
            "hierarchical": {"type": "bool", "default": False},
            "shared_key": {"type": "bool", "default": False, "no_log": False},
            "versioning": {"type": "bool", "default": True},
            "soft_delete_days": {"type": "int", "default": 30},
            "noncurrent_days": {"type": "int", "default": 30},
            "api_url": {"type": "str", "default": "https://management.azure.com"},
        },
        supports_check_mode=True,
        required_if=[("managed", True, ("location",)), ("managed", True, ("identity", "principal_id"), True)],
    )
    work = begin(module)
    wanted = _azure.Wanted(**{one.name: module.params[one.name] for one in fields(_azure.Wanted)})
    identity: dict[str, str] = {}
    try:
        identity = _settle(work, wanted)
    except Stopped:
        finish(module, work, identity=identity)
    finish(module, work, identity=identity)


if __name__ == "__main__":
    main()
