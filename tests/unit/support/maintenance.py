"""The jobs of maintenance as hosts run them: the files that the role ships, unpacked by its own program, in a process of their own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT

ROLE = ROOT / "roles/mlflow_maintenance"
UTILS = ROOT / "plugins/module_utils"
PACKAGE = "ansible_collections.mlops.mlflow.plugins.module_utils"


def shipped() -> list[str]:
    """The files of module_utils that the role brings to a host."""
    listed = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__mlflow_maintenance_modules"]
    assert isinstance(listed, list)
    return listed


def imported(path: Path) -> set[str]:
    """Which files of module_utils a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith(f"{PACKAGE}."):
                place = name.removeprefix(f"{PACKAGE}.").replace(".", "/")
                found |= {one for one in (f"{place}.py", f"{place}/__init__.py") if (UTILS / one).exists()}
    return found


def unpack(folder: Path) -> Path:
    """The programs as they are on a host; returns the one that is run."""
    library = folder / "library"
    if not library.exists():
        sources = {"maintenance.py": (ROLE / "files/maintenance.py").read_text()}
        sources |= {f"{PACKAGE.replace('.', '/')}/{name}": (UTILS / name).read_text() for name in shipped()}
        unpacker = (ROLE / "files/unpack.py").read_text()
        subprocess.run([sys.executable, "-c", unpacker, library], input=json.dumps(sources), text=True, check=True)
    return library / "maintenance.py"


@dataclass(frozen=True)
class Ran:
    """What one run came to."""

    code: int
    output: str
    result: dict[str, Any]

    @property
    def ids(self) -> list[str]:
        """Of its findings."""
        return [one["id"] for one in self.result["findings"]]


@dataclass
class Host:
    """A host with a folder for everything that its units have."""

    folder: Path
    python: str = sys.executable
    runs: int = 0

    @property
    def state(self) -> Path:
        """$STATE_DIRECTORY."""
        path = self.folder / "state"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def start(
        self,
        what: str,
        job: str,
        request: Mapping[str, Any] | None = None,
        server: str = "",
        *arguments: str,
        **more: str,
    ) -> subprocess.Popen[str]:
        """Begin; `server` is the text of server.env."""
        self.runs += what == "run"
        credentials = self.folder / "credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        if request is not None:
            (credentials / "job.json").write_text(json.dumps({"job": job, "host": "app1", "dry_run": False, **request}))
        if server:
            (credentials / "server.env").write_text(server)
        return subprocess.Popen(
            [self.python, "-IB", str(unpack(self.folder)), what, job, *arguments],
            cwd=self.state,
            env={
                "PATH": "/usr/bin:/bin",
                "CREDENTIALS_DIRECTORY": str(credentials),
                "STATE_DIRECTORY": str(self.state),
                "HOME": str(self.folder),
                "INVOCATION_ID": f"{self.runs}",
                **more,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, job: str, request: Mapping[str, Any] | None = None, server: str = "", **more: str) -> Ran:
        """Run a job to its end."""
        process = self.start("run", job, request, server, **more)
        output, _nothing = process.communicate(timeout=600)
        return Ran(process.returncode, output, self.last())

    def ended(self, job: str, why: str, status: str = "") -> None:
        """What systemd calls after a run."""
        process = self.start("ended", job, SERVICE_RESULT=why, EXIT_STATUS=status)
        assert process.wait(60) == 0

    def last(self) -> dict[str, Any]:
        """The last result."""
        found = json.loads((self.state / "last.json").read_text())
        assert isinstance(found, dict)
        return found
