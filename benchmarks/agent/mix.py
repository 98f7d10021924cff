"""The load mix: 21 requests of one training run, as MLflow's own client would send them, and what else is asked of a server.

Pure: who sends these requests, and how fast, is decided in load.py.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

API = "/api/2.0/mlflow"
STEPS_A_BATCH = 10
KEYS = [f"m{number}" for number in range(10)]
PARAMS = [f"p{number}" for number in range(20)]

Answer = dict[str, Any]
# A cycle gives a request and takes the answer to it: what follows may need an id from it.
Cycle = Generator["Request", Answer, None]


@dataclass(frozen=True)
class Request:
    """One call of the REST API; `name` is what latencies are grouped by."""

    name: str
    method: str
    path: str
    body: dict[str, Any] | None = None


def get(name: str, path: str, /, **query: str | int) -> Request:
    """A call that reads, with its query."""
    return Request(name, "GET", f"{API}/{path}?{urlencode(query)}" if query else f"{API}/{path}")


def post(name: str, path: str, /, **body: Any) -> Request:
    """A call with a JSON body."""
    return Request(name, "POST", f"{API}/{path}", body)


def metrics(numbers: random.Random, first_step: int) -> list[dict[str, Any]]:
    """100 points: 10 keys, 10 steps."""
    return [
        {"key": key, "value": numbers.random(), "timestamp": 1_700_000_000_000 + step, "step": step}
        for step in range(first_step, first_step + STEPS_A_BATCH)
        for key in KEYS
    ]


def tags(numbers: random.Random, prefix: str) -> list[dict[str, str]]:
    """Five tags with one of five values each."""
    return [{"key": f"{prefix}{number}", "value": f"y{numbers.randrange(5)}"} for number in range(5)]


def params(numbers: random.Random) -> list[dict[str, str]]:
    """Twenty params with one of five values each."""
    return [{"key": key, "value": f"x{numbers.randrange(5)}"} for key in PARAMS]


def search(experiment: str, condition: str, order: str) -> Request:
    """Runs of one experiment, twenty at most."""
    return post(
        "runs/search",
        "runs/search",
        experiment_ids=[experiment],
        filter=condition,
        order_by=[order] if order else [],
        max_results=20,
    )


def cycle(experiment: str, numbers: random.Random) -> Cycle:
    """One run from its beginning to its end: 1 + 1 + 8 + 1 + 2 + 3 + 3 + 1 + 1 = 21 requests."""
    first_tags = [{"key": f"t{number}", "value": f"v{numbers.randrange(10)}"} for number in range(3)]
    answer = yield post(
        "runs/create", "runs/create", experiment_id=experiment, start_time=1_700_000_000_000, tags=first_tags
    )
    run = str(answer["run"]["info"]["run_id"])
    yield post(
        "runs/log-batch",
        "runs/log-batch",
        run_id=run,
        metrics=metrics(numbers, 0),
        params=params(numbers),
        tags=tags(numbers, "u"),
    )
    for step in range(8):
        yield post(
            "runs/log-metric",
            "runs/log-metric",
            run_id=run,
            key="m0",
            value=numbers.random(),
            timestamp=1_700_000_001_000 + step,
            step=100 + step,
        )
    yield post(
        "runs/log-batch",
        "runs/log-batch",
        run_id=run,
        metrics=metrics(numbers, STEPS_A_BATCH),
        tags=tags(numbers, "w"),
    )
    for _again in range(2):
        yield get("runs/get", "runs/get", run_id=run)
    yield search(experiment, "params.p0='x1'", "metrics.m0 DESC")
    yield search(experiment, "metrics.m1>0.5", "start_time DESC")
    yield search(experiment, "tags.t0='v3' and status='RUNNING'", "")
    for key in KEYS[:3]:
        yield get("metrics/get-history", "metrics/get-history", run_id=run, metric_key=key)
    yield post("runs/update", "runs/update", run_id=run, status="FINISHED", end_time=1_700_000_002_000)
    yield get("experiments/get", "experiments/get", experiment_id=experiment)


def reads(experiment: str, count: int) -> Cycle:
    """Small reads, one after the other."""
    for _again in range(count):
        yield get("experiments/get", "experiments/get", experiment_id=experiment)


def burst(run: str, numbers: random.Random, count: int) -> Cycle:
    """`count` times twenty params in one call, under new names: what opens a second connection to the database."""
    for _again in range(count):
        unique = f"{numbers.getrandbits(64):016x}"
        yield post(
            "runs/log-batch",
            "runs/log-batch",
            run_id=run,
            params=[{"key": f"{unique}-{number}", "value": "x"} for number in range(20)],
        )


def queries(big: str, small: str, since: int) -> dict[str, Request]:
    """What a user of the UI asks of 100,000 runs; `since` is the start time of the middle one in ms."""

    def ask(name: str, experiment: str, condition: str = "", order: str = "start_time DESC") -> Request:
        return post(
            name,
            "runs/search",
            experiment_ids=[experiment],
            filter=condition,
            order_by=[order],
            max_results=50,
        )

    return {
        "metric filter, few hits": ask("metric", big, "metrics.m0 > 0.999"),
        "metric filter, many hits": ask("metric", big, "metrics.m0 > 0.1"),
        "param filter": ask("param", big, "params.p0 = 'x777'"),
        "tag filter": ask("tag", big, "tags.t0 = 'v77'"),
        "infix name search": ask("infix", big, "attributes.run_name ILIKE '%7777%'"),
        "prefix name search": ask("prefix", big, "attributes.run_name LIKE 'run-777%'"),
        "list, large experiment": ask("list", big),
        "list, small experiment": ask("list", small),
        "order by metric": ask("order", big, order="metrics.m0 DESC"),
        "since a time": ask("since", big, f"attributes.start_time > {since}"),
        "status and user": ask("status", big, "attributes.status = 'FINISHED' and attributes.user_id = 'u7'"),
    }
