"""A client that writes through the public address while something is changed or broken, and counts what it sees.

Every request is sent once: no retries that would hide a failure. What was acknowledged can be compared with the rows in the
database afterwards, so that a lost write is found:

    with Writer(edge) as writer:
        writer.wait_for(50)          # it runs
        ...                          # break or change something
        writer.wait_for(50)          # it runs again
    print(writer.outcome)
    assert writer.outcome.lost(database_host, "mlflow") == []
"""

from __future__ import annotations

import http.client
import json
import select
import threading
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ansible_collections.mlops.mlflow.molecule.shared import checks

METRIC = "written"


@dataclass(frozen=True)
class Failure:
    """A request that was not acknowledged: when it was sent (seconds after the start), what it was, what came back, after how long."""

    at: float
    request: str
    said: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a writer saw. A run is acknowledged by an answer with its id, a batch by an answer with status 200."""

    experiment: str
    requests: int
    failures: tuple[Failure, ...]
    runs: tuple[str, ...]
    batches: tuple[tuple[str, int], ...]
    slowest: float
    seconds: float

    @property
    def failed(self) -> int:
        """Requests that were not acknowledged."""
        return len(self.failures)

    @property
    def outage(self) -> float:
        """Seconds from the first failed request that was sent to the end of the last one; 0 without a failure."""
        if not self.failures:
            return 0.0
        return max(one.at + one.seconds for one in self.failures) - min(one.at for one in self.failures)

    def lost(self, host: Any, database: str) -> list[str]:
        """Acknowledged runs and batches that are not in the database of that host: must be empty, whatever happened."""
        of = f"experiment_id = {int(self.experiment)}"
        runs = set(checks.query(host, database, f"SELECT run_uuid FROM runs WHERE {of}"))
        text = (
            f"SELECT m.run_uuid, m.step FROM metrics m JOIN runs r USING (run_uuid) WHERE r.{of} AND m.key = '{METRIC}'"
        )
        batches = set(checks.query(host, database, text))
        return [run for run in self.runs if run not in runs] + [
            f"{run}|{step}" for run, step in self.batches if f"{run}|{step}" not in batches
        ]

    def __str__(self) -> str:
        said = Counter(one.said for one in self.failures)
        reasons = "; ".join(f"{count} x {what}" for what, count in said.most_common(6))
        return (
            f"{self.requests} requests in {self.seconds:.0f} s, {self.failed} failed, {len(self.runs)} runs and "
            f"{len(self.batches)} batches acknowledged, slowest answer {self.slowest:.1f} s"
            + (f", failures within {self.outage:.1f} s ({reasons})" if self.failures else "")
        )


class Writer:
    """Writes from several threads until it is left: a run, then batches of one metric, then the next run.

    Args:
        edge: The public address and a login that may write.
        threads: Writers at the same time.
        pause: Seconds between two requests of a thread.
        timeout: Seconds after which a request without an answer counts as failed.
        batches: Batches a run gets.
        name: Beginning of the experiment's name; a time is added.
    """

    def __init__(
        self,
        edge: checks.Edge,
        *,
        threads: int = 4,
        pause: float = 0.03,
        timeout: float = 30,
        batches: int = 10,
        name: str = "writer",
    ) -> None:
        self._edge = edge
        self._pause = pause
        self._timeout = timeout
        self._batches = batches
        self._name = f"{name}-{time.time_ns()}"
        self._login = "Basic " + b64encode(f"{edge.username}:{edge.password}".encode()).decode()
        self._context = edge.context()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(threads)]
        self._start = self._end = 0.0
        self._requests = 0
        self._slowest = 0.0
        self._failures: list[Failure] = []
        self._runs: list[str] = []
        self._acknowledged: list[tuple[str, int]] = []
        self.experiment = ""

    def __enter__(self) -> Writer:
        answer = self._ask(self._connection(), "experiments/create", {"name": self._name})
        self.experiment = str(answer["experiment_id"])
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=self._timeout + 30)
        self._end = time.monotonic()
        if error is None:
            assert not [thread for thread in self._threads if thread.is_alive()], "a writing thread did not end"

    @property
    def outcome(self) -> Outcome:
        """What was seen so far."""
        with self._lock:
            return Outcome(
                experiment=self.experiment,
                requests=self._requests,
                failures=tuple(self._failures),
                runs=tuple(self._runs),
                batches=tuple(self._acknowledged),
                slowest=self._slowest,
                seconds=(self._end or time.monotonic()) - self._start,
            )

    def wait_for(self, count: int, *, failed: bool = False, seconds: float = 120) -> float:
        """Wait until `count` more requests have been acknowledged (or have failed); returns how many seconds that took."""

        def seen() -> int:
            with self._lock:
                return len(self._failures) if failed else self._requests - len(self._failures)

        start, before = time.monotonic(), seen()
        while seen() < before + count:
            waited = time.monotonic() - start
            kind = "failed" if failed else "acknowledged"
            assert waited < seconds, (
                f"{seen() - before} of {count} requests {kind} after {seconds:.0f} s: {self.outcome}"
            )
            time.sleep(0.05)
        return time.monotonic() - start

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._edge.name, self._edge.port, timeout=self._timeout, context=self._context
        )

    def _ask(self, connection: http.client.HTTPSConnection, path: str, body: dict[str, Any]) -> dict[str, Any]:
        # As urllib3 does it: a connection that the other side has closed meanwhile is not used again.
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        headers = {"Authorization": self._login, "Content-Type": "application/json"}
        connection.request("POST", f"/api/2.0/mlflow/{path}", body=json.dumps(body), headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{path}: status {answer.status}")
        return dict(json.loads(content))

    def _once(self, connection: http.client.HTTPSConnection, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """One request, counted; None if it was not acknowledged."""
        sent = time.monotonic()
        answer, said = None, ""
        try:
            answer = self._ask(connection, path, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = str(error) if "status" in str(error) else f"{path}: {type(error).__name__}"
            connection.close()
        seconds = time.monotonic() - sent
        with self._lock:
            self._requests += 1
            self._slowest = max(self._slowest, seconds)
            if answer is None:
                self._failures.append(Failure(sent - self._start, path, said, seconds))
        self._stop.wait(self._pause)
        return answer

    def _work(self, number: int) -> None:
        connection = self._connection()
        while not self._stop.is_set():
            now = int(time.time() * 1000)
            made = self._once(connection, "runs/create", {"experiment_id": self.experiment, "start_time": now})
            if made is None:
                continue
            run = str(made["run"]["info"]["run_id"])
            with self._lock:
                self._runs.append(run)
            for step in range(self._batches):
                if self._stop.is_set():
                    break
                metric = {"key": METRIC, "value": number, "timestamp": now, "step": step}
                if self._once(connection, "runs/log-batch", {"run_id": run, "metrics": [metric]}) is not None:
                    with self._lock:
                        self._acknowledged.append((run, step))
        connection.close()
