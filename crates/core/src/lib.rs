//! The nouns of Roadstead: one typed API over every container engine.
//!
//! * [`Node`]: one machine reached through one engine endpoint.
//! * [`Container`]: an isolated set of processes on a node.
//! * [`Pool`]: a named set of nodes that is addressed as one.
//! * [`Job`]: anything that runs over time and ends.
//!
//! This crate knows no engine, no HTTP and no database. Every trait method states its contract in numbered clauses; the
//! [`conformance`] suite has a test per clause and runs over every engine and every layer.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod capabilities;
#[cfg(feature = "conformance")]
pub mod conformance;
mod container;
mod copy;
mod error;
mod event;
mod image;
mod job;
pub mod jobs;
pub mod layers;
#[cfg(feature = "memory")]
pub mod memory;
pub mod migration;
pub mod mirror;
pub mod names;
mod network;
mod node;
pub mod operation;
pub mod pool;
mod process;
mod registry;
mod secret;
mod signal;
mod stats;
pub mod store;
mod stream;
mod time;
pub mod usage;
mod volume;

pub use capabilities::{Capabilities, Capability};
pub use container::{
    AddressScope, AttachOptions, BackupOptions, CommitOptions, Container, ContainerDetails, ContainerExit,
    ContainerFilter, ContainerInterface, ContainerSpec, ContainerState, ContainerSummary, ContainerUpdate,
    CopyInOptions, DeleteOptions, Dns, EngineSetting, Health, HealthCheck, InterfaceAddress, LabelSelector, Limits,
    LogOptions, Mount, MountKind, NetworkAttachment, NetworkEndpoint, PortMapping, Protocol, RestartPolicy,
    RestoreOptions, Snapshot, SnapshotOptions, StopOptions, WaitFor,
};
pub use copy::{CopyOptions, CopyProgress, CopyTransport, CopyWay, NotCarried};
pub use error::{Error, ErrorKind, ErrorRow, Result, Retry, TABLE as ERROR_TABLE};
pub use event::{Event, EventAction, ResourceKind};
pub use image::{
    ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions, PullOptions, RegistryCredentials, bring_image,
};
pub use job::{Job, JobSpec, JobState, JobStatus, OutputOptions};
pub use network::{Network, NetworkSpec, Networks, Subnet};
pub use node::{CreatedContainer, EventOptions, Node, NodeInfo};
pub use pool::{Listing, Member, NodeAnswer, NodeError, Pool, PoolExt, StaticPool, gather};
pub use process::{Connection, ConnectionFamily, ConnectionKind, OpenFile, Process, ProcessState};
pub use registry::{ConnectOptions, Discovered, Engine, NodeUri, Registry};
pub use secret::Secret;
pub use signal::Signal;
pub use stats::{
    BlockIoStats, ContainerStats, CpuStats, MemoryStats, NetworkStats, PidsStats, Pressure, PressureStats,
};
pub use stream::{Attachment, ByteStream, InputSink, ItemStream, LogRecord, OutputChunk, OutputKind, TerminalSize};
pub use time::Timestamp;
pub use usage::{Metrics, NodeUsage, ProcessOptions, UsageOptions};
pub use volume::{Volume, VolumeSpec, Volumes};
