//! The book of jobs in the store: a head for each, and beside it, below its id, its parts: items, plans, output, the wish that it
//! ends ([`Wish`]), and the sign that it has ended.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::migration::MovePlan;
use roadstead_core::store::{
    Claim, Entry, Guard, Key, Prefix, Revision, Store, Table, Transaction, Watched, entries, read_document,
    write_document,
};
use roadstead_core::{Error, ErrorKind, ItemStream, JobState, NodeError, OutputKind, Result, Signal, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::{JobItem, JobRecord, short};
use crate::nodes::Identities;
use crate::wish::Wish;

/// Items of one entry: a change of one writes them all.
pub(super) const ROOM: usize = 64;
/// Steps of one transaction, well within what a store takes.
pub(super) const STEPS: usize = 100;
/// Bytes of one transaction, well within what a store takes.
pub(super) const BYTES: usize = 512 * 1024;

/// Where a part of a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Some items of the node with this number.
    Items(usize, usize),
    /// Which engines its nodes were where it was asked for: it is worked at only where they are the same.
    Meant,
    /// One planned move.
    Plan(usize),
    /// A piece of the output.
    Output(u64),
    /// The sign that it has ended.
    End,
}

impl Part {
    fn name(self) -> String {
        match self {
            Part::Items(node, room) => format!("items/{node:05}/{room:06}"),
            Part::Meant => "meant".to_owned(),
            Part::Plan(number) => format!("plans/{number:06}"),
            Part::Output(piece) => format!("output/{piece:010}"),
            Part::End => "end".to_owned(),
        }
    }
}

/// A part with what it is now; without, it is to be deleted.
pub(super) type Changed = (Part, Option<Bytes>);

/// A piece of the output: lines with numbers that go up by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Number of the first.
    pub(super) first: u64,
    pub(super) lines: Vec<(Stream, String)>,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl From<Stream> for OutputKind {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => OutputKind::Stdout,
            Stream::Stderr => OutputKind::Stderr,
        }
    }
}

/// Every job of the store. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    store: Arc<dyn Store>,
    heads: Table<JobRecord>,
    /// Below which the parts are, by the id of the job.
    parts: Prefix,
    /// Below which there is when a job was begun to be kept of which there is no head yet, by its id.
    drafts: Prefix,
}

fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the parts are called in errors.
const NOUN: &str = "part of a job";

pub(super) fn encode(value: &impl Serialize) -> Result<Bytes> {
    write_document(NOUN, value).map(Bytes::from)
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<T> {
    read_document(NOUN, entry)
}

impl Book {
    pub(crate) fn new(store: Arc<dyn Store>, heads: Table<JobRecord>, parts: Prefix, drafts: Prefix) -> Self {
        Book { store, heads, parts, drafts }
    }

    fn below(&self, id: &str, rest: &str) -> Result<Prefix> {
        Prefix::new(format!("{}{id}/{rest}", self.parts.as_str()))
    }

    fn key(&self, id: &str, part: Part) -> Result<Key> {
        self.parts.key(&format!("{id}/{}", part.name()))
    }

    /// Keeps a new job with the engines of its nodes, the plans of its moves and its items.
    pub(super) async fn create(
        &self,
        record: &JobRecord,
        meant: &Identities,
        plans: &[MovePlan],
        items: &[JobItem],
    ) -> Result<()> {
        let mut parts = vec![(Part::Meant, encode(meant)?)];
        for (number, plan) in plans.iter().enumerate() {
            parts.push((Part::Plan(number), encode(plan)?));
        }
        for (room, items) in items.chunks(ROOM).enumerate() {
            parts.push((Part::Items(0, room), encode(&items)?));
        }
        // The head comes last: a job that is not whole is none.
        let draft = self.drafts.key(&record.id)?;
        let mut plan = Transaction::new();
        let (mut bytes, mut steps, mut drafted) = (0, 0, None);
        for (part, value) in parts {
            if steps > 0 && (steps == STEPS || bytes + value.len() > BYTES) {
                plan = match drafted {
                    None => plan.put(draft.clone(), encode(&record.created_at)?),
                    // Whoever has swept it has swept all.
                    Some(drafted) => plan.when(Guard::Unchanged(draft.clone(), drafted)),
                };
                let written = self.store.commit(&std::mem::take(&mut plan)).await?;
                drafted.get_or_insert(written);
                (bytes, steps) = (0, 0);
            }
            bytes += value.len();
            steps += 1;
            plan = plan.put(self.key(&record.id, part)?, value);
        }
        let mut head = plan.create(self.heads.key(&record.id)?, self.heads.encode(record)?);
        if let Some(drafted) = drafted {
            head = head.when(Guard::Unchanged(draft.clone(), drafted)).delete(draft);
        }
        self.store.commit(&head).await.map(drop)
    }

    /// Forgets jobs that somebody has begun to keep before this time, and has not ended to.
    pub(super) async fn forget_drafts(&self, before: Timestamp) -> Result<()> {
        let (drafts, _) = entries(&*self.store, &self.drafts).await?;
        for draft in drafts {
            let Some(id) = draft.key.behind(&self.drafts).map(str::to_owned) else { continue };
            match decode::<Timestamp>(&draft) {
                Ok(begun) if begun < before => {}
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(%error, "the draft of a job stays");
                    continue;
                }
            }
            // Before the parts, and only if there is no job: whoever was to keep it would not find its draft any more, and keep none.
            let gone = Transaction::new().when(Guard::Absent(self.heads.key(&id)?)).delete(draft.key.clone());
            match self.store.commit(&gone).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                gone => {
                    gone?;
                    self.remove_parts(&id).await?;
                }
            }
        }
        Ok(())
    }

    /// The head of a job.
    pub(super) async fn get(&self, id: &str) -> Result<Option<JobRecord>> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.heads.get(id).await?.map(|kept| kept.value))
    }

    /// The heads of all, those that make no sense left out, and the revision after which a watch tells of others.
    pub(super) async fn all(&self) -> Result<(Vec<JobRecord>, Revision)> {
        let (heads, revision) = self.heads.all().await?;
        let records = heads.into_iter().filter_map(|(_, head)| match head {
            Ok(kept) => Some(kept.value),
            // One that is damaged must not hide the others; it stays for a person to look at.
            Err(error) => {
                tracing::error!(%error, "the record of a job is left out");
                None
            }
        });
        Ok((records.collect(), revision))
    }

    pub(super) fn heads(&self) -> &Table<JobRecord> {
        &self.heads
    }

    /// What a server has to write that works at a job, while its claim holds.
    pub(super) async fn write(&self, record: &JobRecord, parts: Vec<Changed>, claim: &Claim) -> Result<()> {
        let mut write =
            Transaction::new().when(claim.guard()).put(self.heads.key(&record.id)?, self.heads.encode(record)?);
        for (part, value) in parts {
            let key = self.key(&record.id, part)?;
            write = match value {
                Some(value) => write.put(key, value),
                None => write.delete(key),
            };
        }
        self.store.commit(&write).await.map(drop).map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::new(ErrorKind::Cancelled, "another server works at the job by now"),
            _ => error,
        })
    }

    /// Ends a job of which no more can be written, and says why.
    pub(super) async fn abandon(&self, id: &str, why: &Error, claim: &Claim) -> Result<()> {
        let Some(mut record) = self.get(id).await? else { return Ok(()) };
        record.state = JobState::Failed;
        record.exit_code = Some(i32::from(why.kind().row().exit_code));
        record.ended_at = Some(Timestamp::now());
        record.failure = Some(short(NodeError::new(record.task.node(), why)));
        record.task.forget_secrets();
        (record.answers, record.errors) = (Vec::new(), Vec::new());
        let sign = encode(&record.state)?;
        self.write(&record, vec![(Part::End, Some(sign))], claim).await
    }

    /// The items of the node with this number; `None` when it has not told them.
    pub(super) async fn items_of(&self, id: &str, node: usize) -> Result<Option<Vec<JobItem>>> {
        let (entries, _) = entries(&*self.store, &self.below(id, &format!("items/{node:05}/"))?).await?;
        if entries.is_empty() {
            return Ok(None);
        }
        let mut items = Vec::new();
        for entry in &entries {
            items.extend(decode::<Vec<JobItem>>(entry)?);
        }
        Ok(Some(items))
    }

    /// All items.
    pub(super) async fn items(&self, id: &str) -> Result<Vec<JobItem>> {
        let (entries, _) = entries(&*self.store, &self.below(id, "items/")?).await?;
        let mut items = Vec::new();
        for entry in &entries {
            items.extend(decode::<Vec<JobItem>>(entry)?);
        }
        Ok(items)
    }

    /// The planned moves.
    pub(super) async fn plans(&self, id: &str) -> Result<Vec<MovePlan>> {
        let (entries, _) = entries(&*self.store, &self.below(id, "plans/")?).await?;
        entries.iter().map(decode).collect()
    }

    /// What is kept of the output, and the revision after which a watch tells more.
    pub(super) async fn output(&self, id: &str) -> Result<(Vec<(u64, Piece)>, Revision)> {
        let prefix = self.below(id, "output/")?;
        let (entries, revision) = entries(&*self.store, &prefix).await?;
        let pieces = entries
            .iter()
            .map(|entry| {
                let number = entry.key.behind(&prefix).and_then(|number| number.parse().ok()).unwrap_or_default();
                Ok((number, decode(entry)?))
            })
            .collect::<Result<_>>()?;
        Ok((pieces, revision))
    }

    /// Tells when a part of a job is written after this revision, or after now.
    pub(super) async fn watch(&self, id: &str, after: Option<Revision>) -> Result<ItemStream<Watched>> {
        let after = match after {
            Some(after) => after,
            None => self.store.revision().await?,
        };
        self.store.watch(&self.below(id, "")?, after).await
    }

    /// Waits until a part of a job that is watched is written.
    ///
    /// # Errors
    /// Those of the store; `Unavailable` when the watch ends.
    pub(super) async fn written(&self, watch: &mut ItemStream<Watched>, id: &str, part: Part) -> Result<()> {
        let key = self.key(id, part)?;
        while let Some(Watched::Changes { changes, .. }) = watch.next().await.transpose()? {
            if changes.iter().any(|change| *change.key() == key) {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the watch of a job ended"))
    }

    /// The wish that a job ends, by a signal.
    pub(super) fn wish(&self, id: &str) -> Result<Wish<Signal>> {
        Wish::to_end(&self.store, self.below(id, "")?)
    }

    /// Forgets a job with all its parts.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        // The head goes first, so that nobody finds half a job; what is left is a draft that is swept some time.
        let draft = self.drafts.key(id)?;
        let gone = Transaction::new().delete(self.heads.key(id)?).put(draft.clone(), encode(&Timestamp::now())?);
        self.store.commit(&gone).await?;
        self.remove_parts(id).await?;
        self.store.commit(&Transaction::new().delete(draft)).await.map(drop)
    }

    /// Which engines the nodes of a job were where it was asked for. Nothing of one that was kept before this was.
    pub(super) async fn meant(&self, id: &str) -> Result<Option<Identities>> {
        self.store.get(&self.key(id, Part::Meant)?).await?.map(|entry| decode(&entry)).transpose()
    }

    async fn remove_parts(&self, id: &str) -> Result<()> {
        let (parts, _) = entries(&*self.store, &self.below(id, "")?).await?;
        for parts in parts.chunks(STEPS) {
            let gone = parts.iter().fold(Transaction::new(), |gone, part| gone.delete(part.key.clone()));
            self.store.commit(&gone).await?;
        }
        Ok(())
    }
}
