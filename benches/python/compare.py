"""The Python package beside docker-py, aiodocker, pylxd and Apache Libcloud: the same work and engines, in one run.

Usage: benches/python/compare.py [--write] [--containers N] [--turns N]

The engines are those of tests/engines (`eval "$(tests/engines/env)"`). Each row is measured for each client in turn,
several times, and the median counts; what is told are seconds, and how much longer than the package a client took.
With --write the figures go to benches/RESULTS-python.md. The packages that are needed: benches/python/requirements.txt
and the wheel.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import json
import os
import platform
import statistics
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiodocker
import docker
import libcloud.security
import pylxd
import roadstead
from libcloud.container.providers import get_driver
from libcloud.container.types import Provider
from roadstead import aio

RESULTS = Path(__file__).resolve().parents[1] / "RESULTS-python.md"
PREFIX = f"bench{uuid.uuid4().hex[:6]}"
IMAGE = os.environ.get("ROADSTEAD_TEST_IMAGE", "roadstead/busybox:latest")
SLEEP = ["sleep", "3600"]
LINES = 5_000
LOGS = 20
EXECS = 100
AT_ONCE = 32

Row = tuple[str, dict[str, Callable[[], Any]]]


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def repeated(work: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        work()


class Loop:
    """An event loop in a thread of its own: clients which are awaited keep their connections from turn to turn."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work: Callable[[], Any]) -> Any:
        async def awaited() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result()


def in_threads(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


@contextlib.contextmanager
def containers(node: roadstead.Node, count: int, command: list[str]) -> Iterator[list[str]]:
    """So many containers that run; gone afterwards."""

    def make(number: int) -> str:
        made = node.create_container(IMAGE, name=f"{PREFIX}-{number}-{uuid.uuid4().hex[:6]}", command=command)
        made.start()
        return str(made.id)

    ids = in_threads(make, list(range(count)))
    try:
        yield ids
    finally:
        in_threads(lambda one: node.container(one).delete(force=True), ids)


def calls_of(node: Any, web: Any) -> dict[str, Callable[[], Any]]:
    return {"ping": node.ping, "inspect": web.inspect, "stats": web.stats, "list": node.containers, "usage": node.usage}


def call_overhead(turns: int) -> list[str]:
    """What a call through Python costs, the library itself included: on the simulation, which answers at once."""
    count = 10_000

    def blocking() -> dict[str, float]:
        with roadstead.connect("memory:") as node:
            web = node.create_container("roadstead/busybox:latest", name="web", command=SLEEP)
            web.start()
            calls = calls_of(node, web).items()
            return {name: min(timed(lambda: repeated(call, count)) for _ in range(turns)) for name, call in calls}

    async def awaited() -> dict[str, float]:
        async with aio.connect("memory:") as node:
            web = await node.create_container("roadstead/busybox:latest", name="web", command=SLEEP)
            await web.start()
            found = {}
            for name, call in calls_of(node, web).items():
                seen = []
                for _ in range(turns):
                    begun = time.perf_counter()
                    for _ in range(count):
                        await call()
                    seen.append(time.perf_counter() - begun)
                found[name] = min(seen)
            return found

    times = blocking(), asyncio.run(awaited())
    rows = ([name, *(f"{each[name] / count * 1e6:.1f}" for each in times)] for name in times[0])
    head = ["| call | blocking, µs | awaited, µs |", "|---|---|---|"]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows)]


def libcloud_docker() -> Any:
    """Libcloud knows no sockets of the machine: it goes by TLS, to the same engine."""
    address, certificates = os.environ["ROADSTEAD_TEST_DOCKER_TLS_URI"], Path(os.environ["ROADSTEAD_TEST_DOCKER_CERTS"])
    host, port = address.split("://", 1)[1].split(":")
    libcloud.security.CA_CERTS_PATH = str(certificates / "ca.pem")
    files = {"key_file": str(certificates / "key.pem"), "cert_file": str(certificates / "cert.pem")}
    return get_driver(Provider.DOCKER)(host=f"https://{host}", port=int(port), secure=True, **files)


def libcloud_lxd() -> Any:
    """The same; it does not look at the server's certificate, which it would say again at each request."""
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    host, port = os.environ["ROADSTEAD_TEST_LXD_TLS_URI"].split("://", 1)[1].split(":")
    own = Path(os.environ["ROADSTEAD_TEST_LXD_CONF"])
    files = {"key_file": str(own / "client.key"), "cert_file": str(own / "client.crt")}
    return get_driver(Provider.LXD)(host=f"https://{host}", port=int(port), **files)


def docker_rows(uri: str, count: int, loop: Loop) -> Generator[Row, None, None]:
    socket = "unix://" + uri.split("://", 1)[1]
    node = roadstead.connect(uri)
    theirs = docker.DockerClient(base_url=socket, timeout=120, max_pool_size=AT_ONCE)
    driver = libcloud_docker()
    anode = loop.run(lambda: aio.connect(uri))

    async def open_aiodocker() -> Any:
        return aiodocker.Docker(url=socket)

    atheirs = loop.run(lambda: open_aiodocker())
    with containers(node, count, SLEEP) as ids:
        one = ids[0]

        yield (
            f"list of {count} containers",
            {
                "roadstead": lambda: node.containers(),
                "roadstead.aio": lambda: loop.run(lambda: anode.containers()),
                "docker-py": lambda: theirs.containers.list(all=True),
                "aiodocker": lambda: loop.run(lambda: atheirs.containers.list(all=True)),
                "libcloud (TLS)": lambda: driver.list_containers(all=True),
            },
        )

        async def show() -> Any:
            return await (await atheirs.containers.get(one)).show()

        yield (
            "inspect, 50 times",
            {
                "roadstead": lambda: [node.container(one).inspect() for _ in range(50)],
                "roadstead.aio": lambda: [loop.run(lambda: anode.container(one).inspect()) for _ in range(50)],
                "docker-py": lambda: [theirs.containers.get(one) for _ in range(50)],
                "aiodocker": lambda: [loop.run(lambda: show()) for _ in range(50)],
                "libcloud (TLS)": lambda: [driver.get_container(one) for _ in range(50)],
            },
        )

        def ours() -> None:
            made = node.create_container(IMAGE, command=SLEEP)
            made.start()
            made.stop(timeout=0)
            made.delete()

        def of_docker_py() -> None:
            made = theirs.containers.create(IMAGE, SLEEP)
            made.start()
            made.stop(timeout=0)
            made.remove()

        async def of_aiodocker() -> None:
            made = await atheirs.containers.create({"Image": IMAGE, "Cmd": SLEEP})
            await made.start()
            await made.stop(t=0)
            await made.delete()

        yield (
            "create, start, stop, delete",
            {
                "roadstead": ours,
                "docker-py": of_docker_py,
                "aiodocker": lambda: loop.run(lambda: of_aiodocker()),
            },
        )

        async def our_execs() -> None:
            async def run() -> None:
                job = await anode.container(one).run(["true"])
                assert (await job.wait(timeout=60)).exit_code == 0

            await asyncio.gather(*(run() for _ in range(EXECS)))

        def our_exec(_: Any) -> None:
            assert node.container(one).run(["true"]).wait(timeout=60).exit_code == 0

        container = theirs.containers.get(one)

        def exec_of_docker_py(_: Any) -> None:
            assert container.exec_run(["true"]).exit_code == 0

        async def execs_of_aiodocker() -> None:
            made = await atheirs.containers.get(one)

            async def run() -> None:
                execution = await made.exec(["true"])
                async with execution.start(detach=False) as stream:
                    while await stream.read_out() is not None:
                        pass
                assert (await execution.inspect())["ExitCode"] == 0

            await asyncio.gather(*(run() for _ in range(EXECS)))

        yield (
            f"{EXECS} execs at once",
            {
                "roadstead": lambda: in_threads(our_exec, [None] * EXECS),
                "roadstead.aio": lambda: loop.run(lambda: our_execs()),
                "docker-py": lambda: in_threads(exec_of_docker_py, [None] * EXECS),
                "aiodocker": lambda: loop.run(lambda: execs_of_aiodocker()),
            },
        )

        # Looked at once, since the first look begins the looking.
        node.usage()
        time.sleep(3)
        some = [theirs.containers.get(id) for id in ids]

        async def stats_of_aiodocker() -> None:
            made = [atheirs.containers.container(id) for id in ids]
            await asyncio.gather(*(one.stats(stream=False) for one in made))

        yield (
            f"usage of {count} containers",
            {
                "roadstead": lambda: node.usage(),
                "roadstead.aio": lambda: loop.run(lambda: anode.usage()),
                f"docker-py ({AT_ONCE} threads)": lambda: in_threads(lambda one: one.stats(stream=False), some),
                "aiodocker": lambda: loop.run(lambda: stats_of_aiodocker()),
            },
        )
        yield (
            "usage of 3 containers, one after the other",
            {
                "roadstead": lambda: node.usage(containers=ids[:3]),
                "docker-py": lambda: [one.stats(stream=False) for one in some[:3]],
            },
        )

    script = f"i=0; while [ $i -lt {LINES} ]; do echo line $i of what a program says; i=$((i+1)); done"
    with containers(node, LOGS, ["sh", "-c", script]) as ids:
        for id in ids:
            node.container(id).wait(timeout=120)

        def count_of(total: int) -> None:
            assert total == LOGS * LINES, total

        async def our_logs() -> None:
            async def follow(id: str) -> int:
                return sum([record.data.count(b"\n") async for record in await anode.container(id).logs(follow=True)])

            count_of(sum(await asyncio.gather(*(follow(id) for id in ids))))

        def our_log(id: str) -> int:
            return sum(record.data.count(b"\n") for record in node.container(id).logs(follow=True))

        def log_of_docker_py(id: str) -> int:
            return sum(part.count(b"\n") for part in theirs.containers.get(id).logs(stream=True, follow=True))

        async def logs_of_aiodocker() -> None:
            async def follow(id: str) -> int:
                made = atheirs.containers.container(id)
                return sum([line.count("\n") async for line in made.log(stdout=True, stderr=True, follow=True)])

            count_of(sum(await asyncio.gather(*(follow(id) for id in ids))))

        yield (
            f"following {LOGS} logs of {LINES} lines",
            {
                "roadstead": lambda: count_of(sum(in_threads(our_log, ids))),
                "roadstead.aio": lambda: loop.run(lambda: our_logs()),
                "docker-py": lambda: count_of(sum(in_threads(log_of_docker_py, ids))),
                "aiodocker": lambda: loop.run(lambda: logs_of_aiodocker()),
            },
        )
    loop.run(lambda: atheirs.close())
    loop.run(lambda: anode.aclose())
    node.close()


def lxd_rows(uri: str, count: int) -> Generator[Row, None, None]:
    socket = uri.split("://", 1)[1]
    node = roadstead.connect(uri)
    theirs = pylxd.Client(endpoint=socket)
    driver = libcloud_lxd()
    with containers(node, count, SLEEP) as ids:
        one = ids[0]
        yield (
            f"list of {count} instances",
            {
                "roadstead": lambda: node.containers(),
                # Of each only the name is there: its state is another question.
                "pylxd": lambda: [instance.status for instance in theirs.instances.all()],
                # Its list asks for the addresses of each, too.
                "libcloud (TLS)": lambda: driver.list_containers(),
            },
        )
        yield (
            "inspect, 50 times",
            {
                "roadstead": lambda: [node.container(one).inspect() for _ in range(50)],
                "pylxd": lambda: [theirs.instances.get(one).state() for _ in range(50)],
                "libcloud (TLS)": lambda: [driver.get_container(one) for _ in range(50)],
            },
        )

        def exec_of_pylxd() -> None:
            assert theirs.instances.get(one).execute(["true"]).exit_code == 0

        def our_exec() -> None:
            assert node.container(one).run(["true"]).wait(timeout=60).exit_code == 0

        # One after the other: several at once break its websockets.
        yield (
            "10 execs, one after the other",
            {
                "roadstead": lambda: repeated(our_exec, 10),
                "pylxd": lambda: repeated(exec_of_pylxd, 10),
            },
        )
        node.usage()
        time.sleep(3)
        yield (
            f"usage of {count} instances",
            {
                "roadstead": lambda: node.usage(),
                "pylxd": lambda: [instance.state() for instance in theirs.instances.all()],
            },
        )

        # With the image's own program: pylxd knows no command of a container's.
        def ours() -> None:
            made = node.create_container(IMAGE, name=f"{PREFIX}-r")
            made.start()
            made.stop(timeout=0)
            made.delete()

        def of_pylxd() -> None:
            config = {"name": f"{PREFIX}-p", "source": {"type": "image", "alias": IMAGE}}
            made = theirs.instances.create(config, wait=True)
            made.start(wait=True)
            made.stop(force=True, wait=True)
            made.delete(wait=True)

        def of_libcloud() -> None:
            source = {"source": {"type": "image", "alias": IMAGE}}
            made = driver.deploy_container(f"{PREFIX}-l", None, parameters=json.dumps(source), start=False)
            made = driver.stop_container(driver.start_container(made))
            driver.destroy_container(made)

        # Libcloud's driver asks the container to end, the others kill it.
        yield "create, start, stop, delete", {"roadstead": ours, "pylxd": of_pylxd, "libcloud (TLS)": of_libcloud}
    node.close()


#: How many times the package's time a client took, by work and client.
Ratios = dict[tuple[str, str], float]


def table(title: str, rows: Iterator[Row], turns: int, ratios: Ratios) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| work | client | seconds | times the package's |"
    yield "|---|---|---|---|"
    for work, clients in rows:
        seen: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(turns):
            for name, measured in clients.items():
                seen[name].append(timed(measured))
        medians = {name: statistics.median(values) for name, values in seen.items()}
        best = min(value for name, value in medians.items() if name.startswith("roadstead"))
        for name, value in medians.items():
            ratios[f"{title}: {work}", name] = value / best
            line = f"| {work} | {name} | {value:.5f} | {value / best:,.2f} |"
            print(line, flush=True)
            yield line
    yield ""


def goals(ratios: Ratios) -> Iterator[str]:
    """What was wanted, and what was seen."""
    others = {key: ratio for key, ratio in ratios.items() if not key[1].startswith("roadstead")}

    def of(words: str) -> str:
        return ", ".join(f"{client} {ratio:,.1f}" for (work, client), ratio in others.items() if words in work)

    slower = [f"{work}: {client} {ratio:.2f}" for (work, client), ratio in others.items() if ratio < 1]
    yield "| goal | seen |"
    yield "|---|---|"
    yield f"| never slower than the fastest of the others | {'; '.join(slower) or 'never'} |"
    yield f"| the list of containers on Docker, 20 times docker-py | {of('Docker: list')} |"
    yield f"| usage of local containers, 1,000 times | {of('Docker: usage of 1')}; LXD: {of('LXD: usage')} |"
    yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    loop = Loop()
    lines = [
        "# The Python package beside other clients",
        "",
        "Written by `benches/python/compare.py --write`. One run, in which the clients take turns: the least of all",
        "turns where a call on the simulation is measured, medians beside other clients.",
        "",
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"roadstead {roadstead.__version__}, docker-py {docker.__version__}, aiodocker {aiodocker.__version__}.",
        "",
        "## A call on the simulation",
        "",
        "All of it, the library's own work included, which is more than what the goal is of: 20 µs above Rust.",
        "The node has one container.",
        "",
        *call_overhead(given.turns),
        "",
        "Libcloud's Docker driver has no exec, no usage and no following of logs, and cannot stop at once; its LXD",
        "driver has no usage and does not wait for an exec. Rows that they lack are those. On LXD, pylxd cannot",
        "follow a log, and execs at once break its websockets. Usage: the package tells of what its sampler saw at",
        "most a moment ago, the others ask the engine, which measures anew; where an engine is far away, the package",
        "asks it, too.",
        "",
    ]
    ratios: Ratios = {}

    def of_docker(uri: str) -> Generator[Row, None, None]:
        return docker_rows(uri, given.containers, loop)

    def of_lxd(uri: str) -> Generator[Row, None, None]:
        return lxd_rows(uri, given.instances)

    for title, variable, rows in (
        ("Docker", "ROADSTEAD_TEST_DOCKER_URI", of_docker),
        ("LXD", "ROADSTEAD_TEST_LXD_URI", of_lxd),
    ):
        uri = os.environ.get(variable)
        if not uri:
            print(f"{title} is left out: {variable} is not set", file=sys.stderr)
            return 1
        with contextlib.closing(rows(uri)) as measured:
            lines += list(table(title, measured, given.turns, ratios))
    lines += ["## Goals", "", *goals(ratios)]
    text = "\n".join(lines)
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
