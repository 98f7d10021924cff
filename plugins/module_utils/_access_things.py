# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to be asked of MLflow so that an experiment or a registered model is as wanted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._access import EXPERIMENT, Later, Plan, Problem, Step

EXPERIMENTS = "/api/2.0/mlflow/experiments"
MODELS = "/api/2.0/mlflow/registered-models"
# MLflow's pages show the tag of this name as the description of an experiment.
NOTE = "mlflow.note.content"
PROMPT = "mlflow.prompt.is_prompt"
# Tags that MLflow writes itself.
_OWN = "mlflow."


@dataclass(frozen=True)
class FoundExperiment:
    """An experiment that there is."""

    number: str
    location: str
    active: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A wanted experiment, or one that shall not be. What is None is left as it is."""

    name: str
    location: str = ""
    description: str | None = None
    tags: Mapping[str, str] | None = None
    purge_tags: bool = False
    present: bool = True


@dataclass(frozen=True)
class FoundModel:
    """A registered model that there is."""

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    has_versions: bool = False


@dataclass(frozen=True)
class Model:
    """A wanted registered model, or one that shall not be. What is None is left as it is."""

    name: str
    description: str | None = None
    tags: Mapping[str, str] | None = None
    purge_tags: bool = False
    present: bool = True
    force: bool = False


def experiment_problems(found: FoundExperiment | None, wanted: Experiment) -> list[Problem]:
    """Return why what exists cannot become what is wanted."""
    if found is None or not wanted.present or not wanted.location or wanted.location == found.location:
        return []
    said = f"the experiment {wanted.name} keeps its artifacts in {found.location}, and not in {wanted.location}."
    return [("ACCESS_FIXED", said)]


def model_problems(found: FoundModel | None, wanted: Model) -> list[Problem]:
    """Return why what exists cannot become what is wanted."""
    if found is None:
        return []
    if found.tags.get(PROMPT, "").lower() == "true":
        return [("ACCESS_FIXED", f"the name {wanted.name} is that of a prompt, and no model can have it.")]
    if not wanted.present and found.has_versions and not wanted.force:
        return [("ACCESS_IN_USE", f"the registered model {wanted.name} has versions.")]
    return []


def plan_experiment(found: FoundExperiment | None, wanted: Experiment) -> Plan:
    """Return what makes, restores, tags or deletes an experiment."""
    owner = f"the experiment {wanted.name}"
    active = found is not None and found.active
    if not wanted.present:
        if found is None or not active:
            return Plan()
        step = Step(f"{owner} is deleted", "POST", f"{EXPERIMENTS}/delete", {"experiment_id": found.number}, takes=True)
        return Plan((step,), _shown_experiment(found), {})
    tags = dict(wanted.tags or {})
    if wanted.description is not None:
        tags[NOTE] = wanted.description
    if found is None:
        made: dict[str, Any] = {"name": wanted.name, "tags": _listed(tags)}
        if wanted.location:
            made["artifact_location"] = wanted.location
        step = Step(f"{owner} is made", "POST", f"{EXPERIMENTS}/create", made, makes=Later(EXPERIMENT, wanted.name))
        return Plan((step,), {}, {"tags": tags, **({"artifact_location": wanted.location} if wanted.location else {})})
    number = {"experiment_id": found.number}
    steps = [] if active else [Step(f"{owner} is restored", "POST", f"{EXPERIMENTS}/restore", number)]
    gone = _purged(found.tags, tags) if wanted.purge_tags and wanted.tags is not None else []
    steps += [
        Step(
            f"{owner} gets the tag {key}",
            "POST",
            f"{EXPERIMENTS}/set-experiment-tag",
            {**number, "key": key, "value": value},
        )
        for key, value in tags.items()
        if found.tags.get(key) != value
    ]
    steps += [
        Step(f"{owner} loses the tag {key}", "POST", f"{EXPERIMENTS}/delete-experiment-tag", {**number, "key": key})
        for key in gone
    ]
    kept = {key: value for key, value in found.tags.items() if key not in gone}
    before = _shown_experiment(found) if active else {}
    return Plan(tuple(steps), before, {"artifact_location": found.location, "tags": {**kept, **tags}})


def plan_model(found: FoundModel | None, wanted: Model) -> Plan:
    """Return what makes, describes, tags or deletes a registered model."""
    owner, name = f"the registered model {wanted.name}", {"name": wanted.name}
    if not wanted.present:
        if found is None:
            return Plan()
        return Plan(
            (Step(f"{owner} is deleted", "DELETE", f"{MODELS}/delete", name, takes=True),), _shown_model(found), {}
        )
    tags = dict(wanted.tags or {})
    if found is None:
        made = {**name, "description": wanted.description or "", "tags": _listed(tags)}
        after = {"description": wanted.description or "", "tags": tags}
        return Plan((Step(f"{owner} is made", "POST", f"{MODELS}/create", made),), {}, after)
    steps: list[Step] = []
    description = found.description if wanted.description is None else wanted.description
    if description != found.description:
        told = {**name, "description": description}
        steps.append(Step(f"{owner} is described anew", "PATCH", f"{MODELS}/update", told))
    gone = _purged(found.tags, tags) if wanted.purge_tags and wanted.tags is not None else []
    steps += [
        Step(f"{owner} gets the tag {key}", "POST", f"{MODELS}/set-tag", {**name, "key": key, "value": value})
        for key, value in tags.items()
        if found.tags.get(key) != value
    ]
    steps += [
        Step(f"{owner} loses the tag {key}", "DELETE", f"{MODELS}/delete-tag", {**name, "key": key}) for key in gone
    ]
    kept = {key: value for key, value in found.tags.items() if key not in gone}
    return Plan(tuple(steps), _shown_model(found), {"description": description, "tags": {**kept, **tags}})


def _purged(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The tags to take away: not those that MLflow writes itself."""
    return [key for key in found if key not in wanted and not key.startswith(_OWN)]


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _shown_experiment(found: FoundExperiment) -> dict[str, Any]:
    return {"artifact_location": found.location, "tags": dict(found.tags)}


def _shown_model(found: FoundModel) -> dict[str, Any]:
    return {"description": found.description, "tags": dict(found.tags)}
