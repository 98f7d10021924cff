# Copyright: the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say in a few seconds, without changing anything, what of MLflow is on this host and how it is.

Usage: python3 - REQUEST < status.py

REQUEST is a JSON object (see REQUEST below) without secrets. The answer is one JSON document on stdout. Standard library
only; nothing is installed and nothing is written. What roles know is read from /etc/ansible/facts.d/mlflow_*.fact.
"""

from __future__ import annotations

import datetime
import http.client
import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REQUEST: dict[str, Any] = {
    "host": "",
    "domain": "",
    "https_port": 443,
    "install_dir": "/opt/mlflow",
    "config_dir": "/etc/mlflow",
    "artifact_uri": "",
    "facts_dir": "/etc/ansible/facts.d",
    "verify_result": "/var/lib/mlflow-verify/last.json",
    "maintenance_dir": "/var/lib/mlflow-maintenance",
    "seconds": 3,
}
SLOTS = ("a", "b")
LAST_KEYS = ("outcome", "sentence", "started", "ended", "seconds", "last_success", "dry_run", "findings", "details")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; {} if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def facts(folder: Path) -> dict[str, dict[str, Any]]:
    """What each role wrote about this host, by concern."""
    return {path.stem.removeprefix("mlflow_"): read_json(path) for path in sorted(folder.glob("mlflow_*.fact"))}


def environment_of(path: Path, wanted: set[str]) -> dict[str, str]:
    """Some variables of a systemd environment file; the others, secrets among them, are not looked at."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        name, separator, value = line.partition("=")
        if separator and name in wanted:
            words = shlex.split(value)
            found[name] = words[0] if words else ""
    return found


def unit_states(names: list[str]) -> dict[str, dict[str, Any]]:
    """State of units and since when they run; units that do not exist are left out."""
    try:
        done = subprocess.run(
            ["systemctl", "show", "--property=Id,LoadState,ActiveState,ActiveEnterTimestampMonotonic", *names],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse_units(done.stdout, time.clock_gettime(time.CLOCK_MONOTONIC))


def parse_units(text: str, now: float) -> dict[str, dict[str, Any]]:
    """What `systemctl show` prints: one block of lines a unit."""
    units = {}
    for block in text.strip().split("\n\n"):
        known = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if known.get("LoadState") != "loaded":
            continue
        since = int(known.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        active = known["ActiveState"]
        units[known["Id"]] = {
            "state": active,
            "uptime_seconds": int(now - since) if active == "active" and since else 0,
        }
    return units


def ready(variables: dict[str, str], seconds: float) -> str:
    """Ask a server whether it reaches its databases: "yes", or why not."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(variables["MLFLOW_HOST"], variables["MLFLOW_HOST"])
    port = int(variables["MLFLOW_PORT"])
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        if variables.get("MLOPS_TLS_CERTIFICATE"):
            context = ssl.create_default_context(cafile=variables["MLOPS_TLS_CA"])
            context.load_cert_chain(variables["MLOPS_TLS_CERTIFICATE"], variables["MLOPS_TLS_KEY"])
            plain = socket.create_connection((host, port), timeout=seconds)
            connection.sock = context.wrap_socket(plain, server_hostname=variables["MLOPS_TLS_NAME"])
        connection.request("GET", "/mlops/ready")
        answer = connection.getresponse()
        body = json.loads(answer.read(2000) or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no: the server does not answer ({type(error).__name__})"
    finally:
        connection.close()
    if answer.status == 200:
        return "yes"
    return "no: " + (
        ", ".join(f"{name} ({why})" for name, why in body.get("failing", {}).items()) or str(answer.status)
    )


def served_certificate(domain: str, port: int, seconds: float) -> str:
    """The certificate that the edge on this host presents, in PEM; "" if there is none."""
    # Not verified: an expired certificate is what one wants to read here.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=domain or None) as connection,
        ):
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")
    except OSError:
        return ""


def days_left(pem: str) -> int | None:
    """Days until a certificate ends, negative when it has; None if that cannot be read."""
    try:
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-enddate"], input=pem, capture_output=True, text=True, timeout=5, check=True
        )
        end = ssl.cert_time_to_seconds(done.stdout.strip().removeprefix("notAfter="))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return int((end - time.time()) // 86400)


def certificates(request: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What each certificate of this host has left. The public one is read from the port: a file is not what is served."""
    found = []
    folder = Path(request["config_dir"]) / "tls"
    names = sorted(
        {path.stem for path in folder.glob("*.pem")} | set(known.get("certificates", {}).get("certificates", {}))
    )
    for name in names:
        pem = ""
        origin = "installed"
        if name == "edge":
            pem = served_certificate(request["domain"], int(request["https_port"]), request["seconds"])
            origin = "served" if pem else "installed"
        if not pem:
            try:
                pem = (folder / f"{name}.pem").read_text(encoding="ascii")
            except (OSError, ValueError):
                continue
        found.append({"name": name, "days_left": days_left(pem), "source": origin})
    return found


def disk(purpose: str, path: str) -> dict[str, Any] | None:
    """Free space where something is kept."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return {
        "purpose": purpose,
        "path": path,
        "free_gb": round(usage.free / 1e9, 1),
        "free_percent": round(100 * usage.free / max(usage.total, 1)),
    }


def disks(request: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Free space of releases, artifacts and database, where this host holds them."""
    places = [("releases", request["install_dir"])]
    artifacts = str(request["artifact_uri"]).removeprefix("file://")
    if artifacts.startswith("/") and (Path(request["install_dir"]) / "current").exists():
        places.append(("artifacts", artifacts))
    cluster = str(known.get("database", {}).get("cluster", ""))
    if cluster:
        places.append(("database", f"/var/lib/postgresql/{cluster}"))
    return [entry for entry in (disk(purpose, path) for purpose, path in places) if entry]


def jobs(request: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The jobs of maintenance on this host: as they were set up, and how the last run of each ended."""
    listed = [one for one in known.get("maintenance", {}).get("jobs", []) if isinstance(one, dict) and "name" in one]
    units = unit_states([f"mlflow-maintenance-{one['name']}.service" for one in listed]) if listed else {}
    try:
        since = (Path(request["facts_dir"]) / "mlflow_maintenance.fact").stat().st_mtime
    except OSError:
        since = 0.0
    found = []
    for one in listed:
        folder = Path(request["maintenance_dir"]) / one["name"]
        state = units.get(f"mlflow-maintenance-{one['name']}.service", {}).get("state", "")
        running = read_json(folder / "running.json")
        found.append(
            {
                **one,
                "since": since,
                "active": state in ("active", "activating", "deactivating"),
                "started": float(running.get("started") or 0),
                "progress": str(running.get("text", "")),
                # What the user of a job wrote; nothing else of it is passed on, wherever the file may lead.
                "last": {key: value for key, value in read_json(folder / "last.json").items() if key in LAST_KEYS},
            }
        )
    return found


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Everything there is to say about this host."""
    known = facts(Path(request["facts_dir"]))
    config = Path(request["config_dir"])
    units = unit_states([f"mlflow-server@{slot}.service" for slot in SLOTS] + ["nginx.service", "postgresql.service"])
    current = Path(request["install_dir"]) / "current"
    release = current.resolve().name if current.exists() else ""
    environment_file = config / "environment"
    answer: dict[str, Any] = {
        "host": request["host"] or socket.gethostname(),
        "environment": environment_file.read_text(encoding="utf-8").strip() if environment_file.exists() else "",
        "release": release,
        "version": release.partition("-")[0],
        "slots": {},
        "live_slots": [],
        "workers": None,
        "uptime_seconds": None,
        "ready": None,
        "edge": None,
        "database": None,
        "certificates": certificates(request, known),
        "disks": disks(request, known),
        "last_verify": None,
        "last_backup": None,
        "jobs": jobs(request, known),
        "now": time.time(),
        "facts": known,
    }
    asked: dict[str, dict[str, str]] = {}
    for slot in SLOTS:
        unit = units.get(f"mlflow-server@{slot}.service")
        wanted = {"MLFLOW_HOST", "MLFLOW_PORT", "MLFLOW_WORKERS"}
        wanted |= {"MLOPS_TLS_CERTIFICATE", "MLOPS_TLS_KEY", "MLOPS_TLS_CA", "MLOPS_TLS_NAME"}
        variables = environment_of(config / f"slot-{slot}.env", wanted)
        if unit is None or not release:
            continue
        answer["slots"][slot] = {**unit, "port": int(variables.get("MLFLOW_PORT") or 0)}
        if unit["state"] == "active":
            answer["live_slots"].append(slot)
            answer["workers"] = int(variables.get("MLFLOW_WORKERS") or 0) or None
            answer["uptime_seconds"] = unit["uptime_seconds"]
            if "MLFLOW_PORT" in variables:
                asked[slot] = variables
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = dict(zip(asked, pool.map(lambda one: ready(one, request["seconds"]), asked.values()), strict=True))
    if release:
        answer["ready"] = "; ".join(sorted(set(answers.values()))) or "no: no slot runs"
    if any(entry["name"] == "edge" for entry in answer["certificates"]):
        answer["edge"] = units.get("nginx.service", {"state": "not installed", "uptime_seconds": 0})
    if "database" in known:
        state = postgresql_state(str(known["database"].get("cluster", "")), units)
        answer["database"] = {"version": known["database"].get("version", ""), "state": state}
    verified = read_json(Path(request["verify_result"]))
    if verified:
        keys = ("time", "ok", "seconds", "sentence", "version")
        answer["last_verify"] = {key: verified.get(key) for key in keys}
    if "backup" in known:
        answer["last_backup"] = known["backup"].get("last", known["backup"])
    return answer


def postgresql_state(cluster: str, units: dict[str, dict[str, Any]]) -> str:
    """Debian's postgresql.service is only a bracket; the cluster has a unit of its own."""
    unit = f"postgresql@{cluster.replace('/', '-')}.service"
    return str((unit_states([unit]).get(unit) or units.get("postgresql.service", {})).get("state", "not installed"))


def duration(seconds: float) -> str:
    """The two largest units of a time span."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number or unit == "s") or "0 s"


def table(answer: dict[str, Any]) -> list[str]:
    """The answer for people; only what this host has."""
    rows: list[tuple[str, str]] = []
    if answer["release"]:
        rows.append(("release", f"{answer['release']} (MLflow {answer['version']})"))
        live = ", ".join(f"{slot} (port {answer['slots'][slot]['port']})" for slot in answer["live_slots"])
        if live:
            rows.append(("live slot", f"{live}, {answer['workers']} workers, up {duration(answer['uptime_seconds'])}"))
        else:
            states = ", ".join(f"{slot} {entry['state']}" for slot, entry in answer["slots"].items())
            rows.append(("live slot", f"NONE ({states or 'no unit'})"))
        rows.append(("database reachable", answer["ready"]))
    if answer["database"]:
        rows.append(("PostgreSQL", f"{answer['database']['version']}, {answer['database']['state']}"))
    if answer["edge"]:
        rows.append(("nginx", answer["edge"]["state"]))
    for entry in answer["certificates"]:
        left = "end unknown" if entry["days_left"] is None else f"{entry['days_left']} days left"
        rows.append((f"certificate {entry['name']}", f"{left} ({entry['source']})"))
    for entry in answer["disks"]:
        rows.append(
            (f"disk {entry['purpose']}", f"{entry['free_gb']} GB free ({entry['free_percent']} %) at {entry['path']}")
        )
    if answer["release"]:
        rows.append(("last verify", verify_row(answer["last_verify"])))
    if answer["release"] or answer["database"]:
        rows.append(("last backup", backup_row(answer["last_backup"])))
    rows += [(f"job {job['name']}", job_row(job, answer["now"])) for job in answer["jobs"]]
    if not rows:
        rows.append(("nothing", "MLflow is not installed on this host"))
    width = max(len(name) for name, _value in rows)
    head = f"{answer['host']}" + (f", environment {answer['environment']}" if answer["environment"] else "")
    return [head, *(f"  {name:{width}}  {value}" for name, value in rows)]


def verify_row(last: dict[str, Any] | None) -> str:
    """When was it last proved, and was it?"""
    if not last:
        return "never: run the playbook mlops.mlflow.verify"
    try:
        then = datetime.datetime.fromisoformat(str(last["time"]))
        ago = duration((datetime.datetime.now(datetime.UTC) - then).total_seconds()) + " ago"
    except ValueError:
        ago = str(last["time"])
    return f"{ago}: " + (f"proved in {last['seconds']} s" if last["ok"] else str(last["sentence"]))


def job_row(job: dict[str, Any], now: float) -> str:
    """What a job does, or how its last run ended."""
    last = job["last"]
    if job["active"]:
        return "running" + (f": {job['progress']}" if job["progress"] else "")
    if not last:
        return "has not run yet" if job["enabled"] else "off"
    off = "" if job["enabled"] else "off, "
    ago = duration(max(0.0, now - float(last.get("ended") or 0)))
    return f"{off}{ago} ago: {last.get('outcome', '?')}: {last.get('sentence', '')}"


def backup_row(last: Any) -> str:
    """When was the last backup?"""
    if not last:
        return "never: no backup role configured"
    return ", ".join(f"{key} {value}" for key, value in last.items()) if isinstance(last, dict) else str(last)


def main(arguments: list[str]) -> int:
    """Look, and print what was seen."""
    request = {**REQUEST, **json.loads(arguments[0] if arguments else "{}")}
    os.environ["LC_ALL"] = "C"
    answer = look(request)
    print(json.dumps({**answer, "table": table(answer)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
