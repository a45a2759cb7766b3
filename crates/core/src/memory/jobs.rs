//! Jobs on the simulated node and in its containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use super::faults::{Effects, Faults};
use super::files::View;
use super::lifecycle::{environment, find_user, hostname, may_chown, program_exists};
use super::process::{Output, Process, Start};
use super::state::Shared;
use crate::capabilities::Capability;
use crate::container::ContainerState;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::job::{Job, JobSpec, JobStatus, OutputOptions};
use crate::jobs::{JobControl, JobProgress};
use crate::operation::{self as op, Operation};
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, OutputKind, TerminalSize};

/// What the engine can do to the process of a job.
#[derive(Debug)]
struct Control {
    process: Arc<Process>,
}

#[async_trait]
impl JobControl for Control {
    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.process.write_input(&data)
    }

    async fn close_stdin(&self) -> Result<()> {
        self.process.close_input();
        Ok(())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.process.resize(size);
        Ok(())
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal);
        Ok(())
    }
}

type Progress = mpsc::UnboundedSender<Result<JobProgress>>;

fn output(progress: &Progress) -> Output {
    let progress = progress.clone();
    // Nobody listens any more once the job has ended.
    Box::new(move |kind: OutputKind, data: Bytes| drop(progress.send(Ok(JobProgress::Output(kind, data)))))
}

fn terminal(spec: &JobSpec) -> Option<TerminalSize> {
    spec.tty.then(|| spec.terminal_size.unwrap_or(TerminalSize { columns: 80, rows: 24 }))
}

impl Shared {
    fn check(&self, spec: &JobSpec) -> Result<()> {
        for (capability, wanted) in [(Capability::JobStdin, spec.stdin), (Capability::JobTty, spec.tty)] {
            if wanted {
                self.capabilities.require(capability)?;
            }
        }
        spec.validate()
    }

    pub(super) async fn run_in_container(self: &Arc<Self>, id: &str, spec: &JobSpec) -> Result<Arc<dyn Job>> {
        self.capabilities.require(Capability::Jobs)?;
        self.check(spec)?;
        crate::names::existing("id", id).map_err(|error| error.with_resource(id))?;
        let effects = self.enter(&op::CONTAINER_RUN).await?;
        let (progress, receiver) = mpsc::unbounded_channel();
        let mut world = self.world();
        let record = world.container(id)?;
        if record.state == ContainerState::Frozen {
            return Err(record.conflict("is frozen"));
        }
        let parent = record.main_process()?.pid;
        let running = record.processes().len();
        if record.spec.limits.pids.is_some_and(|limit| running >= usize::try_from(limit).unwrap_or(usize::MAX)) {
            return Err(Error::new(ErrorKind::ResourceExhausted, "the container's limit on processes is reached"));
        }
        let user = find_user(&record.view(), spec.user.as_deref().or(record.spec.user.as_deref()))?;
        let slot = self.jobs.admit(Some(&record.id), spec)?;
        let process = Process::new(Start {
            pid: self.next_pid(),
            parent,
            command: spec.command.clone(),
            env: environment(record, &spec.env),
            directory: spec
                .working_directory
                .clone()
                .or_else(|| record.spec.working_directory.clone())
                .unwrap_or_else(|| "/".to_owned()),
            hostname: hostname(record),
            user,
            first: false,
            may_chown: may_chown(record, spec.privileged),
            stdin: spec.stdin,
            tty: terminal(spec),
            view: record.view(),
            clock: self.clock,
            frozen: record.frozen.subscribe(),
            output: output(&progress),
            resolver: self.resolver(&record.id),
        });
        record.others.retain(|other| other.strong_count() > 0);
        record.others.push(Arc::downgrade(&process));
        self.event(ResourceKind::Container, EventAction::JobStarted, &record.id, Some(&record.name));
        drop(world);
        self.launch(slot, process, progress, receiver, effects)
    }

    pub(super) async fn run_on_node(self: &Arc<Self>, spec: &JobSpec) -> Result<Arc<dyn Job>> {
        self.capabilities.require(Capability::NodeJobs)?;
        self.check(spec)?;
        let effects = self.enter(&op::NODE_RUN).await?;
        let (progress, receiver) = mpsc::unbounded_channel();
        let view = View::of(&self.node_files);
        let user = find_user(&view, spec.user.as_deref())?;
        let slot = self.jobs.admit(None, spec)?;
        let mut env = BTreeMap::from([("PATH".to_owned(), super::lifecycle::PATH.to_owned())]);
        env.extend(spec.env.clone());
        let process = Process::new(Start {
            pid: self.next_pid(),
            parent: 1,
            command: spec.command.clone(),
            env,
            directory: spec.working_directory.clone().unwrap_or_else(|| "/".to_owned()),
            hostname: "memory".to_owned(),
            user,
            first: false,
            may_chown: true,
            stdin: spec.stdin,
            tty: terminal(spec),
            view,
            clock: self.clock,
            frozen: self.node_thawed.subscribe(),
            output: output(&progress),
            resolver: Box::new(|_| None),
        });
        self.launch(slot, process, progress, receiver, effects)
    }

    fn launch(
        self: &Arc<Self>,
        slot: crate::jobs::JobSlot,
        process: Arc<Process>,
        progress: Progress,
        mut receiver: mpsc::UnboundedReceiver<Result<JobProgress>>,
        effects: Effects,
    ) -> Result<Arc<dyn Job>> {
        let control = Arc::new(Control { process: Arc::clone(&process) });
        let (job, feed) = slot.started(control, stream::poll_fn(move |context| receiver.poll_recv(context)));
        tokio::spawn(feed);
        let shared = std::sync::Weak::clone(&self.weak);
        tokio::spawn(async move {
            // Told first, so that whoever gets an error from here on finds the job gone.
            let _ = progress.send(Ok(JobProgress::Pid(process.pid)));
            if effects.vanish {
                process.end(137);
                let _ = progress.send(Err(Faults::away()));
                return;
            }
            if !program_exists(&process.view, process.command.first().map_or("", String::as_str)) {
                let line = format!("{}: not found\n", process.command.first().map_or("", String::as_str));
                let _ = progress.send(Ok(JobProgress::Output(OutputKind::Stderr, line.into())));
                let _ = progress.send(Ok(JobProgress::Ended(127)));
                return;
            }
            let away = async {
                match shared.upgrade() {
                    // The subscription does not keep the node alive.
                    Some(shared) => shared.faults.watch(),
                    None => return,
                }
                .await;
            };
            tokio::select! {
                biased;
                () = away => {
                    process.end(137);
                    let _ = progress.send(Err(Faults::away()));
                }
                code = Arc::clone(&process).run() => {
                    let _ = progress.send(Ok(JobProgress::Ended(code)));
                }
            }
        });
        self.wrap_job(job)
    }

    /// A job whose operations can be scripted to fail.
    pub(super) fn wrap_job(self: &Arc<Self>, job: Arc<dyn Job>) -> Result<Arc<dyn Job>> {
        Ok(Arc::new(MemoryJob { shared: Arc::clone(self), job }))
    }
}

#[derive(Debug)]
struct MemoryJob {
    shared: Arc<Shared>,
    job: Arc<dyn Job>,
}

impl MemoryJob {
    /// What is known of a job is in this program: it is there when the engine is not.
    async fn enter(&self, operation: &'static Operation) -> Result<Effects> {
        match self.shared.enter(operation).await {
            Err(error) if self.shared.faults.is_away() => {
                drop(error);
                Ok(Effects::default())
            }
            entered => entered,
        }
    }
}

#[async_trait]
impl Job for MemoryJob {
    fn id(&self) -> &str {
        self.job.id()
    }

    async fn status(&self) -> Result<JobStatus> {
        let effects = self.enter(&op::JOB_STATUS).await?;
        self.shared.answer(effects, self.job.status().await?)
    }

    async fn output(&self, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
        let effects = self.enter(&op::JOB_OUTPUT).await?;
        Ok(super::streams::cut(effects, self.job.output(options).await?))
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let effects = self.enter(&op::JOB_WRITE_STDIN).await?;
        self.job.write_stdin(data).await?;
        self.shared.answer(effects, ())
    }

    async fn close_stdin(&self) -> Result<()> {
        let effects = self.enter(&op::JOB_CLOSE_STDIN).await?;
        self.job.close_stdin().await?;
        self.shared.answer(effects, ())
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let effects = self.enter(&op::JOB_RESIZE).await?;
        self.job.resize(size).await?;
        self.shared.answer(effects, ())
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        self.shared.capabilities.require(Capability::JobKill)?;
        let effects = self.enter(&op::JOB_KILL).await?;
        self.job.kill(signal).await?;
        self.shared.answer(effects, ())
    }

    async fn wait(&self, deadline: Duration) -> Result<JobStatus> {
        let effects = self.enter(&op::JOB_WAIT).await?;
        self.shared.answer(effects, self.job.wait(deadline).await?)
    }
}
