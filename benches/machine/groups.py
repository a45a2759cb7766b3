"""The control group of a container, read by this script itself, of version 1, of version 2 or of both."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from kernel import TICKS, Reading, nics, number, pairs, pressure, real_disks, summed, text

# From here on a limit of version 1 is none.
NO_LIMIT = 1 << 62


class Group:
    """The control group of one container, by its main process and the part of its path that is the container's."""

    def __init__(self, pid: int, mark: str) -> None:
        self._pid = pid
        self._one: Dict[str, Path] = {}
        self._two: Optional[Path] = None
        mounts = [line.split() for line in text("/proc/mounts").splitlines()]
        for line in text(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if mark not in path:
                continue
            kept, _, _ = path[path.index(mark):].partition("/")
            path = path[: path.index(mark)] + kept
            for _, point, kind, options, *_ in mounts:
                directory = Path(point + path)
                if kind == "cgroup2" and not controllers:
                    self._two = directory
                elif kind == "cgroup" and controllers and set(controllers.split(",")) <= set(options.split(",")):
                    self._one.update(dict.fromkeys(controllers.split(","), directory))
        if not self._one and self._two is None:
            raise LookupError(f"process {pid} is in no group of {mark}")

    def read(self) -> Reading:
        """What it uses now."""
        found = self._version_one() if "memory" in self._one else self._version_two()
        own = nics(text(f"/proc/{self._pid}/net/dev"), "networks", "lo")
        found.update(own)
        for member in ("received_bytes", "sent_bytes"):
            found[f"sum.networks.{member}"] = summed(own, "networks.", f".{member}")
        if self._two is not None:
            for what in ("cpu", "memory", "io"):
                found.update(pressure(text(self._two / f"{what}.pressure"), f"pressure.{what}"))
        return found

    def pids(self) -> "set[int]":
        """Its processes, by the kernel's list."""
        directory = self._one.get("pids", self._two)
        lists = directory.rglob("cgroup.procs") if directory is not None else ()
        return {int(pid) for one in lists for pid in text(one).split()}

    def _version_one(self) -> Reading:
        cpu, memory, pids = self._one["cpuacct"], self._one["memory"], self._one["pids"]
        found = {}
        found["cpu.total_seconds"] = (number(cpu / "cpuacct.usage") or 0.0) / 1e9
        modes = pairs(text(cpu / "cpuacct.stat"))
        for mode in ("user", "system"):
            found[f"cpu.{mode}_seconds"] = modes[mode] / TICKS
        held = pairs(text(self._one["cpu"] / "cpu.stat"))
        found["cpu.throttled_seconds"] = held["throttled_time"] / 1e9
        found["cpu.throttled_periods"] = held["nr_throttled"]
        found["cpu.online_cpus"] = float(len(cores(text(self._one["cpuset"] / "cpuset.effective_cpus"))))
        usage = number(memory / "memory.usage_in_bytes") or 0.0
        stat = pairs(text(memory / "memory.stat"))
        found["memory.usage_bytes"] = usage
        found["memory.working_set_bytes"] = usage - stat["total_inactive_file"]
        found["memory.rss_bytes"] = stat["total_rss"]
        found["memory.cache_bytes"] = stat["total_cache"]
        found["memory.swap_bytes"] = stat.get("total_swap", 0.0)
        found["memory.oom_kills"] = pairs(text(memory / "memory.oom_control"))["oom_kill"]
        limit = number(memory / "memory.limit_in_bytes")
        if limit is not None and limit < NO_LIMIT:
            found["memory.limit_bytes"] = limit
        for line in text(self._one["blkio"] / "blkio.throttle.io_service_bytes_recursive").splitlines():
            words = line.split()
            member = {"Read": "read_bytes", "Write": "written_bytes"}.get(words[1])
            if member:
                name = f"block_io.{member}"
                found[name] = found.get(name, 0.0) + float(words[2])
        return {**found, **_pids(pids)}

    def _version_two(self) -> Reading:
        assert self._two is not None
        group, found = self._two, {}
        cpu = pairs(text(group / "cpu.stat"))
        for member, name in (
            ("total", "usage_usec"), ("user", "user_usec"), ("system", "system_usec"), ("throttled", "throttled_usec"),
        ):
            found[f"cpu.{member}_seconds"] = cpu[name] / 1e6
        found["cpu.throttled_periods"] = cpu["nr_throttled"]
        found["cpu.online_cpus"] = float(len(cores(text(group / "cpuset.cpus.effective"))))
        usage = number(group / "memory.current") or 0.0
        stat = pairs(text(group / "memory.stat"))
        found["memory.usage_bytes"] = usage
        found["memory.working_set_bytes"] = usage - stat["inactive_file"]
        found["memory.rss_bytes"], found["memory.cache_bytes"] = stat["anon"], stat["file"]
        found["memory.swap_bytes"] = number(group / "memory.swap.current") or 0.0
        found["memory.oom_kills"] = pairs(text(group / "memory.events"))["oom_kill"]
        limit = number(group / "memory.max")
        if limit is not None:
            found["memory.limit_bytes"] = limit
        io = [word.split("=") for word in text(group / "io.stat").split() if "=" in word]
        found["block_io.read_bytes"] = sum(float(value) for name, value in io if name == "rbytes")
        found["block_io.written_bytes"] = sum(float(value) for name, value in io if name == "wbytes")
        return {**found, **_pids(group)}


@contextlib.contextmanager
def devices_count() -> Iterator[None]:
    """Lets the kernel count the bytes of devices for groups of version 1.

    point = next((line.split()[1] for line in text("/proc/mounts").splitlines() if "blkio" in line), None)
    """
    point = next((line.split()[1] for line in text("/proc/mounts").splitlines() if "blkio" in line.split()[3]), None)
    if point is None:
        yield
        return
    group = Path(point, f"roadstead-bench-{os.getpid()}")
    group.mkdir()
    try:
        for disk in sorted(real_disks()):
            device = text(f"/sys/block/{disk}/dev").strip()
            for way in ("read", "write"):
                (group / f"blkio.throttle.{way}_bps_device").write_text(f"{device} {1 << 40}")
        yield
    finally:
        group.rmdir()


def _pids(group: Path) -> Reading:
    found = {"pids.current": number(group / "pids.current") or 0.0}
    limit = number(group / "pids.max")
    return found if limit is None else {**found, "pids.limit": limit}


def cores(said: str) -> List[int]:
    """The members of a list such as `0-2,4`."""
    found: List[int] = []
    for part in said.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found
