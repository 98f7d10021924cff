"""Moves a file up and down, with the Python of the release: as MLflow's client does, or straight with the library of the store.

    python mover.py < request.json

{"bucket": ..., "file": ..., "store": true or false}; where the server and the store are comes in the environment. Answers how many
seconds each way took. What both sides import at their first file is not counted: a small one goes before.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

WARM_UP = b"x" * 2**20


def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def by_store(store: Any, bucket: str) -> Callable[[Path, Path], tuple[float, Path, float]]:
    """With nothing between."""

    def move(path: Path, folder: Path) -> tuple[float, Path, float]:
        key, target = f"itself/{path.name}", folder / path.name
        start = time.perf_counter()
        store.upload_file(str(path), bucket, key)
        between = time.perf_counter()
        store.download_file(bucket, key, str(target))
        return between - start, target, time.perf_counter() - between

    return move


def by_mlflow() -> Callable[[Path, Path], tuple[float, Path, float]]:
    """As the environment says."""
    from mlflow import MlflowClient

    client = MlflowClient()
    known = client.get_experiment_by_name("transfer")
    experiment = known.experiment_id if known else client.create_experiment("transfer")

    def move(path: Path, folder: Path) -> tuple[float, Path, float]:
        run = client.create_run(experiment).info.run_id
        start = time.perf_counter()
        client.log_artifact(run, str(path))
        between = time.perf_counter()
        target = client.download_artifacts(run, path.name, str(folder))
        return between - start, Path(target), time.perf_counter() - between

    return move


def empty(store: Any, bucket: str) -> None:
    """Take the bucket away with all that is in it: the disk is needed for the next."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            store.delete_object(Bucket=bucket, Key=entry["Key"])
    store.delete_bucket(Bucket=bucket)


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    store = boto3.client("s3", endpoint_url=request["endpoint"])
    bucket, path = request["bucket"], Path(request["file"])
    store.create_bucket(Bucket=bucket)
    move = by_store(store, bucket) if request["store"] else by_mlflow()
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            small = Path(folder) / "small"
            small.write_bytes(WARM_UP)
            move(small, Path(tempfile.mkdtemp(dir=folder)))
            up, came, down = move(path, Path(tempfile.mkdtemp(dir=folder)))
            if sha256(came) != sha256(path):
                raise RuntimeError(f"{path} came back different")
    finally:
        empty(store, bucket)
    print(json.dumps({"up": up, "down": down}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
