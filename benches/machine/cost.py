"""Measures what all counters of running containers and of processes cost: by Roadstead, by engines, by psutil.

Usage: cost.py --server PROGRAM --bench PROGRAM --docker URI --lxd URI [--containers N] [--lxd-containers N]
[--write FILE], as root, with sockets of engines of this machine which have the image `roadstead/busybox:latest`.
Containers and processes are made and ended again. What is told is processor time; pylxd is asked where this Python has
it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import loads
import many
import psutil
import report
from engines import path_of
from cputime import Meter, named, peer, thread_of
from kernel import text
from server import Server, exit_when_asked
from wire import Wire

SECTION = "Cost beside the engines"
LOOKS = 20
CALLS = 5
MANY = 1000


@dataclass(frozen=True)
class Way:
    """A way to the numbers, and the processor time that it took for some things."""

    name: str
    of: str
    count: int
    seconds: float
    ours_each: float

    def line(self, more: str = "") -> str:
        """A line of the table."""
        each = self.seconds / self.count
        ratio = each / self.ours_each if self.ours_each > 0 else float("inf")
        return (
            f"| {self.name} | {self.count} {self.of}{more} | {self.seconds * 1e3:.2f} ms | {each * 1e6:.1f} µs "
            f"| {ratio:.1f} |"
        )


def look_seconds(wire: Wire, node: str) -> float:
    """The processor time of a look at the whole machine, the median of many."""
    costs = []
    lines = wire.lines(f"/v1/nodes/{node}/usage")
    with contextlib.closing(lines):  # type: ignore[type-var]
        for item in lines:
            costs.append(float(item["sampling"]["sample_cost_seconds"]))
            # The first ones found what they see for the first time.
            if len(costs) == LOOKS + 3:
                break
    return statistics.median(costs[3:])


def request_seconds(server: Server, path: str) -> float:
    """The processor time that the server spends on one answer, without looking."""
    task = thread_of(server.pid, "roadstead-sampler")

    def sampler() -> float:
        return float(text(task / "schedstat").split()[0]) / 1e9

    count = 50
    server.wire.text("GET", path)
    meter, before = Meter([server.pid]), sampler()
    for _ in range(count):
        server.wire.text("GET", path)
    return (meter.used() - (sampler() - before)) / count


def calls_seconds(pids: Iterable[int], call: Callable[[], object]) -> float:
    """The processor time of a call in these processes, in this one and in those that it starts."""
    pids = list(pids)
    call()
    used = []
    for _ in range(CALLS):
        meter, own, children = Meter(pids), time.process_time(), _children()
        call()
        used.append(meter.used() + time.process_time() - own + _children() - children)
    return statistics.median(used)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def made(wire: Wire, node: str, count: int) -> Iterator[List[str]]:
    """So many containers that wait, deleted at the end; their names."""
    names = [f"cost-{os.getpid()}-{number}" for number in range(count)]
    with contextlib.ExitStack() as ends:
        for name in names:
            ends.callback(loads.delete, wire, node, name)
            loads.create(wire, node, name, {})
        # The engine has done what it does for each that begins.
        time.sleep(10)
        yield names


@contextlib.contextmanager
def sleeping(count: int) -> Iterator[List[int]]:
    """So many processes that sleep."""
    with contextlib.ExitStack() as ends:
        pids = []
        for _ in range(count):
            process = subprocess.Popen(["sleep", "3600"])
            ends.callback(process.wait)
            ends.callback(process.kill)
            pids.append(process.pid)
        time.sleep(3)
        yield pids


def docker_ways(path: str, names: List[str], ours_each: float) -> List[Way]:
    """Docker's own calls."""
    wire = Wire(path)
    daemon = peer(path)
    command = Path(f"/proc/{daemon}/cmdline").read_text().split("\0")
    pids = [daemon, *named("containerd-shim")]
    if "--containerd" in command:
        pids.append(peer(command[command.index("--containerd") + 1]))
    else:
        pids += named("containerd\n")

    def all_at_once(query: str) -> Callable[[], object]:
        def one(name: str) -> str:
            return wire.text("GET", f"/v1.41/containers/{name}/stats?{query}")

        def call() -> object:
            with ThreadPoolExecutor(len(names)) as threads:
                return list(threads.map(one, names))

        return call

    def program() -> object:
        words = ["docker", "-H", f"unix://{path}", "stats", "--no-stream"]
        return subprocess.run(words, check=True, capture_output=True)

    count = len(names)
    calls = {
        "Docker, statistics, one-shot": all_at_once("stream=false&one-shot=true"),
        "Docker, statistics": all_at_once("stream=false"),
        "`docker stats --no-stream`": program,
    }
    return [Way(name, "containers", count, calls_seconds(pids, call), ours_each) for name, call in calls.items()]


def lxd_ways(path: str, names: List[str], ours_each: float) -> List[Way]:
    """LXD's own calls, and pylxd's."""
    wire, pids = Wire(path), [peer(path)]

    def each() -> object:
        return [wire.get(f"/1.0/instances/{name}/state") for name in names]

    def together() -> object:
        return wire.get("/1.0/instances?recursion=2")

    calls: Dict[str, Callable[[], object]] = {"LXD, state of each": each, "LXD, all with `recursion=2`": together}
    by_pylxd = _by_pylxd(path, names)
    if by_pylxd is not None:
        calls["pylxd, state of each"] = by_pylxd
    return [Way(name, "containers", len(names), calls_seconds(pids, call), ours_each) for name, call in calls.items()]


def _by_pylxd(path: str, names: List[str]) -> Optional[Callable[[], object]]:
    if importlib.util.find_spec("pylxd") is None:
        print("pylxd is not installed: left out", file=sys.stderr)
        return None
    import pylxd

    client: Any = pylxd.Client(endpoint=path)
    instances = [client.instances.get(name) for name in names]
    return lambda: [instance.state() for instance in instances]


def psutil_seconds(pids: List[int]) -> float:
    """A pass of psutil over these processes, for what a look reads of each."""
    kept = [psutil.Process(pid) for pid in pids]
    passes = []
    for _ in range(LOOKS):
        before = time.process_time()
        for process in kept:
            with process.oneshot():
                process.ppid()
                process.name()
                process.status()
                process.cpu_times()
                process.memory_info()
                process.num_threads()
                process.create_time()
        passes.append(time.process_time() - before)
    return statistics.median(passes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--server", required=True, help="the program `roadstead`, as it is released")
    parser.add_argument("--bench", required=True, help="the program `host` of the benches, as it is released")
    parser.add_argument("--docker", required=True, metavar="URI")
    parser.add_argument("--lxd", required=True, metavar="URI")
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--lxd-containers", type=int, default=10)
    parser.add_argument("--write", type=Path, metavar="FILE")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> str:
    """The section."""
    count = arguments.containers
    ways: List[str] = []
    with Server(arguments.server, {"docker": arguments.docker, "lxd": arguments.lxd}) as server:
        wire = server.wire
        alone = look_seconds(wire, "docker")
        with sleeping(count) as pids:
            own = max(look_seconds(wire, "docker") - alone, 0.0)
            ways.append(Way("Roadstead, a look", "processes", count, own, own / count).line())
            ways.append(Way("psutil, kept processes", "processes", count, psutil_seconds(pids), own / count).line())
        alone = look_seconds(wire, "docker")
        with made(wire, "docker", count) as names:
            own = max(look_seconds(wire, "docker") - alone, 0.0)
            each = own / count
            ways.append(Way("Roadstead, a look", "containers", count, own, each).line(", all that is new with them"))
            named_all = "&".join(f"container={name}" for name in names)
            for path, what in (("usage", "counters"), ("processes", "processes")):
                asked = request_seconds(server, f"/v1/nodes/docker/{path}?{named_all}")
                ways.append(Way(f"Roadstead, an answer with all {what}", "containers", count, asked, each).line())
            ways += [way.line() for way in docker_ways(path_of(arguments.docker), names, each)]
        with made(wire, "lxd", arguments.lxd_containers) as names:
            ways += [way.line() for way in lxd_ways(path_of(arguments.lxd), names, each)]
        whole = {}
        for kind in ("asleep", "awake"):
            with many.held(arguments.bench, kind, MANY):
                whole[kind] = many.server_percent(server, "docker")
    text = [
        f"Written by `benches/machine/cost.py`. Processor time, medians: of {LOOKS} looks, of {CALLS} calls of an "
        "engine, in the engine with its helpers, in the client and in what it starts. A look reads all counters of all "
        "containers and all processes once, for however many ask; what it costs just before with nothing of this "
        f"running, at last {alone * 1e3:.2f} ms, is taken off. An answer is what the server spends on a request for "
        "all of it, from the last look, or of processes read anew. The last column is for each container or process, "
        "beside a look: LXD, too, which has fewer, is beside a look at Docker's.",
        "| way | of | processor time | each | times Roadstead |\n|---|---|---|---|---|\n" + "\n".join(ways),
        f"A whole server that looks each second at {MANY} containers which are control groups with a process each, "
        f"while somebody takes its live use: {whole['asleep']:.2f} % of a core where they sleep, "
        f"{whole['awake']:.2f} % where every one runs several times a second.",
    ]
    return "\n\n".join(text)


def main() -> int:
    """Runs it; the exit code."""
    exit_when_asked()
    arguments = _arguments()
    body = measure(arguments)
    print(body)
    if arguments.write:
        report.write_section(arguments.write, SECTION, body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
