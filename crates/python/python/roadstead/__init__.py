"""One typed API over every container engine: Docker and Podman, LXD and Incus, Zero-OS core0, and servers of Roadstead.

```pycon
>>> import roadstead
>>> with roadstead.connect("memory:") as node:  # or "docker+unix:///run/docker.sock", "lxd+unix:…", …
...     web = node.create_container("roadstead/busybox:latest", name="web", command=["sleep", "60"])
...     web.start()
...     for container in node.containers():
...         print(container.name, container.state)
...     job = web.run(["sh", "-c", "echo hi; exit 3"])
...     print(job.wait(timeout=10).exit_code, job.output())
web running
3 b'hi\\n'

```

`roadstead.aio` has the same names, awaited. Every call has a deadline, in seconds; every error is a
`roadstead.Error`, and also the built-in exception that fits it.

In the examples of calls `node` is a simulated node, `web` a container that runs on it, `other` a second node, and
`pool` a pool of both.
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING

from . import _ending, _native
from ._errors import (
    AlreadyExistsError,
    CancelledError,
    ConflictError,
    DeadlineExceededError,
    Error,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnexpectedError,
    UnsupportedError,
)
from ._models import (
    ActedItem,
    ActionOutcome,
    AddressScope,
    BlockIoStats,
    Candidate,
    Capabilities,
    Connection,
    ConnectionFamily,
    ConnectionKind,
    ContainerDetails,
    ContainerExit,
    ContainerInterface,
    ContainerSpec,
    ContainerState,
    ContainerStats,
    ContainerSummary,
    ContainerUsage,
    CopiedMount,
    CopyTransport,
    CoreUsage,
    CpuFacts,
    CpuStats,
    CpuTimes,
    Decision,
    DiskFacts,
    DiskUsage,
    Dns,
    DrainPlan,
    EngineSetting,
    ErrorKind,
    Event,
    EventAction,
    FilesystemUsage,
    Health,
    HealthCheck,
    HostFacts,
    ImageDetails,
    ImageSummary,
    InterfaceAddress,
    JobState,
    JobStatus,
    Limits,
    MachineCpu,
    MachineMemory,
    MachineUsage,
    MemoryStats,
    Mount,
    MountFacts,
    MountKind,
    MovePlan,
    MoveWay,
    NamespaceTraffic,
    Network,
    NetworkAttachment,
    NetworkEndpoint,
    NetworkStats,
    NicFacts,
    NodeAnswer,
    NodeCapacity,
    NodeError,
    NodeInfo,
    NodeUsage,
    NotCarried,
    OpenFile,
    OutputKind,
    PartitionFacts,
    PidsStats,
    PlannedMove,
    PoolTotals,
    PortMapping,
    Pressure,
    PressureStats,
    Process,
    ProcessState,
    Protocol,
    Rates,
    ResourceKind,
    RestartPolicy,
    Retry,
    Sampling,
    Sensor,
    Snapshot,
    Spread,
    Staying,
    Step,
    Strategy,
    Subnet,
    SwapUsage,
    UsageError,
    UsageHistory,
    UsagePoint,
    UsageSeries,
    Volume,
    WaitFor,
)
from ._native import (
    Attachment,
    ByteStream,
    Container,
    CreatedContainer,
    Job,
    ListedContainer,
    Node,
    Pool,
    Stream,
    __version__,
    discover,
    schemes,
)
from ._types import (
    USAGE_COLUMNS,
    ContainerLoad,
    CopyProgress,
    CopyWay,
    Discovered,
    ImageProgress,
    Listing,
    LogRecord,
    Member,
    MemberLoad,
    OutputChunk,
    PlacedContainer,
    Relief,
    Strained,
    as_dict,
    usage_rows,
)

if TYPE_CHECKING:
    _Path = str | os.PathLike[str]


def connect(
    uri: str,
    *,
    name: str | None = None,
    timeout: float = 10.0,
    certificate: _Path | None = None,
    key: _Path | None = None,
    authority: _Path | None = None,
) -> Node:
    """Connects to the node at a URI, such as `docker+unix:///run/docker.sock`, within `timeout` seconds.

    The node is called `name`, or by its engine. The files are PEM: a client's certificate and key, and the authority
    that the server's certificate must come from.

    Raises `InvalidInputError` for a URI that makes no sense, `UnavailableError` when nobody answers, and
    `DeadlineExceededError` when nobody does in time.

    >>> import roadstead
    >>> with roadstead.connect("memory:") as node:
    ...     node.info().simulated
    True
    """
    return _native.connect_to(False, uri, name, timeout, certificate, key, authority)


def local(*, timeout: float = 10.0) -> Pool:
    """Connects to every engine that is found on this machine. Those that do not answer are in `Pool.unreachable`.

    Raises `UnavailableError` when there is none, or none answers.
    """
    return _native.connect_here(False, timeout)


def fleet(
    url: str,
    *,
    token: str | None = None,
    timeout: float = 10.0,
    certificate: _Path | None = None,
    key: _Path | None = None,
    authority: _Path | None = None,
) -> Pool:
    """Connects to every node of a running server, `https://host:7070`, with its token. What a node can do there it
    can do here.

    Without TLS (`http://`) only this machine is reached.

    Raises `UnauthenticatedError` when the token is not taken.
    """
    return _native.connect_server(False, url, token, timeout, certificate, key, authority)


# Threads of the library must not come back into an interpreter that is gone.
atexit.register(_ending.end)

__all__ = [
    "USAGE_COLUMNS",
    "ActedItem",
    "ActionOutcome",
    "AddressScope",
    "AlreadyExistsError",
    "Attachment",
    "BlockIoStats",
    "ByteStream",
    "CancelledError",
    "Candidate",
    "Capabilities",
    "ConflictError",
    "Connection",
    "ConnectionFamily",
    "ConnectionKind",
    "Container",
    "ContainerDetails",
    "ContainerExit",
    "ContainerInterface",
    "ContainerLoad",
    "ContainerSpec",
    "ContainerState",
    "ContainerStats",
    "ContainerSummary",
    "ContainerUsage",
    "CopiedMount",
    "CopyProgress",
    "CopyTransport",
    "CopyWay",
    "CoreUsage",
    "CpuFacts",
    "CpuStats",
    "CpuTimes",
    "CreatedContainer",
    "DeadlineExceededError",
    "Decision",
    "Discovered",
    "DiskFacts",
    "DiskUsage",
    "Dns",
    "DrainPlan",
    "EngineSetting",
    "Error",
    "ErrorKind",
    "Event",
    "EventAction",
    "FilesystemUsage",
    "Health",
    "HealthCheck",
    "HostFacts",
    "ImageDetails",
    "ImageProgress",
    "ImageSummary",
    "InterfaceAddress",
    "InvalidInputError",
    "Job",
    "JobState",
    "JobStatus",
    "Limits",
    "ListedContainer",
    "Listing",
    "LogRecord",
    "MachineCpu",
    "MachineMemory",
    "MachineUsage",
    "Member",
    "MemberLoad",
    "MemoryStats",
    "Mount",
    "MountFacts",
    "MountKind",
    "MovePlan",
    "MoveWay",
    "NamespaceTraffic",
    "Network",
    "NetworkAttachment",
    "NetworkEndpoint",
    "NetworkStats",
    "NicFacts",
    "Node",
    "NodeAnswer",
    "NodeCapacity",
    "NodeError",
    "NodeInfo",
    "NodeUsage",
    "NotCarried",
    "NotFoundError",
    "OpenFile",
    "OutputChunk",
    "OutputKind",
    "PartitionFacts",
    "PermissionDeniedError",
    "PidsStats",
    "PlacedContainer",
    "PlannedMove",
    "Pool",
    "PoolTotals",
    "PortMapping",
    "PreconditionFailedError",
    "Pressure",
    "PressureStats",
    "Process",
    "ProcessState",
    "Protocol",
    "Rates",
    "Relief",
    "ResourceExhaustedError",
    "ResourceKind",
    "RestartPolicy",
    "Retry",
    "Sampling",
    "Sensor",
    "Snapshot",
    "Spread",
    "Staying",
    "Step",
    "Strained",
    "Strategy",
    "Stream",
    "Subnet",
    "SwapUsage",
    "UnauthenticatedError",
    "UnavailableError",
    "UnexpectedError",
    "UnsupportedError",
    "UsageError",
    "UsageHistory",
    "UsagePoint",
    "UsageSeries",
    "Volume",
    "WaitFor",
    "__version__",
    "as_dict",
    "connect",
    "discover",
    "fleet",
    "local",
    "schemes",
    "usage_rows",
]
