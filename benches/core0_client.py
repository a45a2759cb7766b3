"""Times calls of core.ping by the Python client 0-core-client: seconds of each call, one a line.

Usage: core0_client.py SOCKET CALLS
"""

from __future__ import annotations

import sys
import time

import redis
from zeroos.core0.client import Client


def main() -> None:
    socket, calls = sys.argv[1], int(sys.argv[2])
    # It knows hosts with TLS only; its connection is put in place of the one that it makes, and nothing else is touched.
    client = Client("unused", testConnectionAttempts=0)
    client._redis = redis.Redis(unix_socket_path=socket)
    for _ in range(calls):
        begun = time.perf_counter()
        client.ping()
        print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
