"""A process that has files and connections of every kind open, and does nothing.

Usage: opener.py; it says that it is ready, and ends with its standard input.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List


def _pair(host: str, family: socket.AddressFamily) -> List[socket.socket]:
    """A listener, and both ends of a connection to it."""
    listener = socket.create_server((host, 0), family=family)
    there = socket.create_connection(listener.getsockname()[:2])
    here, _ = listener.accept()
    return [listener, there, here]


def main() -> None:
    """Opens all, and waits."""
    with tempfile.TemporaryDirectory(prefix="roadstead-bench-") as name, contextlib.ExitStack() as ends:
        for file in ("a", "with a blank"):
            ends.enter_context(open(Path(name, file), "w", encoding="utf-8"))
        kept = _pair("127.0.0.1", socket.AF_INET)
        if socket.has_dualstack_ipv6():
            kept += _pair("::1", socket.AF_INET6)
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            datagrams = socket.socket(family, socket.SOCK_DGRAM)
            datagrams.bind((host, 0))
            kept.append(datagrams)
        for kind, path in ((socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "datagrams")):
            local = socket.socket(socket.AF_UNIX, kind)
            local.bind(str(Path(name, path)))
            kept.append(local)
        kept += socket.socketpair()
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        kernel.bind((0, 0))
        kept.append(kernel)
        # In no list of the kernel.
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        with contextlib.suppress(PermissionError):
            kept.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
            kept.append(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        for one in kept:
            ends.enter_context(one)
        print("ready", flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def opener() -> Iterator[int]:
    """The process, until the end; its number."""
    with subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.communicate()


if __name__ == "__main__":
    main()
