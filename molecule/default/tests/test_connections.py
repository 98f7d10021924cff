"""Connections are arithmetic: under load nearly all that were computed beforehand are open, never more, and nobody waits in vain."""

from __future__ import annotations

import http.client
import json
import secrets as random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks
from ansible_collections.mlops.mlflow.molecule.shared.writer import Writer
from ansible_collections.mlops.mlflow.plugins.module_utils._sizing import ServerPlan, server_plan

CALLERS = 48
USERS = 2
SECONDS = 120
# Every few milliseconds, from inside PostgreSQL: who is logged in as a server, in which database.
SAMPLES = """
CREATE TEMP TABLE seen (sample int, datname name, logins int);
DO $$
DECLARE
  number int := 0;
  until timestamptz := clock_timestamp() + interval '4 s';
BEGIN
  WHILE clock_timestamp() < until LOOP
    PERFORM pg_stat_clear_snapshot();
    INSERT INTO seen SELECT number, datname, count(*) FROM pg_stat_activity WHERE usename LIKE 'mlflow\\_server\\__' GROUP BY datname;
    number := number + 1;
    PERFORM pg_sleep(0.003);
  END LOOP;
END $$;
SELECT json_build_object(
  'samples', (SELECT count(DISTINCT sample) FROM seen),
  'peak', (SELECT max(total) FROM (SELECT sum(logins) AS total FROM seen GROUP BY sample) AS t),
  'databases', (SELECT json_object_agg(datname, most) FROM (SELECT datname, max(logins) AS most FROM seen GROUP BY datname) AS d));
"""


def plan(host: Any) -> ServerPlan:
    """What the collection computed for the server that runs, from the numbers that the host tells about it."""
    fact = json.loads(host.file("/etc/ansible/facts.d/mlflow_server.fact").content_string)
    stores = 2 + (fact["auth"] == "basic")
    return server_plan(
        cpus=1, memory_mb=4096, stores=stores, threads=int(fact["threads"]), workers=int(fact["workers"])
    )


@pytest.fixture
def users(edge: checks.Edge) -> Iterator[list[checks.Edge]]:
    """Logins that are no administrators: each of their requests asks the database of users what they may do."""
    made = [replace(edge, username=f"caller{number}", password=random.token_urlsafe(16)) for number in range(USERS)]
    for user in made:
        body = json.dumps({"username": user.username, "password": user.password})
        answer = edge.ask("POST", "/api/2.0/mlflow/users/create", login=True, body=body, headers=checks.JSON)
        assert answer.status == 200, answer.body[:300]
    yield made
    for user in made:
        body = json.dumps({"username": user.username})
        assert (
            edge.ask("DELETE", "/api/2.0/mlflow/users/delete", login=True, body=body, headers=checks.JSON).status == 200
        )


class Watch:
    """The most connections seen so far: all together, and in each database."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.samples = self.peak = 0
        self.databases: Counter[str] = Counter()

    def until(self, enough: Callable[[], bool]) -> None:
        """Look for some seconds at a time until that holds, or for too long."""
        start = time.monotonic()
        while not enough() and time.monotonic() - start < SECONDS:
            said = checks.run_with_input(self.host, ["runuser", "-u", "postgres", "--", "psql", "-XqAt"], SAMPLES)
            seen = json.loads(said)
            self.samples += seen["samples"]
            self.peak = max(self.peak, seen["peak"])
            self.databases |= Counter(seen["databases"])


def test_the_computed_connections_are_used_and_suffice(host: Any, users: list[checks.Edge]) -> None:
    """48 callers log batches, none of them an administrator, and as many ask the registry until every pool is full.

    Then only batches are logged: each holds a connection and asks for a second one, so that pools overflow by the one they may.
    """
    computed = plan(host)
    full = computed["workers"] * computed["pool_size"]
    over = threading.Event()

    def ask_the_registry(user: checks.Edge) -> set[int]:
        """The statuses of the answers, until the pools are full."""
        path, statuses = "/api/2.0/mlflow/registered-models/search?max_results=5", set()
        with closing(
            http.client.HTTPSConnection(user.name, user.port, timeout=SECONDS, context=user.context())
        ) as connection:
            while not over.is_set():
                connection.request("GET", path, headers={"Authorization": user.authorization})
                answer = connection.getresponse()
                answer.read()
                statuses.add(answer.status)
        return statuses

    watch = Watch(host)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(Writer(user, threads=CALLERS // USERS, pause=0, timeout=SECONDS)) for user in users
        ]
        pool = stack.enter_context(ThreadPoolExecutor(CALLERS))
        stack.callback(over.set)
        readers = [pool.submit(ask_the_registry, user) for user in users * (CALLERS // USERS)]
        # Tracking and registry live in one database, users and permissions in the other.
        watch.until(lambda: watch.databases["mlflow"] >= 2 * full and watch.databases["mlflow_auth"] >= full)
        over.set()
        watch.until(
            lambda: (
                watch.peak >= 0.8 * computed["connections_running"]
                and sum(len(writer.outcome.batches) for writer in writers) >= 2 * CALLERS
            )
        )
    outcomes = [writer.outcome for writer in writers]
    print(
        f"{watch.peak} of {computed['connections_running']} connections ({dict(watch.databases)}) in {watch.samples} samples"
    )
    print("; ".join(map(str, outcomes)))
    assert [str(outcome) for outcome in outcomes if outcome.failed] == []
    assert [lost for outcome in outcomes for lost in outcome.lost(host, "mlflow")] == []
    assert sum(len(outcome.batches) for outcome in outcomes) >= 2 * CALLERS
    assert {status for reader in readers for status in reader.result()} == {200}
    assert 0.8 * computed["connections_running"] <= watch.peak <= computed["connections_running"]
    assert set(watch.databases) == {"mlflow", "mlflow_auth"}
