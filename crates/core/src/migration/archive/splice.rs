//! Several tar streams as one, with a list of all that passed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::header::{BLOCK, Entry, Kind};
use super::is_within;
use super::manifest::Manifest;
use super::reader::Reader;
use crate::error::Result;
use crate::stream::ByteStream;

/// Entries that belong to one engine only, and would be litter on another.
const LITTER: &[&str] = &[".dockerenv", "run/.containerenv"];

/// What lies in these is the engine's; the directories themselves are wanted.
const EMPTIED: &[&str] = &["dev", "proc", "sys"];

/// Told of every piece of content, and awaited.
pub(in super::super) type Progress = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

/// One archive that becomes a part of the whole.
pub(in super::super) struct Part {
    /// Where it belongs: empty for the root, otherwise an absolute path whose last part is what its entries begin with.
    pub(in super::super) at: String,
    /// Opens the archive, when it is its turn.
    pub(in super::super) open: Box<dyn FnOnce() -> BoxFuture<'static, Result<ByteStream>> + Send>,
}

/// Puts the parts together.
pub(in super::super) struct Splice {
    parts: VecDeque<Part>,
    /// Absolute paths of all parts but the root, without leading slash: what other parts have there is hidden.
    places: Vec<String>,
    current: Option<Current>,
    entry: Option<Passing>,
    manifest: Arc<Mutex<Manifest>>,
    progress: Progress,
    bytes: u64,
    ended: bool,
}

/// The part whose turn it is.
struct Current {
    reader: Reader,
    /// Its place, without slashes around it.
    at: String,
    /// Whether its entries begin below their own root instead of with the last part of the place: Podman 4.3 names what is
    /// mounted in a stopped container like this. The first entry tells.
    rooted: Option<bool>,
}

impl Current {
    /// A path of this part as a path of the whole.
    fn moved(&self, path: &str) -> String {
        let at = &self.at;
        let rest = if self.rooted == Some(true) { Some(path) } else { path.split_once('/').map(|(_, rest)| rest) };
        match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => format!("{at}/{rest}"),
            None => at.clone(),
        }
    }
}

/// An entry whose data passes.
struct Passing {
    entry: Entry,
    keep: bool,
    left: u64,
    padding: u64,
    sum: Sha256,
}

fn with<T>(manifest: &Mutex<Manifest>, work: impl FnOnce(&mut Manifest) -> T) -> T {
    work(&mut manifest.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Splice {
    /// The whole of these parts as one archive. What passes is added to `manifest`.
    pub(in super::super) fn stream(parts: Vec<Part>, manifest: Arc<Mutex<Manifest>>, progress: Progress) -> ByteStream {
        let places =
            parts.iter().map(|part| part.at.trim_matches('/').to_owned()).filter(|at| !at.is_empty()).collect();
        let splice = Splice {
            parts: parts.into(),
            places,
            current: None,
            entry: None,
            manifest,
            progress,
            bytes: 0,
            ended: false,
        };
        stream::try_unfold(splice, |splice| async move {
            let mut splice = splice;
            Ok(splice.next().await?.map(|piece| (piece, splice)))
        })
        .boxed()
    }

    /// The next bytes of the whole.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.entry.is_some() {
                if let Some(piece) = self.data().await? {
                    return Ok(Some(piece));
                }
                continue;
            }
            let Some(current) = &mut self.current else {
                let Some(part) = self.parts.pop_front() else {
                    if std::mem::replace(&mut self.ended, true) {
                        return Ok(None);
                    }
                    return Ok(Some(Bytes::from(vec![0; 2 * BLOCK])));
                };
                let above = self.missing_above(&part.at);
                let at = part.at.trim_matches('/').to_owned();
                self.current = Some(Current { reader: Reader::new((part.open)().await?), at, rooted: None });
                if !above.is_empty() {
                    return Ok(Some(above));
                }
                continue;
            };
            let Some(mut found) = current.reader.next().await? else {
                self.current = None;
                continue;
            };
            current.rooted.get_or_insert(found.entry.path.is_empty());
            let at = current.at.clone();
            let headers = if at.is_empty() {
                found.headers
            } else {
                found.entry.path = current.moved(&found.entry.path);
                if found.entry.kind == Kind::HardLink {
                    found.entry.link = current.moved(&found.entry.link);
                }
                Bytes::from(found.entry.write())
            };
            let keep = self.is_wanted(&found.entry.path, &at);
            let (left, size) = (found.entry.size, found.entry.size);
            let padding = size.next_multiple_of(BLOCK as u64) - size;
            self.entry = Some(Passing { entry: found.entry, keep, left, padding, sum: Sha256::new() });
            if keep {
                return Ok(Some(headers));
            }
        }
    }

    /// Some data of the entry that passes, or nothing when that is all of it or is not wanted.
    async fn data(&mut self) -> Result<Option<Bytes>> {
        let (Some(passing), Some(Current { reader, .. })) = (&mut self.entry, &mut self.current) else {
            return Ok(None);
        };
        if passing.left > 0 {
            let piece = reader.piece(passing.left).await?;
            passing.left -= piece.len() as u64;
            passing.sum.update(&piece);
            let keep = passing.keep;
            if keep {
                self.bytes += piece.len() as u64;
                (self.progress)(self.bytes).await;
            }
            return Ok(keep.then_some(piece));
        }
        if passing.padding > 0 {
            let piece = reader.piece(passing.padding).await?;
            passing.padding -= piece.len() as u64;
            return Ok(passing.keep.then_some(piece));
        }
        if let Some(passing) = self.entry.take()
            && passing.keep
        {
            with(&self.manifest, |manifest| manifest.add(&passing.entry, Some(passing.sum)));
        }
        Ok(None)
    }

    fn is_wanted(&self, path: &str, at: &str) -> bool {
        let hidden = self
            .places
            .iter()
            .any(|place| place != at && is_within(path, place) && (at.is_empty() || place.len() > at.len()));
        let litter =
            LITTER.contains(&path) || EMPTIED.iter().any(|directory| path != *directory && is_within(path, directory));
        let littered = at.is_empty() && litter;
        !hidden && !littered
    }

    /// Entries for the directories above `at` that no part had: an engine need not show where something is mounted.
    fn missing_above(&self, at: &str) -> Bytes {
        let mut blocks = Vec::new();
        let at = at.trim_matches('/');
        for (end, _) in at.match_indices('/') {
            let directory = at.get(..end).unwrap_or_default();
            with(&self.manifest, |manifest| {
                if !manifest.has(directory) {
                    let entry = Entry::directory(directory);
                    blocks.extend(entry.write());
                    manifest.add(&entry, None);
                }
            });
        }
        Bytes::from(blocks)
    }
}

/// Reads an archive to its end into `manifest`.
pub(in super::super) async fn scan(archive: ByteStream, manifest: Manifest) -> Result<Manifest> {
    let manifest = Arc::new(Mutex::new(manifest));
    let root = Part { at: String::new(), open: Box::new(move || Box::pin(async move { Ok(archive) })) };
    let quiet: Progress = Arc::new(|_| Box::pin(async {}));
    let mut stream = Splice::stream(vec![root], Arc::clone(&manifest), quiet);
    while stream.try_next().await?.is_some() {}
    drop(stream);
    Ok(with(&manifest, std::mem::take))
}
