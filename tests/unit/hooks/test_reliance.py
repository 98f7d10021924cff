"""A missing name of MLflow's is a sentence."""

from __future__ import annotations

import pytest
from mlops_mlflow_hooks._reliance import Unsupported, relied_on


def test_what_is_there_is_returned() -> None:
    assert relied_on("json", "loads", "dumps").loads("1") == 1


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Unsupported, match=r"no json:nonsense, rubbish, which mlops-mlflow-hooks relies on"):
        relied_on("json", "loads", "nonsense", "rubbish")
