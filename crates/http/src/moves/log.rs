//! The records of moves in the store: each replaced as a whole, and kept before it is acknowledged.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::migration::{MoveLog, MoveRecord};
use roadstead_core::store::{Claim, Kept, Prefix, Store, Table, TableChange, Transaction};
use roadstead_core::{Error, ErrorKind, ItemStream, Result};
use serde::{Deserialize, Serialize};

use crate::nodes::Identities;
use crate::wish::Wish;

/// A move as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptMove {
    #[serde(flatten)]
    pub(super) record: MoveRecord,
    /// Which engines its nodes were where it was asked for: it is worked at only where they are the same.
    #[serde(default, skip_serializing_if = "Identities::is_empty")]
    pub(super) meant: Identities,
    /// Whether somebody works at it. It stays when he dies, and then another one goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_worked_at: bool,
}

/// Keeps records by the id of the move.
#[derive(Clone, Debug)]
pub(crate) struct StoreLog {
    table: Table<KeptMove>,
    /// Below which there is what else belongs to one, by its id.
    parts: Prefix,
    store: Arc<dyn Store>,
    /// Without it nothing is written any more.
    claim: Option<Claim>,
    /// Written with each record.
    meant: Identities,
    is_worked_at: bool,
}

/// Nothing else is a move's id, nor the name of a record.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl StoreLog {
    pub(crate) fn new(store: Arc<dyn Store>, table: Table<KeptMove>, parts: Prefix) -> Self {
        StoreLog { table, parts, store, claim: None, meant: Identities::new(), is_worked_at: false }
    }

    /// The same for one who works at a move of these nodes: it writes only as long as the claim holds.
    pub(super) fn under(&self, claim: Claim, meant: Identities) -> Self {
        StoreLog { claim: Some(claim), meant, is_worked_at: true, ..self.clone() }
    }

    /// The same for what is written last.
    pub(super) fn done(&self) -> Self {
        StoreLog { is_worked_at: false, ..self.clone() }
    }

    /// Nobody works at a move any more: whoever did has come as far as he could.
    pub(super) async fn rest(&self, id: &str) -> Result<()> {
        match self.kept(id).await? {
            Some(kept) if kept.is_worked_at => self.done().save(&kept.record).await,
            _ => Ok(()),
        }
    }

    /// What is kept of a move.
    pub(super) async fn kept(&self, id: &str) -> Result<Option<KeptMove>> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.table.get(id).await?.map(|kept| kept.value))
    }

    /// The wish that a move is called off.
    pub(super) fn wish(&self, id: &str) -> Result<Wish<()>> {
        Wish::to_end(&self.store, Prefix::new(format!("{}{id}/", self.parts.as_str()))?)
    }

    /// Tells of records that are written after now.
    pub(super) async fn written(&self) -> Result<ItemStream<TableChange<KeptMove>>> {
        self.table.watch(self.store.revision().await?).await
    }
}

#[async_trait]
impl MoveLog for StoreLog {
    async fn save(&self, record: &MoveRecord) -> Result<()> {
        if !is_id(record.id()) {
            return Err(Error::new(ErrorKind::Unexpected, "a move has an id that is none"));
        }
        let kept = KeptMove { record: record.clone(), meant: self.meant.clone(), is_worked_at: self.is_worked_at };
        let mut save = Transaction::new().put(self.table.key(record.id())?, self.table.encode(&kept)?);
        if let Some(claim) = &self.claim {
            save = save.when(claim.guard());
        }
        self.store.commit(&save).await.map(drop).map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::new(ErrorKind::Cancelled, "another server works at the migration by now"),
            _ => error,
        })
    }

    async fn load(&self, id: &str) -> Result<Option<MoveRecord>> {
        Ok(self.kept(id).await?.map(|kept| kept.record))
    }

    async fn list(&self) -> Result<Vec<MoveRecord>> {
        let (all, _) = self.table.all().await?;
        let mut records = Vec::with_capacity(all.len());
        for (_, record) in all {
            match record {
                Ok(Kept { value, .. }) => records.push(value.record),
                // One that is damaged must not hide the others; it stays for a person to look at.
                Err(error) => tracing::error!(%error, "the record of a move is left out"),
            }
        }
        records.sort_by(|a, b| (a.created_at, a.id()).cmp(&(b.created_at, b.id())));
        Ok(records)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        if !is_id(id) {
            return Ok(());
        }
        let gone = Transaction::new().delete(self.table.key(id)?).delete(self.wish(id)?.key().clone());
        self.store.commit(&gone).await.map(drop)
    }
}
