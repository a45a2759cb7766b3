"""Compares every number that Roadstead serves of a machine with independent readings, on running loads.

Usage: truth.py --server PROGRAM --node NAME=URI… [--seconds N] [--write FILE], as root, with nodes that are sockets of
engines of this machine which have the image `roadstead/busybox:latest`. Containers are made on each of them and deleted
again. It exits with 1 when a number is off by more than 2 % and by more than it changes within one interval.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import bypsutil
import facts
import histories
import kernel
import loads
import notes
import perprocess
import processes
import report
from engines import Engine, engine_of
from opener import opener
from groups import Group, devices_count
from kernel import Reading
from loads import Loaded, Sink
from series import Moment, Recorder, Series, merged
from served import Live
from server import Server, exit_when_asked
from verdicts import (
    TOLERANCE_PERCENT, Table, Verdict, amounts, group_rates, machine_rates, percent, quotient_bounds, rates,
)
from wire import Wire

SECTION = "Equal to the truth"
STEP_SECONDS = 10.0
# Often enough that there is always a reading near by, and seldom enough that the loads have the machine.
EVERY_SECONDS = 0.1
# The processor time of a process is told in these.
TICK_PERCENT = 100.0 / kernel.TICKS


@dataclass(frozen=True)
class Watched:
    """A container with a load, its group and its engine."""

    loaded: Loaded
    engine: Engine
    group: Group
    pid: int

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.loaded.kind} ({self.loaded.node})"

    @property
    def path(self) -> str:
        """Its path at the server."""
        return f"/v1/nodes/{self.loaded.node}/containers/{self.loaded.id}"

    def pids(self) -> "set[int]":
        """Its processes, by the kernel's list."""
        return self.group.pids()


def _watched(loaded: Loaded, engine: Engine) -> Watched:
    pid = engine.pid(loaded.id)
    return Watched(loaded, engine, Group(pid, engine.mark(loaded.id)), pid)


def _start(wire: Wire, all_watched: List[Watched], sink: Sink) -> None:
    places: Dict[str, "tuple[str, str]"] = {}
    for watched in all_watched:
        def find(one: Watched = watched) -> str:
            return one.engine.address(one.loaded.id)

        address = loads.wait_for(f"the address of {watched.loaded.name}", find)
        host = loads.own_address_beside(address)
        if host is None:
            raise LookupError(f"this machine has no address beside {address}")
        if host not in places:
            places[host] = (sink.echo(host), sink.pour(host))
        loads.start(wire, watched.loaded, *places[host])


def _sampler_thread(pid: int) -> Callable[[], Reading]:
    """Reads the processor time of the sampler's thread, in seconds."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if kernel.text(task / "comm").startswith("roadstead-sampl"):
            def read(task: Path = task) -> Reading:
                return {"thread_seconds": float(kernel.text(task / "schedstat").split()[0]) / 1e9}

            return read
    raise LookupError("the server has no thread that samples")


def _readers(all_watched: List[Watched], mountpoints: List[str], pid: int) -> Dict[str, Callable[[], Reading]]:
    def machine() -> Reading:
        return {**kernel.machine(), **kernel.filesystems(mountpoints)}

    def by_psutil() -> Reading:
        return {**bypsutil.machine(), **bypsutil.filesystems(mountpoints)}

    found: Dict[str, Callable[[], Reading]] = {"machine": machine, "psutil": by_psutil, "sampler": _sampler_thread(pid)}
    for watched in all_watched:
        found[watched.path] = watched.group.read
        for one in watched.pids():
            def process(one: int = one) -> Reading:
                return perprocess.amounts(one)

            found[f"{watched.path}/{one}"] = process
    return found


def _asked(all_watched: List[Watched], node: str) -> Dict[str, Callable[[], Reading]]:
    def reader(watched: Watched) -> Callable[[], Reading]:
        return lambda: watched.engine.read(watched.loaded.id)

    return {watched.path: reader(watched) for watched in all_watched if watched.loaded.node == node}


class Run:
    """One run: what was served and what was read beside it."""

    def __init__(self, server: Server, all_watched: List[Watched], nodes: Dict[str, str], opened: int) -> None:
        self.table = Table()
        self.server, self.watched, self.nodes = server, all_watched, nodes
        self.opener = opened
        self.first = next(iter(nodes))
        self.percents: Dict[str, List[processes.Percent]] = {}

    def go(self, seconds: float) -> None:
        """Lets everything run for so long, and compares."""
        wire = self.server.wire
        machine: Any = wire.get(f"/v1/nodes/{self.first}/usage")["machine"]
        mountpoints = [one["mountpoint"] for one in machine["filesystems"]]
        with contextlib.ExitStack() as ends:
            recorder = Recorder(_readers(self.watched, mountpoints, self.server.pid), EVERY_SECONDS)
            ends.callback(recorder.end)
            asked = {node: Recorder(_asked(self.watched, node), 0.5) for node in self.nodes}
            for one in asked.values():
                ends.callback(one.end)
            time.sleep(2)
            begun = time.time()
            lives = [Live(wire, node) for node in self.nodes]
            facts.compare(self.table, wire.get(f"/v1/nodes/{self.first}/host"))
            self._processes(begun + seconds)
            for live in lives:
                live.end()
            past = self._histories(begun)
            time.sleep(2)
            theirs = recorder.end()
            told = {node: one.end() for node, one in asked.items()}
            self._machine(lives[0], theirs)
            for live in lives:
                self._containers(live, theirs, told[live.node])
            self._past(past, lives, theirs)
            self._percents(lives[0], theirs)
            for one in (recorder, *asked.values()):
                # Processes end; what else is never read must not be passed over.
                for name, why in one.failed.items():
                    if not one.series[name].moments and not name.rpartition("/")[2].isdigit():
                        print(f"not read: {name}: {why}", file=sys.stderr)

    def _processes(self, end: float) -> None:
        """Until the time is over, the processes of one container after the other."""
        wire = self.server.wire
        more = "open_files=true&connections=true"
        while True:
            for watched in self.watched:
                if time.time() >= end:
                    return
                path = f"{watched.path}/processes?{more}"
                self.percents.setdefault(watched.path, []).extend(
                    processes.compare(self.table, wire, path, watched.loaded.id, watched.pids)
                )
            path = f"/v1/nodes/{self.first}/processes?{more}&limit=10000"
            processes.compare(self.table, wire, path, None, processes.host_pids, {self.opener})

    def _histories(self, begun: float) -> Dict[str, Any]:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun))
        query = f"since={since}&step={STEP_SECONDS}"
        wire = self.server.wire
        found = {node: wire.get(f"/v1/nodes/{node}/usage?{query}") for node in self.nodes}
        found.update({one.path: wire.get(f"{one.path}/processes?{query}") for one in self.watched})
        return found

    def _machine(self, live: Live, theirs: Dict[str, Series]) -> None:
        ours = live.machine.moments
        cores = os.cpu_count() or 1
        both = merged(theirs["machine"], theirs["psutil"])
        for source in ("machine", "psutil"):
            name = "/proc, /sys, statvfs" if source == "machine" else "psutil"
            amounts(self.table, "machine", "machine", name, ours, theirs[source], both)
            rates(self.table, "machine", "machine", name, ours, theirs[source], machine_rates(cores))
        self._intervals("machine", live, ours)
        self._sampling(live, theirs["sampler"])

    def _intervals(self, scope: str, live: Live, moments: List[Moment]) -> None:
        """The time between two looks, beside the time between the items of the stream."""
        told = [moment.values["rates.interval_seconds"] for moment in moments[1:]]
        mean, theirs = sum(told) / len(told), (live.arrived[-1] - live.arrived[0]) / (len(live.arrived) - 1)
        off = percent(mean, theirs)
        verdict = Verdict.NEAR if off <= TOLERANCE_PERCENT else Verdict.OFF
        row = self.table.row(scope, "rates.interval_seconds", "clock, when items come")
        row.take(live.node, verdict, off, mean, theirs)
        row.readings += len(told) - 1

    def _sampling(self, live: Live, thread: Series) -> None:
        """What looking costs, as it says itself and as the kernel counts for its thread."""
        moments = live.machine.moments
        ours = theirs = 0.0
        count = 0
        # What a look cost is told with the one after it, unless the stream left that out.
        for before, after, sampling in zip(moments, moments[1:], live.sampling[1:]):
            first, last = (thread.at("thread_seconds", moment.begin) for moment in (before, after))
            is_next = after.look - before.look < 1.5 * after.values["rates.interval_seconds"]
            if is_next and first is not None and last is not None:
                ours, theirs, count = ours + sampling["sample_cost_seconds"], theirs + last - first, count + 1
        off = percent(ours, theirs)
        verdict = Verdict.NEAR if off <= TOLERANCE_PERCENT else Verdict.OFF
        row = self.table.row("sampling", "sampling.sample_cost_seconds", "schedstat of the thread")
        row.take("sampler", verdict, off, ours, theirs)
        row.readings = count

    def _containers(self, live: Live, theirs: Dict[str, Series], told: Dict[str, Series]) -> None:
        for watched in self.watched:
            if watched.loaded.node != live.node or watched.loaded.id not in live.containers:
                continue
            ours = live.containers[watched.loaded.id]
            amounts(self.table, "container", watched.label, "cgroup, /proc", ours.moments, theirs[watched.path])
            read = theirs[watched.path]
            self._intervals("container", live, ours.moments)
            rates(self.table, "container", watched.label, "cgroup, /proc", ours.moments, read, group_rates())
            # The engine takes its time: its answer is between two of ours.
            asked = told[watched.path].moments
            amounts(self.table, "container", watched.label, live.node, asked, ours, read, turned=True)

    def _past(self, past: Dict[str, Any], lives: List[Live], theirs: Dict[str, Series]) -> None:
        cores = os.cpu_count() or 1
        of_machine = {
            key.rpartition(".")[2]: rate for key, rate in machine_rates(cores).items() if key.startswith("rates.")
        }
        of_machine["cpu_percent"] = machine_rates(cores)["cpu.percent"]
        of_group = {key.rpartition(".")[2]: rate for key, rate in group_rates().items()}
        for live in lives:
            for series in past[live.node]["series"]:
                if "container" not in series:
                    histories.compare(
                        self.table, "machine", "machine", "/proc", series["points"], STEP_SECONDS, live.machine.moments,
                        theirs["machine"], histories.MACHINE_GAUGES, of_machine,
                    )
                    continue
                watched = self._by_id(series["container"])
                if watched is not None:
                    histories.compare(
                        self.table, "container", watched.label, "cgroup, /proc", series["points"], STEP_SECONDS,
                        live.containers[watched.loaded.id].moments, theirs[watched.path], histories.GAUGES, of_group,
                    )
            for watched in self.watched:
                if watched.loaded.node != live.node:
                    continue
                for series in past[watched.path]["series"]:
                    name = f"{watched.path}/{series['pid']}"
                    if name in theirs:
                        histories.compare(
                            self.table, "process", watched.label, "/proc", series["points"], STEP_SECONDS,
                            live.machine.moments, theirs[name], histories.PROCESS_GAUGES, histories.PROCESS_RATES,
                            TICK_PERCENT,
                        )

    def _by_id(self, container: str) -> Optional[Watched]:
        return next((one for one in self.watched if one.loaded.id == container), None)

    def _percents(self, live: Live, theirs: Dict[str, Series]) -> None:
        """Percentages of processes are those of the last whole interval before they were served."""
        for watched in self.watched:
            for told in self.percents.get(watched.path, []):
                series = theirs.get(f"{watched.path}/{told.pid}")
                samples = [moment for moment in live.machine.moments if moment.begin <= told.when + 0.1]
                if series is None or len(samples) < 3:
                    continue
                judged = []
                for before, after in zip(samples[-3:], samples[-2:]):
                    found = quotient_bounds(histories.PROCESS_RATES["cpu_percent"], before, after, series, TICK_PERCENT)
                    if found is not None:
                        judged.append(found)
                if judged:
                    low, high = min(one[0] for one in judged), max(one[1] for one in judged)
                    row = self.table.row(processes.SCOPE, "cpu_percent", "/proc")
                    equal = low - 1e-6 <= told.percent <= high + 1e-6
                    verdict, off = (Verdict.EQUAL, 0.0) if equal else (Verdict.OFF, 100.0)
                    row.take(watched.label, verdict, off, told.percent, min(max(told.percent, low), high))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="the program `roadstead`, as it is released")
    parser.add_argument("--node", action="append", required=True, metavar="NAME=URI")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", type=Path, metavar="FILE")
    return parser.parse_args()


def main() -> int:
    """Runs it; the exit code."""
    exit_when_asked()
    arguments = _arguments()
    nodes = dict(node.split("=", 1) for node in arguments.node)
    engines = {name: engine_of(uri) for name, uri in nodes.items()}
    with contextlib.ExitStack() as ends:
        ends.enter_context(devices_count())
        server = ends.enter_context(Server(arguments.server, nodes))
        made = ends.enter_context(loads.containers(server.wire, list(nodes), f"truth-{os.getpid()}"))
        all_watched = [_watched(one, engines[one.node]) for one in made]
        sink = Sink()
        ends.callback(sink.end)
        _start(server.wire, all_watched, sink)
        # Loads begin, and the sampler finds them.
        time.sleep(8)
        loads.make_room()
        run = Run(server, all_watched, nodes, ends.enter_context(opener()))
        run.go(arguments.seconds)
    body, off = notes.body(run.table, nodes, arguments.seconds)
    print(body)
    if arguments.write:
        report.write_section(arguments.write, SECTION, body)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
