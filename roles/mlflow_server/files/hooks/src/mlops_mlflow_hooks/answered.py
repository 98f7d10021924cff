# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An error that was answered costs nobody but the one who asked.

Starlette answers a route that raises with 500 and raises again, and uvicorn then hangs up: with what the client still sends unread, which
resets the connection, and without having said so, so that the edge gives it to the next request. To the edge a reset is a server that
failed, and that one is left alone for a second.
"""

from __future__ import annotations

import logging

from mlops_mlflow_hooks.readiness import Application, Message, Receive, Scope, Send

_logger = logging.getLogger("mlflow.mlops")


class Answered:
    """An application whose exceptions, once their answer is complete, are told to the log instead of to uvicorn."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        complete = False

        async def noticed(message: Message) -> None:
            nonlocal complete
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self.application(scope, receive, noticed)
        except Exception:
            if not complete:
                raise
            _logger.exception("%s %s ended with an error that was answered:", scope["method"], scope["path"])
