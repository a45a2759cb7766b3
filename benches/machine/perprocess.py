"""Single processes, read from `/proc` by this script itself."""

from __future__ import annotations

import os
from typing import Dict, List, Tuple

from kernel import TICKS, Reading, pairs, text

PAGE = os.sysconf("SC_PAGE_SIZE")
# When the machine was started, in seconds since 1970.
BOOT = pairs(text("/proc/stat"))["btime"]


def _stat(pid: int) -> Tuple[str, List[str]]:
    """The name, and all fields after it."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        head, _, tail = file.read().rpartition(")")
    return head.partition("(")[2], tail.split()


def _status(pid: int) -> Dict[str, str]:
    return dict(line.split(":", 1) for line in text(f"/proc/{pid}/status").splitlines() if ":" in line)


def amounts(pid: int) -> Reading:
    """The numbers that change.

    Raises FileNotFoundError when it has ended.
    """
    _, fields = _stat(pid)
    return {
        "cpu_seconds": (float(fields[11]) + float(fields[12])) / TICKS,
        # Newer kernels add up their processors' counters for other files only.
        "stat_rss_bytes": float(fields[21]) * PAGE,
    }


def process(pid: int) -> "Tuple[Reading, Dict[str, object]]":
    """The numbers and the words of one process.

    Raises FileNotFoundError when it has ended.
    """
    name, fields = _stat(pid)
    status, io = _status(pid), pairs(text(f"/proc/{pid}/io"))
    numbers = {
        "ppid": float(fields[1]),
        "cpu_seconds": (float(fields[11]) + float(fields[12])) / TICKS,
        "threads": float(fields[17]),
        "started_at": BOOT + float(fields[19]) / TICKS,
        "vms_bytes": float(fields[20]),
        "rss_bytes": float(text(f"/proc/{pid}/statm").split()[1]) * PAGE,
    }
    if "VmSwap" in status:
        numbers["swap_bytes"] = float(status["VmSwap"].split()[0]) * 1024
    if "read_bytes" in io:
        numbers["read_bytes"], numbers["written_bytes"] = io["read_bytes"], io["write_bytes"]
    cmdline = text(f"/proc/{pid}/cmdline").rstrip("\0")
    words: Dict[str, object] = {
        "name": name,
        "state": fields[0],
        "cmdline": cmdline.split("\0") if cmdline else [],
        "user": _user(pid, int(status["Uid"].split()[1])),
    }
    try:
        words["exe"] = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        pass
    return numbers, words


def _user(pid: int, uid: int) -> str:
    """The name of a user here, or its number in a container that counts users by itself."""
    for line in text(f"/proc/{pid}/uid_map").splitlines():
        inside, outside, count = (int(word) for word in line.split())
        if inside != outside and outside <= uid < outside + count:
            return str(inside + uid - outside)
    for line in text("/etc/passwd").splitlines():
        name, _, own, *_ = line.split(":")
        if own == str(uid):
            return name
    return str(uid)
