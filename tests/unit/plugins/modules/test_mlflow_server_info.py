"""mlflow_server_info against a peer that answers as MLflow was recorded to, and against peers that do anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.tests.unit.support.http_peers import ENDLESS, RUDE, Reply, http_peer, says
from ansible_collections.mlops.mlflow.tests.unit.support.mlflow_peer import ANSWERS, PASSWORD, USER, mlflow
from ansible_collections.mlops.mlflow.tests.unit.support.module import ids, run_module
from ansible_collections.mlops.mlflow.tests.unit.support.peers import LOOPBACK, free_port, peer
from ansible_collections.mlops.mlflow.tests.unit.support.playbook import play

pytestmark = pytest.mark.usefixtures("in_this_process")
LOGIN = {"username": USER, "password": PASSWORD}


def info(port: int, **options: Any) -> dict[str, Any]:
    """Run the module as host app1, without failing."""
    url = f"http://{LOOPBACK}:{port}"
    answer = run_module(
        "mlflow_server_info", **{"url": url, "host": "app1", "fail_on": "never", "timeout": 30, **options}
    )
    assert answer["changed"] is False
    assert PASSWORD not in json.dumps(answer["findings"])
    return answer


def one(answer: dict[str, Any], finding_id: str, summary: str, evidence: str = "") -> None:
    """Assert that this is all that was found."""
    assert ids(answer) == [finding_id], answer
    assert summary in answer["findings"][0]["summary"]
    assert evidence in answer["findings"][0]["evidence"]


@pytest.mark.usefixtures("apart")
def test_a_server_tells_what_it_is() -> None:
    with http_peer(mlflow()) as port:
        answer = info(port, expected_version="3.17.2", **LOGIN)
    assert answer["findings"] == [], answer
    route = answer["server"].pop("route")
    assert route == {"addresses": [LOOPBACK], "address": LOOPBACK, "step": "http"}
    assert answer["server"] == {
        "reachable": True,
        "version": "3.17.2",
        "authentication": True,
        "user": "admin",
        "admin": True,
        "experiments": {"count": 2, "more": False},
        "runs": {"count": 50, "more": True},
        "registered_models": {"count": 0, "more": False},
        "artifact_root": "mlflow-artifacts:/0",
        "artifact_mode": "proxied",
        "store": "SqlStore",
        "workspaces": False,
        "gateway": True,
        "multipart_uploads": False,
        "ui_telemetry": False,
    }


def test_a_server_without_logins_is_a_finding_unless_it_is_meant() -> None:
    with http_peer(mlflow(auth=False)) as port:
        answer = info(port)
        one(answer, "ENDPOINT_ANONYMOUS", "somebody without a login is let in.", "HTTP 200")
        assert answer["server"]["authentication"] is False
        assert answer["server"]["user"] == ""
        assert info(port, anonymous=True)["findings"] == []


def test_a_wrong_password() -> None:
    with http_peer(mlflow()) as port:
        answer = info(port, username=USER, password="another-password")
    one(answer, "ENDPOINT_LOGIN", "the login admin is refused.", "HTTP 401")
    assert answer["server"]["reachable"] is True
    assert answer["server"]["store"] == "SqlStore"
    assert answer["server"]["version"] == ""


def test_no_login_where_one_is_asked_for() -> None:
    with http_peer(mlflow()) as port:
        one(info(port), "ENDPOINT_LOGIN", "no login was given, and one is asked for.", "HTTP 401")


def test_another_version_is_a_warning() -> None:
    with http_peer(mlflow()) as port:
        answer = info(port, expected_version="3.16.1", fail_on="critical", **LOGIN)
        one(answer, "ENDPOINT_MLFLOW_VERSION", "MLflow 3.17.2 answers, and 3.16.1 is expected.")
        assert "failed" not in answer
        assert info(port, expected_version="3.16.1", fail_on="warning", **LOGIN)["failed"] is True


def test_a_server_that_lost_its_database() -> None:
    """The answer of MLflow whose PostgreSQL was stopped (recorded)."""
    text = "(psycopg2.OperationalError) connection to server at 127.0.0.1, port 5432 failed: Connection refused"
    body = json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE", "message": text}).encode()
    with http_peer(
        mlflow(change=lambda path: Reply(503, body) if path.endswith(("/search", "/get")) else None)
    ) as port:
        answer = info(port, **LOGIN)
    one(
        answer,
        "ENDPOINT_MLFLOW_ERROR",
        "MLflow does not answer for experiments.",
        "TEMPORARILY_UNAVAILABLE: (psycopg2.",
    )
    assert answer["server"]["experiments"] == {"count": None, "more": None}


@pytest.mark.parametrize("status", [200, 404, 502])
def test_another_service(status: int) -> None:
    with http_peer(
        lambda _request: Reply(status, b"<html>Welcome to nginx!</html>", {"Content-Type": "text/html"})
    ) as port:
        one(info(port), "ENDPOINT_NOT_MLFLOW", "what answers is not MLflow.", f"/health: HTTP {status}")


def test_nobody_there() -> None:
    answer = info(free_port())
    one(answer, "ENDPOINT_TCP", "the port does not take a connection", "Connection refused")
    assert answer["server"]["reachable"] is False


def test_artifacts_that_clients_reach_themselves() -> None:
    root = {"experiment": {"experiment_id": "0", "artifact_location": "s3://bucket/mlflow/0"}}
    reply = Reply(body=json.dumps(root).encode())
    with http_peer(mlflow(change=lambda path: reply if path.endswith("experiments/get") else None)) as port:
        server = info(port, **LOGIN)["server"]
    assert (server["artifact_root"], server["artifact_mode"]) == ("s3://bucket/mlflow/0", "direct")


def test_the_options_of_the_group_hold_for_the_module(tmp_path: Path) -> None:
    """module_defaults of group/mlops.mlflow.mlflow, as a play sets them once for all modules that talk to MLflow."""
    playbook = tmp_path / "play.yml"
    with http_peer(mlflow()) as port:
        task = {
            "name": "It answers",
            "mlops.mlflow.mlflow_server_info": {"expected_version": "3.17.2"},
            "register": "it",
        }
        shown = {
            "name": "Show",
            "ansible.builtin.debug": {"msg": "user={{ it.server.user }} of {{ it.server.version }}"},
        }
        defaults = {"group/mlops.mlflow.mlflow": {"url": f"http://{LOOPBACK}:{port}", "timeout": 60, **LOGIN}}
        one_play = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": [task, shown]}
        playbook.write_text(json.dumps([one_play]))
        played = play(tmp_path, playbook, "-vvv")
    assert played.code == 0, played.output
    assert "user=admin of 3.17.2" in played.output
    assert PASSWORD not in played.output


# ----- whatever comes


def told(answer: dict[str, Any]) -> None:
    """It told something in the shape of findings, without a traceback."""
    assert all(found["id"].startswith("ENDPOINT_") for found in answer["findings"]), answer
    assert "Traceback" not in str(answer)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", ["silence", "a slow drip", "endless headers"])
def test_a_server_that_never_ends(name: str) -> None:
    with peer(ENDLESS[name]) as port:
        answer = info(port, timeout=2)
    told(answer)
    assert ids(answer) in (["ENDPOINT_TIMEOUT"], ["ENDPOINT_CHECK"], ["ENDPOINT_NOT_HTTP"])


@pytest.mark.parametrize("name", RUDE)
def test_a_peer_that_is_rude(name: str) -> None:
    with peer(RUDE[name]) as port:
        answer = info(port, timeout=10, **LOGIN)
    told(answer)
    assert answer["findings"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*"ab", "experiments", "user"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/health", "/version", *ANSWERS]),
    said=JSON,
    status=st.sampled_from([200, 400, 403, 404, 500]),
)
def test_any_json_is_judged(path: str, said: Any, status: int) -> None:
    reply = Reply(status, json.dumps(said).encode())
    with http_peer(mlflow(change=lambda asked: reply if asked == path else None)) as port:
        told(info(port, **LOGIN))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(list(next(iter(ANSWERS.values()))))
    | st.sampled_from(["experiments", "runs", "experiment", "user"]),
    value=JSON,
)
def test_any_shape_is_judged(name: str, value: Any) -> None:
    """Right JSON, and in one place something else than the API promises."""

    def change(path: str) -> Reply | None:
        return Reply(body=json.dumps({**ANSWERS[path], name: value}).encode()) if path in ANSWERS else None

    with http_peer(mlflow(change=change)) as port:
        told(info(port, **LOGIN))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.binary(max_size=80).map(lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body) | st.binary(max_size=40))
def test_any_bytes_are_judged(answer: bytes) -> None:
    with peer(says(answer)) as port:
        told(info(port, timeout=4))
