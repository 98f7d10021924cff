# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask an MLflow server what it tells about itself; judged by _server_info.py. Reads only. Runs apart from the module (see _probe.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible_collections.mlops.mlflow.plugins.module_utils._rest import Client, RestError, answered

# One page of each is read. Runs come with all their metrics and parameters, so theirs is short.
EXPERIMENTS, RUNS, MODELS = 1000, 50, 1000


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Ask one server.

    Args:
        request: `client` (arguments of _rest.Client) and `seconds` for all questions together.

    Returns:
        `route`; `failure`, why there is nothing else; and by the name of each question either its answer in `told` or why there is
        none in `refused`, with `step`, `reason`, `text`, `status` and `code`.
    """
    answer: dict[str, Any] = {"route": {}, "failure": {}, "told": {}, "refused": {}}
    try:
        client = Client(**request["client"])
    except RestError as error:
        answer["failure"] = _said(error)
        return answer
    deadline = time.monotonic() + request["seconds"]
    questions: dict[str, Callable[[Client], dict[str, Any]]] = {
        "health": _health,
        "version": _version,
        "anonymous": _anonymous,
        "server": lambda client: client.call("GET", "/api/3.0/mlflow/server-info"),
        "user": lambda client: client.call("GET", "/api/2.0/mlflow/users/current"),
        "root": lambda client: client.call("GET", "/api/2.0/mlflow/experiments/get", query={"experiment_id": "0"}),
        "experiments": lambda client: _experiments(client, answer),
        "runs": lambda client: _runs(client, answer),
        "models": lambda client: _page(
            client.call("GET", "/api/2.0/mlflow/registered-models/search", query={"max_results": MODELS}),
            "registered_models",
        ),
        "telemetry": lambda client: client.call("GET", "/ajax-api/3.0/mlflow/ui-telemetry"),
    }
    for name, ask in questions.items():
        left = deadline - time.monotonic()
        if left <= 0:
            answer["refused"][name] = _said(RestError("http", "timeout", "no time was left for this question"))
            continue
        client.seconds = left
        try:
            answer["told"][name] = ask(client)
        except RestError as error:
            answer["refused"][name] = _said(error)
            if name == "health" and error.step != "api":
                answer["failure"] = _said(error)
                break
    answer["route"] = asdict(client.route)
    return answer


def _said(error: RestError) -> dict[str, Any]:
    return {"step": error.step, "reason": error.reason, "text": str(error), "status": error.status, "code": error.code}


def _health(client: Client) -> dict[str, Any]:
    """Anything that answers is reachable; MLflow answers OK."""
    response = client.request("GET", "/health", anonymous=True)
    return {"status": response.status, "ok": response.body == b"OK", "seconds": round(response.seconds, 3)}


def _version(client: Client) -> dict[str, Any]:
    response = client.request("GET", "/version")
    if response.status != 200:
        answered(response)
    return {"version": response.body[:40].decode("ascii", "replace").strip()}


def _anonymous(client: Client) -> dict[str, Any]:
    response = client.request("GET", "/api/2.0/mlflow/experiments/search", query={"max_results": 1}, anonymous=True)
    return {"status": response.status}


def _experiments(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    found = client.call("GET", "/api/2.0/mlflow/experiments/search", query={"max_results": EXPERIMENTS})
    names = found.get("experiments")
    ids = [one.get("experiment_id") for one in names if isinstance(one, dict)] if isinstance(names, list) else []
    answer["ids"] = [one for one in ids if isinstance(one, str)]
    return _page(found, "experiments")


def _runs(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    ids = answer.pop("ids", [])
    if not ids:
        return {"count": 0, "more": False}
    return _page(
        client.call("POST", "/api/2.0/mlflow/runs/search", payload={"experiment_ids": ids, "max_results": RUNS}), "runs"
    )


def _page(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Count what is on the page, and tell whether there is another."""
    listed = found.get(name, [])
    if not isinstance(listed, list):
        raise RestError("api", "shape", f"{name} is no list")
    return {"count": len(listed), "more": bool(found.get("next_page_token"))}
