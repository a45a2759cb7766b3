"""The data that the library gives and takes. Written by tools/models.py from docs/openapi.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


@dataclass(frozen=True, slots=True)
class ActedItem:
    """One container.

    error: Why it was not done.
    id: The engine's id.
    name: Its name.
    node: Name of the node.
    outcome: What came of it.
    state: In which state it was found.
    """

    id: str
    name: str
    node: str
    outcome: ActionOutcome
    state: ContainerState
    error: NodeError | None = None


class ActionOutcome(str, Enum):
    """What came of it for one container."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NOT_BEGUN = "not_begun"

    def __str__(self) -> str:
        return str(self.value)


class AddressScope(str, Enum):
    """How far an address reaches, in the kernel's words."""

    GLOBAL = "global"
    LINK = "link"
    LOCAL = "local"
    OTHER = "other"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class BlockIoStats:
    """Block devices since the container's start.

    read_bytes: Bytes read.
    written_bytes: Bytes written.
    """

    read_bytes: int
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One member, and whether it may take the container.

    capacity: What it has and uses, where that was asked for.
    fits: Whether it may take it.
    node: Name of the node.
    reason: Why it may, or may not.
    """

    fits: bool
    node: str
    reason: str
    capacity: NodeCapacity | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connected engine can do. Derived from what the engine reports, never from its product name.

    attach: The terminal or the streams of the main process can be attached to.
    backups: A whole container can be read as one archive, and made again from it.
    binds_at_rest: What directories of the node that are mounted hold is read in containers that do not run,
        too.
    commit: A container's file system can become an image.
    copy: Whole containers can be copied by the engine itself, on one node or between nodes that have a way in
        common.
    create: Containers can be created and deleted.
    events: Changes arrive as a stream of events.
    events_since: The event stream can begin in the past.
    exit_codes: The exit code of a container's main process is told.
    export: A container's file system can be read as one tar stream.
    file_attributes: Files that are exported or copied out bear all their extended attributes; otherwise their
        kernel capabilities alone.
    file_owners: Files that are copied out bear their owners and groups; otherwise they all seem to belong to
        root.
    files: Files can be copied into and out of a container as tar streams.
    freeze: All processes of a container can be frozen and unfrozen.
    health_check: The engine checks the health of containers.
    host: What the machine is: processors, disks, interfaces, system.
    image_archive: Images can be saved to and loaded from an archive.
    image_import: A root file system tar becomes an image.
    image_pull: Images can be pulled from a registry.
    images: Images can be listed, inspected, tagged and deleted.
    job_kill: Jobs can be sent signals.
    job_stdin: Jobs take standard input.
    job_tty: Jobs can have a terminal, which can be resized.
    jobs: Commands run inside a container as jobs.
    jobs_kept_max: How many jobs are kept at most, finished ones included.
    jobs_kept_seconds: How long the result of a finished job is kept, in seconds; 0 when the engine has no jobs.
    kill: A signal can be sent to the container's main process.
    limit_cpu: CPU limits (a number of cores) take effect.
    limit_memory: Memory limits take effect.
    limit_pids: Limits on the number of processes take effect.
    limit_swap: Swap limits take effect.
    log_times: Records of logs have times, and can be chosen by them.
    logs: The output of the main process is kept and can be read.
    logs_split: Standard output and standard error are told apart in logs.
    mounts: Directories of the node and volumes can be mounted.
    network_names: Containers on one network reach each other by name.
    networks: Networks can be listed, inspected, created and deleted.
    node_jobs: Commands run on the node itself as jobs.
    node_processes: Processes of all containers are listed in one answer.
    output_bytes: Output is bytes of any kind; otherwise what is no UTF-8 text arrives as U+FFFD.
    pools: The node can be a member of a pool of the engine's own: a cluster, a swarm.
    ports: Ports of a container can be published on the node.
    privileges: Containers can be privileged, and can be given or denied single kernel capabilities.
    process_files: Open files and connections of processes are told.
    processes: Processes of a container are listed as typed values.
    rename: A container can be given another name.
    restart: Running containers can be restarted in one call.
    restart_policy: The engine restarts containers by policy.
    snapshots: The state of a container can be kept under a name, and brought back.
    snapshots_expire: Snapshots can be deleted by the engine when their time is over.
    snapshots_stateful: Snapshots can hold the running processes, too.
    stats: Resource use is given as numbers.
    update: Limits and restart policy of an existing container can be changed.
    usage: What all running containers use, in one answer.
    usage_history: What was used before is kept and can be read.
    usage_machine: What the machine itself uses.
    users: Processes, of containers and of jobs, can run as a user of choice.
    volumes: Volumes can be listed, inspected, created and deleted.
    wait: The end of a container can be waited for.
    """

    attach: bool = False
    backups: bool = False
    binds_at_rest: bool = False
    commit: bool = False
    copy: bool = False
    create: bool = False
    events: bool = False
    events_since: bool = False
    exit_codes: bool = False
    export: bool = False
    file_attributes: bool = False
    file_owners: bool = False
    files: bool = False
    freeze: bool = False
    health_check: bool = False
    host: bool = False
    image_archive: bool = False
    image_import: bool = False
    image_pull: bool = False
    images: bool = False
    job_kill: bool = False
    job_stdin: bool = False
    job_tty: bool = False
    jobs: bool = False
    jobs_kept_max: int | None = None
    jobs_kept_seconds: int | None = None
    kill: bool = False
    limit_cpu: bool = False
    limit_memory: bool = False
    limit_pids: bool = False
    limit_swap: bool = False
    log_times: bool = False
    logs: bool = False
    logs_split: bool = False
    mounts: bool = False
    network_names: bool = False
    networks: bool = False
    node_jobs: bool = False
    node_processes: bool = False
    output_bytes: bool = False
    pools: bool = False
    ports: bool = False
    privileges: bool = False
    process_files: bool = False
    processes: bool = False
    rename: bool = False
    restart: bool = False
    restart_policy: bool = False
    snapshots: bool = False
    snapshots_expire: bool = False
    snapshots_stateful: bool = False
    stats: bool = False
    update: bool = False
    usage: bool = False
    usage_history: bool = False
    usage_machine: bool = False
    users: bool = False
    volumes: bool = False
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """A socket that a process has open, of whatever kind. Where the kernel lists it nowhere, as one that is
    neither bound nor connected, there are the family and the kind alone, as far as they are told.

    family: Which addresses it has.
    fd: The number by which the process knows it.
    kind: How it carries data.
    local: Address and port on this side. Of a raw socket the number of its protocol is in place of the port; of
        a unix socket it is the path, which begins with `@` where it is no file, and is cut at a line end since
        the kernel's list has one in a line; of a packet socket the protocol in hexadecimal and the number of
        the interface (`0806:2`; 0 is all); of a netlink socket the numbers of the protocol and of the port
        (`0:4711`). Empty where it has none.
    remote: Address and port of the other side, where there is one; the port of a raw socket is 0.
    state: State of a TCP connection in the kernel's words, for example `established` or `listen`.
    """

    family: ConnectionFamily
    fd: int
    kind: ConnectionKind
    local: str
    remote: str | None = None
    state: str | None = None


class ConnectionFamily(str, Enum):
    """Which addresses a socket has."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    UNIX = "unix"
    PACKET = "packet"
    NETLINK = "netlink"
    OTHER = "other"

    def __str__(self) -> str:
        return str(self.value)


class ConnectionKind(str, Enum):
    """How a socket carries data."""

    STREAM = "stream"
    DATAGRAM = "datagram"
    RAW = "raw"
    OTHER = "other"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class ContainerDetails:
    """Everything that the engine tells of one container.

    created_at: When it was created, if told.
    id: The engine's id; where an engine knows names only, the name.
    image: The image as it was asked for; engines may put the registry in front.
    image_id: Id of the image, if told.
    labels: Labels.
    name: Name without any leading slash.
    node: Name of the node.
    ports: Ports published on the node now.
    state: State.
    beyond_spec: Configuration of the engine's own that `spec` has no place for, sorted by name; what is the
        engine's default is left out. A copy by `migration` as files and portable configuration does not have
        it.
    endpoints: The networks it is on.
    error: What the engine says went wrong at the last start.
    exit_code: Exit code of the last end; 128 + n when signal n ended it.
    finished_at: When it last ended.
    health: Result of the health check, when there is one.
    interfaces: The network interfaces that it sees, its loopback included; empty when the engine does not tell,
        or it has no processes.
    oom_killed: Whether the kernel ended it for want of memory; absent when the engine does not tell.
    pid: Process id of the main process on the node, while there is one.
    protected: Whether the engine refuses to delete it until that is changed: `security.protection.delete` on
        LXD.
    removed_at_end: Whether the engine deletes it as soon as it ends: `--rm` on Docker, an ephemeral instance on
        LXD.
    restart_count: How often the engine has restarted it.
    spec: The configuration in effect, the image's defaults included, as far as the engine tells.
    started_at: When it was last started.
    """

    id: str
    image: str
    labels: dict[str, str]
    name: str
    node: str
    state: ContainerState
    spec: ContainerSpec
    created_at: datetime | None = None
    image_id: str | None = None
    ports: list[PortMapping] = field(default_factory=list)
    beyond_spec: list[EngineSetting] = field(default_factory=list)
    endpoints: list[NetworkEndpoint] = field(default_factory=list)
    error: str | None = None
    exit_code: int | None = None
    finished_at: datetime | None = None
    health: Health | None = None
    interfaces: list[ContainerInterface] = field(default_factory=list)
    oom_killed: bool | None = None
    pid: int | None = None
    protected: bool = False
    removed_at_end: bool = False
    restart_count: int | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How a container ended.

    error: What the engine says went wrong.
    exit_code: Exit code; 128 + n when signal n ended it; absent when the engine does not tell (`exit_codes`).
    """

    error: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerInterface:
    """A network interface inside a container. Members that the engine does not tell are absent.

    addresses: Its addresses.
    host_name: The name that its other end has on the node, where it is a pair.
    loopback: Whether it leads back to the container itself.
    mac_address: Hardware address; absent where it has none, as the loopback.
    mtu: The largest packet, in bytes.
    name: Its name in the container.
    up: Whether it is up.
    """

    addresses: list[InterfaceAddress]
    loopback: bool
    name: str
    up: bool
    host_name: str | None = None
    mac_address: str | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What a new container shall be. Everything but the image has a default that leaves the choice to the
    engine. The same type describes an existing container in `spec`, as far as the engine tells.

    capabilities_add: Kernel capabilities to add, for example `NET_ADMIN`.
    capabilities_drop: Kernel capabilities to drop; `ALL` drops every one.
    command: Replaces the image's command.
    dns: Name resolution inside the container.
    entrypoint: Replaces the image's entrypoint.
    env: Environment variables, added to the image's.
    health_check: How the engine checks that the container is well.
    hostname: Host name inside the container.
    image: Image reference or id, for example `docker.io/library/nginx:1.27`; the path or URL of a flist on
        core0 (required).
    init: An init process reaps orphans inside the container.
    labels: Labels (`user.*` keys on engines that have those).
    limits: Resource limits.
    mounts: Directories, volumes and temporary file systems.
    name: Name, unique on the node; the engine makes one up when absent.
    networks: Networks to join; the engine's default network when empty.
    ports: Ports published on the node.
    privileged: All kernel capabilities and devices.
    read_only_root: The root file system cannot be written.
    restart: What the engine does when the main process ends.
    stdin: Standard input of the main process stays open for `attach`.
    stop_signal: Signal that asks the main process to end.
    stop_timeout_seconds: Seconds between the stop signal and the kill.
    tty: The main process has a terminal.
    user: `user`, `uid`, `user:group` or `uid:gid`.
    working_directory: Directory in which the command starts; absolute.
    """

    capabilities_add: list[str] = field(default_factory=list)
    capabilities_drop: list[str] = field(default_factory=list)
    command: list[str] | None = None
    dns: Dns | None = None
    entrypoint: list[str] | None = None
    env: dict[str, str] = field(default_factory=dict)
    health_check: HealthCheck | None = None
    hostname: str | None = None
    image: str | None = None
    init: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    mounts: list[Mount] = field(default_factory=list)
    name: str | None = None
    networks: list[NetworkAttachment] = field(default_factory=list)
    ports: list[PortMapping] = field(default_factory=list)
    privileged: bool = False
    read_only_root: bool = False
    restart: RestartPolicy | None = None
    stdin: bool = False
    stop_signal: str | None = None
    stop_timeout_seconds: int | None = None
    tty: bool = False
    user: str | None = None
    working_directory: str | None = None


class ContainerState(str, Enum):
    """The state of a container, in words that every engine's states map to."""

    CREATED = "created"
    RUNNING = "running"
    FROZEN = "frozen"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """Resource use at one moment. Members that the engine cannot tell are absent.

    block_io: Block devices, all together; absent when the engine does not tell.
    cpu: Processor.
    memory: Memory.
    networks: Network interfaces of the container, as far as the engine tells.
    observed_at: When it was read.
    pids: Processes and threads.
    pressure: How long its tasks waited for something, where the kernel tells.
    """

    cpu: CpuStats
    memory: MemoryStats
    networks: list[NetworkStats]
    observed_at: datetime
    pids: PidsStats
    block_io: BlockIoStats | None = None
    pressure: PressureStats | None = None


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """A container as it stands in a list. Everything comes from the engine's one list call.

    created_at: When it was created, if told.
    id: The engine's id; where an engine knows names only, the name.
    image: The image as it was asked for; engines may put the registry in front.
    image_id: Id of the image, if told.
    labels: Labels.
    name: Name without any leading slash.
    node: Name of the node.
    ports: Ports published on the node now.
    state: State.
    """

    id: str
    image: str
    labels: dict[str, str]
    name: str
    node: str
    state: ContainerState
    created_at: datetime | None = None
    image_id: str | None = None
    ports: list[PortMapping] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What one running container uses.

    block_io: Block devices, all together; absent when the engine does not tell.
    cpu: Processor.
    memory: Memory.
    networks: Network interfaces of the container, as far as the engine tells.
    observed_at: When it was read.
    pids: Processes and threads.
    pressure: How long its tasks waited for something, where the kernel tells.
    id: The engine's id; where an engine knows names only, the name.
    name: Name without any leading slash.
    namespace: What its network carried, where the kernel of the node is read; absent elsewhere.
    rates: What they mean for the time since the sample before; absent at the first.
    """

    cpu: CpuStats
    memory: MemoryStats
    networks: list[NetworkStats]
    observed_at: datetime
    pids: PidsStats
    id: str
    name: str
    block_io: BlockIoStats | None = None
    pressure: PressureStats | None = None
    namespace: NamespaceTraffic | None = None
    rates: Rates | None = None


@dataclass(frozen=True, slots=True)
class CopiedMount:
    """A mount whose content becomes a part of the copy's own file system.

    source: What is mounted: a path of the source node, or the name of a volume.
    target: Where it is mounted.
    """

    target: str
    source: str | None = None


class CopyTransport(str, Enum):
    """How the bytes of a copy travel."""

    LOCAL = "local"
    PULL = "pull"
    PUSH = "push"
    RELAY = "relay"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class CoreUsage:
    """One processor core.

    core: Its number.
    percent: Since the sample before, in percent.
    times: Its times.
    """

    core: int
    times: CpuTimes
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """One thread of a processor.

    cache_bytes: Its cache, in bytes.
    core: Its number.
    cores: Cores of the processor that it is in.
    family: Its family, as its maker counts.
    flags: What it can do.
    mhz: Its clock, in megahertz; 0 when it is not told.
    model: Its name.
    vendor: Who made it.
    """

    cache_bytes: int
    core: int
    cores: int
    family: str
    flags: list[str]
    mhz: float
    model: str
    vendor: str


@dataclass(frozen=True, slots=True)
class CpuStats:
    """Processor time since the container's start.

    online_cpus: Number of cores that the container may use.
    system_seconds: Seconds in kernel mode.
    throttled_periods: In how many periods that was.
    throttled_seconds: Seconds in which it was held back by its limit.
    total_seconds: Seconds of processor time, user and kernel together.
    user_seconds: Seconds in user mode.
    """

    total_seconds: float
    online_cpus: int | None = None
    system_seconds: float | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    user_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """What processors did since the machine's start, in seconds.

    idle_seconds: Nothing.
    io_wait_seconds: Nothing, while a disk was waited for.
    irq_seconds: Interrupts.
    nice_seconds: Those of lower priority.
    soft_irq_seconds: What interrupts left to do.
    steal_seconds: What another machine on the same hardware took.
    system_seconds: The kernel.
    user_seconds: Programs of users.
    """

    idle_seconds: float
    io_wait_seconds: float
    irq_seconds: float
    nice_seconds: float
    soft_irq_seconds: float
    steal_seconds: float
    system_seconds: float
    user_seconds: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen, and why.

    candidates: Every member: those that may take it, best first, then the others.
    node: The member that was chosen; absent when none may take the container.
    reason: Why that one, or why none.
    """

    candidates: list[Candidate]
    reason: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk.

    model: Its model, if told.
    name: Its name below `/dev`.
    partitions: Its parts.
    read_only: Whether it cannot be written.
    removable: Whether it can be taken out.
    rotational: Whether something turns in it.
    size_bytes: Its size.
    """

    name: str
    partitions: list[PartitionFacts]
    read_only: bool
    removable: bool
    rotational: bool
    size_bytes: int
    model: str | None = None


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """A block device.

    busy_seconds: Seconds in which it had something to do.
    name: Its name below `/dev`.
    read_bytes: Bytes read.
    reads: Reads.
    writes: Writes.
    written_bytes: Bytes written.
    """

    busy_seconds: float
    name: str
    read_bytes: int
    reads: int
    writes: int
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Dns:
    """Name resolution inside the container.

    hosts: Further lines of the hosts file: name to address.
    options: Resolver options, for example `ndots:1`.
    search: Search domains.
    servers: Addresses of name servers.
    """

    hosts: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What it takes to empty a member. Nothing of it is done yet.

    moves: The containers that go.
    node: Name of the node.
    stays: The containers that stay.
    """

    moves: list[PlannedMove]
    node: str
    stays: list[Staying]


@dataclass(frozen=True, slots=True)
class EngineSetting:
    """A setting of an engine's own, in its words.

    name: Its name, for example `HostConfig.Ulimits` or `config.limits.kernel.nofile`.
    value: Its value as the engine writes it; left out where it is long, or may be a secret.
    """

    name: str
    value: str | None = None


class ErrorKind(str, Enum):
    """What went wrong, in the words that every adapter shares."""

    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    INVALID_INPUT = "invalid_input"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    CANCELLED = "cancelled"
    UNEXPECTED = "unexpected"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    action: What happened.
    attributes: What else the engine tells: labels, image, network …
    engine_action: The engine's own word for it.
    exit_code: Exit code, for `ended`.
    id: Id of the resource; the node's name for events of the node itself.
    name: Name of the resource, if told.
    node: Name of the node.
    resource: What it happened to.
    time: When, by the engine's clock.
    """

    action: EventAction
    engine_action: str
    id: str
    node: str
    resource: ResourceKind
    time: datetime
    attributes: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    name: str | None = None


class EventAction(str, Enum):
    """What happened."""

    CREATED = "created"
    STARTED = "started"
    ENDED = "ended"
    STOPPED = "stopped"
    RESTARTED = "restarted"
    FROZEN = "frozen"
    UNFROZEN = "unfrozen"
    RENAMED = "renamed"
    UPDATED = "updated"
    SNAPSHOT_CREATED = "snapshot_created"
    SNAPSHOT_DELETED = "snapshot_deleted"
    RESTORED = "restored"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    HEALTH = "health"
    DELETED = "deleted"
    PULLED = "pulled"
    IMPORTED = "imported"
    TAGGED = "tagged"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    JOB_STARTED = "job_started"
    JOB_ENDED = "job_ended"
    ALERT_RAISED = "alert_raised"
    ALERT_CLEARED = "alert_cleared"
    RESYNC = "resync"
    OTHER = "other"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """A file system that is mounted.

    available_bytes: What users other than root may still use.
    device: What.
    inodes: Files that it can hold; 0 where it has no such limit.
    inodes_free: Files that it can still take.
    kind: Its kind, for example `ext4`.
    mountpoint: Where.
    total_bytes: All, in bytes.
    used_bytes: What is used.
    """

    available_bytes: int
    device: str
    inodes: int
    inodes_free: int
    kind: str
    mountpoint: str
    total_bytes: int
    used_bytes: int


class Health(str, Enum):
    """Result of a health check."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How the engine checks that a container is well.

    command: Command run inside the container; exit code 0 means well (required).
    interval_seconds: Seconds between checks.
    retries: Failures in a row that make it unwell.
    start_period_seconds: Seconds after the start in which failures do not count.
    timeout_seconds: Seconds after which a check has failed.
    """

    command: list[str] = field(default_factory=list)
    interval_seconds: float | None = None
    retries: int | None = None
    start_period_seconds: float | None = None
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a machine is. Members that are not told are absent or empty.

    architecture: Processor architecture, for example `x86_64`.
    booted_at: When it was started.
    cpus: Its processors: one for each thread of hardware.
    disks: Its disks.
    hostname: Its host name.
    kernel: The kernel's version.
    memory_bytes: Its memory.
    mounts: What is mounted.
    nics: Its network interfaces.
    os: The system's name for people, for example `Debian GNU/Linux 12 (bookworm)`.
    os_id: The system's short name, for example `debian`.
    os_version: The system's version, for example `12`.
    virtualization: What it runs in: `kvm`, `xen`, `docker` …; absent where nothing tells of any.
    """

    architecture: str
    cpus: list[CpuFacts]
    disks: list[DiskFacts]
    hostname: str
    memory_bytes: int
    mounts: list[MountFacts]
    nics: list[NicFacts]
    booted_at: datetime | None = None
    kernel: str | None = None
    os: str | None = None
    os_id: str | None = None
    os_version: str | None = None
    virtualization: str | None = None


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """Everything that the engine tells of one image.

    created_at: When it was made, if told.
    digests: Digests under which registries know it.
    id: The engine's id.
    labels: Labels.
    node: Name of the node.
    references: Every name (repository and tag, or alias) that it has.
    size_bytes: Size in bytes.
    architecture: Processor architecture, for example `amd64`.
    command: Default command.
    entrypoint: Default entrypoint.
    env: Default environment.
    layers: Digests of its layers, lowest first.
    os: Operating system, for example `linux`.
    ports: Ports that it says it serves (never published by this alone).
    user: Default user.
    working_directory: Default working directory.
    """

    id: str
    labels: dict[str, str]
    node: str
    references: list[str]
    size_bytes: int
    created_at: datetime | None = None
    digests: list[str] = field(default_factory=list)
    architecture: str | None = None
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    os: str | None = None
    ports: list[PortMapping] = field(default_factory=list)
    user: str | None = None
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """An image as it stands in a list.

    created_at: When it was made, if told.
    digests: Digests under which registries know it.
    id: The engine's id.
    labels: Labels.
    node: Name of the node.
    references: Every name (repository and tag, or alias) that it has.
    size_bytes: Size in bytes.
    """

    id: str
    labels: dict[str, str]
    node: str
    references: list[str]
    size_bytes: int
    created_at: datetime | None = None
    digests: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface.

    address: The address.
    prefix: How many of its bits say which network it is in.
    scope: How far it reaches.
    """

    address: str
    prefix: int
    scope: AddressScope


class JobState(str, Enum):
    """Where a job is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    TIMED_OUT = "timed_out"
    LOST = "lost"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job.

    command: The program and its arguments.
    container: Id of the container it runs in; absent when it runs on the node itself.
    ended_at: When it ended.
    error: Why it could not be run or was lost.
    exit_code: Exit code, once it has ended; 128 + n when signal n ended it.
    id: Id, unique on the node.
    node: Name of the node.
    output_bytes: Bytes of output so far.
    output_dropped_bytes: Bytes of output that are not kept any more, since the kept output is bounded; the
        oldest go first.
    pid: Process id on the node, while it runs and where it is known.
    started_at: When it was started.
    state: State.
    tags: Words of the caller's own.
    tty: Whether it has a terminal.
    """

    command: list[str]
    id: str
    node: str
    output_bytes: int
    output_dropped_bytes: int
    started_at: datetime
    state: JobState
    tty: bool
    container: str | None = None
    ended_at: datetime | None = None
    error: str | None = None
    exit_code: int | None = None
    pid: int | None = None
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits; absent means unlimited. Also a part of `ContainerUpdate`, where absent means unchanged.

    cpu_set: Cores to run on, for example `0-2,4`.
    cpu_shares: Relative weight when cores are short, 2 to 262144; engines begin with 1024.
    cpus: CPU time in cores, for example 1.5.
    memory_bytes: Memory in bytes, at least 6 MiB.
    pids: Number of processes and threads, at least 1.
    swap_bytes: Swap in bytes, on top of the memory; 0 means none. Needs `memory_bytes`.
    """

    cpu_set: str | None = None
    cpu_shares: int | None = None
    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    swap_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MachineCpu:
    """The processors of a machine.

    cores: Each.
    load: The load of one, five and fifteen minutes: tasks that run or wait for a disk, on average.
    percent: All together, since the sample before, in percent of all of them: 100 is every core busy.
    times: All together.
    """

    cores: list[CoreUsage]
    times: CpuTimes
    load: list[float] | None = None
    percent: float | None = None


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """Memory of a machine, in bytes.

    active_bytes: Used of late.
    available_bytes: What a new program may have without swapping.
    buffers_bytes: Of block devices.
    cached_bytes: Of files.
    free_bytes: What holds nothing.
    inactive_bytes: Not used of late.
    shared_bytes: In temporary file systems and shared between processes.
    total_bytes: All.
    used_bytes: What is not available.
    """

    active_bytes: int
    available_bytes: int
    buffers_bytes: int
    cached_bytes: int
    free_bytes: int
    inactive_bytes: int
    shared_bytes: int
    total_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class MachineUsage:
    """What a machine uses at one moment. Members that are not told are absent or empty.

    boot_id: Which start of which machine this is, in the kernel's words (`boot_id`): the same for all nodes on
        one machine.
    cpu: Processors.
    disks: Block devices.
    filesystems: File systems that have space.
    hostname: Its host name.
    memory: Memory.
    nics: Network interfaces.
    pressure: How long tasks waited for something, where the kernel tells.
    processes: How many processes there were when this was read.
    rates: What was used since the sample before: all disks that are no part of another and all interfaces but
        the loopback together.
    sensors: Temperatures, where there are sensors.
    swap: Swap.
    uptime_seconds: Seconds since its start.
    """

    cpu: MachineCpu
    disks: list[DiskUsage]
    filesystems: list[FilesystemUsage]
    memory: MachineMemory
    nics: list[NetworkStats]
    processes: int
    sensors: list[Sensor]
    swap: SwapUsage
    uptime_seconds: float
    boot_id: str | None = None
    hostname: str | None = None
    pressure: PressureStats | None = None
    rates: Rates | None = None


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Memory now.

    cache_bytes: Bytes of the page cache.
    limit_bytes: Bytes of the limit; absent when there is none.
    oom_kills: How often the kernel ended one of its processes for want of memory.
    peak_bytes: The most bytes that it had.
    rss_bytes: Bytes of processes that no file backs: what is called rss of a container.
    swap_bytes: Bytes of swap.
    swap_peak_bytes: The most bytes of swap that it had.
    usage_bytes: Bytes that the kernel counts for the container, page cache included.
    working_set_bytes: Bytes without the page cache that can be dropped at once: what `docker stats` shows.
    """

    usage_bytes: int
    cache_bytes: int | None = None
    limit_bytes: int | None = None
    oom_kills: int | None = None
    peak_bytes: int | None = None
    rss_bytes: int | None = None
    swap_bytes: int | None = None
    swap_peak_bytes: int | None = None
    working_set_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory, volume or temporary file system inside the container.

    read_only: Whether it cannot be written.
    size_bytes: Size limit of a `tmpfs`, in bytes.
    source: Path on the node for `bind`, name for `volume` (absent: an anonymous one), absent for `tmpfs`.
    target: Absolute path inside the container.
    type: What is mounted.
    """

    target: str
    type: MountKind
    read_only: bool = False
    size_bytes: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class MountFacts:
    """What is mounted somewhere.

    device: What.
    kind: Its kind, for example `ext4`.
    mountpoint: Where.
    options: How, for example `rw,relatime`.
    """

    device: str
    kind: str
    mountpoint: str
    options: str


class MountKind(str, Enum):
    """What is mounted."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What a move will do and what it cannot do, before anything is done. Plain data: it may be shown, kept and
    applied later.

    check: Whether the content is compared file by file.
    container: Name of the container on the source.
    container_id: Its id on the source.
    copied_mounts: Mounts whose content becomes a part of the copy's own file system.
    id: Id of the move: 32 hexadecimal digits.
    keep_source: Whether the source stays, stopped and renamed.
    name: Its name on the target.
    not_carried: What the copy will not have, item by item.
    running: Whether it runs, and shall run afterwards. One that is started before the move begins shall run,
        too.
    source: Name of the node that has the container.
    steps: What will be done, in order.
    stop_timeout_seconds: Seconds between the stop signal and the kill.
    target: Name of the node that gets it.
    warnings: What a person should know.
    way: The way.
    """

    check: bool
    container: str
    container_id: str
    copied_mounts: list[CopiedMount]
    id: str
    keep_source: bool
    name: str
    not_carried: list[NotCarried]
    running: bool
    source: str
    steps: list[Step]
    target: str
    warnings: list[str]
    way: MoveWay
    stop_timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class MoveWay:
    """The way that a move takes.

    kind: One of `native`, `portable`.
    live: With the running processes.
    snapshots: With the snapshots.
    transports: How the bytes travel, best first; the next is taken where one does not connect.
    """

    kind: str
    live: bool = False
    snapshots: bool = False
    transports: list[CopyTransport] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NamespaceTraffic:
    """What all interfaces of a network namespace carried since it began, the loopback included: the sums of
    `/proc/PID/net/dev` for the main process of a container. A container that uses the machine's network has
    the machine's numbers here, and so has each such one.

    received_bytes: Bytes received.
    sent_bytes: Bytes sent.
    """

    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Network:
    """A network as the engine tells it.

    created_at: When it was made, if told.
    driver: Driver, for example `bridge`.
    id: The engine's id; the name where there is none.
    internal: Whether it has no way out.
    labels: Labels.
    name: Name.
    node: Name of the node.
    options: Driver options.
    subnets: Its address ranges.
    """

    driver: str
    id: str
    internal: bool
    labels: dict[str, str]
    name: str
    node: str
    subnets: list[Subnet]
    created_at: datetime | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkAttachment:
    """A network that the container joins.

    address: A fixed address.
    aliases: Further names of the container on this network.
    network: Name of the network; `none` and `host` where the engine has them.
    """

    address: str | None = None
    aliases: list[str] = field(default_factory=list)
    network: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkEndpoint:
    """A container's place on a network.

    addresses: Addresses on it.
    gateway: Gateway, if told.
    mac_address: Hardware address, if told.
    network: Name of the network.
    """

    addresses: list[str]
    network: str
    gateway: str | None = None
    mac_address: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkStats:
    """One network interface since the container's start.

    name: Name of the interface.
    of_guest: Of a machine's interface: whether it is the near end of one that a container or a virtual machine
        has. Such an interface comes and goes with these, under a new name each time.
    receive_dropped: Packets that were dropped on receiving.
    receive_errors: Errors on receiving.
    received_bytes: Bytes received.
    received_packets: Packets received.
    send_dropped: Packets that were dropped on sending.
    send_errors: Errors on sending.
    sent_bytes: Bytes sent.
    sent_packets: Packets sent.
    """

    name: str
    receive_errors: int
    received_bytes: int
    received_packets: int
    send_errors: int
    sent_bytes: int
    sent_packets: int
    of_guest: bool = False
    receive_dropped: int | None = None
    send_dropped: int | None = None


@dataclass(frozen=True, slots=True)
class NicFacts:
    """A network interface.

    addresses: Its addresses with the lengths of their prefixes, for example `10.0.0.4/24`.
    flags: Words of the kernel: `up`, `broadcast`, `loopback`, `pointtopoint`, `multicast`.
    mac: Its hardware address; empty where it has none.
    mtu: The longest packet, in bytes.
    name: Its name.
    speed_bits_per_second: Bits per second, if told.
    up: Whether it is up.
    """

    addresses: list[str]
    flags: list[str]
    mac: str
    mtu: int
    name: str
    up: bool
    speed_bits_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """How one node's part of a listing came about.

    duration_seconds: How long it took, in seconds.
    node: Name of the node.
    observed_at: When its part was read; absent when it did not answer.
    ok: Whether it answered.
    """

    duration_seconds: float
    node: str
    ok: bool
    observed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """What one member has, and what of it is used. What its engine does not tell is absent.

    containers: Its containers.
    cpus: Its processor cores.
    memory_bytes: Its memory.
    memory_free_bytes: Memory that new containers can have: what the machine tells to be available, otherwise
        what its containers leave.
    node: Name of the node.
    running: Those that run.
    """

    containers: int
    node: str
    running: int
    cpus: int | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class NodeError:
    """What went wrong on one node.

    code: What kind of error.
    detail: One line for a person.
    node: Name of the node.
    retry: Whether asking again is wise.
    """

    code: ErrorKind
    detail: str
    node: str
    retry: Retry


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node is.

    api_version: Version of the protocol that is spoken with it.
    architecture: Processor architecture, for example `x86_64`.
    cpus: Number of processor cores.
    engine: The product, as the engine names itself, in lower case: for people, never for decisions.
    engine_version: Version of the engine.
    hostname: The machine's own host name.
    kernel: Kernel version.
    local: Whether the engine runs on this machine, so that the kernel's own files tell of its containers.
    memory_bytes: Memory of the machine, in bytes.
    name: Name under which it is known here.
    os: Operating system, for example `Debian GNU/Linux 12 (bookworm)`.
    simulated: Whether nothing on it is real: the in-memory engine.
    """

    engine: str
    engine_version: str
    local: bool
    name: str
    simulated: bool
    api_version: str | None = None
    architecture: str | None = None
    cpus: int | None = None
    hostname: str | None = None
    kernel: str | None = None
    memory_bytes: int | None = None
    os: str | None = None


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What a node and its running containers use at one moment.

    containers: The running containers, by id.
    errors: Containers of which it could not be told, and why.
    machine: The whole machine; absent when the engine does not tell, or containers were asked for.
    node: Name of the node.
    observed_at: When it was read.
    sampling: How it is read, where it is read again and again.
    """

    containers: list[ContainerUsage]
    node: str
    observed_at: datetime
    errors: list[UsageError] = field(default_factory=list)
    machine: MachineUsage | None = None
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True)
class NotCarried:
    """Something that the copy will not have, or not have in the same way.

    field: The member of the specification, for example `ports`0`` or `health_check`, or a word such as
        `snapshots`.
    reason: Why, in one line for a person.
    """

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that a process has open.

    fd: The number by which the process knows it.
    path: Its path as the process sees it.
    """

    fd: int
    path: str


class OutputKind(str, Enum):
    """Which stream of a process some output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"
    CONSOLE = "console"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """A part of a disk.

    filesystem: Kind of its file system, if told.
    label: Label of its file system, if told.
    name: Its name below `/dev`.
    size_bytes: Its size.
    uuid: Its unique id in the table of partitions, if told.
    """

    name: str
    size_bytes: int
    filesystem: str | None = None
    label: str | None = None
    uuid: str | None = None


@dataclass(frozen=True, slots=True)
class PidsStats:
    """Processes and threads now.

    current: Number of processes and threads.
    limit: The limit; absent when there is none.
    """

    current: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A container that goes.

    plan: What is done.
    reason: Why to that member.
    rejected: Members that were better, and why it does not go there.
    """

    plan: MovePlan
    reason: str
    rejected: list[Candidate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PoolTotals:
    """What all members have together.

    containers: Containers.
    cpus: Processor cores.
    errors: What went wrong, at most one per node.
    members: The part of each member that answered.
    memory_bytes: Memory.
    memory_free_bytes: Memory that new containers can have.
    nodes: Every member.
    running: Containers that run.
    """

    containers: int
    cpus: int
    errors: list[NodeError]
    members: list[NodeCapacity]
    memory_bytes: int
    memory_free_bytes: int
    nodes: list[NodeAnswer]
    running: int


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the container published on the node.

    container_port: Port inside the container.
    host_address: Address on the node; all addresses when absent.
    host_port: Port on the node; the engine picks a free one when absent.
    protocol: Transport.
    """

    container_port: int
    host_address: str | None = None
    host_port: int | None = None
    protocol: Protocol | None = None


@dataclass(frozen=True, slots=True)
class Pressure:
    """How long tasks waited for one thing.

    full_percent: The percentage for all tasks at once, where told.
    full_seconds: The seconds for all tasks at once, where told.
    some_percent: Of the last ten seconds, in percent, how long some task waited.
    some_seconds: Seconds in all in which some task waited.
    """

    some_percent: float
    some_seconds: float
    full_percent: float | None = None
    full_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PressureStats:
    """How long tasks waited for something (PSI of the kernel). What it does not tell is absent.

    cpu: For a processor.
    io: For block devices.
    memory: For memory.
    """

    cpu: Pressure | None = None
    io: Pressure | None = None
    memory: Pressure | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """One process. Members that the engine cannot tell are absent.

    cmdline: The program and its arguments; empty for a zombie. Where only a line of text is known, one item.
    connections: Its connections, by ascending number, when asked for and told.
    container: Id of the container that it belongs to; absent for the node's own, and where only one container's
        are listed.
    cpu_percent: Processor time since the sample before, in percent of one core.
    cpu_seconds: Processor time used since its start, user and kernel together, in seconds.
    cpu_system_seconds: The part of it that the kernel spent for it, in seconds: `stime` of the kernel's
        `/proc/PID/stat`, or what the engine tells.
    cpu_user_seconds: The part of it that was spent in user mode, in seconds: `utime` of the kernel's
        `/proc/PID/stat`, or what the engine tells.
    exe: Path of the program; absent for kernel threads.
    name: Short name, at most 15 bytes on Linux.
    open_files: Files that it has open, by ascending number, when asked for and told.
    pid: Process id as the node counts; as the container counts where an engine on another machine tells no
        other.
    ppid: Parent's process id in the same count; 0 when it has none.
    read_bytes: Bytes that came from block devices for it since its start.
    rss_bytes: Resident memory in bytes.
    started_at: When it was started.
    state: State.
    swap_bytes: Swap in bytes.
    threads: Number of threads.
    user: User: the name where the node knows one, otherwise the number, which is the container's own where it
        counts users by itself.
    vms_bytes: Virtual memory in bytes.
    written_bytes: Bytes that went to block devices for it since its start.
    """

    cmdline: list[str]
    cpu_seconds: float
    name: str
    pid: int
    ppid: int
    state: ProcessState
    user: str
    connections: list[Connection] | None = None
    container: str | None = None
    cpu_percent: float | None = None
    cpu_system_seconds: float | None = None
    cpu_user_seconds: float | None = None
    exe: str | None = None
    open_files: list[OpenFile] | None = None
    read_bytes: int | None = None
    rss_bytes: int | None = None
    started_at: datetime | None = None
    swap_bytes: int | None = None
    threads: int | None = None
    vms_bytes: int | None = None
    written_bytes: int | None = None


class ProcessState(str, Enum):
    """State of a process, as the kernel tells it."""

    RUNNING = "running"
    SLEEPING = "sleeping"
    DISK_SLEEP = "disk_sleep"
    STOPPED = "stopped"
    TRACED = "traced"
    ZOMBIE = "zombie"
    DEAD = "dead"
    IDLE = "idle"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self.value)


class Protocol(str, Enum):
    """Transport of a port."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Rates:
    """What was used per second, and how much of the processor, between two samples. Members whose counters are
    not told are absent.

    cpu_percent: Processor time in percent of one core: two busy cores are 200.
    interval_seconds: The time between the two samples, in seconds.
    read_bytes_per_second: Bytes read from block devices per second.
    received_bytes_per_second: Bytes received per second, all interfaces together.
    sent_bytes_per_second: Bytes sent per second, all interfaces together.
    throttled_percent: Of the time, in percent, how long its limit held it back; several threads add up.
    written_bytes_per_second: Bytes written to block devices per second.
    """

    cpu_percent: float
    interval_seconds: float
    read_bytes_per_second: float | None = None
    received_bytes_per_second: float | None = None
    sent_bytes_per_second: float | None = None
    throttled_percent: float | None = None
    written_bytes_per_second: float | None = None


class ResourceKind(str, Enum):
    """What an event happened to."""

    CONTAINER = "container"
    IMAGE = "image"
    NETWORK = "network"
    VOLUME = "volume"
    NODE = "node"
    OTHER = "other"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What the engine does when the main process ends.

    policy: One of `never`, `always`, `unless_stopped`, `on_failure`.
    max_retries: How often at most; without end when absent.
    """

    policy: str
    max_retries: int | None = None


class Retry(str, Enum):
    """Whether a caller may repeat the call that failed."""

    NEVER = "never"
    SAFE = "safe"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How numbers are read again and again.

    asked_interval_seconds: As it was asked for.
    budget_percent: How much of one core sampling may use, in percent.
    cost_percent: How much of one core it used of late, in percent.
    history_bytes: Memory that history takes, in bytes.
    interval_seconds: From one sample to the next, in seconds, as it is now.
    sample_cost_seconds: What the last sample cost, in seconds of processor time.
    slowed: Whether it is slower than asked for, because it would cost more than its budget.
    """

    asked_interval_seconds: float
    budget_percent: float
    cost_percent: float
    history_bytes: int
    interval_seconds: float
    sample_cost_seconds: float
    slowed: bool


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor of temperature.

    celsius: Degrees Celsius.
    chip: What it is in; of several with one name, with its device behind that.
    critical_celsius: From where on it is critical, if told.
    label: Which one of it.
    """

    celsius: float
    chip: str
    label: str
    critical_celsius: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a container at one moment, kept by the engine under a name.

    created_at: When it was made, if told.
    expires_at: When the engine deletes it; never when absent.
    name: Its name, unique among the snapshots of the container.
    size_bytes: How much room it takes, in bytes, if told.
    stateful: Whether it holds the running processes, too.
    """

    name: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    size_bytes: int | None = None
    stateful: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the mean and the greatest that was seen of a number in a step.

    max: The greatest.
    mean: The mean.
    min: The least.
    """

    max: float
    mean: float
    min: float


@dataclass(frozen=True, slots=True)
class Staying:
    """A container that cannot go.

    id: The engine's id.
    name: Its name.
    reason: Why it stays.
    rejected: The members, and why it goes to none of them.
    """

    id: str
    name: str
    reason: str
    rejected: list[Candidate]


class Step(str, Enum):
    """One step of a move. Each is idempotent, and begins by looking at the real state of both sides."""

    PREPARE = "prepare"
    STOP_SOURCE = "stop_source"
    COPY = "copy"
    VERIFY = "verify"
    RETIRE_SOURCE = "retire_source"
    SETTLE_TARGET = "settle_target"
    START_TARGET = "start_target"
    DELETE_SOURCE = "delete_source"
    FINISH = "finish"

    def __str__(self) -> str:
        return str(self.value)


class Strategy(str, Enum):
    """Which of the members that may take a container is best."""

    SPREAD = "spread"
    PACK = "pack"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Subnet:
    """An address range.

    cidr: Address and prefix length, for example `172.30.0.0/24`.
    gateway: Gateway; the engine picks one when absent.
    """

    cidr: str
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class SwapUsage:
    """Swap of a machine, in bytes.

    total_bytes: All.
    used_bytes: What is used.
    """

    total_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class UsageError:
    """A container of which something could not be told.

    code: Kind of the error.
    container: Its id.
    message: Why, in a line.
    """

    code: ErrorKind
    container: str
    message: str


@dataclass(frozen=True, slots=True)
class UsageHistory:
    """What was used over time.

    node: Name of the node.
    series: One series for the machine, and one for each container or process.
    """

    node: str
    series: list[UsageSeries]


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """One step.

    at: When it begins.
    values: What was seen in it; numbers that are not told are left out.
    """

    at: datetime
    values: dict[str, Spread]


@dataclass(frozen=True, slots=True)
class UsageSeries:
    """The history of the machine, of a container or of a process.

    container: Id of the container that it is of, or that the process belongs to; absent for the machine and its
        own processes.
    name: Name of that container.
    pid: The process that it is of.
    points: The steps, in the order of time. Steps in which nothing was seen are left out.
    """

    points: list[UsagePoint]
    container: str | None = None
    name: str | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as the engine tells it.

    created_at: When it was made, if told.
    driver: Driver, for example `local`.
    labels: Labels.
    name: Name, unique on the node.
    node: Name of the node.
    options: Driver options.
    path: Where it is on the node, if told.
    """

    driver: str
    labels: dict[str, str]
    name: str
    node: str
    created_at: datetime | None = None
    options: dict[str, str] = field(default_factory=dict)
    path: str | None = None


class WaitFor(str, Enum):
    """What a container is waited for."""

    STOPPED = "stopped"
    NEXT_END = "next_end"
    DELETED = "deleted"

    def __str__(self) -> str:
        return str(self.value)


__all__ = [
    "ActedItem",
    "ActionOutcome",
    "AddressScope",
    "BlockIoStats",
    "Candidate",
    "Capabilities",
    "Connection",
    "ConnectionFamily",
    "ConnectionKind",
    "ContainerDetails",
    "ContainerExit",
    "ContainerInterface",
    "ContainerSpec",
    "ContainerState",
    "ContainerStats",
    "ContainerSummary",
    "ContainerUsage",
    "CopiedMount",
    "CopyTransport",
    "CoreUsage",
    "CpuFacts",
    "CpuStats",
    "CpuTimes",
    "Decision",
    "DiskFacts",
    "DiskUsage",
    "Dns",
    "DrainPlan",
    "EngineSetting",
    "ErrorKind",
    "Event",
    "EventAction",
    "FilesystemUsage",
    "Health",
    "HealthCheck",
    "HostFacts",
    "ImageDetails",
    "ImageSummary",
    "InterfaceAddress",
    "JobState",
    "JobStatus",
    "Limits",
    "MachineCpu",
    "MachineMemory",
    "MachineUsage",
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
    "NodeAnswer",
    "NodeCapacity",
    "NodeError",
    "NodeInfo",
    "NodeUsage",
    "NotCarried",
    "OpenFile",
    "OutputKind",
    "PartitionFacts",
    "PidsStats",
    "PlannedMove",
    "PoolTotals",
    "PortMapping",
    "Pressure",
    "PressureStats",
    "Process",
    "ProcessState",
    "Protocol",
    "Rates",
    "ResourceKind",
    "RestartPolicy",
    "Retry",
    "Sampling",
    "Sensor",
    "Snapshot",
    "Spread",
    "Staying",
    "Step",
    "Strategy",
    "Subnet",
    "SwapUsage",
    "UsageError",
    "UsageHistory",
    "UsagePoint",
    "UsageSeries",
    "Volume",
    "WaitFor",
]
