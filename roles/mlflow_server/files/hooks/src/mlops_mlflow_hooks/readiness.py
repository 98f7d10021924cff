# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""GET /mlops/ready: 200 only while this process can read from every database it needs."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import anyio
import anyio.to_thread

from mlops_mlflow_hooks import READY

SECONDS = 10

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Check = Callable[[], None]

_logger = logging.getLogger("mlflow.mlops")


class Server:
    """MLflow's application with a bounded number of threads and a readiness of its own.

    It stands outside of MLflow's application, so neither its authentication nor its catch-all route sees the probe.
    """

    def __init__(self, application: Application, threads: int, checks: Mapping[str, Check]) -> None:
        self.application = application
        self.threads = threads
        self.checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # The limiter belongs to the event loop, which exists only now. Every request that reaches Flask takes one of
            # these threads, and the connection pools are sized for exactly that many.
            anyio.to_thread.current_default_thread_limiter().total_tokens = self.threads
            # The first use of a store is slow. Doing it before the port is open spares the first client of each worker.
            await self.failing()
        elif scope["type"] == "http" and scope["path"] == READY:
            await self.answer(scope, send)
            return
        await self.application(scope, receive, send)

    async def failing(self) -> dict[str, str]:
        """Run the checks in one of the threads that requests use, so that a stuck server is not ready either."""
        try:
            with anyio.fail_after(SECONDS):
                return await anyio.to_thread.run_sync(self._failing, abandon_on_cancel=True)
        except TimeoutError:
            return {"server": f"no answer from the databases within {SECONDS} seconds"}

    def _failing(self) -> dict[str, str]:
        failing = {}
        for name, check in self.checks.items():
            try:
                check()
            except Exception as error:  # whatever it is, this process is not ready
                # The reason goes to the log: who may ask is not who may read errors of the database.
                _logger.warning("Not ready, %s: %s", name, " ".join(str(error).split())[:500])
                failing[name] = type(error).__name__
        return failing

    async def answer(self, scope: Scope, send: Send) -> None:
        """Answer a probe."""
        status, content = 405, {"ready": False, "failing": {"request": "GET or HEAD only"}}
        if scope["method"] in ("GET", "HEAD"):
            failing = await self.failing()
            status, content = (503 if failing else 200), {"ready": not failing, "failing": failing}
        body = json.dumps(content).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
