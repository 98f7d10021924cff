# Copyright (c) the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How big PostgreSQL, the pools and the number of workers should be. Pure functions: no host, no clock, no Ansible.

Section numbers of the PostgreSQL manual are those of version 15; in 17 chapter 20 is chapter 19.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

Setting: TypeAlias = "int | float | str"
Disk = Literal["ssd", "hdd", "network"]

DISKS: tuple[Disk, ...] = ("ssd", "hdd", "network")

# Resident memory of one worker under load, its share of the parents included: 826 MB with two workers
# (measured, docs/explanation: "The whole concept compared").
WORKER_MB = 410
# Slots share three quarters of what the server may use; the rest is page cache and artifacts in flight.
SERVER_MEMORY_SHARE = 0.75
# Two workers on two CPUs gave 1.35 of one, four gave no more (measured, docs/explanation: "Server knobs"):
# one worker a CPU. Beyond 16 the database is the limit, so more is a decision and no default.
MOST_WORKERS = 16
# superuser_reserved_connections, PostgreSQL's default: part of max_connections that no MLflow login gets.
SUPERUSER_RESERVED = 3
# Connections for people, backup, exporters, the migration step and checks.
DEFAULT_RESERVE = 20
# PostgreSQL's own default, and a floor of ours: max_connections needs a restart, so small growth should not change it.
LEAST_MAX_CONNECTIONS = 100
LEAST_MEMORY_MB = 256


class ServerPlan(TypedDict):
    """What one node runs, and what it may ask of PostgreSQL."""

    workers: int
    threads: int
    pool_size: int
    max_overflow: int
    stores: int
    slots: int
    connections_running: int
    connections_switching: int
    connections: int


def server_plan(
    cpus: int,
    memory_mb: int,
    stores: int = 2,
    threads: int = 4,
    slots: int = 2,
    workers: int = 0,
    environment: Mapping[str, Any] | None = None,
) -> ServerPlan:
    """Workers, threads and pools of one node.

    Workers: one a CPU, as far as `slots` times their memory fits (both slots run while they are switched); see the
    constants above (measured, docs/explanation). `workers` above 0 replaces that number.

    Pools (measured, docs/explanation: "Threads, pools, PgBouncer"): a log-batch request holds one connection and opens
    a second one, so T threads with T connections stall each other and with T + 1 never do. Hence pool_size = T and
    max_overflow = 1 (MLflow ignores 0). Each store of a worker is an engine with a pool of its own: at most T + 1.

    Connections: slots x (workers x stores x (T + 1) + 1 for the parent). Pools that the user's own `environment` of the
    server makes larger are counted as large as they are; see `pool_misfit`.
    """
    _at_least("cpus", cpus, 1)
    _at_least("memory_mb", memory_mb, LEAST_MEMORY_MB)
    _at_least("stores", stores, 1)
    _at_least("threads", threads, 1)
    _at_least("slots", slots, 1)
    _at_least("workers", workers, 0)
    if workers == 0:
        fitting = int(memory_mb * SERVER_MEMORY_SHARE) // (WORKER_MB * slots)
        workers = max(1, min(cpus, fitting, MOST_WORKERS))
    pool_size, max_overflow = pools(environment or {}, threads).values()
    one_slot = workers * stores * (pool_size + max_overflow) + 1
    return ServerPlan(
        workers=workers,
        threads=threads,
        pool_size=pool_size,
        max_overflow=max_overflow,
        stores=stores,
        slots=slots,
        connections_running=one_slot,
        connections_switching=one_slot * (slots - 1),
        connections=one_slot * slots,
    )


def connection_budget(
    nodes: Iterable[int | Mapping[str, int] | ServerPlan],
    reserve: int = DEFAULT_RESERVE,
) -> int:
    """Connections that PostgreSQL must grant, `max_connections` without those reserved for superusers.

    The sum of what the nodes need plus a reserve (docs/explanation, invariant 3 of the architecture). A node is a
    number, or a plan made by `server_plan`. Slots are switched on one node after the other, so of plans only the
    largest second slot counts.
    """
    _at_least("reserve", reserve, 0)
    running = 0
    switching = 0
    for node in nodes:
        if isinstance(node, Mapping):
            running += int(node["connections_running"])
            switching = max(switching, int(node["connections_switching"]))
        else:
            _at_least("connections of a node", node, 0)
            running += node
    return running + switching + reserve


def max_connections(connections: int) -> int:
    """PostgreSQL 20.3.1: superuser_reserved_connections are taken out of max_connections, so they come on top."""
    _at_least("connections", connections, 1)
    return max(LEAST_MAX_CONNECTIONS, connections + SUPERUSER_RESERVED)


def steady_memory_mb(memory_mb: int) -> int:
    """Memory rounded down to 64 MB, from 2 GB on to 256 MB.

    A kernel update moves the reported memory by a few MB; shared_buffers must not follow it, a change restarts
    PostgreSQL.
    """
    step = 256 if memory_mb >= 2048 else 64
    return memory_mb // step * step


def shared_buffers_mb(memory_mb: int) -> int:
    """PostgreSQL 20.4.1: 25 % of the memory from 1 GB on, a smaller share below."""
    return max(32, memory_mb // 4 if memory_mb >= 1024 else memory_mb * 15 // 100)


def effective_cache_size_mb(memory_mb: int) -> int:
    """PostgreSQL 20.7.2: shared buffers plus the part of the kernel's cache that holds PostgreSQL's files.

    The manual gives no share. Three quarters is what the PostgreSQL wiki ("Tuning Your PostgreSQL Server") calls a
    more aggressive but still reasonable amount. The value allocates nothing.
    """
    return memory_mb * 3 // 4


def maintenance_work_mem_mb(memory_mb: int) -> int:
    """PostgreSQL 20.4.1: larger speeds up VACUUM and CREATE INDEX; autovacuum may take it once a worker.

    A sixteenth of the memory, so that three autovacuum workers stay below a fifth. At most 1 GB: VACUUM of versions
    before 17 uses no more for dead tuples.
    """
    return max(16, min(1024, memory_mb // 16))


def work_mem_mb(memory_mb: int, connections: int, parallel_workers: int, autovacuum_workers: int = 3) -> int:
    """PostgreSQL 20.4.1: a sort may take work_mem, a hash table hash_mem_multiplier (2) times it, in each session.

    What shared_buffers and every autovacuum worker leave is divided by all sessions and parallel workers, each with
    one hash table. Between 1 and 64 MB: MLflow's searches showed no difference between 4 MB and more (measured,
    docs/explanation: "Scale in data").
    """
    left = memory_mb - shared_buffers_mb(memory_mb) - autovacuum_workers * maintenance_work_mem_mb(memory_mb)
    share = left // (2 * (connections + parallel_workers))
    if share < 1:
        raise ValueError(
            f"{memory_mb} MB of memory cannot hold {connections} connections (2 MB each beside {memory_mb - left} MB of"
            " shared and maintenance memory): use fewer workers, fewer nodes or a bigger database host"
        )
    return min(64, share)


def max_wal_size_mb(memory_mb: int) -> int:
    """PostgreSQL 20.4.1: a larger shared_buffers usually wants a larger max_wal_size. Twice it, between 1 and 8 GB.

    The size is disk space that checkpoints may leave in pg_wal, hence the upper end.
    """
    return max(1024, min(8192, 2 * shared_buffers_mb(memory_mb)))


def disk_kind(text: str) -> Disk:
    """One of the kinds that the cost formulas know."""
    for kind in DISKS:
        if kind == text:
            return kind
    raise ValueError(f"disk={text} is none of {', '.join(DISKS)}")


def random_page_cost(disk: Disk) -> float:
    """PostgreSQL 20.7.2: 1.1 for solid-state storage, 4 (the default) for spinning disks.

    With the indexes of this collection a tag filter over 100,000 runs took 12 ms at 1.1 and 151 ms at 4 (measured,
    docs/explanation: "Scale in data"). Network volumes are solid-state behind a longer way: 1.5, a judgement.
    """
    return {"ssd": 1.1, "network": 1.5, "hdd": 4.0}[disk]


def effective_io_concurrency(disk: Disk) -> int:
    """PostgreSQL 20.4.5: the number of separate drives; solid-state and other memory-based storage: hundreds."""
    return {"ssd": 200, "network": 200, "hdd": 2}[disk]


def autovacuum_vacuum_cost_limit(disk: Disk) -> int:
    """PostgreSQL 20.10: the work all autovacuum workers may do between two naps of 2 ms; default 200, made for disks.

    Ten times as much on a local solid-state disk still is below 800 MB/s of pages found in the cache.
    """
    return {"ssd": 2000, "network": 1000, "hdd": 400}[disk]


def postgresql_settings(memory_mb: int, cpus: int, connections: int, disk: str = "ssd") -> dict[str, Setting]:
    """Settings of a PostgreSQL (15 to 17) that holds MLflow and nothing else.

    `memory_mb` is what PostgreSQL may use, not necessarily all of the host; `connections` is the budget made by
    `connection_budget`. Parallel plans stay on: a listing of 60,000 runs took 9 ms with and 54 ms without (measured,
    docs/explanation: "Scale in data"), hence never less than PostgreSQL's own two workers a query (20.4.6).

    Autovacuum (25.1, 20.10): vacuum after 5 % instead of 20 % of changed or inserted rows and analyze after 2 %, since
    MLflow's tables are large and grow by inserts; pages of metric history were read 2.1 times faster after a vacuum
    (measured, docs/explanation: "Metric history at scale").
    """
    _at_least("memory_mb", memory_mb, LEAST_MEMORY_MB)
    _at_least("cpus", cpus, 1)
    kind = disk_kind(disk)
    memory = steady_memory_mb(memory_mb)
    allowed = max_connections(connections)
    parallel = max(2, cpus)
    wal = max_wal_size_mb(memory)
    return {
        "max_connections": allowed,
        "superuser_reserved_connections": SUPERUSER_RESERVED,
        "shared_buffers": f"{shared_buffers_mb(memory)}MB",
        "effective_cache_size": f"{effective_cache_size_mb(memory)}MB",
        "work_mem": f"{work_mem_mb(memory, allowed, parallel)}MB",
        "maintenance_work_mem": f"{maintenance_work_mem_mb(memory)}MB",
        "max_wal_size": f"{wal}MB",
        "min_wal_size": f"{wal // 4}MB",
        "wal_compression": "lz4",
        "checkpoint_timeout": "15min",
        "random_page_cost": random_page_cost(kind),
        "effective_io_concurrency": effective_io_concurrency(kind),
        "max_worker_processes": max(8, parallel + 4),
        "max_parallel_workers": parallel,
        "max_parallel_workers_per_gather": max(2, min(4, cpus // 2)),
        "max_parallel_maintenance_workers": max(2, min(4, cpus // 2)),
        "autovacuum_max_workers": 3,
        "autovacuum_naptime": "30s",
        "autovacuum_vacuum_cost_limit": autovacuum_vacuum_cost_limit(kind),
        "autovacuum_vacuum_scale_factor": 0.05,
        "autovacuum_vacuum_insert_scale_factor": 0.05,
        "autovacuum_analyze_scale_factor": 0.02,
    }


# The least of each number, by the name that the functions above give it.
_PLAN_LEAST = {"cpus": 1, "memory_mb": LEAST_MEMORY_MB, "threads": 1, "workers": 0}
_SETTINGS_LEAST = {"cpus": 1, "memory_mb": LEAST_MEMORY_MB, "connections": 1}


class Misfit(NamedTuple):
    """A number that cannot work: its name, and the limit as a sentence without its full stop."""

    name: str
    limit: str


def plan_misfits(numbers: Mapping[str, int]) -> list[Misfit]:
    """Return which of `server_plan`'s numbers (cpus, memory_mb, threads, workers) cannot work, and why."""
    found = [Misfit(name, f"It is at least {least}") for name, least in _PLAN_LEAST.items() if numbers[name] < least]
    most = numbers["memory_mb"] // WORKER_MB
    if not found and numbers["workers"] > max(1, most):
        limit = f"A worker takes {WORKER_MB} MB, and {numbers['memory_mb']} MB hold {most}"
        found.append(Misfit("workers", limit))
    return found


def settings_misfits(numbers: Mapping[str, int], disk: str = "ssd") -> list[Misfit]:
    """Return which of `postgresql_settings`' numbers (cpus, memory_mb, connections) cannot work, and why."""
    found = [
        Misfit(name, f"It is at least {least}") for name, least in _SETTINGS_LEAST.items() if numbers[name] < least
    ]
    if not found:
        try:
            postgresql_settings(numbers["memory_mb"], numbers["cpus"], numbers["connections"], disk)
        except ValueError as error:
            found.append(Misfit("connections", str(error)))
    return found


def pools(environment: Mapping[str, Any], threads: int) -> dict[str, int]:
    """Return size and overflow of each pool by their variables; a ValueError names one that is no whole number."""
    numbers = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": threads, "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": 1}
    for name in numbers:
        value = str(environment.get(name, numbers[name]))
        if not re.fullmatch(r"\d+", value):
            raise ValueError(name)
        numbers[name] = int(value)
    return numbers


def pool_misfit(environment: Mapping[str, Any], threads: int) -> Misfit | None:
    """Return what in an environment of the server makes its pools too small for its threads, or its plan untrue.

    With T threads a pool needs T + 1 connections (see `server_plan`). MLflow ignores an overflow of 0.
    """
    for name, instead in (
        ("MLFLOW_WORKERS", "mlflow_server_workers"),
        ("MLOPS_SERVER_THREADS", "mlflow_server_threads"),
    ):
        if name in environment:
            return Misfit(name, f"Pools and connections are computed from {instead}, which this would make untrue")
    try:
        numbers = pools(environment, threads)
    except ValueError as error:
        return Misfit(str(error), "It is a whole number")
    if sum(numbers.values()) > threads:
        return None
    name = next((name for name in numbers if name in environment), next(iter(numbers)))
    return Misfit(name, f"{threads} threads need {threads + 1} connections, and {sum(numbers.values())} would be there")


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name}={value} is less than {least}")
