"""Programs with tokens at all of it: MLflow's own client, nginx, the gate, MLflow with its users in PostgreSQL, and a certified identity provider."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.environments import client_python, environment
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer, server_context
from ansible_collections.mlops.mlflow.tests.unit.support.identity import (
    KEY,
    place,
    running_edge,
    running_gate,
    running_provider,
    values_for,
)
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import running_mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.peers import free_port
from ansible_collections.mlops.mlflow.tests.unit.support.postgresql import Server

API = "https://api.mlflow.test"
SECONDS = 6  # that a token lives
JOB = Path(__file__).with_name("support") / "job.py"
MAKE = """
import sys
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(sys.argv[1])
store.create_user("admin", "the-password-of-admin", is_admin=True)
"""
SETTINGS = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = {uri}
admin_username = admin
authorization_function = mlops_mlflow_hooks.identity:authenticate
"""
RULES = {
    "accounts": [],
    "reserved": ["admin"],
    "admin_groups": ["mlflow-admins"],
    "group_roles": {},
    "separator": "\t",
    "seconds": 1,
}


@dataclass
class Stack:
    """All of it; the provider can be away."""

    folder: Path
    url: str
    issuer: str
    provider: contextlib.ExitStack
    start_provider: Any

    def environment(self, **changes: str) -> dict[str, str]:
        """Of a job, as `make client-env AS=ci` prints it."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.folder / "provider-ca.pem"),
            "MLFLOW_TRACKING_AUTH": "mlops-oidc",
            "MLOPS_OIDC_ISSUER": self.issuer,
            "MLOPS_OIDC_CLIENT_ID": "ci",
            "MLOPS_OIDC_CLIENT_SECRET": "secret of ci",
            "MLOPS_OIDC_RESOURCE": API,
            "MLOPS_OIDC_CA_FILE": str(self.folder / "provider-ca.pem"),
            **changes,
        }

    def answers(self) -> Counter[tuple[str, int]]:
        """Who was answered what, as the edge wrote it down."""
        time.sleep(0.5)
        lines = [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]
        return Counter((line["user"], line["status"]) for line in lines)


@pytest.fixture(scope="module")
def stack(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    release = tmp_path_factory.mktemp("release")
    authority = Authority.make("of a test")
    with contextlib.ExitStack() as stack:
        users = stack.enter_context(postgresql.database("machines_users"))
        uri = postgresql.uri(users).replace("postgresql://", "postgresql+psycopg2://")
        subprocess.run([client_python(), "-c", MAKE, uri], check=True, capture_output=True, timeout=1500)
        settings = release / "auth.ini"
        settings.write_text(SETTINGS.format(uri=uri.replace("%", "%%")))
        server = stack.enter_context(
            running_mlflow(
                release,
                {
                    "MLFLOW_UVICORN_OPTS": "--timeout-worker-healthcheck 120",
                    "MLFLOW_AUTH_CONFIG_PATH": str(settings),
                    "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
                    "MLOPS_IDENTITY": json.dumps(RULES),
                    "MLOPS_IDENTITY_KEY": KEY,
                    "MLOPS_IDENTITY_ACCOUNTS_KEY": "accounts-" * 4,
                    "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN": "jobs-" * 8,
                },
                "mlops-oidc",
            )
        )
        folder = stack.enter_context(place())
        ports = {"edge": free_port(), "gate": free_port(), "server": server.port}
        port = free_port()
        url = f"https://localhost:{ports['edge']}"
        provider = stack.enter_context(contextlib.ExitStack())

        def start() -> None:
            (folder / "provider.log").unlink(missing_ok=True)
            provider.enter_context(running_provider(folder, authority, url, API, SECONDS, port=port))

        start()
        issuer = f"https://localhost:{port}"
        values = values_for(folder, ports, mlflow_oidc_issuer=issuer, mlflow_oidc_audiences=[API])
        stack.enter_context(running_gate(folder, values))
        stack.enter_context(running_edge(folder, authority, values))
        yield Stack(folder, url, issuer, provider, start)


def machine_python() -> Path:
    """MLflow's client with our package installed into it."""
    return environment("machine") / "bin/python"


def test_a_job_outlives_its_tokens_and_a_restart_of_the_provider(stack: Stack) -> None:
    with subprocess.Popen(
        [machine_python(), JOB, str(6 * SECONDS)],
        env=stack.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout
        assert job.stdout.readline() == "began\n", job.communicate()[1]
        time.sleep(2 * SECONDS)
        stack.provider.close()
        time.sleep(1.5 * SECONDS)
        stack.start_provider()
        output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors[-3000:]
    done = json.loads(output)
    assert done["kept"] == done["logged"] > 10
    assert done["downloaded"] == done["listed"] == done["uploaded"] > 3
    assert (done["status"], done["traces"]) == ("FINISHED", 1)
    assert done["tokens"] >= 3
    answers = stack.answers()
    # A token may end on its way while the provider is away: then the request is sent again, and the job does not see it.
    again = sum(count for (_user, status), count in answers.items() if status == 401)
    assert again < 5, answers
    assert {one for one in answers if one[1] != 401} == {("ci-runner", 200)}, answers
    assert "secret of ci" not in output + errors
    assert "Asking again in" in errors, "that the provider was away stands in the job's output"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"MLOPS_OIDC_CLIENT_SECRET": "not-the-secret"},
            "The identity provider {issuer} does not accept the client ci or its secret: invalid_client (client authentication failed).",
        ),
        (
            {"MLOPS_OIDC_ISSUER": "https://localhost:1"},
            "The identity provider https://localhost:1 cannot be asked: no connection.",
        ),
        ({"MLOPS_OIDC_CLIENT_ID": ""}, "There is a client's secret, but MLOPS_OIDC_CLIENT_ID is not set."),
    ],
    ids=["secret", "away", "client"],
)
def test_without_a_token_a_job_ends_with_the_reason(stack: Stack, changes: dict[str, str], sentence: str) -> None:
    done = subprocess.run(
        [machine_python(), JOB, "1"],
        env=stack.environment(**changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith(sentence.format(issuer=stack.issuer)), done.stderr
    assert not [secret for secret in ("not-the-secret", "secret of ci") if secret in done.stderr]


MULTIPART = """
import sys
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
HttpArtifactRepository(sys.argv[1] + "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts").log_artifact(sys.argv[2])
"""


def test_parts_of_files_go_to_signed_addresses_without_the_token(tmp_path: Path) -> None:
    """What MLflow's client sends of a multipart upload: the token to MLflow, nothing of it to the store."""
    authority = Authority.make("of a test")
    asked: list[Request] = []
    origins: dict[str, str] = {}

    def answer(request: Request) -> Reply:
        if request.path == "/.well-known/openid-configuration":
            about = {"issuer": origins["idp"], "token_endpoint": f"{origins['idp']}/token"}
            return Reply(200, json.dumps(about).encode())
        if request.path == "/token":
            return Reply(200, b'{"access_token": "the-token", "token_type": "Bearer", "expires_in": 300}')
        asked.append(request)
        if "/mpu/create/" in request.path:
            parts: list[dict[str, Any]] = [
                {"url": f"{origins['store']}/part/{n}", "part_number": n, "headers": {}} for n in (1, 2)
            ]
            return Reply(200, json.dumps({"upload_id": "u", "credentials": parts}).encode())
        return Reply(200, b"{}", {"ETag": "e"})

    file = tmp_path / "model.bin"
    file.write_bytes(b"m" * 10_000_000)
    context = server_context(authority, tmp_path, "localhost")
    with http_peer(answer, context=context) as idp, http_peer(answer) as mlflow, http_peer(answer) as store:
        origins |= {"idp": f"https://localhost:{idp}", "store": f"http://localhost:{store}"}
        variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_TRACKING_URI": f"http://localhost:{mlflow}",
            "MLFLOW_TRACKING_AUTH": "mlops-oidc",
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
            "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "5242880",
            "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "5242880",
            "MLOPS_OIDC_ISSUER": origins["idp"],
            "MLOPS_OIDC_CLIENT_ID": "ci",
            "MLOPS_OIDC_CLIENT_SECRET": "secret of ci",
            "MLOPS_OIDC_CA_FILE": str(authority.write(tmp_path / "authority.pem")),
        }
        done = subprocess.run(
            [machine_python(), "-c", MULTIPART, variables["MLFLOW_TRACKING_URI"], file],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    sent = [(request.path, request.headers.get("Authorization")) for request in asked]
    assert sorted(one for one in sent if one[0].startswith("/part/")) == [("/part/1", None), ("/part/2", None)]
    path = "/api/2.0/mlflow-artifacts/mpu/{}/1/run/artifacts"
    assert [one for one in sent if not one[0].startswith("/part/")] == [
        (path.format(step), "Bearer the-token") for step in ("create", "complete")
    ]
