"""A server that answers as MLflow 3.17.2 with basic-auth did (recorded), with one thing changed if a test says so."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request

USER, PASSWORD = "admin", "p:/?#[]@ä-a-long-password"
UNAUTHORIZED = Reply(
    401,
    b"You are not authenticated. Please see https://www.mlflow.org/docs/latest/auth/index.html#authenticating-to-mlflow",
    {"WWW-Authenticate": 'Basic realm="mlflow"'},
)
ANSWERS: Mapping[str, Any] = {
    "/api/3.0/mlflow/server-info": {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
        "presigned_upload_run_id_supported": True,
        "presigned_upload_model_id_supported": True,
        "features_enabled": {"gateway": True},
    },
    "/api/2.0/mlflow/users/current": {"user": {"id": 1, "username": USER, "is_admin": True}, "is_basic_auth": True},
    "/api/2.0/mlflow/experiments/get": {
        "experiment": {
            "experiment_id": "0",
            "name": "Default",
            "artifact_location": "mlflow-artifacts:/0",
            "lifecycle_stage": "active",
        }
    },
    "/api/2.0/mlflow/experiments/search": {
        "experiments": [{"experiment_id": "0", "name": "Default"}, {"experiment_id": "1", "name": "another"}]
    },
    "/api/2.0/mlflow/runs/search": {
        "runs": [{"info": {"run_id": f"{number:032x}"}} for number in range(50)],
        "next_page_token": "x",
    },
    "/api/2.0/mlflow/registered-models/search": {},
    "/ajax-api/3.0/mlflow/ui-telemetry": {
        "disable_ui_telemetry": True,
        "disable_ui_events": [],
        "ui_rollout_percentage": 0,
    },
}
OPEN = ("/health", "/api/3.0/mlflow/server-info")


def mlflow(
    *, auth: bool = True, change: Callable[[str], Reply | None] = lambda _path: None
) -> Callable[[Request], Reply]:
    """Answer as MLflow; `change` gives another reply for a path, or None."""
    login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    def answer(request: Request) -> Reply:
        path = urlsplit(request.path).path
        if auth and path not in OPEN and request.headers.get("Authorization") != login:
            return UNAUTHORIZED
        if changed := change(path):
            return changed
        if path == "/health":
            return Reply(body=b"OK")
        if path == "/version":
            return Reply(body=b"3.17.2")
        if path in ANSWERS and not (path.endswith("/current") and not auth):
            return Reply(body=json.dumps(ANSWERS[path]).encode(), headers={"Content-Type": "application/json"})
        return Reply(404, b"<!doctype html>\n<title>404 Not Found</title>", {"Content-Type": "text/html"})

    return answer
