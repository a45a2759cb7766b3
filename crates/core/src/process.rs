//! A process as typed values, never as columns of `ps` text.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One process. Members that the engine cannot tell are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Process {
    /// Process id as the node counts; as the container counts where an engine on another machine tells no other.
    pub pid: u32,
    /// Parent's process id in the same count; 0 when it has none.
    pub ppid: u32,
    /// User: the name where the node knows one, otherwise the number, which is the container's own where it counts users by
    /// itself.
    pub user: String,
    /// Short name, at most 15 bytes on Linux.
    pub name: String,
    /// State.
    pub state: ProcessState,
    /// Processor time used since its start, user and kernel together, in seconds.
    pub cpu_seconds: f64,
    /// The part of it that was spent in user mode, in seconds: `utime` of the kernel's `/proc/PID/stat`, or what the engine tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_user_seconds: Option<f64>,
    /// The part of it that the kernel spent for it, in seconds: `stime` of the kernel's `/proc/PID/stat`, or what the engine tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_system_seconds: Option<f64>,
    /// Resident memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Virtual memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vms_bytes: Option<u64>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The program and its arguments; empty for a zombie. Where only a line of text is known, one item.
    pub cmdline: Vec<String>,
    /// Number of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Path of the program; absent for kernel threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Processor time since the sample before, in percent of one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// Swap in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Bytes that came from block devices for it since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes that went to block devices for it since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Id of the container that it belongs to; absent for the node's own, and where only one container's are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Files that it has open, by ascending number, when asked for and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<Vec<OpenFile>>,
    /// Its connections, by ascending number, when asked for and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<Connection>>,
}

/// A file that a process has open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct OpenFile {
    /// The number by which the process knows it.
    pub fd: u32,
    /// Its path as the process sees it.
    pub path: String,
}

/// A socket that a process has open, of whatever kind. Where the kernel lists it nowhere, as one that is neither bound nor connected,
/// there are the family and the kind alone, as far as they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Connection {
    /// The number by which the process knows it.
    pub fd: u32,
    /// Which addresses it has.
    pub family: ConnectionFamily,
    /// How it carries data.
    pub kind: ConnectionKind,
    /// Address and port on this side. Of a raw socket the number of its protocol is in place of the port; of a unix socket it is
    /// the path, which begins with `@` where it is no file, and is cut at a line end since the kernel's list has one in a line; of a
    /// packet socket the protocol in hexadecimal and the number of the interface (`0806:2`; 0 is all); of a netlink socket the
    /// numbers of the protocol and of the port (`0:4711`). Empty where it has none.
    pub local: String,
    /// Address and port of the other side, where there is one; the port of a raw socket is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// State of a TCP connection in the kernel's words, for example `established` or `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// Which addresses a socket has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ConnectionFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Sockets of this machine alone.
    Unix,
    /// Frames of interfaces.
    Packet,
    /// The kernel.
    Netlink,
    /// Something else.
    #[default]
    #[serde(other)]
    Other,
}

/// How a socket carries data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ConnectionKind {
    /// A stream: TCP.
    Stream,
    /// Datagrams: UDP.
    Datagram,
    /// Packets with their headers.
    Raw,
    /// Something else.
    #[default]
    #[serde(other)]
    Other,
}

/// State of a process, as the kernel tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ProcessState {
    /// Runs or is ready to (`R`).
    Running,
    /// Waits and can be woken (`S`).
    Sleeping,
    /// Waits for a device (`D`).
    DiskSleep,
    /// Stopped by a signal (`T`).
    Stopped,
    /// Stopped by a tracer (`t`).
    Traced,
    /// Ended, not yet reaped (`Z`).
    Zombie,
    /// Gone (`X`).
    Dead,
    /// A kernel thread that is idle (`I`).
    Idle,
    /// Something else.
    #[default]
    #[serde(other)]
    Unknown,
}

impl ProcessState {
    /// The state for a letter of `/proc/PID/stat` or of `ps`.
    #[must_use]
    pub const fn from_letter(letter: char) -> Self {
        match letter {
            'R' => ProcessState::Running,
            'S' => ProcessState::Sleeping,
            'D' => ProcessState::DiskSleep,
            'T' => ProcessState::Stopped,
            't' => ProcessState::Traced,
            'Z' => ProcessState::Zombie,
            'X' | 'x' => ProcessState::Dead,
            'I' => ProcessState::Idle,
            _ => ProcessState::Unknown,
        }
    }
}
