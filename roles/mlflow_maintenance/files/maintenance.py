# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one job of maintenance once, or note how a run ended that could not do so itself.

python -I maintenance.py run JOB     with $CREDENTIALS_DIRECTORY/job.json and $STATE_DIRECTORY, as the unit of the job has them
python -I maintenance.py ended JOB   systemd calls it after every run, with $SERVICE_RESULT and $EXIT_STATUS
python -I maintenance.py follow JOB [STATE]  wait until a run that began in STATE has ended, or for a while; print its state as JSON

What it imports lies beside it, under the names that it has in the collection.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_job as frame

_UTILS = "ansible_collections.mlops.mlflow.plugins.module_utils"
_START_SECONDS = 30.0
_OF_SYSTEMD = 200


def secrets_of(request: dict[str, Any]) -> tuple[str, ...]:
    """What must be in no journal and no result."""
    found = [request.get("store", {}).get("secret_access_key", "")]
    for parameters in [*request.get("databases", []), request.get("lock", {})]:
        found.append(parameters.get("password", ""))
    found.append(request.get("mail", {}).get("password", ""))
    # The address of a webhook lets in whoever knows it, and that of a proxy may hold a password.
    found += [request.get("webhook", {}).get(key, "") for key in ("url", "token", "proxy")]
    return tuple(one for one in found if len(one) > 3)


def completed(name: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The request with what only the unit knows: where systemd put the server's environment, and what that says."""
    tracking = importlib.import_module(f"{_UTILS}._tracking_database")
    whole = dict(request)
    try:
        if (folder / "server.env").exists():
            text = (folder / "server.env").read_text(encoding="utf-8")
            whole["server_environment"] = str(folder / "server.env")
            whole["workspaces"] = tracking.server_variable(text, "MLFLOW_ENABLE_WORKSPACES").lower() in ("true", "1")
            whole["lock"] = tracking.parameters_of("", whole["server_environment"])
        if "uris" in whole:
            whole["databases"] = [tracking.parameters_of(uri, "") for uri in whole["uris"]]
        if name == "database":
            whole["lock"] = whole["databases"][0]
        if name == "capacity":
            # Each host has disks of its own to look at.
            server = whole.pop("lock", None)
            whole.setdefault("databases", [server] if server else [])
        if name == "delivery":
            whole["memory"] = str(Path(os.environ["STATE_DIRECTORY"]) / "delivered.json")
    except tracking.DatabaseError as error:
        raise frame.JobError(f"{error}.") from None
    return whole


def run(name: str, notes: frame.Notes) -> int:
    """Do the job."""
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    try:
        request = completed(name, frame.read_request(folder / "job.json", name), folder)
    except frame.JobError as error:
        return frame.refused(name, os.uname().nodename, notes, str(error))
    job = importlib.import_module(f"{_UTILS}._maintenance_{name}")
    if name in ("gc", "traces"):
        importlib.import_module(f"{_UTILS}._maintenance_gc").environment(request)
    work = job.work if name == "database" else functools.partial(job.work, now=time.time())
    lock = frame.unlocked
    if "lock" in request:
        lock = functools.partial(frame.locked, request["lock"], name, request["host"])
    return frame.run(name, work, lock, request, notes, secrets_of(request))


def is_active(unit: str) -> bool:
    """Whether a run is under way."""
    asked = ["systemctl", "show", "--property=ActiveState", "--value", unit]
    said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    return said in ("active", "activating", "deactivating", "reloading")


def follow(name: str, notes: frame.Notes, before: str) -> str:
    """Wait for something to tell, and return it. The longer a run takes, the more seldom it is told of."""
    begun = time.monotonic()
    known = json.loads(before)["last"] if before else None
    while True:
        active = is_active(f"mlflow-maintenance-{name}.service")
        running, last = notes.read(frame.RUNNING), notes.read(frame.LAST)
        state = json.dumps({"active": active, "running": running, "last": last}, sort_keys=True)
        waited, lasts = time.monotonic() - begun, time.time() - float(running.get("started") or time.time())
        patience = min(900.0, max(5.0, 0.4 * lasts)) if active else _START_SECONDS
        if not before or waited >= patience or (not active and last != known):
            return state
        time.sleep(1)


def main(arguments: list[str]) -> int:
    """Do what is asked."""
    what, name, *more = arguments
    notes = frame.Notes(Path(os.environ["STATE_DIRECTORY"]))
    if what == "run":
        return run(name, notes)
    if what == "ended":
        noted = frame.cut_off(name, os.uname().nodename, notes, os.environ.get("SERVICE_RESULT", ""))
        # What systemd itself ends with when there is no program, no user, or no place for it; programs end below.
        status = os.environ.get("EXIT_STATUS", "")
        if not noted and status.isdigit() and int(status) >= _OF_SYSTEMD:
            sentence = f"systemd could not start it (status {status}); see journalctl -u mlflow-maintenance-{name}."
            frame.refused(name, os.uname().nodename, notes, sentence)
        return 0
    if what == "follow":
        print(follow(name, notes, more[0] if more else ""))
        return 0
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
