"""What happens when a part is away; and the proof that the checks of this folder can fail."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.molecule.shared import checks


@contextmanager
def stopped(host: Any, unit: str) -> Iterator[None]:
    """A unit that is stopped for a while."""
    # Debian's postgresql.service ends at once and its clusters, postgresql@VERSION-NAME, in their own time: wait for both.
    host.check_output("systemctl stop %s %s", unit, f"{unit}@*")
    try:
        yield
    finally:
        host.check_output("systemctl start %s", unit)


def wait_until_ready(host: Any, slot: str, seconds: float = 60) -> float:
    """How long the server took to be ready again."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if checks.ready_status(host, slot) == 200:
            return time.monotonic() - start
        time.sleep(1)
    raise AssertionError(f"slot {slot} is not ready after {seconds} s")


def test_a_database_that_is_away(host: Any, client: Any, edge: checks.Edge) -> None:
    """Not ready at once, a clear error for the client, and well again without a restart."""
    slot = checks.live_slots(host)[0]
    before = checks.starts(host, f"mlflow-server@{slot}", "nginx")
    code = (
        "import mlflow\n"
        "try: mlflow.MlflowClient().search_experiments(max_results=1)\n"
        "except mlflow.exceptions.MlflowException as error: print('CLEAR', error)\n"
    )
    with stopped(host, "postgresql"):
        assert checks.ready_status(host, slot) == 503
        assert edge.ask("GET", "/health").status == 200, "the process itself is alive"
        start = time.monotonic()
        done = client("-c", code, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="20")
        assert time.monotonic() - start < 60
        assert done.stdout.startswith("CLEAR"), done.stderr[-1000:]
    wait_until_ready(host, slot)
    assert edge.ask("GET", "/api/2.0/mlflow/experiments/search?max_results=1", login=True).status == 200
    assert checks.starts(host, f"mlflow-server@{slot}", "nginx") == before, "it needed a restart"


def test_a_stopped_server_is_noticed(host: Any, edge: checks.Edge, playbook: Any) -> None:
    """The check that is green elsewhere is red now, and verify names the fault, the finding and the command that shows why."""
    slot = checks.live_slots(host)[0]
    with stopped(host, f"mlflow-server@{slot}"):
        with pytest.raises(AssertionError, match=r"no slot of the server runs"):
            checks.server_is_ready(host)
        assert edge.ask("GET", "/health").status in (502, 503, 504)
        done = playbook("verify", "-e", "mlflow_verify_dns_required=false")
        assert done.returncode != 0
        assert "[VERIFY_NOT_READY]" in done.stdout
        assert "journalctl -u 'mlflow-server@*'" in done.stdout
    checks.server_is_ready(host)


def test_a_configuration_that_cannot_serve_is_refused(host: Any, edge: checks.Edge, playbook: Any) -> None:
    """The new slot is stopped again and says why, the old one goes on serving; not even its password is in what is said."""
    slot = checks.live_slots(host)[0]
    other = {"a": "b", "b": "a"}[slot]
    before = checks.starts(host, f"mlflow-server@{slot}")
    host.check_output("cp -a /etc/mlflow /root/mlflow-before")
    uri = "postgresql+psycopg2://nobody:a-secret-word@/mlflow?host=/run/postgresql"
    try:
        given = json.dumps({"mlflow_server_extra_env": {"MLFLOW_BACKEND_STORE_URI": uri}})
        said = playbook("site", "--tags", "server", "-e", given).stdout
        assert (
            f"slot {other} did not become ready with the new configuration. Slot {slot} keeps serving as before."
            in said
        )
        assert "[SERVER_NOT_READY]" in said
        assert "a-secret-word" not in said
        assert "Traceback" not in said
        assert edge.ask("GET", "/api/2.0/mlflow/experiments/search?max_results=1", login=True).status == 200
        assert checks.live_slots(host) == [slot]
        assert checks.starts(host, f"mlflow-server@{slot}") == before
    finally:
        host.check_output("cp -a /root/mlflow-before/. /etc/mlflow/ && rm -r /root/mlflow-before")
    # Nothing is left of it: the next run finds nothing to do.
    again = playbook("site", "--tags", "server").stdout
    assert re.search(r"changed=0 +unreachable=0 +failed=0", again), again[-2000:]
    assert checks.starts(host, f"mlflow-server@{slot}") == before
