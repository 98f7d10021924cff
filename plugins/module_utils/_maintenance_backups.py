# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the backups of a host say about themselves, in the results that their jobs leave (roles/mlflow_backup/files/mlflow_backup.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS, report

WATCH, DRILL, DATABASE = "watch", "drill", ("full", "differential")
# It looks every few minutes.
_WATCH_SECONDS = 3600.0
_HOUR, _DAY = 3600.0, 86400.0


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """The last result of each job, by its name; empty where there are no backups."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            one = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(one, dict) and isinstance(one.get("finished"), (int, float)):
            found[path.stem] = one
    return found


def _problems(host: str, name: str, result: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a job that did not end well found, in the shape of findings."""
    found = []
    for one in result.get("problems") or []:
        if isinstance(one, dict) and one.get("id") in FINDINGS and one.get("summary"):
            found.append(
                report(one["id"], host=host, summary=str(one["summary"]), evidence=str(one.get("evidence") or ""))
            )
    if not found and not result.get("ok"):
        summary = f"The job {name} of the backups failed: {result.get('sentence') or 'it did not say why'}"
        found.append(report("BACKUP_JOB_FAILED", host=host, summary=summary))
    return found


def judge(
    host: str, known: Mapping[str, Mapping[str, Any]], hours: int, drill_days: int, now: float
) -> list[dict[str, str]]:
    """Findings about the backups of a host, each once.

    Args:
        host: its name.
        known: the last results (`results`).
        hours: how old the newest backup of the database may be.
        drill_days: how old the last drill may be. Where none was ever run, nothing is said about it here.
        now: the time.
    """
    found: list[dict[str, str]] = []
    watch = known.get(WATCH)
    if watch and now - watch["finished"] <= _WATCH_SECONDS:
        # It has judged all the others a moment ago.
        looked: Iterable[str] = [name for name in (WATCH, DRILL) if name in known]
    else:
        looked = [name for name in known if name != WATCH]
        if known:
            said = f"last looked {_ago(now - watch['finished'])} ago" if watch else "has never looked"
            summary = f"What watches the backups {said}; it looks every few minutes."
            found.append(report("BACKUP_JOB_LATE", host=host, summary=summary))
    told: set[str] = set()
    for name in looked:
        if not known[name].get("ok"):
            # The watch says of a drill that failed in words of its own that it did.
            said_before = told if name == DRILL else set()
            found += [one for one in _problems(host, name, known[name]) if one["id"] not in said_before]
        told = {one["id"] for one in found}
    good = [known[name]["finished"] for name in DATABASE if name in known and known[name].get("ok")]
    if good and now - max(good) > hours * _HOUR and "BACKUP_OLD" not in told:
        summary = f"The last backup of the database ended {_ago(now - max(good))} ago; {hours} hours are allowed."
        found.append(report("BACKUP_OLD", host=host, summary=summary))
    drill = known.get(DRILL)
    if drill and now - drill["finished"] > drill_days * _DAY:
        summary = f"The last drill of a restore was {_ago(now - drill['finished'])} ago; {drill_days} days are allowed."
        found.append(report("MAINTENANCE_DRILL", host=host, summary=summary))
    return list({(one["id"], one["summary"]): one for one in found}.values())


def is_ours(finding: str) -> bool:
    """Whether a finding is one of those made here."""
    return finding.startswith("BACKUP_") or finding == "MAINTENANCE_DRILL"


def ages(known: Mapping[str, Mapping[str, Any]], now: float) -> dict[str, float]:
    """How many hours ago each job ended well."""
    return {name: round((now - one["finished"]) / _HOUR, 1) for name, one in known.items() if one.get("ok")}


def _ago(seconds: float) -> str:
    for length, unit in ((_DAY, "days"), (_HOUR, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
