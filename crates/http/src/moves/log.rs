//! The records of moves in the state directory: one file per move, replaced as a whole, on the disk before it is acknowledged.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use roadstead_core::migration::{MoveLog, MoveRecord};
use roadstead_core::{Error, ErrorKind, Result};

use crate::state_dir::StateDir;

/// Keeps records as files named by the id of the move.
#[derive(Clone, Debug)]
pub(crate) struct FileLog(StateDir);

/// The name of a record's file; none for what is no id, which could lead anywhere.
fn name_of(id: &str) -> Option<String> {
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| format!("{id}.json"))
}

impl FileLog {
    pub(crate) fn new(state: StateDir) -> Self {
        FileLog(state)
    }

    /// Runs work on files where it may block.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce(StateDir) -> Result<T> + Send + 'static) -> Result<T> {
        let state = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(state)).await;
        done.unwrap_or_else(|error| Err(Error::new(ErrorKind::Unexpected, format!("the log failed: {error}"))))
    }
}

fn read(path: &Path) -> Result<Option<MoveRecord>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let why = format!("cannot read {}: {error}", path.display());
            return Err(Error::new(ErrorKind::Unexpected, why).with_source(error));
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("{} is not usable: {error}", path.display())))
}

#[async_trait]
impl MoveLog for FileLog {
    async fn save(&self, record: &MoveRecord) -> Result<()> {
        let unnamed = || Error::new(ErrorKind::Unexpected, "a move has an id that is none");
        let name = name_of(record.id()).ok_or_else(unnamed)?;
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::new(ErrorKind::Unexpected, format!("a record cannot be written: {error}")))?;
        self.work(move |state| state.write_move(&name, &text)).await
    }

    async fn load(&self, id: &str) -> Result<Option<MoveRecord>> {
        let Some(name) = name_of(id) else { return Ok(None) };
        self.work(move |state| read(&state.moves_path().join(name))).await
    }

    async fn list(&self) -> Result<Vec<MoveRecord>> {
        self.work(|state| {
            let mut records = Vec::new();
            for path in state.move_files()? {
                match read(&path) {
                    Ok(record) => records.extend(record),
                    // One damaged file must not hide the others; it stays for a person to look at.
                    Err(error) => tracing::error!(%error, "the record of a move is left out"),
                }
            }
            records.sort_by(|a, b| (a.created_at, a.id()).cmp(&(b.created_at, b.id())));
            Ok(records)
        })
        .await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let Some(name) = name_of(id) else { return Ok(()) };
        self.work(move |state| state.remove_move(&name)).await
    }
}
