"""What `make -s client-env` prints is what a shell can evaluate and a client can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.playbook import ROOT
from ansible_collections.mlops.mlflow.tools.client_env import Unclear, client_environment, export_lines

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


OIDC: dict[str, Any] = {"mlflow_auth": "oidc", "mlflow_oidc_issuer": "https://login.example.com"}


def as_ci(secret: str = "", **variables: object) -> dict[str, str]:
    return client_environment(
        {**SECRETS, **variables}, domain="d.test", ca="/ca.pem", path="/bin", machine="ci", secret=secret
    )


def test_a_program_logs_in_at_the_identity_provider() -> None:
    expected = {
        "MLFLOW_TRACKING_URI": "https://d.test",
        "MLFLOW_TRACKING_AUTH": "mlops-oidc",
        "MLOPS_OIDC_ISSUER": "https://login.example.com",
        "MLOPS_OIDC_CLIENT_ID": "ci",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem",
        "PATH": "/bin",
    }
    assert as_ci(**OIDC) == expected
    assert as_ci("/ci.secret", **OIDC) == {**expected, "MLOPS_OIDC_CLIENT_SECRET_FILE": "/ci.secret"}


def test_the_administrator_has_a_path_of_his_own_or_none() -> None:
    found = environment(**OIDC, mlflow_oidc_password_accounts=["admin"])
    assert (found["MLFLOW_TRACKING_URI"], found["MLFLOW_TRACKING_USERNAME"]) == (
        "https://mlflow.dev.test/accounts",
        "admin",
    )
    refusals: tuple[tuple[Callable[[], object], str], ...] = (
        (
            lambda: environment(**OIDC),
            "with mlflow_auth=oidc say as which client of the provider: make client-env AS=ci",
        ),
        (as_ci, "AS=ci is a client of an identity provider, and mlflow_auth is basic: leave it out"),
        (
            lambda: as_ci(**{**OIDC, "mlflow_oidc_issuer": "{{ issuer }}"}),
            "write the value of mlflow_oidc_issuer out: clients need it",
        ),
    )
    for refused, sentence in refusals:
        with pytest.raises(Unclear) as problem:
            refused()
        assert str(problem.value) == sentence


def run(tmp_path: Path, machine: str, **variables: object) -> subprocess.CompletedProcess[str]:
    given = {**SECRETS, "mlflow_certificates_ca_certificate": "pem", **variables}
    options: list[str | Path] = [
        "--domain",
        "d.test",
        "--ca",
        tmp_path / "ca",
        "--path",
        "/bin",
        "--machine",
        machine,
        "--secrets",
        tmp_path,
    ]
    return subprocess.run(
        [sys.executable, ROOT / "tools/client_env.py", *options],
        input=json.dumps(given),
        env={"PYTHONPATH": str(ROOT / ".collections"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_secret_is_named_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "ci.secret"
    done = run(tmp_path, "ci", **OIDC)
    assert (done.returncode, "SECRET" in done.stdout) == (0, False)
    assert (
        done.stderr
        == f"No secret of ci is in {file}: put it there, or log in with python -m mlops_mlflow_client.login\n"
    )
    file.write_text("the secret")
    file.chmod(0o644)
    done = run(tmp_path, "ci", **OIDC)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"Error: {file} is open to others: chmod 600 {file}\n",
    )
    file.chmod(0o600)
    done = run(tmp_path, "ci", **OIDC)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"export MLOPS_OIDC_CLIENT_SECRET_FILE={file}" in done.stdout
    assert "the secret" not in done.stdout
    done = run(tmp_path, "../ci", **OIDC)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: AS=../ci is no client's name: letters, digits and .-_ make one\n"


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


@pytest.mark.parametrize(("given", "command"), [((), "tools/client-env"), (("AS=ci",), "tools/client-env ci")])
def test_the_make_command_names_a_client_only_if_somebody_did(
    repository: Path, given: tuple[str, ...], command: str
) -> None:
    """AS is a variable that make has by itself."""
    # Not as a part of the make that runs these tests.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    wanted = ["make", "--dry-run", "--silent", "client-env", *given]
    done = subprocess.run(wanted, cwd=repository, env=outside, capture_output=True, text=True, check=True)
    assert done.stdout.split() == command.split()
