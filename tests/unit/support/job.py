"""A job that logs to MLflow for some seconds, with the Python of `tools/environment machine`: python job.py SECONDS. Prints what it did, as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
from mlops_mlflow_client.settings import Settings
from mlops_mlflow_client.tokens import tokens_of

client = mlflow.MlflowClient()
experiment = client.create_experiment(f"of a job {os.getpid()}")
run = client.create_run(experiment).info.run_id
print("began", flush=True)
end = time.monotonic() + float(sys.argv[1])
seen: set[str] = set()


def metrics() -> int:
    """Small requests, one after the other."""
    count = 0
    while time.monotonic() < end:
        client.log_metric(run, "loss", count, step=count)
        seen.add(tokens_of(Settings.read(os.environ)).get())
        count += 1
    return count


def artifacts() -> int:
    """Files that travel."""
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            file = Path(folder, f"{count}.bin")
            file.write_bytes(os.urandom(300_000))
            client.log_artifact(run, str(file), "files")
            count += 1
    return count


with ThreadPoolExecutor(2) as pool:
    numbers, files = pool.submit(metrics), pool.submit(artifacts)
    logged, uploaded = numbers.result(), files.result()
mlflow.set_experiment(experiment_id=experiment)
with mlflow.start_span("of a job"):
    pass
mlflow.flush_trace_async_logging()
with tempfile.TemporaryDirectory() as folder:
    came = sorted(Path(client.download_artifacts(run, "files", folder)).iterdir())
client.set_terminated(run)
print(
    json.dumps(
        {
            "logged": logged,
            "kept": len(client.get_metric_history(run, "loss")),
            "uploaded": uploaded,
            "listed": len(client.list_artifacts(run, "files")),
            "downloaded": len(came),
            "status": client.get_run(run).info.status,
            "traces": len(client.search_traces(locations=[experiment])),
            "tokens": len(seen),
        }
    )
)
