"""The tables of docs/explanation/performance.md, between their markers. Pure."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.benchmarks.figures import Figure, Load, Results, Spread

BEGIN = "<!-- BEGIN make bench: written by the command, do not edit -->"
END = "<!-- END make bench -->"
NOISY = "**The machine was not quiet: ratios between 0.7 and 1.4 say nothing; CPU per request is the steadier figure.**"
QUIET = "Ratios between 0.85 and 1.2 are not distinguishable from 1."


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(values: Spread) -> str:
    """Median and range."""
    return f"{number(values.median)} [{number(values.low)}-{number(values.high)}]"


def rounds(values: list[float]) -> str:
    """Median and range of what was measured."""
    return spread(Spread.of(values)) if len(values) > 1 else number(values[0])


def figure_row(figure: Figure) -> str:
    """One line of the table of goals."""
    ratio = figure.ratio()
    sign = "≥" if figure.at_least else "≤"
    kind = "" if ratio is None else "x"
    cells = [
        figure.goal,
        f"{figure.label}, {figure.unit}",
        rounds(figure.ours),
        f"{figure.against}: {rounds(figure.other)}" if figure.other else "",
        "" if ratio is None else spread(ratio),
        f"{sign} {number(figure.limit)}{kind}",
        "met" if figure.met else "**missed**",
    ]
    return f"| {' | '.join(cells)} |"


def load_row(load: Load) -> str:
    """One line of the table of loads."""
    cells = [load.load, load.variant, *(rounds(values) for values in (load.rps, load.p50_ms, load.p95_ms, load.cpu_ms))]
    return f"| {' | '.join([*cells, str(load.errors)])} |"


def render(results: Results) -> str:
    """All that is generated, without the markers."""
    method = (
        f"Measured {results.date} at revision `{results.revision}`, MLflow {results.mlflow}: {results.machine}. "
        f"{results.rounds} rounds{' (`--quick`)' if results.quick else ''}, every variant once a round in random order, the others stopped "
        "meanwhile. Values are medians [lowest-highest] of the rounds, ratios are ours / other within a round."
    )
    noise = f"Noise: load average before the first round {number(results.load_before)}"
    # T1 alone tells nothing about the others: its client and its store are what else runs.
    if results.other:
        other, steal = Spread.of(results.other), Spread.of(results.steal)
        noise += (
            f"; while a variant was measured, everything else took "
            f"{number(100 * other.median)} % [{number(100 * other.low)}-{number(100 * other.high)}] of the CPUs and {number(100 * steal.median)} % "
            f"[{number(100 * steal.low)}-{number(100 * steal.high)}] were stolen by other guests of the hardware. "
            f"{NOISY if results.noisy else QUIET}"
        )
    else:
        noise += "."
    if results.restarted:
        noise += f" {results.restarted} measurements were repeated since a worker was replaced meanwhile."
    if results.missing:
        noise += (
            f" Not measured, since a variant did not answer or the time given was over: {', '.join(results.missing)}."
        )
    renewed = [f"{goal} was measured {said}." for goal, said in sorted(results.renewed.items())]
    lines = [
        method,
        "",
        noise,
        "",
        *([" ".join(renewed), ""] if renewed else []),
        "![How many times better than the alternative](performance.svg)",
        "",
        "| Goal | Figure | Ours | Against | Ratio | Wanted | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(figure_row(figure) for figure in results.figures),
        "",
        "| Load | Variant | Requests/s | p50, ms | p95, ms | CPU, ms a request | Errors |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(load_row(load) for load in results.loads),
    ]
    return "\n".join(lines)


def replace(page: str, results: Results) -> str:
    """The page with its generated part renewed. ValueError if a marker is missing."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{render(results)}\n{END}{after}"
