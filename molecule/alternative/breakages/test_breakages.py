"""What a writing client sees while parts of the installation are away. Every test first proves that the part is away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.alternative import site_certificate
from ansible_collections.mlops.mlflow.molecule.alternative.names import SERVERS
from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.several import Tell
from ansible_collections.mlops.mlflow.molecule.shared.writer import Writer

POSTGRESQL = "postgresql@15-tracking"


@pytest.fixture(autouse=True)
def everything_runs(hosts: Mapping[str, Any], edge: checks.Edge) -> Iterator[None]:
    """Before a test and after it: both servers are ready and the edge answers from the database."""

    def well() -> bool:
        running = all(len(checks.live_slots(hosts[name])) == 1 for name in SERVERS)
        return running and edge.ask("GET", "/api/2.0/mlflow/experiments/search?max_results=1", login=True).status == 200

    checks.wait_until(well, 120, "both servers serve")
    yield
    checks.wait_until(well, 120, "both servers serve again")


def start_of(host: Any, unit: str) -> str:
    """The id of the current start of a unit."""
    return checks.starts(host, unit)[unit]


def test_the_database_stops_and_comes_back(hosts: Mapping[str, Any], edge: checks.Edge, slots: Any, tell: Tell) -> None:
    """Clear errors meanwhile; afterwards the servers find it again without a restart."""
    units = {name: f"mlflow-server@{slots(name)[0]}" for name in SERVERS}
    before = {name: start_of(hosts[name], unit) for name, unit in units.items()}
    with Writer(edge) as writer:
        writer.wait_for(40)
        hosts["alt-db"].check_output("systemctl stop %s", POSTGRESQL)
        try:
            assert hosts["alt-db"].run("systemctl is-active %s", POSTGRESQL).stdout.strip() == "inactive"
            assert not checks.connects(hosts["alt-a"], "10.213.77.31", 5544)
            writer.wait_for(8, failed=True)
        finally:
            hosts["alt-db"].check_output("systemctl start %s", POSTGRESQL)
        writer.wait_for(60)
    outcome = tell("database stopped", writer)
    assert 0 < outcome.failed < outcome.requests
    assert all("status 5" in one.said for one in outcome.failures), outcome
    assert {name: start_of(hosts[name], unit) for name, unit in units.items()} == before, "it needed a restart"


def test_a_server_is_killed_under_load(hosts: Mapping[str, Any], edge: checks.Edge, slots: Any, tell: Tell) -> None:
    """What it was working on fails; everything else is served by the other one, and systemd starts it again."""
    unit = f"mlflow-server@{slots('alt-a')[0]}"
    before = start_of(hosts["alt-a"], unit)
    with Writer(edge, threads=6) as writer:
        writer.wait_for(60)
        hosts["alt-a"].check_output("systemctl kill --kill-whom=main --signal=KILL %s", unit)
        killed = "journalctl --unit=%s --lines=20 --output=cat --no-pager | grep --quiet status=9/KILL"
        checks.wait_until(lambda: hosts["alt-a"].run(killed, unit).rc == 0, 30, "systemd says that it was killed")
        writer.wait_for(120)
        checks.wait_until(lambda: hosts["alt-a"].service(unit).is_running, 120, "the server is back")
        writer.wait_for(40)
    assert start_of(hosts["alt-a"], unit) != before
    outcome = tell("server killed", writer)
    assert outcome.failed <= 2 * 6, "more than what was on its way"


def test_a_server_host_loses_its_power(
    hosts: Mapping[str, Any],
    given: Mapping[str, Mapping[str, Any]],
    edge: checks.Edge,
    slots: Any,
    tell: Tell,
) -> None:
    """The other one serves alone until it is back."""
    unit = f"mlflow-server@{slots('alt-b')[0]}"
    before = start_of(hosts["alt-b"], unit)
    with Writer(edge) as writer:
        writer.wait_for(40)
        said = checks.hosts_tool("cut", "alt-b")
        assert "alt-b is cut" in said
        assert not checks.connects(hosts["alt-edge"], str(given["alt-b"]["ansible_host"]), 22), "it still answers"
        alone = writer.wait_for(150, seconds=300)
        up = checks.hosts_tool("up", "alt-b", str(given["alt-b"]["ansible_host"]), str(given["alt-b"]["host_image"]))
        assert "alt-b is up after" in up
        checks.wait_until(lambda: len(checks.live_slots(hosts["alt-b"])) == 1, 180, "the server starts with its host")
        writer.wait_for(60)
    assert start_of(hosts["alt-b"], unit) != before
    outcome = tell(f"server host cut (150 requests took {alone:.1f} s without it)", writer)
    assert outcome.failed <= 2 * 4, "more than what was on its way"


@contextmanager
def brought(site: Path, days: int) -> Iterator[None]:
    """The site's certificate for the edge is another one, that ends after so many days."""
    certificate, key = (site / "edge.pem").read_bytes(), (site / "edge.key").read_bytes()
    site_certificate.issue(site, "edge", ["tracking.alternative.test", "tracking.internal.test"], days)
    try:
        yield
    finally:
        (site / "edge.pem").write_bytes(certificate)
        (site / "edge.key").write_bytes(key)


def times(host: Any, unit: str) -> tuple[float, float]:
    """When the present start of a unit began and when it was ready: seconds of the clock that all hosts here share."""
    asked = (
        "systemctl show --value --property=InactiveExitTimestampMonotonic --property=ActiveEnterTimestampMonotonic %s"
    )
    began, ready = sorted(int(line) / 1e6 for line in host.check_output(asked, unit).split())
    return began, ready


def test_a_certificate_that_ends_soon_and_a_setting_change_in_passing(
    hosts: Mapping[str, Any],
    slots: Any,
    edge: checks.Edge,
    site: Path,
    playbook: Any,
    tell: Tell,
) -> None:
    """Verify says how few days are left; `site` with the next certificate, and one server after the other, costs no request."""
    with brought(site, days=5):
        done = playbook("site", "--tags", "prepare,edge")
        assert done.returncode == 0, done.stdout[-3000:]
        soon = site_certificate.served(edge)
        assert site_certificate.days_left(soon) <= 5
        done = playbook("verify")
        assert "VERIFY_CERTIFICATE_DAYS" in done.stdout, done.stdout[-3000:]
    before = {name: slots(name)[0] for name in SERVERS}
    with Writer(edge, pause=0.2) as writer:
        writer.wait_for(40)
        done = playbook("site", "-e", '{"mlflow_server_auth_cache_seconds": 6}')
        assert done.returncode == 0, done.stdout[-3000:]
        writer.wait_for(40)
    outcome = tell("certificate renewed and both servers switched by site", writer)
    assert outcome.failures == ()
    after = {name: slots(name)[0] for name in SERVERS}
    assert all({before[name], after[name]} == {"a", "b"} for name in SERVERS), (before, after)
    first, second = (times(hosts[name], f"mlflow-server@{after[name]}") for name in SERVERS)
    assert first[1] < second[0], "the second began before the first was ready"
    now = site_certificate.served(edge)
    assert now != soon
    assert site_certificate.days_left(now) > 30
    assert "VERIFY_CERTIFICATE_DAYS" not in playbook("verify").stdout


def test_the_disk_of_uploads_is_full(
    hosts: Mapping[str, Any],
    edge: checks.Edge,
    tell: Tell,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Runs are logged as before; an upload through that server is refused, one through the other is stored."""

    def uploads(count: int) -> list[int]:
        paths = [f"/api/2.0/mlflow-artifacts/artifacts/full/{number}.bin" for number in range(count)]
        return [edge.ask("PUT", path, login=True, body="x" * 300_000).status for path in paths]

    with Writer(edge) as writer:
        with checks.full(hosts["alt-a"], "/srv/uploads"):
            writer.wait_for(60)
            meanwhile = uploads(8)
        afterwards = uploads(8)
        writer.wait_for(20)
    outcome = tell("disk of a server full", writer)
    with capsys.disabled():
        print(f"uploads meanwhile: {meanwhile}, afterwards: {afterwards}")
    assert outcome.failures == ()
    assert set(meanwhile) == {200, 500}
    assert set(afterwards) == {200}


def test_the_disk_of_the_database_is_full(hosts: Mapping[str, Any], edge: checks.Edge, tell: Tell) -> None:
    """Writes are refused, none that was acknowledged is lost, and it goes on by itself when there is room."""
    with Writer(edge) as writer:
        writer.wait_for(40)
        with checks.full(hosts["alt-db"], "/srv/postgresql"):
            writer.wait_for(8, failed=True, seconds=300)
        room = writer.wait_for(60, seconds=180)
    outcome = tell(f"disk of the database full (60 requests {room:.1f} s after there was room)", writer)
    assert all("status 5" in one.said for one in outcome.failures), outcome
