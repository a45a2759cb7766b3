"""The usage examples of COPA's own document, run with the library that they use.

Each call is as the document has it: ``requests.get(BASE_URL + ..., data)`` and ``requests.post(BASE_URL + ..., data)``,
with the dictionaries that stand there, and ``.json()`` on the answer. What depends on the machine (which pools,
containers and images there are) comes by the command line.

Usage: copa_session.py BASE_URL IMAGE_ALIAS CONTAINER
"""

import sys
from typing import Any

import requests

BASE_URL = sys.argv[1]
IMAGE = sys.argv[2]
CONTAINER = sys.argv[3]


def get(path: str, data: dict[str, str]) -> Any:
    """As in the document; the parameters of a GET go into the query string."""
    return requests.get(BASE_URL + path, data, timeout=300).json()


def post(path: str, data: dict[str, str]) -> Any:
    """As in the document; the parameters of a POST go as a form."""
    return requests.post(BASE_URL + path, data, timeout=300).json()


def same(told: object, wanted: object) -> None:
    """What the document shows."""
    if told != wanted:
        sys.exit(f"told {told!r}, and the document has {wanted!r}")


def pools() -> None:
    data: dict[str, str] = {}
    result = get("pools/", data)
    same(sorted(result), ["pools", "success"])
    same(result["success"], "pools")
    same([name for name, _ in result["pools"]], ["server1", "server2"])

    data = {"container_pool": 'testServer',
            "ip":             '1.1.1.1',
            "operation":      "add"}
    result = post("pools/", data)
    same(result, {'container_pool': 'testServer',
                  'local_ip': '1.1.1.1',
                  'success': 'Container pool added Successfully'})

    data = {"container_pool": 'testServer',
            "operation":      "remove"}
    result = post("pools/", data)
    same(result, {'container_pool': 'testServer',
                  'success': 'Container pool removed successfully.'})


def containers() -> None:
    data = {"container_name": CONTAINER,
            "container_pool": "server1",
            "operation":      "create",
            "image_type":     IMAGE}
    result = post("container/", data)
    same(result, {'success': 'Container created successfully.'})

    data = {"container_pool": "server1",
            "operation":      "list_containers"}
    result = get("container/", data)
    same(list(result), ["containers"])
    same(CONTAINER in result["containers"], True)

    # The container of the image may have ended by itself; the document starts one that is stopped.
    for operation in ("stop", "start"):
        data = {"container_name": CONTAINER,
                "container_pool": "server1",
                "operation":      operation}
        result = post("container/", data)
    same(result, {'success': 'Operation successful'})

    data = {"container_name": CONTAINER,
            "container_pool": "server1",
            "operation":      "information"}
    result = get("container/", data)
    same({"disk", "memory", "network"} <= set(result), True)
    same(set(result["memory"]), {"usage", "usage_peak", "swap_usage", "swap_usage_peak"})
    interface = result["network"]["lo"]
    same(set(interface), {"addresses", "counters", "hwaddr", "host_name", "mtu", "state", "type"})
    same({"family": "inet", "address": "127.0.0.1", "netmask": "8", "scope": "local"} in interface["addresses"], True)
    same(set(interface["counters"]), {"bytes_received", "bytes_sent", "packets_received", "packets_sent"})
    same(interface["type"], "loopback")

    data = {"container_name":   CONTAINER,
            "container_pool":   "server1",
            "destination_pool": "server2",
            "operation":        "migrate"}
    result = post("container/", data)
    same(result, {'success': 'Container migrated successfully.'})

    for operation in ("stop", "delete"):
        data = {"container_name": CONTAINER,
                "container_pool": "server2",
                "operation":      operation}
        result = post("container/", data)
    same(result, {'success': 'Operation successful'})


def images() -> None:
    # The parameters of another call, as in the document: they are ignored.
    data = {"container_pool": "server1",
            "operation":      "list_containers"}
    result = get("image/", data)
    same(result["success"], 'Operation successful')
    same(all(len(fingerprint) == 64 for fingerprint in result["images"].values()), True)
    same(IMAGE in result["images"], True)


if __name__ == "__main__":
    pools()
    containers()
    images()
    print("every example is answered as the document has it")
