# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter around module_utils/_artifact_uri."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.module_utils import _artifact_uri


def artifact_uri(uri: Any) -> dict[str, Any]:
    """Kind, path, bucket and prefix of a place for artifacts."""
    try:
        return _artifact_uri.parse(str(uri)).to_dict()
    except _artifact_uri.ArtifactUriError as error:
        raise AnsibleFilterError(f"mlflow_artifact_uri: {error}") from error


def artifact_uri_problem(uri: Any) -> str:
    """What is wrong with it in one sentence; empty when it can be used."""
    try:
        _artifact_uri.parse(str(uri))
    except _artifact_uri.ArtifactUriError as error:
        return str(error)
    return ""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {"artifact_uri": artifact_uri, "artifact_uri_problem": artifact_uri_problem}
