"""Open files and connections of a process, by its descriptors and the lists of sockets of its network."""

from __future__ import annotations

import ipaddress
import os
import stat
from typing import Dict, Iterator, Tuple

from kernel import text

STATES = {
    1: "established", 2: "syn_sent", 3: "syn_recv", 4: "fin_wait1", 5: "fin_wait2", 6: "time_wait", 7: "close",
    8: "close_wait", 9: "last_ack", 10: "listen", 11: "closing", 12: "syn_recv",
}
KINDS = {1: "stream", 2: "datagram"}
PACKET_KINDS = {2: "datagram", 3: "raw"}
# Of sockets that are in no list.
PROTOCOLS = {
    "TCP": ("ipv4", "stream"), "TCPv6": ("ipv6", "stream"), "UDP": ("ipv4", "datagram"), "UDPv6": ("ipv6", "datagram"),
    "NETLINK": ("netlink", "datagram"),
}


def _descriptors(pid: int) -> Iterator[Tuple[int, str]]:
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield int(name), os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue


def opened(pid: int) -> "Tuple[set[object], set[object]]":
    """The regular files with their numbers, and the connections: number, family, kind, both addresses and state.

    Raises OSError when the process has ended.
    """
    files: "set[object]" = set()
    connections: "set[object]" = set()
    sockets: Dict[str, Tuple[object, ...]] = {}
    for number, target in _descriptors(pid):
        if target.startswith("socket:["):
            sockets = sockets or _sockets(pid)
            inode = target[len("socket:["):-1]
            connections.add((number, *(sockets.get(inode) or _unlisted(pid, number))))
        elif target.startswith("/") and stat.S_ISREG(os.stat(f"/proc/{pid}/fd/{number}").st_mode):
            files.add((number, target))
    return files, connections


def _sockets(pid: int) -> Dict[str, Tuple[object, ...]]:
    found: Dict[str, Tuple[object, ...]] = {}
    for name, family, kind in (
        ("tcp", "ipv4", "stream"), ("tcp6", "ipv6", "stream"),
        ("udp", "ipv4", "datagram"), ("udp6", "ipv6", "datagram"),
        ("raw", "ipv4", "raw"), ("raw6", "ipv6", "raw"),
    ):
        for line in text(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            words = line.split()
            state = STATES.get(int(words[3], 16)) if kind == "stream" else None
            local, remote = _address(words[1]), _address(words[2])
            nowhere = remote in ("0.0.0.0:0", "[::]:0")
            found[words[9]] = (family, kind, local, None if nowhere else remote, state)
    for line in text(f"/proc/{pid}/net/packet").splitlines()[1:]:
        words = line.split()
        found[words[8]] = ("packet", PACKET_KINDS.get(int(words[2]), "other"), f"{words[3]}:{words[4]}", None, None)
    for line in text(f"/proc/{pid}/net/netlink").splitlines()[1:]:
        words = line.split()
        found[words[9]] = ("netlink", "datagram", f"{words[1]}:{words[2]}", None, None)
    for line in text(f"/proc/{pid}/net/unix").splitlines()[1:]:
        words = line.split(maxsplit=7)
        path = words[7] if len(words) > 7 else ""
        found[words[6]] = ("unix", KINDS.get(int(words[4], 16), "other"), path, None, None)
    return found


def _unlisted(pid: int, number: int) -> Tuple[object, ...]:
    """By the name of its protocol, which the kernel tells as an attribute."""
    try:
        name = os.getxattr(f"/proc/{pid}/fd/{number}", "system.sockprotoname").rstrip(b"\0").decode()
    except OSError:
        name = ""
    return (*PROTOCOLS.get(name, ("other", "other")), "", None, None)


def _address(told: str) -> str:
    ip, _, port = told.partition(":")
    # Words of four bytes in the order of this machine.
    octets = b"".join(bytes.fromhex(ip[at:at + 8])[::-1] for at in range(0, len(ip), 8))
    address = ipaddress.ip_address(octets)
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
