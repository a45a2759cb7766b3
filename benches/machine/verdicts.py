"""Compares what is served with independent readings, number by number."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from kernel import Reading
from series import Moment, Series

# Beyond this a number is off, unless it is what it was within one interval of the sampler.
TOLERANCE_PERCENT = 2.0
INTERVAL_SECONDS = 1.0


class Verdict(Enum):
    """How near two readings are, the nearest first."""

    EQUAL = "equal"
    NEAR = "within 2 %"
    INTERVAL = "within one interval"
    OFF = "OFF"


ORDER = list(Verdict)


class Kind(Enum):
    """What sort of number it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    RATE = "rate"


_RATES = re.compile(r"rates\.|cpu\.percent$|cpu\.cores\.\d+\.percent$")
_COUNTERS = re.compile(
    r"(uptime|user|system|total|throttled|nice|idle|io_wait|irq|steal|busy|some|full)_seconds$|"
    r"(read|written|received|sent)_bytes$|_packets$|_errors$|_dropped$|\.reads$|\.writes$|oom_kills$|_periods$"
)


def kind_of(key: str) -> Kind:
    """The sort of the number with this name."""
    if _RATES.match(key):
        return Kind.RATE
    return Kind.COUNTER if _COUNTERS.search(key) else Kind.GAUGE


def general(key: str) -> str:
    """The name without that of the interface, disk, core or mount point."""
    key = re.sub(r"^cpu\.cores\.\d+\.", "cpu.cores.*.", key)
    return re.sub(r"^(networks|nics|disks|filesystems|sensors)\..*\.([^.]+)$", r"\1.*.\2", key)


@dataclass
class Row:
    """One number beside one source, over all of whom it was read."""

    scope: str
    number: str
    source: str
    subjects: "set[str]" = field(default_factory=set)
    readings: int = 0
    verdict: Verdict = Verdict.EQUAL
    # How far the growth, the rate or the amount is off over the whole time, in percent; the worst of all.
    off_percent: float = 0.0
    # Those of the worst.
    ours: float = 0.0
    theirs: float = 0.0
    where: str = ""
    # Whether it is no number.
    is_words: bool = False

    def take(self, subject: str, verdict: Verdict, off: float, ours: float, theirs: float) -> None:
        """Adds one comparison."""
        worse = ORDER.index(verdict) > ORDER.index(self.verdict)
        same = verdict == self.verdict
        if not self.subjects or worse or (same and (off, abs(ours)) > (self.off_percent, abs(self.ours))):
            self.ours, self.theirs, self.where, self.off_percent = ours, theirs, subject, off
        self.verdict = max(self.verdict, verdict, key=ORDER.index)
        self.subjects.add(subject)
        self.readings += 1


class Table:
    """Rows by scope, number and source, and the numbers that nobody else tells."""

    def __init__(self) -> None:
        self.rows: Dict[Tuple[str, str, str], Row] = {}
        self.alone: Dict[Tuple[str, str], "set[str]"] = {}
        self.served: "set[Tuple[str, str]]" = set()

    def row(self, scope: str, number: str, source: str) -> Row:
        """The row of these."""
        self.served.add((scope, number))
        return self.rows.setdefault((scope, number, source), Row(scope, number, source))

    def missing(self) -> List[Tuple[str, str]]:
        """What is served and no source has."""
        compared = {(scope, number.partition(" (")[0]) for scope, number, _ in self.rows}
        return sorted(one for one in self.served if (one[0], one[1].partition(" (")[0]) not in compared)


def percent(ours: float, theirs: float) -> float:
    """How far one number is from another, in percent of the latter."""
    if abs(ours - theirs) <= 1e-9 * max(abs(ours), abs(theirs)):
        return 0.0
    return abs(ours - theirs) / abs(theirs) * 100.0 if theirs else 100.0


def outside(value: float, bounds: Tuple[float, float]) -> float:
    """How far a value is outside of bounds, in percent of the nearer one."""
    low, high = bounds
    slack = 1e-9 * max(abs(low), abs(high))
    if low - slack <= value <= high + slack:
        return 0.0
    return percent(value, low if value < low else high)


def amounts(
    table: Table, scope: str, subject: str, source: str, ours: Sequence[Moment], theirs: Series,
    moves: Optional[Series] = None, turned: bool = False,
) -> None:
    """Counters and amounts: each reading of ours beside those of the other just before and just after it.

    They are turned where the other one takes long for an answer: each of these is beside those of ours just before and
    just after it. `moves` tells best what a number was within an interval.
    """
    known = theirs.keys()
    for key in sorted({key for moment in ours for key in moment.values}):
        kind = kind_of(key)
        table.served.add((scope, general(key)))
        if kind is Kind.RATE or key not in known:
            continue
        judged = [
            (moment, _judge(key, kind, moment, theirs, moves or theirs)) for moment in ours
            if key in moment.values and theirs.around(moment.begin, moment.end) is not None
        ]
        told = [(moment, found) for moment, found in judged if found is not None]
        if not told:
            continue
        row = table.row(scope, general(key), source)
        verdict = max((found[0] for _, found in told), key=ORDER.index)
        if kind is Kind.COUNTER:
            _growth(row, subject, key, [moment for moment, _ in told], theirs, verdict, turned)
        else:
            moment, (_, off, near) = max(told, key=lambda one: (ORDER.index(one[1][0]), one[1][1]))
            pair = moment.values[key], near
            row.take(subject, verdict, off, *(pair[::-1] if turned else pair))
        row.readings += len(told) - 1


def _judge(
    key: str, kind: Kind, moment: Moment, theirs: Series, moves: Series
) -> Optional[Tuple[Verdict, float, float]]:
    """The verdict, how far it is off, and the nearest reading of the other."""
    value = moment.values[key]
    bounds = theirs.bounds(key, moment.begin, moment.end)
    wide = moves.bounds(key, moment.begin - INTERVAL_SECONDS, moment.end + INTERVAL_SECONDS)
    if bounds is None or wide is None:
        return None
    near = min(max(value, bounds[0]), bounds[1])
    off = outside(value, bounds)
    if off == 0.0:
        return Verdict.EQUAL, off, near
    if off <= TOLERANCE_PERCENT:
        return Verdict.NEAR, off, near
    return (Verdict.INTERVAL if outside(value, wide) == 0.0 else Verdict.OFF), off, near


def _growth(
    row: Row, subject: str, key: str, ours: Sequence[Moment], theirs: Series, verdict: Verdict, turned: bool
) -> None:
    """How much a counter grew from the first to the last reading."""
    first, last = ours[0], ours[-1]
    begin, end = theirs.at(key, first.begin), theirs.at(key, last.begin)
    if begin is None or end is None:
        return
    grown, grew = last.values[key] - first.values[key], end - begin
    off = percent(grown, grew)
    if off > TOLERANCE_PERCENT:
        # What comes in bursts is known as well as the readings are near each other.
        before, after = (theirs.bounds(key, moment.begin, moment.end) for moment in (first, last))
        if before is not None and after is not None:
            off = outside(grown, (after[0] - before[1], after[1] - before[0]))
        if off > TOLERANCE_PERCENT and verdict is Verdict.EQUAL:
            verdict = Verdict.OFF
    row.take(subject, verdict, off, *((grew, grown) if turned else (grown, grew)))


@dataclass(frozen=True)
class Rate:
    """What a rate is of: a counter, by time or by another counter."""

    counter: str
    by: Optional[str] = None
    scale: float = 1.0
    # Where the time is told that it is over; otherwise it is from look to look.
    span: str = "rates.interval_seconds"

    def seconds(self, before: Moment, after: Moment) -> float:
        """The time that it is over."""
        return after.values.get(self.span, after.begin - before.begin)


def rates(
    table: Table, scope: str, subject: str, source: str, ours: Sequence[Moment], theirs: Series,
    meant: Dict[str, Rate],
) -> None:
    """Rates and percentages: their mean over the whole time beside the difference quotient of the counter over the same
    time, and each of them beside that between its two readings."""
    known = theirs.keys()
    for key in sorted({key for moment in ours for key in moment.values if kind_of(key) is Kind.RATE}):
        table.served.add((scope, general(key)))
        rate = meant.get(key)
        if rate is None or rate.counter not in known:
            continue
        kept = [
            (before, moment) for before, moment in zip(ours, ours[1:])
            if key in moment.values
            and theirs.around(before.begin, before.begin) and theirs.around(moment.end, moment.end)
        ]
        if len(kept) > 1:
            _mean(table.row(scope, general(key), source), subject, key, rate, kept, theirs)


def _mean(
    row: Row, subject: str, key: str, rate: Rate, kept: "List[Tuple[Moment, Moment]]", theirs: Series
) -> None:
    verdict = Verdict.EQUAL
    for before, moment in kept:
        bounds = quotient_bounds(rate, before, moment, theirs)
        if bounds is not None and outside(moment.values[key], bounds) > TOLERANCE_PERCENT:
            verdict = Verdict.INTERVAL
    first, last = kept[0][0], kept[-1][1]
    spans = [rate.seconds(before, moment) for before, moment in kept]
    mean = sum(moment.values[key] * span for (_, moment), span in zip(kept, spans)) / sum(spans)
    whole = quotient(rate, first.begin, last.begin, theirs)
    if whole is None:
        return
    off = percent(mean, whole)
    edges = quotient_bounds(dataclasses.replace(rate, span=""), first, last, theirs)
    if off > TOLERANCE_PERCENT:
        off = outside(mean, edges) if edges is not None else off
        verdict = Verdict.OFF if off > TOLERANCE_PERCENT else verdict
    row.take(subject, verdict, off, mean, whole)
    row.readings += len(kept) - 1


def quotient(rate: Rate, begin: float, end: float, theirs: Series) -> Optional[float]:
    """The difference quotient between two times."""
    grown = _difference(rate.counter, begin, end, theirs)
    by = _difference(rate.by, begin, end, theirs) if rate.by else end - begin
    return grown / by * rate.scale if grown is not None and by else None


def _difference(key: str, begin: float, end: float, theirs: Series) -> Optional[float]:
    first, last = theirs.at(key, begin), theirs.at(key, end)
    return last - first if first is not None and last is not None else None


def quotient_bounds(
    rate: Rate, before: Moment, after: Moment, theirs: Series, tick: float = 0.0
) -> Optional[Tuple[float, float]]:
    """What the quotient is at least and at most, between the readings around both ends.

    A counter in ticks is known to a `tick` only, given in the unit of the rate by seconds.
    """
    first = theirs.bounds(rate.counter, before.begin, before.end)
    last = theirs.bounds(rate.counter, after.begin, after.end)
    by = _difference(rate.by, before.begin, after.begin, theirs) if rate.by else rate.seconds(before, after)
    if first is None or last is None or not by:
        return None
    return (last[0] - first[1]) / by * rate.scale - tick, (last[1] - first[0]) / by * rate.scale + tick


def group_rates() -> Dict[str, Rate]:
    """What the rates of a container are of."""
    return {
        "rates.cpu_percent": Rate("cpu.total_seconds", scale=100.0),
        "rates.throttled_percent": Rate("cpu.throttled_seconds", scale=100.0),
        "rates.read_bytes_per_second": Rate("block_io.read_bytes"),
        "rates.written_bytes_per_second": Rate("block_io.written_bytes"),
        "rates.received_bytes_per_second": Rate("sum.networks.received_bytes"),
        "rates.sent_bytes_per_second": Rate("sum.networks.sent_bytes"),
    }


def machine_rates(cores: int) -> Dict[str, Rate]:
    """What the rates of the machine are of."""
    found = {
        "cpu.percent": Rate("sum.cpu.busy", "sum.cpu.all", 100.0),
        "rates.cpu_percent": Rate("sum.cpu.busy", "sum.cpu.all", 100.0 * cores),
        "rates.read_bytes_per_second": Rate("sum.disks.read_bytes"),
        "rates.written_bytes_per_second": Rate("sum.disks.written_bytes"),
        "rates.received_bytes_per_second": Rate("sum.nics.received_bytes"),
        "rates.sent_bytes_per_second": Rate("sum.nics.sent_bytes"),
    }
    for core in range(cores):
        name = f"cpu.cores.{core}"
        found[f"{name}.percent"] = Rate(f"sum.{name}.busy", f"sum.{name}.all", 100.0)
    return found


def words(
    table: Table, scope: str, subject: str, source: str, ours: "Mapping[str, object]", theirs: "Mapping[str, object]"
) -> None:
    """Facts: equal or not."""
    for key, value in ours.items():
        table.served.add((scope, general(key)))
        if key in theirs:
            equal = value == theirs[key]
            row = table.row(scope, general(key), source)
            row.is_words = True
            row.take(
                subject if equal else f"{subject}: {value!r}, not {theirs[key]!r}",
                Verdict.EQUAL if equal else Verdict.OFF, 0.0 if equal else 100.0, 0.0, 0.0,
            )


def once(
    table: Table, scope: str, subject: str, source: str, ours: Reading, bounds: Dict[str, Tuple[float, float]]
) -> None:
    """Numbers that were read once, between two readings of the other."""
    for key, value in ours.items():
        table.served.add((scope, general(key)))
        if key in bounds:
            off = outside(value, bounds[key])
            verdict = Verdict.EQUAL if off == 0.0 else Verdict.NEAR if off <= TOLERANCE_PERCENT else Verdict.OFF
            near = min(max(value, bounds[key][0]), bounds[key][1])
            table.row(scope, general(key), source).take(subject, verdict, off, value, near)
