"""Every finding is induced: an id that no test provokes and reads fails here.

What counts is a text that a test compares with what was said, in an assertion or in a table handed to one. Comments, docstrings,
and assertions that something was not said do not count; nor do tests of the registry itself, and of decisions about invented facts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import FINDINGS

ROOMS = ("tests/unit/**/*.py", "tests/refusals/*.py", "molecule/**/*.py")
# Of the registry, of decisions without a peer, and this one.
NOT_COUNTED = ("test_findings.py", "test_contract.py", "test_check.py", "test_findings_induced.py")
ID = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


def compared(node: ast.AST, *, counts: bool = False) -> Iterator[str]:
    """Texts below assertions and in arguments of calls, other than those that must not be there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and counts:
        yield node.value
    for child in ast.iter_child_nodes(node):
        absent = isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.NotIn, ast.NotEq))
        yield from compared(child, counts=(counts or isinstance(node, (ast.Assert, ast.Call))) and not absent)


def induced(source: str) -> set[str]:
    """The ids that a test file compares something with: as a whole text, or in brackets as in sentences."""
    found = set()
    for text in compared(ast.parse(source)):
        found.update(re.findall(rf"\[({ID.pattern})\]", text))
        if ID.fullmatch(text):
            found.add(text)
    return found


@pytest.fixture(scope="module")
def everywhere() -> set[str]:
    root = Path(__file__).resolve().parents[2]
    paths = {path for room in ROOMS for path in root.glob(room) if path.name not in NOT_COUNTED}
    assert len(paths) > 30
    return {finding for path in paths for finding in induced(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_is_induced(finding: str, everywhere: set[str]) -> None:
    assert finding in everywhere, f"No test provokes {finding} and reads its sentence; see CONTRIBUTING.md."


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('assert said == ["[HOST_DISK] app1: full."]', {"HOST_DISK"}),
        ('Case("full", f"[HOST_DISK] {name}: full.")', {"HOST_DISK"}),
        ('assert [entry["id"] for entry in findings] == ["HOST_DISK"]', {"HOST_DISK"}),
        ('# [HOST_DISK]\nassert said == "HOST_DISK or so"', set()),
        ('def test_it() -> None:\n    """[HOST_DISK] is said."""\n    assert True', set()),
        ('assert "[HOST_DISK]" not in said', set()),
        ('known = {"HOST_DISK": "[HOST_DISK]"}', set()),
    ],
)
def test_only_what_is_compared_counts(source: str, found: set[str]) -> None:
    assert induced(source) == found
