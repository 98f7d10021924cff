"""The registry of findings, the sentence made of one, and the page made of all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.filter.findings import FilterModule
from ansible_collections.mlops.mlflow.plugins.module_utils import _findings
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS, render, report

ID = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def test_ids_are_unique_and_well_formed() -> None:
    assert len(FINDINGS) == len(_findings.REGISTERED)
    assert all(ID.fullmatch(finding_id) for finding_id in FINDINGS)


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=lambda finding: finding.id)
def test_every_finding_is_complete(finding: _findings.Finding) -> None:
    assert finding.severity in _findings.SEVERITIES
    assert not finding.title.endswith(".")
    assert finding.cause.endswith(".")
    assert finding.remedy.endswith(".")


def test_a_sentence_names_host_variable_value_limit_and_fix() -> None:
    sentence = render(
        "HOST_MEMORY", host="db1", variable="memory", value="512 MB", limit="At least 900 MB", fix="Add some"
    )
    assert sentence == "[HOST_MEMORY] db1: memory=512 MB. At least 900 MB. Add some. Nothing was changed."


def test_what_is_left_out_comes_from_the_registry() -> None:
    finding = FINDINGS["HOST_CLOCK"]
    assert render("HOST_CLOCK", host="db1") == (
        f"[HOST_CLOCK] db1: {finding.title}. {finding.remedy} Nothing was changed."
    )


def test_only_what_stops_a_run_promises_that_nothing_was_changed() -> None:
    assert "Nothing was changed." not in render("VERIFY_KEPT", host="app1")
    assert "Nothing was changed." not in render("HOST_CLOCK", host="app1", promise=False)


def test_a_report_has_the_shape_of_checks() -> None:
    assert set(report("HOST_CLOCK", host="app1", summary="It is off by 9 s.")) == {
        "id",
        "severity",
        "summary",
        "evidence",
        "cause",
        "remedy",
        "host",
    }


def test_the_filter_renders_and_refuses_an_unknown_id() -> None:
    finding = FilterModule().filters()["finding"]
    assert finding("HOST_CLOCK", host="app1").startswith("[HOST_CLOCK] app1: ")
    with pytest.raises(AnsibleFilterError, match="does not know the id 'HOST_CLOK'"):
        finding("HOST_CLOK", host="app1")


@pytest.mark.parametrize(
    ("revision", "backed_up", "refused"),
    [("old", "", 1), ("old", "old", 0), ("old", "older", 1), ("", "unrecorded", 0), ("", "", 1)],
)
def test_an_older_schema_is_refused_unless_it_is_the_one_of_a_backup(
    revision: str, backed_up: str, refused: int
) -> None:
    found = report("DATABASE_SCHEMA_OLDER", host="app1", summary="It is older.")
    item = {"subject": "mlflow_database_name", "backed_up": backed_up}
    result = {"item": item, "findings": [found], "database": {"revision": revision}}
    assert len(FilterModule().filters()["refused"]([result], "app1")) == refused


def test_every_id_in_a_message_is_registered(repository: Path) -> None:
    used: dict[str, str] = {}
    for room in ("roles", "playbooks", "plugins"):
        for path in (repository / room).rglob("*"):
            if path.suffix not in {".yml", ".py", ".j2"} or path.parent.name == "_findings":
                continue
            text = path.read_text(encoding="utf-8")
            found = re.findall(rf"\[({ID.pattern})\](?=[ '{{])|'({ID.pattern})' \| mlops\.mlflow\.finding", text)
            used.update({match[0] or match[2]: str(path.relative_to(repository)) for match in found})
    assert "HOST_ENVIRONMENT" in used
    assert "CERT_EXPIRED" in used
    assert {finding_id: path for finding_id, path in used.items() if finding_id not in FINDINGS} == {}


def test_the_verification_carries_the_same_findings(repository: Path) -> None:
    """verify.py runs alone on a host, so it has the table once more."""
    tree = ast.parse((repository / "roles/mlflow_verify/files/verify.py").read_text(encoding="utf-8"))
    table = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "FINDINGS"
        and node.value
    )
    registered = {name: (FINDINGS[name].severity, FINDINGS[name].cause, FINDINGS[name].remedy) for name in table}
    assert registered == table


def test_the_generated_pages_are_current(repository: Path) -> None:
    command = [sys.executable, str(repository / "tools/generate_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
