"""mlflow_endpoint_check against live peers: each finding is induced, and an answer comes whatever the peer does."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.mlops.mlflow.plugins.module_utils import _rest
from ansible_collections.mlops.mlflow.tests.unit.support.certificates import Authority
from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import (
    ENDLESS,
    RUDE,
    Reply,
    Request,
    http_peer,
    says,
    server_context,
)
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, deaf_port, free_port, peer, silent

pytestmark = pytest.mark.usefixtures("in_this_process")
PASSWORD = "p:/?#[]@ä-that-nobody-may-read"
HELLO = Reply(
    200, b"OK", {"Content-Type": "text/plain", "X-Frame-Options": "DENY", "Set-Cookie": "session=hidden-value"}
)


def check(url: str, **options: Any) -> dict[str, Any]:
    """Run the module as host app1, without failing."""
    return run_module(
        "mlflow_endpoint_check", **{"url": url, "host": "app1", "fail_on": "never", "timeout": 30, **options}
    )


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "", step: str = "") -> None:
    """Assert that this is all that was found."""
    assert ids(answer) == [finding_id], answer
    finding = answer["findings"][0]
    assert summary in finding["summary"]
    assert evidence in finding["evidence"]
    assert finding["host"] == "app1"
    assert answer["changed"] is False
    assert answer["endpoint"]["route"]["failed_at"] == step


# ----- what is as expected


@pytest.mark.usefixtures("apart")
def test_an_endpoint_as_expected(tmp_path: Path) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "authority.pem")
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return HELLO

    with http_peer(answer, context=server_context(authority, tmp_path, "mlflow.example.com")) as port:
        got = check(
            f"https://mlflow.example.com:{port}/health?q=ä b",
            address=LOOPBACK,
            ca_file=str(file),
            username="me",
            password=PASSWORD,
            body="^OK$",
            headers={"x-frame-options": "DENY|SAMEORIGIN", "Content-Type": ""},
            forbidden_headers=["X-Powered-By"],
            max_seconds=60,
        )
    assert got["findings"] == [], got
    seen = got["endpoint"]
    assert seen["route"] == {"addresses": [LOOPBACK], "address": LOOPBACK, "step": "http", "failed_at": ""}
    assert (seen["status"], seen["size"]) == (200, 2)
    assert (seen["tls"]["version"], seen["tls"]["names"]) == ("TLSv1.3", ["mlflow.example.com"])
    assert seen["tls"]["days"] > 80
    assert seen["headers"]["set-cookie"] == "(hidden)"
    assert asked[0].path == "/health?q=%C3%A4%20b"
    assert asked[0].headers["Host"] == f"mlflow.example.com:{port}"
    assert asked[0].headers["Authorization"].startswith("Basic bWU6c")


def test_head_without_a_login() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        return HELLO

    with http_peer(answer) as port:
        assert check(f"http://localhost:{port}", method="HEAD")["findings"] == []
    assert (asked[0].method, "Authorization" in asked[0].headers) == ("HEAD", False)


def test_a_redirect_as_expected() -> None:
    reply = Reply(301, headers={"Location": "https://mlflow.example.com/"})
    with http_peer(lambda _request: reply) as port:
        assert check(f"http://{LOOPBACK}:{port}", status=[301, 308], redirect=r"^https://mlflow\.")["findings"] == []


# ----- the URL, files, the way


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mlflow.example.com", "does not begin with https:// or http://"),
        ("ftp://mlflow.example.com", "does not begin with https:// or http://"),
        ("", "does not begin with https:// or http://"),
        ("https://", "names no host"),
        ("https://[::1", "cannot be read"),
        ("https://x:99999/", "cannot be read"),
        ("https://a..b/", "cannot be read"),
        ("https://a b/", "names no host"),
    ],
)
def test_a_url_that_is_none(url: str, why: str) -> None:
    one(check(url), "ENDPOINT_URL", "the URL cannot be used; the step url failed.", why, "url")


def test_a_login_in_the_url_is_refused_and_not_repeated() -> None:
    answer = check(f"https://me:{'secret-word'}@mlflow.example.com/x?token=secret-word")
    one(answer, "ENDPOINT_URL", "https://mlflow.example.com/x: the URL cannot be used", "it holds a login", "url")
    answer.pop("invocation", None)
    assert "secret-word" not in json.dumps(answer["findings"])


@pytest.mark.parametrize("name", ["ca_file", "client_certificate"])
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (str(broken), f"{tmp_path}/missing.pem"):
        one(
            check(f"https://{LOOPBACK}:1", **{name: path}),
            "ENDPOINT_FILE",
            "a file for TLS cannot be used",
            path,
            "file",
        )


def test_a_pattern_that_is_none() -> None:
    one(
        check(f"http://{LOOPBACK}:1", body="("),
        "ENDPOINT_PATTERN",
        "a pattern cannot be understood",
        "body: ",
        "pattern",
    )


def test_a_name_without_an_address() -> None:
    one(
        check("https://mlflow.invalid/"),
        "ENDPOINT_DNS",
        "the name does not resolve; the step dns failed.",
        "unresolved: ",
        "dns",
    )


def test_a_port_where_nobody_listens() -> None:
    port = free_port()
    answer = check(f"https://{LOOPBACK}:{port}/")
    one(
        answer,
        "ENDPOINT_TCP",
        "the port does not take a connection",
        f"refused: {LOOPBACK} port {port}: Connection refused",
        "tcp",
    )


def test_a_port_that_drops_packets() -> None:
    with deaf_port() as port:
        answer = check(f"https://{LOOPBACK}:{port}/", timeout=2)
    one(answer, "ENDPOINT_TCP", "the port does not take a connection", "timeout: ", "tcp")


# ----- TLS


@pytest.mark.parametrize(
    ("names", "days", "trusted", "finding_id", "evidence"),
    [
        ([LOOPBACK], 90, False, "ENDPOINT_TLS_UNTRUSTED", "untrusted: unable to get local issuer certificate"),
        (["other.example.com"], 90, True, "ENDPOINT_TLS_NAME", "name: IP address mismatch"),
        ([LOOPBACK], -1, True, "ENDPOINT_TLS_EXPIRED", "expired: certificate has expired"),
    ],
)
def test_a_certificate_that_is_refused(
    tmp_path: Path, names: list[str], days: float, trusted: bool, finding_id: str, evidence: str
) -> None:
    authority = Authority.make("test")
    file = str(authority.write(tmp_path / "authority.pem")) if trusted else ""
    with http_peer(lambda _request: HELLO, context=server_context(authority, tmp_path, *names, days=days)) as port:
        one(check(f"https://{LOOPBACK}:{port}/", ca_file=file), finding_id, "the step tls failed.", evidence, "tls")


def test_a_certificate_that_ends_soon(tmp_path: Path) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "authority.pem")
    with http_peer(lambda _request: HELLO, context=server_context(authority, tmp_path, LOOPBACK, days=5)) as port:
        answer = check(f"https://{LOOPBACK}:{port}/", ca_file=str(file))
        one(answer, "ENDPOINT_CERTIFICATE_DAYS", "more days, and 14 are asked for.", f"for {LOOPBACK}")
        assert check(f"https://{LOOPBACK}:{port}/", ca_file=str(file), min_days=4)["findings"] == []
        assert "failed" not in check(f"https://{LOOPBACK}:{port}/", ca_file=str(file), fail_on="critical")
        assert check(f"https://{LOOPBACK}:{port}/", ca_file=str(file), fail_on="warning")["failed"] is True


def test_an_older_version_of_tls(tmp_path: Path) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "authority.pem")
    context = server_context(authority, tmp_path, LOOPBACK)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with http_peer(lambda _request: HELLO, context=context) as port:
        answer = check(f"https://{LOOPBACK}:{port}/", ca_file=str(file), min_tls="TLSv1.3")
    one(answer, "ENDPOINT_TLS_PROTOCOL", "it speaks TLSv1.2, and TLSv1.3 is asked for.")


def test_a_server_that_speaks_only_what_nobody_should() -> None:
    """The alert protocol_version, as a server of TLS 1.0 answers it (recorded)."""
    with peer(says(b"\x15\x03\x01\x00\x02\x02\x46")) as port:
        one(
            check(f"https://{LOOPBACK}:{port}/"),
            "ENDPOINT_TLS_PROTOCOL",
            "is not what is asked for",
            "protocol: ",
            "tls",
        )


def test_a_server_that_wants_a_certificate(tmp_path: Path) -> None:
    authority = Authority.make("test")
    file = authority.write(tmp_path / "authority.pem")
    certificate = tmp_path / "client.pem"
    certificate.write_bytes(b"".join(authority.issue("a client")))
    context = server_context(authority, tmp_path, LOOPBACK)
    context.load_verify_locations(file)
    context.verify_mode = ssl.CERT_REQUIRED
    with http_peer(lambda _request: HELLO, context=context) as port:
        url = f"https://{LOOPBACK}:{port}/"
        one(
            check(url, ca_file=str(file)), "ENDPOINT_CLIENT_CERTIFICATE", "wants a certificate", "certificate: ", "http"
        )
        assert check(url, ca_file=str(file), client_certificate=str(certificate))["findings"] == []


def test_nginx_that_wants_a_certificate() -> None:
    """The answer of nginx 1.22 with ssl_verify_client (recorded)."""
    page = b"<html><head><title>400 No required SSL certificate was sent</title></head><body></body></html>"
    with http_peer(lambda _request: Reply(400, page, {"Content-Type": "text/html"})) as port:
        answer = check(f"http://{LOOPBACK}:{port}/")
    one(answer, "ENDPOINT_CLIENT_CERTIFICATE", "the server wants a certificate", "No required SSL certificate was sent")


def test_https_to_a_port_of_http() -> None:
    with http_peer(lambda _request: HELLO) as port:
        one(check(f"https://{LOOPBACK}:{port}/"), "ENDPOINT_SPEAKS_HTTP", "was asked by HTTPS", "plain: ", "tls")


def test_http_to_a_port_of_https(tmp_path: Path) -> None:
    context = server_context(Authority.make("test"), tmp_path, LOOPBACK)
    with http_peer(lambda _request: HELLO, context=context) as port:
        one(check(f"http://{LOOPBACK}:{port}/"), "ENDPOINT_SPEAKS_HTTPS", "was asked by HTTP", "tls: ", "http")


def test_a_handshake_without_an_answer() -> None:
    with peer(silent) as port:
        one(check(f"https://{LOOPBACK}:{port}/", timeout=2), "ENDPOINT_TLS_BROKEN", "does not end", "timeout: ", "tls")


# ----- HTTP


@pytest.mark.parametrize(
    ("options", "finding_id", "said"),
    [
        ({"status": [204, 301]}, "ENDPOINT_STATUS", "the status is 200, and 204 or 301 is expected."),
        ({"redirect": "^https:"}, "ENDPOINT_REDIRECT", "it is no redirect, and ^https: is expected."),
        (
            {"headers": {"Strict-Transport-Security": ""}},
            "ENDPOINT_HEADER_MISSING",
            "Strict-Transport-Security is missing.",
        ),
        (
            {"headers": {"X-Frame-Options": "^SAME"}},
            "ENDPOINT_HEADER_MISSING",
            "the header X-Frame-Options is not ^SAME.",
        ),
        (
            {"forbidden_headers": ["x-frame-options"]},
            "ENDPOINT_HEADER_FORBIDDEN",
            "the header x-frame-options is there.",
        ),
        ({"body": "fine"}, "ENDPOINT_BODY", "the body does not hold fine."),
    ],
)
def test_an_answer_that_is_another(options: dict[str, Any], finding_id: str, said: str) -> None:
    with http_peer(lambda _request: HELLO) as port:
        url = f"http://{LOOPBACK}:{port}/"
        answer = check(url, **options)
        one(answer, finding_id, f"{url} ({LOOPBACK}): ")
        assert answer["findings"][0]["summary"].endswith(said)
        assert answer["refusals"] == [
            f"[{finding_id}] app1: {answer['findings'][0]['summary']} {answer['findings'][0]['remedy']}"
        ]


def test_a_redirect_to_another_place_is_said_without_its_query() -> None:
    reply = Reply(302, headers={"Location": "https://login.example.com/authorize?state=secret-word"})
    with http_peer(lambda _request: reply) as port:
        answer = check(f"http://{LOOPBACK}:{port}/", status=[302], redirect="^https://mlflow")
    one(
        answer,
        "ENDPOINT_REDIRECT",
        "it redirects to https://login.example.com/authorize, and ^https://mlflow is expected.",
    )
    assert "secret-word" not in json.dumps(answer["findings"])


def test_an_answer_that_comes_late() -> None:
    def late(_request: Request) -> Reply:
        time.sleep(0.2)
        return HELLO

    with http_peer(late) as port:
        one(check(f"http://{LOOPBACK}:{port}/", max_seconds=0.1), "ENDPOINT_SLOW", "and 0.1 s are allowed.")


def test_a_server_that_says_nothing() -> None:
    with peer(silent) as port:
        one(
            check(f"http://{LOOPBACK}:{port}/", timeout=2),
            "ENDPOINT_TIMEOUT",
            "no whole answer in time",
            "timeout: ",
            "http",
        )


def test_a_peer_that_speaks_another_protocol() -> None:
    with peer(RUDE["SSH"]) as port:
        one(
            check(f"http://{LOOPBACK}:{port}/"),
            "ENDPOINT_NOT_HTTP",
            "the answer is not HTTP",
            "garbage: SSH-2.0",
            "http",
        )


# ----- whatever comes


def told(answer: dict[str, Any]) -> None:
    """The module told something in the shape of findings, without a traceback."""
    assert all(found["id"].startswith("ENDPOINT_") for found in answer["findings"]), answer
    assert "Traceback" not in str(answer)
    assert PASSWORD not in json.dumps(answer["findings"])


def within(seconds: float, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run it in a thread that is waited for no longer than this."""
    got: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: got.append(act()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert got, f"no answer within {seconds} s"
    return got[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", ENDLESS)
def test_the_client_itself_ends_in_time(name: str, scheme: str) -> None:
    """Not only its process is ended: modules that use it in their own process have the same bound."""

    def ask() -> dict[str, Any]:
        with suppress(_rest.RestError):
            _rest.Client(f"{scheme}://{LOOPBACK}:{port}/", seconds=0.4).request("GET")
        return {"ended": True}

    with peer(ENDLESS[name]) as port:
        assert within(30, ask) == {"ended": True}


@pytest.mark.usefixtures("apart")
def test_a_pattern_that_would_take_years_ends_with_the_check() -> None:
    with http_peer(lambda _request: Reply(200, b"a" * 64 + b"!")) as port:
        answer = check(f"http://{LOOPBACK}:{port}/", body="^(a+)+$", timeout=2)
    assert ids(answer) == ["ENDPOINT_CHECK"]
    assert answer["findings"][0]["evidence"] == "There was no answer within 2 s."
    assert answer["endpoint"] == {}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", RUDE)
def test_a_peer_that_is_rude(name: str, scheme: str) -> None:
    with peer(RUDE[name]) as port:
        answer = check(f"{scheme}://{LOOPBACK}:{port}/", username="me", password=PASSWORD, timeout=10)
    told(answer)
    assert scheme == "http" or answer["findings"]


ANSWERS = st.builds(
    lambda status, headers, body: b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n\r\n" + body,
    st.binary(max_size=12) | st.sampled_from([b"200 OK", b"404", b"302 Found"]),
    st.binary(max_size=40)
    | st.sampled_from([b"Content-Length: 9", b"Transfer-Encoding: chunked", b"Location: http://["]),
    st.binary(max_size=40),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.binary(max_size=80) | ANSWERS, tls=st.booleans())
def test_any_bytes_are_judged(answer: bytes, tls: bool) -> None:
    with peer(says(answer)) as port:
        told(
            check(f"http{'s' * tls}://{LOOPBACK}:{port}/", body="x", redirect="y", headers={"Location": "z"}, timeout=4)
        )


WORDS = st.text(max_size=20) | st.sampled_from(
    ["http://", "https://[", "a\nb", "\x00", "é.example", "(", "[", "*", "a{99999999999}"]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    url=WORDS | WORDS.map(lambda path: f"http://127.0.0.1:1/{path}") | WORDS.map(lambda host: f"https://{host}:1"),
    options=st.fixed_dictionaries(
        {},
        optional={
            "username": WORDS,
            "password": WORDS,
            "ca_file": WORDS,
            "client_certificate": WORDS,
            "client_key": WORDS,
            "body": WORDS,
            "redirect": WORDS,
            "headers": st.dictionaries(WORDS, WORDS, max_size=2),
            "forbidden_headers": st.lists(WORDS, max_size=2),
            "min_days": st.integers(-(10**6), 10**6),
            "max_seconds": st.floats(0, 10, allow_nan=False),
        },
    ),
)
def test_any_option_is_judged(url: str, options: dict[str, Any]) -> None:
    answer = check(url, address="127.0.0.1", timeout=4, **options)
    assert answer["findings"]
    told(answer)


def test_the_fragment_documents_the_options_of_the_client() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for option in documented.values():
        assert option.pop("description")
    assert documented == {
        name: {key: value for key, value in option.items() if key != "no_log"} for name, option in _rest.OPTIONS.items()
    }
