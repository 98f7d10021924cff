"""What the numbers of several rounds say: ratios with their spread, and goals that are met or not. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Spread:
    """Median and range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value; ValueError for none."""
        if not values:
            raise ValueError("a spread needs at least one value")
        return cls(statistics.median(values), min(values), max(values))

    def inverse(self) -> Spread:
        """Of 1 / value."""
        return Spread(1 / self.median, 1 / self.high, 1 / self.low)


@dataclass(frozen=True)
class Figure:
    """One goal against one alternative. `ours` and `other` hold one value a round, measured one after the other."""

    goal: str  # P1 ... P10, T1
    label: str
    against: str  # the alternative; empty: the value itself is judged
    unit: str
    ours: list[float]
    other: list[float] = field(default_factory=list)
    limit: float = 1.0
    at_least: bool = True  # the ratio ours / other (or the value) must reach the limit; False: must not exceed it
    comparable: bool = True  # belongs into the picture: the other side is something one could use instead

    def ratio(self) -> Spread | None:
        """Of the rounds: ours / other in each of them."""
        if not self.other:
            return None
        return Spread.of([mine / its for mine, its in zip(self.ours, self.other, strict=True)])

    def judged(self) -> float:
        """The number that the limit is for; the worst round where a value itself is judged."""
        ratio = self.ratio()
        if ratio is not None:
            return ratio.median
        return min(self.ours) if self.at_least else max(self.ours)

    @property
    def met(self) -> bool:
        """The goal is reached."""
        return self.judged() >= self.limit if self.at_least else self.judged() <= self.limit

    def advantage(self) -> Spread | None:
        """How many times better ours is: above 1 is better, whatever the quantity."""
        ratio = self.ratio()
        return ratio if ratio is None or self.at_least else ratio.inverse()

    def advantage_wanted(self) -> float:
        """The goal on the same scale."""
        return self.limit if self.at_least else 1 / self.limit

    def to_json(self) -> dict[str, Any]:
        """As results.json keeps it."""
        return asdict(self)


@dataclass(frozen=True)
class Load:
    """What one variant did under one load: one value a round."""

    load: str
    variant: str
    rps: list[float]
    p50_ms: list[float]
    p95_ms: list[float]
    cpu_ms: list[float]  # a request: server, database and edge of the variant
    errors: int


@dataclass(frozen=True)
class Results:
    """One run of the benchmark."""

    date: str
    revision: str
    machine: str
    mlflow: str
    rounds: int
    quick: bool
    load_before: float  # load average of one minute before the first round
    other: list[
        float
    ]  # share of the machine's CPUs that neither the measured variant nor the client used, a value a measurement
    steal: list[float]
    restarted: int  # measurements that were thrown away since a worker was replaced meanwhile
    missing: list[str]  # goals that could not be measured
    figures: list[Figure]
    loads: list[Load]
    renewed: dict[str, str] = field(default_factory=dict)  # goals of a later run, and what is to be said of that run

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Results:
        """As results.json keeps it."""
        return cls(
            **{
                **data,
                "figures": [Figure(**figure) for figure in data["figures"]],
                "loads": [Load(**load) for load in data["loads"]],
            }
        )

    def to_json(self) -> dict[str, Any]:
        """As results.json keeps it."""
        return asdict(self)

    def with_goals_of(self, later: Results) -> Results:
        """These results, with the goals that a later run measured instead of the own ones; the page says which."""
        goals = sorted({figure.goal for figure in later.figures})
        said = f"{later.date} at revision `{later.revision}`, {later.rounds} rounds, load average before {later.load_before:.2f}"
        measured = {(load.load, load.variant) for load in later.loads}
        return replace(
            self,
            figures=[*(figure for figure in self.figures if figure.goal not in goals), *later.figures],
            loads=[*(load for load in self.loads if (load.load, load.variant) not in measured), *later.loads],
            renewed={**self.renewed, **dict.fromkeys(goals, said)},
        )

    @property
    def noisy(self) -> bool:
        """Others used so much of the machine that small differences say nothing. ValueError if nobody looked."""
        return Spread.of(self.other).median > 0.1 or Spread.of(self.steal).median > 0.02
