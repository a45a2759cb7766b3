"""Times calls of core.ping by the Python client 0-core-client: seconds of each call, one a line.

Usage: core0_client.py HOST PORT CALLS, with the TLS port of a node: the client asks in words that only its proxy knows.
"""

from __future__ import annotations

import sys
import time

import redis
from zeroos.core0.client import Client


def main() -> None:
    host, port, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # Today's redis package checks certificates and shakes hands unless told otherwise, which the client does not know
    # of: its connection is put in place of the one that it makes, and nothing else is touched.
    client = Client(host, port, testConnectionAttempts=0)
    client._redis = redis.Redis(
        host=host,
        port=port,
        ssl=True,
        ssl_cert_reqs="none",
        ssl_check_hostname=False,
        protocol=2,
        lib_name=None,
        lib_version=None,
    )
    for _ in range(calls):
        begun = time.perf_counter()
        client.ping()
        print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
