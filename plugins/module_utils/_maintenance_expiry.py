# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What comes to its end on a host without anybody doing anything: certificates, credentials, free disk, backups, and a clock that nobody sets."""

from __future__ import annotations

import asyncio
import datetime
import re
import shutil
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils import _maintenance_backups as backups
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_audit import size
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import words
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import report
from ansible_collections.mlops.mlflow.plugins.module_utils._maintenance_job import JobError, Result, Say, measurable
from ansible_collections.mlops.mlflow.plugins.module_utils._rotation import credential_ages

_SECONDS = 20
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


async def _talk(command: Sequence[str], told: str) -> str | None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        said, _nothing = await asyncio.wait_for(process.communicate(told.encode()), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return said.decode(errors="replace").strip() if process.returncode == 0 else None


def ask(command: Sequence[str], told: str = "") -> str | None:
    """What a program says; nothing if it is not there, fails or hangs."""
    return asyncio.run(_talk(command, told))


def ends(pem: str) -> float | None:
    """When a certificate ends, in seconds since 1970; nothing if it is none."""
    said = ask(["openssl", "x509", "-noout", "-enddate"], pem)
    return float(ssl.cert_time_to_seconds(said.removeprefix("notAfter="))) if said else None


def first_end(text: str) -> float | None:
    """When the first of the certificates of a file ends: a chain, or several authorities. Nothing if one of them is none."""
    each = [ends(pem) for pem in _CERTIFICATE.findall(text)]
    return None if not each or None in each else min(end for end in each if end is not None)


def certificates(folder: Path, others: Iterable[str] = ()) -> dict[str, float | None]:
    """The certificates of a folder, and others by their paths, and when each ends."""
    found: dict[str, float | None] = {}
    named = [(path.stem, path) for path in sorted(folder.glob("*.pem"))]
    named += [(path, Path(path)) for path in others if Path(path).parent != folder]
    for name, path in named:
        try:
            found[name] = first_end(path.read_text(encoding="ascii"))
        except PermissionError:
            continue  # what this user may not read is no certificate of the installation
        except (OSError, ValueError):
            found[name] = None
    return found


def judge_certificates(host: str, found: Mapping[str, float | None], days: int, now: float) -> list[dict[str, str]]:
    """Findings about certificates that end within so many days."""
    findings = []
    for name, end in found.items():
        if end is None:
            summary = f"The file of the certificate {name} cannot be read as one."
        elif end - now <= 0:
            summary = f"The certificate {name} ended {int((now - end) // 86400)} days ago."
        elif end - now <= days * 86400:
            summary = f"The certificate {name} ends in {int((end - now) // 86400)} days."
        else:
            continue
        findings.append(report("MAINTENANCE_CERTIFICATE", host=host, summary=summary))
    return findings


def judge_disks(host: str, paths: Iterable[str], percent: int) -> tuple[dict[str, int], list[dict[str, str]]]:
    """How much is free where something is kept, in percent, and findings about what is nearly full."""
    free: dict[str, int] = {}
    findings = []
    for path in paths:
        try:
            place = measurable(path)
            usage = shutil.disk_usage(place) if place else None
        except OSError as error:
            findings.append(
                report(
                    "MAINTENANCE_DISK", host=host, summary=f"The disk of {path} cannot be looked at: {words(error)}."
                )
            )
            continue
        if usage is None:
            continue  # not on this host
        free[path] = round(100 * usage.free / max(usage.total, 1))
        if free[path] < percent:
            summary = f"{path} has {size(usage.free)} free, {free[path]} %, and mlflow_maintenance_expiry.disk_percent={percent}."
            findings.append(report("MAINTENANCE_DISK", host=host, summary=summary))
    return free, findings


def judge_clock(host: str, said: str | None) -> list[dict[str, str]]:
    """A finding if the operating system says that nobody sets its clock; a host that does not say is left alone."""
    if said != "no":
        return []
    return [report("MAINTENANCE_CLOCK", host=host, summary="The clock of the host is not synchronised.")]


def work(request: Mapping[str, Any], say: Say, *, now: float) -> Result:
    """Do the job.

    Args:
        request: `host`, `certificate_folder`, `certificate_files`, `certificate_days`, `disks`, `disk_percent`, `credential_dates` (by name),
            `credential_days`, `environment`, `backups` (the folder of their results), `backup_hours`, `drill_days`.
        say: how it tells what it does.
        now: the time.
    """
    host = str(request["host"])
    say("Looking at certificates, credentials, disks, backups and clock")
    if shutil.which("openssl") is None:
        raise JobError("openssl is not installed on this host, and certificates cannot be read without it.")
    found = certificates(Path(request["certificate_folder"]), request["certificate_files"])
    free, full = judge_disks(host, request["disks"], int(request["disk_percent"]))
    dates: Mapping[str, Any] = request["credential_dates"]
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date().isoformat()
    kept = backups.results(Path(request["backups"]))
    clock = ask(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    findings = [
        *judge_certificates(host, found, int(request["certificate_days"]), now),
        *credential_ages(
            dates,
            sorted(dates),
            int(request["credential_days"]),
            str(request["environment"]),
            today,
            "mlflow_maintenance_expiry.credential_days",
        ),
        *full,
        *backups.judge(host, kept, int(request["backup_hours"]), int(request["drill_days"]), now),
        *judge_clock(host, clock),
    ]
    left = {name: None if end is None else int((end - now) // 86400) for name, end in found.items()}
    details = {
        "certificate_days_left": left,
        "free_percent": free,
        "clock_synchronised": clock or "unknown",
        "backup_hours_ago": backups.ages(kept, now),
    }
    said = f"{len(found)} certificates, {len(dates)} credentials, {len(free)} disks, {len(kept)} jobs of backups"
    return Result(f"{said} and the clock were looked at; {len(findings)} of them need somebody.", details, findings)
