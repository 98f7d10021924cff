"""What users and operators do: the snippet, verify, status."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from ansible_collections.mlops.mlflow.molecule.shared import checks


def test_the_snippet_logs_and_reads_back(client: Any, edge: checks.Edge) -> None:
    """As it stands: a run, 100 MB, a dataset, a trace and a registered model over TLS."""
    done = client(str(checks.REPOSITORY / "docs" / "examples" / "snippet.py"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "written and read back equal" in done.stdout
    assert re.search(rf"^{re.escape(edge.url)}/#/experiments/\d+/runs/[0-9a-f]{{32}}$", done.stdout, re.MULTILINE)


def test_without_the_authority_a_client_refuses(client: Any, tmp_path: Path) -> None:
    """TLS is verified, not only spoken."""
    empty = tmp_path / "system.pem"
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    empty.write_bytes(system.read_bytes() if system.exists() else b"")
    code = "import mlflow; mlflow.MlflowClient().search_experiments(max_results=1)"
    done = client("-c", code, MLFLOW_TRACKING_SERVER_CERT_PATH=str(empty), MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode != 0
    assert "certificate verify failed" in done.stderr.lower()


ROWS = (
    "SELECT table_name || ' ' || (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %I.%I', "
    "table_schema, table_name), false, true, '')))[1]::text FROM information_schema.tables "
    "WHERE table_type = 'BASE TABLE' AND table_schema = 'public' ORDER BY 1"
)


def rows(host: Any) -> list[str]:
    """Row counts of every table, and the number of files in the artifact store."""
    files = host.check_output("find /srv/mlflow/artifacts -type f | wc -l")
    return [line for database in ("mlflow", "mlflow_auth") for line in checks.query(host, database, ROWS)] + [
        f"files {files}"
    ]


def test_verify_proves_and_leaves_nothing(host: Any, playbook: Any) -> None:
    """Counted in the database itself, not by the program that claims it. `site` has run it before: the experiment is there."""
    before = rows(host)
    done = playbook("verify", "-e", "mlflow_verify_dns_required=false")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "FAILED" not in done.stdout
    assert "changed=0" in done.stdout
    assert rows(host) == before
    result = json.loads(host.file("/var/lib/mlflow-verify/last.json").content_string)
    assert result["ok"]
    assert [step["step"] for step in result["steps"] if step["result"] != "ok"] == []
    assert [finding["id"] for finding in result["findings"] if finding["id"] != "DOMAIN_UNRESOLVED"] == []
    assert host.file("/var/lib/mlflow-verify/last.json").mode == 0o644


def test_status_tells_what_runs(host: Any, playbook: Any) -> None:
    """As a table for people and as JSON for programs; nothing on the host changes."""
    start = time.monotonic()
    done = playbook("status")
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stdout[-3000:]
    for word in (
        "release",
        "live slot",
        "workers",
        "certificate edge",
        "disk artifacts",
        "last verify",
        "never: no backup role configured",
    ):
        assert word in done.stdout, f"status does not tell: {word}"
    assert "changed=0" in done.stdout
    print(
        f"status took {seconds:.1f} s"
    )  # the promise is ten; this machine does other things beside, so it is no assertion
    done = playbook("status", "-e", "mlflow_status_format=json")
    match = re.search(r'"msg": (\{.*?\n    \})', done.stdout, re.DOTALL)
    assert match, done.stdout[-2000:]
    told = json.loads(match.group(1))
    assert told["ready"] == "yes"
    assert told["live_slots"] == checks.live_slots(host)
    assert told["release"] == str(host.file("/opt/mlflow/current").linked_to).rsplit("/", 1)[-1]
    assert told["last_verify"]["ok"] is True
    assert all(entry["days_left"] > 0 for entry in told["certificates"])
