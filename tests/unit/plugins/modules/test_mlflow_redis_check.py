"""mlflow_redis_check at Debian's Redis, and at what is none: each finding is induced, and its sentence asserted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _probe, _redis, _redis_probe
from ansible_collections.mlops.mlflow.tests.unit.support.identity import place, running_redis
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import (
    LOOPBACK,
    closing,
    dripping,
    free_port,
    peer,
    saying,
    silent,
)

PASSWORD = "of the sessions, größer"


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """With a password."""
    with place() as folder, running_redis(folder, f'requirepass "{PASSWORD}"') as port:
        yield f"{LOOPBACK}:{port}"


def check(server: str, password: str = "", **options: Any) -> dict[str, Any]:
    """As edge1, without failing."""
    given = {"server": server, "password": password, "host": "edge1", "fail_on": "never", "timeout": 4, **options}
    return run_module("mlflow_redis_check", **given)


def test_one_as_it_should_be(redis: str) -> None:
    answer = check(redis, PASSWORD)
    assert (answer["findings"], answer["changed"]) == ([], False)


def test_a_password_that_is_none(redis: str) -> None:
    (said,) = check(redis, "another one")["refusals"]
    assert said == (
        f"[GATE_REDIS] edge1: {redis}: it does not take the password (WRONGPASS invalid username-password pair or user is disabled.)."
        " From the edge, try redis-cli -h HOST -p PORT ping; compare mlflow_gate_redis_server and mlflow_gate_redis_password."
    )
    (said,) = check(redis)["refusals"]
    assert "it keeps nothing (NOAUTH Authentication required.)." in said


def test_one_that_is_full() -> None:
    with place() as folder, running_redis(folder, "maxmemory 300kb", "maxmemory-policy noeviction") as port:
        (said,) = check(f"{LOOPBACK}:{port}")["refusals"]
    assert "it keeps nothing (OOM command not allowed when used memory > 'maxmemory'.)." in said


@pytest.mark.parametrize(
    ("conversation", "words"),
    [
        (closing, "it keeps nothing ("),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it keeps nothing (what answers is no Redis)."),
        (saying(b"$99999999\r\n"), "it keeps nothing (what answers is no Redis)."),
        (saying(b"+OK\r\n", b"$-1\r\n", b":0\r\n"), "it does not give back what it was given (it answered nothing)."),
        (silent, "it keeps nothing (timed out)."),
        (dripping(b"+OK", seconds=0.5), "There was no answer within 4 s."),
    ],
    ids=["closing", "http", "too much", "forgetful", "silent", "dripping"],
)
def test_what_is_no_redis(conversation: Any, words: str) -> None:
    with peer(conversation) as port:
        (said,) = check(f"{LOOPBACK}:{port}")["refusals"]
    assert words in said


def test_nothing_is_there() -> None:
    (said,) = check(f"{LOOPBACK}:{free_port()}")["refusals"]
    assert "it cannot be reached (Connection refused)." in said


@pytest.mark.parametrize("server", ["", "name:port", "user@host:1", "host/0", "a host:1"])
def test_what_is_no_address(server: str) -> None:
    (said,) = check(server)["refusals"]
    assert "[GATE_REDIS] edge1:" in said


def test_one_for_everybody() -> None:
    """What takes commands without a password from elsewhere, as the probe saw it."""
    (finding,) = _redis.judge({"step": "", "said": "", "open": True}, "10.0.0.20:6379", "edge1")
    assert (finding["id"], finding["severity"]) == ("GATE_REDIS_OPEN", "warning")
    for near in ("localhost", "127.0.0.1:6379", "[::1]:6379"):
        assert _redis.judge({"step": "", "said": "", "open": True}, near, "edge1") == []
    with place() as folder, running_redis(folder) as port:
        asked = {"host": LOOPBACK, "port": port, "password": "", "seconds": 2}
        assert _probe.run(_redis_probe, asked, seconds=10).answer == {"step": "", "said": "", "open": True}
        assert ids(check(f"{LOOPBACK}:{port}")) == []


@pytest.mark.parametrize(
    ("server", "where"),
    [("db1", ("db1", 6379)), ("10.0.0.20:6380", ("10.0.0.20", 6380)), ("[fd00::1]:6380", ("fd00::1", 6380))],
)
def test_places(server: str, where: tuple[str, int]) -> None:
    assert _redis.place(server) == where
