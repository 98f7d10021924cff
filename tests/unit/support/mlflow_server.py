"""A real MLflow server as a release runs it: MLflow from the lock, inside our entry point, on loopback, gone after the test.

Its Python is that of `tools/environment client`, which is made from the same lock as the releases on hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

HOOKS = ROOT / "roles/mlflow_server/files/hooks"
CLIENT = Path(__file__).with_name("release_client.py")
START_SECONDS = (
    900  # the first start of a new environment compiles all of MLflow, on a machine that may do other things
)


@dataclass(frozen=True)
class MlflowServer:
    """A running server. `localhost` and 127.0.0.1 are two names of it, so that a test can treat them differently."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://localhost:{self.port}"

    def ask(self, path: str) -> Any:
        """The JSON behind a path."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)


def _hooks_as_installed(folder: Path) -> Path:
    """The package of hooks as a folder of an installation has it: MLflow finds its applications by entry points."""
    folder.mkdir(exist_ok=True)
    package, about = folder / "mlops_mlflow_hooks", folder / "mlops_mlflow_hooks-1.0.0.dist-info"
    if not package.exists():
        package.symlink_to(HOOKS / "src/mlops_mlflow_hooks")
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-mlflow-hooks\nVersion: 1.0.0\n")
        points = (HOOKS / "pyproject.toml").read_text().partition('[project.entry-points."mlflow.app"]\n')[2]
        (about / "entry_points.txt").write_text(f"[mlflow.app]\n{points.replace(chr(34), '')}")
    return folder


@contextlib.contextmanager
def running_mlflow(folder: Path, environment: Mapping[str, str], app: str = "mlops-none") -> Iterator[MlflowServer]:
    """Start a server whose database is in `folder`; a later one with the same folder has what the earlier one had."""
    port, log = free_port(), folder / "mlflow.log"
    whole = {
        "PATH": f"{client_python().parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(_hooks_as_installed(folder / "site")),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_HOST": LOOPBACK,
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": "1",
        "MLOPS_SERVER_THREADS": "4",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        **environment,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["mlflow", "server", "--app-name", app],
            cwd=folder,
            env=whole,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A group of its own: workers are processes of the server's.
            start_new_session=True,
        )
    server = MlflowServer(port, log)
    try:
        _wait(process, server)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], server: MlflowServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if server.ask("/mlops/ready") == {"ready": True, "failing": {}}:
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow did not start:\n{server.log.read_text(errors='replace')[-3000:]}") from None
            time.sleep(0.2)


def in_release(does: str, environment: Mapping[str, str], **request: Any) -> dict[str, Any]:
    """What `release_client.py` answers, run with the release's Python and these variables."""
    variables = {
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **environment,
    }
    done = subprocess.run(
        [client_python(), CLIENT, does],
        input=json.dumps(request),
        env={"HOME": "/nonexistent", "DO_NOT_TRACK": "true", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{does} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer
