"""What `make -s client-env` prints is what a shell can evaluate and a client can use."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tools.client_env import client_environment, export_lines

SECRETS: dict[str, Any] = {"mlflow_admin_password": "p'w$(false)\"x"}


def environment(**variables: object) -> dict[str, str]:
    return client_environment({**SECRETS, **variables}, domain="mlflow.dev.test", ca="/ca.pem", path="/client/bin")


def test_defaults_are_those_of_the_choices() -> None:
    assert environment() == {
        "MLFLOW_TRACKING_URI": "https://mlflow.dev.test",
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": SECRETS["mlflow_admin_password"],
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem",
        "PATH": "/client/bin",
    }


@pytest.mark.parametrize(
    ("variables", "uri"),
    [
        ({"mlflow_domain": "ml.example.com"}, "https://ml.example.com"),
        ({"mlflow_domain": "ml.example.com", "mlflow_https_port": "8443"}, "https://ml.example.com:8443"),
        ({"mlflow_domain": "mlflow.{{ zone }}"}, "https://mlflow.dev.test"),
    ],
)
def test_the_uri_follows_domain_and_port(variables: dict[str, object], uri: str) -> None:
    assert environment(**variables)["MLFLOW_TRACKING_URI"] == uri


def test_a_shell_reads_back_every_value_and_keeps_its_path() -> None:
    script = "\n".join([*export_lines(environment()), 'printf "%s\\n" "$MLFLOW_TRACKING_PASSWORD" "$PATH"'])
    result = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/usr/bin"}, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [SECRETS["mlflow_admin_password"], "/client/bin:/usr/bin"]
