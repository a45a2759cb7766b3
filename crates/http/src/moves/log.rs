//! The records of moves in the store: each replaced as a whole, and kept before it is acknowledged.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::migration::{MoveLog, MoveRecord};
use roadstead_core::store::{Claim, Store, Table, TableChange, Transaction};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};

/// Keeps records by the id of the move.
#[derive(Clone, Debug)]
pub(crate) struct StoreLog {
    table: Table<MoveRecord>,
    store: Arc<dyn Store>,
    /// Without it nothing is written any more.
    claim: Option<Claim>,
}

/// Nothing else is a move's id, nor the name of a record.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl StoreLog {
    pub(crate) fn new(store: Arc<dyn Store>, table: Table<MoveRecord>) -> Self {
        StoreLog { table, store, claim: None }
    }

    /// The same for one who works at a move: it writes only as long as the claim holds.
    pub(super) fn under(&self, claim: Claim) -> Self {
        StoreLog { claim: Some(claim), ..self.clone() }
    }

    /// Tells of records that are written after now.
    pub(super) async fn written(&self) -> Result<ItemStream<TableChange<MoveRecord>>> {
        self.table.watch(self.store.revision().await?).await
    }
}

#[async_trait]
impl MoveLog for StoreLog {
    async fn save(&self, record: &MoveRecord) -> Result<()> {
        if !is_id(record.id()) {
            return Err(Error::new(ErrorKind::Unexpected, "a move has an id that is none"));
        }
        let mut save = Transaction::new().put(self.table.key(record.id())?, self.table.encode(record)?);
        if let Some(claim) = &self.claim {
            save = save.when(claim.guard());
        }
        self.store.commit(&save).await.map(drop).map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::new(ErrorKind::Cancelled, "another server works at the migration by now"),
            _ => error,
        })
    }

    async fn load(&self, id: &str) -> Result<Option<MoveRecord>> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.table.get(id).await?.map(|kept| kept.value))
    }

    async fn list(&self) -> Result<Vec<MoveRecord>> {
        let (all, _) = self.table.all().await?;
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
        if is_id(id) { self.table.remove(id).await } else { Ok(()) }
    }
}
