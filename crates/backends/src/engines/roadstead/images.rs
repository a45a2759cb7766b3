//! Images of the node. A pull is a job of the server: its output is the progress, and dropping the stream gives it up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{
    ByteStream, Error, ErrorKind, ImageDetails, ImageProgress, ImageSummary, ImportOptions, ItemStream, Job, JobState,
    JobStatus, OutputChunk, OutputKind, OutputOptions, PullOptions, Result, Signal, names,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::job::RemoteJob;
use super::lists;
use super::problem;
use super::request::{Request, SLOW_DEADLINE};
use super::shared::Remote;
use super::wire;

/// After the end of its output a pull has ended; so long it may take until that is told.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// I1.
pub(super) async fn list_images(remote: &Remote) -> Result<Vec<ImageSummary>> {
    lists::items(remote, &["images"], |request| request).await
}

/// I2.
pub(super) async fn inspect_image(remote: &Remote, reference: &str) -> Result<ImageDetails> {
    names::image_reference("reference", reference)?;
    let told: Value = Request::get(&remote.path(&["image"])).query("reference", reference).json(remote).await?;
    wire::item(remote, told)
}

/// I3, I4.
pub(super) async fn pull_image(remote: &Arc<Remote>, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
    options.validate()?;
    let credentials = options.credentials.as_ref();
    let credentials = credentials.map(|given| json!({"username": given.username, "password": given.password.expose()}));
    let body = json!({"reference": options.reference, "platform": options.platform, "credentials": credentials});
    let told: Value = Request::post(&remote.path(&["images", "pull"])).body(&body).json(remote).await?;
    let pull = Pull { job: Arc::new(RemoteJob::new(remote, wire::job(remote, told)?)), over: false };
    let chunks = pull.job.output(OutputOptions::follow()).await?;
    let reading = Reading { remote: Arc::clone(remote), pull, chunks, failure: Vec::new() };
    Ok(stream::unfold(Some(reading), Reading::next).fuse().boxed())
}

/// A pull on the server. Dropping it before its end gives it up.
struct Pull {
    job: Arc<RemoteJob>,
    over: bool,
}

impl Drop for Pull {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let job = Arc::clone(&self.job);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = job.kill(Signal::KILL).await {
                    tracing::debug!(%error, "a pull that was given up goes on");
                }
            });
        }
    }
}

struct Reading {
    remote: Arc<Remote>,
    pull: Pull,
    chunks: ItemStream<OutputChunk>,
    /// What the job said of its failure: a problem document.
    failure: Vec<u8>,
}

impl Reading {
    async fn next(mut this: Option<Self>) -> Option<(Result<ImageProgress>, Option<Self>)> {
        let mut reading = this.take()?;
        loop {
            match reading.chunks.next().await {
                Some(Ok(chunk)) if chunk.kind == OutputKind::Stderr => {
                    if reading.failure.len() + chunk.data.len() <= 64 * 1024 {
                        reading.failure.extend_from_slice(&chunk.data);
                    }
                }
                // Progress in words that are not known is no progress to speak of.
                Some(Ok(chunk)) => {
                    if let Ok(progress) = serde_json::from_slice::<ImageProgress>(&chunk.data) {
                        return Some((Ok(progress), Some(reading)));
                    }
                }
                Some(Err(error)) => return Some((Err(reading.named(error)), None)),
                None => {
                    let ended = reading.pull.job.wait(END_DEADLINE).await;
                    reading.pull.over = true;
                    let error = ended.map_or_else(Some, |status| reading.outcome(&status))?;
                    return Some((Err(reading.named(error)), None));
                }
            }
        }
    }

    fn outcome(&self, status: &JobStatus) -> Option<Error> {
        match status.state {
            JobState::Succeeded => None,
            JobState::Killed | JobState::TimedOut => {
                Some(Error::new(ErrorKind::Cancelled, "the pull was ended on the server"))
            }
            _ => Some(match serde_json::from_slice::<Value>(&self.failure) {
                Ok(document) => problem::from_document(500, &document),
                Err(_) => Error::new(ErrorKind::Unexpected, "the pull failed, and the server does not say why"),
            }),
        }
    }

    fn named(&self, error: Error) -> Error {
        error.with_operation("image.pull").with_node(&self.remote.name)
    }
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

/// I5, I6.
pub(super) async fn import_image(remote: &Remote, archive: ByteStream, options: &ImportOptions) -> Result<String> {
    options.validate()?;
    let mut request = Request::post(&remote.path(&["images", "import"]))
        .query("reference", &options.reference)
        .query_some("message", options.message.as_deref());
    for word in &options.command {
        request = request.query("command", word);
    }
    request.archive(archive).json::<Created>(remote).await.map(|created| created.id)
}

#[derive(Deserialize)]
struct Loaded {
    references: Vec<String>,
}

/// I7.
pub(super) async fn load_images(remote: &Remote, archive: ByteStream) -> Result<Vec<String>> {
    let request = Request::post(&remote.path(&["images", "load"])).archive(archive);
    request.json::<Loaded>(remote).await.map(|loaded| loaded.references)
}

pub(super) async fn save_images(remote: &Remote, references: &[String]) -> Result<ByteStream> {
    let mut request = Request::get(&remote.path(&["images", "save"])).within(SLOW_DEADLINE);
    for reference in references {
        names::image_reference("reference", reference)?;
        request = request.query("reference", reference);
    }
    request.bytes(remote).await
}

/// I8.
pub(super) async fn tag_image(remote: &Remote, reference: &str, new_reference: &str) -> Result<()> {
    names::image_reference("reference", reference)?;
    names::image_reference("new_reference", new_reference)?;
    let body = json!({"reference": reference, "new_reference": new_reference});
    Request::post(&remote.path(&["images", "tag"])).body(&body).done(remote).await
}

/// I9, I10.
pub(super) async fn delete_image(remote: &Remote, reference: &str, force: bool) -> Result<()> {
    names::image_reference("reference", reference)?;
    let request = Request::delete(&remote.path(&["image"])).query("reference", reference).flag("force", force);
    request.done(remote).await
}
