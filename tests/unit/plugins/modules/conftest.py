"""Fixtures for tests of modules."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.mlops.mlflow.plugins.module_utils import _probe


@pytest.fixture
def apart() -> None:
    """The probe runs in a process of its own, as it does for users."""


@pytest.fixture
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run probes without a new Python for each, unless the test asks for `apart`: to start one takes longer than all the rest."""

    def run(probe: ModuleType, asked: dict[str, Any], **_options: Any) -> _probe.Outcome:
        return _probe.Outcome(answer=json.loads(json.dumps(probe.probe(json.loads(json.dumps(asked))))))

    if "apart" not in request.fixturenames:
        monkeypatch.setattr(_probe, "run", run)
