"""The same readings by psutil, under the names that Roadstead gives them."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import psutil
from kernel import Reading

NIC_MEMBERS = {
    "received_bytes": "bytes_recv",
    "received_packets": "packets_recv",
    "receive_errors": "errin",
    "receive_dropped": "dropin",
    "sent_bytes": "bytes_sent",
    "sent_packets": "packets_sent",
    "send_errors": "errout",
    "send_dropped": "dropout",
}
CPU_MEMBERS = {
    "user": "user", "nice": "nice", "system": "system", "idle": "idle",
    "io_wait": "iowait", "irq": "irq", "soft_irq": "softirq", "steal": "steal",
}
MEMORY_MEMBERS = ("total", "available", "used", "free", "buffers", "cached", "shared", "active", "inactive")
STATES = {
    psutil.STATUS_RUNNING: "running",
    psutil.STATUS_SLEEPING: "sleeping",
    psutil.STATUS_DISK_SLEEP: "disk_sleep",
    psutil.STATUS_STOPPED: "stopped",
    psutil.STATUS_TRACING_STOP: "traced",
    psutil.STATUS_ZOMBIE: "zombie",
    psutil.STATUS_DEAD: "dead",
    psutil.STATUS_IDLE: "idle",
}


def _cpu(times: Any, name: str) -> Reading:
    found = {f"{name}.times.{ours}_seconds": float(getattr(times, theirs)) for ours, theirs in CPU_MEMBERS.items()}
    everything = sum(found.values())
    idle = float(times.idle) + float(times.iowait)
    return {**found, f"sum.{name}.all": everything, f"sum.{name}.busy": everything - idle}


def machine() -> Reading:
    """The whole machine."""
    found = _cpu(psutil.cpu_times(), "cpu")
    for core, times in enumerate(psutil.cpu_times(percpu=True)):
        found.update(_cpu(times, f"cpu.cores.{core}"))
    for which, load in enumerate(psutil.getloadavg()):
        found[f"cpu.load.{which}"] = float(load)
    memory = psutil.virtual_memory()
    for member in MEMORY_MEMBERS:
        found[f"memory.{member}_bytes"] = float(getattr(memory, member))
    swap = psutil.swap_memory()
    found["swap.total_bytes"], found["swap.used_bytes"] = float(swap.total), float(swap.used)
    for name, disk in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
        found[f"disks.{name}.reads"], found[f"disks.{name}.writes"] = float(disk.read_count), float(disk.write_count)
        found[f"disks.{name}.read_bytes"] = float(disk.read_bytes)
        found[f"disks.{name}.written_bytes"] = float(disk.write_bytes)
        found[f"disks.{name}.busy_seconds"] = float(disk.busy_time) / 1e3
    for name, nic in psutil.net_io_counters(pernic=True, nowrap=False).items():
        for ours, theirs in NIC_MEMBERS.items():
            found[f"nics.{name}.{ours}"] = float(getattr(nic, theirs))
    found["processes"] = float(len(psutil.pids()))
    for chip, sensors in psutil.sensors_temperatures().items():
        for sensor in sensors:
            found[f"sensors.{chip}.{sensor.label}.celsius"] = float(sensor.current)
    return found


def filesystems(mountpoints: List[str]) -> Reading:
    """The space of these file systems."""
    found: Reading = {}
    for mountpoint in mountpoints:
        told = psutil.disk_usage(mountpoint)
        found[f"filesystems.{mountpoint}.total_bytes"] = float(told.total)
        found[f"filesystems.{mountpoint}.used_bytes"] = float(told.used)
        found[f"filesystems.{mountpoint}.available_bytes"] = float(told.free)
    return found


def process(pid: int) -> "Tuple[Reading, Dict[str, object]]":
    """The numbers and the words of one process.

    Raises psutil.NoSuchProcess when it has ended.
    """
    found = psutil.Process(pid)
    with found.oneshot():
        times, memory, io = found.cpu_times(), found.memory_full_info(), found.io_counters()
        numbers = {
            "ppid": float(found.ppid()),
            "cpu_seconds": float(times.user) + float(times.system),
            "threads": float(found.num_threads()),
            "started_at": float(found.create_time()),
            "vms_bytes": float(memory.vms),
            "rss_bytes": float(memory.rss),
            "swap_bytes": float(memory.swap),
            "read_bytes": float(io.read_bytes),
            "written_bytes": float(io.write_bytes),
        }
        words: Dict[str, object] = {
            "name": found.name(),
            "state": STATES.get(found.status(), found.status()),
            "cmdline": found.cmdline(),
            "user": found.username(),
            "exe": found.exe(),
        }
    return numbers, words


def opened(pid: int) -> "Tuple[set[object], set[object]]":
    """The open files and the connections of a process, each with its number."""
    found = psutil.Process(pid)
    files = {(file.fd, file.path) for file in found.open_files()}
    connections = set()
    # It has another name from psutil 6 on.
    told = found.net_connections if hasattr(found, "net_connections") else found.connections
    for one in told("all"):
        family = {1: "unix", 2: "ipv4", 10: "ipv6"}.get(int(one.family), "other")
        kind = {1: "stream", 2: "datagram"}.get(int(one.type), "other")
        state = one.status.lower() if one.status != psutil.CONN_NONE else None
        connections.add((one.fd, family, kind, _address(one.laddr), _address(one.raddr) or None, state))
    return set(files), set(connections)


def _address(address: Any) -> str:
    if not isinstance(address, tuple):
        return str(address)
    if not address:
        return ""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
