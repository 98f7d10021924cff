"""A cloud's control plane that writes down what it is asked, and keeps what it is told like the real one would.

No emulator has these interfaces. What is proved against it: which requests are sent (method, path, body), that a second run sends none
that would change something, and what becomes of each refusal. Whether the cloud takes them is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer

TOKEN = "of-the-administrator"


@dataclass(frozen=True)
class Asked:
    """One request, as tests compare it."""

    method: str
    path: str  # with the query
    body: Any = None


@dataclass
class Recorder:
    """What is there, what was asked, and what shall be refused.

    Args:
        made: says of a POST with this path (without query) and body which resources there are then, by path.
    """

    made: Callable[[str, Any], Mapping[str, Any]] = lambda path, body: {path: body}
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    resources: dict[str, Any] = field(default_factory=dict)
    # What the cloud adds by itself to what a PUT makes, such as the identifier of an identity.
    adds: dict[str, Any] = field(default_factory=dict)
    refused: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)

    @property
    def changes(self) -> list[Asked]:
        """The requests that were more than a look, in their order."""
        return [one for one in self.asked if one.method != "GET"]

    def refuse(self, method: str, path: str, status: int, message: str, times: int = 1000) -> None:
        """From now on, so many times, answer like this to a request with this path (without query)."""
        body = {"error": {"code": status, "message": message}}
        self.refused[method, path] = [_reply(status, body)] * times

    def answer(self, request: Request) -> Reply:
        """Do what was asked."""
        path = unquote(urlsplit(request.path).path)
        body = json.loads(request.body) if request.body else None
        self.asked.append(Asked(request.method, request.path, body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _reply(401, {"error": {"code": 401, "message": "Invalid Credentials"}})
        if left := self.refused.get((request.method, path)):
            return left.pop()
        if request.method == "POST":
            self.resources.update(self.made(path, body))
            return _reply(200, {})
        if request.method in ("GET", "PATCH") and path not in self.resources:
            return _reply(404, {"error": {"code": 404, "message": f"{path} was not found"}})
        if request.method == "PATCH":
            self.resources[path] = merged(self.resources[path], body)
        elif request.method == "PUT":
            self.resources[path] = merged(body, self.adds.get(path, {}))
        return _reply(200, self.resources[path])


def merged(kept: Any, told: Any) -> Any:
    """A JSON merge patch (RFC 7396); lists are replaced."""
    if not isinstance(told, dict):
        return told
    result = dict(kept) if isinstance(kept, dict) else {}
    for name, value in told.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _reply(status: int, body: Any) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


@contextmanager
def recording(made: Callable[[str, Any], Mapping[str, Any]] | None = None) -> Iterator[Recorder]:
    """Serve on loopback until the test ends."""
    recorder = Recorder(made) if made else Recorder()
    with http_peer(recorder.answer) as port:
        recorder.url = f"http://127.0.0.1:{port}"
        yield recorder
