# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of the backups is restored, what must not be overwritten, and what a restored installation or a drill is worth.

Private to the collection. Pure. The role mlflow_backup puts this file on hosts as well, beside _backup.py and the programs that use it
(roles/mlflow_backup/files/mlflow_restore.py and mlflow_drill.py). It therefore needs nothing but Python's standard library.
"""

from __future__ import annotations

import datetime
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as backup
else:  # On a host it lies beside this file.
    try:
        backup = importlib.import_module("ansible_collections.mlops.mlflow.plugins.module_utils._backup")
    except ImportError:
        backup = importlib.import_module("_backup")

Problem = dict[str, str]
NAMED = 20  # of runs and the like in a report
ROOM = 1.2  # a restored cluster needs so much of the size of its backup
# Whose an object is, by where it lies: a run's, a logged model's or a trace's.
_OWNER = re.compile(
    r"(?:workspaces/[^/]+/)?[^/]+/(?:(?P<run>[0-9a-f]{32})/artifacts|models/(?P<model>m-[0-9a-f]{32})|traces/(?P<trace>tr-[0-9a-f]+))/"
)


def moment_of(text: str) -> float:
    """Return the seconds of a moment that a user wrote. Without an offset it is UTC.

    Raises:
        ValueError: it is none.
    """
    moment = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def refused(summary: str, evidence: str = "") -> Problem:
    """Why something is not restored."""
    return backup.problem("BACKUP_RESTORE", summary, evidence)


# ----- what is restored


def choose(
    asked: Mapping[str, Any],
    *,
    manifests: Mapping[str, Mapping[str, Any]],
    info: Mapping[str, Any] | None,
    snapshots: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[Problem]]:
    """Return what is restored, in the shape of a manifest, and why it cannot be.

    Args:
        asked: environment, now, manifest (the name of one, empty for the newest), to (seconds of a moment, or None).
        manifests: all that the repository holds, by name.
        info: what it holds of the database (`parse_info`); None where the database is somebody else's.
        snapshots: what it holds of files (`parse_snapshots`).
    """
    ours = {name: one for name, one in manifests.items() if one["environment"] == asked["environment"]}
    if not ours:
        others = ", ".join(sorted({one["environment"] for one in manifests.values()}))
        held = f"it holds those of {others}" if others else "it holds none"
        return {}, [refused(f"The repository holds no manifest of the environment {asked['environment']}.", held)]
    name = asked["manifest"] or max(ours)
    if name not in ours:
        held = f"{len(ours)} from {min(ours)} to {max(ours)}"
        return {}, [refused(f"The repository holds no manifest {name}.", held)]
    plan = dict(ours[name])
    if asked["to"] is not None:
        plan, problems = _of_moment(asked, plan, info, snapshots)
        name = ""
    else:
        plan, problems = pinned(plan), []
    if problems:
        return {}, problems
    return {**plan, "manifest": name}, _lost(plan, info, snapshots)


def pinned(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest whose database keeps to its own timeline: a cluster that was restored since then goes on another one."""
    database = manifest["database"]
    if database["kind"] != "pgbackrest":
        return dict(manifest)
    return {**manifest, "database": {**database, "timeline": int(database["wal_to"][:8], 16)}}


def _lost(
    plan: Mapping[str, Any], info: Mapping[str, Any] | None, snapshots: Sequence[Mapping[str, Any]]
) -> list[Problem]:
    """What the plan needs and the repository no longer holds."""
    found = []
    label = plan["database"].get("label")
    if info is not None and label and label not in {one["label"] for one in info["backups"]}:
        found.append(refused(f"The repository no longer holds the backup {label}."))
    held = {one["id"] for one in snapshots}
    wanted = [(f"the configuration of {one['host']}", one["snapshot"]) for one in plan["configuration"]]
    if plan["artifacts"]["kind"] == "directory":
        wanted.append(("the artifacts", plan["artifacts"]["snapshot"]))
    found += [
        refused(f"The repository no longer holds the copy of {what} that belongs to the moment.", snapshot)
        for what, snapshot in wanted
        if snapshot not in held
    ]
    return found


def _of_moment(
    asked: Mapping[str, Any],
    like: Mapping[str, Any],
    info: Mapping[str, Any] | None,
    snapshots: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[Problem]]:
    """What belongs to a moment that no manifest was made for."""
    moment = asked["to"]
    said = backup.when(moment)
    if moment > asked["now"]:
        return {}, [refused(f"{said} has not come yet; it is {backup.when(asked['now'])}.")]
    database: dict[str, Any] = {"kind": "external"}
    if info is not None:
        usable = [one for one in info["backups"] if one["stop"] <= moment and not one["error"]]
        if not usable:
            oldest = min((one["stop"] for one in info["backups"]), default=None)
            limit = f"the oldest ended at {backup.when(oldest)}" if oldest else "there is none"
            return {}, [refused(f"No backup of the database had ended at {said}.", limit)]
        base = usable[-1]
        database = {
            "kind": "pgbackrest",
            "label": base["label"],
            "target": {"type": "time", "value": backup.precise(moment)},
            "version": info["version"],
        }
    ours = [one for one in snapshots if one["environment"] == asked["environment"]]
    artifacts = {
        name: value for name, value in like["artifacts"].items() if name not in ("snapshot", "host", "started")
    }
    if artifacts["kind"] == "directory":
        copies = [one for one in ours if one["kind"] == "artifacts"]
        # Begun at the moment or later it holds everything that the database knew.
        copy = next((one for one in copies if one["started"] >= moment), copies[-1] if copies else None)
        if copy is None:
            return {}, [refused("The repository holds no copy of the artifacts.")]
        artifacts.update(snapshot=copy["id"], host=copy["host"], started=backup.when(copy["started"]))
        artifacts["older"] = copy["started"] < moment
    else:
        artifacts["not_before"] = said
    configuration = []
    for host in sorted({one["host"] for one in ours if one["kind"] == "configuration"}):
        of_host = [one for one in ours if one["host"] == host]
        archive = backup.newest(of_host, "configuration", moment) or backup.newest(of_host, "configuration")
        if archive:
            made = backup.when(archive["started"])
            configuration.append({"host": host, "snapshot": archive["id"], "sha256": archive["sha256"], "made": made})
    return {
        "environment": asked["environment"],
        "moment": said,
        "database": database,
        "artifacts": artifacts,
        "configuration": configuration,
    }, []


# ----- what must not be overwritten


def living(seen: Mapping[str, Any], *, over: str, environment: str) -> list[Problem]:
    """Refuse to take the place of a living installation, unless the name of its environment is given.

    Args:
        seen: servers (names of hosts on which MLflow runs); cluster: state (absent, fresh, data, silent), data (its directory),
            databases (sizes by name).
        over: what the user gave.
        environment: the name.
    """
    if over == environment:
        return []
    cluster = seen["cluster"]
    reasons = []
    if cluster["state"] == "data":
        reasons.append(f"{cluster['data']} holds {', '.join(sorted(cluster['databases']))}")
    elif cluster["state"] == "silent":
        reasons.append(f"{cluster['data']} holds a cluster that does not answer")
    if seen["servers"]:
        reasons.append(f"MLflow runs on {', '.join(seen['servers'])}")
    if not reasons:
        return []
    given = f"mlflow_restore_over={over}" if over else "mlflow_restore_over is not set"
    return [
        backup.problem(
            "RESTORE_LIVING",
            f"An installation lives here: {' and '.join(reasons)}.",
            f"{given}, the environment is {environment}",
        )
    ]


# ----- what belongs together


def owner(path: str) -> str:
    """Return the run, logged model or trace that owns a file of artifacts; empty if the path does not say it."""
    found = _OWNER.match(path)
    return next((name for name in found.groups() if name), "") if found else ""


def compare(owned: Set[str], known: Set[str], expected: Set[str]) -> dict[str, Any]:
    """Compare the copy of artifacts with what the restored database knows.

    Args:
        owned: what has files in the copy.
        known: every run, logged model and trace of the database.
        expected: those of which MLflow noted that they have files.

    Returns:
        younger: what came after the moment, or was deleted before it; missing: what the copy lacks. Each a number and some names.
    """

    def told(names: Iterable[str]) -> dict[str, Any]:
        found = sorted(names)
        return {"count": len(found), "names": found[:NAMED]}

    return {"younger": told(owned - known), "missing": told(expected - owned)}


def inconsistent(found: Mapping[str, Any], plan: Mapping[str, Any]) -> list[Problem]:
    """Say what does not belong together."""
    problems = []
    for key, words in (
        ("younger", "have artifacts and are unknown to the database of the moment: they are younger"),
        ("missing", "are known and their artifacts are in no copy"),
    ):
        if count := found[key]["count"]:
            problems.append(
                backup.problem(
                    "RESTORE_INCONSISTENT", f"{count} runs, models or traces {words}.", ", ".join(found[key]["names"])
                )
            )
    if plan["artifacts"].get("older"):
        said = f"What was logged between {plan['artifacts']['started']} and {plan['moment']} is in no copy of the artifacts."
        problems.append(backup.problem("RESTORE_INCONSISTENT", said))
    return problems


# ----- a drill


def judge_drill(seen: Mapping[str, Any]) -> list[Problem]:
    """Judge what a drill saw.

    Args:
        seen: counts of the restored databases; release: what the installed MLflow saw of them; live: what now lives and existed at the
            moment, and is not in what was restored, or None; expected: how many of its runs and models have artifacts; wanted: how many
            artifacts were to be read; sample: read, compared, wrong (names), unknown (names of runs).
    """
    found = []

    def failed(summary: str, evidence: str = "") -> None:
        found.append(backup.problem("BACKUP_DRILL_FAILED", summary, evidence))

    counts, release = seen["counts"], seen["release"]
    if "experiments" not in counts or "runs" not in counts:
        failed("The restored cluster holds no database of MLflow.", ", ".join(sorted(counts)) or "no table is known")
    if "rows" in release and release["experiments"] != release["rows"]:
        failed(
            f"MLflow {release['version']} sees {release['experiments']} experiments in the restored database, and it holds {release['rows']}."
        )
    if lost := (seen["live"] or {}).get("lost"):
        failed(f"{len(lost)} experiments or models are older than the backup and not in it.", ", ".join(lost[:NAMED]))
    sample = seen["sample"]
    if seen["expected"] and seen["wanted"] and not sample["read"]:
        failed(f"{seen['expected']} runs and models of the restored database have artifacts, and none could be read.")
    if sample["wrong"]:
        failed(
            f"{len(sample['wrong'])} of {sample['read']} artifacts differ from what they should be.",
            ", ".join(sample["wrong"][:NAMED]),
        )
    if sample["unknown"]:
        failed(
            f"{len(sample['unknown'])} runs had artifacts before the moment, live, and are not in the restored database.",
            ", ".join(sample["unknown"][:NAMED]),
        )
    return found
