"""What a whole server uses of a core while it looks at very many containers."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from typing import Iterator

from cputime import Meter
from server import Server

SECONDS = 30


@contextlib.contextmanager
def held(program: str, kind: str, count: int) -> Iterator[None]:
    """So many control groups with a process each, made by the bench of the host and taken away at the end."""
    words = [program, "--hold", kind, str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(f"{count} "):
            raise RuntimeError(f"{program} did not make {count} containers: {line!r}")
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(120)


def server_percent(server: Server, node: str) -> float:
    """Percent of a core that the server uses, all of its threads, while somebody takes its live use each second."""
    stop = threading.Event()
    lines = server.wire.lines(f"/v1/nodes/{node}/usage")

    def take() -> None:
        with contextlib.closing(lines):  # type: ignore[type-var]
            for _ in lines:
                if stop.is_set():
                    return

    reader = threading.Thread(target=take)
    reader.start()
    try:
        # What is seen for the first time costs more.
        time.sleep(10)
        meter, begun = Meter([server.pid]), time.monotonic()
        time.sleep(SECONDS)
        return meter.used() / (time.monotonic() - begun) * 100
    finally:
        stop.set()
        reader.join(30)
