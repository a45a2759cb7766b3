//! A container: an isolated set of processes on a node.
//!
//! [`Container`] is a handle. Making one ([`crate::Node::container`]) costs nothing and asks nobody; the first call on
//! it finds out whether the container exists.

mod interface;
mod needs;
mod options;
mod snapshot;
mod spec;
mod view;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use interface::{AddressScope, ContainerInterface, InterfaceAddress};
pub use options::{
    AttachOptions, CommitOptions, ContainerExit, ContainerUpdate, CopyInOptions, DeleteOptions, LogOptions,
    StopOptions, WaitFor,
};
pub use snapshot::{BackupOptions, RestoreOptions, Snapshot, SnapshotOptions};
pub use spec::{
    ContainerSpec, Dns, HealthCheck, Limits, Mount, MountKind, NetworkAttachment, PortMapping, Protocol, RestartPolicy,
};
pub use view::{
    ContainerDetails, ContainerFilter, ContainerState, ContainerSummary, EngineSetting, Health, LabelSelector,
    NetworkEndpoint,
};

use crate::error::Result;
use crate::job::{Job, JobSpec, JobStatus};
use crate::process::Process;
use crate::signal::Signal;
use crate::stats::ContainerStats;
use crate::stream::{Attachment, ByteStream, ItemStream, LogRecord, TerminalSize};

/// A container on a node.
///
/// Clauses that hold for every method:
///
/// * **C1**: a call on a container that does not exist fails with `NotFound`, and names the container as its resource.
/// * **C2**: a call that needs a capability which the engine lacks fails with `Unsupported`, whether or not the
///   container exists.
/// * **C3**: bad input fails with `InvalidInput`, names the field, and changes nothing.
///
/// Every call may be cancelled by dropping its future. A read then has no effect; a write may or may not have happened.
#[async_trait]
pub trait Container: Debug + Send + Sync {
    /// The id or name that this handle was made with.
    fn id(&self) -> &str;

    /// Everything that the engine tells of it.
    ///
    /// * **C10**: finds it by full id and by name, with equal result.
    /// * **C11**: shows the configuration that it was created with.
    async fn inspect(&self) -> Result<ContainerDetails>;

    /// Starts the main process.
    ///
    /// * **C20**: a created or stopped container runs afterwards.
    /// * **C21**: starting a running container is `Ok` and changes nothing.
    /// * **C22**: starting a frozen container is `Conflict` and changes nothing.
    /// * **C23**: a command that does not exist in the image fails with `InvalidInput`; the container does not run.
    async fn start(&self) -> Result<()>;

    /// Asks the main process to end, and kills it when the time is up.
    ///
    /// * **C30**: a running container is stopped afterwards, its exit code known (`exit_codes`).
    /// * **C31**: stopping a container that does not run is `Ok` and changes nothing.
    /// * **C32**: with a timeout of 0 a process that ignores the stop signal ends all the same.
    /// * **C33**: children of the main process end with it: none keeps the container running, or its end from being told.
    async fn stop(&self, options: &StopOptions) -> Result<()>;

    /// Stops it if it runs, and starts it.
    ///
    /// * **C40**: a running container runs afterwards, with a later start time.
    /// * **C41**: a stopped container runs afterwards.
    async fn restart(&self, options: &StopOptions) -> Result<()>;

    /// Sends a signal to the main process.
    ///
    /// * **C50**: the process gets the signal, by name or by number.
    /// * **C51**: `Conflict` when the container does not run.
    async fn kill(&self, signal: Signal) -> Result<()>;

    /// Stops all its processes in place.
    ///
    /// * **C60**: a running container is frozen afterwards, and runs again after [`Container::unfreeze`].
    /// * **C61**: freezing a frozen container is `Ok` and changes nothing.
    /// * **C62**: `Conflict` when it does not run.
    async fn freeze(&self) -> Result<()>;

    /// Lets all its processes go on.
    ///
    /// * **C63**: unfreezing a running container is `Ok` and changes nothing.
    /// * **C64**: `Conflict` when it does not run.
    async fn unfreeze(&self) -> Result<()>;

    /// Gives it another name.
    ///
    /// * **C70**: it is found by the new name, not by the old one, and its id is the same, unless to the engine its name is
    ///   its id. An engine may refuse it with `Conflict` while the container runs.
    /// * **C71**: a name that is taken is `AlreadyExists`; nothing changes.
    async fn rename(&self, name: &str) -> Result<()>;

    /// Changes limits and restart policy; absent members stay as they are.
    ///
    /// * **C80**: the new limits are in effect, and shown.
    /// * **C81**: the new restart policy is in effect, and shown.
    async fn update(&self, changes: &ContainerUpdate) -> Result<()>;

    /// Deletes it.
    ///
    /// * **C90**: afterwards it is not found and not listed.
    /// * **C91**: `Conflict` when it runs or is frozen and `force` is not set; nothing changes.
    /// * **C92**: with `force` a running container is deleted.
    async fn delete(&self, options: &DeleteOptions) -> Result<()>;

    /// Waits until it ends, at most `deadline`.
    ///
    /// * **C100**: gives the exit code of the main process (`exit_codes`; without, it gives the end alone).
    /// * **C101**: a container that has ended already is answered at once.
    /// * **C34**: a main process that ends by itself ends its children, too: none keeps its end from being told.
    /// * **C102**: `DeadlineExceeded` when the time is over; the container is not touched.
    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit>;

    /// Makes an image of its file system, and gives the image's id.
    ///
    /// * **C110**: a container made from the new image has the files of this one.
    async fn commit(&self, options: &CommitOptions) -> Result<String>;

    /// Its file system as one tar stream, without mounts.
    ///
    /// * **C120**: the stream is a tar archive that holds the files written inside.
    async fn export(&self) -> Result<ByteStream>;

    /// Its snapshots, oldest first.
    ///
    /// * **S1**: a new container has none; what was made is listed, in this order, each with name and time.
    async fn snapshots(&self) -> Result<Vec<Snapshot>>;

    /// Keeps its state under a name: files and configuration, without mounts. It may run, and goes on running.
    ///
    /// * **S10**: gives the snapshot as it is listed; the container is not changed.
    /// * **S11**: a name that another snapshot of it has is `AlreadyExists`; nothing changes.
    /// * **S12**: with `expires_at`, the time is shown (`snapshots_expire`). The engine deletes it after this time.
    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot>;

    /// Brings it back to a snapshot, which stays.
    ///
    /// * **S20**: files are as they were: changed ones, new ones and deleted ones.
    /// * **S21**: limits are as they were.
    /// * **S22**: what ran runs afterwards, with its main process started anew; what did not run does not.
    /// * **S23**: a snapshot that it does not have is `NotFound`; nothing changes.
    async fn restore_snapshot(&self, name: &str) -> Result<()>;

    /// Deletes a snapshot.
    ///
    /// * **S30**: afterwards it is not listed and cannot be restored; the container is not changed.
    /// * **S31**: a snapshot that it does not have is `NotFound`.
    /// * **S32**: a container that is deleted takes its snapshots along.
    async fn delete_snapshot(&self, name: &str) -> Result<()>;

    /// All of it as one archive in the engine's own format: file system, configuration and, if asked for, snapshots,
    /// without mounts. [`crate::Node::restore_container`] makes a container of it.
    ///
    /// * **B1**: it may run, and is not changed.
    /// * **B2**: snapshots are in it, or not, as asked for (`snapshots`).
    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream>;

    /// A file or directory of it as a tar stream; the entries begin with the last part of `path`.
    ///
    /// * **C130**: what was copied in comes out with equal content and mode.
    /// * **C131**: a path that does not exist is `NotFound`.
    /// * **C134**: owners, groups and modes of files and directories come out as they went in (`file_owners`).
    /// * **C135**: what is in a volume comes out of the path where it is mounted, whether the container runs or not
    ///   (`volumes`). A path above that may show the place of the volume empty while the container does not run.
    async fn copy_out(&self, path: &str) -> Result<ByteStream>;

    /// Unpacks a plain tar stream into the directory `path`. Some engines take compressed streams, too.
    ///
    /// * **C132**: a directory that does not exist is `NotFound`; nothing is written.
    /// * **C133**: a broken archive is `InvalidInput`. Of one longer than 1 MiB, what comes before the fault may have been
    ///   unpacked by then; the error's `retry` is then `unknown`.
    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()>;

    /// The kept output of the main process.
    ///
    /// * **C140**: gives what was written, stdout and stderr apart where the engine can (`logs_split`).
    /// * **C141**: `tail` gives the last lines only.
    /// * **C142**: with `follow`, new output arrives while the container runs, and the stream ends when it ends.
    /// * **C143**: with `timestamps`, every record has its time (`log_times`).
    /// * **C144**: with `since`, earlier records are left out (`log_times`).
    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>>;

    /// Connects to the streams of the main process.
    ///
    /// * **C150**: what is written to the input reaches the process, and its answer arrives as output.
    /// * **C151**: the output ends when the process ends.
    async fn attach(&self, options: &AttachOptions) -> Result<Attachment>;

    /// Sets the size of the main process's terminal.
    ///
    /// * **C152**: a size of zero is `InvalidInput`.
    /// * **C153**: the terminal has the new size.
    async fn resize(&self, size: TerminalSize) -> Result<()>;

    /// Resource use at this moment, as numbers.
    ///
    /// * **C160**: memory and cpu of a running container are above zero, and cpu seconds never go down.
    /// * **C161**: `Conflict` when it does not run.
    async fn stats(&self) -> Result<ContainerStats>;

    /// Its processes, by ascending pid as the node counts.
    ///
    /// * **C170**: the main process is there, with command line, state and parent.
    /// * **C171**: `Conflict` when it does not run.
    async fn processes(&self) -> Result<Vec<Process>>;

    /// Runs a command inside it.
    ///
    /// * **J1**: the job has an id that is unique on the node and a start time, and is listed at once.
    /// * **J2**: `Conflict` when the container does not run.
    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>>;

    /// The jobs of this container that are known to this process, running and kept ones, oldest first.
    ///
    /// * **J3**: holds the container's jobs and no others.
    async fn jobs(&self) -> Result<Vec<JobStatus>>;
}
