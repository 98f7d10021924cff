"""What a client of MLflow does, in a process of its own with the Python of a release: python release_client.py move|verify < request.

Counts bytes by the port of whoever is on the other side, below every library that moves them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar


class Counting(socket.socket):
    """A socket that counts."""

    sent: ClassVar[Counter[str]] = Counter()
    received: ClassVar[Counter[str]] = Counter()

    def _peer(self) -> str:
        peer = self.getpeername()
        return str(peer[1]) if isinstance(peer, tuple) else str(peer)

    def send(self, data: Any, *arguments: Any) -> int:
        """As a socket's."""
        count = super().send(data, *arguments)
        self.sent[self._peer()] += count
        return count

    def sendall(self, data: Any, *arguments: Any) -> None:
        """As a socket's."""
        super().sendall(data, *arguments)
        self.sent[self._peer()] += memoryview(data).nbytes

    def recv_into(self, *arguments: Any, **keywords: Any) -> int:
        """As a socket's."""
        count = super().recv_into(*arguments, **keywords)
        self.received[self._peer()] += count
        return count


socket.socket = Counting  # type: ignore[misc]


def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def move(request: dict[str, Any]) -> dict[str, Any]:
    """A file goes up into a new run of an experiment and comes down again; or comes down from a run that exists."""
    from mlflow import MlflowClient

    client = MlflowClient()
    path = Path(request["file"])
    run_id = request.get("run", "")
    if not run_id:
        known = client.get_experiment_by_name(request["experiment"])
        experiment = known.experiment_id if known else client.create_experiment(request["experiment"])
        run_id = client.create_run(experiment).info.run_id
        client.log_artifact(run_id, str(path), "data")
    up = dict(Counting.sent)
    with tempfile.TemporaryDirectory(dir=path.parent) as target:
        came = sha256(Path(client.download_artifacts(run_id, f"data/{path.name}", target)))
    return {
        "run": run_id,
        "location": client.get_run(run_id).info.artifact_uri,
        "sent": up,
        "received": dict(Counting.received),
        "came": came,
        "listed": [entry.path for entry in client.list_artifacts(run_id, "data")],
    }


def verify(request: dict[str, Any]) -> dict[str, Any]:
    """Some steps of a verification: what each says, or the finding of the first that fails."""
    spec = importlib.util.spec_from_file_location("verify", request["program"])
    assert spec is not None
    assert spec.loader is not None
    program: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    told: list[dict[str, Any]] = []
    client = program.Client(
        {**program.REQUEST, "nonce": "1-ab", "ca_pem": "", "store_ca_pem": "", **request["request"]}, told.append
    )
    client.connect()
    details = {}
    for step in request["steps"]:
        try:
            details[step] = getattr(client, f"step_{step}")()
        except program.StepFailure as failure:
            return {
                "step": step,
                "finding": program.make_finding(failure.finding, failure.summary, evidence=failure.evidence),
            }
    return {"details": details}


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    said = {"move": move, "verify": verify}[sys.argv[1]](json.load(sys.stdin))
    print(json.dumps(said))
