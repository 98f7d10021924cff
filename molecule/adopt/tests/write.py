"""Writes what a team leaves behind in some years, with MLflow's own client. Runs in the old installation's environment."""

import os
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.server.auth.client import AuthServiceClient

client = MlflowClient()
folder = Path(tempfile.mkdtemp())


def log(experiment: str, number: int) -> str:
    """One run with everything that a run can have."""
    run = client.create_run(experiment, run_name=f"run {number}", tags={"team": "ml", "note": "ünïcode 'quoted' 100%"})
    name = str(run.info.run_id)
    for step in range(20):
        client.log_metric(name, "loss", 1 / (step + number + 1), step=step, timestamp=1_700_000_000_000 + step)
    client.log_metric(name, "nan", float("nan"))
    client.log_param(name, "rate", 0.01 * number)
    client.log_param(name, "long", "x" * 5000)
    (folder / "model.bin").write_bytes(os.urandom(100_000))
    (folder / "notes.txt").write_text(f"notes of run {number}")
    client.log_artifact(name, str(folder / "model.bin"), "model")
    client.log_artifact(name, str(folder / "notes.txt"))
    client.set_terminated(name, "FAILED" if number % 3 == 0 else "FINISHED")
    return name


served = client.create_experiment("served", tags={"owner": "ann"})
local = client.create_experiment("local", artifact_location="file:///srv/old-mlflow/local")
runs = [log(served, number) for number in range(4)]
log(local, 9)
log("0", 7)
client.delete_run(runs[3])
client.delete_experiment(client.create_experiment("deleted"))
client.create_registered_model("churn", tags={"stage": "old"}, description="a model")
for run in runs[:2]:
    client.create_model_version("churn", f"runs:/{run}/model", run_id=run, tags={"checked": "yes"})
client.set_registered_model_alias("churn", "champion", "2")
with mlflow.start_span("question") as span:
    span.set_inputs({"q": "why"})
    span.set_outputs({"a": "because"})
users = AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"])
users.create_user("ann", "password-of-ann-1")
users.grant_user_permission("ann", "experiment", served, "MANAGE")
