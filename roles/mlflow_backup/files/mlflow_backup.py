# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Back up what of MLflow is on this host, and look at the backups.

Usage: python3 mlflow_backup.py --config FILE JOB

Jobs are full, differential, configuration, artifacts, manifest, verify, drill and watch; besides them prepare, check-archive, look and
restore-beside --into FOLDER; `ended JOB` is what systemd calls after a run. Restoring is in mlflow_restore.py, the drill in mlflow_drill.py.

The units mlflow-backup-*.service run it. Each job writes its last result as JSON into the folder `results` of its state, and ends with 1
if something is wrong; `look` changes nothing and prints what is there with all that is wrong. What another program is asked for has a
limit of time, because pgBackRest and restic wait for a repository that is away. `prepare` makes the repository if there never was one.
What is judged, and how, is in _backup.py.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as rules
else:  # On a host it lies beside this file.
    rules = importlib.import_module("_backup")

Problem = dict[str, str]
LOCK_WAIT_SECONDS = 30.0
STANZA_MISSING = 1  # pgBackRest: nothing was ever kept there
NOT_THERE = re.compile(r"no such file or directory|[Tt]he specified key does not exist|NoSuchKey")
INCOMPLETE = 3  # restic: a snapshot was made, and some files could not be read
ASK_ARCHIVER = """
SELECT json_build_object(
  'mode', current_setting('archive_mode'), 'command', current_setting('archive_command'),
  'failed_count', a.failed_count, 'last_failed_wal', a.last_failed_wal, 'last_failed', extract(epoch FROM a.last_failed_time),
  'last_archived_wal', a.last_archived_wal, 'last_archived', extract(epoch FROM a.last_archived_time),
  'segment_bytes', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
  'wal_bytes', (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()),
  'ready', r.number, 'ready_oldest', extract(epoch FROM r.oldest), 'data', current_setting('data_directory'))
FROM pg_stat_archiver a,
     (SELECT count(*) AS number, min(modification) AS oldest FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') r
"""


class JobError(Exception):
    """A job cannot go on; it holds what is wrong."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(one["summary"] for one in problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Ran:
    """What became of a command. Whatever is no UTF-8 is replaced: what was deciphered wrongly is noise."""

    code: int
    out: str
    complaint: str

    @property
    def said(self) -> str:
        """Its complaint, or what it printed if it complained there."""
        return self.complaint.strip() or self.out.strip()[-2000:]


def identity(user: str) -> dict[str, Any]:
    """What makes subprocess work as that user, if this program is root."""
    if not user or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}


def run(
    command: Sequence[str],
    seconds: float,
    *,
    user: str = "",
    variables: Mapping[str, str] | None = None,
    shown: bool = False,
) -> Ran:
    """Run a command for so many seconds, then end it and all that it started.

    Args:
        command: the program with its arguments; secrets are in files that these name.
        seconds: its time.
        user: as whom, if this program is root.
        variables: its environment beyond PATH and the locale.
        shown: its output goes to the journal instead of being returned.
    """
    known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with subprocess.Popen(
        command,
        cwd="/",
        env={**known, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if shown else subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **identity(user),
    ) as process:
        try:
            out, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # The leader of a group that nobody has waited for: its number is still its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Ran(124, "", f"{Path(command[0]).name} gave no answer within {seconds:.0f} s")
    return Ran(process.returncode, (out or b"").decode(errors="replace"), complaint.decode(errors="replace"))


class Host:
    """What the configuration says about this host, and how its programs are asked."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.state = Path(config["state"])
        self.database: dict[str, Any] | None = config["database"]
        self.limit = float(config["seconds"])
        self.brief = float(config["look_seconds"])  # for a question

    # ----- PostgreSQL

    def ask(self, query: str, database: str = "postgres", seconds: float = 0.0) -> str:
        """Return what PostgreSQL answers to a query, as its own user."""
        seconds = seconds or self.brief
        assert self.database
        command = [
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            f"--dbname={database}",
        ]
        command += [
            f"--host={self.database['socket']}",
            f"--port={self.database['port']}",
            f"--username={self.database['user']}",
        ]
        limits = {"PGCONNECT_TIMEOUT": "5", "PGOPTIONS": f"-c statement_timeout={seconds * 1000:.0f}"}
        done = run([*command, f"--command={query}"], seconds + 5, user=self.database["user"], variables=limits)
        if done.code:
            raise JobError(rules.problem("BACKUP_DATABASE", "PostgreSQL did not answer.", rules.words(done.said)))
        return done.out.strip()

    def archiver(self) -> dict[str, Any]:
        """What PostgreSQL says about the archive of its WAL, or the reason why it says nothing."""
        assert self.database
        try:
            seen: dict[str, Any] = json.loads(self.ask(ASK_ARCHIVER))
        except JobError as error:
            return {"reason": error.problems[0]["evidence"]}
        seen["wanted"] = self.database["archive_command"]
        seen["free_bytes"] = shutil.disk_usage(Path(seen.pop("data"), "pg_wal")).free
        return seen

    def refuse_without_archive(self) -> None:
        """Say at once what no waiting would change."""
        found = rules.judge_archiver(self.archiver(), time.time(), self.config["limits"])
        if off := [one for one in found if one["id"] in ("BACKUP_ARCHIVE_OFF", "BACKUP_DATABASE")]:
            raise JobError(*off)

    def restore_point(self, name: str) -> dict[str, Any]:
        """Make a moment to which the database can be restored, and wait until the archive holds it."""
        self.refuse_without_archive()
        text = self.ask(
            f"SELECT json_build_object('name', '{name}', 'lsn', pg_create_restore_point('{name}'), 'time', extract(epoch FROM clock_timestamp()))"
        )
        # A restore to a time needs a transaction that was committed later; one that only has a number is enough.
        self.ask("SELECT txid_current()")
        segment = self.ask("SELECT pg_walfile_name(pg_switch_wal())")
        end = time.monotonic() + self.config["limits"]["archive_seconds"]
        while (self.ask("SELECT coalesce(left(last_archived_wal, 24), '') FROM pg_stat_archiver"))[8:] < segment[8:]:
            if time.monotonic() > end:
                reason = f"The restore point was not archived within {self.config['limits']['archive_seconds']} s."
                raise JobError(
                    *(
                        rules.judge_archiver(self.archiver(), time.time(), self.config["limits"])
                        or [rules.why(segment, reason)]
                    )
                )
            time.sleep(0.5)
        return {**json.loads(text), "segment": segment}

    def pgbackrest(self, *arguments: str, seconds: float = 0.0, shown: bool = False) -> Ran:
        """Run pgBackRest on the stanza, as PostgreSQL's user."""
        assert self.database
        command = [
            "pgbackrest",
            f"--config={self.database['config']}",
            f"--stanza={self.database['stanza']}",
            *arguments,
        ]
        return run(command, seconds or self.limit, user=self.database["user"], shown=shown)

    def info(self) -> dict[str, Any]:
        """What the repository holds of the database, or the reason why it does not say it."""
        assert self.database
        done = self.pgbackrest("info", "--output=json", seconds=self.brief)
        try:
            return {"reason": done.said} if done.code else rules.parse_info(done.out, self.database["stanza"])
        except (ValueError, KeyError) as error:
            return {"reason": f"{error} {done.said}"}

    def segment_bytes(self) -> int:
        """The size of a segment of WAL."""
        return int(self.ask("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'"))

    def missing(self, info: Mapping[str, Any]) -> list[str]:
        """Which of the newest segments behind the last backup the archive lacks; what cannot be listed is said by others.

        Only the newest folders are listed, so that it can be asked often. The manifest looks at all of it.
        """
        assert self.database
        if not info.get("backups") or not info.get("wal_max"):
            return []
        first, folders = rules.newest_folders(info["backups"][-1]["wal_start"], info["wal_max"])
        names: list[str] = []
        for folder in folders:
            place = f"archive/{self.database['stanza']}/{info['archive']}/{folder}"
            done = self.pgbackrest("repo-ls", "--output=json", place, seconds=self.brief)
            if done.code:
                return []
            names += json.loads(done.out)
        try:
            return rules.missing_segments(names, first, info["wal_max"], self.segment_bytes())
        except JobError:
            return []

    # ----- restic

    def restic_command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """How restic is run on the repository: the command, and its environment."""
        files = self.config["files"]
        options = [
            f"--cache-dir={self.state / 'cache'}",
            f"--password-file={files['password_file']}",
            f"--repo={files['repository']}",
        ]
        options += [f"--cacert={files['ca_file']}"] if files["ca_file"] else []
        variables = {"HOME": str(self.state), "GOMAXPROCS": str(self.config["processes"])}
        if files["environment_file"]:
            lines = Path(files["environment_file"]).read_text(encoding="utf-8").splitlines()
            for line in lines:
                if "=" in line and not line.startswith("#"):
                    name, _equals, value = line.partition("=")
                    variables[name] = value
        return ["restic", *options, *arguments], variables

    def restic(self, *arguments: str, seconds: float = 0.0) -> Ran:
        """Run restic on the repository. While another run holds the lock it is tried again, as long as the time lasts."""
        command, variables = self.restic_command(*arguments)
        end = time.monotonic() + (seconds or self.limit)
        while True:
            done = run(command, max(end - time.monotonic(), 1.0), variables=variables)
            if "already locked" not in done.complaint or time.monotonic() + LOCK_WAIT_SECONDS > end:
                return done
            time.sleep(LOCK_WAIT_SECONDS)

    def snapshots(self, patience: float = 1.0) -> list[dict[str, Any]]:
        """What the repository holds of files."""
        done = self.restic("snapshots", "--json", "--no-lock", seconds=self.brief * patience)
        if done.code:
            raise JobError(rules.why(done.said, "The copies of files"))
        return rules.parse_snapshots(done.out)

    def keep(self, path: str, *tags: str) -> dict[str, Any]:
        """Copy a path into the repository; returns what restic says in the end."""
        # What a host that lost its power left behind must not stop this run.
        self.restic("unlock", seconds=self.brief * 3)
        wanted = [f"--tag={tag}" for tag in (*tags, f"environment={self.config['environment']}")]
        # A file that was deleted while it was read is not there the second time.
        for _attempt in range(2):
            done = self.restic("backup", "--json", f"--host={self.config['host']}", *wanted, path)
            if done.code not in (0, INCOMPLETE):
                raise JobError(rules.why(done.said, f"The copy of {path}"))
            said: dict[str, Any] = next(
                one for one in map(json.loads, reversed(done.out.splitlines())) if one["message_type"] == "summary"
            )
            if not done.code:
                return said
            # restic keeps what it could read as a snapshot like any other, and the next manifest would take it for everything.
            forgotten = self.restic("forget", said["snapshot_id"])
            if forgotten.code:
                raise JobError(rules.why(forgotten.said, f"An unfinished copy of {path} could not be removed"))
        # What could not be read is said on standard error as JSON as well.
        raise JobError(
            rules.problem(
                "BACKUP_JOB_FAILED", f"Not everything below {path} could be read.", rules.words(done.complaint)
            )
        )


# ----- jobs: each returns a sentence, and what programs want to know


def back_up_database(host: Host, kind: str) -> tuple[str, dict[str, Any]]:
    """Make a full or differential backup of the cluster, with the databases of tracking and of users."""
    assert host.database
    done = host.pgbackrest(
        "backup", f"--type={kind}", "--log-level-console=info", "--log-level-stderr=warn", shown=True
    )
    if done.code:
        raise JobError(rules.why(done.said, "The backup of the database"))
    info = host.info()
    if problems := rules.judge_database(info, time.time(), host.config["limits"]):
        raise JobError(*problems)
    last = info["backups"][-1]
    return f"{last['type']} backup {last['label']}, {size(last['bytes'])}, {size(last['stored'])} stored", {
        "backup": last
    }


def archive_configuration(host: Host) -> tuple[str, dict[str, Any]]:
    """Encrypt configuration and keys to the operators, and keep the archive. Nothing of it is written unencrypted."""
    folder = host.state / "configuration"
    folder.mkdir(mode=0o700, exist_ok=True)
    paths = [path for path in host.config["configuration"]["paths"] if Path(path).exists()]
    archive = folder / "configuration.tar.age"
    unfinished = archive.with_suffix(".new")
    with unfinished.open("wb") as file:
        unfinished.chmod(0o600)
        command = ["age", "--encrypt", f"--recipients-file={host.config['configuration']['recipients_file']}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stderr
            with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=process.stdin, mode="w|") as tar:
                for path in paths:
                    tar.add(path, arcname=path.lstrip("/"))
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            complaint = process.stderr.read().decode(errors="replace")
    if process.returncode:
        unfinished.unlink()
        raise JobError(
            rules.problem("BACKUP_JOB_FAILED", "The configuration could not be encrypted.", rules.words(complaint))
        )
    digest = hashlib.sha256(unfinished.read_bytes()).hexdigest()
    unfinished.rename(archive)
    said = host.keep(str(archive), "configuration", f"sha256={digest}")
    told = {"sha256": digest, "snapshot": said["snapshot_id"], "bytes": archive.stat().st_size, "paths": paths}
    return f"configuration archive of {size(told['bytes'])}, SHA-256 {digest[:12]}...", told


def copy_artifacts(host: Host) -> tuple[str, dict[str, Any]]:
    """Copy a directory of artifacts, what is new of it. A bucket keeps its own versions, and the manifest says of when."""
    artifacts = host.config["artifacts"]
    if artifacts["kind"] != "directory":
        return f"{artifacts['uri']} keeps its own versions; nothing is copied", {"artifacts": artifacts}
    if not Path(artifacts["path"]).is_dir():
        raise JobError(
            rules.problem("BACKUP_JOB_FAILED", f"There is no directory of artifacts at {artifacts['path']}.")
        )
    said = host.keep(artifacts["path"], "artifacts")
    sentence = f"{said['total_files_processed']} files of artifacts, {size(said['total_bytes_processed'])}, {size(said['data_added'])} new"
    return sentence, {
        "snapshot": said["snapshot_id"],
        "files": said["total_files_processed"],
        "bytes": said["total_bytes_processed"],
    }


def tie(host: Host) -> tuple[str, dict[str, Any]]:
    """Make a restore point, see that the archive of WAL is whole, and tie what there is to one moment."""
    started = time.time()
    name = time.strftime("mlflow_%Y%m%dT%H%M%SZ", time.gmtime(started))
    point = info = None
    if host.database:
        info = host.info()
        if problems := rules.judge_database(info, started, host.config["limits"]):
            raise JobError(*problems)
        point = host.restore_point(name)
    asked = {
        **host.config["manifest"],
        "now": started,
        "environment": host.config["environment"],
        "host": host.config["host"],
    }
    asked["artifacts"] = host.config["artifacts"]
    asked["stanza"] = host.database["stanza"] if host.database else ""
    manifest, problems = rules.tie(asked, point=point, info=info, snapshots=host.snapshots(patience=3))
    if problems:
        raise JobError(*problems)
    if host.database and info:
        archived(host, info["archive"], manifest["database"])
    folder = host.state / "manifests"
    folder.mkdir(mode=0o755, exist_ok=True)
    text = json.dumps(manifest, indent=2) + "\n"
    write(folder / f"{name.removeprefix('mlflow_')}.json", text)
    write(folder / "newest.json", text)
    for old in sorted(folder.glob("2*.json"))[: -host.config["manifest"]["kept"]]:
        old.unlink()
    host.keep(str(folder), "manifest")
    return f"everything as of {manifest['moment']}", {"manifest": manifest}


def archived(host: Host, archive: str, database: Mapping[str, Any]) -> None:
    """Refuse a moment to which the archive of WAL does not lead without a gap."""
    assert host.database
    done = host.pgbackrest(
        "repo-ls", "--recurse", "--output=json", f"archive/{host.database['stanza']}/{archive}", seconds=host.brief * 6
    )
    if done.code:
        raise JobError(rules.why(done.said, "The archive of WAL"))
    if missing := rules.missing_segments(
        json.loads(done.out), database["wal_from"], database["wal_to"], host.segment_bytes()
    ):
        raise JobError(rules.gap(missing, database["label"]))


def verify(host: Host) -> tuple[str, dict[str, Any]]:
    """Forget what is older than it is kept, and read what is there: all of the database, a part of the files."""
    problems: list[Problem] = []
    told = []
    if host.database:
        info = host.info()
        if info.get("code") != 0:
            raise JobError(*rules.judge_database(info, time.time(), host.config["limits"]))
        done = host.pgbackrest("verify", "--output=text", "--verbose")
        if "status:" not in done.out:
            problems.append(rules.why(done.said, "The backups of the database"))
        elif "status: ok" not in done.out:
            lines = [line for line in done.out.splitlines() if "invalid" in line or "No usable" in line]
            problems.append(
                rules.problem(
                    "BACKUP_DAMAGED", "The backups of the database are damaged.", rules.words("; ".join(lines))
                )
            )
        told.append("every file of the backups of the database")
    host.restic("unlock", seconds=host.brief * 3)
    if host.config["prunes"]:
        days = host.config["keep_days"]
        done = host.restic("forget", "--group-by=host,paths", f"--keep-within={days}d", "--prune")
        if done.code:
            problems.append(rules.why(done.said, "The removal of old copies of files"))
        done = host.restic("check", f"--read-data-subset={host.config['verify_percent']}%")
        if done.code:
            found = rules.why(done.said, "The copies of files")
            # restic names what is broken in many ways; that it opened the repository and then failed says enough.
            if found["id"] == "BACKUP_REPOSITORY" and "load indexes" in done.out:
                found = rules.problem("BACKUP_DAMAGED", "The copies of files are damaged.", found["evidence"])
            problems.append(found)
        told.append(f"{host.config['verify_percent']} % of the copies of files")
    if problems:
        raise JobError(*problems)
    return f"read and right: {' and '.join(told) or 'nothing is kept by this host'}", {}


# ----- the repository


def prepare(host: Host) -> dict[str, Any]:
    """Open the repository, or make it where this host never had one: one that is away must not be replaced by an empty one."""
    note = host.state / "repository.json"
    place = host.config["files"]["repository"]
    before = read(note) or {}
    known = before if before.get("place") == place else {}
    made = []
    done = host.restic("cat", "config", seconds=host.brief * 3)
    if done.code and NOT_THERE.search(done.said) and not known:
        started = host.restic("init", seconds=host.brief * 3)
        # Another host may have been quicker.
        if started.code and "already" not in started.said:
            raise JobError(rules.why(started.said, "The repository could not be made"))
        made += [] if started.code else ["files"]
        done = host.restic("cat", "config", seconds=host.brief * 3)
    if done.code:
        raise JobError(rules.why(done.said, "The copies of files"))
    stanza = False
    if host.database:
        info = host.info()
        if info.get("code") == STANZA_MISSING and not known.get("stanza"):
            created = host.pgbackrest("stanza-create", seconds=host.brief * 6)
            if created.code:
                raise JobError(rules.why(created.said, "The repository of the database could not be made"))
            made.append("database")
            info = host.info()
        found = [one for one in rules.judge_database(info, 0.0, host.config["limits"]) if one["id"] != "BACKUP_NONE"]
        if found:
            raise JobError(*found)
        stanza = True
    told = {"place": place, "id": json.loads(done.out)["id"], "stanza": stanza}
    if told != before:
        write(note, json.dumps(told) + "\n")
    return {**told, "made": made}


def check_archive(host: Host) -> dict[str, Any]:
    """Prove that WAL reaches the archive."""
    point = host.restore_point(time.strftime("mlflow_set_up_%Y%m%dT%H%M%SZ", time.gmtime()))
    return {"segment": point["segment"]}


# ----- looking


def look(host: Host) -> dict[str, Any]:
    """See what there is of backups, with all that is wrong."""
    seen: dict[str, Any] = {
        "now": time.time(),
        "host": host.config["host"],
        "limits": host.config["limits"],
        "jobs": {},
    }
    since = (host.state / "since").stat().st_mtime
    for name, due_hours in host.config["jobs"].items():
        seen["jobs"][name] = {
            "due_hours": due_hours,
            "since": since,
            "result": read(host.state / "results" / f"{name}.json"),
        }
    if host.database:
        seen["archiver"] = host.archiver()
        seen["database"] = host.info()
        seen["missing"] = host.missing(seen["database"])
        seen["left"] = importlib.import_module("mlflow_restore").left(host)
    try:
        seen["files"] = {"snapshots": host.snapshots()}
    except JobError as error:
        seen["files"] = {"reason": error.problems[0]["evidence"]}
    seen["manifest"] = read(host.state / "manifests/newest.json")
    seen["problems"] = rules.judge(seen)
    return seen


def watch(host: Host) -> tuple[str, dict[str, Any]]:
    """Look, and fail if something is wrong."""
    seen = look(host)
    # Its own result is the one of the last time.
    seen["jobs"].pop("watch", None)
    if problems := rules.judge(seen):
        raise JobError(*problems)
    return "nothing is wrong", {}


def drill(host: Host) -> tuple[str, dict[str, Any]]:
    """Restore the newest backup into a scratch folder, see what it is worth, and remove it again."""
    found: tuple[str, dict[str, Any]] = importlib.import_module("mlflow_drill").drill(host)
    return found


# What has a caller that wants the answer, and leaves no result behind.
QUESTIONS: Mapping[str, Callable[[Host], dict[str, Any]]] = {
    "prepare": prepare,
    "check-archive": check_archive,
    "look": look,
}
JOBS: Mapping[str, Callable[[Host], tuple[str, dict[str, Any]]]] = {
    "full": lambda host: back_up_database(host, "full"),
    "differential": lambda host: back_up_database(host, "diff"),
    "configuration": archive_configuration,
    "artifacts": copy_artifacts,
    "manifest": tie,
    "verify": verify,
    "drill": drill,
    "watch": watch,
}


def size(number: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def read(path: Path) -> dict[str, Any] | None:
    """A JSON file, or nothing."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def write(path: Path, text: str) -> None:
    """Write a file that everybody may read, whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        new = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            new.chmod(0o644)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise


def remember(host: Host) -> None:
    """Tell status what is known: the local fact of this concern has this one writer."""
    folder = host.state / "results"
    results = {name: read(folder / f"{name}.json") for name in JOBS}
    last = {name: result["time"] for name, result in results.items() if result and result["ok"] and name != "watch"}
    wrong = sorted({one["id"] for result in results.values() if result for one in result["problems"]})
    fact = Path(host.config["fact"])
    text = json.dumps({"last": {**last, "wrong": ", ".join(wrong) or "nothing"}}) + "\n"
    # The watch has nothing new to tell most of the time, and whoever looks for changes on the host then finds none.
    with contextlib.suppress(OSError):
        if not fact.exists() or fact.read_text(encoding="utf-8") != text:
            write(fact, text)


def work(host: Host, name: str) -> int:
    """Do a job, write its result, and tell both."""
    started = time.time()
    problems: list[Problem] = []
    told: dict[str, Any] = {}
    try:
        sentence, told = JOBS[name](host)
    except JobError as error:
        problems = error.problems
    except Exception as error:  # a job that ends in an unforeseen way has failed like any other
        if not isinstance(error, OSError):
            traceback.print_exc()
        said = rules.words(f"{'' if isinstance(error, OSError) else type(error).__name__ + ': '}{error}")
        problems = [rules.problem("BACKUP_JOB_FAILED", f"The job {name} could not do its work.", said)]
    if problems:
        sentence = "; ".join(f"[{one['id']}] {one['summary']}" for one in problems)
    return note(host, name, started, sentence, problems, told)


def note(host: Host, name: str, started: float, sentence: str, problems: list[Problem], told: Mapping[str, Any]) -> int:
    """Write the result of a job, and tell it; returns the exit code."""
    finished = time.time()
    result = {
        "job": name,
        "invocation": os.environ.get("INVOCATION_ID", ""),
        "started": started,
        "finished": finished,
        "time": rules.when(finished),
        "seconds": round(finished - started, 1),
    }
    result.update(ok=not problems, sentence=sentence, problems=problems, **told)
    print(f"{name}: {sentence} ({result['seconds']} s)", flush=True)
    for one in problems:
        if one["evidence"]:
            print(f"  {one['evidence']}", flush=True)
    folder = host.state / "results"
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        write(folder / f"{name}.json", json.dumps(result, indent=2) + "\n")
    except OSError as error:
        # What nobody can read was not well: the unit fails, and the result of before stays.
        print(f"{name}: the result could not be written: {error}", flush=True)
        return 1
    remember(host)
    return 1 if problems else 0


def ended(host: Host, name: str) -> int:
    """Note for a run that could not do so itself how it ended. systemd calls this after every run, with $SERVICE_RESULT.

    systemd gives each run of a unit an id, and the same one to whoever notes its end.
    """
    why = os.environ.get("SERVICE_RESULT", "")
    before = read(host.state / "results" / f"{name}.json") or {}
    if why == "success" or before.get("invocation") == os.environ.get("INVOCATION_ID"):
        return 0
    meant = {"timeout": "it took longer than its timeout", "oom-kill": "it was killed for want of memory"}
    said = f"The job {name} did not end by itself: {meant.get(why, why)}."
    problems = [rules.problem("BACKUP_JOB_FAILED", said)]
    note(host, name, time.time(), f"[BACKUP_JOB_FAILED] {said}", problems, {})
    return 0


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Back up what of MLflow is on this host, and look at the backups.")
    parser.add_argument(
        "--config", type=Path, required=True, help="what there is to back up, as the role mlflow_backup writes it"
    )
    parser.add_argument("job", choices=[*JOBS, *QUESTIONS, "restore-beside", "ended"])
    parser.add_argument("which", nargs="?", choices=list(JOBS), help="ended: the job whose unit has ended")
    parser.add_argument("--into", type=Path, help="restore-beside: an empty folder")
    parser.add_argument(
        "--manifest", type=Path, help="restore-beside: another manifest than the newest one of this host"
    )
    given = parser.parse_args(arguments)
    config = json.loads(given.config.read_text(encoding="utf-8"))
    config["host"] = config["host"] or socket.gethostname()
    host = Host(config)
    if (given.job == "ended") != bool(given.which):
        parser.error("ended needs a job, and nothing else does")
    if given.which:
        return ended(host, given.which)
    if given.job not in JOBS:
        try:
            if given.job == "restore-beside":
                answer = importlib.import_module("mlflow_restore").beside(host, given.into, given.manifest)
            else:
                answer = QUESTIONS[given.job](host)
            print(json.dumps(answer))
        except JobError as error:
            print(json.dumps({"problems": error.problems}))
            return 1
        return 0
    return work(host, given.job)


if __name__ == "__main__":
    # The other files import this one by its name, and shall meet the same JobError.
    sys.modules["mlflow_backup"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
