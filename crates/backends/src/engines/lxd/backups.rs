//! Backups: a whole container as one archive, and a container made from one. Volumes have backups of the same kind.
//!
//! A server puts a backup together on its own disk before it sends it; here it exists only while it is being read, and the
//! server is told to delete it after a day in case nobody can ask for that any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{
    BackupOptions, ByteStream, CreatedContainer, Error, ErrorKind, RestoreOptions, Result, Retry, Timestamp, names,
};
use serde_json::{Value, json};

use super::apart::set_apart;
use super::client::Client;
use super::request::Request;
use super::shared::Lxd;
use crate::archive::Upload;
use crate::flow::{PAUSE_MAX, flowing};

/// Writing or reading a whole container may take so long.
const BACKUP_DEADLINE: Duration = Duration::from_secs(3600);
/// Time until a backup that is there begins to be sent.
const EXPORT_DEADLINE: Duration = Duration::from_secs(120);
/// What is left of a backup after a crash of ours the server deletes after so many seconds.
const LEFT_SECONDS: i64 = 24 * 3600;

/// A backup on the server, of a container or of a volume. It is deleted when this goes.
pub(super) struct Temporary {
    client: Client,
    /// What it is of, and itself, as segments below `/1.0`.
    path: Vec<String>,
    /// The member of a cluster that has it, where that must be said.
    member: Option<String>,
}

impl Temporary {
    /// Has the server make a portable backup of what is at `path`, and waits for it. `options` are what else is asked for.
    pub(super) async fn make(client: &Client, path: &[&str], member: Option<&str>, options: Value) -> Result<Self> {
        let name = format!("roadstead-{:032x}", unique());
        let mut body = json!({
            "name": name,
            // An optimised one can only be read by a pool with the same driver.
            "optimized_storage": false,
            "compression_algorithm": "none",
        });
        let expires = Timestamp::from_unix_seconds(Timestamp::now().unix_seconds() + LEFT_SECONDS);
        if let (Some(members), Value::Object(options)) = (body.as_object_mut(), options) {
            members.extend(options);
            members.extend(expires.map(|time| ("expires_at".to_owned(), json!(time))));
        }
        let backups = [path, &["backups"]].concat();
        let path = backups.iter().copied().map(str::to_owned).chain([name]).collect();
        let temporary = Temporary { client: client.clone(), path, member: member.map(str::to_owned) };
        let request = Request::post(&backups).query_some("target", member).body(&body);
        let mut operation = request.start(client).await?;
        operation.cancel_when_dropped();
        operation.wait(BACKUP_DEADLINE).await?;
        Ok(temporary)
    }

    fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// Its content.
    pub(super) async fn read(&self) -> Result<ByteStream> {
        let path = [self.segments().as_slice(), &["export"]].concat();
        let request = Request::get(&path).query_some("target", self.member.as_deref()).within(EXPORT_DEADLINE);
        Ok(flowing(PAUSE_MAX, request.raw(&self.client).await?.body()))
    }

    /// Deletes it, and returns when it is gone.
    pub(super) async fn delete(mut self) {
        self.remove().await;
        self.path.clear();
    }

    async fn remove(&self) {
        let request = Request::delete(&self.segments()).query_some("target", self.member.as_deref());
        match request.finish(&self.client, BACKUP_DEADLINE).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, backup = self.path.join("/"), "a backup stays on the server for a day");
            }
            _ => {}
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.path.is_empty() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, path, member) = (self.client.clone(), std::mem::take(&mut self.path), self.member.take());
        runtime.spawn(async move { Temporary { client, path, member }.delete().await });
    }
}

/// B1, B2.
pub(super) async fn backup(lxd: &Arc<Lxd>, id: &str, options: &BackupOptions) -> Result<ByteStream> {
    names::existing("id", id)?;
    let options = json!({"instance_only": !options.snapshots});
    let temporary = Temporary::make(&lxd.client, &["instances", id], None, options).await?;
    let archive = temporary.read().await?;
    let kept = stream::unfold(Some((archive, temporary)), |state| async {
        let (mut archive, temporary) = state?;
        match archive.next().await {
            Some(Ok(piece)) => Some((Ok(piece), Some((archive, temporary)))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Ok(kept.boxed())
}

/// A number that nobody else has: two hashes with the random keys of this process.
fn unique() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(std::time::Instant::now()));
    half() << 64 | half()
}

/// B10–B13.
pub(super) async fn restore_container(
    lxd: &Arc<Lxd>,
    archive: ByteStream,
    options: &RestoreOptions,
) -> Result<CreatedContainer> {
    options.validate()?;
    if let Some(name) = &options.name {
        // Told before the whole archive is sent; the server says it again if somebody takes the name meanwhile.
        match Request::get(&["instances", name]).json::<Value>(&lxd.client).await {
            Ok(_) => {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a container {name} already")));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let (body, verdict) = Upload::begin(archive).await?.split();
    let mut request = Request::post(&["instances"]).query_some("target", lxd.member.as_deref()).stream_body(body);
    if let Some(name) = &options.name {
        request = request.tell("name", name);
    }
    let restored = request.within(BACKUP_DEADLINE).finish(&lxd.client, BACKUP_DEADLINE).await;
    // A server keeps nothing of what did not arrive whole.
    let restored = verdict.on(restored).map_err(about_the_archive)?;
    let name = restored.resource("instances").or(options.name.as_deref()).unwrap_or_default().to_owned();
    let mut created = CreatedContainer::default();
    created.id.clone_from(&name);
    created.name.clone_from(&name);
    match set_apart(lxd, &name).await {
        Ok(told) => created.warnings = told,
        Err(error) => created.warnings.push(format!("it may share addresses with its original: {error}")),
    }
    Ok(created)
}

/// The server's words about what is no backup.
fn about_the_archive(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let at_fault = [
        "unsupported compression",
        "index.yaml",
        "backup.yaml",
        "unexpected eof",
        "unpack",
        "yaml:",
        "invalid backup",
        "error is not recoverable",
    ];
    if matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::InvalidInput | ErrorKind::NotFound)
        && at_fault.iter().any(|words| message.contains(words))
    {
        let text = format!("is no backup: {}", error.message());
        return Error::invalid("archive", text).with_retry(Retry::Never).with_source(error);
    }
    if error.kind() == ErrorKind::InvalidInput { error.with_retry(Retry::Never) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_the_archive_are_about_the_input() {
        for (kind, words, expected) in [
            (ErrorKind::Unexpected, "Unsupported compression", ErrorKind::InvalidInput),
            (ErrorKind::InvalidInput, "Backup is missing index.yaml", ErrorKind::InvalidInput),
            (
                ErrorKind::Unexpected,
                "Create instance from backup: Error starting unpack: tar: Unexpected EOF in archive",
                ErrorKind::InvalidInput,
            ),
            (ErrorKind::AlreadyExists, "Cannot restore volume, already exists on target", ErrorKind::AlreadyExists),
            (
                ErrorKind::ResourceExhausted,
                "Error starting unpack: No space left on device",
                ErrorKind::ResourceExhausted,
            ),
        ] {
            assert_eq!(about_the_archive(Error::new(kind, words)).kind(), expected, "{words}");
        }
        assert_ne!(unique(), unique());
    }
}
