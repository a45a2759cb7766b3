//! Commands as jobs: in containers and on the node itself.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use roadstead_core::jobs::{JobControl, JobProgress};
use roadstead_core::{Capability, Error, ErrorKind, Job, JobSpec, OutputKind, Result, Retry, Signal, TerminalSize};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Scope;
use super::command::Command;
use super::commands::Commands;
use super::ended::{self, Way};
use super::following::output;
use super::found;
use super::outcome::Outcome;
use super::outliving::{self, Descendants};
use super::progress::{Progress, Step};
use super::shared::{Core0, whole};

/// The node kills by itself, should this program be gone when the time is up. It is given a little longer, so that the one who
/// says so is this program where it can.
const GRACE_SECONDS: u32 = 5;
/// A signal is not kept waiting for longer than this by the look at what it may leave behind.
const LOOK: Duration = Duration::from_secs(2);

/// J1 to J3.
pub(super) async fn run_inside(core0: &Arc<Core0>, id: &str, spec: &JobSpec) -> Result<Arc<dyn Job>> {
    let mut command = command(core0, spec)?;
    let found = found::one(core0, id).await?;
    found.must_run()?;
    let directory = found.kept.as_ref().and_then(|kept| kept.spec.working_directory.clone());
    if let (Some(directory), Some(members)) = (directory, command.arguments.as_object_mut()) {
        members.entry("dir").or_insert(directory.into());
    }
    run(core0, Scope::Container(found.container.id), Some(found.id()), command, spec).await
}

/// J4.
pub(super) async fn run_on_node(core0: &Arc<Core0>, spec: &JobSpec) -> Result<Arc<dyn Job>> {
    run(core0, Scope::Host, None, command(core0, spec)?, spec).await
}

fn command(core0: &Core0, spec: &JobSpec) -> Result<Command> {
    spec.validate()?;
    for (asked, capability) in
        [(spec.stdin, Capability::JobStdin), (spec.tty, Capability::JobTty), (spec.user.is_some(), Capability::Users)]
    {
        if asked {
            core0.capabilities.require(capability)?;
        }
    }
    if spec.env.contains_key(outliving::MARK) {
        return Err(Error::invalid("env", format!("must not have {}, which is the engine's own", outliving::MARK)));
    }
    let mut command = Command::program(spec)?;
    command.stream = true;
    command.max_time = spec.timeout_seconds.map(|seconds| seconds.saturating_add(GRACE_SECONDS));
    Ok(command)
}

async fn run(
    core0: &Arc<Core0>,
    scope: Scope,
    container: Option<String>,
    mut command: Command,
    spec: &JobSpec,
) -> Result<Arc<dyn Job>> {
    let slot = core0.jobs.admit(container.as_deref(), spec)?;
    slot.id().clone_into(&mut command.id);
    if let Some(Value::Object(env)) =
        command.arguments.as_object_mut().map(|members| members.entry("env").or_insert_with(|| json!({})))
    {
        env.insert(outliving::MARK.to_owned(), slot.id().into());
    }
    let core0 = Arc::clone(core0);
    // Whoever leaves between the push and the answer must not leave a job behind that nobody knows of.
    whole(async move {
        let id = core0.client.push(scope, &command).await?;
        let control = Arc::new(Control {
            core0: Arc::downgrade(&core0),
            scope,
            id,
            signal: AtomicU8::new(0),
            followed: Mutex::default(),
        });
        let progress = Progress::begin(&core0.client, scope, &control.id, false);
        let (job, feed) = slot.started(Arc::clone(&control) as Arc<dyn JobControl>, told(progress, control));
        tokio::spawn(feed);
        Ok(job)
    })
    .await
}

/// The steps of a command as those of a job.
fn told(progress: Progress, control: Arc<Control>) -> impl Stream<Item = Result<JobProgress>> + Send {
    let steps = stream::try_unfold((progress, control), |(mut progress, control)| async move {
        let told = match progress.next().await? {
            None => return Ok(None),
            Some(Step::Entry(entry)) => output(&entry).map(|(kind, data)| JobProgress::Output(kind, data)),
            Some(Step::Ended(outcome)) => {
                return Ok(Some((end(&outcome, control.signal())?, (progress, control))));
            }
        };
        Ok(Some((told.into_iter().collect(), (progress, control))))
    });
    steps.flat_map(|told: Result<Vec<JobProgress>>| match told {
        Ok(told) => stream::iter(told).map(Ok).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    })
}

/// The last of a job. Why it could not be run is told as its standard error, as a shell would do.
fn end(outcome: &Outcome, signal: Option<u8>) -> Result<Vec<JobProgress>> {
    let why = |last| {
        let line = |reason| JobProgress::Output(OutputKind::Stderr, Bytes::from(format!("{reason}\n")));
        ended::reason(outcome).map(line).into_iter().chain([last]).collect()
    };
    Ok(match ended::way(outcome, signal) {
        Way::Exited(exit_code) => vec![JobProgress::Ended(exit_code)],
        Way::TimedOut(exit_code) => vec![JobProgress::TimedOut(exit_code)],
        Way::NeverBegan => why(JobProgress::Ended(ended::NOT_FOUND)),
        Way::Failed => why(JobProgress::Failed),
        Way::Unknown => {
            let words = format!("the job is lost: {}", ended::UNTOLD);
            return Err(Error::new(ErrorKind::Unavailable, words).with_retry(Retry::Unknown));
        }
    })
}

/// What can be done to a job that runs.
#[derive(Debug)]
struct Control {
    core0: std::sync::Weak<Core0>,
    scope: Scope,
    id: String,
    /// The last signal that it was sent; 0 when there was none.
    signal: AtomicU8,
    followed: Mutex<Followed>,
}

/// What is made of the last signal.
#[derive(Debug, Default)]
struct Followed {
    /// The job's processes as they were before it.
    before: Descendants,
    task: Option<(Signal, AbortHandle)>,
}

impl Control {
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a job's processes before a signal ends it. That they cannot be told is no reason not to send it.
    async fn look(&self, commands: &Commands) {
        let before = self.followed().before.clone();
        match timeout(LOOK, Descendants::look(commands, &self.id, before)).await {
            Ok(Ok(now)) => self.followed().before = now,
            Ok(Err(error)) => tracing::debug!(job = self.id, %error, "what came of a job could not be found out"),
            Err(_) => tracing::debug!(job = self.id, "what came of a job could not be found out in time"),
        }
    }

    /// One task, whatever is sent how often; one that carries out the end goes on.
    fn follow(&self, commands: Commands, signal: Signal) {
        let mut followed = self.followed();
        let kills = |(sent, task): &(Signal, AbortHandle)| *sent == Signal::KILL && !task.is_finished();
        if followed.task.as_ref().is_some_and(kills) {
            return;
        }
        let after = outliving::after_signal(commands, self.id.clone(), followed.before.clone(), signal);
        let task = tokio::spawn(after).abort_handle();
        if let Some((_, old)) = followed.task.replace((signal, task)) {
            old.abort();
        }
    }

    fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }
}

#[async_trait]
impl JobControl for Control {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(Error::unsupported(Capability::JobStdin.text()))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(Error::unsupported(Capability::JobTty.text()))
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        let Some(core0) = self.core0.upgrade() else {
            return Err(Error::new(ErrorKind::Unavailable, "the node was let go of"));
        };
        let before = self.signal.swap(signal.number(), Ordering::AcqRel);
        let commands = match self.scope {
            Scope::Host => core0.host.commands().clone(),
            Scope::Container(container) => core0.inside(container),
        };
        if outliving::ends(signal) {
            self.look(&commands).await;
        }
        let killed = match commands.jobs().kill(&self.id, Some(signal)).await {
            Ok(true) => {
                if outliving::ends(signal) {
                    self.follow(commands, signal);
                }
                return Ok(());
            }
            Ok(false) => Err(Error::new(ErrorKind::NotFound, "the job's process has ended")),
            Err(error) => Err(error),
        };
        self.signal.store(before, Ordering::Release);
        killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(members: &str) -> String {
        let outcome = Outcome::parse(format!(r#"{{"id":"i","command":"core.system",{members}}}"#).as_bytes()).unwrap();
        match end(&outcome, None) {
            Ok(told) => format!("{told:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_what_is_told_of_an_end_is_told() {
        let streams = r#""streams":["","bad\n"]"#;
        assert_eq!(told(&format!(r#""state":"SUCCESS",{streams}"#)), "[Ended(0)]");
        assert_eq!(told(&format!(r#""state":"ERROR","code":1003,{streams}"#)), "[Ended(3)]");
        assert_eq!(told(&format!(r#""state":"ERROR",{streams}"#)), "[Failed]");
        assert_eq!(told(r#""state":"ERROR""#), "[Failed]");
        assert_eq!(told(r#""state":"ERROR","data":"why""#), r#"[Output(Stderr, b"why\n"), Failed]"#);
        assert_eq!(told(&format!(r#""state":"TIMEOUT",{streams}"#)), "[TimedOut(137)]");
        assert_eq!(told(&format!(r#""state":"TIMEOUT","code":999,{streams}"#)), "[TimedOut(137)]");
        assert_eq!(told(r#""state":"ERROR","code":0,"data":"why""#), r#"[Output(Stderr, b"why\n"), Ended(127)]"#);
        for nonsense in [r#""state":"SUCCESS","code":{}"#, r#""state":"LATER""#, r#""code":0"#] {
            assert!(told(nonsense).contains("the job is lost"), "{nonsense}");
        }
    }
}
