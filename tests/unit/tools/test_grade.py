"""The page that `make grade` writes, and when the command fails."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tools.grade import ask, problems, read, render


def entry(name: str, severity: str, finding: str) -> dict[str, str]:
    return {"id": name, "ip": "localhost/127.0.0.1", "port": "443", "severity": severity, "finding": finding}


GOOD = [
    entry("TLS1_2", "OK", "offered"),
    entry("cert_ocspURL", "LOW", "--"),
    entry("BREACH", "MEDIUM", "potentially VULNERABLE, gzip | HTTP compression detected"),
    entry("final_score", "INFO", "94"),
    entry("overall_grade", "OK", "A+"),
]
HEADERS: dict[str, list[dict[str, Any]]] = {
    "Without a login": [{"rule": "Server", "message": "Header should not be returned", "value": "nginx"}]
}


def test_a_good_edge_has_a_page_and_no_problem() -> None:
    tls = read(GOOD)
    assert (tls.grade, list(tls.reasons), dict(tls.scores)) == ("A+", [], {"final_score": "94"})
    assert problems(tls, HEADERS) == []
    page = render(tls, "3.2.1", HEADERS, "a host", "2026-11-29")
    assert "## TLS: A+\n" in page
    assert "| together | 94 |\n" in page
    assert "| potentially VULNERABLE, gzip \\| HTTP compression detected | BREACH | It takes a page" in page
    assert "| Server | Header should not be returned (nginx) | Says nginx and no version" in page


@pytest.mark.parametrize(
    ("more", "rule", "said"),
    [
        (
            [
                entry("overall_grade", "OK", "A"),
                entry("grade_cap_reason_1", "INFO", "Grade capped to A. HSTS is not offered"),
            ],
            "Server",
            "the grade is A",
        ),
        ([entry("TLS1", "LOW", "offered (deprecated)")], "Server", "testssl.sh: TLS1: offered (deprecated)"),
        ([], "X-New", "drheader: X-New"),
    ],
)
def test_what_has_no_reason_is_a_problem(more: list[dict[str, str]], rule: str, said: str) -> None:
    tls = read([*GOOD, *more])
    headers = {"Logged in": [{"rule": rule, "message": "It differs", "value": None}]}
    assert problems(tls, headers) == [said]
    page = render(tls, "3.2.1", headers, "a host", "2026-11-29")
    assert ("Not A+, because:\n\n- Grade capped to A." in page) == (tls.grade == "A")
    assert ("**open**" in page) == (tls.grade == "A+")


def test_a_scan_that_broke_off_is_a_problem() -> None:
    assert problems(read([]), {}) == ["the grade is missing"]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A page that takes a login."""
    authority = Authority.make("own")
    certificate, key = authority.issue("localhost")
    (tmp_path / "both.pem").write_bytes(certificate + key)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Authorization"] == "Basic YTpi" else 401)
            self.send_header("X-Seen", str(self.headers["Authorization"]))
            self.send_header("Set-Cookie", "session=1; Path=/")
            self.end_headers()

        def log_message(self, *_said: Any) -> None:
            pass

    server = http.server.HTTPServer(("localhost", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}", authority.write(tmp_path / "ca.pem")
    server.shutdown()
    server.server_close()


def test_headers_are_read_with_and_without_a_login(page: tuple[str, Path]) -> None:
    url, ca = page
    assert ask(url, ca)["X-Seen"] == "None"
    assert ask(url, ca, "a:b")["X-Seen"] == "Basic YTpi"
    assert ask(url, ca)["Set-Cookie"] == ["session=1; Path=/"]
