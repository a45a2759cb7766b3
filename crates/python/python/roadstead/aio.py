"""The same as the package itself, awaited: `async with aio.connect(…) as node`, or `node = await aio.connect(…)`.

```pycon
>>> import asyncio
>>> from roadstead import aio
>>> async def main() -> None:
...     async with aio.connect("memory:") as node:
...         web = await node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
...         await web.start()
...         job = await web.run(["sh", "-c", "echo hi; exit 3"])
...         print((await job.wait(timeout=10)).exit_code, await job.output())
>>> asyncio.run(main())
3 b'hi\\n'

```

Calls are documented as they are written without `await`; here it stands before each, also before those that give a
stream: `async for record in await web.logs(follow=True)`, `async with await node.events() as events`.

A call that is cancelled gives its work up: a read has no effect then, a write may or may not have happened.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import _native
from ._native import AioAttachment as Attachment
from ._native import AioByteStream as ByteStream
from ._native import AioContainer as Container
from ._native import AioCreatedContainer as CreatedContainer
from ._native import AioJob as Job
from ._native import AioListedContainer as ListedContainer
from ._native import AioNode as Node
from ._native import AioPool as Pool
from ._native import AioStream as Stream

if TYPE_CHECKING:
    _Path = str | os.PathLike[str]


class _Closable(Protocol):
    def aclose(self) -> Awaitable[None]: ...


_Opened = TypeVar("_Opened", bound=_Closable)


class Opening(Coroutine[Any, Any, _Opened]):
    """A connection that is being made: to be awaited, to be entered, or to be made a task of."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, _Opened]]) -> None:
        self._begin = begin
        self._begun: Coroutine[Any, Any, _Opened] | None = None
        # It may be entered while it is entered: each leaving closes what the last entering opened.
        self._opened: list[_Opened] = []

    def _call(self) -> Coroutine[Any, Any, _Opened]:
        if self._begun is None:
            self._begun = self._begin()
        return self._begun

    def __await__(self) -> Generator[Any, Any, _Opened]:
        return self._begin().__await__()

    def send(self, value: Any) -> Any:
        return self._call().send(value)

    def throw(self, *exception: Any) -> Any:
        return self._call().throw(*exception)

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()

    async def __aenter__(self) -> _Opened:
        opened = await self._begin()
        self._opened.append(opened)
        return opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.pop().aclose()


def connect(
    uri: str,
    *,
    name: str | None = None,
    timeout: float = 10.0,
    certificate: _Path | None = None,
    key: _Path | None = None,
    authority: _Path | None = None,
) -> Opening[Node]:
    """As `roadstead.connect`."""
    return Opening(lambda: _native.connect_to(True, uri, name, timeout, certificate, key, authority))


def local(*, timeout: float = 10.0) -> Opening[Pool]:
    """As `roadstead.local`."""
    return Opening(lambda: _native.connect_here(True, timeout))


def fleet(
    url: str,
    *,
    token: str | None = None,
    timeout: float = 10.0,
    certificate: _Path | None = None,
    key: _Path | None = None,
    authority: _Path | None = None,
) -> Opening[Pool]:
    """As `roadstead.fleet`."""
    return Opening(lambda: _native.connect_server(True, url, token, timeout, certificate, key, authority))


__all__ = [
    "Attachment",
    "ByteStream",
    "Container",
    "CreatedContainer",
    "Job",
    "ListedContainer",
    "Node",
    "Opening",
    "Pool",
    "Stream",
    "connect",
    "fleet",
    "local",
]
