//! What goes: records that are too old or too many, chunk by chunk, and those of something that is not there any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use roadstead_core::store::{Guard, Transaction};
use roadstead_core::{ErrorKind, Result};

use super::Document;
use super::append::Lane;
use super::read::{Floor, chunks, divide};
use super::record::{Chunk, Head};

/// What is too old is looked for so often.
const SWEEP: Duration = Duration::from_secs(60);
/// So many chunks are looked at together. Of these at most as many are deleted at once, or one is written.
const PAGE: usize = 16;

/// Whether so much more is kept than is to be that something should go now, and not only at the next sweep.
pub(super) fn is_too_much<T: Document>(lane: &Lane<T>, head: &Head<T>) -> bool {
    let kept = head.next.saturating_sub(head.oldest.max(lane.oldest.load(Ordering::Relaxed)));
    // Some more than need be, so that it is not done with each append.
    kept > lane.bounds.count.saturating_add(lane.bounds.count / 16).saturating_add(200)
}

pub(super) async fn keep_trimmed<T: Document>(lane: &Lane<T>) {
    loop {
        tokio::time::sleep(SWEEP.min(lane.bounds.age)).await;
        if let Err(error) = trim(lane).await {
            tracing::warn!(%error, "measurements: what is too old is not deleted yet");
        }
    }
}

/// Deletes what is too old or too much.
pub(super) async fn trim<T: Document>(lane: &Lane<T>) -> Result<()> {
    let (head, revision) = lane.head().await?;
    let Some(revision) = revision else { return Ok(()) };
    let floor = Floor::of(&head, lane.bounds);
    let (oldest, open_first) = (head.oldest, head.open_first());
    if head.open.iter().any(|record| !floor.holds(record)) {
        let mut kept = head.clone();
        kept.open.retain(|record| floor.holds(record));
        let replace = Transaction::new().replace(lane.place.head.clone(), revision, lane.place.encode(&kept)?);
        match lane.store.commit(&replace).await {
            // Somebody has written since: at the next look.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            replaced => drop(replaced?),
        }
    }
    let in_time = |chunk: &Chunk<T>| chunk.newest().is_some_and(|newest| newest.unix_nanos() >= floor.nanos);
    let by_age = divide(lane, oldest, open_first, in_time).await?;
    // Everything from here on stays; a chunk in which this number is, too, when it is not too old.
    let start = by_age.max(floor.id).min(open_first);
    let (mut before, mut first_kept) = (start, start);
    loop {
        let (found, more) = chunks(lane, before, PAGE, open_first).await?;
        let mut delete = Transaction::new();
        for (first, entry, chunk) in &found {
            before = *first;
            // One that makes no sense is in nobody's way once it is deleted.
            match chunk.as_ref().is_some_and(|chunk| chunk.records.iter().any(|record| floor.holds(record))) {
                true => first_kept = first_kept.min(*first),
                false => delete = delete.delete(entry.key.clone()),
            }
        }
        if !delete.writes().is_empty() {
            lane.store.commit(&delete).await?;
        }
        if !more || found.is_empty() {
            lane.oldest.fetch_max(first_kept, Ordering::Relaxed);
            lane.index.trim(first_kept);
            return Ok(());
        }
    }
}

/// Removes what is about a subject, and tells how much that was.
pub(super) async fn forget<T: Document>(lane: &Lane<T>, subject: &str) -> Result<u64> {
    // The head first: what is in it now may be in a chunk a moment later, and the chunks are looked at then.
    let (mut before, border, mut removed) = loop {
        let (head, revision) = lane.head().await?;
        let Some(revision) = revision else { return Ok(0) };
        let mut kept = head.clone();
        kept.open.retain(|record| !record.what.is_about(subject));
        let removed = head.open.len() - kept.open.len();
        if removed == 0 {
            break (head.next, head.open_first(), 0);
        }
        let replace = Transaction::new().replace(lane.place.head.clone(), revision, lane.place.encode(&kept)?);
        match lane.store.commit(&replace).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            replaced => {
                replaced?;
                break (head.next, head.open_first(), removed as u64);
            }
        }
    };
    // At first what may have been in the head a moment ago.
    let mut limit = 1;
    loop {
        let step = lane.index.step(subject, before, PAGE);
        before = step.before;
        let (found, more) = chunks::<T>(lane, before, if step.run == 0 { limit } else { step.run }, border).await?;
        limit = PAGE;
        for (first, entry, chunk) in &found {
            before = *first;
            let (mut entry, mut chunk) = (entry.clone(), chunk.clone());
            while let Some(whole) = chunk.take() {
                let mut kept = whole.clone();
                kept.records.retain(|record| !record.what.is_about(subject));
                let gone = whole.records.len() - kept.records.len();
                if gone == 0 {
                    break;
                }
                let unchanged = Transaction::new().when(Guard::Unchanged(entry.key.clone(), entry.revision));
                let write = match kept.records.is_empty() {
                    true => unchanged.delete(entry.key.clone()),
                    false => unchanged.put(entry.key.clone(), lane.place.encode(&kept)?),
                };
                match lane.store.commit(&write).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        // Another one has removed something of it, or all.
                        let Some(now) = lane.store.get(&entry.key).await? else { break };
                        chunk = Some(lane.place.decode(&now)?);
                        entry = now;
                    }
                    written => {
                        written?;
                        removed += gone as u64;
                    }
                }
            }
        }
        if !more || found.is_empty() {
            return Ok(removed);
        }
    }
}
