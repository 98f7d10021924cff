"""Programs that the development environment has not, from the locked environments of tools/environment.

They are built once a machine and shared with the scenarios, which need them as well.
"""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@functools.cache
def _build(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "tools/environment", name], capture_output=True, text=True, check=False, timeout=900)


def environment(name: str) -> Path:
    """The folder of an environment, which is built if it is not there yet; a machine that cannot have it skips the test."""
    done = _build(name)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def client_python() -> Path:
    """A Python with MLflow in the version, and with the libraries, of the servers."""
    return environment("client") / "bin/python"


def weed() -> Path:
    """SeaweedFS."""
    return environment("object-store") / "bin/weed"
