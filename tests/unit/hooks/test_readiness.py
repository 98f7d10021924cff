"""The application around MLflow's: threads, readiness, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mlops_mlflow_hooks import readiness
from mlops_mlflow_hooks.readiness import Message, Receive, Scope, Send, Server


class Inner:
    """MLflow's application, as far as this matters."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        self.seen.append((scope["type"], anyio.to_thread.current_default_thread_limiter().total_tokens))


def ask(server: Server, scope: dict[str, Any]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await server({"type": "lifespan"}, receive, send)
        await server(scope, receive, send)

    anyio.run(run)
    return sent


def probe(server: Server, method: str = "GET") -> tuple[int, Any]:
    start, body = ask(server, {"type": "http", "path": "/mlops/ready", "method": method})
    return start["status"], json.loads(body["body"] or b"null")


def broken() -> None:
    raise ConnectionError("password=secret")


def test_the_number_of_threads_is_bounded_before_the_first_request() -> None:
    inner = Inner()
    assert ask(Server(inner, 3, {}), {"type": "http", "path": "/", "method": "GET"}) == []
    assert inner.seen == [("lifespan", 3), ("http", 3)]


def test_ready_when_every_database_answers() -> None:
    inner = Inner()
    assert probe(Server(inner, 1, {"tracking": lambda: None})) == (200, {"ready": True, "failing": {}})
    assert [kind for kind, _tokens in inner.seen] == ["lifespan"], "the probe is not MLflow's business"


def test_not_ready_names_the_database_but_not_the_error() -> None:
    status, body = probe(Server(Inner(), 1, {"tracking": lambda: None, "auth": broken}))
    assert (status, body) == (503, {"ready": False, "failing": {"auth": "ConnectionError"}})


def test_not_ready_when_the_threads_are_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "SECONDS", 0.05)
    server = Server(Inner(), 1, {"tracking": lambda: None})

    async def run() -> dict[str, str]:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        await limiter.acquire_on_behalf_of("a request that does not end")
        return await server.failing()

    assert "server" in anyio.run(run)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405), ("PUT", 405)])
def test_only_looking(method: str, status: int) -> None:
    assert probe(Server(Inner(), 1, {}), method)[0] == status


@pytest.mark.parametrize("path", ["/mlops/ready/", "/mlops", "/mlops/ready/x", "/MLOPS/READY"])
def test_everything_else_is_mlflows(path: str) -> None:
    inner = Inner()
    assert ask(Server(inner, 1, {}), {"type": "http", "path": path, "method": "GET"}) == []
    assert inner.seen[-1][0] == "http"
