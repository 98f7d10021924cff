"""With MLflow's client, on the machine of somebody who uses it: plants runs that gc will take and their neighbours, and prints the ids.

python plant.py COUNT: how many objects the run has that was deleted long ago, beside those with odd names.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from pathlib import Path

import mlflow

ODD = [
    "a space.txt",
    "plus+.txt",
    "ümlaut.txt",
    "quote'.txt",
    "semi;colon.txt",
    "雪.txt",
    "$^()[]{}.txt",
    ".hidden",
    "&and.txt",
    "star*.txt",
]


def run_with(experiment: str, names: list[str]) -> str:
    """A run with these files as artifacts, in a folder and beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            place = Path(folder) / ("deep" if number % 2 else ".")
            place.mkdir(exist_ok=True)
            (place / name).write_text(f"content of {name}", encoding="utf-8")
        run = mlflow.MlflowClient().create_run(experiment)
        mlflow.MlflowClient().log_artifacts(run.info.run_id, folder)
    return str(run.info.run_id)


client = mlflow.MlflowClient()
experiment = client.create_experiment(f"gc-{uuid.uuid4().hex}")
gone = client.create_experiment(f"gc-gone-{uuid.uuid4().hex}")
planted = {
    "experiment": experiment,
    "gone_experiment": gone,
    "many": run_with(experiment, [f"{number}.txt" for number in range(int(sys.argv[1]))]),
    "odd": run_with(experiment, ODD),
    "of_gone": run_with(gone, ["1.txt"]),
    "live": run_with(experiment, ["1.txt", *ODD]),
    "young": run_with(experiment, ["1.txt", "2.txt"]),
}
for name in ("many", "odd", "young"):
    client.delete_run(planted[name])
client.delete_experiment(gone)
print(json.dumps({**planted, "odd_names": ODD}))
