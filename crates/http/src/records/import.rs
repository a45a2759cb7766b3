//! What versions before the store kept in files of the state directory: nodes in `nodes.json`, moves in one file each below `moves`.
//!
//! They are taken in at the start, and the files are deleted once the store has acknowledged what was in them: the URI of a node may
//! hold a password, which is not to stay readable beside a sealed store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use roadstead_core::migration::{MoveLog, MoveRecord};
use roadstead_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::Records;
use crate::extract::without_values;
use crate::nodes::StoredNode;
use crate::state_dir::StateDir;

/// Version of the schema of `nodes.json`.
const NODES_VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesFile {
    #[expect(dead_code, reason = "it was looked at before")]
    version: u32,
    nodes: Vec<StoredNode>,
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} {}: {error}", path.display())).with_source(error)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

fn delete(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|error| failed("delete", path, error))
}

fn nodes_path(state_dir: &StateDir) -> PathBuf {
    state_dir.path().join("nodes.json")
}

/// The nodes of `nodes.json`; none when there is no such file any more.
///
/// # Errors
/// When the file cannot be read, makes no sense, or is of a newer version.
pub(super) fn nodes(state_dir: &StateDir) -> Result<Vec<StoredNode>> {
    let path = nodes_path(state_dir);
    let Some(text) = read(&path)? else { return Ok(Vec::new()) };
    let refuse =
        |reason: String| Error::new(ErrorKind::InvalidInput, format!("{} is not usable: {reason}", path.display()));
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    // A URI may hold a password: what serde says is told without values.
    let unusable = |error: serde_json::Error| refuse(without_values(&error.to_string()));
    let version: Version = serde_json::from_slice(&text).map_err(unusable)?;
    if version.version != NODES_VERSION {
        return Err(refuse(format!("it has version {}, this server knows {NODES_VERSION}", version.version)));
    }
    let file: NodesFile = serde_json::from_slice(&text).map_err(unusable)?;
    Ok(file.nodes)
}

/// The files of moves. What a crash left half written begins with a dot.
fn moves(state_dir: &StateDir) -> Result<Vec<PathBuf>> {
    let directory = state_dir.path().join("moves");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", &directory, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed("read", &directory, error))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Takes all of it in. After a crash in the middle it is done again, with the same outcome.
///
/// # Errors
/// When a file cannot be used or the store does not take it; what was not taken in is still in its file.
pub(super) async fn files(records: &Records, state_dir: &StateDir) -> Result<()> {
    let table = records.nodes()?;
    let found = nodes(state_dir)?;
    for node in &found {
        table.put(&node.name, node).await?;
    }
    let path = nodes_path(state_dir);
    if path.try_exists().map_err(|error| failed("read", &path, error))? {
        delete(&path)?;
        tracing::info!(nodes = found.len(), "nodes.json was taken into the store");
    }
    let log = records.moves()?;
    for path in moves(state_dir)? {
        let Some(text) = read(&path)? else { continue };
        match serde_json::from_slice::<MoveRecord>(&text) {
            Ok(record) => {
                log.save(&record).await?;
                delete(&path)?;
            }
            // One damaged file must not hide the others; it stays for a person to look at.
            Err(error) => tracing::error!(file = %path.display(), %error, "the record of a move is left out"),
        }
    }
    Ok(())
}
