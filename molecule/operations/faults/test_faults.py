"""What becomes of backups and jobs when something breaks meanwhile. Every test first proves that it broke; afterwards the next run is well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.operations import backups
from ansible_collections.mlops.mlflow.molecule.operations.conftest import DATABASE, SERVERS, STORE, in_a_hurry
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.several import Tell
from ansible_collections.mlops.mlflow.molecule.shared.writer import Writer

SCENARIO = Path(__file__).parents[1]
STORE_PORT = 18443
SEGMENT_MB = 16
# A job gives way to everything else, and here to other hosts as well.
JOB_SECONDS = 600
POSTGRESQL = "postgresql@17-main"
LOCK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = x'6D6C6F70'::bigint"


@pytest.fixture
def note(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints what was measured."""

    def say(what: str) -> None:
        with capsys.disabled():
            print(f"\n{what}")

    return say


def serves(hosts: Mapping[str, Any], edge: checks.Edge) -> bool:
    """Both servers are ready, and the public address answers from the database."""
    if not all(hosts[name].run("true").rc == 0 and len(checks.live_slots(hosts[name])) == 1 for name in SERVERS):
        return False
    try:
        return edge.ask("GET", "/api/2.0/mlflow/experiments/search?max_results=1", login=True).status == 200
    except OSError:
        return False


@pytest.fixture(autouse=True)
def everything_runs(hosts: Mapping[str, Any], edge: checks.Edge, playbook: Any) -> Iterator[None]:
    """Before a test and after it; and after it a client proves the installation, and the backups are in order."""
    checks.wait_until(lambda: serves(hosts, edge), 180, "both servers serve")
    yield
    checks.wait_until(lambda: serves(hosts, edge), 180, "both servers serve again")
    done = playbook("verify")
    assert done.returncode == 0, done.stdout[-3000:]
    assert backups.problems(hosts[DATABASE]) == set()


@contextmanager
def store_is_away(hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """The S3 server of the site does not answer."""
    address = str(given[STORE]["ansible_host"])
    hosts[STORE].check_output("systemctl stop weed")
    try:
        assert not checks.connects(hosts[DATABASE], address, STORE_PORT), "the store still answers"
        yield
    finally:
        hosts[STORE].check_output("systemctl start weed")
        checks.wait_until(lambda: checks.connects(hosts[DATABASE], address, STORE_PORT), 60, "the store answers again")


def wal_mb(host: Any) -> int:
    """How much WAL lies on the disk of the database."""
    return int(checks.query(host, "postgres", "SELECT sum(size) / 1048576 FROM pg_ls_waldir()")[0].partition(".")[0])


def test_the_repository_is_away_until_wal_is_thrown_away(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    playbook: Any,
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """First somebody is told, then WAL is thrown away before the disk fills; archiving resumes by itself, and the next backup closes the gap."""
    host = hosts[DATABASE]
    limit = int(given[DATABASE]["mlflow_backup_wal_limit_mb"])
    before = backups.archived(host)
    with Writer(edge, threads=2) as writer:
        writer.wait_for(20)
        with store_is_away(hosts, given):
            backups.switch(host)

            def told() -> set[str]:
                return {one["id"] for one in backups.result(host, "watch").get("problems", [])}

            # The timer of every two minutes, and nobody who asks.
            waited = checks.wait_until(
                lambda: "BACKUP_ARCHIVE_FAILING" in told(), 300, "the watch says that the archive fails"
            )
            assert backups.archived(host) == before, "WAL was archived, or thrown away, before somebody was told"
            note(f"the watch says {sorted(told())} {waited:.0f} s after the store went away")
            while backups.waiting(host) * SEGMENT_MB <= limit:
                backups.switch(host)
            most = wal_mb(host)
            gone = checks.wait_until(
                lambda: backups.waiting(host) * SEGMENT_MB <= limit, 300, f"more than {limit} MB of WAL are thrown away"
            )
            assert "BACKUP_ARCHIVE_FAILING" in told()
            note(
                f"{most} MB of WAL on the disk, {wal_mb(host)} MB after {gone:.0f} s; {backups.waiting(host)} segments wait"
            )
            writer.wait_for(20)
        back = checks.wait_until(lambda: backups.waiting(host) == 0, 300, "archiving resumes by itself")
        note(f"nothing waits {back:.0f} s after the store is back")
        writer.wait_for(20)
    assert tell("repository away", writer).failures == ()
    assert backups.problems(host) == {"BACKUP_WAL_GAP"}
    done = playbook("backup")
    assert done.returncode == 0, done.stdout[-3000:]
    assert backups.problems(host) == set()


@contextmanager
def without_power(
    hosts: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], name: str, seen_from: str
) -> Iterator[None]:
    """The host's processes are gone at once, and another host sees that; in the end it boots on the disk it had."""
    of = given[name]
    aliases = [word for alias in of.get("host_aliases", []) for word in ("--alias", str(alias))]
    assert f"{name} is cut" in checks.hosts_tool("cut", name)
    try:
        assert not checks.connects(hosts[seen_from], str(of["ansible_host"]), 22), "it still answers"
        yield
    finally:
        said = checks.hosts_tool("up", name, str(of["ansible_host"]), str(of["host_image"]), *aliases)
    assert f"{name} is up after" in said


def test_the_host_of_the_database_loses_its_power_while_it_is_backed_up(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    playbook: Any,
    tell: Tell,
) -> None:
    """With clients writing. Whatever was acknowledged is there, and the next backup does not stumble over what is left of this one."""
    host, unit = hosts[DATABASE], "mlflow-backup-full.service"
    asked = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'pgBackRest [backup')"
    last = backups.result(host, "full")
    with Writer(edge) as writer:
        writer.wait_for(40)
        host.check_output("systemctl start --no-block %s", unit)
        checks.wait_until(lambda: checks.query(host, "postgres", asked) != ["0"], 60, "pgBackRest backs up")
        # So that it does not end before the power does.
        host.check_output("systemctl kill --signal=STOP %s", unit)
        assert host.check_output("systemctl show --property=ActiveState --value %s", unit) == "activating"
        with without_power(hosts, given, DATABASE, SERVERS[0]):
            writer.wait_for(4, failed=True)
        checks.wait_until(
            lambda: host.run("systemctl is-active %s", POSTGRESQL).rc == 0, 120, "PostgreSQL starts with its host"
        )
        writer.wait_for(60, seconds=180)
    assert tell("host of the database cut during a backup", writer).failed > 0
    assert backups.result(host, "full") == last, "the backup had ended before the power did"
    done = playbook("backup", "-e", "mlflow_backup_kind=full")
    assert done.returncode == 0, done.stdout[-3000:]
    assert backups.result(host, "full")["backup"]["label"] != last["backup"]["label"]


def starts_of_server(host: Any) -> dict[str, Any]:
    """Since when which slot of MLflow serves."""
    return {slot: checks.starts(host, f"mlflow-server@{slot}") for slot in checks.live_slots(host)}


def test_the_host_of_the_database_loses_its_power_while_it_is_restored_in_place(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    playbook: Any,
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """What was there serves when the host boots, with everything that was written. The next restore begins anew and ends."""
    host, variables = hosts[DATABASE], given[SERVERS[0]]
    data = Path(str(checks.query(host, "postgres", "SHOW data_directory")[0]))
    waits = data.with_name(f"{data.name}.restoring")
    over = ("-e", "mlflow_restore_kind=in_place", "-e", f"mlflow_restore_over={variables['mlflow_environment']}")
    with Writer(edge, threads=2) as writer:
        writer.wait_for(40)
    saved = playbook("backup")
    assert saved.returncode == 0, saved.stdout[-3000:]
    with Writer(edge, threads=2) as later, ThreadPoolExecutor(1) as aside:
        later.wait_for(20)
        served = {name: starts_of_server(hosts[name]) for name in SERVERS}
        restored = aside.submit(playbook, "restore", *over)
        reads = "pgrep --full --exact '/?[a-z/]*pgbackrest .* restore .*'"
        checks.wait_until(lambda: host.run(reads).rc == 0, 300, "pgBackRest restores")
        # So that it does not end before the power does.
        host.check_output(f"kill -STOP $({reads})")
        assert host.file(str(waits)).exists
        assert serves(hosts, edge), "what was there serves no more before the new one is whole"
        with without_power(hosts, given, DATABASE, SERVERS[0]):
            later.wait_for(4, failed=True)
            broken = restored.result(600)
        checks.wait_until(lambda: serves(hosts, edge), 180, "what was there serves again")
        later.wait_for(20)
    assert broken.returncode != 0
    assert f"The connection to {DATABASE} was lost" in broken.stdout, broken.stdout[-5000:]
    assert served == {name: starts_of_server(hosts[name]) for name in SERVERS}, "MLflow was stopped for nothing"
    assert tell("host of the database cut during a restore in place", later).failed > 0
    assert host.file(str(waits / "data")).exists, "nothing was being restored"
    assert backups.problems(host) == set(), "it may still be going on"
    host.check_output("touch --date=yesterday %s", str(waits))
    assert backups.problems(host) == {"RESTORE_CUT_OFF"}
    again = playbook("restore", *over)
    assert again.returncode == 0, again.stdout[-5000:]
    note(next(line.strip() for line in again.stdout.splitlines() if "is as it was at" in line))
    assert not host.file(str(waits)).exists
    # To the moment of the backup: what was written before is there, and what came after it is what the user gave up.
    assert tell("before the backup that was restored", writer).failures == ()
    assert len(later.outcome.lost(host, "mlflow")) == len(later.outcome.runs) + len(later.outcome.batches)


@contextmanager
def held_rows(host: Any, run: str) -> Iterator[None]:
    """Somebody else has the row of a run, so that it cannot be removed."""
    unit = "holds-a-row"
    text = f"BEGIN; SELECT 1 FROM runs WHERE run_uuid = '{run}' FOR UPDATE; SELECT pg_sleep(900);"
    host.check_output("systemd-run --quiet --collect --unit=%s --uid=postgres psql -Xq -d mlflow -c %s", unit, text)
    try:
        holds = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        checks.wait_until(lambda: checks.query(host, "postgres", holds) == ["1"], 30, "the row is held")
        yield
    finally:
        host.check_output("systemctl stop %s", unit)
        checks.query(
            host, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        )


@contextmanager
def silent(host: Any, address: str) -> Iterator[None]:
    """Nothing of another host arrives any more: one that burns does not say goodbye to whom it was connected."""
    host.check_output("nft add table inet of_a_test")
    try:
        host.check_output("nft 'add chain inet of_a_test input { type filter hook input priority -300; }'")
        host.check_output("nft add rule inet of_a_test input ip saddr %s drop", address)
        yield
    finally:
        host.check_output("nft delete table inet of_a_test")


def test_a_server_loses_its_power_while_it_deletes_for_good(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    client: Any,
    playbook: Any,
    store: Any,
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """Objects are gone and rows are not. The lock does not outlive the host that held it for long, and the next run ends the work."""
    first, second, database, unit = (
        hosts[SERVERS[0]],
        hosts[SERVERS[1]],
        hosts[DATABASE],
        "mlflow-maintenance-gc.service",
    )

    def objects(run: str) -> int:
        prefix = f"team/artifacts/{planted['experiment']}/{run}/"
        return int(store.list_objects_v2(Bucket="mlflow-artifacts", Prefix=prefix)["KeyCount"])

    def gc(host: Any) -> dict[str, Any]:
        return dict(json.loads(host.check_output("cat /var/lib/mlflow-maintenance/gc/last.json")))

    done = client(str(SCENARIO / "plant.py"), "40")
    assert done.returncode == 0, done.stderr[-2000:]
    planted = json.loads(done.stdout.splitlines()[-1])
    row = f"SELECT count(*) FROM runs WHERE run_uuid = '{planted['many']}'"
    aged = f"UPDATE runs SET deleted_time = deleted_time - 31 * 86400000::bigint WHERE run_uuid = '{planted['many']}' RETURNING 1"
    assert checks.query(database, "mlflow", aged) == ["1"]
    assert objects(planted["many"]) == 40
    before = gc(first)
    with Writer(edge) as writer:
        writer.wait_for(20)
        with ExitStack() as until_it_returns, ExitStack() as unheard:
            with held_rows(database, planted["many"]):
                first.check_output("systemctl start --no-block %s", unit)
                checks.wait_until(lambda: objects(planted["many"]) == 0, JOB_SECONDS, "its objects are deleted")
                # So that it gets no further.
                first.check_output("systemctl kill --signal=STOP %s", unit)
                assert first.check_output("systemctl show --property=ActiveState --value %s", unit) == "activating"
                assert checks.query(database, "mlflow", row) == ["1"], "its row is gone already"
                assert checks.query(database, "mlflow", LOCK) == ["1"]
                unheard.enter_context(silent(database, str(given[SERVERS[0]]["ansible_host"])))
                until_it_returns.enter_context(without_power(hosts, given, SERVERS[0], SERVERS[1]))
                writer.wait_for(4, failed=True)
            assert checks.query(database, "mlflow", row) == ["1"], "the row went although nobody was there any more"

            outcomes = []

            def second_can() -> bool:
                # It is asked more often than systemd lets a unit start.
                second.run("systemctl reset-failed %s", unit)
                second.check_output("systemctl start %s", unit)
                outcomes.append(gc(second)["outcome"])
                return bool(outcomes[-1] != "elsewhere" and checks.query(database, "mlflow", row) == ["0"])

            waited = checks.wait_until(
                second_can, 2 * JOB_SECONDS, "the locks of the host that is gone end, and the work is done"
            )
            assert outcomes[0] == "elsewhere", "the first one's lock was gone at once"
            note(f"the other server deletes {waited:.0f} s after the first one was cut")
        in_a_hurry(first)
        writer.wait_for(60, seconds=240)
    assert tell("server cut during gc", writer).failed > 0
    assert gc(second)["outcome"] in ("done", "found"), gc(second)
    assert checks.query(database, "mlflow", row) == ["0"]
    assert objects(planted["live"]) == len(planted["odd_names"]) + 1
    assert objects(planted["young"]) == 2
    # What the cut one left is told until its next run.
    assert gc(first) == before
    assert "was cut off" in playbook("status").stdout
    done = playbook("maintenance", "-e", '{"mlflow_maintenance_run": ["gc"]}')
    assert done.returncode == 0, done.stdout[-3000:]
    assert gc(first)["outcome"] in ("done", "found")
    assert "was cut off" not in playbook("status").stdout


@contextmanager
def small(host: Any, place: str) -> Iterator[None]:
    """A folder has a small disk of its own for a while, with what is in it."""
    disk = "/mnt/small"
    host.check_output(
        f"mkdir -p {disk} && mount -t tmpfs -o size=64m,mode=0755 tmpfs {disk} && cp -a {place}/. {disk}/"
    )
    host.check_output(f"mount --bind {disk} {place}")
    try:
        yield
    finally:
        host.check_output(f"umount {place} && cp -a {disk}/. {place}/ && umount {disk}")


def test_the_disk_is_full_during_a_backup(
    hosts: Mapping[str, Any], edge: checks.Edge, playbook: Any, tell: Tell
) -> None:
    """The job says so and leaves what it had; with room the next one is well."""
    host, place = hosts[DATABASE], "/var/lib/mlflow-backup"
    before = host.check_output("cat %s", f"{backups.RESULTS}/full.json")
    manifest = host.check_output("cat %s", f"{place}/manifests/newest.json")
    with small(host, place), Writer(edge, threads=2) as writer:
        writer.wait_for(20)
        with checks.full(host, place):
            for job in ("full", "configuration", "manifest"):
                assert host.run("systemctl start %s", f"mlflow-backup-{job}.service").rc != 0, (
                    f"{job} says that it is well"
                )
                said = host.check_output(
                    "journalctl --no-pager --output=cat --lines=30 --unit=%s", f"mlflow-backup-{job}.service"
                )
                assert "Traceback" not in said
                assert "No space left" in said, said
            assert host.check_output("cat %s", f"{backups.RESULTS}/full.json") == before
            assert host.check_output("cat %s", f"{place}/manifests/newest.json") == manifest
            assert "failed" in host.check_output("systemctl list-units --failed --no-legend 'mlflow-backup-*'")
            writer.wait_for(20)
        done = playbook("backup")
        assert done.returncode == 0, done.stdout[-3000:]
        writer.wait_for(20)
    assert tell("disk full during a backup", writer).failures == ()
