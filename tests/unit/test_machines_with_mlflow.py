"""What MLflow's own client sends with the package for tokens installed into it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import Reply, Request, http_peer, server_context


def machine_python() -> Path:
    """MLflow's client with our package installed into it."""
    return environment("machine") / "bin/python"


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
