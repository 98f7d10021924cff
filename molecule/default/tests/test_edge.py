"""The public address: who gets in, what is said about it, and how it is carried."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", SEARCH),
        ("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
        ("POST", "/api/2.0/mlflow/runs/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts?path="),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x"),
        ("GET", "/get-artifact?path=x&run_uuid=0"),
        ("POST", "/v1/traces"),
        ("POST", "/graphql"),
    ],
)
def test_anonymous_is_refused(edge: checks.Edge, method: str, path: str) -> None:
    """Every door."""
    assert edge.ask(method, path).status == 401


def test_health_is_open_and_what_is_ours_is_not(edge: checks.Edge) -> None:
    """Load balancers ask /health; the readiness and the metrics are for the inside."""
    assert edge.ask("GET", "/health").status == 200
    for path in ("/mlops/ready", "/metrics"):
        assert edge.ask("GET", path, login=True).status in (403, 404), path


def test_identity_cannot_be_brought_along(edge: checks.Edge) -> None:
    """Headers that a gate would set are worth nothing from outside."""
    forged = {
        "X-Remote-User": "admin",
        "Remote-User": "admin",
        "X-Forwarded-User": "admin",
        "X-Auth-Request-User": "admin",
        "X-Forwarded-Preferred-Username": "admin",
    }
    assert edge.ask("GET", SEARCH, headers=forged).status == 401


def test_the_administrator_gets_in(edge: checks.Edge) -> None:
    """With the generated password."""
    assert edge.ask("GET", SEARCH, login=True).status == 200


def test_security_headers(edge: checks.Edge) -> None:
    """On the page and on a refusal."""
    for login in (True, False):
        headers = edge.ask("GET", "/", login=login).headers
        assert "max-age=" in headers["strict-transport-security"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"].upper() in ("SAMEORIGIN", "DENY")
        assert "referrer-policy" in headers
        assert not re.search(r"\d", headers.get("server", "")), headers["server"]


def test_a_foreign_host_or_origin_is_refused(edge: checks.Edge) -> None:
    """Names that are not ours, and browsers sent by another site."""
    with contextlib.suppress(OSError, http.client.HTTPException):  # closed without an answer
        assert edge.ask("GET", SEARCH, login=True, headers={"Host": "evil.example"}).status in (400, 403, 404, 421)
    answer = edge.ask(
        "POST", "/ajax-api/2.0/mlflow/experiments/create", login=True, headers={"Origin": "https://evil.example"}
    )
    assert answer.status == 403


def test_http2_and_current_tls(edge: checks.Edge, tmp_path: Path) -> None:
    """HTTP/2 with what a client of today brings."""
    authorities = tmp_path / "ca.pem"
    authorities.write_text(edge.authorities, encoding="utf-8")
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_version} %{http_code}",
        "--cacert",
        str(authorities),
        f"{edge.url}/health",
    ]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "2 200"


def handshake(edge: checks.Edge, version: ssl.TLSVersion) -> str | None:
    """A connection in exactly one version of TLS."""
    context = edge.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    with (
        socket.create_connection((edge.name, edge.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=edge.name) as tls,
    ):
        return tls.version()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(edge: checks.Edge) -> None:
    """By the edge itself, not by this client."""
    assert handshake(edge, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(edge, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version|alert handshake failure"):
        handshake(edge, ssl.TLSVersion.TLSv1_1)


def test_static_files_come_compressed_from_the_edge(edge: checks.Edge) -> None:
    """The page's own script, as a browser asks for it."""
    page = edge.ask("GET", "/", login=True).body.decode()
    script = re.search(r'src="\.?/?(static-files/[^"]+\.js)"', page)
    assert script, page[:500]
    plain = edge.ask("GET", f"/{script.group(1)}", login=True)
    packed = edge.ask("GET", f"/{script.group(1)}", login=True, headers={"Accept-Encoding": "gzip"})
    assert plain.status == packed.status == 200
    assert packed.headers.get("content-encoding") == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert "javascript" in packed.headers["content-type"]
    assert packed.headers["x-content-type-options"] == "nosniff"


def test_plain_http_leads_to_https(edge: checks.Edge) -> None:
    """Or is closed; never an answer of MLflow."""
    try:
        with socket.create_connection((edge.name, 80), timeout=10) as plain:
            plain.sendall(f"GET /health HTTP/1.1\r\nHost: {edge.name}\r\nConnection: close\r\n\r\n".encode())
            said = plain.recv(4096).decode()
    except OSError:
        return
    assert re.match(r"HTTP/1\.1 30[18] ", said), said
    assert f"https://{edge.name}" in said


def test_the_access_log_says_who_asked(host: Any, edge: checks.Edge) -> None:
    """JSON with the user, and never the password."""
    marker = f"mlflow-python-client/{time.time_ns()}"
    edge.ask("GET", SEARCH, login=True, headers={"User-Agent": marker})
    line = json.loads(host.check_output("grep -F %s /var/log/nginx/mlflow-access.log", marker))
    assert line["user"] == edge.username
    assert line["status"] == 200
    assert {"upstream_time", "bytes_in", "bytes_out", "request_time"} <= set(line)
    assert edge.password not in json.dumps(line)
