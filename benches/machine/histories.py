"""What is kept, beside independent readings of the same time: least, mean and greatest of every step."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from series import Moment, Series
from served import seconds
from verdicts import TOLERANCE_PERCENT, Rate, Table, Verdict, outside, percent, quotient, quotient_bounds

SCOPE = "history"
GAUGES = {
    "memory_bytes": "memory.usage_bytes",
    "working_set_bytes": "memory.working_set_bytes",
    "swap_bytes": "memory.swap_bytes",
    "pids": "pids.current",
    "cpu_pressure_percent": "pressure.cpu.some_percent",
    "memory_pressure_percent": "pressure.memory.some_percent",
    "io_pressure_percent": "pressure.io.some_percent",
}
MACHINE_GAUGES = {
    **GAUGES, "memory_bytes": "memory.used_bytes", "swap_bytes": "swap.used_bytes", "pids": "processes",
    "load": "cpu.load.0",
}
PROCESS_GAUGES = {"memory_bytes": "stat_rss_bytes"}
PROCESS_RATES = {"cpu_percent": Rate("cpu_seconds", scale=100.0, span="")}

Bounds = Tuple[float, float]


def compare(
    table: Table, what: str, subject: str, source: str, points: List[Any], step: float, samples: Sequence[Moment],
    theirs: Series, gauges: Dict[str, str], rates: Dict[str, Rate], tick: float = 0.0,
) -> None:
    """Every whole step of a history beside what was read at the moments of the samples in it.

    A counter in ticks is known to a `tick` only, given in the unit of the rate by seconds.
    """
    for point in points[1:-1]:
        begin = seconds(point["at"])
        within = [at for at, moment in enumerate(samples) if at and begin <= moment.look < begin + step]
        if len(within) < 2 or not _are_all(samples, within):
            continue
        for metric, spread in point["values"].items():
            table.served.add((SCOPE, f"{what} {metric}"))
            if metric in gauges:
                found = _gauge(gauges[metric], [samples[at] for at in within], theirs)
            elif metric in rates:
                found = _rate(rates[metric], [(samples[at - 1], samples[at]) for at in within], theirs, tick)
            else:
                continue
            if found is not None:
                _judge(table, f"{what} {metric}", subject, source, spread, *found)


def _are_all(samples: Sequence[Moment], within: List[int]) -> bool:
    """Whether there was no other look among these: a stream leaves out what is not taken in time."""
    if within[-1] + 1 >= len(samples):
        return False
    for at in (*within, within[-1] + 1):
        span = samples[at].values.get("rates.interval_seconds", 0.0)
        if samples[at].look - samples[at - 1].look > 1.5 * span:
            return False
    return True


def _gauge(key: str, samples: Sequence[Moment], theirs: Series) -> Optional[Tuple[List[Bounds], float]]:
    bounds = [theirs.bounds(key, moment.begin, moment.end) for moment in samples]
    each = [theirs.at(key, moment.begin) for moment in samples]
    told = [value for value in each if value is not None]
    if any(one is None for one in bounds) or len(told) < len(each):
        return None
    return [one for one in bounds if one is not None], sum(told) / len(told)


def _rate(
    rate: Rate, samples: "Sequence[Tuple[Moment, Moment]]", theirs: Series, tick: float
) -> Optional[Tuple[List[Bounds], float]]:
    bounds = [quotient_bounds(rate, before, after, theirs, tick) for before, after in samples]
    mean = quotient(rate, samples[0][0].begin, samples[-1][1].begin, theirs)
    if mean is None or any(one is None for one in bounds):
        return None
    return [one for one in bounds if one is not None], mean


def _judge(
    table: Table, number: str, subject: str, source: str, spread: Any, bounds: List[Bounds], mean: float
) -> None:
    lows, highs = [low for low, _ in bounds], [high for _, high in bounds]
    for name, edges in (
        ("mean", (sum(lows) / len(lows), sum(highs) / len(highs))),
        ("min", (min(lows), min(highs))),
        ("max", (max(lows), max(highs))),
    ):
        value = spread[name]
        nearest = min(max(value, edges[0]), edges[1])
        # Values are kept with seven digits.
        off = 0.0 if abs(value - nearest) <= 1e-6 * abs(nearest) else outside(value, edges)
        verdict = Verdict.EQUAL if off == 0.0 else Verdict.NEAR if off <= TOLERANCE_PERCENT else Verdict.OFF
        from_mean = percent(value, mean) if name == "mean" else off
        shown = (from_mean, mean) if name == "mean" and from_mean <= TOLERANCE_PERCENT else (off, nearest)
        table.row(SCOPE, f"{number} ({name})", source).take(subject, verdict, shown[0], value, shown[1])
