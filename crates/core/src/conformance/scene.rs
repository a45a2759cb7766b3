//! One clause being tried: names of its own, short ways to containers, and the deletion of all that was made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::check::{Check, During, Failure, SOON, drain, drain_bytes, ensure, equal, eventually, text};
use super::fixture::Fixture;
use crate::capabilities::Capability;
use crate::container::{
    Container, ContainerDetails, ContainerSpec, ContainerState, CopyInOptions, DeleteOptions, LogOptions, StopOptions,
    WaitFor,
};
use crate::error::{ErrorKind, Result};
use crate::job::{Job, JobSpec, JobStatus, OutputOptions};
use crate::node::Node;
use crate::stream::OutputKind;

/// Runs until it is killed.
pub(super) const SLEEP: [&str; 2] = ["sleep", "300"];

/// Says that it is ready, then does nothing until a signal that `traps` handle.
pub(super) fn waiting_script(traps: &str) -> String {
    format!("{traps}; echo ready; while true; do sleep 0.1; done")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Made {
    Container(String),
    Image(String),
    Network(String),
    Volume(String),
}

/// One clause being tried.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) fixture: Fixture,
    prefix: String,
    made: Mutex<Vec<Made>>,
}

/// What a finished job gave.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: JobStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) console: String,
}

impl Scene {
    pub(super) fn new(number: &str, fixture: &Fixture) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        let short = random.get(..10).unwrap_or_default();
        Scene {
            fixture: fixture.clone(),
            prefix: format!("cf-{}-{short}", number.to_ascii_lowercase()),
            made: Mutex::default(),
        }
    }

    pub(super) fn node(&self) -> &dyn Node {
        &*self.fixture.node
    }

    pub(super) fn has(&self, capability: Capability) -> bool {
        self.node().capabilities().has(capability)
    }

    /// Names are noted when they are made up, so that whatever comes to bear them is deleted at the end.
    fn note(&self, made: Made) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(made);
    }

    /// A name that no other test uses.
    pub(super) fn name(&self, rest: &str) -> String {
        let name = format!("{}-{rest}", self.prefix);
        self.note(Made::Container(name.clone()));
        name
    }

    /// A label key that no other test uses.
    pub(super) fn label(&self) -> String {
        format!("conformance.{}", self.prefix)
    }

    /// An image reference that no other test uses, spelt such that no engine adds to it.
    pub(super) fn image_name(&self, tag: &str) -> String {
        let reference = format!("localhost/{}:{tag}", self.prefix);
        self.made_image(&reference);
        reference
    }

    /// Has an image deleted at the end.
    pub(super) fn made_image(&self, reference: &str) {
        self.note(Made::Image(reference.to_owned()));
    }

    /// Short enough for engines whose networks are called as their bridges are: an interface's name has 15 characters.
    pub(super) fn network_name(&self, rest: &str) -> String {
        let short: String = self.prefix.chars().rev().take(6).collect();
        let name = format!("n{short}-{rest}");
        self.note(Made::Network(name.clone()));
        name
    }

    pub(super) fn volume_name(&self, rest: &str) -> String {
        let name = format!("{}-{rest}", self.prefix);
        self.note(Made::Volume(name.clone()));
        name
    }

    /// A container that runs until it is killed.
    pub(super) fn spec(&self, rest: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(&self.fixture.image).name(self.name(rest)).command(SLEEP);
        // Some engines grant it to jobs that are left when a container is deleted.
        spec.stop_timeout_seconds = Some(1);
        spec
    }

    /// A container that runs a shell script.
    pub(super) fn script(&self, rest: &str, script: &str) -> ContainerSpec {
        self.spec(rest).command(["sh", "-c", script])
    }

    pub(super) async fn create(&self, spec: &ContainerSpec) -> Check<Arc<dyn Container>> {
        let created = self.node().create_container(spec).await.during("create")?;
        ensure(!created.id.is_empty(), "the new container has no id")?;
        Ok(self.node().container(&created.id))
    }

    pub(super) async fn start(&self, spec: &ContainerSpec) -> Check<Arc<dyn Container>> {
        let container = self.create(spec).await?;
        container.start().await.during("start")?;
        Ok(container)
    }

    /// A container that was created and not started.
    pub(super) async fn created(&self, rest: &str) -> Check<Arc<dyn Container>> {
        self.create(&self.spec(rest)).await
    }

    /// A container that runs until it is killed.
    pub(super) async fn running(&self, rest: &str) -> Check<Arc<dyn Container>> {
        self.start(&self.spec(rest)).await
    }

    /// A container that ran and was stopped.
    pub(super) async fn stopped(&self, rest: &str) -> Check<Arc<dyn Container>> {
        let container = self.running(rest).await?;
        container.stop(&StopOptions::after_seconds(0)).await.during("stop")?;
        Ok(container)
    }

    /// A running container whose script has said that it is ready.
    pub(super) async fn ready(&self, rest: &str, traps: &str) -> Check<Arc<dyn Container>> {
        let container = self.start(&self.script(rest, &waiting_script(traps))).await?;
        self.logged(&*container, "ready").await?;
        Ok(container)
    }

    /// Waits until the container's output holds `wanted`.
    pub(super) async fn logged(&self, container: &dyn Container, wanted: &str) -> Check {
        eventually(&format!("{wanted:?} in the log"), || async {
            Ok(all_logs(container).await?.contains(wanted).then_some(()))
        })
        .await
    }

    /// Runs a script as main process to its end; gives exit code and output.
    pub(super) async fn result_of(&self, spec: &ContainerSpec) -> Check<(Option<i32>, String)> {
        let container = self.start(spec).await?;
        let code = ended(&*container).await?;
        Ok((code, all_logs(&*container).await?))
    }

    /// Fails unless a main process gave this exit code and this output.
    pub(super) async fn gives(&self, what: &str, spec: &ContainerSpec, code: i32, output: &str) -> Check {
        let (found, said) = self.result_of(spec).await?;
        equal(&format!("the output of {what}"), said.as_str(), output)?;
        self.exited(what, found, code)
    }

    /// Fails unless the exit code is the expected one. An engine that does not tell exit codes may leave it out, but may
    /// not tell another.
    pub(super) fn exited(&self, what: &str, found: Option<i32>, expected: i32) -> Check {
        if found.is_none() && !self.has(Capability::ExitCodes) {
            return Ok(());
        }
        equal(&format!("the exit code of {what}"), found, Some(expected))
    }

    /// Deletes what was made: containers first, since they use the rest.
    pub(super) async fn clean(&self) -> std::result::Result<(), String> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.reverse();
        made.sort_by_key(|made| !matches!(made, Made::Container(_)));
        let mut left = Vec::new();
        for thing in made {
            let deleted = match timeout(SOON, self.delete(&thing)).await {
                Ok(deleted) => deleted.map_err(|error| error.to_string()),
                Err(_) => Err(format!("not within {} s", SOON.as_secs())),
            };
            if let Err(error) = deleted {
                left.push(format!("{thing:?}: {error}"));
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    }

    async fn delete(&self, made: &Made) -> Result<()> {
        let node = self.node();
        let deleted = match made {
            Made::Container(name) => node.container(name).delete(&DeleteOptions::force()).await,
            Made::Image(reference) => node.delete_image(reference, true).await,
            Made::Network(name) => node.delete_network(name).await,
            Made::Volume(name) => node.delete_volume(name, true).await,
        };
        match deleted {
            // What needs a capability that is not there was not made, and what is not found is deleted.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    }
}

/// Waits until the main process has ended; gives its exit code, if told.
pub(super) async fn ended(container: &dyn Container) -> Check<Option<i32>> {
    match container.wait(WaitFor::Stopped, SOON).await {
        Ok(exit) => Ok(exit.exit_code),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            eventually("the end of the container", || async {
                let details = container.inspect().await?;
                Ok((details.summary.state == ContainerState::Stopped).then_some(details.exit_code))
            })
            .await
        }
        Err(error) => Err(error).during("wait"),
    }
}

/// The kept output, both streams together.
pub(super) async fn all_logs(container: &dyn Container) -> Check<String> {
    logs(container, &LogOptions::default(), None).await
}

/// The kept output of one stream, or of all.
pub(super) async fn logs(container: &dyn Container, options: &LogOptions, kind: Option<OutputKind>) -> Check<String> {
    let mut stream = container.logs(options).await.during("logs")?;
    let records = drain("logs", &mut stream).await?;
    let wanted = records.into_iter().filter(|record| kind.is_none_or(|kind| kind == record.kind));
    Ok(text(&wanted.map(|record| record.data).collect::<Vec<_>>().concat()))
}

/// The state, asked of the engine now.
pub(super) async fn details(container: &dyn Container) -> Check<ContainerDetails> {
    container.inspect().await.during("inspect")
}

/// Fails unless the container is in `state`.
pub(super) async fn in_state(container: &dyn Container, state: ContainerState) -> Check<ContainerDetails> {
    let details = details(container).await?;
    equal("the state", details.summary.state, state)?;
    Ok(details)
}

/// The output of a job that has ended, by stream.
pub(super) async fn finished(job: &dyn Job) -> Check<Finished> {
    let status = job.wait(SOON).await.during("job wait")?;
    let mut stream = job.output(OutputOptions::kept()).await.during("job output")?;
    let chunks = drain("job output", &mut stream).await?;
    let of = |kind| {
        text(
            &chunks.iter().filter(|chunk| chunk.kind == kind).map(|chunk| &chunk.data[..]).collect::<Vec<_>>().concat(),
        )
    };
    Ok(Finished {
        status,
        stdout: of(OutputKind::Stdout),
        stderr: of(OutputKind::Stderr),
        console: of(OutputKind::Console),
    })
}

/// Runs a shell script as a job to its end.
pub(super) async fn exec(container: &dyn Container, script: &str) -> Check<Finished> {
    let job = container.run(&JobSpec::new(["sh", "-c", script])).await.during("run a job")?;
    finished(&*job).await
}

/// The file `path` as the container has it.
pub(super) async fn read_file(container: &dyn Container, path: &str) -> Check<Vec<super::tar::File>> {
    let mut stream = container.copy_out(path).await.during("copy out")?;
    let bytes = drain_bytes("copy out", &mut stream).await?;
    super::tar::read(&bytes).map_err(Failure::Failed)
}

/// Puts files into the directory `path`.
pub(super) async fn put_files(container: &dyn Container, path: &str, files: &[super::tar::File]) -> Check {
    let archive = super::tar::stream_of(super::tar::write(files));
    container.copy_in(path, archive, &CopyInOptions::default()).await.during("copy in")
}

/// A wait that is too short for anything to happen in it.
pub(super) const MOMENT: Duration = Duration::from_millis(300);
