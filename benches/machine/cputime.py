"""Processor time of other processes, by the kernel's own count of each thread, in seconds."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Dict, Iterable, List

from kernel import TICKS, text


def peer(path: str) -> int:
    """The process that listens at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.connect(path)
        told = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", told)
    return int(pid)


def named(name: str) -> List[int]:
    """All processes whose name begins so."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if text(path).startswith(name)]


def _threads(pids: Iterable[int]) -> Dict[str, float]:
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            said = text(task).split()
            if said:
                found[str(task)] = float(said[0]) / 1e9
    return found


def _ended_children(pids: Iterable[int]) -> float:
    """What the children used that these processes have waited for."""
    used = 0.0
    for pid in pids:
        fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        used += (float(fields[13]) + float(fields[14])) / TICKS
    return used


class Meter:
    """What some processes, and the children that they wait for, use from its beginning on."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._threads = _threads(self._pids)
        self._children = _ended_children(self._pids)

    def used(self) -> float:
        """Until now."""
        now = _threads(self._pids)
        threads = sum(used - self._threads.get(task, 0.0) for task, used in now.items())
        return threads + _ended_children(self._pids) - self._children


def thread_of(pid: int, name: str) -> Path:
    """The directory of the thread of this name.

    Raises LookupError when there is none.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        # The kernel keeps fifteen letters.
        if text(task / "comm").strip() == name[:15]:
            return task
    raise LookupError(f"process {pid} has no thread {name}")
