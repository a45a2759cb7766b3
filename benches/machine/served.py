"""What the server serves, as numbers by name, and collected as it comes."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Any, Dict, List

from kernel import Reading
from series import Moment, Series
from wire import Wire

# By which member the items of a list are known.
NAMES = ("name", "core", "mountpoint")


def seconds(when: str) -> float:
    """A time of JSON in seconds since 1970."""
    whole, _, fraction = when.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def flat(value: Any, name: str = "") -> Reading:
    """All numbers of some JSON, with dots between the names of members."""
    found: Reading = {}
    if isinstance(value, bool) or value is None:
        return found
    if isinstance(value, (int, float)):
        return {name: float(value)}
    if isinstance(value, dict):
        for key, member in value.items():
            found.update(flat(member, f"{name}.{key}" if name else key))
    if isinstance(value, list):
        for at, item in enumerate(value):
            known = next((item[key] for key in NAMES if isinstance(item, dict) and key in item), at)
            if isinstance(item, dict) and "chip" in item:
                known = f"{item['chip']}.{item['label']}"
            if isinstance(item, dict):
                item = {key: member for key, member in item.items() if key not in NAMES}
            found.update(flat(item, f"{name}.{known}"))
    return found


class Live:
    """The live use of one node, item by item: that of the machine, and of each container by its id."""

    def __init__(self, wire: Wire, node: str) -> None:
        self.node = node
        self.machine = Series()
        self.containers: Dict[str, Series] = {}
        self.sampling: List[Any] = []
        self.arrived: List[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(wire,), daemon=True)
        self._thread.start()

    def _run(self, wire: Wire) -> None:
        for item in wire.lines(f"/v1/nodes/{self.node}/usage"):
            # The look is over when what it saw is here.
            end = time.time()
            look = begin = seconds(item["observed_at"])
            self.arrived.append(time.monotonic())
            self.sampling.append(item["sampling"])
            self.machine.add(Moment(begin, end, flat(item["machine"]), look))
            for container in item["containers"]:
                begin = seconds(container.pop("observed_at"))
                series = self.containers.setdefault(container["id"], Series())
                series.add(Moment(begin, end, flat(container), look))
            if self._ended.is_set():
                return

    def end(self) -> None:
        """Waits for one more item."""
        self._ended.set()
        self._thread.join(30)
