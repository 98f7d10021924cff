# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a restore drill asks of the installed MLflow, whose Python runs this file: JSON in the last line of standard output.

tracking URI              open a tracking database by MLflow's client, read from it, count what it sees
live QUERY                the first column of a query on the database of MLOPS_DATABASE_URI
bucket URI NUMBER MOMENT  read some artifacts of a place by MLflow's own stores; those of S3 are compared with their checksums there
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

LISTED = 5000  # objects among which the sample is chosen


def tracking(uri: str) -> dict[str, Any]:
    """Open it as a server does, and read."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiments = []
    token = None
    while True:
        page = client.search_experiments(view_type=mlflow.entities.ViewType.ALL, max_results=1000, page_token=token)
        experiments += [one.experiment_id for one in page]
        token = page.token
        if not token:
            break
    newest = client.search_runs(experiments[-100:], run_view_type=mlflow.entities.ViewType.ALL, max_results=20)
    read = [client.get_run(run.info.run_id).info.run_id for run in newest]
    models = [model.name for model in client.search_registered_models(max_results=100)]
    return {
        "version": mlflow.__version__,
        "experiments": len(experiments),
        "runs_read": len(read),
        "models": len(models),
    }


def live(query: str) -> dict[str, Any]:
    """Ask the database that serves, without a right to write."""
    import psycopg2

    uri = os.environ["MLOPS_DATABASE_URI"].replace("postgresql+psycopg2:", "postgresql:", 1)
    with contextlib.closing(psycopg2.connect(uri, connect_timeout=10)) as connection:
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '60s'")
            cursor.execute(query)
            return {"rows": [row[0] for row in cursor.fetchall()]}


def bucket(uri: str, number: str, moment: str) -> dict[str, Any]:
    """Read a sample."""
    before = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
    told: dict[str, Any] = {"read": 0, "bytes": 0, "compared": 0, "gone": 0, "wrong": [], "unknown": []}
    if uri.startswith("s3://"):
        return _s3(uri, int(number), before, told)
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri)
    for path, size in _some(list(_walk(repository, "")), int(number)):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(repository.download_artifacts(path, folder))
            told["read"] += 1
            told["bytes"] += size
            if file.stat().st_size != size:
                told["wrong"].append(path)
    return told


def _some(found: list[Any], number: int) -> list[Any]:
    return random.sample(found, min(number, len(found)))


def _walk(repository: Any, path: str) -> Iterator[tuple[str, int]]:
    waiting, seen = [path], 0
    while waiting and seen < LISTED:
        for one in repository.list_artifacts(waiting.pop() or None):
            if one.is_dir:
                waiting.append(one.path)
            else:
                seen += 1
                yield one.path, one.file_size


def _s3(uri: str, number: int, before: datetime.datetime, told: dict[str, Any]) -> dict[str, Any]:
    import boto3

    name, _slash, prefix = uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix.rstrip("/") + "/")
    found: list[dict[str, Any]] = []
    for page in pages:
        found += [one for one in page.get("Contents", []) if one["LastModified"] <= before]
        if len(found) >= LISTED:
            break
    for one in _some(found, number):
        answer = client.get_object(Bucket=name, Key=one["Key"])
        digest, size = hashlib.md5(usedforsecurity=False), 0
        for chunk in answer["Body"].iter_chunks(1024**2):
            digest.update(chunk)
            size += len(chunk)
        told["read"] += 1
        told["bytes"] += size
        tag = answer["ETag"].strip('"')
        # Of an object in parts, or one that is encrypted with a key of its own, the tag is no checksum.
        plain = "-" not in tag and answer.get("ServerSideEncryption", "AES256") == "AES256"
        told["compared"] += plain
        if size != one["Size"] or (plain and digest.hexdigest() != tag):
            told["wrong"].append(one["Key"])
    return told


if __name__ == "__main__":
    questions: Mapping[str, Callable[..., Any]] = {"tracking": tracking, "live": live, "bucket": bucket}
    print(json.dumps(questions[sys.argv[1]](*sys.argv[2:])))
