# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a storage account of Azure, its container, an identity and its rights have to be like. Pure.

Resource Manager: https://learn.microsoft.com/rest/api/storagerp, /rest/api/managedidentity, /rest/api/authorization.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._cloud import Call, Resource

_STORAGE = "api-version=2023-05-01"
_IDENTITY = "api-version=2023-01-31"
_RIGHTS = "api-version=2022-04-01"
_ROLES = "/providers/Microsoft.Authorization/roleDefinitions"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
# What MLflow does while it serves: reading is listing as well, and writing is overwriting. Deleting is left to maintenance.
DATA_ACTIONS = (f"{_BLOBS}/add/action", f"{_BLOBS}/read", f"{_BLOBS}/write")


@dataclass(frozen=True)
class Wanted:
    """What a site decided."""

    environment: str
    account: str
    container: str
    prefix: str
    subscription: str
    resource_group: str
    location: str
    identity: str = ""  # of the user-assigned identity that is made
    principal_id: str = ""  # of an identity that exists, in place of making one
    sku: str = "Standard_ZRS"
    hierarchical: bool = False  # what abfss:// needs
    shared_key: bool = False  # whether keys of the account are good for anything
    versioning: bool = True
    soft_delete_days: int = 30
    noncurrent_days: int = 30
    api_url: str = "https://management.azure.com"

    @property
    def group(self) -> str:
        """The path of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"

    @property
    def account_id(self) -> str:
        """The path of the account."""
        return f"{self.group}/providers/Microsoft.Storage/storageAccounts/{self.account}"

    @property
    def container_id(self) -> str:
        """The path of the container."""
        return f"{self.account_id}/blobServices/default/containers/{self.container}"

    @property
    def versions(self) -> bool:
        """Whether older versions are kept: Azure cannot with a hierarchical namespace."""
        return self.versioning and not self.hierarchical


def account(wanted: Wanted) -> Resource:
    """Private, TLS only, encrypted by Azure; reached with an identity rather than a key."""
    url = f"{wanted.api_url}{wanted.account_id}?{_STORAGE}"
    properties = {
        "supportsHttpsTrafficOnly": True,
        "minimumTlsVersion": "TLS1_2",
        "allowBlobPublicAccess": False,
        "allowSharedKeyAccess": wanted.shared_key,
    }
    lasting = {"isHnsEnabled": wanted.hierarchical}
    tags = {"mlflow_environment": wanted.environment}
    made = {
        "location": wanted.location,
        "kind": "StorageV2",
        "sku": {"name": wanted.sku},
        "tags": tags,
        "properties": {**properties, **lasting},
    }
    return Resource(
        name=f"the storage account {wanted.account}",
        url=url,
        wanted={"tags": tags, "properties": {**properties, **lasting}},
        make=Call("PUT", url, made),
        change=("PATCH", url),
        whole=("tags",),
        fixed=("properties.isHnsEnabled",),
        mark="tags.mlflow_environment",
    )


def protection(wanted: Wanted) -> Resource:
    """What was deleted or overwritten comes back for a while."""
    url = f"{wanted.api_url}{wanted.account_id}/blobServices/default?{_STORAGE}"
    kept: dict[str, Any] = {"enabled": wanted.soft_delete_days > 0}
    if wanted.soft_delete_days > 0:
        kept["days"] = wanted.soft_delete_days
    state: dict[str, Any] = {
        "deleteRetentionPolicy": kept,
        "containerDeleteRetentionPolicy": kept,
        "isVersioningEnabled": wanted.versions,
    }
    return Resource(
        name=f"the Blob service of {wanted.account}",
        url=url,
        wanted={"properties": state},
        change=("PUT", url),
        whole=("properties",),
    )


def container(wanted: Wanted) -> Resource:
    """A container that nobody reads without a login."""
    url = f"{wanted.api_url}{wanted.container_id}?{_STORAGE}"
    state = {"properties": {"publicAccess": "None", "metadata": {"mlflow_environment": wanted.environment}}}
    return Resource(
        name=f"the container {wanted.container}",
        url=url,
        wanted=state,
        make=Call("PUT", url, state),
        change=("PATCH", url),
        whole=("properties.metadata",),
        mark="properties.metadata.mlflow_environment",
    )


def lifecycle(wanted: Wanted) -> Resource:
    """Older versions go by themselves; rules of others stay. What an upload left unfinished, Azure drops after a week anyhow."""
    url = f"{wanted.api_url}{wanted.account_id}/managementPolicies/default?{_STORAGE}"
    rule = {
        "name": f"mlflow-{wanted.environment}-versions",
        "enabled": True,
        "type": "Lifecycle",
        "definition": {
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{wanted.container}/{wanted.prefix}/"]},
            "actions": {"version": {"delete": {"daysAfterCreationGreaterThan": wanted.noncurrent_days}}},
        },
    }
    return Resource(
        name=f"the lifecycle rules of {wanted.account}",
        url=url,
        make=Call("PUT", url, {"properties": {"policy": {"rules": [rule]}}}),
        change=("PUT", url),
        entries=(rule,),
        entries_at="properties.policy.rules",
    )


def identity(wanted: Wanted) -> Resource:
    """A user-assigned identity, which virtual machines are then given."""
    url = f"{wanted.api_url}{wanted.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{wanted.identity}?{_IDENTITY}"
    made = {"location": wanted.location, "tags": {"mlflow_environment": wanted.environment}}
    return Resource(
        name=f"the identity {wanted.identity}",
        url=url,
        make=Call("PUT", url, made),
        mark="tags.mlflow_environment",
    )


def role(wanted: Wanted) -> Resource:
    """A role that can do what MLflow does and nothing else."""
    url = f"{wanted.api_url}{_role_id(wanted)}?{_RIGHTS}"
    state = {
        "properties": {
            "roleName": f"MLflow artifacts ({wanted.resource_group})",
            "type": "CustomRole",
            "assignableScopes": [wanted.group],
            "permissions": [{"actions": [], "notActions": [], "dataActions": list(DATA_ACTIONS), "notDataActions": []}],
        }
    }
    return Resource(
        name=f"the role MLflow artifacts ({wanted.resource_group})",
        url=url,
        wanted=state,
        make=Call("PUT", url, state),
        change=("PUT", url),
    )


def assignment(wanted: Wanted, principal: str) -> Resource:
    """The role for the identity, in this container only."""
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{wanted.container_id}|{principal}|{_role_id(wanted)}".lower())
    url = f"{wanted.api_url}{wanted.container_id}/providers/Microsoft.Authorization/roleAssignments/{name}?{_RIGHTS}"
    state = {
        "properties": {
            "roleDefinitionId": f"/subscriptions/{wanted.subscription}{_ROLES}/{_role_name(wanted)}",
            "principalId": principal,
            "principalType": "ServicePrincipal",
        }
    }
    return Resource(
        name=f"the right of the identity to the container {wanted.container}",
        url=url,
        make=Call("PUT", url, state),
        patient=True,
    )


def _role_id(wanted: Wanted) -> str:
    return f"{wanted.group}{_ROLES}/{_role_name(wanted)}"


def _role_name(wanted: Wanted) -> uuid.UUID:
    # Names of roles are random numbers with Azure; this one is the same on every run, and another in each resource group.
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{wanted.group}|mlflow artifacts".lower())


# ----- how a server logs in


def connection_problem(text: str, account: str) -> str:
    """Why a connection string cannot be the one of an account; empty if it can.

    MLflow asks whatever the connection string names, not the account of the URI.
    """
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
    if not {"AccountKey", "SharedAccessSignature"} & parts.keys():
        return "holds neither AccountKey nor SharedAccessSignature"
    endpoint = urlsplit(parts.get("BlobEndpoint", ""))
    if "AccountName" not in parts and not endpoint.hostname:
        return "holds neither AccountName nor BlobEndpoint"
    named = parts.get("AccountName") or str(endpoint.hostname).partition(".")[0]
    # An endpoint that is an address carries the account in its path.
    if named != account and endpoint.path.strip("/") != account:
        return f"is of the account {named}, and the URI names {account}"
    return ""
