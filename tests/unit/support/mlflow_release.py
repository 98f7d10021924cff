"""MLflow itself, as servers run it: the locked environment of a client, which `tools/environment client` builds once on a machine."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
_MARK = "answer of mlflow:"


@functools.cache
def python() -> str:
    """The interpreter that has MLflow."""
    built = subprocess.run([ROOT / "tools/environment", "client"], check=True, capture_output=True, text=True)
    return f"{built.stdout.strip()}/bin/python"


def ask(program: str, folder: Path, **given: Any) -> Any:
    """Run a program with `given` as a dictionary; returns what it puts into `answer`.

    One process, for MLflow takes many seconds to be imported.
    """
    source = f"import json\ngiven = json.loads({json.dumps(given)!r})\nanswer = None\n{program}\nprint({_MARK!r} + json.dumps(answer))\n"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
    done = subprocess.run(
        [python(), "-"],
        input=source,
        cwd=folder,
        env={
            **kept,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "GIT_PYTHON_REFRESH": "quiet",
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    assert done.returncode == 0, done.stderr[-3000:]
    assert said, done.stdout[-1000:] + done.stderr[-1000:]
    return json.loads(said[-1].removeprefix(_MARK))
