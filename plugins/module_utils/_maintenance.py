# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The jobs of maintenance: which there are, when they run, and what their last results mean. Pure.

What a job does is in _maintenance_JOB.py; how each of them is run, in _maintenance_job.py.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUriError, parse
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import render, report

DATABASE, GC, TRACES, ORPHANS, LEFTOVERS = "database", "gc", "traces", "orphans", "leftovers"
CAPACITY, EXPIRY, DELIVERY = "capacity", "expiry", "delivery"
# What a host has to have one of so that a job is one of its own; nothing is needed for what every host has.
CONCERNS: Mapping[str, tuple[str, ...]] = {
    DATABASE: ("database",),
    GC: ("server",),
    TRACES: ("server",),
    ORPHANS: ("server",),
    LEFTOVERS: ("server",),
    CAPACITY: ("database", "server"),
    EXPIRY: (),
    DELIVERY: (),
}
# Those that delete from the store.
_IN_STORE = (GC, TRACES, ORPHANS)
# How the program of a job ends. 3 and 75 are no failures of it (SuccessExitStatus= of the units).
DONE, FAILED, BAD_INPUT, FOUND, ELSEWHERE = 0, 1, 2, 3, 75
OUTCOMES: Mapping[str, int] = {"done": DONE, "failed": FAILED, "found": FOUND, "elsewhere": ELSEWHERE}

# What every job has, and what it has of its own. The same as in meta/argument_specs.yml of the role; a test compares.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    DATABASE: {
        "enabled": True,
        "schedule": "daily 02:10",
        "delay_minutes": 20,
        "timeout_minutes": 240,
        "memory_mb": 256,
        "cpu_percent": 50,
        "dry_run": False,
        "lock_seconds": 10,
        "least_mb": 64,
        "index_bloat_percent": 40,
        "table_bloat_percent": 50,
    },
    GC: {
        "enabled": True,
        "schedule": "daily 03:10",
        "delay_minutes": 40,
        "timeout_minutes": 360,
        "memory_mb": 2048,
        "cpu_percent": 50,
        "dry_run": False,
        "grace_days": 30,
        "jobs_grace_days": 30,
    },
    TRACES: {
        "enabled": False,
        "schedule": "daily 04:40",
        "delay_minutes": 40,
        "timeout_minutes": 360,
        "memory_mb": 2048,
        "cpu_percent": 50,
        "dry_run": False,
        "days": 365,
        "experiments": {},
        "most": 10000,
    },
    ORPHANS: {
        "enabled": True,
        "schedule": "weekly Sun 04:10",
        "delay_minutes": 60,
        "timeout_minutes": 360,
        "memory_mb": 2048,
        "cpu_percent": 50,
        "dry_run": True,
        "grace_days": 7,
        "most_percent": 50,
    },
    LEFTOVERS: {
        "enabled": True,
        "schedule": "daily 05:10",
        "delay_minutes": 20,
        "timeout_minutes": 60,
        "memory_mb": 256,
        "cpu_percent": 50,
        "dry_run": False,
        "hours": 48,
    },
    CAPACITY: {
        "enabled": True,
        "schedule": "hourly 25",
        "delay_minutes": 5,
        "timeout_minutes": 10,
        "memory_mb": 128,
        "cpu_percent": 50,
        "lock_seconds": 10,
        "tables": 20,
        "full_days": 30,
        "trend_days": 60,
        "keep_days": 400,
    },
    EXPIRY: {
        "enabled": True,
        "schedule": "daily 06:10",
        "delay_minutes": 20,
        "timeout_minutes": 5,
        "memory_mb": 128,
        "cpu_percent": 50,
        "certificate_days": 21,
        "credential_days": 90,
        "disk_percent": 10,
        "backup_hours": 50,
        "drill_days": 35,
    },
    DELIVERY: {
        "enabled": True,
        "schedule": "hourly 50",
        "delay_minutes": 5,
        "timeout_minutes": 10,
        "memory_mb": 128,
        "cpu_percent": 50,
        "reminder_days": 7,
    },
}
JOBS = tuple(DEFAULTS)
# The least that a number may be. A grace of nothing would let gc take what somebody deleted a moment ago and is about to restore.
_LEAST = {
    "delay_minutes": 0,
    "timeout_minutes": 1,
    "memory_mb": 64,
    "cpu_percent": 1,
    "lock_seconds": 1,
    "least_mb": 0,
    "index_bloat_percent": 1,
    "table_bloat_percent": 1,
    "grace_days": 1,
    "jobs_grace_days": 1,
    "most_percent": 1,
    "certificate_days": 0,
    "credential_days": 1,
    "disk_percent": 0,
    "backup_hours": 1,
    "drill_days": 1,
    "reminder_days": 1,
    "hours": 1,
    "days": 0,
    "most": 1,
    "tables": 1,
    "full_days": 1,
    "trend_days": 7,
    "keep_days": 7,
}
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_HOUR, _DAY = 3600, 86400
_ADDRESS = re.compile(r"[^\s@,;<>\"]+@[^\s@,;<>\"]+")
_HERE = ("localhost", "127.0.0.1", "::1")
# Without which a finding cannot be said. What is read here was written by the user of a job.
_SAID = {"id", "host", "severity", "summary", "remedy"}
_SCHEDULE = re.compile(
    r"hourly (?P<minute>[0-5]\d)"
    r"|(?:daily|weekly (?P<weekday>Sun|Mon|Tue|Wed|Thu|Fri|Sat)|monthly (?P<day>[1-9]|1\d|2[0-8])) (?P<time>(?:[01]\d|2[0-3]):[0-5]\d)"
)


@dataclass(frozen=True)
class Schedule:
    """When a job runs, as each scheduler wants to be told."""

    on_calendar: str  # of systemd
    cron: str
    period: int  # seconds between two runs, at most

    @classmethod
    def read(cls, text: str) -> Schedule:
        """Understand `hourly 15`, `daily 03:10`, `weekly Sun 04:10` or `monthly 1 05:10`; ValueError for anything else."""
        found = _SCHEDULE.fullmatch(text)
        if not found:
            raise ValueError("It is hourly MM, daily HH:MM, weekly DAY HH:MM (Mon to Sun) or monthly D HH:MM (1 to 28)")
        if found["minute"]:
            minute = int(found["minute"])
            return cls(f"*-*-* *:{minute:02}:00", f"{minute} * * * *", _HOUR)
        hour, minute = map(int, found["time"].split(":"))
        clock = f"{hour:02}:{minute:02}:00"
        if found["weekday"]:
            day = found["weekday"]
            return cls(f"{day} *-*-* {clock}", f"{minute} {hour} * * {_DAYS.index(day)}", 7 * _DAY)
        if found["day"]:
            number = int(found["day"])
            return cls(f"*-*-{number:02} {clock}", f"{minute} {hour} {number} * *", 31 * _DAY)
        return cls(f"*-*-* {clock}", f"{minute} {hour} * * *", _DAY)


@dataclass(frozen=True)
class Job:
    """One job of a host, as the templates and its program see it."""

    name: str
    enabled: bool
    schedule: str
    on_calendar: str
    cron: str
    delay_seconds: int
    cron_sleep: int  # what cron waits on this host: cron has no random delay of its own
    timeout_seconds: int
    due_seconds: int  # after how long without a run something is wrong
    memory_mb: int
    cpu_percent: int
    dry_run: bool
    settings: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """What the role knows that decides about jobs."""

    host: str
    concerns: tuple[str, ...]
    artifact_uri: str
    may_delete: bool  # there is an identity of maintenance
    database_is_external: bool
    # Where what is wrong is told; empty where nobody is.
    mail: Mapping[str, Any] = field(default_factory=dict)
    webhook: Mapping[str, Any] = field(default_factory=dict)


def jobs_of(place: Place, wanted: Mapping[str, Mapping[str, Any]]) -> list[Job]:
    """Return the jobs of a host. What `problems` refuses does not get here.

    Args:
        place: what is known about host and environment.
        wanted: by job, what a user set; the rest is as in `DEFAULTS`.
    """
    return [_job(place, name, wanted.get(name) or {}) for name in JOBS if _is_here(place, name)]


def _is_here(place: Place, name: str) -> bool:
    # Somebody else's PostgreSQL has no host of ours: a server looks after it, with its own login.
    needed = ("server",) if name == DATABASE and place.database_is_external else CONCERNS[name]
    return not needed or bool(set(needed) & set(place.concerns))


def _job(place: Place, name: str, wanted: Mapping[str, Any]) -> Job:
    whole = {**DEFAULTS[name], **wanted}
    schedule = Schedule.read(whole["schedule"])
    delay, timeout = 60 * int(whole["delay_minutes"]), 60 * int(whole["timeout_minutes"])
    enabled = bool(whole["enabled"])
    if "enabled" not in wanted and _reason_against(place, name, whole)[0]:
        enabled = False
    common = ("enabled", "schedule", "delay_minutes", "timeout_minutes", "memory_mb", "cpu_percent", "dry_run")
    return Job(
        name=name,
        enabled=enabled,
        schedule=whole["schedule"],
        on_calendar=schedule.on_calendar,
        cron=schedule.cron,
        delay_seconds=delay,
        cron_sleep=_spread(f"{place.host} {name}", delay),
        timeout_seconds=timeout,
        # One run may be left out, for instance because the host was off: what is needed is done by the next one.
        due_seconds=2 * schedule.period + delay + timeout,
        memory_mb=int(whole["memory_mb"]),
        cpu_percent=int(whole["cpu_percent"]),
        dry_run=bool(whole.get("dry_run", False)),
        settings={key: value for key, value in whole.items() if key not in common},
    )


def _spread(text: str, below: int) -> int:
    """A number below `below` that is always the same for a text and differs from text to text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") % below if below else 0


def _reason_against(place: Place, name: str, whole: Mapping[str, Any]) -> tuple[str, str]:
    """Why a job cannot work here: a finding's id and what is wrong; empty if it can."""
    if name == DELIVERY and not place.mail and not place.webhook:
        return "MAINTENANCE_DELIVERY", "mlflow_maintenance_mail_to and mlflow_maintenance_webhook_url are both empty"
    if name not in _IN_STORE:
        return "", ""
    try:
        kind = parse(place.artifact_uri).kind
    except ArtifactUriError:
        return "", ""  # refused by whoever is asked first
    if kind not in ("directory", "s3"):
        return "MAINTENANCE_STORE", f"{place.artifact_uri} is neither a directory nor S3"
    if kind == "s3" and not place.may_delete and not whole["dry_run"]:
        return "MAINTENANCE_IDENTITY", "mlflow_artifact_store_maintenance_access_key_id is empty"
    return "", ""


def problems(place: Place, wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what is refused, one sentence each.

    Names and types were compared with the specification already; a job that cannot work here is a problem only if it was asked for.
    """
    found = _delivery_problems(place)
    for name in JOBS:
        given = wanted.get(name) or {}
        whole = {**DEFAULTS[name], **given}
        try:
            Schedule.read(str(whole["schedule"]))
        except ValueError as error:
            variable = f"mlflow_maintenance_{name}.schedule"
            found.append(
                render(
                    "MAINTENANCE_SCHEDULE",
                    host=place.host,
                    variable=variable,
                    value=whole["schedule"],
                    limit=str(error),
                )
            )
        for key, least in _LEAST.items():
            if key in whole and int(whole[key]) < least:
                variable = f"mlflow_maintenance_{name}.{key}"
                limit = f"It is {least} or more"
                found.append(
                    render("MAINTENANCE_LIMIT", host=place.host, variable=variable, value=whole[key], limit=limit)
                )
        id_, reason = _reason_against(place, name, whole)
        if id_ and given.get("enabled") and _is_here(place, name):
            found.append(
                render(id_, host=place.host, variable=f"mlflow_maintenance_{name}.enabled", value=True, limit=reason)
            )
    return found


def _delivery_problems(place: Place) -> list[str]:
    """What would tell nobody, or would tell a password to everybody."""
    found = []

    def refuse(variable: str, value: Any, limit: str) -> None:
        found.append(render("MAINTENANCE_DELIVERY", host=place.host, variable=variable, value=value, limit=limit))

    mail, webhook = place.mail, place.webhook
    if mail:
        for key in ("host", "from"):
            if not mail[key]:
                refuse(f"mlflow_maintenance_mail_{key}", "(empty)", "mlflow_maintenance_mail_to says that mail is sent")
        if mail["user"] and mail["security"] == "none":
            limit = "The password of mlflow_maintenance_mail_user would be readable on the way"
            refuse("mlflow_maintenance_mail_security", "none", limit)
        if mail["user"] and not mail["password"]:
            limit = "mlflow_maintenance_mail_user says that there is a login"
            refuse("mlflow_maintenance_mail_password", "(empty)", limit)
        for address in [*mail["to"], *([mail["from"]] if mail["from"] else [])]:
            if not _ADDRESS.fullmatch(str(address)):
                refuse("mlflow_maintenance_mail_to and _from", address, "It is no address of mail")
    if webhook:
        # The address is a secret of its own at most receivers, so it is not said.
        parts = urlsplit(str(webhook["url"]))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            refuse("mlflow_maintenance_webhook_url", "(not shown)", "It is no http:// or https:// with a host")
        elif parts.scheme == "http" and webhook["token"] and parts.hostname not in _HERE:
            limit = "mlflow_maintenance_webhook_token would be readable on the way"
            refuse("mlflow_maintenance_webhook_url", "http://...", limit)
    return found


# ----- what last results mean


def told(host: str, jobs: Iterable[Mapping[str, Any]], now: float) -> list[dict[str, str]]:
    """Return the findings about the jobs of a host.

    Args:
        host: its name.
        jobs: each with `name`, `enabled`, `due_seconds`, `since` (when it was set up), `last` (the last result or nothing), `started` (when
            a run began that has not said how it ended, or 0) and `active` (its unit runs).
        now: the time.
    """
    found: list[dict[str, str]] = []
    for job in jobs:
        name, last = job["name"], job.get("last") or {}
        ended = float(last.get("ended") or 0)
        # Of a job that was switched off counts what somebody ran since.
        if not job["enabled"] and ended <= float(job.get("since") or 0):
            continue
        if job.get("started", 0) > ended and not job.get("active"):
            summary = (
                f"Job {name} began {_ago(now - job['started'])} ago and was cut off, with its host or by somebody."
            )
            found.append(_about(host, "JOB_FAILED", summary, name))
        elif last.get("outcome") == "failed":
            summary = f"Job {name} failed {_ago(now - ended)} ago: {last.get('sentence', '')}"
            found.append(_about(host, "JOB_FAILED", summary, name))
        else:
            found += [one for one in last.get("findings") or [] if isinstance(one, dict) and set(one) >= _SAID]
        alive = max(ended, float(job.get("since") or 0))
        if job["enabled"] and not job.get("active") and now - alive > job["due_seconds"]:
            when = f"the last run ended {_ago(now - ended)} ago" if ended else "it has never run"
            found.append(_about(host, "JOB_OVERDUE", f"Job {name} has not run in its time: {when}.", name))
    return found


def _about(host: str, finding: str, summary: str, name: str) -> dict[str, str]:
    fix = f"See journalctl -u mlflow-maintenance-{name} on the host; run it now with mlops.mlflow.maintenance and mlflow_maintenance_run."
    return report(finding, host=host, summary=summary, fix=fix)


def _ago(seconds: float) -> str:
    """Days, hours or minutes, whatever says enough."""
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def to_dict(job: Job) -> dict[str, Any]:
    """As templates see it."""
    return asdict(job)


def stamp(seconds: float) -> str:
    """A time as people and programs read it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
