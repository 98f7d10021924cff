"""What `make -s client-env` prints is what a shell can evaluate and a client can use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT
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


def test_the_way_of_artifacts_comes_with_it() -> None:
    keys = {"mlflow_artifact_store_access_key_id": "id", "mlflow_artifact_store_secret_access_key": "p'w"}
    direct = environment(mlflow_artifact_uri="s3://bucket/mlflow", mlflow_artifact_transfer="direct", **keys)
    assert (direct["AWS_ACCESS_KEY_ID"], direct["AWS_SECRET_ACCESS_KEY"]) == ("id", "p'w")
    assert "export AWS_SECRET_ACCESS_KEY='p'\"'\"'w'" in export_lines(direct)
    presigned = environment(mlflow_artifact_uri="s3://bucket/mlflow", mlflow_artifact_transfer="presigned", **keys)
    assert presigned["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] == "true"
    assert "AWS_ACCESS_KEY_ID" not in presigned


def test_a_value_that_nobody_has_computed_is_refused(tmp_path: Path) -> None:
    variables = {**SECRETS, "mlflow_certificates_ca_certificate": "pem", "mlflow_artifact_transfer": "{{ mode }}"}
    done = subprocess.run(
        [sys.executable, ROOT / "tools/client_env.py", "--domain", "d", "--ca", tmp_path / "ca", "--path", "/bin"],
        input=json.dumps(variables),
        env={"PYTHONPATH": str(ROOT / ".collections"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: write the values of mlflow_artifact_transfer out: clients need them\n"


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
