"""An error of MLflow's own, as a release runs it: the answer is whole, and the connection goes on to serve whoever comes next."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_server import MlflowServer, running_mlflow

# Longer than any file's name may be: MLflow's route of uploads raises an OSError before it has read anything.
REFUSED = f"/api/2.0/mlflow-artifacts/artifacts/{'x' * 300}.bin"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
# More than the buffers between two programs hold, so that most of it is unread when the answer comes.
BODY = b"x" * 16_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("errors")
    # A store whose uploads go through a file of the server's; it is not reached.
    store = {
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/errors",
        "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }
    with running_mlflow(folder, store) as running:
        yield running


def traceback_told(log: Path) -> bool:
    said = log.read_text(errors="replace")
    return "ended with an error that was answered" in said and "File name too long" in said


@pytest.mark.parametrize("body", [b"x", BODY], ids=["little", "much, mostly unread"])
def test_the_connection_of_a_refused_upload_serves_the_next_request(server: MlflowServer, body: bytes) -> None:
    """The edge keeps connections: whoever is given one after an error must not be the one who pays."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        for _dummy in range(10):
            connection.request("PUT", REFUSED, body)
            refused = connection.getresponse()
            assert (refused.status, refused.read()) == (500, b"Internal Server Error")
            assert refused.getheader("Connection") != "close"
            taken = connection.sock
            connection.request("GET", SEARCH)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            assert connection.sock is taken is not None, "the same connection"
    finally:
        connection.close()
    assert traceback_told(server.log)
