"""The host that is measured, from the controller: playbooks, and the agent over SSH."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
AGENT_SECONDS = 1800
SITE_SECONDS = 1800


class Failed(Exception):
    """A command failed; the message says which and what it said last."""


def run(command: list[str], *, log: Path, seconds: float = SITE_SECONDS) -> float:
    """A command with its output in a log. Returns how many seconds it took; raises Failed."""
    start = time.monotonic()
    with log.open("a", encoding="utf-8") as said:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=seconds, check=False, cwd=ROOT
        )
    if done.returncode:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise Failed(f"{shlex.join(command)} ended with {done.returncode} (all of it: {log}):\n{last}")
    return time.monotonic() - start


class Host:
    """One host, made for the measurement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "inventory"
        self.log = folder / "bench.log"
        self.name, self.address, self.alias = "bench-a", "10.213.77.46", "mlflow.bench.test"
        self.vault = ["--vault-id", f"bench@{ROOT / 'molecule/vault-password'}"]
        self.variables: dict[str, Any] = {}

    def up(self) -> None:
        """Boot it, with an inventory whose secrets are outside the checkout."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(HERE / "inventory", self.inventory, dirs_exist_ok=True)
        run([str(ROOT / "tools/hosts"), "up", self.name, self.address, "trixie", "--alias", self.alias], log=self.log)
        self.play("playbooks/secrets.yml")
        listed = subprocess.run(
            ["ansible-inventory", "--inventory", str(self.inventory), *self.vault, "--host", self.name],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        self.variables = json.loads(listed.stdout)

    def down(self) -> None:
        """Take it away, with all that was written on this machine."""
        run([str(ROOT / "tools/hosts"), "down", self.name], log=self.log)
        shutil.rmtree(self.folder)

    def play(self, playbook: str, *options: str) -> float:
        """A playbook on the host; how many seconds it took."""
        return run(
            ["ansible-playbook", "--inventory", str(self.inventory), *self.vault, *options, playbook], log=self.log
        )

    def gather(self) -> float:
        """Gathering facts and nothing else; how many seconds it took."""
        return run(
            [
                "ansible",
                "--inventory",
                str(self.inventory),
                *self.vault,
                "mlflow",
                "--module-name",
                "ansible.builtin.setup",
            ],
            log=self.log,
        )

    def ssh(self, command: str, given: str = "") -> str:
        """A command on the host, with standard input."""
        options = shlex.split(str(self.variables["ansible_ssh_common_args"]))
        key = str(self.variables["ansible_ssh_private_key_file"])
        done = subprocess.run(
            ["ssh", "-i", key, *options, f"root@{self.address}", command],
            input=given,
            capture_output=True,
            text=True,
            timeout=AGENT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{command}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout

    def agent(self, does: str, **request: Any) -> Any:
        """Ask the agent on the host."""
        return json.loads(self.ssh("cd /opt/bench && python3 -m agent", json.dumps({"do": does, **request})))

    def sql(self, statements: str) -> list[str]:
        """Statements on MLflow's database as PostgreSQL's administrator; one line a row."""
        said = self.ssh("cd / && runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d mlflow", statements)
        return [line for line in said.splitlines() if line]


def load_average() -> float:
    """Of one minute, on this machine."""
    return os.getloadavg()[0]
