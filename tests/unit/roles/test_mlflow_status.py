# Copyright: the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What status makes of a host: files and `systemctl` in, words out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "mlflow_status" / "files" / "status.py"


def load() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("mlflow_status_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


status: Any = load()
SHOW = """Id=mlflow-server@a.service
LoadState=loaded
ActiveState=active
ActiveEnterTimestampMonotonic=50000000

Id=mlflow-server@b.service
LoadState=loaded
ActiveState=inactive
ActiveEnterTimestampMonotonic=0

Id=nginx.service
LoadState=not-found
ActiveState=inactive
ActiveEnterTimestampMonotonic=0
"""


def test_units_that_do_not_exist_are_left_out() -> None:
    """And uptime is counted from the last start."""
    units = status.parse_units(SHOW, 110.0)
    assert units == {
        "mlflow-server@a.service": {"state": "active", "uptime_seconds": 60},
        "mlflow-server@b.service": {"state": "inactive", "uptime_seconds": 0},
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h"), (93784, "1 d 2 h"), (86400 * 40, "40 d")],
)
def test_durations(seconds: int, said: str) -> None:
    """Two units are enough for people."""
    assert status.duration(seconds) == said


def test_secrets_of_an_environment_file_are_not_looked_at(tmp_path: Path) -> None:
    """Only the names asked for are read."""
    path = tmp_path / "slot-a.env"
    path.write_text(
        '# comment\nMLFLOW_PORT="5001"\nMLFLOW_FLASK_SERVER_SECRET_KEY="sec\'ret"\nMLFLOW_WORKERS=2\n', encoding="utf-8"
    )
    assert status.environment_of(path, {"MLFLOW_PORT", "MLFLOW_WORKERS"}) == {
        "MLFLOW_PORT": "5001",
        "MLFLOW_WORKERS": "2",
    }
    assert status.environment_of(tmp_path / "none", {"MLFLOW_PORT"}) == {}


def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A host with a server in slot a, an edge and a database."""
    release = tmp_path / "opt" / "releases" / "3.17.2-0123456789ab"
    release.mkdir(parents=True)
    (tmp_path / "opt" / "current").symlink_to(release)
    etc = tmp_path / "etc"
    (etc / "tls").mkdir(parents=True)
    (etc / "environment").write_text("prod\n", encoding="utf-8")
    (etc / "slot-a.env").write_text("MLFLOW_HOST=127.0.0.1\nMLFLOW_PORT=5001\nMLFLOW_WORKERS=3\n", encoding="utf-8")
    (etc / "tls" / "edge.pem").write_text("", encoding="utf-8")
    facts = tmp_path / "facts.d"
    facts.mkdir()
    (facts / "mlflow_database.fact").write_text('{"version": "17.6", "cluster": "17/main"}', encoding="utf-8")
    (facts / "mlflow_broken.fact").write_text("no json", encoding="utf-8")
    verified = {
        "time": "2026-01-02T03:04:05+00:00",
        "ok": True,
        "seconds": 8.7,
        "sentence": "",
        "version": "3.17.2",
        "steps": [],
    }
    (tmp_path / "last.json").write_text(json.dumps(verified), encoding="utf-8")
    monkeypatch.setattr(status, "unit_states", lambda _names: {**status.parse_units(SHOW, 110.0)})
    monkeypatch.setattr(status, "ready", lambda _variables, _seconds: "yes")
    monkeypatch.setattr(status, "served_certificate", lambda *_given: "PEM")
    monkeypatch.setattr(status, "days_left", lambda pem: 364 if pem == "PEM" else None)
    request = {
        **status.REQUEST,
        "host": "srv1",
        "install_dir": str(tmp_path / "opt"),
        "config_dir": str(etc),
        "artifact_uri": str(tmp_path),
        "facts_dir": str(facts),
        "verify_result": str(tmp_path / "last.json"),
    }
    return dict(status.look(request))


def test_a_host_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document for programs, and the words for people."""
    seen = look(tmp_path, monkeypatch)
    assert (seen["release"], seen["version"], seen["live_slots"], seen["workers"]) == (
        "3.17.2-0123456789ab",
        "3.17.2",
        ["a"],
        3,
    )
    assert seen["uptime_seconds"] == 60
    assert seen["ready"] == "yes"
    assert seen["certificates"] == [{"name": "edge", "days_left": 364, "source": "served"}]
    assert "steps" not in seen["last_verify"]
    table = "\n".join(status.table(seen))
    for words in (
        "srv1, environment prod",
        "3.17.2-0123456789ab (MLflow 3.17.2)",
        "a (port 5001), 3 workers, up 1 min",
        "17.6, not installed",
        "364 days left (served)",
        "proved in 8.7 s",
        "never: no backup role configured",
        f"GB free ({seen['disks'][0]['free_percent']} %)",
    ):
        assert words in table, words


def test_a_server_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said loudly."""
    seen = look(tmp_path, monkeypatch)
    seen.update(live_slots=[], ready="no: no slot runs", last_verify=None)
    table = "\n".join(status.table(seen))
    assert "NONE (a active, b inactive)" in table
    assert "never: run the playbook mlops.mlflow.verify" in table


def test_a_bare_host_says_so(tmp_path: Path) -> None:
    """No traceback where nothing is installed."""
    request = {**status.REQUEST, "host": "bare"}
    request.update({key: str(tmp_path / key) for key in ("install_dir", "config_dir", "facts_dir", "verify_result")})
    assert status.table(status.look(request)) == ["bare", "  nothing  MLflow is not installed on this host"]


def test_a_failed_verification_is_told_with_its_sentence() -> None:
    """So that status alone says what to do."""
    last = {"time": "2026-01-02T03:04:05+00:00", "ok": False, "seconds": 1, "sentence": "[VERIFY_TLS] srv1: expired."}
    assert status.verify_row(last).endswith("ago: [VERIFY_TLS] srv1: expired.")


def test_jobs_of_maintenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How each was set up, whether it runs, and how its last run ended; of a result only what a result has."""
    facts = tmp_path / "facts.d"
    facts.mkdir()
    known = {"due_seconds": 100, "schedule": "daily 03:10", "dry_run": False}
    listed = [{"name": name, "enabled": name != "orphans", **known} for name in ("database", "gc", "orphans", "expiry")]
    (facts / "mlflow_maintenance.fact").write_text(json.dumps({"jobs": listed}), encoding="utf-8")
    for name, file, content in (
        (
            "gc",
            "last.json",
            {"outcome": "done", "sentence": "3 runs.", "ended": 1000.0, "store": {"secret": "swordfish"}},
        ),
        ("database", "last.json", {"outcome": "done", "sentence": "Lean.", "ended": 1000.0}),
        ("database", "running.json", {"started": 1500.0, "text": "vacuum runs"}),
    ):
        (tmp_path / "jobs" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "jobs" / name / file).write_text(json.dumps(content), encoding="utf-8")
    states = {"mlflow-maintenance-database.service": {"state": "activating", "uptime_seconds": 0}}
    monkeypatch.setattr(status, "unit_states", lambda _names: states)
    monkeypatch.setattr(status.time, "time", lambda: 4600.0)
    request = {
        **status.REQUEST,
        "facts_dir": str(facts),
        "maintenance_dir": str(tmp_path / "jobs"),
        "install_dir": str(tmp_path),
    }
    seen = status.look({**request, "config_dir": str(tmp_path), "verify_result": str(tmp_path / "none")})
    assert "swordfish" not in json.dumps(seen)
    assert [(job["name"], job["active"], job["started"]) for job in seen["jobs"]][:2] == [
        ("database", True, 1500.0),
        ("gc", False, 0.0),
    ]
    assert [" ".join(line.split()) for line in status.table(seen) if line.startswith("  job ")] == [
        "job database running: vacuum runs",
        "job gc 1 h ago: done: 3 runs.",
        "job orphans off",
        "job expiry has not run yet",
    ]
