# Copyright: the mlops.mlflow authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the verification decides without a network: requests, blame, counts, words."""

from __future__ import annotations

import http.server
import importlib.util
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _findings

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "mlflow_verify" / "files" / "verify.py"


def load() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("mlflow_verify_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify: Any = load()
REQUEST = {"url": "https://mlflow.example.com", "username": "admin", "password": "a-secret-word"}


def parent(**request: Any) -> Any:
    """A parent that starts nothing."""
    return verify.Parent(verify.read_request(json.dumps({**REQUEST, "host": "srv1", **request})))


def test_the_registry_says_the_same() -> None:
    """The program stands alone on its host; what it says of a finding is what the collection's registry says."""
    for name, (severity, cause, remedy) in verify.FINDINGS.items():
        registered = _findings.find(name)
        # The registry warns of a missing DNS record before an installation; a client cannot do without it.
        if name != "DOMAIN_UNRESOLVED":
            assert (registered.severity, registered.cause, registered.remedy) == (severity, cause, remedy), name
    ours = {name for name in _findings.FINDINGS if name.startswith("VERIFY_")}
    assert ours <= set(verify.FINDINGS)


def test_each_step_is_a_method() -> None:
    """The last one is the parent's."""
    for step, title in verify.STEPS[:-1]:
        assert callable(getattr(verify.Client, f"step_{step}"))
        assert title


def test_a_request_gets_its_defaults() -> None:
    """And the URL loses its last slash."""
    request = verify.read_request(json.dumps({"url": "https://mlflow.example.com:8443/"}))
    assert request["url"] == "https://mlflow.example.com:8443"
    assert request["artifact_mb"] == 8
    assert request["dns_required"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://mlflow.example.com"}, "expected https://"),
        ({"url": "https://mlflow.example.com/path"}, "expected https://"),
        ({"url": ""}, "expected https://"),
        ({"passwort": "x"}, "keys nobody knows: passwort"),
        ({"timeout": 3}, "timeout=3: at least 10"),
        ({"artifact_mb": -1}, "artifact_mb=-1: at least 0"),
    ],
)
def test_a_request_that_cannot_be_used(change: dict[str, Any], said: str) -> None:
    """One sentence, before anything is started."""
    with pytest.raises(ValueError, match=said):
        verify.read_request(json.dumps({**REQUEST, **change}))


@pytest.mark.parametrize(
    ("said", "finding"),
    [
        ('503 {"error_code": "TEMPORARILY_UNAVAILABLE"}', "VERIFY_DATABASE"),
        ("(psycopg2.OperationalError) connection refused", "VERIFY_DATABASE"),
        ("too many 503 error responses", "VERIFY_DATABASE"),
        ("API request failed with error code 502 != 200", "VERIFY_NOT_READY"),
        ("504 Gateway Time-out", "VERIFY_NOT_READY"),
    ],
)
def test_blame(said: str, finding: str) -> None:
    """Which part an answer points to."""
    assert verify.known_trouble(said).finding == finding


def test_a_number_in_an_id_blames_nobody() -> None:
    """Only a status that stands alone counts."""
    assert verify.known_trouble("run 95031234 has no parameter, 15 020 bytes") is None


def test_a_server_that_cannot_answer_is_not_an_open_door() -> None:
    """5xx says nothing about who may ask."""
    verify.raise_trouble(401, b"")
    verify.raise_trouble(200, b"")
    with pytest.raises(verify.StepFailure) as failure:
        verify.raise_trouble(500, b"Internal Server Error")
    assert failure.value.finding == "VERIFY_NOT_READY"


def client(tmp_path: Path, **request: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A client that has not connected to anything, and what it told."""
    told: list[dict[str, Any]] = []
    full = verify.read_request(json.dumps({**REQUEST, **request}))
    return verify.Client(
        {**full, "nonce": "1-ab", "work": str(tmp_path), "ca_pem": "", "store_ca_pem": ""}, told.append
    ), told


def test_a_name_without_record_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which name, and where it should lead."""

    def unknown(*_arguments: Any, **_keywords: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(verify.socket, "getaddrinfo", unknown)
    one, _told = client(tmp_path, edges=["192.0.2.10", "192.0.2.11"])
    with pytest.raises(verify.StepFailure) as failure:
        one.step_name()
    assert failure.value.finding == "DOMAIN_UNRESOLVED"
    assert "mlflow.example.com does not resolve" in failure.value.summary
    assert "point it to 192.0.2.10, 192.0.2.11" in failure.value.summary

    one, told = client(tmp_path, edges=["192.0.2.10"], dns_required=False)
    assert "192.0.2.10 is used for this verification only" in one.step_name()
    assert [(event["finding"]["id"], event["finding"]["severity"]) for event in told] == [
        ("DOMAIN_UNRESOLVED", "warning")
    ]


def test_an_address_holds_for_that_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the process resolves as before."""
    asked: list[str] = []

    def known(host: str, *_arguments: Any, **_keywords: Any) -> Any:
        asked.append(host)
        return [(2, 1, 6, "", ("198.51.100.1", 443))]

    monkeypatch.setattr(verify.socket, "getaddrinfo", known)
    one, told = client(tmp_path, address="192.0.2.10")
    assert "192.0.2.10" in one.step_name()
    assert told == []
    verify.socket.getaddrinfo("mlflow.example.com", 443)
    verify.socket.getaddrinfo("other.example.com", 443)
    assert asked == ["mlflow.example.com", "192.0.2.10", "other.example.com"]


def test_a_door_without_lock_is_critical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All doors are tried, and the open ones named."""
    one, _told = client(tmp_path)
    monkeypatch.setattr(one, "http", lambda _method, path: (200 if path == "/graphql" else 401, b""))
    with pytest.raises(verify.StepFailure) as failure:
        one.step_anonymous()
    assert failure.value.finding == "VERIFY_ANONYMOUS"
    assert failure.value.evidence == "POST /graphql -> 200"


def test_without_login_the_refusals_are_said_to_be_skipped(tmp_path: Path) -> None:
    """Nothing is claimed that was not tried."""
    one, _told = client(tmp_path, username="", password="")
    assert one.step_anonymous().startswith("skipped")
    assert one.step_password().startswith("skipped")


def test_a_request_too_large_names_the_limit(tmp_path: Path) -> None:
    """413 comes from before MLflow."""
    one, _told = client(tmp_path)
    failure = one.artifact_failure("uploaded", RuntimeError("HTTP 413 Request Entity Too Large"), 0)
    assert failure.finding == "VERIFY_ARTIFACT"
    assert "client_max_body_size" in failure.remedy


def leave(
    counts: dict[str, dict[str, int]], answer: dict[str, Any], cleaned: dict[str, Any] | None, **request: Any
) -> Any:
    """A parent after a client with these counts and a rows process with this answer."""
    one = parent(rows_command=["true"], **request)
    one.counts = counts
    one.cleaned = cleaned
    one.rows = lambda _payload: answer
    one.leave_nothing({"rows": {"runs": 1}})
    return one


CLEAN: dict[str, Any] = {"removed": {}, "gone": {"runs": ["r"], "models": []}, "errors": [], "kept": []}


def test_equal_counts_leave_nothing() -> None:
    """Also when an older leftover went."""
    one = leave({"before": {"runs": 0}, "after": {"runs": 0}}, {"rows": {"runs": 0}}, CLEAN)
    assert one.findings == []
    assert one.steps["traces_left"]["result"] == "ok"


@pytest.mark.parametrize(
    ("counts", "answer", "cleaned", "finding"),
    [
        ({"before": {"runs": 0}, "after": {"runs": 1}}, {"rows": {}}, CLEAN, "VERIFY_LEFTOVERS"),
        ({"before": {"runs": 0}, "after": {"runs": 0}}, {"rows": {"params": 3}}, CLEAN, "VERIFY_LEFTOVERS"),
        ({}, {"rows": {}}, None, "VERIFY_LEFTOVERS"),
        ({}, {"error": "no login"}, CLEAN, "VERIFY_KEPT"),
        ({}, {"rows": {}}, {**CLEAN, "kept": ["r: AccessDenied"]}, "VERIFY_KEPT"),
    ],
)
def test_what_stays_is_said(
    counts: dict[str, dict[str, int]], answer: dict[str, Any], cleaned: dict[str, Any] | None, finding: str
) -> None:
    """Rows, objects, a clean-up that did not end, an identity that may not delete."""
    one = leave(counts, answer, cleaned)
    assert finding in [entry["id"] for entry in one.findings]


@pytest.mark.parametrize("stays", [True, False])
def test_a_store_that_refuses_to_delete_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool
) -> None:
    """MLflow reports success when S3 refuses single objects: what is still listed was kept."""
    one, _events = client(tmp_path)
    listings = iter([["run/a", "run/b"], ["run/a", "run/b"] if stays else []])
    monkeypatch.setattr(one, "objects", lambda _path: iter(next(listings)))
    monkeypatch.setattr(one, "repository", lambda: SimpleNamespace(delete_artifacts=lambda _path: None))
    removed: dict[str, int] = {"objects": 0}
    kept: list[str] = []
    one.discard("run", removed, kept)
    assert removed["objects"] == (0 if stays else 2)
    assert kept == (["run: the store kept 2 of 2 objects"] if stays else [])


def test_a_killed_client_is_a_finding_without_secret() -> None:
    """What it printed last is evidence, the password is not."""
    one = parent()
    one.running = ("upload", time.monotonic())
    one.judge_client(-9, "oops a-secret-word oops")
    assert [entry["id"] for entry in one.findings] == ["VERIFY_STEP"]
    assert "'An artifact goes up'" in one.findings[0]["summary"]
    assert "a-secret-word" not in json.dumps(one.result())


def test_the_result_is_one_document_and_one_sentence() -> None:
    """Steps that did not run are there; the sentence has id, host and remedy."""
    one = parent()
    one.take({"event": "start", "step": "name"})
    one.take({"event": "step", "step": "name", "result": "ok", "seconds": 0.1, "detail": "fine"})
    one.take({"event": "finding", "finding": verify.make_finding("VERIFY_TLS", "The certificate is refused.")})
    result = one.result()
    assert result["ok"] is False
    assert [step["step"] for step in result["steps"]] == [step for step, _title in verify.STEPS]
    assert result["steps"][-1]["result"] == "not run"
    assert result["sentence"].startswith("[VERIFY_TLS] srv1: The certificate is refused. Run the playbook")
    assert set(result["findings"][0]) == {"id", "severity", "summary", "evidence", "cause", "remedy", "host"}
    assert any(line.startswith("CRITICAL VERIFY_TLS") for line in result["table"])
    assert "a-secret-word" not in json.dumps(result)


def test_a_warning_does_not_fail() -> None:
    """But an interruption does: nothing was proved."""
    one = parent()
    one.found("VERIFY_CERTIFICATE_DAYS", "The certificate lasts 3 more days.")
    assert one.result()["ok"] is True
    one.found("VERIFY_INTERRUPTED", "Stopped.")
    assert one.result()["ok"] is False


def test_a_password_in_a_uri_is_hidden() -> None:
    """As it is and as the URI writes it."""
    uri = "postgresql+psycopg2://user:p%2Fw-d@/mlflow?host=/run/postgresql"
    assert verify.hide_password("cannot use p%2Fw-d or p/w-d", uri) == "cannot use ******** or ********"


def test_the_result_file_is_replaced_and_readable(tmp_path: Path) -> None:
    """By everybody: there is no secret in it."""
    path = tmp_path / "new" / "last.json"
    verify.write_result(path, {"ok": True})
    verify.write_result(path, {"ok": False})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ok": False}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["last.json"]


# ----- each fault, from a peer that has it


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nobody listens: it is bound, so nobody else takes it meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Callable[[int], str]]:
    """A web server that answers every request alike, whoever asks; returns its address for a status."""
    servers = []

    def start(status: int) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"https://localhost:{server.server_port}"

    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, "-days", "2", *subject, *files], check=True, capture_output=True)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def failure_of(step: Callable[[], str]) -> Any:
    with pytest.raises(verify.StepFailure) as failure:
        step()
    return failure.value


def trusting(tmp_path: Path, url: str) -> Any:
    """A client that trusts the certificate of that web server."""
    one, _told = client(tmp_path, url=url)
    one.context.load_verify_locations(cafile=str(tmp_path / "cert.pem"))
    return one


def test_nobody_listens(tmp_path: Path, closed_port: int) -> None:
    one, _told = client(tmp_path, url=f"https://localhost:{closed_port}")
    failure = failure_of(one.step_tls)
    assert (failure.finding, failure.summary) == ("VERIFY_UNREACHABLE", f"No connection to localhost:{closed_port}.")


def test_a_certificate_of_nobody_known(tmp_path: Path, careless: Callable[[int], str]) -> None:
    one, _told = client(tmp_path, url=careless(200))
    failure = failure_of(one.step_tls)
    assert failure.finding == "VERIFY_TLS"
    assert failure.summary == "The certificate of localhost is refused: self-signed certificate."


def test_every_password_is_let_in(tmp_path: Path, careless: Callable[[int], str]) -> None:
    failure = failure_of(trusting(tmp_path, careless(200)).step_password)
    assert failure.finding == "VERIFY_WRONG_PASSWORD"
    assert failure.summary == "A random password is answered with 200 instead of 401."


def test_no_password_is_let_in(tmp_path: Path, careless: Callable[[int], str]) -> None:
    failure = failure_of(trusting(tmp_path, careless(401)).step_login)
    assert (failure.finding, failure.summary) == ("VERIFY_LOGIN", "The login of admin is refused (401).")
    assert "a-secret-word" not in f"{failure.summary}{failure.evidence}"


def test_bytes_that_were_cut_on_their_way(tmp_path: Path) -> None:
    class Store:
        """Gives back less than it got."""

        def download_artifacts(self, _run: str, _path: str, target: str) -> str:
            (Path(target) / "cut").write_bytes(b"half")
            return f"{target}/cut"

    one, _told = client(tmp_path, artifact_mb=1)
    one.api, one.checksum = Store(), "of the whole"
    failure = failure_of(one.step_download)
    assert failure.finding == "VERIFY_CHECKSUM"
    assert failure.summary == "The artifact came back different: 4 bytes instead of 1048576."


def test_a_client_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    one = parent(user="root", timeout=10)
    code, _said = one.run_client(
        {**one.request, "nonce": "1-ab", "work": str(work), "ca_pem": "", "store_ca_pem": ""}, "--client", until=0
    )
    assert code != 0
    assert [(entry["id"], entry["summary"]) for entry in one.findings] == [
        ("VERIFY_TIMEOUT", "Not finished within 10 seconds; stopped before the first step.")
    ]
