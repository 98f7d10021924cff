# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which way the bytes of artifacts take: through this server, unless it was chosen that clients go to the store themselves.

MLflow offers signed URLs of its store to every client as soon as the store can make them, and has no setting against it. A client
takes the offer without being asked, for every download and for large uploads, and fails where it cannot reach the store.

And whose they may be, where MLflow runs with workspaces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlops_mlflow_hooks._reliance import relied_on

VARIABLE = "MLOPS_ARTIFACT_TRANSFER"
WORKSPACES = "MLFLOW_ENABLE_WORKSPACES"
PROXIED, PRESIGNED, DIRECT = "proxied", "presigned", "direct"


class Streaming:
    """A store of which no URL is given away.

    MLflow asks isinstance() whether a store makes URLs, and what it does with this one goes to the real one by name: it lists, takes,
    returns and deletes as that does, and says of URLs that it has none (501, upon which clients send the bytes themselves).
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def settle(environment: Mapping[str, str]) -> None:
    """Let the server offer URLs of its store if that was chosen. Without the variable MLflow stays as it is."""
    transfer = environment.get(VARIABLE, PRESIGNED)
    if transfer not in (PROXIED, PRESIGNED, DIRECT):
        raise SystemExit(f"mlops: {VARIABLE} must be {PROXIED}, {PRESIGNED} or {DIRECT}, not {transfer!r}.")
    if transfer == PRESIGNED:
        return
    # Everything that serves artifacts asks this function for the store, each time, by this name.
    handlers: Any = relied_on("mlflow.server.handlers", "_get_artifact_repo_mlflow_artifacts")
    handlers._get_artifact_repo_mlflow_artifacts = _streaming(handlers._get_artifact_repo_mlflow_artifacts)


def keep_apart(environment: Mapping[str, str]) -> None:
    """With workspaces, let a trace have the artifacts of its own experiment only.

    Where they are is a tag, which anybody who may change the trace can set, and MLflow reads there with its own key, whosoever they are.
    """
    if environment.get(WORKSPACES, "").lower() not in ("true", "1"):
        return
    handlers: Any = relied_on(
        "mlflow.server.handlers",
        "_get_trace_artifact_repo",
        "_get_tracking_store",
        "_is_uri_within_root",
        "_normalized_uri_parts",
        "get_artifact_uri_for_trace",
    )
    handlers._get_trace_artifact_repo = _own(handlers, handlers._get_trace_artifact_repo)


def _own(handlers: Any, repository_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    exceptions = relied_on("mlflow.exceptions", "MlflowException")

    def repository(trace: Any) -> Any:
        location = handlers.get_artifact_uri_for_trace(trace)
        root = handlers._get_tracking_store().get_experiment(trace.experiment_id).artifact_location
        parts = "/".join(handlers._normalized_uri_parts(location)[2]).split("/")
        if ".." in parts or not handlers._is_uri_within_root(location, root):
            raise exceptions.MlflowException.invalid_parameter_value(
                f"The artifacts of trace {trace.trace_id} are not those of its experiment."
            )
        return repository_of(trace)

    return repository


def _streaming(store: Callable[[], Any]) -> Callable[[], Streaming]:
    return lambda: Streaming(store())
