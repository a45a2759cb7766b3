//! A handle on a simulated container.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::archive;
use super::files::FileError;
use super::images;
use super::process::RESIDENT_BYTES;
use super::state::{Record, Shared};
use crate::capabilities::Capability;
use crate::container::{
    AttachOptions, BackupOptions, CommitOptions, Container, ContainerDetails, ContainerExit, ContainerState,
    ContainerUpdate, CopyInOptions, DeleteOptions, LogOptions, RestartPolicy, Snapshot, SnapshotOptions, StopOptions,
    WaitFor,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::job::{Job, JobSpec, JobStatus};
use crate::names;
use crate::operation::{self as op, Operation};
use crate::process::Process;
use crate::signal::Signal;
use crate::stats::{ContainerStats, CpuStats, MemoryStats, NetworkStats, PidsStats};
use crate::stream::{Attachment, ByteStream, ItemStream, LogRecord, TerminalSize};

/// A handle: the node and what the container was asked for by.
#[derive(Debug)]
pub(super) struct MemoryContainer {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
}

impl MemoryContainer {
    fn require(&self, capability: Capability) -> Result<()> {
        self.shared.capabilities.require(capability)
    }

    /// Begins an operation. A container that a scripted fault lets vanish is gone before the work begins.
    async fn enter(&self, operation: &'static Operation) -> Result<super::faults::Effects> {
        names::existing("id", &self.id).map_err(|error| error.with_resource(self.id.clone()))?;
        let effects = self.shared.enter(operation).await?;
        if effects.vanish {
            // One that does not exist cannot vanish: the operation itself tells.
            let _ = self.shared.delete_container(&self.id, true, true).await;
        }
        Ok(effects)
    }

    /// Works on the record while the world is locked.
    fn with<T>(&self, work: impl FnOnce(&mut Record) -> Result<T>) -> Result<T> {
        work(self.shared.world().container(&self.id)?)
    }

    fn event(&self, record: &Record, action: EventAction) {
        self.shared.event(ResourceKind::Container, action, &record.id, Some(&record.name));
    }
}

fn path_error(path: &str, error: FileError) -> Error {
    let kind = match error {
        FileError::NotFound => ErrorKind::NotFound,
        FileError::NotDirectory | FileError::IsDirectory => return Error::invalid("path", format!("{path}: {error}")),
        FileError::ReadOnly | FileError::NotPermitted => ErrorKind::Conflict,
        FileError::Full => ErrorKind::ResourceExhausted,
    };
    Error::new(kind, format!("{path}: {error}"))
}

#[async_trait]
impl Container for MemoryContainer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn inspect(&self) -> Result<ContainerDetails> {
        let effects = self.enter(&op::CONTAINER_INSPECT).await?;
        let mut details = self.with(|record| Ok(record.details(&self.shared)))?;
        if effects.garbage {
            details.summary.state = ContainerState::Unknown;
            details.summary.image = "\u{fffd}\u{202e}?".to_owned();
            details.error = Some("\u{fffd}\u{202e}?".to_owned());
        }
        Ok(details)
    }

    async fn start(&self) -> Result<()> {
        let effects = self.enter(&op::CONTAINER_START).await?;
        self.shared.start_container(&self.id)?;
        self.shared.answer(effects, ())
    }

    async fn stop(&self, options: &StopOptions) -> Result<()> {
        options.validate()?;
        let effects = self.enter(&op::CONTAINER_STOP).await?;
        self.shared.stop_container(&self.id, options.timeout_seconds).await?;
        self.shared.answer(effects, ())
    }

    async fn restart(&self, options: &StopOptions) -> Result<()> {
        self.require(Capability::Restart)?;
        options.validate()?;
        let effects = self.enter(&op::CONTAINER_RESTART).await?;
        self.shared.stop_container(&self.id, options.timeout_seconds).await?;
        self.shared.start_container(&self.id)?;
        self.with(|record| {
            self.event(record, EventAction::Restarted);
            Ok(())
        })?;
        self.shared.answer(effects, ())
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.require(Capability::Kill)?;
        let effects = self.enter(&op::CONTAINER_KILL).await?;
        self.with(|record| {
            record.main_process()?.signal(signal);
            // As on real engines: one that was killed on purpose is not started again by policy.
            record.stop_requested = record.stop_requested || signal == Signal::KILL;
            self.event(record, EventAction::Killed);
            Ok(())
        })?;
        self.shared.answer(effects, ())
    }

    async fn freeze(&self) -> Result<()> {
        self.require(Capability::Freeze)?;
        let effects = self.enter(&op::CONTAINER_FREEZE).await?;
        self.with(|record| {
            record.main_process()?;
            if record.state != ContainerState::Frozen {
                record.state = ContainerState::Frozen;
                record.frozen.send_replace(true);
                self.event(record, EventAction::Frozen);
            }
            Ok(())
        })?;
        self.shared.answer(effects, ())
    }

    async fn unfreeze(&self) -> Result<()> {
        self.require(Capability::Freeze)?;
        let effects = self.enter(&op::CONTAINER_UNFREEZE).await?;
        self.with(|record| {
            record.main_process()?;
            if record.state == ContainerState::Frozen {
                record.state = ContainerState::Running;
                record.frozen.send_replace(false);
                self.event(record, EventAction::Unfrozen);
            }
            Ok(())
        })?;
        self.shared.answer(effects, ())
    }

    async fn rename(&self, name: &str) -> Result<()> {
        self.require(Capability::Rename)?;
        names::container_name("name", name)?;
        let effects = self.enter(&op::CONTAINER_RENAME).await?;
        {
            let mut world = self.shared.world();
            let taken = world.name_is_taken(name);
            let record = world.container(&self.id)?;
            if taken {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("the container name {name} is taken"))
                    .with_resource(record.id.clone()));
            }
            name.clone_into(&mut record.name);
            record.spec.name = Some(name.to_owned());
            self.event(record, EventAction::Renamed);
        }
        self.shared.answer(effects, ())
    }

    async fn update(&self, changes: &ContainerUpdate) -> Result<()> {
        self.require(Capability::Update)?;
        if changes.restart.is_some_and(|policy| policy != RestartPolicy::Never) {
            self.require(Capability::RestartPolicy)?;
        }
        let limits = &changes.limits;
        limits.require("limits", &self.shared.capabilities)?;
        changes.validate()?;
        let effects = self.enter(&op::CONTAINER_UPDATE).await?;
        self.with(|record| {
            let own = &mut record.spec.limits;
            own.memory_bytes = limits.memory_bytes.or(own.memory_bytes);
            own.swap_bytes = limits.swap_bytes.or(own.swap_bytes);
            own.cpus = limits.cpus.or(own.cpus);
            own.cpu_shares = limits.cpu_shares.or(own.cpu_shares);
            own.cpu_set = limits.cpu_set.clone().or_else(|| own.cpu_set.take());
            own.pids = limits.pids.or(own.pids);
            record.spec.restart = changes.restart.unwrap_or(record.spec.restart);
            self.event(record, EventAction::Updated);
            Ok(())
        })?;
        self.shared.answer(effects, ())
    }

    async fn delete(&self, options: &DeleteOptions) -> Result<()> {
        self.require(Capability::Create)?;
        let effects = self.enter(&op::CONTAINER_DELETE).await?;
        self.shared.delete_container(&self.id, options.force, options.volumes).await?;
        self.shared.answer(effects, ())
    }

    async fn wait(&self, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
        self.require(Capability::Wait)?;
        let effects = self.enter(&op::CONTAINER_WAIT).await?;
        let mut life = self.with(|record| Ok(record.life.subscribe()))?;
        let ends = life.borrow().ends;
        let over = life.wait_for(|life| {
            life.deleted
                || match condition {
                    WaitFor::Stopped => !life.runs,
                    WaitFor::NextEnd => life.ends > ends,
                    WaitFor::Deleted => false,
                }
        });
        let exit = tokio::select! {
            biased;
            // The sender lives in the record, which says `deleted` before it goes.
            life = over => life.map_or(None, |life| life.exit.clone()),
            () = self.shared.faults.gone() => return Err(super::Faults::away()),
            () = tokio::time::sleep(deadline) => {
                let message = format!("container {} has not ended within {} s", self.id, deadline.as_secs_f64());
                return Err(Error::new(ErrorKind::DeadlineExceeded, message).with_resource(self.id.clone()));
            }
        };
        // One that never ran has not failed: engines answer 0.
        let mut exit = exit.unwrap_or_else(|| ContainerExit::new(0));
        exit.exit_code = exit.exit_code.filter(|_| self.shared.capabilities.exit_codes);
        self.shared.answer(effects, exit)
    }

    async fn commit(&self, options: &CommitOptions) -> Result<String> {
        self.require(Capability::Commit)?;
        options.validate()?;
        let effects = self.enter(&op::CONTAINER_COMMIT).await?;
        let id = self.shared.commit(&self.id, options)?;
        self.shared.answer(effects, id)
    }

    async fn export(&self) -> Result<ByteStream> {
        self.require(Capability::Export)?;
        let effects = self.enter(&op::CONTAINER_EXPORT).await?;
        let files = self.with(|record| Ok(Arc::clone(&record.files)))?;
        let packed = archive::pack_root(&super::lock(&files))?;
        Ok(super::streams::cut(effects, archive::pieces(packed)))
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        self.require(Capability::Snapshots)?;
        let effects = self.enter(&op::CONTAINER_SNAPSHOTS).await?;
        let snapshots = self.shared.snapshots(&self.id)?;
        self.shared.answer(effects, snapshots)
    }

    async fn create_snapshot(&self, options: &SnapshotOptions) -> Result<Snapshot> {
        super::snapshots::require(&self.shared.capabilities, options)?;
        options.validate(self.shared.clock.now())?;
        let effects = self.enter(&op::CONTAINER_CREATE_SNAPSHOT).await?;
        let snapshot = self.shared.create_snapshot(&self.id, options)?;
        self.shared.answer(effects, snapshot)
    }

    async fn restore_snapshot(&self, name: &str) -> Result<()> {
        self.require(Capability::Snapshots)?;
        names::snapshot_name("name", name)?;
        let effects = self.enter(&op::CONTAINER_RESTORE_SNAPSHOT).await?;
        self.shared.restore_snapshot(&self.id, name).await?;
        self.shared.answer(effects, ())
    }

    async fn delete_snapshot(&self, name: &str) -> Result<()> {
        self.require(Capability::Snapshots)?;
        names::snapshot_name("name", name)?;
        let effects = self.enter(&op::CONTAINER_DELETE_SNAPSHOT).await?;
        self.shared.delete_snapshot(&self.id, name)?;
        self.shared.answer(effects, ())
    }

    async fn backup(&self, options: &BackupOptions) -> Result<ByteStream> {
        self.require(Capability::Backups)?;
        let effects = self.enter(&op::CONTAINER_BACKUP).await?;
        let packed = self.shared.backup(&self.id, options)?;
        Ok(super::streams::cut(effects, archive::pieces(packed)))
    }

    async fn copy_out(&self, path: &str) -> Result<ByteStream> {
        self.require(Capability::Files)?;
        names::absolute_path("path", path)?;
        let effects = self.enter(&op::CONTAINER_COPY_OUT).await?;
        let view = self.with(|record| Ok(record.view()))?;
        let found = view.tree(&super::files::absolute("/", path));
        if found.is_empty() {
            return Err(path_error(path, FileError::NotFound).with_resource(self.id.clone()));
        }
        let packed = archive::pack(found.iter().map(|(name, entry)| (name.as_str(), entry)))?;
        Ok(super::streams::cut(effects, archive::pieces(packed)))
    }

    async fn copy_in(&self, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
        self.require(Capability::Files)?;
        names::absolute_path("path", path)?;
        let effects = self.enter(&op::CONTAINER_COPY_IN).await?;
        let path = super::files::absolute("/", path);
        let directory = |record: &mut Record| match record.view().stat(&path) {
            None => Err(path_error(&path, FileError::NotFound).with_resource(record.id.clone())),
            Some(entry) if entry.is_directory() => Ok(record.view()),
            Some(_) => Err(path_error(&path, FileError::NotDirectory)),
        };
        // Asked before the archive is read, so that a wrong path does not cost the whole upload.
        self.with(directory)?;
        let entries = archive::unpack(&archive::collect(archive).await?)?;
        let view = self.with(directory)?;
        let target = |name: &str| super::files::absolute(&path, name);
        if options.no_overwrite_dir_with_file {
            for (name, entry) in &entries {
                if view.stat(&target(name)).is_some_and(|old| old.is_directory() != entry.is_directory()) {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("{name} would put a directory in place of a file or the other way round"),
                    ));
                }
            }
        }
        for (name, entry) in entries {
            if name.is_empty()
                || (entry.is_directory() && view.stat(&target(&name)).is_some_and(|old| old.is_directory()))
            {
                continue;
            }
            view.put(&target(&name), entry).map_err(|error| path_error(&name, error))?;
        }
        self.shared.answer(effects, ())
    }

    async fn logs(&self, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
        self.require(Capability::Logs)?;
        if options.stdout != options.stderr {
            self.require(Capability::LogsSplit)?;
        }
        if options.needs_times() {
            self.require(Capability::LogTimes)?;
        }
        options.validate()?;
        let effects = self.enter(&op::CONTAINER_LOGS).await?;
        self.with(|record| Ok(super::streams::logs(&self.shared, record, options, effects)))
    }

    async fn attach(&self, options: &AttachOptions) -> Result<Attachment> {
        self.require(Capability::Attach)?;
        let effects = self.enter(&op::CONTAINER_ATTACH).await?;
        self.with(|record| super::streams::attach(&self.shared, record, options, effects))
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.require(Capability::Attach)?;
        size.validate()?;
        let effects = self.enter(&op::CONTAINER_RESIZE).await?;
        self.with(
            |record| {
                if record.main_process()?.resize(size) { Ok(()) } else { Err(record.conflict("has no terminal")) }
            },
        )?;
        self.shared.answer(effects, ())
    }

    async fn stats(&self) -> Result<ContainerStats> {
        self.require(Capability::Stats)?;
        let effects = self.enter(&op::CONTAINER_STATS).await?;
        let stats = self.with(|record| {
            record.main_process()?;
            let processes = record.processes();
            let count = processes.len() as u64;
            let cpu = record.spent_cpu_seconds + processes.iter().map(|process| process.cpu_seconds()).sum::<f64>();
            let limits = &record.spec.limits;
            Ok(ContainerStats {
                cpu: CpuStats { total_seconds: cpu, online_cpus: Some(1), ..CpuStats::default() },
                memory: MemoryStats {
                    usage_bytes: count * RESIDENT_BYTES,
                    working_set_bytes: Some(count * RESIDENT_BYTES),
                    limit_bytes: limits.memory_bytes,
                    ..MemoryStats::default()
                },
                networks: vec![NetworkStats { name: "eth0".to_owned(), ..NetworkStats::default() }],
                pids: PidsStats { current: count, limit: limits.pids.map(u64::from) },
                ..ContainerStats::at(self.shared.clock.now())
            })
        })?;
        self.shared.answer(effects, stats)
    }

    async fn processes(&self) -> Result<Vec<Process>> {
        self.require(Capability::Processes)?;
        let effects = self.enter(&op::CONTAINER_PROCESSES).await?;
        let mut processes = self.with(|record| {
            record.main_process()?;
            Ok(record.processes().iter().map(|process| process.view_as_process()).collect::<Vec<_>>())
        })?;
        processes.sort_by_key(|process| process.pid);
        if effects.garbage {
            for process in &mut processes {
                process.state = crate::process::ProcessState::Unknown;
                process.cmdline = vec!["\u{fffd}\u{202e}?".to_owned()];
            }
        }
        Ok(processes)
    }

    async fn run(&self, job: &JobSpec) -> Result<Arc<dyn Job>> {
        self.shared.run_in_container(&self.id, job).await
    }

    async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.require(Capability::Jobs)?;
        self.enter(&op::CONTAINER_JOBS).await?;
        let id = self.with(|record| Ok(record.id.clone()))?;
        Ok(self.shared.jobs.list(Some(&id)))
    }
}

impl Shared {
    fn commit(&self, id: &str, options: &CommitOptions) -> Result<String> {
        let mut world = self.world();
        let record = world.container(id)?;
        let files = super::lock(&record.files).clone();
        let mut details = images::details();
        details.entrypoint = record.spec.entrypoint.clone().unwrap_or_default();
        details.command = record.spec.command.clone().unwrap_or_default();
        details.env.clone_from(&record.spec.env);
        details.working_directory.clone_from(&record.spec.working_directory);
        details.user.clone_from(&record.spec.user);
        details.summary.labels.clone_from(&record.spec.labels);
        let id = self.add_image(&mut world, &options.image, details, files);
        self.event(ResourceKind::Image, EventAction::Created, &id, Some(&options.image));
        Ok(id)
    }
}
