"""Runs on the host that is measured, with Debian's Python and nothing else: one JSON request on standard input, one answer.

    python3 -m agent < request.json

{"do": "measure", "units": [...], "target": {...}, "ready": "/path", "kind": "mix", "options": {...}} thaws the units, loads them and freezes
them again; the other things it does are the functions below, each with its request's other keys.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import load, machine, page
from .client import Target

READY_SECONDS = 600.0


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """One load on one variant, everything else of it kept still before and after."""
    units = request["units"]
    machine.thaw(units)
    try:
        before = [machine.processes(unit) for unit in request["steady"]]
        ready(request)
        watch = machine.Watch(units)
        sample = load.perform(request["target"], request["kind"], request["options"], watch.begin)
        used = watch.read(sample["client_cpu"])
        # A supervisor that lost a worker starts another: such a figure would be one of a start.
        steady = before == [machine.processes(unit) for unit in request["steady"]]
    finally:
        machine.freeze(units)
    return {"load": sample, **used, "steady": steady}


def ready(request: dict[str, Any]) -> float:
    """Seconds until the server answered."""
    return asyncio.run(load.wait_until_answered(Target(**request["target"]), request["ready"], READY_SECONDS))


def search(request: dict[str, Any]) -> dict[str, list[float]]:
    """Seconds of each call of each search."""
    return asyncio.run(load.measure_queries(Target(**request["target"]), **request["options"]))


def start(request: dict[str, Any]) -> dict[str, float]:
    """Seconds from `systemctl start` to the first answer that needed the database."""
    unit = request["unit"]
    subprocess.run(["systemctl", "stop", unit], check=True)
    begin = time.perf_counter()
    subprocess.run(["systemctl", "start", "--no-block", unit], check=True)
    ready(request)
    seconds = time.perf_counter() - begin
    subprocess.run(["systemctl", "stop", unit], check=True)
    return {"seconds": seconds}


def transfer(request: dict[str, Any]) -> dict[str, float]:
    """Bytes a second as curl counts them; its configuration comes on standard input, so that no password is in a command line."""
    done = subprocess.run(
        [
            *("curl", "--config", "-", "--silent", "--show-error", "--fail-with-body", "--output", "/dev/null"),
            *("--write-out", "%{time_total} %{size_upload} %{size_download}"),
        ],
        input=request["configuration"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"curl: {done.stderr.strip()}")
    seconds, up, down = (float(word) for word in done.stdout.split())
    return {"seconds": seconds, "bytes": max(up, down), "rate": max(up, down) / seconds}


def move(request: dict[str, Any]) -> dict[str, float]:
    """A file up and down with the release's Python; `server_cpu` is what the units used meanwhile."""
    watch = machine.Watch(request["units"])
    done = subprocess.run(
        [request["python"], Path(__file__).with_name("mover.py")],
        input=json.dumps(request["moves"]),
        env={"PATH": "/usr/bin:/bin", "HOME": "/root", **request["environment"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"mover: {done.stderr.strip()[-1500:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "server_cpu": watch.read(0)["server_cpu"]}


DOES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "measure": measure,
    "start": start,
    "transfer": transfer,
    "move": move,
    "page": lambda request: page.weigh(Target(**request["target"])),
    "freeze": lambda request: machine.freeze(request["units"]),
    "thaw": lambda request: machine.thaw(request["units"]),
    "memory": lambda request: machine.resident_bytes(request["units"]),
    "ready": ready,
    "search": search,
}


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    print(json.dumps(DOES[request["do"]](request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
