//! A container's files: the whole of them, parts of them in and out, and as an image.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ByteStream, CommitOptions, CopyInOptions, Error, ErrorKind, Result, names};
use serde::Deserialize;

use super::client::Client;
use super::facts::Facts;
use super::reference::{Reference, full_id};
use super::request::Request;
use crate::archive::Upload;
use crate::flow::{PAUSE_MAX, flowing};

/// An archive may be so long on its way to the engine.
pub(super) const UPLOAD_DEADLINE: Duration = Duration::from_secs(3600);
/// Reading a whole file system may take so long before anything is known.
const COMMIT_DEADLINE: Duration = Duration::from_secs(1800);

/// The whole file system.
pub(super) async fn export(client: &Arc<Client>, id: &str) -> Result<ByteStream> {
    let archive = Request::get(&format!("/containers/{id}/export")).stream(client).await?;
    Ok(flowing(PAUSE_MAX, archive))
}

/// A file or directory.
pub(super) async fn copy_out(client: &Arc<Client>, id: &str, path: &str) -> Result<ByteStream> {
    names::absolute_path("path", path)?;
    let archive = Request::get(&format!("/containers/{id}/archive")).query("path", path).stream(client).await?;
    Ok(flowing(PAUSE_MAX, archive))
}

/// Unpacks an archive into an existing directory.
pub(super) async fn copy_in(
    client: &Arc<Client>,
    id: &str,
    path: &str,
    archive: ByteStream,
    options: &CopyInOptions,
) -> Result<()> {
    names::absolute_path("path", path)?;
    // Before the archive is read: engines answer a long upload to nowhere by breaking the connection, and Podman of old
    // makes the directory.
    let there = Request::head(&format!("/containers/{id}/archive")).query("path", path).done(client).await;
    if let Err(error) = there {
        if error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        Facts::of(client, id).await?;
        return Err(Error::new(ErrorKind::NotFound, format!("no such directory in the container: {path}")));
    }
    let (body, verdict) = Upload::begin(archive).await?.split();
    let mut request = Request::put(&format!("/containers/{id}/archive")).query("path", path);
    if options.no_overwrite_dir_with_file {
        request = request.flag("noOverwriteDirNonDir", true);
    }
    // Owners are the archive's, whether `keep_owner` is set or not: the engines' `copyUIDGID` does not keep them, as its
    // name says, but gives the files to the container's user.
    verdict.on(request.archive(body).within(UPLOAD_DEADLINE).done(client).await).map_err(|error| {
        // Podman only hears the pipe break to a process that refused the path.
        if ["not a directory", "broken pipe"].iter().any(|words| error.message().contains(words)) {
            Error::invalid("path", format!("{path} is not a directory")).with_source(error)
        } else {
            about_the_archive(error)
        }
    })
}

/// Engines answer an archive that they cannot read as if they had failed themselves.
pub(super) fn about_the_archive(error: Error) -> Error {
    const WORDS: [&str; 17] = [
        "Error processing tar file",
        "reading tar stream",
        "invalid tar header",
        "archive/tar",
        "unexpected EOF",
        "gzip: invalid",
        "bzip2 data invalid",
        "xz:",
        "invalid header",
        "exit status",
        "manifest.json",
        "/repositories: no such file",
        "/docker-import-",
        "passing bulk input to subprocess",
        "does not match any of the supported image formats",
        "unrecognized image format",
        "invalid archive",
    ];
    let message = error.message();
    let about = error.kind() == ErrorKind::Unexpected && WORDS.iter().any(|word| message.contains(word));
    if about {
        Error::invalid("archive", format!("the engine cannot read it: {message}")).with_source(error)
    } else {
        error
    }
}

#[derive(Deserialize)]
struct Committed {
    #[serde(alias = "Id", alias = "ID")]
    id: String,
}

/// Makes an image of the file system.
pub(super) async fn commit(client: &Arc<Client>, id: &str, options: &CommitOptions) -> Result<String> {
    options.validate()?;
    let image = Reference::parse(&options.image);
    let committed: Committed = Request::post("/commit")
        .query("container", id)
        .query("repo", image.repository)
        .query("tag", image.tag_or_latest())
        .query_some("comment", options.message.as_deref())
        .query_some("author", options.author.as_deref())
        .flag("pause", options.freeze.unwrap_or(true))
        // Changes of the configuration: none. Podman wants to be told.
        .body(&serde_json::json!({}))
        .within(COMMIT_DEADLINE)
        .json(client)
        .await?;
    Ok(full_id(&committed.id))
}
