# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restore what mlflow_backup.py has kept: into a folder beside, or in the place of what was.

Usage: python3 mlflow_restore.py --config FILE STEP, a request as JSON on standard input; the answer is JSON on standard output.
       python3 mlflow_restore.py --config FILE begin STEP, which goes on by itself, one at a time; then `wait`, until it says that it is over.

look     what there is to restore, and what is in the way; nothing is written
beside   everything into an empty folder: plan, into
stage    the cluster beside its data directory, opened, judged and shut down; what serves goes on: plan
copy     artifacts that a directory lacks; what it has stays as it is: snapshot, path, owner
swap     the staged cluster takes the place of the data directory, which is kept: plan. PostgreSQL has to be stopped
settle   wait until PostgreSQL serves, and count

Everything is read before anything is taken away. What is decided, and how, is in _restore.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.mlops.mlflow.plugins.module_utils import _backup as rules
    from ansible_collections.mlops.mlflow.plugins.module_utils import _restore as decisions
    from ansible_collections.mlops.mlflow.roles.mlflow_backup.files import mlflow_backup as core
else:  # On a host they lie beside this file.
    rules = importlib.import_module("_backup")
    decisions = importlib.import_module("_restore")
    core = importlib.import_module("mlflow_backup")

CONTROL = re.compile(
    r"^(max_connections|max_worker_processes|max_wal_senders|max_prepared_xacts|max_locks_per_xact) setting: +(\d+)$",
    re.M,
)
TIMELINE = re.compile(r"^Latest checkpoint's TimeLineID: +(\d+)$", re.M)
SETTING = {"max_prepared_xacts": "max_prepared_transactions", "max_locks_per_xact": "max_locks_per_transaction"}
# What pgBackRest writes for one recovery and nobody wants later.
FOR_RECOVERY = (
    "restore_command",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "archive_mode",
)
SCRATCH_PORT = 5499
SOME, SOME_LETTERS = 500, 100_000  # paths that a command is given
WAIT_SECONDS = 30  # shorter than a connection that says nothing is kept open
SHUT_DOWN_SECONDS = 120
OURS = ".mlops-mlflow"  # below a place of artifacts; neither MLflow nor an audit looks there
ASK_DATABASES = (
    "SELECT json_object_agg(datname, pg_database_size(oid)) FROM pg_database WHERE datallowconn AND NOT datistemplate"
)
ASK_TABLES = "SELECT coalesce(json_agg(relname), '[]') FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
# By what is counted: its table.
COUNTED = {"experiments": "experiments", "runs": "runs", "models": "registered_models", "users": "users"}
OWNERS = {"runs": "run_uuid", "logged_models": "model_id", "trace_info": "request_id"}
# With which MLflow notes that a run got artifacts, and that a logged model is whole.
EXPECTED = {
    "tags": "SELECT r.run_uuid FROM runs r WHERE r.lifecycle_stage = 'active' AND EXISTS (SELECT FROM tags t WHERE t.run_uuid = r.run_uuid"
    " AND t.key IN ('mlflow.log-model.history', 'mlflow.loggedArtifacts', 'mlflow.loggedImages'))",
    "logged_models": "SELECT model_id FROM logged_models WHERE lifecycle_stage = 'active' AND status = 2",
}


def broken(said: str, about: str) -> core.JobError:
    """What a program complained of that has just read other parts of the repository: then the passphrase is the right one."""
    found = rules.why(said, about)
    if found["id"] == "BACKUP_PASSPHRASE":
        found = rules.problem("BACKUP_DAMAGED", f"{about}: the repository is damaged.", found["evidence"])
    return core.JobError(found)


# ----- what there is


@contextlib.contextmanager
def reading(host: core.Host, *arguments: str, about: str) -> Iterator[IO[bytes]]:
    """What restic writes, as it comes. It is ended when its time is over."""
    command, variables = host.restic_command(*arguments)
    known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **variables}
    with tempfile.TemporaryFile() as complaint:
        with subprocess.Popen(
            command, cwd="/", env=known, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaint
        ) as process:
            assert process.stdout
            clock = threading.Timer(host.limit, process.kill)
            clock.start()
            try:
                yield process.stdout
                # What was not wanted to the end is read all the same: a closed pipe would look like a failure.
                while process.stdout.read(1024**2):
                    pass
            finally:
                clock.cancel()
        if process.returncode:
            complaint.seek(0)
            raise broken(complaint.read().decode(errors="replace"), about)


def listed(host: core.Host, snapshot: str, root: str) -> Iterator[dict[str, Any]]:
    """Every file of a snapshot: its path below `root`, size and time."""
    beginning = root.rstrip("/") + "/"
    with reading(host, "ls", "--json", "--no-lock", snapshot, about="The copy of the artifacts") as lines:
        for line in lines:
            node = json.loads(line)
            if node.get("type") == "file" and node["path"].startswith(beginning):
                path = node["path"].removeprefix(beginning)
                if path.split("/", 1)[0] != OURS:
                    yield {"path": path, "size": node.get("size", 0), "modified": rules.moment_of(node["mtime"])}


def manifests(host: core.Host, snapshots: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The manifests that the repository holds, by name."""
    newest = rules.newest([one for one in snapshots if one["environment"] == host.config["environment"]], "manifest")
    if newest is None:
        newest = rules.newest(snapshots, "manifest")
    if newest is None:
        return {}
    found = {}
    with (
        reading(host, "dump", "--no-lock", newest["id"], newest["paths"][0], about="The manifests") as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name)
            if name.suffix == ".json" and name.stem != "newest" and (file := archive.extractfile(member)):
                found[name.stem] = json.load(file)
    return found


def data_directory(host: core.Host) -> Path:
    """Where the cluster is, as pgBackRest knows it: PostgreSQL may not answer."""
    assert host.database
    text = Path(host.database["config"]).read_text(encoding="utf-8")
    found = re.search(r"^pg1-path=(.+)$", text, re.M)
    assert found
    return Path(found[1].strip())


def staging(host: core.Host) -> Path:
    """Where a cluster waits to take the place of the data directory: on the same file system."""
    data = data_directory(host)
    return data.with_name(f"{data.name}.restoring")


def left(host: core.Host) -> dict[str, Any] | None:
    """What a restore in place has made and not put in its place: its path, seconds since it was touched, and the data directory if that is gone."""
    waits, data = staging(host), data_directory(host)
    if not waits.is_dir():
        return None
    gone = "" if data.exists() else str(data)
    return {"path": str(waits), "age": time.time() - waits.stat().st_mtime, "limit": host.limit, "gone": gone}


def kept_before(data: Path) -> str:
    """The newest data directory that a restore has put aside; empty if there is none."""
    return max((str(one) for one in data.parent.glob(f"{data.name}.before-*")), default="")


def cluster(host: core.Host) -> dict[str, Any]:
    """What is in the place of the database: state, data, databases, unit."""
    data = data_directory(host)
    told: dict[str, Any] = {"data": str(data), "databases": {}, "unit": unit_of(data)}
    if not data.is_dir() or not any(data.iterdir()):
        return {**told, "state": "absent"}
    try:
        databases = json.loads(host.ask(ASK_DATABASES))
        strange = host.ask("SELECT EXISTS (SELECT FROM pg_stat_user_tables)") == "t"
    except core.JobError as error:
        return {**told, "state": "silent", "reason": error.problems[0]["evidence"]}
    told["databases"] = databases if strange else {name: size for name, size in databases.items() if name != "postgres"}
    return {**told, "state": "data" if told["databases"] else "fresh"}


def unit_of(data: Path) -> str:
    """The unit that Debian has for the cluster in a data directory, whether it is there or not; empty for a cluster of no unit."""
    if not shutil.which("pg_lsclusters"):
        return ""
    for line in core.run(["pg_lsclusters", "--no-header"], 20).out.splitlines():
        version, name, *_others = line.split()
        if str(data) in line.split():
            return f"postgresql@{version}-{name}.service"
    return ""


def look(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Choose what is restored, and refuse what cannot be: the repository, the passphrase, the moment, the room, what lives."""
    to = request.get("to") or ""
    try:
        moment = decisions.moment_of(to) if to else None
    except ValueError:
        raise core.JobError(decisions.refused(f"{to} is no moment such as 2026-11-28T02:30:00Z.")) from None
    info = host.info() if host.database else None
    # That the newest one is old or damaged says nothing about another one.
    wrong = rules.judge_database(info, 0.0, host.config["limits"]) if info is not None else []
    if info is not None and (problems := [one for one in wrong if info.get("code") != 0 or one["id"] == "BACKUP_NONE"]):
        raise core.JobError(*problems)
    snapshots = host.snapshots(patience=3)
    asked = {"environment": host.config["environment"], "now": time.time(), "to": moment}
    asked["manifest"] = request.get("manifest") or ""
    plan, problems = decisions.choose(asked, manifests=manifests(host, snapshots), info=info, snapshots=snapshots)
    if problems:
        raise core.JobError(*problems)
    told: dict[str, Any] = {"plan": plan}
    in_place = request["kind"] == "in_place"
    if in_place and host.database:
        told["cluster"] = cluster(host)
        seen = {"servers": request.get("servers") or [], "cluster": told["cluster"]}
        problems = decisions.living(seen, over=request.get("over") or "", environment=host.config["environment"])
        if problems:
            raise core.JobError(*problems)
        data = Path(told["cluster"]["data"])
        if data.is_mount() or data.is_symlink():
            raise core.JobError(
                decisions.refused(f"{data} is a mount point or a link and cannot be kept under another name.")
            )
    if host.database and plan["database"]["kind"] == "pgbackrest":
        folder = staging(host) if in_place else Path(request["into"])
        refuse_without_room(plan["database"], folder, info or {})
    return told


def refuse_without_room(wanted: Mapping[str, Any], into: Path, info: Mapping[str, Any]) -> None:
    """Refuse a cluster that would not fit."""
    needed = next((one["bytes"] for one in info["backups"] if one["label"] == wanted["label"]), None)
    if needed is None:
        raise core.JobError(decisions.refused(f"The repository no longer holds the backup {wanted['label']}."))
    refuse_full(into, needed, "the cluster")


def refuse_full(into: Path, needed: int, what: str) -> None:
    """Refuse what would not fit."""
    place = next(one for one in (into, *into.parents) if one.exists())
    if needed * decisions.ROOM > (free := shutil.disk_usage(place).free):
        said = f"{into} has {core.size(free)} free, and {what} takes {core.size(needed)}; nothing was written."
        raise core.JobError(decisions.refused(said))


# ----- the cluster


def restore_cluster(
    host: core.Host, into: Path, wanted: Mapping[str, Any], seen: Callable[[core.Host], dict[str, Any]]
) -> dict[str, Any]:
    """Restore the cluster into a folder, open it, wait until it has reached its moment, see what it holds, and shut it down.

    Args:
        host: with the database's programs and repository.
        into: the folder; data will be the cluster, and postgresql.conf beside it opens it on a socket in the folder.
        wanted: label, target and perhaps timeline of a manifest's database.
        seen: what is asked of it when it is what it was at the moment.
    """
    assert host.database
    if os.geteuid() == 0:
        shutil.chown(into, host.database["user"], host.database["user"])
    data = into / "data"
    target = wanted["target"]
    options = [
        f"--pg1-path={data}",
        f"--set={wanted['label']}",
        f"--type={target['type']}",
        f"--target={target['value']}",
    ]
    options += [f"--target-timeline={wanted['timeline']}"] if wanted.get("timeline") else []
    done = host.pgbackrest("restore", *options, "--target-action=promote", "--archive-mode=off")
    if done.code:
        raise broken(done.said, "The restore of the database")
    binaries = Path("/usr/lib/postgresql") / (data / "PG_VERSION").read_text(encoding="utf-8").strip() / "bin"
    if not (binaries / "postgres").exists():
        raise core.JobError(decisions.refused(f"The programs of the cluster are not here: {binaries} has no postgres."))
    configure(host, into, control(host, data))
    opened = core.Host({**host.config, "database": {**host.database, "socket": str(into), "port": SCRATCH_PORT}})
    log = into / "postgresql.log"
    server = [str(binaries / "postgres"), f"--config-file={into}/postgresql.conf"]
    with open_cluster(server, log, host.database["user"]) as process:
        end = time.monotonic() + host.limit
        while True:
            # It answers before it has reached its moment; what it says then counts for nothing.
            with contextlib.suppress(core.JobError):
                if opened.ask("SELECT pg_is_in_recovery()") == "f":
                    break
            if process.poll() is not None or time.monotonic() > end:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                told = [line for line in lines if re.search("FATAL|PANIC|last completed transaction", line)]
                said = f"The restored cluster did not reach {target['value']}."
                raise core.JobError(decisions.refused(said, rules.words("; ".join(told[-3:]))))
            time.sleep(0.5)
        for name in FOR_RECOVERY:
            opened.ask(f"ALTER SYSTEM RESET {name}")
        return seen(opened)


def control(host: core.Host, data: Path) -> str:
    """What pg_controldata says of a cluster."""
    assert host.database
    version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    command = [f"/usr/lib/postgresql/{version}/bin/pg_controldata", str(data)]
    return core.run(command, host.brief, user=host.database["user"]).out


def configure(host: core.Host, into: Path, said: str) -> None:
    """Write a configuration for a cluster that only its own user meets; the one that was backed up stays as it is."""
    assert host.database
    # A cluster that is smaller than the one that wrote the WAL does not replay it.
    settings = {SETTING.get(name, name): number for name, number in CONTROL.findall(said)}
    settings.update(
        data_directory=f"'{into}/data'",
        hba_file=f"'{into}/pg_hba.conf'",
        ident_file=f"'{into}/pg_ident.conf'",
        listen_addresses="''",
        port=str(SCRATCH_PORT),
        unix_socket_directories=f"'{into}'",
        shared_buffers="64MB",
        jit="off",
    )
    core.write(into / "postgresql.conf", "".join(f"{name} = {value}\n" for name, value in settings.items()))
    core.write(into / "pg_hba.conf", f"local all {host.database['user']} peer map=scratch\n")
    users = ("root", host.database["user"])
    core.write(into / "pg_ident.conf", "".join(f"scratch {user} {host.database['user']}\n" for user in users))


@contextlib.contextmanager
def open_cluster(command: Sequence[str], log: Path, user: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a cluster and shut it down afterwards, whatever happens meanwhile."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **core.identity(user),
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(SHUT_DOWN_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)


def tables(host: core.Host) -> dict[str, list[str]]:
    """The tables of each database."""
    names = json.loads(host.ask(ASK_DATABASES))
    return {name: json.loads(host.ask(ASK_TABLES, name)) for name in names}


def count(host: core.Host) -> dict[str, int]:
    """How many experiments, runs, models and users there are, of those that have a table."""
    found = {}
    for name, present in tables(host).items():
        for what, table in COUNTED.items():
            # Runs and models are MLflow's where experiments are; users have a database of their own.
            if table in present and (what == "users" or "experiments" in present):
                found[what] = int(host.ask(f"SELECT count(*) FROM {table}", name, host.limit))
    return {what: found[what] for what in COUNTED if what in found}


def rows(host: core.Host) -> tuple[set[str], set[str]]:
    """Every run, logged model and trace, and those of which MLflow noted that they have artifacts."""
    known: set[str] = set()
    expected: set[str] = set()
    for name, present in tables(host).items():
        if not {"experiments", "runs", "tags"} <= set(present):
            continue
        for table, column in OWNERS.items():
            if table in present:
                known |= set(host.ask(f"SELECT {column} FROM {table}", name, host.limit).split())
        for table, query in EXPECTED.items():
            if table in present:
                expected |= set(host.ask(query, name, host.limit).split())
    return known, expected


def judge(host: core.Host, plan: Mapping[str, Any]) -> Callable[[core.Host], dict[str, Any]]:
    """What is asked of a restored cluster: its size, counts, and whether the copy of artifacts belongs to it."""

    def seen(opened: core.Host) -> dict[str, Any]:
        told = {"databases": json.loads(opened.ask(ASK_DATABASES)), "counts": count(opened)}
        artifacts = plan["artifacts"]
        compared = decisions.compare(set(), set(), set())
        if artifacts["kind"] == "directory" and "runs" in told["counts"]:
            files = listed(host, artifacts["snapshot"], artifacts["path"])
            owned = {decisions.owner(one["path"]) for one in files} - {""}
            compared = decisions.compare(owned, *rows(opened))
        return {**told, **compared, "inconsistent": decisions.inconsistent(compared, plan)}

    return seen


# ----- steps


def refuse_folder(into: Path) -> None:
    """Refuse to write where something is."""
    if not into.is_absolute() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise core.JobError(decisions.refused(f"{into} is no empty folder with an absolute path; nothing was written."))


def restore_beside(host: core.Host, into: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Restore everything to the moment of a plan, into an empty folder; the running cluster and its artifacts are not touched.

    The cluster in it has been promoted and shut down: it was opened, and it can be opened again.
    """
    refuse_folder(into)
    started = time.monotonic()
    told: dict[str, Any] = {"moment": plan["moment"], "into": str(into)}
    if host.database and plan["database"]["kind"] == "pgbackrest":
        info = host.info()
        wrong = rules.judge_database(info, 0.0, host.config["limits"])
        if problems := [one for one in wrong if info.get("code") != 0 or one["id"] == "BACKUP_NONE"]:
            raise core.JobError(*problems)
        refuse_without_room(plan["database"], into, info)
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        told.update(restore_cluster(host, into, plan["database"], judge(host, plan)))
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Every host has its archive under the same name.
    wanted = [(one["snapshot"], into / "configuration" / one["host"]) for one in plan["configuration"]]
    if plan["artifacts"]["kind"] == "directory":
        wanted.append((plan["artifacts"]["snapshot"], into / "files"))
    for snapshot, place in wanted:
        done = host.restic("restore", snapshot, f"--target={place}", "--verify")
        if done.code:
            raise broken(done.said, "The copies of files")
    return {**told, "seconds": round(time.monotonic() - started, 1)}


def stage(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Restore the cluster beside its place. Nothing that serves is touched."""
    plan = request["plan"]
    into = staging(host)
    # What an interrupted run left.
    shutil.rmtree(into, ignore_errors=True)
    refuse_without_room(plan["database"], into, host.info())
    into.mkdir(mode=0o700)
    try:
        return {"staged": str(into), **restore_cluster(host, into, plan["database"], judge(host, plan))}
    except core.JobError:
        shutil.rmtree(into, ignore_errors=True)
        raise


def swap(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let the staged cluster take the place of the data directory, which gets another name."""
    del request
    data, staged = data_directory(host), staging(host) / "data"
    if not (staged / "PG_VERSION").exists():
        raise core.JobError(decisions.refused(f"No restored cluster waits in {staged}."))
    if running(data):
        raise core.JobError(decisions.refused(f"PostgreSQL still runs in {data}; nothing was moved."))
    push_history(host, staged)
    # Without a data directory this may be the second attempt: the first one was cut off when it had put it aside.
    kept = kept_before(data)
    if data.exists():
        kept = f"{data}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        data.rename(kept)
    staged.rename(data)
    shutil.rmtree(staging(host))
    return {"data": str(data), "kept": kept}


def running(data: Path) -> bool:
    """Whether a server has the data directory open."""
    try:
        number = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(number, 0)
    except (OSError, ValueError, IndexError):
        return False
    return True


def push_history(host: core.Host, data: Path) -> None:
    """Tell the archive on which way the cluster goes on: PostgreSQL was promoted while it did not archive, and does not say it later."""
    timeline = TIMELINE.search(control(host, data))
    assert timeline
    history = data / "pg_wal" / f"{int(timeline[1]):08X}.history"
    if history.exists():
        done = host.pgbackrest(f"--pg1-path={data}", "archive-push", str(history), seconds=host.brief * 3)
        if done.code:
            raise core.JobError(rules.why(done.said, "The history of the restored cluster"))


def settle(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until PostgreSQL has ended its recovery, and count what it holds."""
    del request
    end = time.monotonic() + host.brief * 6
    while True:
        try:
            if host.ask("SELECT pg_is_in_recovery()") == "f":
                break
        except core.JobError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise core.JobError(decisions.refused("PostgreSQL did not end its recovery."))
        time.sleep(0.5)
    # The archive gets what was written between the promotion and now.
    host.ask("CHECKPOINT", seconds=host.limit)
    return {"counts": count(host)}


def copy(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put back the files that a directory of artifacts lacks. What is there stays: artifacts are only added."""
    root, snapshot = Path(request["path"]), request["snapshot"]
    lacking: dict[str, int] = {}
    told = {"files": 0, "bytes": 0, "restored": 0, "other": 0}
    for one in listed(host, snapshot, str(root)):
        told["files"] += 1
        told["bytes"] += one["size"]
        try:
            told["other"] += (root / one["path"]).stat().st_size != one["size"]
        except FileNotFoundError:
            lacking[one["path"]] = one["size"]
    if not lacking:
        return told
    # Some are asked for one by one; of many a command line would not hold the names.
    some = len(lacking) <= SOME and sum(map(len, lacking)) < SOME_LETTERS
    wanted = [f"--include={pattern_of(root / path)}" for path in lacking] if some else []
    refuse_full(root, sum(lacking.values()) if some else told["bytes"], "what comes back")
    if not root.is_dir():
        root.mkdir(mode=0o750, parents=True)
        if request.get("owner"):
            shutil.chown(root, *request["owner"].split(":"))
    scratch = root / OURS / "restoring"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        done = host.restic("restore", snapshot, f"--target={scratch}", "--verify", *wanted)
        if done.code:
            raise broken(done.said, "The copy of the artifacts")
        place = root.stat()
        for path in lacking:
            bring(scratch / str(root).lstrip("/") / path, root / path, root, (place.st_uid, place.st_gid))
        told["restored"] = len(lacking)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            scratch.parent.rmdir()
    return told


def pattern_of(path: Path) -> str:
    """A path as restic matches it, and nothing else (Go's filepath.Match)."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", str(path))


def bring(source: Path, target: Path, root: Path, ids: tuple[int, int]) -> None:
    """Move a file to where it belongs, with its folders. They belong to whom the directory belongs to: numbers may be other ones here."""
    fresh = [
        one
        for one in (target.parent, *target.parent.parents)
        if one != root and root in one.parents and not one.exists()
    ]
    for folder in reversed(fresh):
        folder.mkdir(mode=0o750)
    source.rename(target)
    if os.geteuid() == 0:
        for path in (*fresh, target):
            os.chown(path, *ids)


def beside(host: core.Host, into: Path | None, file: Path | None) -> dict[str, Any]:
    """Restore beside what the command line of mlflow_backup.py says."""
    file = file or host.state / "manifests/newest.json"
    manifest = core.read(file)
    if not into or not manifest:
        said = f"It needs --into FOLDER and a manifest, and {file} is {'one' if manifest else 'none'}."
        raise core.JobError(decisions.refused(said))
    return restore_beside(host, into, decisions.pinned(manifest))


def into_folder(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Restore beside."""
    return restore_beside(host, Path(request["into"]), request["plan"])


def look_into(host: core.Host, request: Mapping[str, Any]) -> dict[str, Any]:
    """Look, and say before anything is written that the folder cannot be used."""
    if request["kind"] == "beside":
        refuse_folder(Path(request["into"]))
    return look(host, request)


# ----- a step that goes on by itself


def place_of_steps(host: core.Host) -> Path:
    """Where a step that goes on by itself has its lock, what it was asked, and its answer."""
    place = host.state / "restore"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def taken(lock: IO[bytes]) -> bool:
    """Take the lock, or not: whoever has it keeps it until it ends, however it does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def begin(host: core.Host, command: Sequence[str], request: str) -> dict[str, Any]:
    """Start a step in a session of its own: it needs nobody who waits, and a host that was cut has none that goes on."""
    place = place_of_steps(host)
    with (place / "lock").open("ab") as lock:
        if not taken(lock):
            raise core.JobError(decisions.refused("A step of another restore goes on on this host."))
        (place / "request").write_text(request, encoding="utf-8")
        with (
            (place / "request").open("rb") as asked,
            (place / "answer").open("wb") as answer,
            (place / "complaint").open("wb") as complaint,
        ):
            process = subprocess.Popen(
                command,
                cwd="/",
                stdin=asked,
                stdout=answer,
                stderr=complaint,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
    return {"process": process.pid}


def wait(host: core.Host) -> dict[str, Any]:
    """Wait a while for the step: whether it is over, and what it answered."""
    place = place_of_steps(host)
    end = time.monotonic() + WAIT_SECONDS
    with (place / "lock").open("ab") as lock:
        while not taken(lock):
            if time.monotonic() > end:
                return {"over": False}
            time.sleep(0.2)
        try:
            answer = json.loads((place / "answer").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                complaint = rules.words((place / "complaint").read_text(encoding="utf-8", errors="replace")[-1000:])
                raise core.JobError(
                    decisions.refused("The step was ended before it had an answer.", complaint)
                ) from None
            raise core.JobError(decisions.refused("No step was begun on this host.")) from None
        return {"over": True, "answer": answer}


STEPS: Mapping[str, Callable[[core.Host, Mapping[str, Any]], dict[str, Any]]] = {
    "look": look_into,
    "beside": into_folder,
    "stage": stage,
    "copy": copy,
    "swap": swap,
    "settle": settle,
}


def main(arguments: Sequence[str]) -> int:
    """Do a step, begin one, or wait for it."""
    parser = argparse.ArgumentParser(description="Restore what mlflow_backup.py has kept.")
    parser.add_argument("--config", type=Path, required=True, help="as the role mlflow_backup writes it")
    parser.add_argument("step", choices=[*STEPS, "begin", "wait"])
    parser.add_argument("begun", nargs="?", choices=list(STEPS), help="begin: the step that goes on by itself")
    given = parser.parse_args(arguments)
    if (given.step == "begin") != bool(given.begun):
        parser.error("begin needs a step, and nothing else does")
    config = json.loads(given.config.read_text(encoding="utf-8"))
    config["host"] = config["host"] or socket.gethostname()
    host = core.Host(config)
    started = time.monotonic()
    try:
        if given.step == "wait":
            answer = wait(host)
        elif given.step == "begin":
            command = [
                sys.executable,
                "-B",
                str(Path(__file__).resolve()),
                "--config",
                str(given.config.resolve()),
                given.begun,
            ]
            answer = begin(host, command, sys.stdin.read())
        else:
            request = json.loads(sys.stdin.read() or "{}")
            # How long this restore may take; the configuration says it of backups.
            host.limit = float(request.get("seconds") or host.limit)
            answer = STEPS[given.step](host, request)
            answer = {**answer, "seconds": round(time.monotonic() - started, 1)}
    except core.JobError as error:
        print(json.dumps({"problems": error.problems}))
        return 1
    except OSError as error:
        print(json.dumps({"problems": [decisions.refused("A step could not be done.", rules.words(str(error)))]}))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
