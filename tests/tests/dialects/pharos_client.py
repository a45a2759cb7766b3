"""A session of a client of pharos, by the calls and members that its command line client relies on.

Usage: pharos_client.py URL CONTAINER-ID CONTAINER-NAME

The commands are those of the old client: nodes, add_node, remove_node, containers, events, top_node and
top_container. Each prints what the old one would, in its order of members; a member that is missing ends the session.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

Document = dict[str, Any]
Query = dict[str, str]

HOST = "ubuntu-dev"
NEWCOMER = "newcomer.example"
STARTED = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")


class Client:
    """Asks a lighttower."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Whatever proxies this machine has, the server is on it.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def request(self, method: str, path: str, body: Document | None = None, query: Query | None = None) -> Document:
        """The document of an answer, whether it succeeds or not."""
        url = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        # Raw, as the old client sends it: nothing says that it is JSON.
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/octet-stream")
        try:
            with self.opener.open(request, timeout=60) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            document = json.load(error)
            assert document["return_code"] == error.code
        assert isinstance(document, dict)
        return document

    def nodes(self) -> list[Document]:
        """What `pharos nodes` shows."""
        document = self.request("GET", "/nodes")
        nodes: list[Document] = document["nodes"]
        for node in nodes:
            docker = "GONE" if node["containers"] < 0 else str(node["containers"])
            storage = "OK" if node["storage"] else "GONE"
            print(node["_id"], node["host"], docker, storage)
        assert document["n"] == len(nodes)
        return nodes

    def add_node(self, host: str) -> str:
        """What `pharos add_node` prints."""
        document = self.request("POST", "/nodes", {"host": host})
        if "return_code" in document:
            return str(document["message"])
        return str(document["_id"])

    def remove_node(self, host: str) -> str:
        """What `pharos remove_node` prints."""
        document = self.request("DELETE", "/nodes", {"host": host})
        if "return_code" in document:
            return str(document["message"])
        return str(document["_id"])

    def containers(self, **query: str) -> dict[str, Document]:
        """What `pharos containers` shows, by id."""
        document = self.request("GET", "/containers", query=query)
        found = {}
        for container in document["containers"]:
            command = " ".join([container["Path"], *container["Args"]])
            status = "up" if container["State"]["Running"] else "exited"
            name = container["Name"].lstrip("/")
            print(container["Id"][:12], container["Config"]["Image"], command, status, name, container["Host"])
            found[container["Id"]] = container
        assert document["n"] == len(found)
        return found

    def events(self, **query: str) -> list[Document]:
        """What `pharos events` shows."""
        document = self.request("GET", "/events", query=query)
        events: list[Document] = document["events"]
        for event in events:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
            print(event["id"][:12], event["from"], event["status"], event["Host"], when)
        return events

    def top(self, path: str) -> list[list[float]]:
        """Two polls of `pharos top_node` or `top_container`, with the differences that the client computes."""
        polls: list[list[float]] = []
        for _ in range(2):
            document = self.request("GET", path)
            assert "return_code" not in document, document
            polls.append(document["Metrics"])
            for container in document.get("Containers", [document]):
                self.show(container)
            time.sleep(1)
        grown = [after - before for before, after in zip(*polls)]
        print("since the poll before:", grown)
        assert all(len(poll) == 10 for poll in polls)
        return polls

    @staticmethod
    def show(container: Document) -> None:
        """A container of `top`."""
        assert STARTED.match(container["Created"]) and STARTED.match(container["Started"]), container
        print(container["Id"][:12], container["Image"], container["Command"], container["Name"], container["Host"])
        for process in container["Processes"]:
            cpu, _, _, memory, rss, vms, *rest = process["metrics"]
            assert rest == [0.0] * 4 and isinstance(rss, int) and isinstance(vms, int)
            print(process["pid"], process["name"], process["status"], process["num_threads"], cpu, memory, rss, vms)
            print(process["exe"], " ".join(process["cmdline"]))
            for path, number in process["open_files"] or []:
                print(number, path)
            for number, family, kind, local, remote, state in process["connections"] or []:
                assert family in (2, 10) and kind in (1, 2) and len(local) in (0, 2) and len(remote) in (0, 2)
                print(number, family, kind, local, remote, state)


def main(url: str, container: str, name: str) -> None:
    """The session."""
    client = Client(url)
    known = {node["host"] for node in client.nodes()}
    assert HOST in known

    added = client.add_node(NEWCOMER)
    assert re.match("^[0-9a-f]{24}$", added), added
    assert client.add_node(NEWCOMER).startswith("Already Exists: ")
    newcomer = next(node for node in client.nodes() if node["host"] == NEWCOMER)
    assert newcomer["containers"] < 0 and not newcomer["storage"], newcomer
    assert client.remove_node(NEWCOMER) == added
    assert client.remove_node(NEWCOMER) == "Not Found Record: None"

    queries: list[Query] = [{}, {"host": HOST}, {"all": "true"}, {"quiet": "true"}]
    for query in queries:
        assert client.containers(**query)[container]["Name"] == "/" + name
    assert client.containers(host="nobody") == {}

    events = client.events(id=container, status="start")
    assert events and all(event["status"] == "start" for event in events)

    client.top(f"/nodes/{HOST}/metrics")
    client.top(f"/containers/{container}/metrics")
    gone = client.request("GET", "/containers/no-such-container/metrics")
    assert gone["return_code"] == 404 and gone["message"], gone
    print("the session is over")


if __name__ == "__main__":
    main(*sys.argv[1:])
