//! Files out of and into a container as tar streams, by the agent's own calls; no tar is needed inside.
//!
//! What the agent tells of a file is its name, size, permission bits and whether it is a directory: neither owners nor times,
//! set-id bits, or links. So owners are root's and times none in what comes out; where links lead is asked of the
//! container's shell ([`links`]), and where there is none, what they lead to comes out in their place.

mod links;
mod pack;
mod unpack;

use std::sync::Arc;

use roadstead_core::{ByteStream, CopyInOptions, Error, ErrorKind, Result, names};

use super::commands::Commands;
use super::commands::filesystem::Entry;
use super::found;
use super::shared::Core0;

/// The most that one call carries.
const BLOCK: usize = 512 * 1024;

/// C130, C131.
pub(super) async fn copy_out(core0: &Arc<Core0>, id: &str, path: &str) -> Result<ByteStream> {
    names::absolute_path("path", path)?;
    let found = found::one(core0, id).await?;
    pack::pack(core0.inside(found.container.id), path).await
}

/// C132, C133.
pub(super) async fn copy_in(
    core0: &Arc<Core0>,
    id: &str,
    path: &str,
    archive: ByteStream,
    options: &CopyInOptions,
) -> Result<()> {
    names::absolute_path("path", path)?;
    let found = found::one(core0, id).await?;
    unpack::unpack(core0.inside(found.container.id), path, archive, options).await
}

/// A path without what says nothing, and its last part; the last part is empty for the root.
fn split(path: &str) -> (String, String) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts.split_last() {
        Some((name, parents)) => (format!("/{}", parents.join("/")), (*name).to_owned()),
        None => ("/".to_owned(), String::new()),
    }
}

fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}

/// What there is at `path`; nothing when there is nothing, or something on the way is no directory.
async fn look(inside: &Commands, path: &str) -> Result<Option<Entry>> {
    let (parent, name) = split(path);
    if name.is_empty() {
        let mut root = Entry::default();
        (root.is_directory, root.mode) = (true, 0o755);
        return Ok(Some(root));
    }
    Ok(list(inside, &parent).await?.into_iter().flatten().find(|entry| entry.name == name))
}

/// What a directory holds; nothing when there is none.
async fn list(inside: &Commands, path: &str) -> Result<Option<Vec<Entry>>> {
    match inside.filesystem().list(path).await {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is no such file, or none of the kind.
fn is_missing(error: &Error) -> bool {
    let message = error.message();
    let no_directory = message.contains("not a directory") || message.contains("is a directory");
    let no_file = error.kind() == ErrorKind::NotFound && message.contains("no such file or directory");
    no_file || no_directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_parents() {
        let parts = |path: &str| split(path);
        assert_eq!(parts("/"), ("/".to_owned(), String::new()));
        assert_eq!(parts("/bin/"), ("/".to_owned(), "bin".to_owned()));
        assert_eq!(parts("//usr/./bin//x"), ("/usr/bin".to_owned(), "x".to_owned()));
        assert_eq!((join("/", "x"), join("/a", "x")), ("/x".to_owned(), "/a/x".to_owned()));
    }
}
