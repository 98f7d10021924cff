"""The picture of docs/explanation/performance.md: bars with their ranges on a logarithmic scale, as plain SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from ansible_collections.mlops.mlflow.benchmarks.figures import Figure, Results
from ansible_collections.mlops.mlflow.benchmarks.report import number

WIDTH = 920
LABELS = 350  # pixels for what stands left of the bars
RIGHT = 90
ROW = 38
TOP = 64
BOTTOM = 62
FONT = 'font-family="Helvetica, Arial, sans-serif"'
MET, MISSED, INK, FAINT = "#2f7d4f", "#b4552d", "#1f2328", "#c9ced6"
STEPS = [step * 10.0**power for power in range(-4, 6) for step in (1, 2, 5)]


class Scale:
    """Factors to pixels, logarithmic."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min([0.5, *values]), max([2.0, *values])
        self.low = max(step for step in STEPS if step <= low)
        self.high = min(step for step in STEPS if step >= high)

    def x(self, value: float) -> float:
        """The place of a factor."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def ticks(self) -> list[float]:
        """Where the axis has its lines: fewer of them on a long one."""
        inside = [step for step in STEPS if self.low <= step <= self.high]
        return inside if len(inside) <= 10 else [step for step in inside if f"{step:e}".startswith("1.")]


def text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "start",
    size: int = 13,
    colour: str = INK,
    weight: str = "normal",
) -> str:
    """A line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" font-weight="{weight}">'
        f"{escape(content)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def ratio_bar(figure: Figure, scale: Scale, y: float) -> list[str]:
    """Label, bar from 1 to the median, range, and the goal as a diamond."""
    advantage = figure.advantage()
    if advantage is None:
        raise ValueError(f"{figure.goal} has nothing to be compared with")
    colour = MET if figure.met else MISSED
    start, end = sorted((scale.x(1), scale.x(advantage.median)))
    low, high, middle = scale.x(advantage.low), scale.x(advantage.high), y + 12
    goal = scale.x(figure.advantage_wanted())
    return [
        text(LABELS - 12, y + 9, f"{figure.goal}  {figure.label}", anchor="end", weight="600"),
        text(LABELS - 12, y + 24, f"against {figure.against}", anchor="end", size=11, colour="#57606a"),
        f'<rect x="{start:.1f}" y="{y + 3:.1f}" width="{max(1.0, end - start):.1f}" height="18" fill="{colour}" fill-opacity="0.8"/>',
        line(low, middle, high, middle, INK, 1.5),
        line(low, middle - 5, low, middle + 5, INK, 1.5),
        line(high, middle - 5, high, middle + 5, INK, 1.5),
        f'<path d="M {goal:.1f} {middle - 8:.1f} l 6 8 l -6 8 l -6 -8 z" fill="#ffffff" stroke="{INK}" stroke-width="1.5"/>',
        text(max(high, end, goal) + 12, y + 17, f"{number(advantage.median)}x", size=12, weight="600"),
    ]


def render(results: Results) -> str:
    """The whole picture."""
    figures = [figure for figure in results.figures if figure.comparable and figure.other]
    reached = [value for figure in figures if (spread := figure.advantage()) for value in (spread.low, spread.high)]
    scale = Scale([*reached, *(figure.advantage_wanted() for figure in figures)])
    height = TOP + ROW * len(figures) + BOTTOM
    foot = TOP + ROW * len(figures) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" {FONT}>',
        "<title>How many times better than the alternative</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(20, 26, "How many times better than the alternative", size=17, weight="600"),
        text(
            20,
            46,
            f"MLflow {results.mlflow}, {results.date}, {results.rounds} rounds on one machine; right of 1 is better",
            size=12,
            colour="#57606a",
        ),
    ]
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(line(x, TOP - 4, x, foot, INK if tick == 1 else FAINT, 1.2 if tick == 1 else 1))
        parts.append(text(x, foot + 16, f"{tick:g}x", anchor="middle", size=11))
    for place, figure in enumerate(figures):
        parts += ratio_bar(figure, scale, TOP + ROW * place)
    middle = (LABELS + WIDTH - RIGHT) / 2
    parts.append(
        text(middle, foot + 34, "ratio to the alternative in the same round (logarithmic)", anchor="middle", size=12)
    )
    legend = (
        "bar: median, green where the goal is met, brown where not · line: lowest to highest of the rounds · ◇ goal"
    )
    parts.append(text(20, height - 8, legend, size=11, colour="#57606a"))
    return "\n".join([*parts, "</svg>", ""])
