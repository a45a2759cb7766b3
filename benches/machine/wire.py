"""Asks HTTP servers for JSON, over TCP or a unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Iterator, Mapping, Optional


class Refused(Exception):
    """An answer that is none of success."""


class _OverSocket(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Wire:
    """A server at a port of this machine, or at a socket."""

    def __init__(self, address: "tuple[str, int] | str", token: str = "", timeout: float = 60.0) -> None:
        self._address = address
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def _connection(self) -> http.client.HTTPConnection:
        if isinstance(self._address, str):
            return _OverSocket(self._address, self._timeout)
        return http.client.HTTPConnection(*self._address, timeout=self._timeout)

    def _ask(
        self, method: str, path: str, body: Optional[Any], headers: Mapping[str, str]
    ) -> "tuple[http.client.HTTPConnection, http.client.HTTPResponse]":
        connection = self._connection()
        sent = {**self._headers, **headers}
        data = None
        if body is not None:
            data = json.dumps(body)
            sent["Content-Type"] = "application/json"
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        if answer.status >= 300:
            said = answer.read().decode(errors="replace")
            connection.close()
            raise Refused(f"{method} {path}: {answer.status} {said}")
        return connection, answer

    def text(self, method: str, path: str, body: Optional[Any] = None) -> str:
        """What was answered."""
        connection, answer = self._ask(method, path, body, {})
        try:
            return answer.read().decode()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: Optional[Any] = None) -> Any:
        """The JSON that was answered; nothing where nothing was."""
        said = self.text(method, path, body)
        return json.loads(said) if said else None

    def get(self, path: str) -> Any:
        """The JSON at this path."""
        return self.ask("GET", path)

    def lines(self, path: str) -> Iterator[Any]:
        """Lines of JSON as they come, without an end."""
        connection, answer = self._ask("GET", path, None, {"Accept": "application/x-ndjson"})
        try:
            for line in answer:
                if line.strip():
                    yield json.loads(line)
        finally:
            connection.close()
