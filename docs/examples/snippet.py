"""Log a run with everything that MLflow keeps and read all of it back equal.

Needs nothing but MLflow and the MLFLOW_* variables of your installation: eval "$(make -s client-env)"; python docs/examples/snippet.py
"""

import hashlib
import os
import tempfile
from pathlib import Path

import mlflow
import pandas

MEGABYTES = 100
MODEL = "snippet"
MODEL_CODE = """\
import mlflow

class Double(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[float], params=None) -> list[float]:
        return [2 * value for value in model_input]

mlflow.models.set_model(Double())
"""


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


mlflow.set_experiment("snippet")
client = mlflow.MlflowClient()

with tempfile.TemporaryDirectory() as folder, mlflow.start_run() as run:
    # Write: parameters, a metric with its history, a file, a dataset, a trace, a model.
    mlflow.log_params({"alpha": 0.1, "layers": 3})
    for step in range(10):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)

    artifact = Path(folder, "weights.bin")
    artifact.write_bytes(os.urandom(MEGABYTES * 1024 * 1024))
    mlflow.log_artifact(str(artifact))

    dataset = mlflow.data.from_pandas(pandas.DataFrame({"x": [1.0, 2.0], "y": [2.0, 4.0]}), name="pairs", targets="y")
    mlflow.log_input(dataset, context="training")

    with mlflow.start_span("answer") as span:
        span.set_inputs({"question": "is this traced?"})
        span.set_outputs({"answer": "yes"})
    mlflow.flush_trace_async_logging()

    code = Path(folder, "double.py")
    code.write_text(MODEL_CODE, encoding="utf-8")
    model = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(code),
        pip_requirements=[f"mlflow=={mlflow.__version__}"],
        registered_model_name=MODEL,
    )
    client.set_registered_model_alias(MODEL, "latest-snippet", str(model.registered_model_version))

    # Read everything back.
    read = client.get_run(run.info.run_id)
    assert read.data.params == {"alpha": "0.1", "layers": "3"}, read.data.params
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in history] == [1 / (step + 1) for step in range(10)], history

    downloaded = Path(
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path="weights.bin", dst_path=f"{folder}/down"
        )
    )
    assert sha256(downloaded) == sha256(artifact), "the artifact came back different"

    logged = [entry.dataset for entry in read.inputs.dataset_inputs if entry.dataset.name == "pairs"]
    assert [entry.digest for entry in logged] == [dataset.digest], logged

    trace = mlflow.get_trace(span.trace_id)
    assert [(one.name, one.outputs) for one in trace.data.spans] == [("answer", {"answer": "yes"})], trace

    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}@latest-snippet")
    assert list(loaded.predict([1.0, 2.5])) == [2.0, 5.0]

url = f"{mlflow.get_tracking_uri()}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
print(
    f"Run, {MEGABYTES} MB artifact, dataset, trace and model version {model.registered_model_version} written and read back equal."
)
print(url)
