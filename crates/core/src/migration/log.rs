//! Where records of moves are kept.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::record::MoveRecord;
use crate::error::Result;

/// Keeps the records of moves. What `save` has acknowledged must survive the death of the process, if the moves shall.
#[async_trait]
pub trait MoveLog: Debug + Send + Sync {
    /// Keeps a record in place of the one with the same id.
    async fn save(&self, record: &MoveRecord) -> Result<()>;

    /// The record of the move with this id, if there is one.
    async fn load(&self, id: &str) -> Result<Option<MoveRecord>>;

    /// Every record, oldest first.
    async fn list(&self) -> Result<Vec<MoveRecord>>;

    /// Forgets a record; one that is not there is `Ok`.
    async fn remove(&self, id: &str) -> Result<()>;
}

/// Keeps records in memory: they are lost with the process.
#[derive(Debug, Default)]
pub struct MemoryLog {
    records: Mutex<BTreeMap<String, MoveRecord>>,
}

impl MemoryLog {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, MoveRecord>) -> T) -> T {
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sorts records oldest first.
pub(super) fn oldest_first(mut records: Vec<MoveRecord>) -> Vec<MoveRecord> {
    records.sort_by(|a, b| (a.created_at, a.id()).cmp(&(b.created_at, b.id())));
    records
}

#[async_trait]
impl MoveLog for MemoryLog {
    async fn save(&self, record: &MoveRecord) -> Result<()> {
        self.with(|records| records.insert(record.id().to_owned(), record.clone()));
        Ok(())
    }

    async fn load(&self, id: &str) -> Result<Option<MoveRecord>> {
        Ok(self.with(|records| records.get(id).cloned()))
    }

    async fn list(&self) -> Result<Vec<MoveRecord>> {
        Ok(oldest_first(self.with(|records| records.values().cloned().collect())))
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.with(|records| records.remove(id));
        Ok(())
    }
}
