"""Waiting for a server: success, and the reasons for giving up."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlops_mlflow_hooks import wait


@contextmanager
def answering(*statuses: int) -> Iterator[int]:
    """A server that answers with these statuses in turn, then with the last one."""
    left = list(statuses)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/mlops/ready"
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()
            self.wfile.write(b'{"failing": {"auth": "OperationalError"}}')

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MLFLOW_HOST", "0.0.0.0")
    monkeypatch.setenv("MLOPS_READY_SECONDS", "5")
    monkeypatch.delenv("MAINPID", raising=False)
    return monkeypatch


def test_returns_when_ready(environment: pytest.MonkeyPatch) -> None:
    with answering(503, 200) as port:
        environment.setenv("MLFLOW_PORT", str(port))
        assert wait.main() == 0


def test_gives_up_with_the_last_answer(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    environment.setenv("MLOPS_READY_SECONDS", "0.2")
    with answering(503) as port:
        environment.setenv("MLFLOW_PORT", str(port))
        assert wait.main() == 1
    assert "503" in (said := capsys.readouterr().err)
    assert "auth" in said


def test_gives_up_at_once_when_the_server_has_ended(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    environment.setenv("MLFLOW_PORT", "1")
    environment.setenv("MAINPID", str(ended.pid))
    assert wait.main() == 1
    assert "ended before it was ready" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.5", "10.0.0.5")]
)
def test_where_the_server_is_asked(host: str, asked: str) -> None:
    assert wait.address({"MLFLOW_HOST": host, "MLFLOW_PORT": "5001"}) == (asked, 5001)


def test_a_process_that_runs_is_alive() -> None:
    assert wait.alive(str(os.getpid()))
    assert wait.alive("")
