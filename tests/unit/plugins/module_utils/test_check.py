"""What all check modules share: the sentence of a finding, and what makes a task fail."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.mlops.mlflow.plugins.doc_fragments.check import ModuleDocFragment
from ansible_collections.mlops.mlflow.plugins.module_utils import _check
from ansible_collections.mlops.mlflow.plugins.module_utils._probe import Outcome


def found(severity: str) -> dict[str, str]:
    return {"id": f"X_{severity.upper()}", "severity": severity, "host": "app1", "summary": "Said.", "remedy": "Do."}


ALL = [found("info"), found("warning"), found("critical")]
CRITICAL, WARNING = "[X_CRITICAL] app1: Said. Do.", "[X_WARNING] app1: Said. Do."


@pytest.mark.parametrize(
    ("fail_on", "sentences"), [("never", []), ("critical", [CRITICAL]), ("warning", [CRITICAL, WARNING])]
)
def test_what_is_severe_enough_is_said(fail_on: str, sentences: list[str]) -> None:
    assert _check.refusals(ALL, fail_on) == sentences


def test_a_probe_without_an_answer_is_said() -> None:
    assert _check.no_answer(Outcome(answer={"a": 1}), 5) == ""
    assert _check.no_answer(Outcome(timed_out=True), 5) == "There was no answer within 5 s."
    assert _check.no_answer(Outcome(failure="it broke"), 5) == "The probe ended without an answer: it broke."


@pytest.mark.parametrize(
    ("options", "fragment"),
    [(_check.OPTIONS, ModuleDocFragment.DOCUMENTATION), (_check.SANDBOX, ModuleDocFragment.SANDBOX)],
)
def test_the_fragment_documents_these_options(options: dict[str, Any], fragment: str) -> None:
    documented = yaml.safe_load(fragment)["options"]
    for option in documented.values():
        assert option.pop("description")
    assert documented == options
