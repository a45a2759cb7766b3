"""The processes of the loads, each read by this script and by psutil just before and just after it is served."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

import bypsutil
import psutil
from kernel import Reading
from opened import opened
from perprocess import process
from served import seconds
from verdicts import INTERVAL_SECONDS, Table, Verdict, once, words
from wire import Wire

SCOPE = "process"
LETTERS = {
    "R": "running", "S": "sleeping", "D": "disk_sleep", "T": "stopped", "t": "traced", "Z": "zombie", "X": "dead",
    "I": "idle",
}
WORDS = ("name", "state", "cmdline", "user", "exe")
Look = Dict[int, Tuple[Reading, Dict[str, object]]]


@dataclass(frozen=True)
class Percent:
    """A percentage that was served, for later."""

    pid: int
    when: float
    percent: float


def _look(pids: List[int], read: "Callable[[int], Tuple[Reading, Dict[str, object]]]") -> Look:
    found: Look = {}
    for pid in pids:
        try:
            found[pid] = read(pid)
        except (OSError, LookupError, psutil.Error):
            continue
    return found


def _opened(pid: int, look: "Callable[[int], Tuple[set[object], set[object]]]") -> "Tuple[set[object], set[object]]":
    try:
        return look(pid)
    except (OSError, psutil.Error):
        return set(), set()


def compare(
    table: Table, wire: Wire, path: str, container: "str | None", pids_now: "Callable[[], set[int]]",
    only: "set[int] | None" = None,
) -> List[Percent]:
    """The processes at a path, all or some of them; their percentages come back."""
    first = pids_now()
    if container is None:
        # Which processes there are is known from the last look.
        time.sleep(1.5 * INTERVAL_SECONDS)
    chosen = sorted(only if only is not None else first)
    readers = {"/proc": process, "psutil": bypsutil.process}
    openers = {"/proc": opened}
    if container is None:
        # It reads the sockets of its own network only.
        openers["psutil"] = bypsutil.opened
    before = {source: _look(chosen, read) for source, read in readers.items()}
    open_before = {source: {pid: _opened(pid, read) for pid in chosen} for source, read in openers.items()}
    begin = time.time()
    items: List[Any] = wire.get(path)["items"]
    open_after = {source: {pid: _opened(pid, read) for pid in chosen} for source, read in openers.items()}
    after = {source: _look(chosen, read) for source, read in readers.items()}
    last = pids_now()
    served = {item["pid"]: item for item in items}
    # What lives through all of it has to be there; what came or went meanwhile may be.
    words(
        table, SCOPE, path.partition("?")[0], "cgroup.procs, /proc",
        {"pid": sorted(set(served) & first & last)}, {"pid": sorted(first & last)},
    )
    percents = []
    for pid in sorted(set(served) & set(chosen)):
        item = served[pid]
        subject = f"{item['name']} ({path.split('/')[3]})"
        numbers = _numbers(item)
        for source in readers:
            if pid in before[source] and pid in after[source]:
                _one(table, subject, source, item, numbers, before[source][pid], after[source][pid])
                if source in openers:
                    _opens(table, subject, source, item, open_before[source][pid], open_after[source][pid])
        words(table, SCOPE, subject, "/proc/PID/cgroup", {"container": item.get("container")}, {"container": container})
        if "cpu_percent" in item:
            percents.append(Percent(pid, begin, item["cpu_percent"]))
    return percents


def _numbers(item: Any) -> Reading:
    names = ("ppid", "cpu_seconds", "threads", "vms_bytes", "rss_bytes", "swap_bytes", "read_bytes", "written_bytes")
    numbers = {name: float(item[name]) for name in names if name in item}
    numbers["started_at"] = seconds(item["started_at"])
    return numbers


def _one(
    table: Table, subject: str, source: str, item: Any, numbers: Reading,
    before: Tuple[Reading, Dict[str, object]], after: Tuple[Reading, Dict[str, object]],
) -> None:
    bounds = {
        name: (min(value, after[0][name]), max(value, after[0][name]))
        for name, value in before[0].items() if name in after[0]
    }
    if before[0]["started_at"] != after[0]["started_at"]:
        return
    once(table, SCOPE, subject, source, numbers, bounds)
    for name in WORDS:
        table.served.add((SCOPE, name))
        told = [look[1].get(name) for look in (before, after)]
        told = [LETTERS.get(value, value) if isinstance(value, str) and name == "state" else value for value in told]
        value = item.get(name)
        if name == "exe" and source == "psutil":
            # An empty one is none.
            told = [one or None for one in told]
        if value in told:
            verdict = Verdict.EQUAL
        elif name == "state" or told[0] != told[1]:
            # It changes many times a second.
            verdict = Verdict.INTERVAL
        else:
            verdict = Verdict.OFF
        shown = subject if verdict is not Verdict.OFF else f"{subject}: {value!r}, not {told!r}"
        row = table.row(SCOPE, name, source)
        row.is_words = True
        row.take(shown, verdict, 0.0 if verdict is not Verdict.OFF else 100.0, 0.0, 0.0)


def _opens(
    table: Table, subject: str, source: str, item: Any,
    before: "Tuple[set[object], set[object]]", after: "Tuple[set[object], set[object]]",
) -> None:
    files = {(file["fd"], file["path"]) for file in item.get("open_files") or []}
    connections = {
        (one["fd"], one["family"], one["kind"], one["local"], one.get("remote"), one.get("state"))
        for one in item.get("connections") or []
        if source != "psutil" or _is_known_to_psutil(one)
    }
    each: "List[Tuple[str, set[object], set[object], set[object]]]" = [
        ("open_files", set(files), before[0], after[0]),
        ("connections", set(connections), before[1], after[1]),
    ]
    for name, ours, first, last in each:
        stable, ever, changes = first & last, first | last, first != last
        equal = stable <= ours <= ever
        verdict = Verdict.EQUAL if equal else Verdict.INTERVAL if changes else Verdict.OFF
        shown = subject if equal or changes else f"{subject}: {sorted(map(str, ours ^ stable))}"
        row = table.row(SCOPE, name, source)
        row.is_words = True
        row.take(shown, verdict, 0.0 if verdict is not Verdict.OFF else 100.0, 0.0, 0.0)


def _is_known_to_psutil(one: Any) -> bool:
    """It tells of TCP, UDP and unix sockets, and of those in the kernel's lists only."""
    if one["family"] == "unix":
        return True
    return one["family"] in ("ipv4", "ipv6") and one["kind"] in ("stream", "datagram") and one["local"] != ""


def host_pids() -> "set[int]":
    """All processes of the machine."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}
