"""The hook decides about its variable before it asks MLflow for anything; what it does there runs in test_mlflow_transfer.py."""

from __future__ import annotations

import pytest
from mlops_mlflow_hooks import artifacts


def test_a_way_that_is_none_ends_the_start_with_a_sentence() -> None:
    with pytest.raises(SystemExit) as ended:
        artifacts.settle({"MLOPS_ARTIFACT_TRANSFER": "by pigeon"})
    assert ended.value.code == ("mlops: MLOPS_ARTIFACT_TRANSFER must be proxied, presigned or direct, not 'by pigeon'.")


@pytest.mark.parametrize("environment", [{}, {"MLOPS_ARTIFACT_TRANSFER": "presigned"}])
def test_mlflow_is_left_alone_where_it_may_give_urls_away(environment: dict[str, str]) -> None:
    # This environment has no MLflow: whoever asked for it would fail.
    artifacts.settle(environment)


def test_a_store_does_all_by_name_and_is_none_that_makes_urls() -> None:
    class Maker:
        """What MLflow asks isinstance() about."""

    class Store(Maker):
        def list_artifacts(self, path: str) -> list[str]:
            return [f"{path}/one"]

    streaming = artifacts.Streaming(Store())
    assert streaming.list_artifacts("here") == ["here/one"]
    assert not isinstance(streaming, Maker)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        str(streaming.nothing_of_the_kind)
