"""The README's table "Day two": each change is made on a running installation, with `site`, while a client writes.

A round changes several variables whose effects do not touch each other, so that one run proves them all: what restarts and how
often is counted from systemd's own journal, what clients notice by a writer that never retries. Before each round --check says
what will happen, and has to be right about every task.
"""

from __future__ import annotations

import json
import os
import secrets as random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks, plays
from ansible_collections.mlops.mlflow.molecule.shared.writer import Outcome, Writer

API = "/api/2.0/mlflow"
OTHER_DOMAIN = "tracking.changes.test"
OTHER_PORT = 8443
# systemd's own words about the units that serve, without those that only probe.
UNITS = ("nginx.service", "postgresql@17-main.service", "mlflow-server@a.service", "mlflow-server@b.service")


@dataclass
class Site:
    """The installation, and all that was changed so far: what an operator would have in the inventory by then."""

    host: Any
    folder: Path
    changed: dict[str, Any] = field(default_factory=dict)

    def play(self, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[plays.Task, list[str]]]:
        """Run `site` with the changes; the finished process and what it said about each task."""
        given = self.folder / "changes.json"
        given.touch(mode=0o600)
        given.write_text(json.dumps(self.changed), encoding="utf-8")
        said = self.folder / f"plays-{time.time_ns()}"
        inventory = os.environ["MOLECULE_SCENARIO_DIRECTORY"] + "/inventory"
        command = ["ansible-playbook", "-i", inventory, "mlops.mlflow.site", "-e", f"@{given}", *arguments]
        environment = {**os.environ, "JUNIT_OUTPUT_DIR": str(said)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=1800, check=False, cwd=checks.REPOSITORY
        )
        (written,) = said.glob("site-*.xml")
        return done, plays.read(written)

    def jobs(self, since: str) -> dict[str, int]:
        """What systemd did with the units that serve after that cursor of the journal: `reload nginx.service`, how often."""
        command = "journalctl --quiet --no-pager --after-cursor=%s --output=json --output-fields=UNIT,JOB_TYPE,JOB_RESULT _PID=1"
        lines = [json.loads(line) for line in self.host.check_output(command, since).splitlines()]
        jobs = Counter(
            f"{line['JOB_TYPE']} {line['UNIT']}"
            for line in lines
            if line.get("UNIT") in UNITS and line.get("JOB_RESULT") == "done"
        )
        return dict(jobs)

    def cursor(self) -> str:
        """Where the journal ends now."""
        return str(json.loads(self.host.check_output("journalctl --lines=1 --output=json"))["__CURSOR"])

    def environment(self) -> dict[str, str]:
        """With which environment the slot that serves runs."""
        (slot,) = checks.live_slots(self.host)
        process = self.host.check_output("systemctl show --value --property=MainPID %s", f"mlflow-server@{slot}")
        lines = self.host.file(f"/proc/{process}/environ").content_string.split("\0")
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def query(self, text: str) -> list[str]:
        """Rows of a query in MLflow's database."""
        return checks.query(self.host, "mlflow", text)


@dataclass(frozen=True)
class Round:
    """What came of a change: what systemd did, what the writer saw."""

    jobs: dict[str, int]
    outcome: Outcome
    slots: tuple[str, str]


def ask(edge: checks.Edge, method: str, path: str, **body: str) -> checks.Answer:
    """One call of the API."""
    return edge.ask(method, f"{API}/{path}", login=True, body=json.dumps(body) if body else "", headers=checks.JSON)


@pytest.fixture(scope="module")
def site(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The installation as converge left it."""
    return Site(host, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def user(edge: checks.Edge) -> checks.Edge:
    """Somebody who writes and is no administrator."""
    someone = replace(edge, username="writer", password=random.token_urlsafe(16))
    answer = ask(edge, "POST", "users/create", username=someone.username, password=someone.password)
    assert answer.status == 200, answer.body[:300]
    return someone


@pytest.fixture
def change(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., Round]:
    """Changes variables under a writing client, and compares what --check said with what then happened."""

    def make(writing: checks.Edge, **variables: Any) -> Round:
        site.changed.update(variables)
        check, said = site.play("--check", "--diff")
        assert check.returncode == 0, check.stdout[-3000:]
        (before,) = checks.live_slots(site.host)
        cursor = site.cursor()
        # As long as MLflow's client waits.
        with Writer(writing, threads=3, pause=0.2, timeout=120) as writer:
            writer.wait_for(20)
            converge, done = site.play()
            assert converge.returncode == 0, converge.stdout[-3000:]
        jobs = site.jobs(cursor)
        (after,) = checks.live_slots(site.host)
        assert writer.outcome.lost(site.host, "mlflow") == []
        expected = plays.allowed("every")
        found = [str(one) for one in plays.differences(said, done) if not any(entry.covers(one) for entry in expected)]
        assert found == [], "check mode was wrong"
        with capsys.disabled():
            print(f"\n{', '.join(variables)}: {jobs}, slot {before} -> {after}; {writer.outcome}")
        return Round(jobs, writer.outcome, (before, after))

    return make


def switched(round_: Round) -> dict[str, int]:
    """The jobs of exactly one switch: the other slot starts, then the one that served stops."""
    before, after = round_.slots
    assert {before, after} == {"a", "b"}
    return {f"start mlflow-server@{after}.service": 1, f"stop mlflow-server@{before}.service": 1}


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "mlflow_version",
            "3.16.1",
            "[VERSION_CHANGE] {host}: mlflow_version=3.16.1, but this host runs MLflow 3.17.2.",
        ),
        (
            "mlflow_artifact_uri",
            "/srv/elsewhere",
            "[SERVER_ARTIFACTS] {host}: mlflow_artifact_uri=/srv/elsewhere, but this host keeps artifacts at /srv/mlflow/artifacts,",
        ),
    ],
)
def test_what_would_lose_something_is_refused(
    site: Site, variables: dict[str, Any], variable: str, value: str, sentence: str
) -> None:
    """Another version, another place for artifacts: refused before anything is touched."""
    cursor = site.cursor()
    done, said = Site(site.host, site.folder, {variable: value}).play()
    assert done.returncode != 0
    told = " ".join(done.stdout.split())
    assert sentence.format(host=variables["inventory_hostname"]) in told
    assert "Nothing was changed." in told
    assert [task.name for task, statuses in said.items() if statuses[0] == "changed"] == []
    assert site.jobs(cursor) == {}


def test_settings_of_the_server_cost_one_switch(site: Site, user: checks.Edge, change: Any) -> None:
    """Environment, log level, cache, key and the second login: one switch takes all of them into service, no request fails.

    The certificate is renewed beside it: that is nginx's, which reloads.
    """
    before = site.host.file("/etc/mlflow/tls/edge.pem").content_string
    key = random.token_hex(32)
    round_ = change(
        user,
        mlflow_server_extra_env={"MLFLOW_LOGGING_LEVEL": "WARNING"},
        mlflow_server_auth_cache_seconds=5,
        mlflow_flask_secret_key=key,
        mlflow_database_login_slot="b",
        mlflow_certificates_validity_days=398,
        mlflow_certificates_renew_before_days=397,
    )
    assert round_.jobs == {**switched(round_), "reload nginx.service": 1}
    assert round_.outcome.failed == 0, str(round_.outcome)
    running = site.environment()
    assert running["MLFLOW_LOGGING_LEVEL"] == "WARNING"
    assert running["MLFLOW_FLASK_SERVER_SECRET_KEY"] == key
    logins = site.query("SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'mlflow\\_server\\__'")
    assert logins == ["mlflow_server_b"]
    assert site.host.file("/etc/mlflow/tls/edge.pem").content_string != before


def test_what_needs_no_restart_gets_none(
    site: Site, edge: checks.Edge, user: checks.Edge, change: Any, variables: dict[str, Any]
) -> None:
    """Passwords, names of the certificate, limits of the edge, settings that PostgreSQL rereads: reloads, and no failed request."""
    password = random.token_urlsafe(24)
    renewed = random.token_urlsafe(24)
    round_ = change(
        user,
        mlflow_admin_password=password,
        # The servers use b's since the last round.
        mlflow_database_server_a_password=renewed,
        mlflow_certificates_renew_before_days=30,
        mlflow_certificates_extra_names=["mlflow.example.net"],
        mlflow_edge_login_failures=7,
        mlflow_edge_client_timeout=200,
        mlflow_database_slow_statement_ms=750,
        mlflow_database_extra_settings={"work_mem": "5MB"},
    )
    assert round_.jobs == {"reload nginx.service": 1, "reload postgresql@17-main.service": 1}
    assert round_.outcome.failed == 0, str(round_.outcome)
    assert ask(replace(edge, password=password), "GET", "experiments/search?max_results=1").status == 200
    old = str(variables["mlflow_database_server_a_password"])
    assert checks.as_login(site.host, "mlflow_server_a", renewed, "mlflow", "SELECT 1").stdout == "1\n"
    assert checks.as_login(site.host, "mlflow_server_a", old, "mlflow", "SELECT 1").returncode != 0
    assert site.query("SHOW work_mem") == ["5MB"]
    assert site.query("SHOW log_min_duration_statement") == ["750ms"]
    # mlflow_server_auth_cache_seconds is 5 since the last round: after that the old password is one.
    deadline = time.monotonic() + 60
    while ask(edge, "GET", "experiments/search?max_results=1").status != 401:
        assert time.monotonic() < deadline, "the old password still works"
        time.sleep(1)


def test_a_bigger_postgresql_restarts_once(site: Site, user: checks.Edge, change: Any) -> None:
    """Threads ask for more connections, and memory for other buffers: one restart of PostgreSQL, one switch; failures are counted."""
    round_ = change(
        user,
        mlflow_server_workers=1,
        mlflow_server_threads=24,
        mlflow_database_memory_mb=2048,
        mlflow_database_extra_settings={"work_mem": "5MB", "max_locks_per_transaction": 80},
    )
    restarted = {
        "reload postgresql@17-main.service": 1,
        "restart postgresql@17-main.service": 1,
    }
    assert {job: count for job, count in round_.jobs.items() if not job.startswith("start postgresql@")} == {
        **switched(round_),
        **restarted,
    }
    assert site.query("SHOW max_locks_per_transaction") == ["80"]
    assert site.query("SHOW shared_buffers") == ["512MB"]
    assert int(site.query("SHOW max_connections")[0]) > 100
    running = site.environment()
    assert (running["MLFLOW_WORKERS"], running["MLOPS_SERVER_THREADS"]) == ("1", "24")
    with Writer(user) as writer:
        writer.wait_for(50)
    assert writer.outcome.failed == 0, str(writer.outcome)


def test_domain_and_port_move(user: checks.Edge, change: Any) -> None:
    """A new certificate, one reload, one switch. Until then the old address works, afterwards the new one; nothing acknowledged is lost."""
    round_ = change(user, mlflow_domain=OTHER_DOMAIN, mlflow_https_port=OTHER_PORT)
    assert round_.jobs == {**switched(round_), "reload nginx.service": 1}
    moved = replace(user, name=OTHER_DOMAIN, port=OTHER_PORT)
    with Writer(moved) as writer:
        writer.wait_for(50)
    assert writer.outcome.failed == 0, str(writer.outcome)
    with pytest.raises(OSError, match="refused"):
        ask(user, "GET", "experiments/search?max_results=1")
