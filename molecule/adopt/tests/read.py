"""Prints, as JSON, all that MLflow's client can read: before the adoption from the old server, after it through the edge."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

client = MlflowClient()


def files(run: str, path: str = "") -> dict[str, str]:
    """Every artifact of a run with its digest."""
    found: dict[str, str] = {}
    for entry in client.list_artifacts(run, path or None):
        if entry.is_dir:
            found |= files(run, entry.path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(client.download_artifacts(run, entry.path, folder))
                found[entry.path] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def run_of(run: Any) -> dict[str, Any]:
    """A run with its whole history."""
    return {
        "info": [run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.info.lifecycle_stage],
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key != "mlflow.user"},
        "metrics": {
            key: [
                (point.step, point.timestamp, repr(point.value))
                for point in client.get_metric_history(run.info.run_id, key)
            ]
            for key in run.data.metrics
        },
        "artifacts": files(run.info.run_id) if run.info.lifecycle_stage == "active" else {},
    }


everything: dict[str, Any] = {"experiments": {}, "runs": {}, "models": {}, "versions": {}, "traces": []}
for experiment in client.search_experiments(ViewType.ALL):
    everything["experiments"][experiment.experiment_id] = [experiment.name, experiment.lifecycle_stage, experiment.tags]
    for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, max_results=1000):
        everything["runs"][run.info.run_id] = run_of(run)
for model in client.search_registered_models():
    everything["models"][model.name] = [model.description, model.tags, model.aliases]
for version in client.search_model_versions():
    everything["versions"][f"{version.name} {version.version}"] = [
        version.run_id,
        version.tags,
        version.status,
        version.source,
    ]
for trace in mlflow.search_traces(locations=list(everything["experiments"]), return_type="list"):
    span = trace.data.spans[0]
    everything["traces"].append([trace.info.trace_id, span.name, span.inputs, span.outputs])
print(json.dumps(everything, sort_keys=True))
