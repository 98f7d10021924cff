"""Run ansible-playbook for real, with the ansible-core of the test's own Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Played:
    """What a run came to."""

    code: int
    output: str

    @property
    def sentences(self) -> list[str]:
        """The findings in the output, each once."""
        found = re.findall(r"\[[A-Z][A-Z0-9_]+_[A-Z0-9_]+\] .*?(?=\\n|\"|$)", self.output, re.M)
        return list(dict.fromkeys(sentence.strip() for sentence in found))

    @property
    def changed(self) -> int:
        """How many tasks changed something, over all hosts."""
        return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", self.output))


def environment(home: Path) -> dict[str, str]:
    """The variables of a run that must not depend on whoever runs the tests."""
    settings = home / "ansible.cfg"
    settings.touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **kept,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_CONFIG": str(settings),
        "ANSIBLE_HOME": str(home),
        # As on hosts, Debian's own: what else there is on a machine of developers may not even run.
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }


def tool(home: Path, name: str, *arguments: str | Path, timeout: float = 400) -> Played:
    """Run one of Ansible's commands, for `timeout` seconds at most."""
    done = subprocess.run(
        [BIN / name, *arguments],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    return Played(done.returncode, done.stdout + done.stderr)


def play(home: Path, playbook: Path, *arguments: str | Path, timeout: float = 400) -> Played:
    """Run a playbook, for `timeout` seconds at most."""
    return tool(home, "ansible-playbook", playbook, *arguments, timeout=timeout)
