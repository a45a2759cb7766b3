"""The data of the package: what is written from the library's own document, and what only Python gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from ._models import CopyTransport, Decision, NodeAnswer, NodeError, NodeUsage, NotCarried, OutputKind, PlannedMove

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """Something that a main process wrote.

    kind: To which stream.
    data: The bytes.
    time: When, if that was asked for and is told.
    """

    kind: OutputKind
    data: bytes
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of output.

    sequence: Its number; they rise.
    kind: Which stream it was written to.
    data: The bytes.
    """

    sequence: int
    kind: OutputKind
    data: bytes


@dataclass(frozen=True, slots=True)
class ImageProgress:
    """How far a pull is.

    status: The engine's words.
    layer: The layer, when it is about one.
    current_bytes: Bytes done of this layer.
    total_bytes: Bytes of this layer in all.
    """

    status: str
    layer: str | None = None
    current_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CopyWay:
    """A way in which a node can take a container by the engines' own means.

    transport: Who sends to whom.
    live: Whether the processes can be taken along.
    snapshots: Whether the snapshots can be taken along.
    not_carried: What stays behind, and why.
    """

    transport: CopyTransport
    live: bool
    snapshots: bool
    not_carried: list[NotCarried] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How far a copy is.

    status: The engine's words.
    current_bytes: Bytes done, if told.
    total_bytes: Bytes in all, if told.
    """

    status: str
    current_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """What many nodes gave.

    items: What came, in the order of the nodes.
    errors: An error for each node that did not answer.
    nodes: Of each node whether it answered, when, and how long it took.
    """

    items: list[T]
    errors: list[NodeError]
    nodes: list[NodeAnswer]


@dataclass(frozen=True, slots=True)
class Member:
    """A node as a member of a pool.

    node: Its name.
    labels: Its labels in this pool.
    cordon: Why it takes no new containers, where it does not.
    """

    node: str
    labels: dict[str, str]
    cordon: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedContainer(Generic[T]):
    """A container that a pool made on one of its members.

    node: The name of that member.
    container: The container.
    decision: Why it is there.
    """

    node: str
    container: T
    decision: Decision


@dataclass(frozen=True, slots=True)
class Discovered:
    """An engine that was found on this machine.

    name: A name for the node.
    uri: Its URI; empty when there is a problem.
    origin: Where it was found.
    problem: What is wrong, when the environment names an engine that makes no sense.
    """

    name: str
    uri: str
    origin: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ContainerLoad:
    """What a container takes of what its node bears.

    id: The engine's id.
    name: Its name.
    cpu_percent: Percent of one processor core.
    """

    id: str
    name: str
    cpu_percent: float | None = None


@dataclass(frozen=True, slots=True)
class MemberLoad:
    """What a member of a pool bears.

    node: Its name.
    cpu_percent: Percent of the whole machine, where it was measured.
    latency_ms: Milliseconds, where they were measured.
    cpus: Its processor cores, where they are known.
    containers: What its containers take.
    """

    node: str
    cpu_percent: float | None = None
    latency_ms: float | None = None
    cpus: int | None = None
    containers: list[ContainerLoad] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Strained:
    """A member that bears too much, and stays as it is.

    node: Its name.
    reason: What it bears, and why nothing of it goes.
    """

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Relief:
    """What it takes to relieve the members of a pool that bear too much.

    moves: The containers that go, at most one of each member.
    strained: The members that bear too much and of which nothing goes.
    """

    moves: list[PlannedMove]
    strained: list[Strained]


_Row = tuple[str, str, datetime, float, float | None, int, int | None, int | None, int, int]

#: The columns of `usage_rows`.
USAGE_COLUMNS = (
    "id",
    "name",
    "observed_at",
    "cpu_seconds",
    "cpu_percent",
    "memory_bytes",
    "read_bytes",
    "written_bytes",
    "received_bytes",
    "sent_bytes",
)


def usage_rows(usage: NodeUsage) -> list[_Row]:
    """What the containers of a node use, as plain tuples with the columns `USAGE_COLUMNS`: for a data frame, for
    example. What is not known is None: percents before the second look, blocks where the engine does not count them.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
    ...     web.start()
    ...     rows = roadstead.usage_rows(node.usage())
    >>> [row[1] for row in rows]
    ['web']
    """
    rows = []
    for one in usage.containers:
        io = one.block_io
        rows.append(
            (
                one.id,
                one.name,
                one.observed_at,
                one.cpu.total_seconds,
                one.rates.cpu_percent if one.rates else None,
                one.memory.usage_bytes,
                io.read_bytes if io else None,
                io.written_bytes if io else None,
                sum(network.received_bytes for network in one.networks),
                sum(network.sent_bytes for network in one.networks),
            )
        )
    return rows


def as_dict(value: Any) -> Any:
    """Data as plain dictionaries and lists, without the members that are None; words of enumerations as texts."""
    if hasattr(value, "__dataclass_fields__"):
        members = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
        return {name: as_dict(member) for name, member in members if member is not None}
    if isinstance(value, Mapping):
        return {str(key): as_dict(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_dict(member) for member in value]
    return str(value) if isinstance(value, str) else value


__all__ = [
    "USAGE_COLUMNS",
    "ContainerLoad",
    "CopyProgress",
    "CopyWay",
    "Discovered",
    "ImageProgress",
    "Listing",
    "LogRecord",
    "Member",
    "MemberLoad",
    "OutputChunk",
    "PlacedContainer",
    "Relief",
    "Strained",
    "as_dict",
    "usage_rows",
]
