//! The store of several machines: etcd, version 3, from 3.4 on.
//!
//! Several servers that open the same etcd with the same prefix share what it keeps. Revisions and leases are etcd's own, and all that
//! is read is what the majority of its members agrees on. It is spoken with through its JSON gateway, which is part of it, and on
//! unless it is switched off (`--enable-grpc-gateway=false`).
//!
//! # When members fail
//!
//! A call goes to the member that answered last, and to the next one when that is gone, silent, or cut off from the others; it fails
//! when the deadline is over. What only reads, and leases, may go to several members one after the other. A commit is sent again only
//! when it is known that it was not done, or when it cannot be done twice (it replaces or deletes an entry under
//! [`Guard::Unchanged`](roadstead_core::store::Guard::Unchanged)); otherwise its error has the retry advice `Unknown`. To make that
//! rare, a member that has not answered for a second is asked whether it is there before it is given such a commit.
//!
//! A watch goes on at another member, and is told nothing twice and nothing not at all. It ends with an error when that has not been
//! possible for thirty seconds.
//!
//! # What etcd forgets
//!
//! etcd keeps every version of every key until it is told to forget old ones, so it grows until it is full and takes no more writes.
//! Whoever runs it has it forget by itself: `--auto-compaction-mode=periodic --auto-compaction-retention=1h`. Where nobody else uses
//! the etcd, [`EtcdOptions::compact_after`] does the same from here; it is off unless asked for, since etcd forgets for all of its
//! users at once. What is forgotten no watch tells any more: [`Watched::Resync`] comes instead, as when a watch is taken too slowly.
//!
//! # What it needs
//!
//! Versions before 3.4.31 and 3.5.13 work, but for two defects of theirs that cannot be met from here: a leader that stood still for
//! longer than the life of a lease ends the lease when it goes on, though others renewed it (etcd's issue 15247), and a watch that is
//! taken slowly during a compaction may miss changes (its pull request 17612).
//!
//! The user, where etcd has users, reads and writes all keys below `/PREFIX/`. etcd takes at least one mebibyte and a half in a request
//! and 128 steps in a transaction, as it does by default.
//!
//! ```no_run
//! # async fn example() -> roadstead_core::Result<()> {
//! use roadstead_backends::stores::etcd::{EtcdOptions, EtcdStore};
//! use roadstead_core::store::{Key, Store, Transaction};
//!
//! let options = EtcdOptions::from_uri("etcd+https://roadstead@one,two,three/fleet?password_file=/etc/roadstead/etcd")?;
//! let store = EtcdStore::open(&options).await?;
//! let revision = store.commit(&Transaction::new().create(Key::new("nodes/web-1")?, "{}")).await?;
//! # Ok(())
//! # }
//! ```

mod compaction;
mod failure;
mod member;
mod members;
mod options;
mod space;
mod transaction;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roadstead_core::store::{
    Entries, Entry, Key, LeaseId, ListEntries, Prefix, Revision, Store, Transaction, Watched, life, no_lease,
};
use roadstead_core::{Error, ErrorKind, ItemStream, Result, Retry};
use serde_json::{Value, json};

use self::failure::{Failure, Next};
use self::members::{Care, Members};
pub use self::options::EtcdOptions;
use self::space::{Space, Span};
use self::wire::{Lease, Plain, Range, Streamed, Txn};

/// A store in etcd. Clones are the same one.
#[derive(Clone)]
pub struct EtcdStore {
    members: Arc<Members>,
    space: Space,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("members", &self.members).field("space", &self.space).finish()
    }
}

impl EtcdStore {
    /// Opens it. A runtime of tokio must be there.
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong with the options; `Unavailable` or `DeadlineExceeded` when no majority of etcd can be
    /// reached, `Unauthenticated` or `PermissionDenied` when it does not let us in, or we do not trust it.
    pub async fn open(options: &EtcdOptions) -> Result<Self> {
        let space = Space::new(options.check()?);
        let members = Arc::new(Members::new(options, space.nowhere())?);
        members.revision().await?;
        if let Some(interval) = options.compact_after {
            compaction::begin(&members, interval);
        }
        Ok(EtcdStore { members, space })
    }

    async fn range(&self, span: &Span, mut limit: usize) -> Result<Range> {
        loop {
            let mut request = wire::range(&span.begin, Some(&span.end));
            if let Value::Object(members) = &mut request {
                members.insert("limit".to_owned(), Value::String(limit.to_string()));
            }
            let asked = self.members.ask("/v3/kv/range", &request, Care::Reads).await;
            match asked.answer {
                // There are more behind, which the next list gives.
                Err(Failure { next: Next::TooLong, .. }) if limit > 1 => limit /= 2,
                answer => return answer.map_err(Failure::harmless),
            }
        }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let found: Range = self.members.read("/v3/kv/range", &wire::range(&self.space.key(key), None)).await?;
        Ok(found.kvs.into_iter().find_map(|kv| self.space.entry(kv)))
    }

    async fn list(&self, options: &ListEntries) -> Result<Entries> {
        options.validate()?;
        let mut span = self.space.below(&options.prefix);
        if let Some(after) = &options.after {
            span = span.behind(&self.space.key(after));
        }
        let mut entries = Entries::default();
        loop {
            if span.is_empty() {
                entries.revision = Revision(self.members.revision().await?);
                return Ok(entries);
            }
            let found = self.range(&span, options.limit).await?;
            let last = found.kvs.last().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
            entries.revision = Revision(found.header.revision);
            entries.more = found.more;
            entries.entries = found.kvs.into_iter().filter_map(|kv| self.space.entry(kv)).collect();
            match last {
                // All of them are another's: whoever lists could not go on behind them.
                Some(last) if entries.entries.is_empty() && entries.more => span = span.behind(&last),
                _ => return Ok(entries),
            }
        }
    }

    async fn commit(&self, transaction: &Transaction) -> Result<Revision> {
        transaction.validate()?;
        if transaction.guards().is_empty() && transaction.writes().is_empty() {
            // etcd would answer from what one member knows.
            return self.revision().await;
        }
        let care = transaction::care(transaction);
        let asked = self.members.ask::<Txn>("/v3/kv/txn", &transaction::request(&self.space, transaction), care).await;
        let error = match asked.answer {
            Ok(answer) if answer.succeeded => return Ok(Revision(answer.header.revision)),
            Ok(answer) => transaction::refused(transaction, &answer),
            Err(failure) if care == Care::Reads => failure.harmless(),
            Err(failure) => failure.error,
        };
        let known = care == Care::Reads || !asked.unclear || error.retry() == Retry::Unknown;
        Err(if known { error } else { transaction::unclear(error) })
    }

    async fn watch(&self, prefix: &Prefix, after: Revision) -> Result<ItemStream<Watched>> {
        watch::begin(Arc::clone(&self.members), self.space.clone(), prefix, after).await
    }

    async fn lease(&self, asked: Duration) -> Result<LeaseId> {
        let life = life(asked)?;
        // One that is given and never heard of ends by itself.
        let request = json!({"TTL": wire::number(life.as_secs())});
        let given = self.members.ask::<Lease>("/v3/lease/grant", &request, Care::Repeats).await;
        Ok(LeaseId(given.answer.map_err(Failure::harmless)?.id))
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        let request = json!({"ID": wire::some_number(lease.0)});
        let renewed = self.members.ask::<Streamed<Lease>>("/v3/lease/keepalive", &request, Care::Renews).await;
        match renewed.answer.map_err(Failure::harmless)?.result {
            Some(lease) if lease.ttl > 0 => Ok(()),
            Some(_) => Err(no_lease()),
            None => {
                Err(Error::new(ErrorKind::Unexpected, "etcd does not say whether the lease lives")
                    .with_retry(Retry::Safe))
            }
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let request = json!({"ID": wire::some_number(lease.0)});
        let asked = self.members.ask::<Plain>("/v3/lease/revoke", &request, Care::Repeats).await;
        match asked.answer {
            Ok(_) => Ok(()),
            // It was there when the first member was asked, as far as anybody knows.
            Err(failure) if asked.unclear && failure.error.resource() == Some("lease") => Ok(()),
            Err(failure) => Err(failure.harmless()),
        }
    }

    async fn revision(&self) -> Result<Revision> {
        self.members.revision().await.map(Revision)
    }

    async fn close(&self) -> Result<()> {
        self.members.link().close();
        Ok(())
    }
}
