"""Ratios, goals, tables and the picture of the benchmark."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.mlops.mlflow.benchmarks import picture, report
from ansible_collections.mlops.mlflow.benchmarks.__main__ import PAGE, PICTURE, RESULTS, load_results
from ansible_collections.mlops.mlflow.benchmarks.figures import Figure, Load, Results, Spread

FAST = Figure("P1", "load mix", "quick start", "requests/s", [20.0, 30.0, 22.0], [10.0, 10.0, 20.0], 1.6)
SMALL = Figure("P7", "memory", "quick <start>", "MiB", [100.0], [400.0], 0.3, at_least=False)
SLOW = Figure("P2", "one client", "plain", "requests/s", [10.0], [20.0], 3.0)
CLEAN = Figure("P10", "errors", "", "of 144", [0.0, 1.0], limit=0.0, at_least=False)


def results(**changes: Any) -> Results:
    base = Results(
        date="2026-01-02 03:04 UTC",
        revision="abc1234",
        machine="2 CPUs",
        mlflow="3.17.2",
        rounds=3,
        quick=False,
        load_before=0.4,
        other=[0.01, 0.02, 0.05],
        steal=[0.0, 0.0, 0.01],
        restarted=0,
        missing=[],
        figures=[FAST, SLOW, SMALL, CLEAN],
        loads=[Load("mix", "ours", [20.0, 30.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], 0)],
    )
    return replace(base, **changes)


def test_a_ratio_is_taken_within_a_round() -> None:
    """The median of ratios, not the ratio of medians (22 / 10)."""
    assert FAST.ratio() == Spread(2.0, 1.1, 3.0)
    assert FAST.met


def test_rounds_must_be_complete() -> None:
    with pytest.raises(ValueError, match="zip"):
        replace(FAST, other=[1.0]).ratio()
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


def test_less_can_be_better() -> None:
    assert SMALL.ratio() == Spread(0.25, 0.25, 0.25)
    assert SMALL.met
    assert SMALL.advantage() == Spread(4.0, 4.0, 4.0)
    assert SMALL.advantage_wanted() == pytest.approx(1 / 0.3)
    assert not replace(SMALL, ours=[200.0]).met


def test_an_inverted_range_keeps_its_order() -> None:
    assert Spread(2.0, 1.0, 4.0).inverse() == Spread(0.5, 0.25, 1.0)


def test_a_value_is_judged_by_its_worst_round() -> None:
    assert CLEAN.ratio() is None
    assert not CLEAN.met
    assert replace(CLEAN, ours=[0.0, 0.0]).met


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (1234.5, "1234"),
        (12.34, "12.3"),
        (1.604, "1.6"),
        (0.2512, "0.251"),
        (2.0, "2"),
        (30, "30"),
        (200, "200"),
    ],
)
def test_numbers_are_short(value: float, expected: str) -> None:
    assert report.number(value) == expected


def test_tables_say_value_ratio_and_goal() -> None:
    text = report.render(results())
    assert "| P1 | load mix, requests/s | 22 [20-30] | quick start: 10 [10-20] | 2 [1.1-3] | ≥ 1.6x | met |" in text
    assert "| P2 | one client, requests/s | 10 | plain: 20 | 0.5 [0.5-0.5] | ≥ 3x | **missed** |" in text
    assert "| P10 | errors, of 144 | 0.5 [0-1] |  |  | ≤ 0 | **missed** |" in text
    assert "| mix | ours | 25 [20-30] | 1.5 [1-2] | 3.5 [3-4] | 5.5 [5-6] | 0 |" in text


def test_noise_is_told() -> None:
    assert "not quiet" not in report.render(results())
    assert "not quiet" in report.render(results(other=[0.3, 0.4, 0.5]))
    assert "not quiet" in report.render(results(steal=[0.05]))
    assert "or the time given was over: P2, P3." in report.render(results(missing=["P2", "P3"]))
    assert "2 measurements were repeated" in report.render(results(restarted=2))


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"# A\n\n{report.BEGIN}\nold\n{report.END}\n\nby hand\n"
    new = report.replace(page, results())
    assert new.startswith(f"# A\n\n{report.BEGIN}\nMeasured 2026")
    assert new.endswith(f"{report.END}\n\nby hand\n")
    assert "\nold\n" not in new
    assert report.replace(new, results()) == new
    with pytest.raises(ValueError, match="markers"):
        report.replace("# A\n", results())


def test_the_picture_shows_each_comparison() -> None:
    root = ElementTree.fromstring(picture.render(results()))
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "P1  load mix" in texts
    assert "against quick <start>" in texts
    assert not any("P10" in entry for entry in texts), "a value without another side is no bar"
    assert any("logarithmic" in entry for entry in texts), "the axis has a name"
    bars = {element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}rect")}
    assert bars == {"#ffffff", picture.MET, picture.MISSED}


def test_everything_stays_inside_the_picture() -> None:
    extreme = results(figures=[replace(FAST, ours=[5000.0], other=[1.0]), replace(SLOW, ours=[1.0], other=[300.0])])
    root = ElementTree.fromstring(picture.render(extreme))
    for element in root.iter():
        for name in ("x", "x1", "x2"):
            if (value := element.get(name)) is not None:
                assert 0 <= float(value) <= picture.WIDTH, ElementTree.tostring(element)


def test_a_wider_factor_is_further_right() -> None:
    scale = picture.Scale([0.7, 40])
    assert (scale.low, scale.high) == (0.5, 50)
    assert scale.x(0.5) == picture.LABELS
    assert scale.x(1) < scale.x(2) < scale.x(40) < scale.x(50) == picture.WIDTH - picture.RIGHT


def test_results_survive_their_file() -> None:
    assert Results.from_json(results().to_json()) == results()


def test_goals_of_a_later_run_take_the_place_of_the_earlier_ones() -> None:
    """The rest stays, and the page says which is of when."""
    faster = replace(SLOW, ours=[60.0])
    load = Load("mix", "ours", [9.0], [9.0], [9.0], [9.0], 0)
    later = results(
        date="2026-02-03 04:05 UTC",
        revision="def5678",
        figures=[faster],
        loads=[load],
        other=[],
        steal=[],
        load_before=0.25,
    )
    merged = results().with_goals_of(later)
    assert merged.figures == [FAST, SMALL, CLEAN, faster]
    assert merged.loads == [load]
    assert (merged.date, merged.revision) == ("2026-01-02 03:04 UTC", "abc1234")
    said = "P2 was measured 2026-02-03 04:05 UTC at revision `def5678`, 3 rounds, load average before 0.25."
    assert said in report.render(merged)
    assert "Noise: load average before the first round 0.25." in report.render(later)


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    """Without results the page says so."""
    page = PAGE.read_text(encoding="utf-8")
    if not RESULTS.is_file():
        assert "Not measured yet" in page
        assert not PICTURE.exists()
        return
    committed = load_results()
    assert report.replace(page, committed) == page, "run make bench ARGS=--render"
    assert picture.render(committed) == PICTURE.read_text(encoding="utf-8")
