"""What the machine is, by psutil and the system's own programs, beside what is served of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from typing import Any, Dict, List

import psutil
from kernel import text
from served import seconds
from verdicts import Table, once, words

SCOPE = "host facts"
FLAGS = {
    "UP": "up", "BROADCAST": "broadcast", "LOOPBACK": "loopback", "POINTOPOINT": "pointtopoint",
    "MULTICAST": "multicast",
}


def _json(*command: str) -> Any:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(table: Table, served: Any) -> None:
    """Every member of the facts beside those who know it, too."""
    _system(table, served)
    _cpus(table, served["cpus"])
    _disks(table, served["disks"])
    _mounts(table, served["mounts"])
    _nics(table, served["nics"])


def _system(table: Table, served: Any) -> None:
    named = ("hostname", "kernel", "architecture", "os", "os_id", "os_version", "virtualization")
    ours = {name: served.get(name) for name in named}
    release = platform.freedesktop_os_release()
    uname = os.uname()
    theirs: Dict[str, object] = {
        "hostname": uname.nodename, "kernel": uname.release, "architecture": uname.machine,
        "os": release["PRETTY_NAME"], "os_id": release["ID"], "os_version": release["VERSION_ID"],
    }
    words(table, SCOPE, "machine", "uname, os-release", ours, theirs)
    told = subprocess.run(["systemd-detect-virt"], check=False, capture_output=True, text=True).stdout.strip()
    words(table, SCOPE, "machine", "systemd-detect-virt", ours, {"virtualization": None if told == "none" else told})
    numbers = {"memory_bytes": float(served["memory_bytes"]), "booted_at": seconds(served["booted_at"])}
    total, boot = float(psutil.virtual_memory().total), float(psutil.boot_time())
    once(table, SCOPE, "machine", "psutil", numbers, {"memory_bytes": (total, total), "booted_at": (boot, boot)})


def _cpus(table: Table, served: List[Any]) -> None:
    told: Dict[str, Any] = {item["field"].rstrip(":"): item["data"] for item in _json("lscpu", "-J")["lscpu"]}
    words(table, SCOPE, "machine", "psutil", {"cpus.count": len(served)}, {"cpus.count": psutil.cpu_count()})
    blocks = [dict(_pair(line) for line in block.splitlines()) for block in text("/proc/cpuinfo").strip().split("\n\n")]
    for cpu, block in zip(served, blocks):
        subject = f"cpu {cpu['core']}"
        ours = {f"cpus.{name}": cpu[name] for name in ("core", "vendor", "model", "family", "flags")}
        by_lscpu = {
            "cpus.vendor": told.get("Vendor ID"), "cpus.model": told.get("Model name"),
            "cpus.family": told.get("CPU family"), "cpus.flags": told.get("Flags", "").split(),
        }
        words(table, SCOPE, subject, "lscpu", ours, by_lscpu)
        words(table, SCOPE, subject, "/proc/cpuinfo", ours, {"cpus.core": int(block["processor"])})
        numbers = {"cpus.cores": cpu["cores"], "cpus.mhz": cpu["mhz"], "cpus.cache_bytes": cpu["cache_bytes"]}
        cache = float(block["cache size"].split()[0]) * 1024
        clock, cores = float(block["cpu MHz"]), float(psutil.cpu_count(logical=False))
        clocks = [float(one.current) for one in psutil.cpu_freq(percpu=True)]
        by_file = {"cpus.cache_bytes": (cache, cache), "cpus.mhz": (clock, clock)}
        by_psutil = {"cpus.cores": (cores, cores), "cpus.mhz": (min(clocks), max(clocks))}
        once(table, SCOPE, subject, "/proc/cpuinfo", numbers, by_file)
        once(table, SCOPE, subject, "psutil", numbers, by_psutil)


def _pair(line: str) -> "tuple[str, str]":
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _disks(table: Table, served: List[Any]) -> None:
    columns = "NAME,SIZE,ROTA,RM,RO,MODEL,TYPE"
    listed = {disk["name"]: disk for disk in _json("lsblk", "-J", "-b", "-a", "-o", columns)["blockdevices"]}
    sized = {name for name, disk in listed.items() if disk["size"]}
    words(
        table, SCOPE, "machine", "lsblk", {"disks.names": sorted(disk["name"] for disk in served)},
        {"disks.names": sorted(sized)},
    )
    for disk in served:
        told = listed.get(disk["name"])
        if told is None:
            continue
        ours = {
            "disks.size_bytes": disk["size_bytes"], "disks.rotational": disk["rotational"],
            "disks.removable": disk["removable"], "disks.read_only": disk["read_only"],
            "disks.model": disk.get("model"),
            "disks.partitions": [(part["name"], part["size_bytes"]) for part in disk["partitions"]],
        }
        theirs = {
            "disks.size_bytes": told["size"], "disks.rotational": told["rota"], "disks.removable": told["rm"],
            "disks.read_only": told["ro"], "disks.model": told["model"],
            "disks.partitions": [
                (part["name"], part["size"]) for part in told.get("children", []) if part["type"] == "part"
            ],
        }
        words(table, SCOPE, disk["name"], "lsblk", ours, theirs)


def _mounts(table: Table, served: List[Any]) -> None:
    """What is mounted or taken away meanwhile may be in either."""
    parts = psutil.disk_partitions(all=True)
    mounted = {(part.mountpoint, part.device, part.fstype) for part in parts}
    options: Dict[str, "set[str]"] = {}
    for part in parts:
        options.setdefault(part.mountpoint, set()).update(part.opts.split(","))
    ours = {(mount["mountpoint"], mount["device"], mount["kind"]) for mount in served}
    strange: Dict[str, object] = {
        "mounts": sorted(ours ^ mounted),
        # The kernel tells those of the file system, too, which are no options of the mount.
        "mounts.options": sorted(
            mount["mountpoint"] for mount in served
            if not set(mount["options"].split(",")) <= options.get(mount["mountpoint"], set())
        ),
    }
    words(table, SCOPE, "machine", "psutil", strange, {"mounts": [], "mounts.options": []})


def _nics(table: Table, served: List[Any]) -> None:
    listed = {nic["ifname"]: nic for nic in _json("ip", "-j", "addr")}
    stats = psutil.net_if_stats()
    words(
        table, SCOPE, "machine", "ip", {"nics.names": sorted(nic["name"] for nic in served)},
        {"nics.names": sorted(listed)},
    )
    for nic in served:
        told, stat = listed.get(nic["name"]), stats.get(nic["name"])
        if told is None or stat is None:
            continue
        mac = told.get("address", "")
        theirs = {
            "nics.mac": "" if mac == "00:00:00:00:00:00" else mac,
            "nics.flags": sorted(FLAGS[flag] for flag in told["flags"] if flag in FLAGS),
            "nics.addresses": sorted(f"{one['local']}/{one['prefixlen']}" for one in told["addr_info"]),
        }
        ours = {
            "nics.mac": nic["mac"], "nics.flags": sorted(nic["flags"]), "nics.addresses": sorted(nic["addresses"]),
            "nics.mtu": nic["mtu"], "nics.up": nic["up"],
        }
        words(table, SCOPE, nic["name"], "ip", ours, theirs)
        by_psutil = {"nics.mtu": stat.mtu, "nics.up": "up" in stat.flags.split(",")}
        words(table, SCOPE, nic["name"], "psutil", ours, by_psutil)
        told_speed = nic.get("speed_bits_per_second")
        if told_speed is not None:
            speed = float(stat.speed) * 1e6
            once(
                table, SCOPE, nic["name"], "psutil", {"nics.speed_bits_per_second": float(told_speed)},
                {"nics.speed_bits_per_second": (speed, speed)},
            )
