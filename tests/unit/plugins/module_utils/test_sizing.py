"""What must hold for every size, found by hypothesis, and a few sizes read by eye."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils import _sizing

memory = st.integers(min_value=_sizing.LEAST_MEMORY_MB, max_value=1_048_576)
cpus = st.integers(min_value=1, max_value=256)
disks = st.sampled_from(_sizing.DISKS)


def _mb(value: _sizing.Setting) -> int:
    text = str(value)
    assert text.endswith("MB")
    return int(text[:-2])


@given(cpus, memory, st.integers(1, 6), st.integers(1, 40), st.integers(1, 3), st.integers(0, 64))
def test_no_pool_can_stall_and_every_connection_is_counted(
    cpus: int, memory: int, stores: int, threads: int, slots: int, workers: int
) -> None:
    plan = _sizing.server_plan(cpus, memory, stores, threads, slots, workers)
    assert plan["pool_size"] + plan["max_overflow"] == plan["threads"] + 1
    assert plan["max_overflow"] == 1, "MLflow ignores 0 and then opens ten"
    assert plan["workers"] == workers or (workers == 0 and 1 <= plan["workers"] <= cpus)
    assert plan["connections"] == slots * (plan["workers"] * stores * (threads + 1) + 1)
    assert plan["connections"] == plan["connections_running"] + plan["connections_switching"]


@given(cpus, memory)
def test_both_slots_of_more_than_one_worker_fit_into_memory(cpus: int, memory: int) -> None:
    plan = _sizing.server_plan(cpus, memory)
    assert plan["workers"] == 1 or plan["workers"] * 2 * _sizing.WORKER_MB <= memory


@given(st.lists(st.integers(0, 2000), max_size=20), st.integers(0, 100))
def test_budget_of_numbers_is_their_sum_and_the_reserve(nodes: list[int], reserve: int) -> None:
    assert _sizing.connection_budget(nodes, reserve) == sum(nodes) + reserve


@given(st.lists(st.tuples(cpus, memory), min_size=1, max_size=10))
def test_budget_of_plans_covers_all_nodes_and_any_one_that_is_switched(nodes: list[tuple[int, int]]) -> None:
    plans = [_sizing.server_plan(*node) for node in nodes]
    budget = _sizing.connection_budget(plans, 0)
    for switched in plans:
        assert budget >= sum(plan["connections_running"] for plan in plans) + switched["connections_switching"]
    assert budget <= sum(plan["connections"] for plan in plans)


@given(memory, cpus, st.integers(1, 3000), disks)
def test_settings_never_promise_more_memory_than_there_is(memory: int, cpus: int, connections: int, disk: str) -> None:
    try:
        settings = _sizing.postgresql_settings(memory, cpus, connections, disk)
    except ValueError:
        # Refusing is right only where every session could not even have the least.
        assert memory < 4 * (connections + cpus + 100) + 256
        return
    allowed = settings["max_connections"]
    parallel = settings["max_parallel_workers"]
    vacuums = settings["autovacuum_max_workers"]
    assert isinstance(allowed, int)
    assert isinstance(parallel, int)
    assert isinstance(vacuums, int)
    assert allowed >= connections + _sizing.SUPERUSER_RESERVED
    promised = (
        _mb(settings["shared_buffers"])
        + vacuums * _mb(settings["maintenance_work_mem"])
        + 2 * (allowed + parallel) * _mb(settings["work_mem"])
    )
    assert promised <= memory
    assert _mb(settings["shared_buffers"]) <= 0.4 * memory
    assert _mb(settings["shared_buffers"]) <= _mb(settings["effective_cache_size"]) <= memory
    assert _mb(settings["min_wal_size"]) < _mb(settings["max_wal_size"])
    assert parallel <= int(settings["max_worker_processes"])
    assert int(settings["max_parallel_workers_per_gather"]) <= parallel


@given(memory, cpus, st.integers(1, 500), disks)
def test_more_memory_is_never_less_of_anything(memory: int, cpus: int, connections: int, disk: str) -> None:
    try:
        small = _sizing.postgresql_settings(memory, cpus, connections, disk)
    except ValueError:
        return
    large = _sizing.postgresql_settings(memory * 2, cpus, connections, disk)
    for name in ("shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size"):
        assert _mb(large[name]) >= _mb(small[name]), name


@given(st.integers(2048, 1_000_000))
def test_a_few_megabytes_inside_a_step_change_nothing(memory: int) -> None:
    floor = _sizing.steady_memory_mb(memory)
    assert floor <= memory
    assert _sizing.steady_memory_mb(floor) == floor == _sizing.steady_memory_mb(floor + 255)


@pytest.mark.parametrize(
    ("memory_mb", "expected"),
    [
        (512, {"shared_buffers": "76MB", "work_mem": "1MB", "maintenance_work_mem": "32MB"}),
        (2048, {"shared_buffers": "512MB", "work_mem": "5MB", "maintenance_work_mem": "128MB"}),
        (8192, {"shared_buffers": "2048MB", "work_mem": "22MB", "maintenance_work_mem": "512MB"}),
        (65536, {"shared_buffers": "16384MB", "work_mem": "64MB", "maintenance_work_mem": "1024MB"}),
    ],
)
def test_usual_hosts(memory_mb: int, expected: dict[str, str]) -> None:
    settings = _sizing.postgresql_settings(memory_mb, 2, 82)
    assert {name: settings[name] for name in expected} == expected
    assert settings["max_connections"] == 100


def test_own_indexes_are_used_on_every_kind_of_disk_but_spinning_ones() -> None:
    assert [_sizing.random_page_cost(disk) for disk in _sizing.DISKS] == [1.1, 4.0, 1.5]


def test_two_cpus_and_four_gigabytes() -> None:
    plan = _sizing.server_plan(2, 4096, stores=3)
    assert plan["workers"] == 2
    assert plan["connections"] == 2 * (2 * 3 * 5 + 1) == 62


@pytest.mark.parametrize(
    "call",
    [
        lambda: _sizing.server_plan(0, 4096),
        lambda: _sizing.server_plan(2, 100),
        lambda: _sizing.server_plan(2, 4096, threads=0),
        lambda: _sizing.postgresql_settings(100, 2, 50),
        lambda: _sizing.postgresql_settings(4096, 2, 0),
        lambda: _sizing.postgresql_settings(4096, 2, 50, "tape"),
        lambda: _sizing.postgresql_settings(512, 2, 3000),
        lambda: _sizing.connection_budget([-1]),
    ],
)
def test_nonsense_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=r"less than|none of|cannot hold"):
        call()


def test_a_number_in_quotes_is_refused_here_and_converted_by_the_filter() -> None:
    with pytest.raises(TypeError, match="whole number"):
        _sizing.server_plan("2", 4096)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("environment", "a_store"),
    [
        ({}, 5),
        ({"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20"}, 21),
        ({"MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": 7}, 11),
        ({"LANG": "C"}, 5),
    ],
)
def test_pools_that_a_user_makes_larger_are_counted(environment: dict[str, object], a_store: int) -> None:
    plan = _sizing.server_plan(2, 4096, stores=3, environment=environment)
    assert plan["pool_size"] + plan["max_overflow"] == a_store
    assert plan["connections_running"] == plan["workers"] * 3 * a_store + 1
