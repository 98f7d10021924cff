# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a server logs in to a store in Google Cloud or Azure, and what MLflow would take without a word. Pure; never a value of a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _azure, _gcs
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render

_PREFIX = "mlflow_artifact_store_"


def store_login_problems(place: Mapping[str, Any], host: str, given: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each login that cannot be the one of the place.

    Args:
        place: as the filter artifact_uri returns it.
        host: whom the sentences name.
        given: `gcs_credentials`, `azure_connection_string` and `azure_access_key`, each empty if it is not used.
    """
    said = {name: str(value or "") for name, value in given.items()}
    if place["kind"] == "gcs" and said["gcs_credentials"]:
        problem = _gcs.credentials_problem(said["gcs_credentials"])
        return [_refuse("STORE_GCS_CREDENTIALS", host, "gcs_credentials", problem)] if problem else []
    if place["kind"] != "azure":
        return []
    names = [name for name in ("azure_connection_string", "azure_access_key") if said[name]]
    if place["scheme"] == "abfss" and names:
        problem = "is not used by MLflow with abfss://, where only an identity of the host logs in"
        return [_refuse("STORE_AZURE_CREDENTIALS", host, name, problem) for name in names]
    if len(names) == 2:
        problem = f"and {_PREFIX}azure_connection_string are both set, and MLflow looks at the second only"
        return [_refuse("STORE_AZURE_CREDENTIALS", host, "azure_access_key", problem)]
    if said["azure_connection_string"]:
        problem = _azure.connection_problem(said["azure_connection_string"], place["account"])
        return [_refuse("STORE_AZURE_CREDENTIALS", host, "azure_connection_string", problem)] if problem else []
    return []


def _refuse(finding: str, host: str, name: str, problem: str) -> str:
    return render(finding, host=host, variable=f"{_PREFIX}{name} {problem}")
