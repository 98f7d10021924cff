"""Which markers of deletions hide what was there at a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Entry
from ansible_collections.mlops.mlflow.plugins.module_utils._s3_versions import markers_since

MOMENT = 1000.5
TOLERANCE = 30.0


def history(text: str) -> list[Entry]:
    """Versions (v) and markers (m) with their seconds, the oldest first: "v10 m1200"."""
    steps = text.split()
    return [
        Entry(f"{number}", step.startswith("m"), float(step[1:]), number == len(steps) - 1)
        for number, step in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("text", "markers"),
    [
        pytest.param("v10", [], id="it was never deleted"),
        pytest.param("v10 m1200", ["1"], id="deleted since"),
        pytest.param("v10 m1200 m1300", ["1", "2"], id="deleted twice"),
        pytest.param("v10 m1200 v1300", [], id="deleted, and there is another one"),
        pytest.param("v10 m1200 v1300 m1400", ["3"], id="the newest version is seen"),
        pytest.param("v10 v1200 m1300", ["2"], id="overwritten and deleted"),
        pytest.param("v10 m900", [], id="deleted before"),
        pytest.param("v10 m900 m1200", [], id="deleted before and again since"),
        pytest.param("v10 m900 v1200 m1300", [], id="deleted before, came and went since"),
        pytest.param("v1200 m1300", [], id="it came since"),
        pytest.param("v10 m990", ["1"], id="deleted when clocks may differ"),
        pytest.param("v1020 m1300", ["1"], id="it came when clocks may differ"),
        pytest.param("v10 m10 m1200", ["1", "2"], id="in the same second nobody knows what was last"),
        pytest.param("m1200", [], id="no version is left"),
        pytest.param("", [], id="nothing"),
    ],
)
def test_what_was_there_comes_back(text: str, markers: list[str]) -> None:
    assert markers_since(history(text), MOMENT, TOLERANCE) == markers
    assert markers_since(history(text)[::-1], MOMENT, TOLERANCE) == markers


def test_a_marker_without_an_id_of_its_own_is_not_removed() -> None:
    entries = [Entry("1", False, 10.0, False), Entry("null", True, 1200.0, True)]
    assert markers_since(entries, MOMENT, TOLERANCE) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(900, 1100)), max_size=6))
def test_only_markers_are_named_and_the_one_that_hides_it_is_the_last(steps: list[tuple[bool, int]]) -> None:
    steps.sort(key=lambda one: one[1])
    entries = [
        Entry(f"{number}", marker, float(seconds), number == len(steps) - 1)
        for number, (marker, seconds) in enumerate(steps)
    ]
    markers = markers_since(entries, MOMENT, TOLERANCE)
    by_id = {one.version: one for one in entries}
    assert all(by_id[version].marker for version in markers)
    if markers:
        assert by_id[markers[-1]].latest
        assert any(not one.marker for one in entries)
