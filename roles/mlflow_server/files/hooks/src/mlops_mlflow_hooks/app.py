# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The applications that `mlflow server --app-name` starts: MLflow's own, inside of readiness.Server."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import sqlalchemy

from mlops_mlflow_hooks import artifacts, identity
from mlops_mlflow_hooks._reliance import Unsupported, relied_on
from mlops_mlflow_hooks.answered import Answered
from mlops_mlflow_hooks.readiness import Server


def basic() -> Server:
    """Serve with MLflow's own users and permissions."""
    auth = relied_on("mlflow.server.auth", "create_app", "store")
    application = auth.create_app(relied_on("mlflow.server", "app").app)

    def users() -> None:
        _read_one(auth.store.engine, "users")

    return _server(application, users)


def oidc() -> Server:
    """Serve those whom the gate of the edge let in, with MLflow's own users and permissions."""
    server = basic()
    identity.ready()
    return server


def none() -> Server:
    """Serve everybody who can connect, which is nobody but this host."""
    host = os.environ.get("MLFLOW_HOST", "")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise SystemExit(
            f"mlops: without authentication the server listens on loopback only, not on MLFLOW_HOST={host!r}."
        )
    return _server(relied_on("mlflow.server.fastapi_app", "app").app)


def _server(application: Any, users: Any = None) -> Server:
    fastapi = relied_on("fastapi", "FastAPI").FastAPI
    if not isinstance(application, fastapi):
        raise Unsupported(
            f"MLflow made a {type(application).__name__} instead of a FastAPI application: mlops-mlflow-hooks needs uvicorn, "
            "MLflow's default server."
        )
    artifacts.settle(os.environ)
    artifacts.keep_apart(os.environ)
    handlers = relied_on("mlflow.server.handlers", "_get_tracking_store")

    def tracking() -> None:
        _read_one(handlers._get_tracking_store().engine, "experiments")

    checks = {"tracking": tracking} if users is None else {"tracking": tracking, "auth": users}
    return Server(Answered(application), _threads(), checks)


def _threads() -> int:
    text = os.environ.get("MLOPS_SERVER_THREADS", "")
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"mlops: MLOPS_SERVER_THREADS must be a number of threads, 1 or more, not {text!r}.")
    return int(text)


def _read_one(engine: sqlalchemy.Engine, table: str) -> None:
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"SELECT 1 FROM {table} LIMIT 1")).first()
