"""MLflow's documented hook for logins of one's own: the entry point `mlflow.request_auth_provider`, chosen by MLFLOW_TRACKING_AUTH.

MLflow asks for every request that its client sends to the server, artifacts included. Signed URLs of a store are no such requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import mlflow
from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider

from .auth import TokenAuth
from .settings import Settings
from .tokens import tokens_of

NAME = "mlops-oidc"


def trusted() -> Iterator[str]:
    """Where tokens may go. What is said first is mostly enough; the last looks for a session of Spark."""
    yield os.environ.get("MLFLOW_TRACKING_URI", "")
    yield mlflow.get_tracking_uri()
    yield mlflow.get_registry_uri()


class OidcAuthProvider(RequestAuthProvider):  # type: ignore[misc]
    """Tokens of an identity provider."""

    def get_name(self) -> str:
        """What MLFLOW_TRACKING_AUTH has to be."""
        return NAME

    def get_auth(self) -> TokenAuth:
        """What adds the token to a request. MLflow asks for it each time; the token is kept."""
        return TokenAuth(tokens_of(Settings.read(os.environ)), trusted)
