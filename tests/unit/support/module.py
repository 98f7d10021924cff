"""Run a module of this collection as Ansible would, in the test's own process, and return what it said."""

from __future__ import annotations

import importlib
import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from ansible.module_utils.testing import patch_module_args

PACKAGE = "ansible_collections.mlops.mlflow.plugins.modules"


def run_module(name: str, /, *, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    """Return the module's answer. Whatever else ends it than an answer (an exception) ends the test."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    said = StringIO()
    # The system's log takes neither everything nor what tests say.
    internal = {"_ansible_check_mode": check_mode, "_ansible_no_log": True}
    with patch_module_args({**arguments, **internal}), redirect_stdout(said):
        try:
            module.main()
        except SystemExit:
            pass
        else:
            raise AssertionError(f"{name} ended without an answer")
    answer = json.loads(said.getvalue())
    assert isinstance(answer, dict)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    """Return the ids of the findings in the order in which they were returned."""
    return [finding["id"] for finding in answer["findings"]]
