"""The jobs of maintenance on real hosts: each where it belongs, locked in, on time, alone, and nothing goes that should stay."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.operations.conftest import DATABASE, SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer

SCENARIO = Path(__file__).parents[1]
BUCKET, PREFIX = "mlflow-artifacts", "team/artifacts"
OBJECTS = 60
# A job gives way to everything else, and here to other hosts as well.
JOB_SECONDS = 600
# Which hosts have a job.
PLACES = {
    "database": {DATABASE},
    "gc": set(SERVERS),
    "orphans": set(SERVERS),
    "leftovers": set(SERVERS),
    "capacity": {DATABASE, *SERVERS},
    "expiry": {DATABASE, *SERVERS},
}
# The first half of the key of the jobs' lock.
LOCK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = x'6D6C6F70'::bigint"


def last(host: Any, job: str) -> dict[str, Any]:
    """How the last run of a job ended, as its machine-readable result says."""
    return dict(json.loads(host.check_output(f"cat /var/lib/mlflow-maintenance/{job}/last.json")))


@pytest.mark.parametrize("job", PLACES)
def test_each_job_has_a_timer_where_it_belongs(hosts: Mapping[str, Any], job: str) -> None:
    """`site` alone has set them up: enabled, waiting for their time, and on no other host."""
    unit = f"mlflow-maintenance-{job}.timer"
    found = {name for name in (DATABASE, *SERVERS) if hosts[name].file(f"/etc/systemd/system/{unit}").exists}
    assert found == PLACES[job]
    for name in found:
        assert hosts[name].check_output("systemctl is-enabled %s", unit) == "enabled", name
        said = hosts[name].check_output(
            "systemctl show --property=ActiveState --property=NextElapseUSecRealtime %s", unit
        )
        assert "ActiveState=active" in said, name
        assert "NextElapseUSecRealtime=\n" not in said + "\n", f"{name}: {unit} has no next time"


@pytest.mark.parametrize("name", [DATABASE, *SERVERS])
def test_exposure_of_the_units(hosts: Mapping[str, Any], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`systemd-analyze security` of all that is scheduled."""
    found = {
        unit: value
        for unit, value in checks.exposures(hosts[name]).items()
        if unit.startswith(("mlflow-maintenance-", "mlflow-backup-"))
    }
    with capsys.disabled():
        print(f"\nexposure on {name}: " + ", ".join(f"{unit} {value}" for unit, value in sorted(found.items())))
    assert {unit for unit in found if unit.startswith("mlflow-maintenance-")} >= {
        f"mlflow-maintenance-{job}.service" for job, places in PLACES.items() if name in places
    }
    ceilings = {
        unit: checks.BACKUP_CEILING if unit.startswith("mlflow-backup-") else checks.UNIT_CEILING for unit in found
    }
    assert {unit: value for unit, value in found.items() if value > ceilings[unit]} == {}


# ----- what gc takes


def objects(store: Any, key: str) -> list[str]:
    """Keys of the bucket of artifacts below a key."""
    pages = store.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{PREFIX}/{key}")
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def aged(host: Any, table: str, column: str, where: str) -> None:
    """As if it had been deleted a month earlier."""
    changed = checks.query(
        host, "mlflow", f"UPDATE {table} SET {column} = {column} - 31 * 86400000::bigint WHERE {where} RETURNING 1"
    )
    assert changed, f"nothing in {table} is {where}"


def run_jobs(playbook: Any, *jobs: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """What an operator types to have jobs run now."""
    given = json.dumps({"mlflow_maintenance_run": list(jobs), **more})
    done: subprocess.CompletedProcess[str] = playbook("maintenance", "-e", given)
    return done


def test_every_job_runs_now_and_says_how_it_ended(
    hosts: Mapping[str, Any], store: Any, client: Any, playbook: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """By one command. What was deleted long ago is gone with its objects, and what is live, or younger, is untouched."""
    done = client(str(SCENARIO / "plant.py"), str(OBJECTS))
    assert done.returncode == 0, done.stderr[-2000:]
    planted = json.loads(done.stdout.splitlines()[-1])
    database = hosts[DATABASE]
    aged(database, "runs", "deleted_time", f"run_uuid IN ('{planted['many']}', '{planted['odd']}')")
    aged(database, "runs", "deleted_time", f"experiment_id = {planted['gone_experiment']}")
    aged(database, "experiments", "last_update_time", f"experiment_id = {planted['gone_experiment']}")
    kept = {name: sorted(objects(store, f"{planted['experiment']}/{planted[name]}/")) for name in ("live", "young")}
    odd = len(planted["odd_names"])
    assert {name: len(found) for name, found in kept.items()} == {"live": odd + 1, "young": 2}
    assert len(objects(store, f"{planted['experiment']}/{planted['many']}/")) == OBJECTS
    assert len(objects(store, f"{planted['experiment']}/{planted['odd']}/")) == odd

    begun = time.time()
    started = checks.starts(database, "postgresql@17-main")
    memory = set(database.check_output("ls /dev/shm").split())
    assert memory, "PostgreSQL has no shared memory"
    done = run_jobs(playbook, *PLACES)
    assert done.returncode == 0, done.stdout[-4000:]
    said = []
    for job, places in PLACES.items():
        for name in sorted(places):
            result = last(hosts[name], job)
            said.append(f"{name} {job}: {result['outcome']}: {result['sentence']}")
            assert result["started"] > begun, f"{name} {job} did not run"
            assert result["outcome"] in ("done", "found"), said[-1]
            assert result["sentence"] in done.stdout.replace("\\", ""), f"the playbook did not say {result['sentence']}"
    with capsys.disabled():
        print("\n" + "\n".join(said))

    # A job that runs as PostgreSQL's user takes nothing of it away when it ends.
    assert memory & set(database.check_output("ls /dev/shm").split())
    assert checks.starts(database, "postgresql@17-main") == started

    collected = last(hosts[SERVERS[0]], "gc")["details"]
    assert collected["removed"]["runs"] >= 2, collected
    assert collected["removed"]["experiments"] >= 1, collected
    assert collected["objects"] >= OBJECTS + odd + 1, collected
    assert collected["refused"] == {}, collected
    for name in ("many", "odd"):
        assert objects(store, f"{planted['experiment']}/{planted[name]}/") == []
    assert objects(store, f"{planted['gone_experiment']}/") == []
    ids = ", ".join(f"'{planted[name]}'" for name in ("many", "odd", "of_gone", "live", "young"))
    rows = f"SELECT run_uuid FROM runs WHERE run_uuid IN ({ids})"
    assert set(checks.query(database, "mlflow", rows)) == {planted["live"], planted["young"]}
    assert (
        checks.query(
            database, "mlflow", f"SELECT 1 FROM experiments WHERE experiment_id = {planted['gone_experiment']}"
        )
        == []
    )
    for name, before in kept.items():
        assert sorted(objects(store, f"{planted['experiment']}/{planted[name]}/")) == before, name


def test_status_shows_the_jobs(playbook: Any) -> None:
    """A line for each job that has run."""
    done = playbook("status")
    assert done.returncode == 0, done.stdout[-3000:]
    for job in PLACES:
        assert f"job {job} " in done.stdout, job


# ----- one at a time


def unit_state(host: Any, unit: str) -> str:
    """active, activating, inactive or failed."""
    return str(host.run("systemctl show --property=ActiveState --value %s", unit).stdout.strip())


def test_a_second_host_leaves_a_job_alone_that_the_first_one_is_at(hosts: Mapping[str, Any]) -> None:
    """The one that holds the lock is stopped in its tracks; the other says where the job is done, with 75, which is no failure."""
    first, second = (hosts[name] for name in SERVERS)
    unit = "mlflow-maintenance-gc.service"
    assert checks.query(hosts[DATABASE], "mlflow", LOCK) == ["0"]
    first.check_output("systemctl start --no-block %s", unit)
    try:
        checks.wait_until(
            lambda: checks.query(hosts[DATABASE], "mlflow", LOCK) == ["1"], JOB_SECONDS, "the job has its lock"
        )
        first.check_output("systemctl kill --signal=STOP %s", unit)
        assert checks.query(hosts[DATABASE], "mlflow", LOCK) == ["1"], "the first had ended already"
        second.check_output("systemctl start %s", unit)
        told = last(second, "gc")
        assert told["outcome"] == "elsewhere", told
        assert SERVERS[0] in told["sentence"]
        assert second.check_output("systemctl show --property=ExecMainStatus --value %s", unit) == "75"
        assert unit_state(second, unit) == "inactive"
    finally:
        first.check_output("systemctl kill --signal=CONT %s", unit)
    checks.wait_until(lambda: unit_state(first, unit) == "inactive", JOB_SECONDS, "the first goes on to its end")
    assert last(first, "gc")["outcome"] in ("done", "found")
    assert checks.query(hosts[DATABASE], "mlflow", LOCK) == ["0"]


# ----- telling


def test_somebody_is_told_what_is_wrong_and_when_it_is_over(hosts: Mapping[str, Any], playbook: Any) -> None:
    """By webhook, from inside the units: that the way works, a job that was killed, and its next run that was well."""
    name = SERVERS[1]
    host, unit = hosts[name], "mlflow-maintenance-leftovers.service"
    limit = ("--limit", f"localhost,{name}")
    here = host.check_output("echo $SSH_CONNECTION").split()[0]
    drop_in = f"/run/systemd/system/{unit}.d"

    def timer() -> str:
        return str(host.run("systemctl is-enabled mlflow-maintenance-delivery.timer").stdout.strip())

    assert timer() == "disabled", "somebody is told already"
    arrived: list[dict[str, Any]] = []

    def take(request: Request) -> Reply:
        arrived.append(json.loads(request.body))
        return Reply(204)

    with http_peer(take, address=here) as port:
        told = {"mlflow_maintenance_webhook_url": f"http://{here}:{port}/hook", "mlflow_maintenance_run": ["delivery"]}
        done = playbook("maintenance", *limit, "-e", json.dumps(told))
        try:
            assert done.returncode == 0, done.stdout[-3000:]
            assert timer() == "enabled"
            assert [(one["host"], one["environment"]) for one in arrived] == [(name, "molecule-operations")]

            def ids(which: str) -> set[str]:
                return {one["id"] for message in arrived[1:] for one in message[which]}

            # It is ended before it can say anything itself.
            host.check_output(
                "mkdir -p %s && printf '[Service]\\nTimeoutStartSec=50ms\\n' > %s/short.conf", drop_in, drop_in
            )
            host.check_output("systemctl daemon-reload")
            assert host.run("systemctl start %s", unit).rc != 0
            checks.wait_until(lambda: "JOB_FAILED" in ids("new"), JOB_SECONDS, "the receiver is told of the failure")
            assert "JOB_FAILED" not in ids("gone")
            host.check_output("rm %s/short.conf && systemctl daemon-reload && systemctl start %s", drop_in, unit)
            checks.wait_until(lambda: "JOB_FAILED" in ids("gone"), JOB_SECONDS, "the receiver is told that it is over")
        finally:
            done = playbook("maintenance", *limit)
    assert done.returncode == 0, done.stdout[-3000:]
    assert timer() == "disabled"


# ----- cron


def test_cron_starts_the_jobs_where_it_was_chosen(hosts: Mapping[str, Any], playbook: Any) -> None:
    """At a minute that comes; then timers do it again, and nothing of cron's is left."""
    name = SERVERS[1]
    host, timer = hosts[name], "mlflow-maintenance-expiry.timer"
    now = datetime.fromtimestamp(float(host.check_output("date +%s")), UTC)
    zone = host.check_output("date +%z")
    assert zone == "+0000", zone
    # The playbook needs less than these minutes.
    due = (now + timedelta(minutes=3)).replace(second=0)
    expiry = {"schedule": f"daily {due:%H:%M}", "delay_minutes": 0}
    limit = ("--limit", f"localhost,{name}")
    done = playbook(
        "maintenance",
        *limit,
        "-e",
        json.dumps({"mlflow_maintenance_scheduler": "cron", "mlflow_maintenance_expiry": expiry}),
    )
    try:
        assert done.returncode == 0, done.stdout[-3000:]
        assert float(host.check_output("date +%s")) < due.timestamp(), "the playbook took too long for this minute"
        assert host.check_output("systemctl is-enabled %s || true", timer) == "disabled"
        assert host.service("cron").is_running
        before = last(host, "expiry")["ended"]
        checks.wait_until(lambda: last(host, "expiry")["ended"] != before, JOB_SECONDS, "cron starts the job")
        assert last(host, "expiry")["started"] >= due.timestamp()
        assert last(host, "expiry")["outcome"] in ("done", "found")
        journal = host.check_output("journalctl --no-pager --output=cat --identifier=CRON --since=-10min")
        assert "mlflow-maintenance-expiry.service" in journal
    finally:
        done = playbook("maintenance", *limit)
    assert done.returncode == 0, done.stdout[-3000:]
    assert not host.file("/etc/cron.d/mlflow-maintenance").exists
    assert host.check_output("systemctl is-enabled %s", timer) == "enabled"
    assert host.check_output("systemctl is-active %s", timer) == "active"
