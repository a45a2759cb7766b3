//! The records of moves in the store: each replaced as a whole, and kept before it is acknowledged.

use async_trait::async_trait;
use roadstead_core::migration::{MoveLog, MoveRecord};
use roadstead_core::store::Table;
use roadstead_core::{Error, ErrorKind, Result};

/// Keeps records by the id of the move.
#[derive(Clone, Debug)]
pub(crate) struct StoreLog(Table<MoveRecord>);

/// Nothing else is a move's id, nor the name of a record.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl StoreLog {
    pub(crate) fn new(table: Table<MoveRecord>) -> Self {
        StoreLog(table)
    }
}

#[async_trait]
impl MoveLog for StoreLog {
    async fn save(&self, record: &MoveRecord) -> Result<()> {
        if !is_id(record.id()) {
            return Err(Error::new(ErrorKind::Unexpected, "a move has an id that is none"));
        }
        self.0.put(record.id(), record).await.map(drop)
    }

    async fn load(&self, id: &str) -> Result<Option<MoveRecord>> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.0.get(id).await?.map(|kept| kept.value))
    }

    async fn list(&self) -> Result<Vec<MoveRecord>> {
        let (all, _) = self.0.all().await?;
        let mut records = Vec::with_capacity(all.len());
        for (_, record) in all {
            match record {
                Ok(record) => records.push(record.value),
                // One that is damaged must not hide the others; it stays for a person to look at.
                Err(error) => tracing::error!(%error, "the record of a move is left out"),
            }
        }
        records.sort_by(|a, b| (a.created_at, a.id()).cmp(&(b.created_at, b.id())));
        Ok(records)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        if is_id(id) { self.0.remove(id).await } else { Ok(()) }
    }
}
