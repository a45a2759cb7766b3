//! Several tar streams as one, with a list of all that passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::header::{BLOCK, Entry, Kind, broken, shown};
use super::is_within;
use super::manifest::Manifest;
use super::reader::Reader;
use crate::error::Result;
use crate::stream::ByteStream;

/// Entries that belong to one engine only, and would be litter on another.
const LITTER: &[&[u8]] = &[b".dockerenv", b"run/.containerenv"];

/// What lies in these is the engine's; the directories themselves are wanted.
const EMPTIED: &[&[u8]] = &[b"dev", b"proc", b"sys"];

/// Told of every piece of content, and awaited.
pub(in super::super) type Progress = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

/// One archive that becomes a part of the whole.
pub(in super::super) struct Part {
    /// Where it belongs: empty for the root, otherwise an absolute path whose last part is what its entries begin with.
    pub(in super::super) at: String,
    /// Opens the archive, when it is its turn; that of the root a second time where names that are hidden have the data of
    /// files that are not.
    pub(in super::super) open: Open,
}

/// Opens an archive.
pub(in super::super) type Open = Box<dyn FnMut() -> BoxFuture<'static, Result<ByteStream>> + Send>;

/// Puts the parts together.
pub(in super::super) struct Splice {
    parts: VecDeque<Part>,
    /// Absolute paths of all parts but the root, without leading slash: what other parts have there is hidden.
    places: Vec<Vec<u8>>,
    /// The directories that have passed.
    directories: BTreeSet<Vec<u8>>,
    /// Names that are links to files which are hidden, by the hidden names: an archive holds the data of a file under the
    /// first of its names only.
    orphans: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    /// Links that come after the data that passes.
    links: VecDeque<Entry>,
    /// Whether the root may be opened again.
    again: bool,
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
    at: Vec<u8>,
    /// Whether its entries begin below their own root instead of with the last part of the place: Podman 4.3 names what is
    /// mounted in a stopped container like this. The first entry tells.
    rooted: Option<bool>,
    pass: Pass,
}

/// What is taken of a part.
enum Pass {
    /// What is not hidden. With the means to open it again, where it may be.
    Visible(Option<Open>),
    /// The files that were hidden the first time, under their names that are not.
    Orphans,
}

impl Current {
    /// A path of this part as a path of the whole.
    fn moved(&self, path: &[u8]) -> Vec<u8> {
        let below = || path.iter().position(|byte| *byte == b'/').and_then(|slash| path.get(slash + 1..));
        let rest = if self.rooted == Some(true) { Some(path) } else { below() };
        match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => [&self.at, rest].join(&b'/'),
            None => self.at.clone(),
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
        Self::new(parts, manifest, progress, true).into_stream()
    }

    fn new(parts: Vec<Part>, manifest: Arc<Mutex<Manifest>>, progress: Progress, again: bool) -> Self {
        Splice {
            places: parts.iter().map(Part::place).filter(|at| !at.is_empty()).collect(),
            parts: parts.into(),
            directories: BTreeSet::new(),
            orphans: BTreeMap::new(),
            links: VecDeque::new(),
            again,
            current: None,
            entry: None,
            manifest,
            progress,
            bytes: 0,
            ended: false,
        }
    }

    fn into_stream(self) -> ByteStream {
        stream::try_unfold(self, |splice| async move {
            let mut splice = splice;
            Ok(splice.next().await?.map(|piece| (piece, splice)))
        })
        .boxed()
    }

    /// The next bytes of the whole.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let piece = if self.entry.is_some() {
                self.data().await?
            } else if let Some(link) = self.links.pop_front() {
                let headers = Bytes::from(link.write());
                self.pass(link, true);
                Some(headers)
            } else if self.current.is_some() {
                self.headers().await?
            } else if let Some(part) = self.parts.pop_front() {
                Some(self.begin(part).await?)
            } else if std::mem::replace(&mut self.ended, true) {
                return Ok(None);
            } else {
                Some(Bytes::from(vec![0; 2 * BLOCK]))
            };
            if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                return Ok(Some(piece));
            }
        }
    }

    /// Opens a part, and gives the directories above it.
    async fn begin(&mut self, mut part: Part) -> Result<Bytes> {
        let at = part.place();
        let above = self.missing_above(&at);
        let reader = Reader::new((part.open)().await?);
        let open = Some(part.open).filter(|_| self.again && at.is_empty());
        self.current = Some(Current { reader, at, rooted: None, pass: Pass::Visible(open) });
        Ok(above)
    }

    /// The headers of the next entry of the part, if it is wanted.
    async fn headers(&mut self) -> Result<Option<Bytes>> {
        let Some(current) = &mut self.current else { return Ok(None) };
        let Some(mut found) = current.reader.next().await? else {
            return self.finish_part().await.map(|()| None);
        };
        current.rooted.get_or_insert(found.entry.path.is_empty());
        let mut headers = found.headers;
        if !current.at.is_empty() {
            found.entry.path = current.moved(&found.entry.path);
            if found.entry.kind == Kind::HardLink {
                found.entry.link = current.moved(&found.entry.link);
            }
            headers = Bytes::from(found.entry.write());
        }
        let entry = &mut found.entry;
        let is_wanted = |path: &[u8]| is_wanted(&self.places, path, &current.at);
        let keep = match &current.pass {
            Pass::Visible(open) if is_wanted(&entry.path) => {
                let orphaned = open.is_some() && entry.kind == Kind::HardLink && !is_wanted(&entry.link);
                if orphaned {
                    self.orphans.entry(entry.link.clone()).or_default().push(entry.path.clone());
                }
                !orphaned
            }
            Pass::Visible(_) => false,
            Pass::Orphans => match self.orphans.remove(&entry.path) {
                Some(names) => {
                    self.links.extend(rename(entry, names));
                    headers = Bytes::from(entry.write());
                    true
                }
                None => false,
            },
        };
        self.pass(found.entry, keep);
        Ok(keep.then_some(headers))
    }

    /// Has the data of an entry pass.
    fn pass(&mut self, entry: Entry, keep: bool) {
        if keep && entry.kind == Kind::Directory {
            self.directories.insert(entry.path.clone());
        }
        let left = entry.size;
        let padding = left.next_multiple_of(BLOCK as u64) - left;
        self.entry = Some(Passing { entry, keep, left, padding, sum: Sha256::new() });
    }

    /// What comes after the last entry of a part: the part once more, where it has what was hidden and is missing now.
    async fn finish_part(&mut self) -> Result<()> {
        let again = match self.current.take() {
            Some(Current { at, pass: Pass::Visible(Some(open)), .. }) => Some((at, open)),
            _ => None,
        };
        let Some(missing) = self.orphans.keys().next() else { return Ok(()) };
        let Some((at, mut open)) = again else {
            return Err(broken(format_args!("a file has lost its name {}", shown(missing))));
        };
        self.current = Some(Current { reader: Reader::new(open().await?), at, rooted: None, pass: Pass::Orphans });
        Ok(())
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

    /// Entries for the directories above `at` that no part had: an engine need not show where something is mounted.
    fn missing_above(&mut self, at: &[u8]) -> Bytes {
        let mut blocks = Vec::new();
        for (end, _) in at.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let directory = at.get(..end).unwrap_or_default();
            if self.directories.insert(directory.to_vec()) {
                let entry = Entry::directory(directory);
                blocks.extend(entry.write());
                with(&self.manifest, |manifest| manifest.add(&entry, None));
            }
        }
        Bytes::from(blocks)
    }
}

impl Part {
    /// Where it belongs, without slashes around it.
    fn place(&self) -> Vec<u8> {
        self.at.trim_matches('/').as_bytes().to_vec()
    }
}

/// Whether what the part at `at` has at `path` is neither hidden by another part nor its engine's own.
fn is_wanted(places: &[Vec<u8>], path: &[u8], at: &[u8]) -> bool {
    let hidden =
        places.iter().any(|place| place != at && is_within(path, place) && (at.is_empty() || place.len() > at.len()));
    let litter =
        LITTER.contains(&path) || EMPTIED.iter().any(|directory| path != *directory && is_within(path, directory));
    !(hidden || at.is_empty() && litter)
}

/// Gives the first of these names to a file; the others become links to it.
fn rename(entry: &mut Entry, names: Vec<Vec<u8>>) -> Vec<Entry> {
    let mut names = names.into_iter();
    entry.path = names.next().unwrap_or_default();
    let link = |path| Entry { path, kind: Kind::HardLink, link: entry.path.clone(), size: 0, ..entry.clone() };
    names.map(link).collect()
}

/// Reads an archive to its end into `manifest`.
pub(in super::super) async fn scan(archive: ByteStream, manifest: Manifest) -> Result<Manifest> {
    let manifest = Arc::new(Mutex::new(manifest));
    let mut archive = Some(archive);
    let open = move || {
        let archive = archive.take().ok_or_else(|| broken("it is read once only"));
        Box::pin(async move { archive }) as BoxFuture<'static, Result<ByteStream>>
    };
    let root = Part { at: String::new(), open: Box::new(open) };
    let quiet: Progress = Arc::new(|_| Box::pin(async {}));
    let mut stream = Splice::new(vec![root], Arc::clone(&manifest), quiet, false).into_stream();
    while stream.try_next().await?.is_some() {}
    drop(stream);
    Ok(with(&manifest, std::mem::take))
}
