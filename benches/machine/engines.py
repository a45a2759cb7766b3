"""What the engines themselves tell of containers, under the names that Roadstead gives it."""

from __future__ import annotations

from typing import Any, Protocol

from kernel import Reading
from wire import Wire


class Engine(Protocol):
    """An engine, asked over its own socket."""

    def pid(self, container: str) -> int:
        """The container's main process."""

    def mark(self, container: str) -> str:
        """What the container's control group is called."""

    def address(self, container: str) -> str:
        """Its IPv4 address; empty while it has none."""

    def read(self, container: str) -> Reading:
        """What it uses, as the engine tells."""


def path_of(uri: str) -> str:
    """The path of a socket of this machine.

    Raises ValueError when it is none.
    """
    _, _, path = uri.partition("+unix://")
    if not path:
        raise ValueError(f"{uri} is no socket of this machine")
    return path


def engine_of(uri: str) -> Engine:
    """The engine at this address."""
    scheme = uri.partition("+")[0]
    wire = Wire(path_of(uri))
    if scheme in ("docker", "podman"):
        return Docker(wire)
    return Lxd(wire)


class Docker:
    """Docker, and Podman where it speaks as Docker does."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def _inspect(self, container: str) -> Any:
        return self.wire.get(f"/v1.40/containers/{container}/json")

    def pid(self, container: str) -> int:
        """The container's main process."""
        return int(self._inspect(container)["State"]["Pid"])

    def mark(self, container: str) -> str:
        """The id is in the name of the group."""
        return str(self._inspect(container)["Id"])

    def address(self, container: str) -> str:
        """Its IPv4 address."""
        networks = self._inspect(container)["NetworkSettings"]["Networks"].values()
        return str(next((network["IPAddress"] for network in networks if network.get("IPAddress")), ""))

    def read(self, container: str) -> Reading:
        """Its statistics, read once."""
        return of_docker(self.wire.get(f"/v1.40/containers/{container}/stats?stream=false&one-shot=true"))


def of_docker(told: Any) -> Reading:
    """Statistics in Docker's form."""
    cpu, memory, pids = told["cpu_stats"], told["memory_stats"], told["pids_stats"]
    found: Reading = {}
    for name, member in (("total_usage", "total"), ("usage_in_usermode", "user"), ("usage_in_kernelmode", "system")):
        found[f"cpu.{member}_seconds"] = float(cpu["cpu_usage"][name]) / 1e9
    found["cpu.throttled_seconds"] = float(cpu["throttling_data"]["throttled_time"]) / 1e9
    found["cpu.throttled_periods"] = float(cpu["throttling_data"]["throttled_periods"])
    if "online_cpus" in cpu:
        found["cpu.online_cpus"] = float(cpu["online_cpus"])
    found["memory.usage_bytes"] = float(memory["usage"])
    found["memory.limit_bytes"] = float(memory["limit"])
    stat = memory.get("stats") or {}
    for name, member in (
        ("total_rss", "rss"), ("anon", "rss"), ("total_cache", "cache"), ("file", "cache"), ("total_swap", "swap"),
    ):
        if name in stat:
            found[f"memory.{member}_bytes"] = float(stat[name])
    inactive = stat.get("total_inactive_file", stat.get("inactive_file"))
    if inactive is not None:
        found["memory.working_set_bytes"] = float(memory["usage"]) - float(inactive)
    devices = told["blkio_stats"].get("io_service_bytes_recursive") or []
    for name, member in (("read", "read_bytes"), ("write", "written_bytes")):
        of_kind = [float(one["value"]) for one in devices if one["op"].lower() == name]
        if of_kind:
            found[f"block_io.{member}"] = sum(of_kind)
    found["pids.current"] = float(pids["current"])
    # Without a limit it says nought, or all ones.
    if 0 < float(pids.get("limit") or 0) < 1 << 62:
        found["pids.limit"] = float(pids["limit"])
    for nic, counters in (told.get("networks") or {}).items():
        for short, ours in (("rx", "receive"), ("tx", "sen")):
            done, failed = (f"{ours}d", ours) if short == "rx" else ("sent", "send")
            for unit in ("bytes", "packets"):
                found[f"networks.{nic}.{done}_{unit}"] = float(counters[f"{short}_{unit}"])
            for unit in ("errors", "dropped"):
                found[f"networks.{nic}.{failed}_{unit}"] = float(counters[f"{short}_{unit}"])
    return found


class Lxd:
    """LXD and Incus."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def _state(self, container: str) -> Any:
        return self.wire.get(f"/1.0/instances/{container}/state")["metadata"]

    def pid(self, container: str) -> int:
        """The container's main process."""
        return int(self._state(container)["pid"])

    def mark(self, container: str) -> str:
        """Groups are called after the container."""
        return f"lxc.payload.{container}"

    def address(self, container: str) -> str:
        """Its IPv4 address."""
        for nic, told in (self._state(container)["network"] or {}).items():
            for address in told["addresses"]:
                if nic != "lo" and address["family"] == "inet":
                    return str(address["address"])
        return ""

    def read(self, container: str) -> Reading:
        """Its state."""
        return of_lxd(self._state(container))


def of_lxd(state: Any) -> Reading:
    """The state of an instance in LXD's form."""
    found = {
        "cpu.total_seconds": float(state["cpu"]["usage"]) / 1e9,
        "memory.swap_bytes": float(state["memory"]["swap_usage"]),
        "pids.current": float(state["processes"]),
    }
    # Nought where it could not be read.
    if state["memory"]["usage"]:
        found["memory.usage_bytes"] = float(state["memory"]["usage"])
    if state["memory"].get("total"):
        found["memory.limit_bytes"] = float(state["memory"]["total"])
    for nic, told in (state["network"] or {}).items():
        if nic == "lo":
            continue
        counters = told["counters"]
        for ours, theirs in (
            ("received_bytes", "bytes_received"), ("sent_bytes", "bytes_sent"),
            ("received_packets", "packets_received"), ("sent_packets", "packets_sent"),
            ("receive_errors", "errors_received"), ("send_errors", "errors_sent"),
            ("receive_dropped", "packets_dropped_inbound"), ("send_dropped", "packets_dropped_outbound"),
        ):
            if theirs in counters:
                found[f"networks.{nic}.{ours}"] = float(counters[theirs])
    return found
