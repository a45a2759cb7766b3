"""Readings of the kernel's files by this script itself: nothing here is shared with what is measured.

A reading is numbers by the names that Roadstead gives them, dots between the members. Names that begin with `sum.` are
sums of others, for rates over all disks or all interfaces.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Optional

Reading = Dict[str, float]

TICKS = float(os.sysconf("SC_CLK_TCK"))
SECTOR = 512
CPU_STATES = ("user", "nice", "system", "idle", "io_wait", "irq", "soft_irq", "steal")
NIC_COLUMNS = {
    0: "received_bytes",
    1: "received_packets",
    2: "receive_errors",
    3: "receive_dropped",
    8: "sent_bytes",
    9: "sent_packets",
    10: "send_errors",
    11: "send_dropped",
}


def text(path: "str | Path") -> str:
    """What stands in a file; nothing where it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def number(path: "str | Path") -> Optional[float]:
    """The only number of a file; none where it says `max`, or is not there."""
    said = text(path).strip()
    return float(said) if said.lstrip("-").isdigit() else None


def pairs(said: str) -> Dict[str, float]:
    """Lines of a name and a number."""
    found = {}
    for line in said.splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0]] = float(words[1])
    return found


def pressure(said: str, name: str) -> Reading:
    """A file of pressure."""
    found: Reading = {}
    for line in said.splitlines():
        kind, *rest = line.split()
        told = dict(word.split("=") for word in rest)
        found[f"{name}.{kind}_percent"] = float(told["avg10"])
        found[f"{name}.{kind}_seconds"] = float(told["total"]) / 1e6
    return found


def nics(said: str, name: str, without: str = "") -> Reading:
    """A file of interfaces, but one of them where it is named."""
    found: Reading = {}
    for line in said.splitlines()[2:]:
        nic, _, rest = line.rpartition(":")
        nic = nic.strip()
        if nic == without:
            continue
        columns = rest.split()
        for column, member in NIC_COLUMNS.items():
            found[f"{name}.{nic}.{member}"] = float(columns[column])
    return found


def summed(reading: Reading, begin: str, end: str, among: "Optional[set[str]]" = None) -> float:
    """The sum of all members of this beginning and end, between which one of these names stands."""
    return sum(
        value
        for key, value in reading.items()
        if key.startswith(begin) and key.endswith(end) and (among is None or key[len(begin):-len(end)] in among)
    )


def real_disks() -> "set[str]":
    """Disks that are no part of others and no part of memory or files."""
    return {
        entry.name
        for entry in Path("/sys/block").iterdir()
        if not entry.name.startswith(("loop", "ram", "zram")) and not os.listdir(entry / "slaves")
    }


def machine() -> Reading:
    """The whole machine."""
    found: Reading = {"uptime_seconds": float(text("/proc/uptime").split()[0])}
    for line in text("/proc/stat").splitlines():
        word, *rest = line.split()
        if not word.startswith("cpu"):
            continue
        name = f"cpu.cores.{word[3:]}" if word[3:] else "cpu"
        seconds = [float(ticks) / TICKS for ticks in rest]
        for state, value in zip(CPU_STATES, seconds):
            found[f"{name}.times.{state}_seconds"] = value
        found[f"sum.{name}.all"] = sum(seconds[:8])
        found[f"sum.{name}.busy"] = sum(seconds[:8]) - seconds[3] - seconds[4]
    for which, load in enumerate(text("/proc/loadavg").split()[:3]):
        found[f"cpu.load.{which}"] = float(load)
    memory = {name: kibibytes * 1024 for name, kibibytes in pairs(text("/proc/meminfo")).items()}
    for ours, theirs in (
        ("total", "MemTotal"), ("available", "MemAvailable"), ("free", "MemFree"), ("buffers", "Buffers"),
        ("cached", "Cached"), ("shared", "Shmem"), ("active", "Active"), ("inactive", "Inactive"),
    ):
        found[f"memory.{ours}_bytes"] = memory[theirs]
    found["memory.used_bytes"] = memory["MemTotal"] - memory["MemAvailable"]
    found["swap.total_bytes"] = memory["SwapTotal"]
    found["swap.used_bytes"] = memory["SwapTotal"] - memory["SwapFree"]
    for line in text("/proc/diskstats").splitlines():
        words = line.split()
        for member, column, unit in (
            ("reads", 3, 1.0), ("read_bytes", 5, SECTOR), ("writes", 7, 1.0), ("written_bytes", 9, SECTOR),
            ("busy_seconds", 12, 1e-3),
        ):
            found[f"disks.{words[2]}.{member}"] = float(words[column]) * unit
    found.update(nics(text("/proc/net/dev"), "nics"))
    for what in ("cpu", "memory", "io"):
        found.update(pressure(text(f"/proc/pressure/{what}"), f"pressure.{what}"))
    found["processes"] = float(sum(1 for name in os.listdir("/proc") if name.isdigit()))
    real = real_disks()
    for member in ("read_bytes", "written_bytes"):
        found[f"sum.disks.{member}"] = summed(found, "disks.", f".{member}", real)
    for member in ("received_bytes", "sent_bytes"):
        found[f"sum.nics.{member}"] = summed(found, "nics.", f".{member}") - found[f"nics.lo.{member}"]
    return found


def filesystems(mountpoints: List[str]) -> Reading:
    """The space of these file systems, as statvfs(3) tells."""
    found: Reading = {}
    for mountpoint in mountpoints:
        told = os.statvfs(mountpoint)
        for member, value in (
            ("total_bytes", told.f_blocks * told.f_frsize),
            ("used_bytes", (told.f_blocks - told.f_bfree) * told.f_frsize),
            ("available_bytes", told.f_bavail * told.f_frsize),
            ("inodes", told.f_files),
            ("inodes_free", told.f_ffree),
        ):
            found[f"filesystems.{mountpoint}.{member}"] = float(value)
    return found
