# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the backups of a host, and which of them belong to one moment.

Private to the collection. Pure: what was seen goes in, problems or a manifest come out. The role mlflow_backup puts this file on hosts
as well, beside the program that looks (roles/mlflow_backup/files/mlflow_backup.py), so that a timer and the module mlflow_backup_check
judge alike. It therefore needs nothing but Python's standard library.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HOUR = 3600.0
MEGABYTE = 1024 * 1024
# What pgBackRest says of a repository (repo[].status.code of `info`).
_GOOD, _NO_BACKUPS = 0, 2
_SEGMENT_NAME = re.compile(r"(?:^|/)([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})-[0-9a-f]{40}(?:\.[a-z0-9]+)?$")
# A wrong passphrase turns what is read into noise, which each program calls by another name.
_NOT_READABLE = re.compile(
    r"wrong password or no key found|unable to flush|cipher header|unable to decrypt|FormatError"
)
_DAMAGE = re.compile(
    r"ChecksumError|checksum invalid: [1-9]|ciphertext verification failed|Fatal: repository contains errors|does not match id"
)
_SECONDS_TOO_FINE = re.compile(r"(\.\d{6})\d+")

Problem = dict[str, str]


def problem(identity: str, summary: str, evidence: str = "") -> Problem:
    """One thing that is wrong: the id of a registered finding, what was seen, and what it was seen by."""
    return {"id": identity, "summary": summary, "evidence": evidence}


def words(text: str, limit: int = 400) -> str:
    """Return what an error message says, in one line of printable characters."""
    line = " ".join("".join(sign if sign.isprintable() and sign != "\ufffd" else " " for sign in text).split())
    return line if len(line) <= limit else line[:limit].rstrip() + " ..."


def ago(seconds: float) -> str:
    """Say how long ago something was."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name} ago"
    return f"{max(seconds, 0):.0f} seconds ago"


def when(moment: float) -> str:
    """Return a moment in UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> float:
    """Return the seconds of a moment as restic writes it, with nanoseconds and an offset."""
    return datetime.datetime.fromisoformat(_SECONDS_TOO_FINE.sub(r"\1", text).replace("Z", "+00:00")).timestamp()


def why(message: str, about: str) -> Problem:
    """Say what a program complained of when it could not use the repository.

    Args:
        message: what it said.
        about: what was tried, as the beginning of a sentence.
    """
    said = words(message)
    if _NOT_READABLE.search(message):
        return problem(
            "BACKUP_PASSPHRASE", f"{about}: what the repository holds cannot be read with this passphrase.", said
        )
    if _DAMAGE.search(message):
        return problem("BACKUP_DAMAGED", f"{about}: the repository is damaged.", said)
    return problem("BACKUP_REPOSITORY", f"{about}: the repository could not be used.", said or "nothing was said")


# ----- what pgBackRest and restic hold


def parse_info(text: str, stanza: str) -> dict[str, Any]:
    """Return what `pgbackrest info --output=json` says about the stanza, in the order in which backups were made.

    Returns:
        code and message of the repository; backups: list of label, type, start, stop, wal_start, lsn_stop, error, bytes, stored;
        archive: the id of the archive of the present cluster; wal_max: its newest segment; version of PostgreSQL.

    Raises:
        ValueError: it says nothing about the stanza.
    """
    # What was deciphered wrongly holds any character.
    found = next((one for one in json.loads(text, strict=False) if one["name"] == stanza), None)
    if found is None:
        raise ValueError(f"nothing is said about the stanza {stanza}")
    repositories = found.get("repo") or [{"status": found["status"]}]
    worst = max((one["status"] for one in repositories), key=lambda status: int(status["code"]))
    backups = [
        {
            "label": one["label"],
            "type": one["type"],
            "start": float(one["timestamp"]["start"]),
            "stop": float(one["timestamp"]["stop"]),
            "wal_start": one["archive"]["start"],
            "lsn_stop": (one.get("lsn") or {}).get("stop", ""),
            "error": bool(one.get("error")),
            "bytes": one["info"]["size"],
            "stored": one["info"]["repository"].get("delta", 0),
        }
        for one in found.get("backup") or []
    ]
    archives, databases = found.get("archive") or [], found.get("db") or []
    return {
        "code": int(worst["code"]),
        "message": str(worst["message"]),
        "backups": sorted(backups, key=lambda one: one["stop"]),
        "archive": archives[-1]["id"] if archives else "",
        "wal_max": (archives[-1].get("max") or "") if archives else "",
        "version": databases[-1]["version"] if databases else "",
    }


def parse_snapshots(text: str) -> list[dict[str, Any]]:
    """Return what `restic snapshots --json` lists, the oldest first: id, host, started, kind, sha256."""
    found = []
    for one in json.loads(text) or []:
        tags = one.get("tags") or []
        named = dict(tag.split("=", 1) for tag in tags if "=" in tag)
        found.append(
            {
                "id": one["id"],
                "host": one["hostname"],
                "started": moment_of(one["time"]),
                "kind": next((tag for tag in tags if "=" not in tag), ""),
                "environment": named.get("environment", ""),
                "sha256": named.get("sha256", ""),
                "paths": one["paths"],
            }
        )
    return sorted(found, key=lambda one: float(one["started"]))


def missing_segments(names: Iterable[str], first: str, last: str, segment_bytes: int) -> list[str]:
    """Return which segments of WAL from `first` to `last` the archive lacks, without their timeline.

    Args:
        names: the files of the archive, with or without folders.
        first: name of a segment.
        last: name of a segment; its timeline may be another one.
        segment_bytes: the size of a segment in this cluster.
    """
    each = 0x100000000 // segment_bytes
    present = {int(found[2], 16) * each + int(found[3], 16) for found in map(_SEGMENT_NAME.search, names) if found}
    begin, end = (int(name[8:16], 16) * each + int(name[16:24], 16) for name in (first, last))
    return [f"{number // each:08X}{number % each:08X}" for number in range(begin, end + 1) if number not in present]


def newest_folders(first: str, last: str, count: int = 2) -> tuple[str, list[str]]:
    """Return which folders of the archive hold the newest WAL, and from which segment on they have to be whole.

    Args:
        first: the segment with which the newest backup begins.
        last: the newest segment.
        count: how many folders of one timeline, 256 segments of the usual size each.
    """
    begin, end = int(first[8:16], 16), int(last[8:16], 16)
    start = max(begin, end - count + 1)
    timelines = range(int(first[:8], 16), int(last[:8], 16) + 1)
    names = [f"{timeline:08X}{number:08X}" for number in range(start, end + 1) for timeline in timelines]
    return first if start == begin else f"{last[:8]}{start:08X}{0:08X}", names


def gap(missing: Sequence[str], label: str) -> Problem:
    """Say that segments of WAL are missing behind a backup."""
    return problem(
        "BACKUP_WAL_GAP",
        f"{len(missing)} segments of WAL after the backup {label} are missing; later moments cannot be restored from it.",
        ", ".join(missing[:5]),
    )


# ----- what is wrong


def judge_archiver(seen: Mapping[str, Any], now: float, limits: Mapping[str, Any]) -> list[Problem]:
    """Judge what PostgreSQL says about the archive of its WAL: the signal that comes within minutes."""
    if reason := seen.get("reason"):
        return [problem("BACKUP_DATABASE", "PostgreSQL did not say how its archive is.", words(reason))]
    if seen["mode"] == "off" or seen["command"] != seen["wanted"]:
        return [
            problem(
                "BACKUP_ARCHIVE_OFF",
                "PostgreSQL does not archive its WAL into the repository.",
                f"archive_mode={seen['mode']}, archive_command={seen['command'] or '(empty)'}",
            )
        ]
    found = []
    waiting = seen["ready"] * seen["segment_bytes"] // MEGABYTE
    failed, archived, oldest = (seen.get(name) or 0.0 for name in ("last_failed", "last_archived", "ready_oldest"))
    told = f"{seen['ready']} segments of WAL ({waiting} MB) wait"
    if failed > archived:
        found.append(
            problem(
                "BACKUP_ARCHIVE_FAILING",
                f"The last attempt to archive WAL failed {ago(now - failed)}; {told}.",
                f"{seen['last_failed_wal']}, {seen['failed_count']} failures since the statistics began",
            )
        )
    elif seen["ready"] and now - oldest > limits["archive_seconds"]:
        found.append(
            problem(
                "BACKUP_ARCHIVE_FAILING",
                f"WAL of {ago(now - oldest)} is still not archived; {told}.",
                "no failure was counted",
            )
        )
    if waiting >= limits["wal_warning_mb"]:
        # Whoever dropped what waits has lost the way to later moments, and has kept the disk from filling.
        what_then = f" From {limits['wal_limit_mb']} MB on it is thrown away." if limits["wal_limit_mb"] else ""
        found.append(
            problem(
                "BACKUP_WAL_PILES",
                f"{told}, {limits['wal_warning_mb']} MB are allowed.{what_then}",
                f"pg_wal holds {seen['wal_bytes'] // MEGABYTE} MB, its file system has {seen['free_bytes'] // MEGABYTE} MB free",
            )
        )
    return found


def judge_room(seen: Mapping[str, Any], limits: Mapping[str, Any]) -> list[Problem]:
    """Judge whether the WAL that may wait fits on the disk; what PostgreSQL did not say is judged by `judge_archiver`."""
    if "free_bytes" not in seen:
        return []
    limit, free = limits["wal_limit_mb"], seen["free_bytes"] // MEGABYTE
    waiting = seen["ready"] * seen["segment_bytes"] // MEGABYTE
    if limit - waiting <= free:
        return []
    said = (
        f"Up to {limit} MB of WAL may wait for the archive, and the disk of pg_wal has {free} MB free: it would be full before anything is thrown"
        " away."
    )
    return [problem("BACKUP_WAL_ROOM", said, f"{waiting} MB wait")]


def judge_database(seen: Mapping[str, Any], now: float, limits: Mapping[str, Any]) -> list[Problem]:
    """Judge what the repository holds of the database (`parse_info`, or a reason why it could not be asked)."""
    if reason := seen.get("reason"):
        return [why(reason, "The backups of the database")]
    if seen["code"] == _NO_BACKUPS or (seen["code"] == _GOOD and not seen["backups"]):
        return [problem("BACKUP_NONE", "There is no backup of the database yet.", seen["message"])]
    if seen["code"] != _GOOD:
        return [why(seen["message"], "The backups of the database")]
    found = []
    last = seen["backups"][-1]
    if now - last["stop"] > limits["age_hours"] * HOUR:
        found.append(
            problem(
                "BACKUP_OLD",
                f"The last backup of the database ended {ago(now - last['stop'])}; {limits['age_hours']} hours are allowed.",
                f"{last['label']}, {when(last['stop'])}",
            )
        )
    if last["error"]:
        found.append(
            problem(
                "BACKUP_DAMAGED",
                "The last backup of the database holds pages whose checksums are wrong: the data directory itself is damaged.",
                last["label"],
            )
        )
    return found


def judge_left(seen: Mapping[str, Any]) -> list[Problem]:
    """Judge what a restore in place has left beside the data directory: a cluster that never took its place.

    Args:
        seen: path, age (seconds since it was touched), limit (seconds that a restore may take), gone (the data directory, if it is not there).
    """
    if seen["gone"]:
        said = f"A restore was cut off when it had put the data directory aside: {seen['gone']} is not there."
    elif seen["age"] > seen["limit"]:
        said = "A restore in place was begun and has not ended."
    else:
        return []
    return [problem("RESTORE_CUT_OFF", said, f"{seen['path']}, last touched {ago(seen['age'])}")]


def judge_jobs(jobs: Mapping[str, Mapping[str, Any]], now: float) -> list[Problem]:
    """Judge the last results of the host's jobs: a job that failed, and one that has not run in its time."""
    found = []
    for name, job in jobs.items():
        result = job.get("result")
        since = result["finished"] if result else job["since"]
        if now - since > job["due_hours"] * HOUR:
            said = f"ran {ago(now - since)}" if result else f"has not run since it was set up {ago(now - since)}"
            late = "BACKUP_DRILL_OLD" if name == "drill" else "BACKUP_JOB_LATE"
            found.append(
                problem(late, f"The job {name} {said}; it is due every {job['due_hours']} hours at the latest.")
            )
        # What the watch found is judged anew.
        if result and not result["ok"] and name != "watch":
            # What the job itself found says more than that it failed.
            for one in result["problems"]:
                found.append(problem(one["id"], f"Job {name}, {ago(now - since)}: {one['summary']}", one["evidence"]))
    return found


def judge(seen: Mapping[str, Any]) -> list[Problem]:
    """Return all that is wrong with the backups of a host, each once.

    Args:
        seen: what the program saw: now, limits, jobs, and of what this host has: archiver, database, missing (segments of WAL), files, and
            what a restore has left.
    """
    now, limits = seen["now"], seen["limits"]
    found = []
    if archiver := seen.get("archiver"):
        found += judge_archiver(archiver, now, limits) + judge_room(archiver, limits)
    if database := seen.get("database"):
        found += judge_database(database, now, limits)
        if missing := seen.get("missing"):
            found.append(gap(missing, database["backups"][-1]["label"]))
    if left := seen.get("left"):
        found += judge_left(left)
    if reason := (seen.get("files") or {}).get("reason"):
        found.append(why(reason, "The copies of files"))
    told = {one["id"] for one in found}
    # The repository is away or the disk is damaged: that a job met the same is no second finding.
    found += [one for one in judge_jobs(seen["jobs"], now) if one["id"] not in told]
    return found


# ----- one moment


def _incomplete(summary: str, evidence: str = "") -> Problem:
    return problem("BACKUP_INCOMPLETE", summary, evidence)


def newest(snapshots: Sequence[Mapping[str, Any]], kind: str, before: float | None = None) -> Mapping[str, Any] | None:
    """Return the newest snapshot of the kind, or the newest that was begun by `before`."""
    found = [one for one in snapshots if one["kind"] == kind and (before is None or one["started"] <= before)]
    return found[-1] if found else None


def tie(
    asked: Mapping[str, Any],
    *,
    point: Mapping[str, Any] | None,
    info: Mapping[str, Any] | None,
    snapshots: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[Problem]]:
    """Tie backups to one moment: the database as it was then, artifacts of then or later, and the configuration.

    Artifacts are only added: a copy that was begun at the moment or later holds everything that the database knew. So with copies the
    moment is the beginning of the newest one, and with a bucket that keeps versions it is the restore point that was just made.

    Args:
        asked: environment, host, hosts, tolerance (seconds by which clocks of hosts may differ), artifacts (kind and where).
        point: the restore point: name, lsn, time, segment. None where the database is somebody else's.
        info: what the repository holds of the database (`parse_info`).
        snapshots: what it holds of files (`parse_snapshots`).

    Returns:
        The manifest, empty if there is none, and what is missing.
    """
    problems = []
    snapshots = [one for one in snapshots if one["environment"] == asked["environment"]]
    moment, target = (point["time"], point["name"]) if point else (asked["now"], "")
    artifacts: dict[str, Any] = dict(asked["artifacts"])
    if artifacts["kind"] == "directory":
        copy = newest(snapshots, "artifacts")
        if copy is None:
            return {}, [_incomplete("There is no copy of the artifacts yet.", artifacts["path"])]
        apart = 0.0 if copy["host"] == asked["host"] else asked["tolerance"]
        moment, target = copy["started"] - apart, ""
        artifacts.update(snapshot=copy["id"], host=copy["host"], started=when(copy["started"]))
    else:
        artifacts["not_before"] = when(moment)
    database: dict[str, Any] = {"kind": "external"}
    if point and info:
        # A cluster that was restored goes on another way than the backups before it: a new one is needed.
        way = [one for one in info["backups"] if one["wal_start"][:8] == point["segment"][:8]]
        usable = [one for one in way if one["stop"] <= moment and not one["error"]]
        if not usable:
            return {}, [
                _incomplete(
                    f"No backup of the database had ended at {when(moment)}, when the copy of the artifacts was begun."
                )
            ]
        base = usable[-1]
        database = {
            "kind": "pgbackrest",
            "stanza": asked["stanza"],
            "label": base["label"],
            "type": base["type"],
            "stopped": when(base["stop"]),
            "lsn": base["lsn_stop"],
            "wal_from": base["wal_start"],
            "wal_to": point["segment"],
            "restore_point": point["name"],
            "restore_point_lsn": point["lsn"],
            "target": {"type": "name", "value": target} if target else {"type": "time", "value": precise(moment)},
            "version": info["version"],
        }
    configuration = []
    for host in asked["hosts"]:
        archive = newest([one for one in snapshots if one["host"] == host], "configuration")
        if archive is None:
            problems.append(_incomplete(f"There is no archive of the configuration of {host} yet."))
        else:
            made = when(archive["started"])
            configuration.append({"host": host, "snapshot": archive["id"], "sha256": archive["sha256"], "made": made})
    if problems:
        return {}, problems
    manifest = {
        "format": 1,
        "environment": asked["environment"],
        "made": when(asked["now"]),
        "made_on": asked["host"],
        "moment": when(moment),
        "database": database,
        "artifacts": artifacts,
        "configuration": configuration,
    }
    return manifest, []


def precise(moment: float) -> str:
    """Return a moment in UTC as PostgreSQL takes it for a target, to the microsecond."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
