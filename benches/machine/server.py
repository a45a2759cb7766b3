"""The `roadstead` server, started for a measurement and ended after it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Mapping, Optional, Sequence, Type

from wire import Refused, Wire


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def exit_when_asked() -> None:
    """Lets a request to end take away what was made, as any other end does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Server:
    """The program with these nodes, which looks at the machine once a second."""

    def __init__(self, program: str, nodes: Mapping[str, str], more: Sequence[str] = ()) -> None:
        self._state = Path(tempfile.mkdtemp(prefix="roadstead-bench-"))
        port = _free_port()
        words = [program, "serve", "--listen", f"127.0.0.1:{port}", "--state-dir", str(self._state)]
        words += ["--key-file", str(self._state / "store.key")]
        words += ["--sample-interval-seconds", "1", "--sample-budget-percent", "50", "--log", "warn", *more]
        for name, uri in nodes.items():
            words += ["--node", f"{name}={uri}"]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        try:
            self.wire = Wire(("127.0.0.1", port), self._token())
            self._wait(self.wire)
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _token(self) -> str:
        file = self._state / "admin.token"
        for _ in range(100):
            if file.exists() and file.read_text().strip():
                return file.read_text().strip()
            if self._process.poll() is not None:
                break
            time.sleep(0.1)
        raise RuntimeError("the server did not start")

    def _wait(self, wire: Wire) -> None:
        for _ in range(100):
            try:
                wire.text("GET", "/readyz")
                return
            except (OSError, Refused):
                time.sleep(0.1)
        raise RuntimeError("the server is not ready")

    def end(self) -> None:
        """Ends it, and takes away what it kept."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._state, ignore_errors=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.end()
