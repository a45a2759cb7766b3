"""Readings over time, and what they say of any moment between them."""

from __future__ import annotations

import bisect
import threading
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

from kernel import Reading


@dataclass(frozen=True)
class Moment:
    """Numbers that were read between two times, in seconds since 1970."""

    begin: float
    end: float
    values: Reading
    # When the look at everything began in which it was read.
    look: float = 0.0


class Series:
    """Readings of one thing, in the order of time."""

    def __init__(self) -> None:
        self.moments: List[Moment] = []
        self._begins: List[float] = []
        self._ends: List[float] = []

    def add(self, moment: Moment) -> None:
        """Adds one that is later than all before."""
        self.moments.append(moment)
        self._begins.append(moment.begin)
        self._ends.append(moment.end)

    def keys(self) -> "set[str]":
        """All names that were ever read."""
        return {key for moment in self.moments for key in moment.values}

    def around(self, begin: float, end: float) -> Optional[Tuple[Moment, Moment]]:
        """The last reading that was over when this time began, and the first that began when it was over."""
        before = bisect.bisect_right(self._ends, begin) - 1
        after = bisect.bisect_left(self._begins, end)
        if before < 0 or after >= len(self.moments):
            return None
        return self.moments[before], self.moments[after]

    def bounds(self, key: str, begin: float, end: float) -> Optional[Tuple[float, float]]:
        """The least and the greatest of a number from the reading before this time until the one after it."""
        before = max(bisect.bisect_right(self._ends, begin) - 1, 0)
        after = min(bisect.bisect_left(self._begins, end), len(self.moments) - 1)
        found = [moment.values[key] for moment in self.moments[before:after + 1] if key in moment.values]
        return (min(found), max(found)) if found else None

    def at(self, key: str, when: float) -> Optional[float]:
        """A number at this time, on the line between the readings on both sides."""
        found = self.around(when, when)
        if found is None or any(key not in moment.values for moment in found):
            return None
        (first, second) = found
        begin, end = (first.begin + first.end) / 2, (second.begin + second.end) / 2
        share = (when - begin) / (end - begin) if end > begin else 0.0
        return first.values[key] + (second.values[key] - first.values[key]) * min(max(share, 0.0), 1.0)


def merged(*all_series: Series) -> Series:
    """All readings of several together."""
    found = Series()
    for moment in sorted((moment for series in all_series for moment in series.moments), key=lambda one: one.begin):
        found.add(moment)
    return found


class Recorder:
    """Reads some things again and again, until it is ended."""

    def __init__(self, readers: Dict[str, Callable[[], Reading]], interval: float) -> None:
        self.series = {name: Series() for name in readers}
        self.failed: Dict[str, str] = {}
        self._readers = readers
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            due = time.monotonic() + self._interval
            for name, read in self._readers.items():
                begin = time.time()
                try:
                    values = read()
                except Exception as error:  # noqa: B902 what fails is told with the results
                    self.failed[name] = f"{type(error).__name__}: {error}"
                    continue
                self.series[name].add(Moment(begin, time.time(), values))
            self._ended.wait(max(0.0, due - time.monotonic()))

    def end(self) -> Dict[str, Series]:
        """What was read."""
        self._ended.set()
        self._thread.join()
        return self.series
