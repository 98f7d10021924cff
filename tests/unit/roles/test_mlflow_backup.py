"""Backups that are really made: PostgreSQL, pgBackRest, restic and age, driven by what the role writes on hosts.

The tests of a place follow each other: a first look, the first backup, the moment it is tied to, a restore, then all that goes wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._backup_choices import problems as choice_problems
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT, Played, play
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import (
    Server,
    end_with_parent,
    programs,
    running_server,
    unprivileged,
)
from ansible_collections.mlops.mlflow.tests.unit.support.seaweedfs import running_seaweedfs

ROLE = ROOT / "roles/mlflow_backup"
SHARED = ROOT / "roles/mlflow_preflight"
PROGRAMS = [
    *(ROLE / "files").glob("*.py"),
    *(ROOT / "plugins/module_utils" / name for name in ("_backup.py", "_restore.py")),
]
PASSPHRASE = "Correct-Horse.Battery_Staple~42"

# Rendered by Ansible itself, with the role's own defaults and variables.
PLAYBOOK = f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{SHARED}/defaults/main.yml, {ROLE}/defaults/main.yml, {ROLE}/vars/main.yml]
  tasks:
    - ansible.builtin.copy: {{content: "{{{{ EVERYTHING | to_json }}}}", dest: "{{{{ out }}}}", mode: "0600"}}
"""
RENDERED = """{'document': __mlflow_backup_document, 'settings': lookup('ansible.builtin.template', 'ROLE/templates/60-mlflow-backup.conf.j2'),
 'pgbackrest': lookup('ansible.builtin.template', 'ROLE/templates/pgbackrest.conf.j2'),
 'environment': lookup('ansible.builtin.template', 'ROLE/templates/s3.env.j2'),
 'jobs': __mlflow_backup_jobs, 'stray': __mlflow_backup_unit,
 'service': lookup('ansible.builtin.template', 'ROLE/templates/job.service.j2', template_vars={'item': 'manifest'}),
 'drill': lookup('ansible.builtin.template', 'ROLE/templates/job.service.j2', template_vars={'item': 'drill'}),
 'timer': lookup('ansible.builtin.template', 'ROLE/templates/job.timer.j2', template_vars={'item': 'differential'})}"""


def render(home: Path, **choices: Any) -> dict[str, Any]:
    """What the role would write, by its name."""
    playbook = home / "render.yml"
    expression = " ".join(RENDERED.replace("ROLE", str(ROLE)).splitlines())
    playbook.write_text(PLAYBOOK.replace("EVERYTHING", expression))
    out = home / "rendered.json"
    done = play(home, playbook, "-e", json.dumps({**choices, "out": str(out)}))
    assert done.code == 0, done.output
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def as_database(*command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a program as PostgreSQL's user."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=environment,
        timeout=timeout,
        **unprivileged(),
    )


@dataclass(frozen=True)
class Site:
    """A host with a cluster, artifacts and a configuration, and its repository."""

    folder: Path
    server: Server
    rendered: dict[str, Any]

    @property
    def config(self) -> Path:
        return self.folder / "etc/backup/backup.json"

    @property
    def pgbackrest(self) -> Path:
        return self.folder / "etc/backup/pgbackrest.conf"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def other(self, name: str, **changes: Any) -> Path:
        """A configuration that says something else; `limits` and `files` and `database` are changed, not replaced."""
        document = json.loads(self.config.read_text())
        for key, value in changes.items():
            document[key] = {**document[key], **value} if isinstance(value, Mapping) and key != "jobs" else value
        path = self.folder / f"etc/backup/{name}.json"
        path.write_text(json.dumps(document))
        return path

    def run(self, job: str, config: Path | None = None, *before: str) -> tuple[int, dict[str, Any]]:
        """Run the program, perhaps by another one; returns its exit code, and what it answered or wrote as the job's result."""
        command: list[str | Path] = [*before, sys.executable, self.folder / "lib/mlflow_backup.py"]
        command += ["--config", config or self.config, job]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if job in ("look", "prepare", "check-archive"):
            assert done.stdout, done.stderr
            return done.returncode, json.loads(done.stdout)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads((self.folder / f"state/results/{job}.json").read_text())

    def do(self, job: str) -> dict[str, Any]:
        """Run a job that has to succeed."""
        code, result = self.run(job)
        assert (code, result["problems"]) == (0, []), result
        assert result["ok"]
        return result

    def check(self, config: Path | None = None, **options: Any) -> dict[str, Any]:
        """What the module says."""
        return run_module(
            "mlflow_backup_check",
            host="db1",
            program=str(self.folder / "lib/mlflow_backup.py"),
            config=str(config or self.config),
            python=sys.executable,
            fail_on="never",
            **options,
        )

    def switch(self) -> None:
        """Write something and begin a new segment of WAL."""
        self.server.execute("INSERT INTO runs (name) VALUES ('filler')")
        self.server.execute("SELECT pg_switch_wal()")

    def archiver(self) -> tuple[Any, ...]:
        query = "SELECT archived_count, failed_count, coalesce(last_failed_time > last_archived_time, false) FROM pg_stat_archiver"
        return self.server.execute(query)[0]

    def until(self, question: str, seconds: float = 60) -> None:
        """Wait until PostgreSQL says yes."""
        end = time.monotonic() + seconds
        while not self.server.execute(f"SELECT {question}")[0][0]:
            assert time.monotonic() < end, question
            time.sleep(0.2)

    def until_archived(self) -> None:
        """Wait until nothing waits for the archive."""
        # PostgreSQL tries again after a minute at the latest.
        self.until("NOT EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')", 120)


@contextlib.contextmanager
def set_up(home: Path, **choices: Any) -> Iterator[Site]:
    """A cluster that archives into a repository that is still to be made, with what the role would write for it."""
    # PostgreSQL's user reads and writes here, and pytest's own folder is closed to others.
    folder = Path(tempfile.mkdtemp(prefix="mlops-backup-", dir="/tmp"))
    folder.chmod(0o755)
    config = folder / "etc/backup/pgbackrest.conf"
    command = f"timeout 120 pgbackrest --config={config} --stanza=mlflow archive-push %p"
    try:
        for name in (
            "etc/backup",
            "state/results",
            "lib",
            "artifacts/1/run/artifacts",
            "repository/files",
            "facts",
            "drills",
        ):
            (folder / name).mkdir(parents=True)
        for name in ("state/database/lock", "state/database/spool", "repository/database", "log"):
            (folder / name).mkdir(parents=True)
            if identity := unprivileged():
                os.chown(folder / name, identity["user"], identity["group"])
        (folder / "state/since").touch()
        for source in PROGRAMS:
            shutil.copy(source, folder / "lib")
        key = subprocess.run(["age-keygen", "-o", folder / "operator.key"], check=True, capture_output=True, text=True)
        recipient = key.stderr.split()[-1]
        with running_server({"archive_mode": "on", "archive_command": command}) as server:
            server.execute("CREATE TABLE runs (id serial PRIMARY KEY, name text)")
            cluster = {"config_file": str(server.data / "postgresql.conf"), "data_directory": str(server.data)}
            usual: dict[str, Any] = {
                "mlflow_environment": "dev",
                "mlflow_config_dir": f"{folder}/etc",
                "mlflow_database_port": server.port,
                "mlflow_artifact_uri": "/srv/mlflow/artifacts",
                "mlflow_backup_repository": "/srv/backups/mlflow",
                "mlflow_backup_passphrase": PASSPHRASE,
                "mlflow_backup_recipients": [recipient],
                "mlflow_backup_archive_seconds": 30,
                "mlflow_backup_wal_limit_mb": 0,
                "mlflow_backup_verify_percent": 100,
                "mlflow_backup_drill_directory": f"{folder}/drills",
                "mlflow_backup_configuration_paths": [f"{folder}/etc", f"{folder}/nothing"],
                "__mlflow_backup_artifacts": {"kind": "directory", "path": f"{folder}/artifacts"},
                "__mlflow_backup_path": f"{folder}/repository",
                "__mlflow_backup_state": f"{folder}/state",
                "__mlflow_backup_log": f"{folder}/log",
                "__mlflow_backup_fact": f"{folder}/facts/mlflow_backup.fact",
                "__mlflow_backup_look": {"query_result": [{**cluster, "socket": server.socket, "archive_mode": "on"}]},
            }
            rendered = render(home, **{**usual, **choices})
            site = Site(folder, server, rendered)
            site.config.write_text(json.dumps(rendered["document"]))
            config.write_text(rendered["pgbackrest"])
            if identity := unprivileged():
                os.chown(config, -1, identity["group"])
            config.chmod(0o640)
            (folder / "etc/backup/s3.env").write_text(rendered["environment"])
            (folder / "etc/backup/passphrase").write_text(f"{PASSPHRASE}\n")
            (folder / "etc/backup/recipients.txt").write_text(f"{recipient}\n")
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One host for most tests, which follow each other."""
    with set_up(tmp_path_factory.mktemp("site")) as made:
        yield made


def problems(result: Mapping[str, Any]) -> list[str]:
    return [one["id"] for one in result["problems"]]


# ----- from nothing to a moment that everything can be restored to


def test_a_repository_is_made_once(site: Site) -> None:
    code, made = site.run("prepare")
    assert (code, made.get("made")) == (0, ["files", "database"]), made
    assert site.run("prepare")[1] == {**made, "made": []}
    assert site.run("check-archive")[0] == 0


def test_without_a_backup_that_is_said(site: Site) -> None:
    answer = site.check()
    assert ids(answer) == ["BACKUP_NONE"]
    code, result = site.run("manifest")
    assert (code, problems(result)) == (1, ["BACKUP_NONE"])


def test_without_a_copy_of_artifacts_there_is_no_moment(site: Site) -> None:
    result = site.do("full")
    assert result["backup"]["type"] == "full"
    assert result["sentence"].startswith(f"full backup {result['backup']['label']}, ")
    code, result = site.run("manifest")
    assert (code, problems(result)) == (1, ["BACKUP_INCOMPLETE"])
    assert "no copy of the artifacts" in result["sentence"]


def test_everything_is_tied_to_the_beginning_of_the_copy(site: Site) -> None:
    site.server.execute("INSERT INTO runs (name) SELECT 'before' FROM generate_series(1, 7)")
    (site.artifacts / "1/run/artifacts/weights.bin").write_bytes(os.urandom(100_000))
    copied = site.do("artifacts")
    assert copied["files"] == 1
    # What comes after belongs to the next moment.
    site.server.execute("INSERT INTO runs (name) SELECT 'after' FROM generate_series(1, 5)")
    code, result = site.run("manifest")
    assert (code, problems(result)) == (1, ["BACKUP_INCOMPLETE"])
    assert "no archive of the configuration of localhost" in result["sentence"]
    archived = site.do("configuration")
    manifest = site.do("manifest")["manifest"]
    assert manifest["database"]["label"] == site.run("look")[1]["database"]["backups"][-1]["label"]
    assert manifest["database"]["target"]["type"] == "time"
    assert manifest["database"]["restore_point"].startswith("mlflow_2")
    assert manifest["artifacts"]["kind"] == "directory"
    assert manifest["artifacts"]["snapshot"].startswith(copied["snapshot"])
    assert [(one["host"], one["sha256"]) for one in manifest["configuration"]] == [("localhost", archived["sha256"])]
    assert json.loads((site.folder / "state/manifests/newest.json").read_text()) == manifest
    assert site.check()["findings"] == []
    assert site.run("watch")[0] == 0


def test_status_is_told(site: Site) -> None:
    fact = json.loads((site.folder / "facts/mlflow_backup.fact").read_text())
    assert set(fact["last"]) == {"full", "artifacts", "configuration", "manifest", "wrong"}
    assert fact["last"]["wrong"] == "nothing"


def restic(site: Site, *arguments: str) -> str:
    options = ["--no-cache", f"--repo={site.repository}/files", f"--password-file={site.folder}/etc/backup/passphrase"]
    return subprocess.run(["restic", *options, *arguments], check=True, capture_output=True, text=True).stdout


def beside(site: Site, into: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Restore into a folder; returns the exit code and the answer."""
    command: list[str | Path] = [sys.executable, site.folder / "lib/mlflow_backup.py", "--config", site.config]
    command += ["restore-beside", f"--into={into}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_moment_is_restored_beside(site: Site) -> None:
    into = site.folder / "scratch"
    code, told = beside(site, into)
    assert code == 0, told
    assert told["databases"].keys() == {"postgres"}
    name = "1/run/artifacts/weights.bin"
    assert (Path(f"{into}/files{site.artifacts}") / name).read_bytes() == (site.artifacts / name).read_bytes()
    # Each host's configuration by itself.
    (of_host,) = (into / "configuration").iterdir()
    (archive,) = of_host.rglob("configuration.tar.age")
    assert archive.read_bytes() == (site.folder / "state/configuration/configuration.tar.age").read_bytes()
    # It was opened and shut down. Opened once more it shows the moment, and not what came later.
    with (
        (site.folder / "scratch.log").open("wb") as log,
        subprocess.Popen(
            [programs() / "postgres", f"--config-file={into}/postgresql.conf"],
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            preexec_fn=end_with_parent,
            **unprivileged(),
        ) as process,
    ):
        query = "SELECT name, count(*) FROM runs WHERE name <> 'filler' GROUP BY name"
        asked: list[str | Path] = ["psql", "-XAtq", "-h", into, "-p", "5499", "-U", "postgres", "-c", query, "postgres"]
        try:
            end = time.monotonic() + 60
            while (done := as_database(*asked)).returncode and process.poll() is None and time.monotonic() < end:
                time.sleep(0.3)
        finally:
            process.terminate()
            process.wait(30)
    assert done.stdout.splitlines() == ["before|7"], (site.folder / "scratch.log").read_text(errors="replace")[-2000:]
    code, told = beside(site, into)
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    shutil.rmtree(into)


def test_a_moment_that_is_not_in_the_archive_is_not_restored(site: Site) -> None:
    manifest = json.loads((site.folder / "state/manifests/newest.json").read_text())
    manifest["database"]["target"] = {"type": "name", "value": "never_made"}
    other = site.folder / "never.json"
    other.write_text(json.dumps(manifest))
    into = site.folder / "scratch"
    code, told = beside(site, into, f"--manifest={other}")
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    assert "recovery ended before configured recovery target was reached" in told["problems"][0]["evidence"]
    assert not (into / "data/postmaster.pid").exists()
    shutil.rmtree(into)
    manifest["database"]["label"] = "20200101-000000F"
    other.write_text(json.dumps(manifest))
    code, told = beside(site, into, f"--manifest={other}")
    assert (code, problems(told)) == (1, ["BACKUP_RESTORE"])
    assert "no longer holds" in told["problems"][0]["summary"]
    assert not into.exists()


def test_only_the_operators_open_the_configuration(site: Site) -> None:
    manifest = json.loads((site.folder / "state/manifests/newest.json").read_text())
    (kept,) = manifest["configuration"]
    out = site.folder / "restored"
    restic(site, "restore", kept["snapshot"], f"--target={out}")
    (archive,) = out.rglob("*.tar.age")
    assert PASSPHRASE.encode() not in archive.read_bytes()
    stranger = site.folder / "stranger.key"
    subprocess.run(["age-keygen", "-o", stranger], check=True, capture_output=True)
    assert subprocess.run(["age", "-d", "-i", stranger, archive], capture_output=True, check=False).returncode != 0
    opened = subprocess.run(["age", "-d", "-i", site.folder / "operator.key", archive], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(opened.stdout)) as tar:
        member = tar.extractfile(f"{site.folder}/etc/backup/passphrase".lstrip("/"))
        assert member
        assert member.read().decode().strip() == PASSPHRASE
    shutil.rmtree(out)


def test_a_differential_backup_stands_on_the_full_one(site: Site) -> None:
    result = site.do("differential")
    assert result["backup"]["type"] == "diff"
    assert result["backup"]["stored"] < 1_000_000
    assert (
        site.do("verify")["sentence"]
        == "read and right: every file of the backups of the database and 100 % of the copies of files"
    )


# ----- what goes wrong is said


def test_a_repository_that_is_gone_is_a_finding_and_comes_back_by_itself(site: Site) -> None:
    away = site.folder / "away"
    site.repository.rename(away)
    try:
        site.switch()
        site.until("failed_count > 0 FROM pg_stat_archiver")
        started = time.monotonic()
        answer = site.check()
        assert time.monotonic() - started < 60
        assert ids(answer) == ["BACKUP_ARCHIVE_FAILING", "BACKUP_REPOSITORY", "BACKUP_REPOSITORY"]
        assert "segments of WAL" in answer["findings"][0]["summary"]
        code, result = site.run("watch")
        assert (code, problems(result)) == (1, [one["id"] for one in answer["findings"]])
        # An empty place is not taken for a new one.
        site.repository.mkdir()
        (site.repository / "files").mkdir()
        code, told = site.run("prepare")
        assert (code, problems(told)) == (1, ["BACKUP_REPOSITORY"])
        assert list((site.repository / "files").iterdir()) == []
        shutil.rmtree(site.repository)
        code, result = site.run("artifacts")
        assert (code, problems(result)) == (1, ["BACKUP_REPOSITORY"])
    finally:
        away.rename(site.repository)
    site.until_archived()
    # The job failed and has not run again; the archive is well.
    assert ids(site.check()) == ["BACKUP_REPOSITORY"]
    site.do("artifacts")
    assert site.check()["findings"] == []


def test_a_store_that_does_not_answer_costs_a_bounded_time(site: Site) -> None:
    text = site.pgbackrest.read_text().replace("[global]", "[global]\n" + "\n".join(CLOSED))
    other = site.folder / "etc/backup/closed.conf"
    other.write_text(text)
    shutil.copystat(site.pgbackrest, other)
    if identity := unprivileged():
        os.chown(other, -1, identity["group"])
    keys = site.folder / "etc/backup/closed.env"
    keys.write_text("AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=s\n")
    files = {"repository": "s3:https://127.0.0.1:9/bucket/files", "environment_file": str(keys)}
    config = site.other("closed", look_seconds=5, database={"config": str(other)}, files=files)
    started = time.monotonic()
    answer = site.check(config)
    assert time.monotonic() - started < 45
    assert ids(answer) == ["BACKUP_REPOSITORY", "BACKUP_REPOSITORY"]
    assert "no answer within" in answer["findings"][0]["evidence"]


CLOSED = (
    "repo1-type=s3",
    "repo1-s3-bucket=bucket",
    "repo1-s3-endpoint=127.0.0.1",
    "repo1-s3-uri-style=path",
    "repo1-storage-port=9",
    "repo1-s3-region=us-east-1",
    "repo1-s3-key=k",
    "repo1-s3-key-secret=s",
)


def test_a_wrong_passphrase_is_called_one(site: Site) -> None:
    other = site.folder / "etc/backup/wrong.conf"
    other.write_text(site.pgbackrest.read_text().replace(PASSPHRASE, "another-passphrase-of-20"))
    other.chmod(0o644)
    password = site.folder / "etc/backup/wrong"
    password.write_text("another-passphrase-of-20\n")
    config = site.other(
        "wrong", look_seconds=60, database={"config": str(other)}, files={"password_file": str(password)}
    )
    answer = site.check(config)
    assert ids(answer) == ["BACKUP_PASSPHRASE", "BACKUP_PASSPHRASE"]
    assert "another-passphrase" not in json.dumps(answer)
    assert all(finding["summary"].isascii() and finding["evidence"].isprintable() for finding in answer["findings"])
    code, told = site.run("prepare", config)
    assert (code, problems(told)) == (1, ["BACKUP_PASSPHRASE"])


def test_wal_that_piles_up_is_said_before_it_is_thrown_away_and_the_gap_afterwards(site: Site) -> None:
    usual = site.pgbackrest.read_text()
    away = site.folder / "away"
    site.repository.rename(away)
    try:
        for _count in range(3):
            site.switch()
        config = site.other("limits", limits={"wal_warning_mb": 32, "wal_limit_mb": 64})
        answer = site.check(config)
        assert "BACKUP_WAL_PILES" in ids(answer)
        (piles,) = (one for one in answer["findings"] if one["id"] == "BACKUP_WAL_PILES")
        assert "32 MB are allowed. From 64 MB on it is thrown away." in piles["summary"]
        site.pgbackrest.write_text(usual.replace("[global]", "[global]\narchive-push-queue-max=8MiB"))
        site.until_archived()  # PostgreSQL believes so
    finally:
        away.rename(site.repository)
        site.pgbackrest.write_text(usual)
    site.switch()
    site.until_archived()
    # At once, and not with the next manifest only.
    assert ids(site.check()) == ["BACKUP_WAL_GAP"]
    code, result = site.run("manifest")
    assert (code, problems(result)) == (1, ["BACKUP_WAL_GAP"])
    assert ids(site.check()) == ["BACKUP_WAL_GAP"]
    # A new backup begins behind the gap.
    site.do("differential")
    site.do("artifacts")
    site.do("manifest")
    assert site.check()["findings"] == []


def test_an_archive_that_was_switched_off_is_noticed(site: Site) -> None:
    site.server.execute("ALTER SYSTEM SET archive_command = '/bin/true'")
    site.server.execute("SELECT pg_reload_conf()")
    try:
        site.until("current_setting('archive_command') = '/bin/true'")
        answer = site.check()
        assert ids(answer) == ["BACKUP_ARCHIVE_OFF"]
        assert "archive_command=/bin/true" in answer["findings"][0]["evidence"]
    finally:
        site.server.execute("ALTER SYSTEM RESET archive_command")
        site.server.execute("SELECT pg_reload_conf()")
    site.until("current_setting('archive_command') <> '/bin/true'")


def test_what_is_too_old_or_late_is_said(site: Site) -> None:
    config = site.other("old", limits={"age_hours": 0.0001}, jobs={"artifacts": 0.0001, "full": 192})
    time.sleep(0.5)
    answer = site.check(config)
    assert ids(answer) == ["BACKUP_OLD", "BACKUP_JOB_LATE"]
    assert answer["findings"][1]["summary"].startswith("The job artifacts ran ")


def test_a_job_that_never_ran_is_late_as_well(site: Site) -> None:
    since = site.folder / "state/since"
    os.utime(since, (time.time() - 9 * 3600,) * 2)
    (site.folder / "state/results/verify.json").rename(site.folder / "verify.json")
    try:
        config = site.other("never", jobs={"verify": 8})
        answer = site.check(config)
    finally:
        (site.folder / "verify.json").rename(site.folder / "state/results/verify.json")
    assert ids(answer) == ["BACKUP_JOB_LATE"]
    assert answer["findings"][0]["summary"].startswith("The job verify has not run since it was set up 9 hours ago")


def test_a_job_that_cannot_do_its_work_says_why(site: Site) -> None:
    code, result = site.run("artifacts", site.other("nowhere", artifacts={"path": "/nowhere"}))
    assert (code, problems(result)) == (1, ["BACKUP_JOB_FAILED"])
    assert result["sentence"] == "[BACKUP_JOB_FAILED] There is no directory of artifacts at /nowhere."
    recipients = site.folder / "etc/backup/nobody.txt"
    recipients.write_text("nobody\n")
    before = (site.folder / "state/configuration/configuration.tar.age").read_bytes()
    code, result = site.run("configuration", site.other("nobody", configuration={"recipients_file": str(recipients)}))
    assert (code, problems(result)) == (1, ["BACKUP_JOB_FAILED"])
    assert "malformed recipient" in result["problems"][0]["evidence"]
    assert (site.folder / "state/configuration/configuration.tar.age").read_bytes() == before
    assert ids(site.check()) == ["BACKUP_JOB_FAILED", "BACKUP_JOB_FAILED"]
    site.do("artifacts")
    site.do("configuration")


def test_a_copy_that_is_not_whole_is_none(site: Site) -> None:
    """restic keeps what it could read like any other copy; a manifest that took it for everything would restore half of it."""
    closed = site.artifacts / "1/run/artifacts/closed.bin"
    closed.write_text("nobody reads this")
    closed.chmod(0)
    as_nobody_special: tuple[str, ...] = ()
    if os.geteuid() == 0:
        # Root that may not pass over the rights of others, as on a network directory (root_squash).
        os.chown(closed, 65534, 65534)
        as_nobody_special = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    before = [one["id"] for one in json.loads(restic(site, "snapshots", "--json"))]
    code, result = site.run("artifacts", None, *as_nobody_special)
    assert (code, problems(result)) == (1, ["BACKUP_JOB_FAILED"])
    assert result["problems"][0]["summary"] == f"Not everything below {site.artifacts} could be read."
    assert "closed.bin" in result["problems"][0]["evidence"]
    assert [one["id"] for one in json.loads(restic(site, "snapshots", "--json"))] == before
    closed.unlink()
    site.do("artifacts")


def test_what_ended_a_run_is_noted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd has it: each run has an id, and what it calls afterwards has the same."""

    def ended(why: str, invocation: str) -> dict[str, Any]:
        monkeypatch.setenv("SERVICE_RESULT", why)
        monkeypatch.setenv("INVOCATION_ID", invocation)
        program: list[str | Path] = [sys.executable, site.folder / "lib/mlflow_backup.py"]
        command = [*program, "--config", site.config, "ended", "artifacts"]
        subprocess.run(command, check=True, timeout=60)
        found: dict[str, Any] = json.loads((site.folder / "state/results/artifacts.json").read_text())
        return found

    monkeypatch.setenv("INVOCATION_ID", "first")
    good = site.do("artifacts")
    assert ended("success", "first") == good
    assert ended("timeout", "first") == good, "the run said itself how it ended"
    killed = ended("oom-kill", "second")
    assert (killed["ok"], problems(killed)) == (False, ["BACKUP_JOB_FAILED"])
    assert killed["sentence"].endswith("The job artifacts did not end by itself: it was killed for want of memory.")
    assert ids(site.check()) == ["BACKUP_JOB_FAILED"]
    site.do("artifacts")
    assert site.check()["findings"] == []


def test_what_nobody_foresaw_is_a_failure_as_well(site: Site) -> None:
    config = site.other("odd", artifacts={"path": 5})
    program: list[str | Path] = [sys.executable, site.folder / "lib/mlflow_backup.py"]
    command = [*program, "--config", config, "artifacts"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    result = json.loads((site.folder / "state/results/artifacts.json").read_text())
    assert (done.returncode, problems(result)) == (1, ["BACKUP_JOB_FAILED"])
    assert result["problems"][0]["evidence"].startswith("TypeError: ")
    site.do("artifacts")


def test_a_database_that_does_not_answer_is_one_finding(site: Site) -> None:
    answer = site.check(site.other("elsewhere", database={"port": 1}))
    assert ids(answer) == ["BACKUP_DATABASE"]


def test_the_module_says_that_nothing_is_set_up_or_known(site: Site, tmp_path: Path) -> None:
    answer = site.check(tmp_path / "nothing.json")
    assert ids(answer) == ["BACKUP_ABSENT"]
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    answer = site.check(broken)
    assert ids(answer) == ["BACKUP_SILENT"]
    assert "KeyError" in answer["findings"][0]["evidence"]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.chmod(0o600)
    path.write_bytes(content)


def biggest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_a_damaged_backup_is_found_by_verification(site: Site) -> None:
    file = biggest(site.repository / "database/backup")
    before = file.read_bytes()
    damage(file)
    code, result = site.run("verify")
    file.write_bytes(before)
    assert (code, problems(result)) == (1, ["BACKUP_DAMAGED"])
    assert (site.folder / "state/manifests/newest.json").exists()
    assert "invalid" in result["problems"][0]["evidence"]
    site.do("verify")


def test_a_damaged_copy_of_files_is_found_by_verification(site: Site) -> None:
    damage(biggest(site.repository / "files/data"))
    code, result = site.run("verify")
    assert (code, problems(result)) == (1, ["BACKUP_DAMAGED"])
    assert ids(site.check()) == ["BACKUP_DAMAGED"]


# ----- a bucket


def test_a_bucket_keeps_all_of_it(tmp_path: Path) -> None:
    authority = Authority.make("backup test")
    ca = tmp_path / "ca.pem"
    authority.write(ca)
    shared = Path(tempfile.mkdtemp(prefix="mlops-backup-ca-", dir="/tmp"))
    try:
        shutil.copy(ca, shared)
        shared.chmod(0o755)
        files = (tmp_path / "store.pem", tmp_path / "store.key")
        for file, content in zip(files, authority.issue(LOOPBACK, "localhost"), strict=True):
            file.write_bytes(content)
        with running_seaweedfs(certificate=files, authority=str(ca)) as store:
            bucket = {"kind": "s3", "bucket": "bucket", "prefix": "backups/dev", "path": ""}
            choices = {
                "mlflow_backup_repository": "s3://bucket/backups/dev",
                "mlflow_backup_s3_endpoint_url": store.url.replace(LOOPBACK, "localhost"),
                "mlflow_backup_s3_access_key_id": store.admin.id,
                "mlflow_backup_s3_secret_access_key": store.admin.secret,
                "mlflow_backup_s3_ca_file": str(shared / "ca.pem"),
                "mlflow_artifact_uri": "s3://artifacts/mlflow",
                "mlflow_backup_bucket_versioned": "true",
                "__mlflow_backup_path": "/backups/dev",
                "__mlflow_backup_place": bucket,
                "__mlflow_backup_artifacts": {"kind": "s3"},
            }
            with set_up(tmp_path, **choices) as site:
                assert "repo1-s3-uri-style=path" in site.pgbackrest.read_text()
                code, made = site.run("prepare")
                assert (code, made.get("made")) == (0, ["files", "database"]), made
                site.do("full")
                assert (
                    site.do("artifacts")["sentence"]
                    == "s3://artifacts/mlflow keeps its own versions; nothing is copied"
                )
                site.do("configuration")
                manifest = site.do("manifest")["manifest"]
                assert manifest["artifacts"] == {
                    "kind": "bucket",
                    "uri": "s3://artifacts/mlflow",
                    "versioned": "true",
                    "not_before": manifest["moment"],
                }
                assert manifest["database"]["target"] == {
                    "type": "name",
                    "value": manifest["database"]["restore_point"],
                }
                site.do("verify")
                assert site.check()["findings"] == []
                names = set(store.objects("backups/dev/", "bucket"))
                assert {name.split("/")[2] for name in names} == {"database", "files"}
    finally:
        shutil.rmtree(shared)


# ----- what the role writes


def test_units_are_ones_of_systemd(site: Site) -> None:
    folder = site.folder / "units"
    folder.mkdir()
    for kind in ("service", "timer"):
        (folder / f"mlflow-backup-differential.{kind}").write_text(site.rendered[kind])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", folder / "mlflow-backup-differential.timer"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "mlflow-backup-differential" not in done.stderr, done.stderr
    # What a drill that was killed left behind goes with its unit.
    assert f"\nExecStopPost=/bin/rm -rf --one-file-system {site.folder}/drills/mlflow-drill\n" in site.rendered["drill"]
    assert f"\nReadWritePaths={site.folder}/drills\n" in site.rendered["drill"]
    assert "rm -rf" not in site.rendered["service"]
    assert f"--config {site.config} ended manifest\n" in site.rendered["service"]
    assert "OnCalendar=Mon..Sat 01:30" in site.rendered["timer"]


def test_postgresql_is_told_what_the_program_expects(site: Site) -> None:
    command = json.loads(site.config.read_text())["database"]["archive_command"]
    assert f"archive_command = '{command}'" in site.rendered["settings"]
    assert "archive_mode = on" in site.rendered["settings"]
    assert "|| true" not in site.rendered["settings"]


def test_each_host_does_what_it_has(tmp_path: Path) -> None:
    servers = [{"name": "app1"}, {"name": "localhost"}]
    database = {"is_database": True, "is_server": False, "servers": servers}
    second = {"is_database": False, "is_server": True, "servers": servers}
    first = {**second, "servers": [{"name": "localhost"}]}
    hosts: list[dict[str, Any]] = [
        {"__mlflow_topology": database},
        {"__mlflow_topology": second},
        {"__mlflow_topology": first},
        {"__mlflow_topology": first, "mlflow_database_uri": "postgresql://u:p@h/d"},
    ]
    template = tmp_path / "jobs.j2"
    template.write_text("{{ __mlflow_backup_jobs | join(' ') }}{{ ' alone' if not __mlflow_backup_document.database }}")
    playbook = tmp_path / "jobs.yml"
    each = [f"lookup('ansible.builtin.template', '{template}', template_vars=hosts[{number}])" for number in range(4)]
    playbook.write_text(PLAYBOOK.replace("EVERYTHING", f"[{', '.join(each)}]"))
    out = tmp_path / "jobs.json"
    given = {
        "mlflow_environment": "dev",
        "mlflow_backup_repository": "/srv/backups",
        "mlflow_backup_passphrase": PASSPHRASE,
    }
    done = play(tmp_path, playbook, "-e", json.dumps({**given, "hosts": hosts, "out": str(out)}))
    assert done.code == 0, done.output
    assert json.loads(out.read_text()) == [
        "full differential manifest verify configuration watch",
        "configuration watch alone",
        "artifacts drill configuration watch alone",
        "artifacts manifest verify configuration watch alone",
    ]


# ----- what is refused

REFUSING = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_backup, tasks_from: refuse}
"""
GOOD = {
    "mlflow_environment": "dev",
    "mlflow_domain": "mlflow.example.com",
    "mlflow_backup_repository": "s3://backups/mlflow-dev",
    "mlflow_backup_passphrase": PASSPHRASE,
    "mlflow_backup_recipients": ["age1" + "q" * 58],
    "mlflow_backup_parts": ["configuration"],
}


def refuse(home: Path, **changes: Any) -> Played:
    playbook = home / "refuse.yml"
    playbook.write_text(REFUSING)
    return play(home, playbook, "-e", json.dumps({**GOOD, **changes}))


def test_good_choices_pass(tmp_path: Path) -> None:
    done = refuse(tmp_path)
    assert done.code == 0, done.output
    assert done.changed == 0


CHOICES: dict[str, Any] = {
    "repository": "s3://backups/mlflow-dev",
    "endpoint": "https://s3.example.com",
    "artifacts": "/srv/mlflow/artifacts",
    "protected": ["/var/lib/postgresql"],
    "passphrase": PASSPHRASE,
    "recipients": ["age1" + "q" * 58, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 somebody"],
    "due_hours": {"full": 800},
    "jobs": ["full", "watch"],
    "wal_warning_mb": 1024,
    "wal_limit_mb": 0,
    "keep_days": 30,
    "bucket_days": 30,
    "drill_sample": 0,
    "drill_directory": "/srv/drills",
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repository": ""}, "[BACKUP_PLACE] db1: mlflow_backup_repository=. It is not set."),
        ({"repository": "backups"}, "[BACKUP_PLACE] db1: mlflow_backup_repository=backups. It is no place of its own."),
        ({"repository": "gs://backups/mlflow"}, "Backups go to no such place."),
        ({"repository": "/var/lib/postgresql/b"}, "It lies in /var/lib/postgresql, which is backed up itself."),
        (
            {"repository": "/srv/mlflow/artifacts/b"},
            "It and the artifacts (/srv/mlflow/artifacts) lie within each other.",
        ),
        (
            {"artifacts": "s3://backups/mlflow-dev/a"},
            "It and the artifacts (s3://backups/mlflow-dev/a) lie within each other.",
        ),
        ({"endpoint": "http://s3.example.com"}, "pgBackRest speaks to S3 by TLS only"),
        ({"endpoint": "https://192.0.2.1:8333"}, "pgBackRest looks for a name in the store's certificate"),
        ({"passphrase": "tooshort"}, "[BACKUP_KEY] db1: mlflow_backup_passphrase."),
        ({"recipients": []}, "[BACKUP_RECIPIENTS] db1: mlflow_backup_recipients="),
        ({"recipients": ["AGE-SECRET-KEY-1QQ"]}, "It holds a private key, which must not be there."),
        ({"due_hours": {"vull": 3}}, "[BACKUP_LIMIT] db1: mlflow_backup_due_hours. There is no job vull"),
        (
            {"drill_sample": -1},
            "[BACKUP_LIMIT] db1: mlflow_backup_drill_sample=-1. It is a number of artifacts, 0 or more.",
        ),
        (
            {"drill_directory": "drills"},
            "[BACKUP_LIMIT] db1: mlflow_backup_drill_directory=drills. It is an absolute directory.",
        ),
        (
            {"artifacts": "s3://artifacts/mlflow", "bucket_days": 7},
            "[BACKUP_LIMIT] db1: mlflow_backup_keep_days=30. The bucket of artifacts keeps what was deleted for 7 days",
        ),
        ({"wal_limit_mb": 512}, "[BACKUP_LIMIT] db1: mlflow_backup_wal_limit_mb=512."),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(changes: dict[str, Any], words: str) -> None:
    assert choice_problems(CHOICES, "db1") == []
    (sentence,) = choice_problems({**CHOICES, **changes}, "db1")
    assert words in sentence
    assert sentence.endswith("Nothing was changed.")
    assert "tooshort" not in sentence
    assert "SECRET-KEY" not in sentence


def test_all_that_is_wrong_is_said_before_anything_is_touched(tmp_path: Path) -> None:
    done = refuse(tmp_path, mlflow_backup_repository="backups", mlflow_backup_passphrase="tooshort")
    assert [sentence.split(":")[0] for sentence in done.sentences] == [
        "[BACKUP_PLACE] localhost",
        "[BACKUP_KEY] localhost",
    ]
    assert done.changed == 0
    assert "tooshort" not in done.output
    (sentence,) = refuse(tmp_path, mlflow_backup_watch_schedule="now and then").sentences
    assert sentence.startswith("[BACKUP_SCHEDULE] localhost: mlflow_backup_*_schedule.")
    assert "now and then" in sentence


def test_another_archive_is_left_alone(tmp_path: Path, postgresql: Server) -> None:
    postgresql.execute("ALTER SYSTEM SET archive_command = 'wal-g wal-push %p'")
    postgresql.execute("SELECT pg_reload_conf()")
    environment = {"PGHOST": postgresql.socket, "PGUSER": "postgres"}
    playbook = tmp_path / "foreign.yml"
    playbook.write_text(
        REFUSING.replace("gather_facts: false", f"gather_facts: false\n  environment: {json.dumps(environment)}")
    )
    given = {
        **GOOD,
        "mlflow_backup_parts": ["database"],
        "ansible_become": False,
        "mlflow_database_port": postgresql.port,
    }
    given["ansible_python_interpreter"] = sys.executable
    try:
        done = play(tmp_path, playbook, "-e", json.dumps(given))
    finally:
        postgresql.execute("ALTER SYSTEM RESET archive_command")
        postgresql.execute("SELECT pg_reload_conf()")
    (sentence,) = done.sentences
    assert sentence.startswith("[BACKUP_FOREIGN_ARCHIVE] localhost: archive_command=wal-g wal-push %p.")
    done = play(tmp_path, playbook, "-e", json.dumps(given))
    assert done.code == 0, done.output
    # Where there is no PostgreSQL yet nobody archives; who sets backups up needs one.
    done = play(tmp_path, playbook, "-e", json.dumps({**given, "mlflow_database_port": 1}))
    assert done.code == 0, done.output
    playbook.write_text(playbook.read_text().replace(", tasks_from: refuse", ""))
    done = play(tmp_path, playbook, "-e", json.dumps({**given, "mlflow_database_port": 1}))
    assert done.changed == 0
    # Ansible prints it twice, and once with the quotes of PostgreSQL escaped.
    assert {one.partition(". ")[0] for one in done.sentences} == {"[BACKUP_DATABASE] localhost: mlflow_database_port=1"}


SHARING = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.mlflow.mlflow_backup, tasks_from: CHECKED}
"""


def test_a_directory_of_each_host_is_not_taken_for_a_shared_one(tmp_path: Path) -> None:
    for host in ("app1", "app2"):
        for name in ("etc/backup", "state", "lib", "repository/files"):
            (tmp_path / host / name).mkdir(parents=True)
        (tmp_path / host / "etc/backup/passphrase").write_text(PASSPHRASE)
        for source in PROGRAMS:
            shutil.copy(source, tmp_path / host / "lib")
        document = {
            "environment": "dev",
            "host": host,
            "state": f"{tmp_path}/{host}/state",
            "fact": f"{tmp_path}/{host}/fact",
            "seconds": 60,
            "look_seconds": 20,
            "processes": 1,
            "database": None,
            "files": {
                "repository": f"{tmp_path}/{host}/repository/files",
                "password_file": f"{tmp_path}/{host}/etc/backup/passphrase",
                "environment_file": "",
                "ca_file": "",
            },
        }
        (tmp_path / host / "etc/backup/backup.json").write_text(json.dumps(document))
    playbook = tmp_path / "play.yml"
    playbook.write_text(SHARING.replace("CHECKED", "repository"))
    here = f"{tmp_path}/{{{{ inventory_hostname }}}}"
    given = {
        **GOOD,
        "mlflow_artifact_uri": "/srv/mlflow/artifacts",
        "mlflow_config_dir": f"{here}/etc",
        "mlflow_backup_repository": "/srv/backups",
        "mlflow_backup_hosts": ["app1", "app2"],
        "ansible_python_interpreter": sys.executable,
        "__mlflow_backup_library": f"{here}/lib",
        "__mlflow_backup_path": f"{here}/repository",
    }
    done = play(tmp_path, playbook, "-i", "app1,app2,", "-e", json.dumps(given))
    assert done.code != 0
    assert len([one for one in done.sentences if one.startswith("[BACKUP_NOT_SHARED] app")]) == 2, done.output
    assert "app1, app2 have 2 different ones" in done.output
    # One of them alone is a repository, on the disk of everything else.
    done = play(tmp_path, playbook, "-i", "app1,", "-e", json.dumps({**given, "mlflow_backup_hosts": ["app1"]}))
    assert done.code == 0, done.output
    assert "[BACKUP_SAME_HOST] app1: mlflow_backup_repository=" in done.output
