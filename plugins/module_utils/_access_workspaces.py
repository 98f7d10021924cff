# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be asked of MLflow so that a workspace is as wanted. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._access import DEFAULT_WORKSPACE, Plan, Problem, Step
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import is_served

WORKSPACES = "/api/3.0/mlflow/workspaces"


@dataclass(frozen=True)
class FoundWorkspace:
    """A workspace that there is."""

    name: str
    description: str = ""
    root: str = ""
    holds: str = ""  # what is in it, in words; empty if nothing is, or nobody looked


@dataclass(frozen=True)
class Workspace:
    """A wanted workspace, or one that shall not be. What is None is left as it is."""

    name: str
    description: str | None = None
    root: str | None = None
    present: bool = True
    force: bool = False


def off_problems(*, on: bool) -> list[Problem]:
    """Return that the server knows nothing of workspaces."""
    return [] if on else [("ACCESS_WORKSPACES_OFF", "MLflow runs without workspaces.")]


def place(name: str) -> str:
    """Where MLflow keeps the artifacts of a workspace that has no root of its own, below the server's."""
    return f"workspaces/{name}"


def workspace_problems(found: FoundWorkspace | None, wanted: Workspace) -> list[Problem]:
    """Return why the workspace cannot be as it is wanted."""
    problems: list[Problem] = []
    # MLflow serves a workspace from its own place whatever the root says; rows would name a place where nothing is.
    if wanted.root and is_served(wanted.root) and wanted.root.rstrip("/") != f"mlflow-artifacts:/{place(wanted.name)}":
        said = f"the workspace {wanted.name} cannot have the root {wanted.root}: MLflow serves it from {place(wanted.name)}."
        problems.append(("ACCESS_ROOT", said))
    if not wanted.present and wanted.name == DEFAULT_WORKSPACE:
        problems.append(("ACCESS_FIXED", f"MLflow keeps the workspace {DEFAULT_WORKSPACE} for ever."))
    elif not wanted.present and found is not None and found.holds and not wanted.force:
        problems.append(("ACCESS_IN_USE", f"the workspace {wanted.name} holds {found.holds}."))
    return problems


def plan_workspace(found: FoundWorkspace | None, wanted: Workspace) -> Plan:
    """Return what makes, changes or deletes a workspace."""
    owner, path = f"the workspace {wanted.name}", f"{WORKSPACES}/{wanted.name}"
    if not wanted.present:
        if found is None:
            return Plan()
        # MLflow refuses to delete one that is in use unless it is told otherwise; what this module did not see counts there as well.
        mode = "CASCADE" if wanted.force else "RESTRICT"
        step = Step(f"{owner} is deleted", "DELETE", f"{path}?mode={mode}", takes=True)
        return Plan((step,), _shown(found), {})
    if found is None:
        made: dict[str, Any] = {"name": wanted.name, "description": wanted.description or ""}
        if wanted.root:
            made["default_artifact_root"] = wanted.root
        after = _shown(FoundWorkspace(wanted.name, wanted.description or "", wanted.root or ""))
        return Plan((Step(f"{owner} is made", "POST", WORKSPACES, made),), {}, after)
    steps: list[Step] = []
    after = _shown(found)
    if wanted.description is not None and wanted.description != found.description:
        after["description"] = wanted.description
        steps.append(Step(f"{owner} is described anew", "PATCH", path, {"description": wanted.description}))
    if wanted.root is not None and wanted.root != found.root:
        after["artifact_root"] = wanted.root
        said = f"{owner} keeps new artifacts in {wanted.root or place(wanted.name)}"
        steps.append(Step(said, "PATCH", path, {"default_artifact_root": wanted.root}))
    return Plan(tuple(steps), _shown(found), after)


def _shown(found: FoundWorkspace) -> dict[str, Any]:
    return {"description": found.description, "artifact_root": found.root}
