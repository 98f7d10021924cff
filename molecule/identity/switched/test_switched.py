"""The installation goes to logins of MLflow's own and comes back: experiments, runs and grants stay, and names mean the same people."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from ansible_collections.mlops.mlflow.molecule.identity.conftest import URL
from ansible_collections.mlops.mlflow.molecule.shared import checks

NAME, PASSWORD = "of-the-time-before", "a-password-of-before"
API = "/api/2.0/mlflow"


def good(answer: checks.Answer) -> Any:
    """What was answered, if it is no refusal."""
    assert answer.status == 200, answer
    return json.loads(answer.body)


def carol(edge: checks.Edge, method: str, path: str, **body: Any) -> checks.Answer:
    """A request with the password that she has with MLflow itself."""
    login = "Basic " + base64.b64encode(f"carol:{PASSWORD}".encode()).decode()
    headers = {"Authorization": login, "Content-Type": "application/json"}
    return edge.ask(method, path, headers=headers, body=json.dumps(body) if body else "")


def before(edge: checks.Edge) -> tuple[str, str]:
    """With logins of MLflow's own an administrator lets carol into an experiment, and she logs a run there: their numbers."""

    def admin(path: str, **body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        return good(edge.ask("POST", path, login=True, headers=headers, body=json.dumps(body)))

    admin(f"{API}/users/create", username="carol", password=PASSWORD)
    experiment = str(admin(f"{API}/experiments/create", name=NAME)["experiment_id"])
    wanted = {"resource_type": "experiment", "resource_id": experiment, "permission": "EDIT"}
    admin("/api/3.0/mlflow/users/permissions/grant", username="carol", **wanted)
    run = good(carol(edge, "POST", f"{API}/runs/create", experiment_id=experiment, run_name="carol's", start_time=1))
    return experiment, str(run["run"]["info"]["run_id"])


def test_there_and_back(playbook: Any, edge: checks.Edge, person: Callable[..., list[dict[str, Any]]]) -> None:
    there = playbook("site", "-e", "mlflow_auth=basic")
    assert there.returncode == 0, there.stdout[-4000:]
    assert edge.ask("GET", "/").status == 401
    experiment, run = before(edge)

    back = playbook("site")
    assert back.returncode == 0, back.stdout[-4000:]
    assert carol(edge, "GET", f"{API}/runs/get?run_id={run}").status == 401, "her password opens nothing any more"
    *_way, seen, other = person(
        {"go": URL},
        {"log_in": ["carol", "of-carol"]},
        {"ask": f"ajax-api/2.0/mlflow/runs/get?run_id={run}"},
        {"ask": f"ajax-api/2.0/mlflow/experiments/get?experiment_id={experiment}"},
    )
    assert json.loads(seen["answer"]["body"])["run"]["info"]["run_name"] == "carol's", seen
    assert json.loads(other["answer"]["body"])["experiment"]["name"] == NAME, other
    # Nobody gave bob anything there.
    *_way, refused = person(
        {"go": f"{URL}/oidc/sign-out"},
        {"confirm": "button[value=yes]"},
        {"go": URL},
        {"log_in": ["bob", "of-bob"]},
        {"ask": f"ajax-api/2.0/mlflow/runs/get?run_id={run}"},
    )
    assert refused["answer"]["status"] == 403, refused


def test_site_has_nothing_left_to_do(playbook: Any) -> None:
    done = playbook("site")
    assert done.returncode == 0, done.stdout[-3000:]
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    assert all("changed=0" in line for line in recap.splitlines() if "ok=" in line), recap
