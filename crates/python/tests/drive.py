"""What the conformance suite calls the package with: blocking, or awaited in an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Coroutine, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

import roadstead
from roadstead import aio

T = TypeVar("T")

_END = object()


def _plain(value: Any) -> Any:
    """Data as JSON has it."""
    if isinstance(value, (roadstead.ListedContainer, aio.ListedContainer)):
        return _plain(value.summary)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = ((member.name, getattr(value, member.name)) for member in dataclasses.fields(value))
        return {name: _plain(member) for name, member in members if member is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


def _given(value: Any) -> Any:
    """JSON as the package takes it: moments are marked."""
    if isinstance(value, dict):
        if value.keys() == {"moment"}:
            return datetime.fromisoformat(_short(value["moment"]))
        return {key: _given(member) for key, member in value.items()}
    return value


def _short(moment: str) -> str:
    """A moment to the microsecond, as this Python reads it."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return f"{whole}.{(fraction + '000000')[:6]}+00:00"


def _arguments(positional: str, keywords: str, objects: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    return json.loads(positional), {**_given(json.loads(keywords)), **objects}


class Blocking:
    """Calls `roadstead`."""

    def connect(self, uri: str, **options: Any) -> roadstead.Node:
        return roadstead.connect(uri, **options)

    def call(self, target: Any, name: str, positional: str, keywords: str, objects: dict[str, Any]) -> Any:
        arguments, options = _arguments(positional, keywords, objects)
        return getattr(target, name)(*arguments, **options)

    def following(self, stream: Any) -> list[Any]:
        item = next(stream, _END)
        return [] if item is _END else [item]

    def end(self, stream: Any) -> None:
        stream.close()

    def told(self, value: Any) -> str:
        return json.dumps(_plain(value))

    def close(self, node: Any) -> None:
        node.close()


class Awaited:
    """Calls `roadstead.aio`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True, name="event loop").start()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def connect(self, uri: str, **options: Any) -> aio.Node:
        async def connect() -> aio.Node:
            return await aio.connect(uri, **options)

        return self._wait(connect())

    def call(self, target: Any, name: str, positional: str, keywords: str, objects: dict[str, Any]) -> Any:
        arguments, options = _arguments(positional, keywords, objects)

        async def call() -> Any:
            return await getattr(target, name)(*arguments, **options)

        return self._wait(call())

    def following(self, stream: Any) -> list[Any]:
        async def following() -> list[Any]:
            try:
                return [await stream.__anext__()]
            except StopAsyncIteration:
                return []

        return self._wait(following())

    def end(self, stream: Any) -> None:
        async def end() -> None:
            await stream.aclose()

        # Whoever drops a stream does not wait for it.
        asyncio.run_coroutine_threadsafe(end(), self.loop)

    def told(self, value: Any) -> str:
        return json.dumps(_plain(value))

    def close(self, node: Any) -> None:
        async def close() -> None:
            await node.aclose()

        self._wait(close())
