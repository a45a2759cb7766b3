"""Containers that do something: on every engine one for each kind of load, made and ended through Roadstead."""

from __future__ import annotations

import contextlib
import mmap
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional

import psutil
from wire import Refused, Wire

IMAGE = "roadstead/busybox:latest"
MIB = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A kind of load: what runs, and within which limits."""

    name: str
    script: str
    limits: Dict[str, object]


# What each load holds besides. The kernel hands out memory to each processor 256 KB at a time, and to connections as
# they need it: of a container that holds nothing this would be a quarter, and another one at each reading.
HELD = "head -c 40000000 /dev/zero | tail -c 40000000 | sleep 100000 & "

# A tenth of a core each, so that two cores are enough for all of them and for who looks at them. Most go on without
# beginning processes, since what a container holds would else change faster than anybody reads it. `{echo}`
# is where a quarter of what is sent comes back, `{pour}` where lines come from: both at a pace, that of the load.
KINDS = (
    # Held back by its limit most of the time.
    Kind("cpu", "while :; do :; done", {"cpus": 0.1, "pids": 64}),
    # Holds and goes on touching 150 MB, and fills the page cache.
    Kind(
        "memory", "dd if=/dev/zero of=/dev/null bs=150M & nc {pour} </dev/null | dd of=/cached bs=64k iflag=fullblock",
        {"cpus": 0.1, "memory_bytes": 400 * MIB},
    ),
    # A child keeps all that comes until the kernel ends it, before any other. Held back, it would take its time to go.
    Kind(
        "oom",
        "while :; do (echo 1000 >/proc/self/oom_score_adj; nc {pour} </dev/null | sort >/dev/null); sleep 2; done",
        {"memory_bytes": 56 * MIB},
    ),
    # Reads and writes past the page cache.
    Kind(
        "disk",
        "dd if=/dev/zero of=/readable bs=1M count=64 conv=fsync 2>/dev/null;"
        " while :; do dd if=/readable bs=64k iflag=direct 2>/dev/null; done |"
        " nc {echo} | dd of=/written bs=64k iflag=fullblock oflag=direct",
        {"cpus": 0.1},
    ),
    # One connection for all of the time, which is answered.
    Kind("network", "dd if=/dev/zero bs=64k | nc {echo} >/dev/null", {"cpus": 0.1}),
)


@dataclass(frozen=True)
class Loaded:
    """A container with a load."""

    node: str
    kind: str
    name: str
    id: str


# So often, and so much each time.
PACE_SECONDS = 0.05
ECHO_BYTES = 1 << 18
POUR_LINES = 10


class Sink:
    """Takes what containers send and sends a quarter of it back, and pours lines into those who ask for them."""

    def __init__(self) -> None:
        self._listeners: List[socket.socket] = []

    def echo(self, host: str) -> str:
        """Where it echoes on this address of the machine."""
        return self._listen(host, self._echo)

    def pour(self, host: str) -> str:
        """Where it pours on this address of the machine."""
        return self._listen(host, self._pour)

    def _listen(self, host: str, serve: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server((host, 0))
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()
        return f"{host} {listener.getsockname()[1]}"

    @staticmethod
    def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while True:
                taken = connection.recv(ECHO_BYTES)
                if not taken:
                    return
                connection.sendall(taken[: len(taken) // 4])
                time.sleep(PACE_SECONDS)

    @staticmethod
    def _pour(connection: socket.socket) -> None:
        lines = (b"x" * 4095 + b"\n") * POUR_LINES
        with contextlib.suppress(OSError), connection:
            while True:
                connection.sendall(lines)
                time.sleep(PACE_SECONDS)

    def end(self) -> None:
        """Listens no more."""
        for listener in self._listeners:
            listener.close()


def own_address_beside(address: str) -> Optional[str]:
    """The address of this machine in the network of that one."""
    for addresses in psutil.net_if_addrs().values():
        for own in addresses:
            if own.family == socket.AF_INET and own.netmask and _network(own.address, own.netmask) == _network(
                address, own.netmask
            ):
                return str(own.address)
    return None


def _network(address: str, mask: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big") & int.from_bytes(socket.inet_aton(mask), "big")


def create(wire: Wire, node: str, name: str, limits: Dict[str, object]) -> str:
    """A container that waits, started; its id."""
    spec: Dict[str, Any] = {"image": IMAGE, "name": name, "limits": limits, "command": ["/sbin/init"]}
    try:
        return str(wire.ask("POST", f"/v1/nodes/{node}/containers?start=true", spec)["id"])
    except Refused as refused:
        # Engines of whole systems take no command: the image has one.
        if "command" not in str(refused):
            raise
        del spec["command"]
        return str(wire.ask("POST", f"/v1/nodes/{node}/containers?start=true", spec)["id"])


def run(wire: Wire, node: str, container: str, script: str) -> None:
    """Starts a script in a container, and does not wait for it."""
    wire.ask("POST", f"/v1/nodes/{node}/containers/{container}/jobs", {"command": ["sh", "-c", script]})


@contextlib.contextmanager
def containers(wire: Wire, nodes: List[str], mark: str) -> Iterator[List[Loaded]]:
    """One container for each kind of load on each node, deleted at the end."""
    made: List[Loaded] = []
    with contextlib.ExitStack() as ends:
        for node in nodes:
            for kind in KINDS:
                name = f"{mark}-{node}-{kind.name}"
                # Also when it is made and does not start.
                ends.callback(delete, wire, node, name)
                made.append(Loaded(node, kind.name, name, create(wire, node, name, kind.limits)))
        yield made


def delete(wire: Wire, node: str, name: str) -> None:
    """Deletes a container, if it is there."""
    try:
        wire.ask("DELETE", f"/v1/nodes/{node}/containers/{name}?force=true&volumes=true")
    except Refused as refused:
        if " 404 " not in str(refused):
            print(f"left behind on {node}: {name}: {refused}", file=sys.stderr)


def start(wire: Wire, loaded: Loaded, echo: str, pour: str) -> None:
    """Starts the load of a container."""
    kind = next(kind for kind in KINDS if kind.name == loaded.kind)
    run(wire, loaded.node, loaded.id, HELD + kind.script.replace("{echo}", echo).replace("{pour}", pour))


def make_room() -> None:
    """Takes memory and gives it back, so that some is free.

    Where all is page cache the kernel frees it as it is needed, a few per cent of what is free at a time.
    """
    size = min(2 << 30, int(psutil.virtual_memory().available) // 4)
    with mmap.mmap(-1, size) as taken:
        for page in range(0, size, mmap.PAGESIZE):
            taken[page] = 1


def wait_for(what: str, ready: Any, seconds: float = 30.0) -> Any:
    """What `ready` gives once it gives something.

    Raises TimeoutError when that takes too long.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")
