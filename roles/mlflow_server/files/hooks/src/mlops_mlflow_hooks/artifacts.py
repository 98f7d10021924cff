# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which way the bytes of artifacts take: through this server, unless it was chosen that clients go to the store themselves.

MLflow offers signed URLs of its store to every client as soon as the store can make them, and has no setting against it. A client
takes the offer without being asked, for every download and for large uploads, and fails where it cannot reach the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlops_mlflow_hooks._reliance import relied_on

VARIABLE = "MLOPS_ARTIFACT_TRANSFER"
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


def _streaming(store: Callable[[], Any]) -> Callable[[], Streaming]:
    return lambda: Streaming(store())
