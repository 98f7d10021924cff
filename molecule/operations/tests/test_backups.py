"""Backups on real hosts: WAL reaches the bucket, one command backs everything up while clients write, and it can be restored beside."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.mlops.mlflow.molecule.operations import backups
from ansible_collections.mlops.mlflow.molecule.operations.conftest import DATABASE, SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.writer import Outcome, Writer

HOSTS = (DATABASE, *SERVERS)
# Which hosts have a job.
PLACES = {
    "full": {DATABASE},
    "differential": {DATABASE},
    "manifest": {DATABASE},
    "verify": {DATABASE},
    "artifacts": {SERVERS[0]},
    "drill": {SERVERS[0]},
    "configuration": set(HOSTS),
    "watch": set(HOSTS),
}
SCRATCH = "/var/lib/postgresql/scratch"


@pytest.mark.parametrize("job", PLACES)
def test_each_job_has_a_timer_where_it_belongs(hosts: Mapping[str, Any], job: str) -> None:
    """`site` alone has set them up: enabled, waiting for their time, and on no other host."""
    unit = f"mlflow-backup-{job}.timer"
    found = {name for name in HOSTS if hosts[name].file(f"/etc/systemd/system/{unit}").exists}
    assert found == PLACES[job]
    for name in found:
        assert hosts[name].check_output("systemctl is-enabled %s", unit) == "enabled", name
        assert hosts[name].check_output("systemctl is-active %s", unit) == "active", name


def test_wal_goes_to_the_bucket_since_site_ran(hosts: Mapping[str, Any]) -> None:
    """PostgreSQL archives, without a failure that lasts."""
    host = hosts[DATABASE]
    assert checks.query(host, "postgres", "SHOW archive_mode") == ["on"]
    before = backups.archived(host)
    backups.switch(host)
    checks.wait_until(lambda: backups.archived(host) > before, 60, "the segment is in the archive")
    checks.wait_until(lambda: backups.waiting(host) == 0, 60, "nothing waits for the archive")


def test_the_key_of_the_backups_opens_their_bucket_and_no_other(s3: Callable[[str], Any]) -> None:
    """What is deleted with it is no artifact."""
    client = s3("backups")
    assert client.list_objects_v2(Bucket="mlflow-backups", Prefix="operations/database/archive/")["KeyCount"] > 0
    with pytest.raises(ClientError) as caught:
        client.list_objects_v2(Bucket="mlflow-artifacts", Prefix="team/artifacts/")
    assert caught.value.response["Error"]["Code"] == "AccessDenied"


# ----- backing up now


@dataclass(frozen=True)
class BackedUp:
    """What the playbook said, and what a client saw that wrote meanwhile; how much it had written before and in all."""

    done: subprocess.CompletedProcess[str]
    before: Outcome
    outcome: Outcome


@pytest.fixture(scope="module")
def backed_up(edge: checks.Edge, playbook: Any) -> BackedUp:
    """Everything is backed up by one command, under load."""
    with Writer(edge, threads=2) as writer:
        writer.wait_for(100)
        before = writer.outcome
        done = playbook("backup", "-e", "mlflow_backup_kind=full")
        writer.wait_for(40)
    return BackedUp(done, before, writer.outcome)


def test_one_command_backs_everything_up(
    hosts: Mapping[str, Any], backed_up: BackedUp, capsys: pytest.CaptureFixture[str]
) -> None:
    """Database, artifacts, configuration of every host and the manifest; then it says that all is in order."""
    assert backed_up.done.returncode == 0, backed_up.done.stdout[-4000:]
    said = []
    for job, places in PLACES.items():
        if job in ("differential", "verify", "watch", "drill"):
            continue
        for name in sorted(places):
            result = backups.result(hosts[name], job)
            said.append(f"{name} {job}: {result['sentence']} ({result['seconds']} s)")
            assert result["ok"], said[-1]
    with capsys.disabled():
        print("\n" + "\n".join(said))
    assert backups.result(hosts[DATABASE], "full")["backup"]["type"] == "full"
    manifest = json.loads(hosts[DATABASE].check_output("cat /var/lib/mlflow-backup/manifests/newest.json"))
    assert {one["host"] for one in manifest["configuration"]} == set(HOSTS)
    assert manifest["artifacts"]["kind"] == "bucket"
    assert f"Everything as of {manifest['moment']}" in backed_up.done.stdout


def test_clients_notice_nothing_of_a_backup(
    hosts: Mapping[str, Any], backed_up: BackedUp, capsys: pytest.CaptureFixture[str]
) -> None:
    """No request fails meanwhile, and what was acknowledged is there."""
    with capsys.disabled():
        print(f"\nwhile a full backup was made: {backed_up.outcome}")
    assert backed_up.outcome.failures == ()
    assert backed_up.outcome.lost(hosts[DATABASE], "mlflow") == []


def test_the_backups_are_in_order(hosts: Mapping[str, Any], backed_up: BackedUp) -> None:
    """As the module says on every host, and as the watch says whose timer comes every two minutes."""
    assert backed_up.done.returncode == 0
    for name in HOSTS:
        answer = hosts[name].ansible("mlops.mlflow.mlflow_backup_check", f"host={name}", check=False)
        assert answer["findings"] == [], name
        hosts[name].check_output("systemctl start mlflow-backup-watch.service")
        assert backups.result(hosts[name], "watch")["ok"], name


def test_status_shows_the_backups(playbook: Any, backed_up: BackedUp) -> None:
    """When each of them last succeeded, and that nothing is wrong."""
    assert backed_up.done.returncode == 0
    done = playbook("status")
    assert done.returncode == 0, done.stdout[-3000:]
    for words in ("full", "configuration", "manifest", "wrong"):
        assert words in done.stdout, words


def test_what_is_kept_can_be_read(hosts: Mapping[str, Any], backed_up: BackedUp) -> None:
    """The job that reads it all and compares checksums."""
    assert backed_up.done.returncode == 0
    hosts[DATABASE].check_output("systemctl start mlflow-backup-verify.service")
    assert backups.result(hosts[DATABASE], "verify")["ok"]


def test_everything_is_restored_beside(
    hosts: Mapping[str, Any], backed_up: BackedUp, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into an empty folder on the database's host: the runs that were acknowledged before the backup, and each host's keys."""
    assert backed_up.done.returncode == 0
    host = hosts[DATABASE]
    started = checks.starts(host, "postgresql@17-main")
    unit = "restored-beside"
    try:
        told = json.loads(host.check_output(f"{backups.PROGRAM} restore-beside --into {SCRATCH}"))
        with capsys.disabled():
            print(f"\nrestored beside: {told['databases']} in {told['seconds']} s")
        assert set(told["databases"]) >= {"mlflow", "mlflow_auth"}
        host.check_output(
            "systemd-run --quiet --collect --unit=%s --uid=postgres /usr/lib/postgresql/17/bin/postgres --config-file=%s",
            unit,
            f"{SCRATCH}/postgresql.conf",
        )
        ask = f"runuser -u postgres -- psql -XqAt -h {SCRATCH} -p 5499 mlflow -c %s"
        checks.wait_until(lambda: host.run(ask, "SELECT 1").rc == 0, 60, "the restored cluster answers")
        runs = set(
            host.check_output(
                ask, f"SELECT run_uuid FROM runs WHERE experiment_id = {backed_up.outcome.experiment}"
            ).splitlines()
        )
        assert set(backed_up.before.runs) <= runs
        for name in HOSTS:
            # What the operators' key opens, on their own machine.
            archive = f"{SCRATCH}/configuration/{name}/var/lib/mlflow-backup/configuration/configuration.tar.age"
            names = opened(host, archive, site / "operator.key")
            assert "etc/mlflow/environment" in names, name
            assert ("etc/mlflow/server.env" in names) == (name in SERVERS), name
    finally:
        host.run("systemctl stop %s", unit)
        host.check_output("rm -rf %s", SCRATCH)
    assert checks.starts(host, "postgresql@17-main") == started, "the running cluster was restarted"


def test_a_drill_restores_what_was_backed_up_and_leaves_nothing(
    hosts: Mapping[str, Any], backed_up: BackedUp, playbook: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a server that has no PostgreSQL of its own."""
    assert backed_up.done.returncode == 0
    host = hosts[SERVERS[0]]
    done = playbook("drill")
    assert done.returncode == 0, done.stdout[-4000:]
    result = backups.result(host, "drill")
    with capsys.disabled():
        print(f"\n{result['sentence']} ({result['seconds']} s)")
    assert result["ok"]
    assert not host.file("/var/lib/mlflow-backup/mlflow-drill").exists
    assert host.run("pg_lsclusters --no-header").stdout == "", "a cluster was left"


def opened(host: Any, archive: str, key: Path) -> set[str]:
    """Names in an archive of configuration, opened with the operators' key."""
    content = host.check_output("base64 --wrap=0 %s", archive)
    decoded = subprocess.run(["base64", "--decode"], input=content.encode(), capture_output=True, check=True).stdout
    plain = subprocess.run(["age", "--decrypt", f"--identity={key}"], input=decoded, capture_output=True, check=False)
    assert plain.returncode == 0, plain.stderr.decode()
    with tarfile.open(fileobj=io.BytesIO(plain.stdout)) as tar:
        return {member.name for member in tar.getmembers()}
