# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The restore drill: the newest backup is restored into a scratch folder, opened by the installed MLflow, judged, and removed again.

It is the job `drill` of mlflow_backup.py. Nothing that serves is touched, and whatever ends the job, the folder is gone afterwards: the
job removes it, its unit does if the job could not, and the next drill begins by looking for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as rules
    from ansible_collections.mlops.mlflow.plugins.module_utils import _restore as decisions
    from ansible_collections.mlops.mlflow.roles.mlflow_backup.files import mlflow_backup as core
    from ansible_collections.mlops.mlflow.roles.mlflow_backup.files import mlflow_restore as restoring
else:  # On a host they lie beside this file.
    rules = importlib.import_module("_backup")
    decisions = importlib.import_module("_restore")
    core = importlib.import_module("mlflow_backup")
    restoring = importlib.import_module("mlflow_restore")

OPENS = Path(__file__).with_name("mlflow_drill_look.py")
# Experiments of the workspace that a client sees who names none; without workspaces there is no such column, and all are seen.
ASK_SEEN = "SELECT count(*) FROM experiments e WHERE coalesce(to_jsonb(e) ->> 'workspace', 'default') = 'default'"
# What has a time that no client made up.
ASK_OLD = (
    "SELECT 'experiment ' || experiment_id FROM experiments WHERE creation_time < {moment}"
    " UNION ALL SELECT 'model ' || name FROM registered_models WHERE creation_time < {moment}"
)
CLOCKS = 60.0  # seconds by which clocks may differ


def say(text: str) -> None:
    """Tell who watches how far it is."""
    print(f"drill: {text}", file=sys.stderr, flush=True)


def folder(host: core.Host) -> Path:
    """Where a drill works; nobody else has anything there."""
    return Path(host.config["drill"]["directory"], "mlflow-drill")


def drill(host: core.Host) -> tuple[str, dict[str, Any]]:
    """Restore, open, compare, remove."""
    given = host.config["drill"]
    into = folder(host)
    # What a drill left that was ended by force.
    shutil.rmtree(into, ignore_errors=True)
    away = core.Host({**host.config, "database": given["database"]})
    started = time.monotonic()
    try:
        told = restoring.look(away, {"kind": "beside", "into": str(into)})
        plan = told["plan"]
        say(f"everything of {plan['moment']} is restored into {into}")
        into.mkdir(mode=0o700)
        seen = restoring.restore_cluster(away, into, plan["database"], lambda opened: inspect(opened, into, plan))
        restored = round(time.monotonic() - started, 1)
        say(f"restored and opened within {restored} s; artifacts are read")
        seen["sample"] = sample(away, plan, seen.pop("known"), seen["live"])
        seen["wanted"] = away.config["drill"]["sample"]
    finally:
        shutil.rmtree(into, ignore_errors=True)
    if into.exists():
        raise core.JobError(rules.problem("BACKUP_DRILL_FAILED", f"{into} could not be removed after the drill."))
    if problems := decisions.judge_drill(seen):
        raise core.JobError(*problems)
    counts, artifacts = seen["counts"], seen["sample"]
    sentence = (
        f"everything of {plan['moment']} was restored, {core.size(seen['bytes'])} of database within {restored} s: "
        + ", ".join(f"{number} {what}" for what, number in counts.items())
        + f"; {artifacts['read']} artifacts read, {artifacts['compared']} compared by checksum"
    )
    if seen["release"]:
        sentence += f"; opened by MLflow {seen['release']['version']}"
    told = {"moment": plan["moment"], "manifest": plan["manifest"], "restore_seconds": restored, **seen}
    return sentence, told


def inspect(opened: core.Host, into: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of the restored cluster while it is open."""
    sizes = json.loads(opened.ask(restoring.ASK_DATABASES))
    counts = restoring.count(opened)
    known, expected = restoring.rows(opened)
    told: dict[str, Any] = {"bytes": sum(sizes.values()), "counts": counts, "known": known, "release": {}, "live": None}
    told["expected"] = len(expected)
    name = next((name for name, has in restoring.tables(opened).items() if {"experiments", "runs"} <= set(has)), "")
    if name:
        moment = int((decisions.moment_of(plan["moment"]) - CLOCKS) * 1000)
        told["live"] = compare(opened, name, moment)
        told["release"] = open_with_release(opened, into, name)
    return told


def open_with_release(opened: core.Host, into: Path, name: str) -> dict[str, Any]:
    """Let the installed MLflow open the restored database, without a right to write."""
    assert opened.database
    user = opened.config["drill"]["user"]
    home = into / "home"
    home.mkdir()
    if user and os.geteuid() == 0:
        shutil.chown(home, user)
    place = f"postgresql+psycopg2://{opened.database['user']}@/{name}?host={into}&port={opened.database['port']}"
    variables = {"PGOPTIONS": "-c default_transaction_read_only=on", "HOME": str(home)}
    answer = look(opened, ["tracking", place], variables, user=user, folder=home)
    return {**answer, "rows": int(opened.ask(ASK_SEEN, name, opened.limit))}


def look(
    host: core.Host, arguments: list[str], variables: Mapping[str, str], *, user: str = "", folder: Path = Path("/")
) -> dict[str, Any]:
    """Run mlflow_drill_look.py with the Python of the installed release."""
    command = ["/usr/bin/env", f"--chdir={folder}", host.config["drill"]["python"], "-B", str(OPENS), *arguments]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
    done = core.run(command, host.limit, user=user, variables={**quiet, **variables})
    if done.code:
        # The end of what a program of Python says is the reason.
        said = rules.words(" ".join(done.said.splitlines()[-3:]))
        raise core.JobError(
            rules.problem("BACKUP_DRILL_FAILED", f"The installed MLflow could not do its part ({arguments[0]}).", said)
        )
    found: dict[str, Any] = json.loads(done.out.splitlines()[-1])
    return found


def server_variables(host: core.Host) -> dict[str, str]:
    """What the server on this host is started with (a systemd EnvironmentFile as the role mlflow_server writes it)."""
    try:
        text = Path(host.config["drill"]["server_environment"]).read_text(encoding="utf-8")
    except OSError:
        return {}
    found = re.findall(r'^([A-Z_0-9]+)="((?:[^"\\]|\\.)*)"$', text, re.M)
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}


def compare(opened: core.Host, name: str, moment: int) -> dict[str, Any] | None:
    """Which experiments and models live now, existed at the moment, and are not in what was restored. None if nobody could be asked."""
    uri = server_variables(opened).get("MLFLOW_BACKEND_STORE_URI", "")
    if not uri:
        return None
    query = ASK_OLD.format(moment=moment)
    try:
        live = set(look(opened, ["live", query], {"MLOPS_DATABASE_URI": uri})["rows"])
    except core.JobError as error:
        say(f"the live database was not asked: {error.problems[0]['evidence']}")
        return None
    return {"asked": len(live), "lost": sorted(live - set(opened.ask(query, name, opened.limit).splitlines()))}


# ----- a sample of artifacts


def sample(host: core.Host, plan: Mapping[str, Any], known: set[str], live: Mapping[str, Any] | None) -> dict[str, Any]:
    """Read some artifacts, chosen at random, and compare them: a copy with the live directory, a bucket with its own checksums."""
    told: dict[str, Any] = {"read": 0, "bytes": 0, "compared": 0, "gone": 0, "wrong": [], "unknown": []}
    number = host.config["drill"]["sample"]
    artifacts = plan["artifacts"]
    if artifacts["kind"] == "directory":
        return of_directory(host, plan, number, known, live is not None, told)
    variables = server_variables(host)
    if variables:
        stores = ("AWS_", "MLFLOW_S3_", "GOOGLE_", "AZURE_")
        given = {name: value for name, value in variables.items() if name.startswith(stores)}
        key = Path(host.config["drill"]["server_environment"]).with_name("server.gcs.json")
        given.update({"GOOGLE_APPLICATION_CREDENTIALS": str(key)} if key.exists() else {})
        told.update(look(host, ["bucket", artifacts["uri"], str(number), plan["moment"]], given))
    return told


def of_directory(
    host: core.Host, plan: Mapping[str, Any], number: int, known: set[str], is_live: bool, told: dict[str, Any]
) -> dict[str, Any]:
    """Read files of the copy and compare those that the directory still has as they were."""
    artifacts = plan["artifacts"]
    moment = decisions.moment_of(plan["moment"]) - CLOCKS
    chosen: list[dict[str, Any]] = []
    strangers: set[str] = set()
    chance = random.Random()
    for position, one in enumerate(restoring.listed(host, artifacts["snapshot"], artifacts["path"])):
        # Each file has the same chance, however many there are.
        if position < number:
            chosen.append(one)
        elif (place := chance.randrange(position + 1)) < number:
            chosen[place] = one
        owner = decisions.owner(one["path"])
        if owner and owner not in known and one["modified"] < moment:
            strangers.add(owner)
    for one in chosen:
        path = f"{artifacts['path'].rstrip('/')}/{one['path']}"
        kept = digest(host, artifacts["snapshot"], path)
        told["read"] += 1
        told["bytes"] += one["size"]
        try:
            found = Path(path).stat()
            same = found.st_size == one["size"] and abs(found.st_mtime - one["modified"]) < 0.001
        except OSError:
            same = False
        if not same:
            told["gone"] += 1
            continue
        told["compared"] += 1
        with Path(path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != kept:
                told["wrong"].append(one["path"])
    # What was deleted since is in neither; what lives has to be in both.
    if strangers and is_live:
        names = ", ".join(f"'{name}'" for name in sorted(strangers) if re.fullmatch("[a-z0-9-]+", name))
        query = f"SELECT run_uuid FROM runs WHERE run_uuid IN ({names})"
        with contextlib.suppress(core.JobError):
            uri = server_variables(host)["MLFLOW_BACKEND_STORE_URI"]
            told["unknown"] = sorted(look(host, ["live", query], {"MLOPS_DATABASE_URI": uri})["rows"])
    return told


def digest(host: core.Host, snapshot: str, path: str) -> str:
    """The SHA-256 of a file as the copy gives it back."""
    with restoring.reading(host, "dump", "--no-lock", snapshot, path, about="A copied artifact") as content:
        found = hashlib.sha256()
        while chunk := content.read(1024**2):
            found.update(chunk)
    return found.hexdigest()
