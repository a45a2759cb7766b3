//! An archive that is saved: into a file beside, which takes the place of the other one when all of it is written.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roadstead_core::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt;

use crate::archives::{Raw, Taking, length};
use crate::give::Plain;

/// How many files were begun: each has a name of its own.
static SAVES: AtomicU64 = AtomicU64::new(0);

/// Everything that is left of an archive, as a file that is whole or not there.
pub(crate) async fn save(raw: Arc<Raw>, path: PathBuf) -> Result<Plain<u64>> {
    let failed = |cause: std::io::Error| {
        use std::io::ErrorKind as Cause;

        let words = format!("{} cannot be written: {cause}", path.display());
        let is_path = matches!(
            cause.kind(),
            Cause::InvalidFilename
                | Cause::InvalidInput
                | Cause::IsADirectory
                | Cause::NotADirectory
                | Cause::NotFound
                | Cause::PermissionDenied
                | Cause::ReadOnlyFilesystem
        );
        let error = if is_path { Error::invalid("path", words) } else { Error::new(ErrorKind::Unexpected, words) };
        error.with_source(cause)
    };
    let name = path.file_name().ok_or_else(|| Error::invalid("path", "names no file"))?.to_owned();
    let mut taking = Taking::of(raw).await;
    let target = path.clone();
    // Whoever is given up meanwhile leaves no file either.
    let made = tokio::task::spawn_blocking(move || beside(&target, &name));
    let made = made.await.map_err(std::io::Error::other).and_then(|made| made);
    let (file, mut left) = made.map_err(failed)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut count = 0_u64;
    while let Some(piece) = taking.next().await? {
        file.write_all(&piece).await.map_err(failed)?;
        count += length(&piece);
    }
    // It was taken, but is not there yet.
    taking.has_begun = true;
    // Only this tells of what was written last.
    file.flush().await.map_err(failed)?;
    file.sync_all().await.map_err(failed)?;
    if let Some(beside) = &left.0 {
        tokio::fs::rename(beside, &path).await.map_err(failed)?;
    }
    (left.0, taking.has_begun) = (None, false);
    Ok(Plain(count))
}

/// A new file beside `path`, of its own whoever else saves there, and whatever somebody left there who was killed.
fn beside(path: &Path, name: &OsStr) -> std::io::Result<(std::fs::File, Beside)> {
    loop {
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}.{}.part", std::process::id(), SAVES.fetch_add(1, Ordering::Relaxed)));
        let beside = path.with_file_name(beside);
        match std::fs::File::create_new(&beside) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return Ok((made?, Beside(Some(beside)))),
        }
    }
}

/// A file that goes unless it was moved.
struct Beside(Option<PathBuf>);

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}
