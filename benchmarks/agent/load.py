"""Sends cycles of requests with a number of clients at once and says how long each request took."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import mix
from .client import Connection, Target

# An answer that takes longer counts as an error: nobody waits for it.
PATIENCE_SECONDS = 60.0


@dataclass
class Sample:
    """What a load saw. Times in seconds."""

    requests: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    errors: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """As JSON: the latencies as quantiles, the errors counted."""
        return {
            "requests": self.requests,
            "seconds": self.seconds,
            "rps": self.requests / self.seconds if self.seconds else 0.0,
            "client_cpu": self.client_cpu,
            "errors": len(self.errors),
            "error": self.errors[0] if self.errors else "",
            "p50": quantile(self.latencies, 0.5),
            "p95": quantile(self.latencies, 0.95),
            "max": max(self.latencies, default=0.0),
        }


def quantile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def follow(connection: Connection, cycle: mix.Cycle, sample: Sample) -> None:
    """One cycle to its end; an error ends it, since what follows would need its answer."""
    request = next(cycle)
    while True:
        start = time.perf_counter()
        try:
            status, body = await asyncio.wait_for(
                connection.ask(request.method, request.path, request.body), PATIENCE_SECONDS
            )
        except (OSError, EOFError, TimeoutError) as error:
            status, body = 0, repr(error).encode()
            await connection.close()
        sample.latencies.append(time.perf_counter() - start)
        sample.requests += 1
        if status != 200:
            sample.errors.append(f"{request.name}: {status} {body[:200].decode(errors='replace')}")
            return
        try:
            request = cycle.send(json.loads(body))
        except StopIteration:
            return


def nothing() -> None:
    """What happens when a load begins, if nobody has to know."""


async def run(target: Target, cycles: list[mix.Cycle], concurrency: int, begin: Callable[[], None] = nothing) -> Sample:
    """All cycles, `concurrency` of them at a time, each client on a connection of its own; `begin` is called before the first."""
    sample = Sample()
    waiting = iter(cycles)
    connections = [Connection(target) for _client in range(concurrency)]
    await asyncio.gather(*(connection.open() for connection in connections))

    async def client(connection: Connection) -> None:
        for cycle in waiting:
            await follow(connection, cycle, sample)

    begin()
    cpu, start = own_cpu(), time.perf_counter()
    await asyncio.gather(*(client(connection) for connection in connections))
    sample.seconds, sample.client_cpu = time.perf_counter() - start, own_cpu() - cpu
    for connection in connections:
        await connection.close()
    return sample


def own_cpu() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def call(target: Target, request: mix.Request) -> dict[str, Any]:
    """One request that has to succeed."""
    connection = Connection(target)
    status, body = await asyncio.wait_for(connection.ask(request.method, request.path, request.body), PATIENCE_SECONDS)
    await connection.close()
    if status != 200:
        raise RuntimeError(f"{target.url}: {request.name} answers {status}: {body[:300]!r}")
    answer: dict[str, Any] = json.loads(body)
    return answer


async def experiment(target: Target) -> str:
    """A fresh experiment: what other measurements left does not count."""
    name = f"bench-{random.SystemRandom().getrandbits(48):x}"
    answer = await call(target, mix.post("experiments/create", "experiments/create", name=name))
    return str(answer["experiment_id"])


async def measure_mix(
    target: Target, begin: Callable[[], None], *, cycles: int, concurrency: int, warmup: int, seed: int
) -> Sample:
    """The load mix, after a warm-up that is not counted."""
    numbers = random.Random(seed)
    place = await experiment(target)
    await run(target, [mix.cycle(place, numbers) for _run in range(warmup)], concurrency)
    place = await experiment(target)
    return await run(target, [mix.cycle(place, numbers) for _run in range(cycles)], concurrency, begin)


async def measure_reads(target: Target, begin: Callable[[], None], *, requests: int, concurrency: int) -> Sample:
    """Small reads."""
    place = await experiment(target)
    share = max(1, requests // concurrency)
    await run(target, [mix.reads(place, 1) for _client in range(concurrency)], concurrency)
    return await run(target, [mix.reads(place, share) for _client in range(concurrency)], concurrency, begin)


async def measure_burst(target: Target, begin: Callable[[], None], *, clients: int, calls: int, seed: int) -> Sample:
    """Many calls at once that need two connections to the database each; every client writes to a run of its own."""
    numbers = random.Random(seed)
    place = await experiment(target)
    cycles = []
    for _client in range(clients):
        made = await call(target, mix.post("runs/create", "runs/create", experiment_id=place))
        cycles.append(mix.burst(str(made["run"]["info"]["run_id"]), numbers, calls))
    return await run(target, cycles, clients, begin)


async def measure_queries(target: Target, *, big: str, small: str, since: int, calls: int) -> dict[str, list[float]]:
    """Seconds of each call of each search, after one that is not counted."""
    seconds: dict[str, list[float]] = {}
    connection = Connection(target)
    for name, request in mix.queries(big, small, since).items():
        taken = []
        for _again in range(calls + 1):
            start = time.perf_counter()
            status, body = await connection.ask(request.method, request.path, request.body)
            taken.append(time.perf_counter() - start)
            if status != 200:
                raise RuntimeError(f"{name}: {status} {body[:300]!r}")
        seconds[name] = taken[1:]
    await connection.close()
    return seconds


async def wait_until_answered(target: Target, path: str, seconds: float) -> float:
    """How long it took until the path answered 200. TimeoutError after `seconds`."""
    start = time.perf_counter()
    connection = Connection(target)
    while time.perf_counter() - start < seconds:
        try:
            status, _body = await asyncio.wait_for(connection.ask("GET", path), 10)
            if status == 200:
                await connection.close()
                return time.perf_counter() - start
        except (OSError, EOFError, TimeoutError):
            pass
        await connection.close()
        await asyncio.sleep(0.05)
    raise TimeoutError(f"{target.url}{path} did not answer within {seconds:.0f} s")


LOADS: dict[str, Callable[..., Coroutine[Any, Any, Sample]]] = {
    "mix": measure_mix,
    "reads": measure_reads,
    "burst": measure_burst,
}


def perform(
    target: dict[str, str], kind: str, options: dict[str, Any], begin: Callable[[], None] = nothing
) -> dict[str, Any]:
    """One load by its name; `begin` is called when what counts begins."""
    return asyncio.run(LOADS[kind](Target(**target), begin, **options)).summary()
