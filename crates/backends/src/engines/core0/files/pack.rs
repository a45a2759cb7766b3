//! A file or a tree of a container, as an archive that is written while it is read.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};

use super::super::commands::Commands;
use super::super::commands::filesystem::{Entry as Listed, OpenFile, OpenMode, OpenOptions};
use super::{is_missing, join, links, list, look, split};
use crate::archive::tree::{Entry, Kind};

/// Archives `path`; the entries begin with its last part.
pub(super) async fn pack(inside: Commands, path: &str) -> Result<ByteStream> {
    let (parent, name) = split(path);
    let missing = || Error::new(ErrorKind::NotFound, format!("no such file in the container: {path}"));
    let listed = look(&inside, path).await?.ok_or_else(missing)?;
    let shown = if name.is_empty() { ".".to_owned() } else { name.clone() };
    let link = links::targets(&inside, &parent, std::slice::from_ref(&listed)).await?.remove(&name);
    let first = Waiting { path: join(&parent, &name), shown, listed, link };
    let walk = Walk { inside, waiting: VecDeque::from([first]), open: None, ended: false };
    Ok(stream::try_unfold(walk, |mut walk| async { Ok(walk.next().await?.map(|piece| (piece, walk))) }).boxed())
}

/// A file that is to be written.
struct Waiting {
    path: String,
    /// Its path in the archive.
    shown: String,
    listed: Listed,
    link: Option<String>,
}

struct Walk {
    inside: Commands,
    waiting: VecDeque<Waiting>,
    open: Option<Open>,
    ended: bool,
}

/// A file whose content is being read.
struct Open {
    file: OpenFile,
    /// Bytes that are still to be written, without the padding.
    left: u64,
    padding: Bytes,
    /// What was read already.
    ahead: Bytes,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(open) = self.open.take() {
            return self.content(open).await.map(Some);
        }
        while let Some(waiting) = self.waiting.pop_front() {
            if let Some(blocks) = self.begin(&waiting).await? {
                return Ok(Some(blocks));
            }
        }
        if std::mem::replace(&mut self.ended, true) { Ok(None) } else { Ok(Some(Entry::end())) }
    }

    /// The blocks before the content; nothing for what went away, or cannot be read.
    async fn begin(&mut self, waiting: &Waiting) -> Result<Option<Bytes>> {
        let Waiting { path, shown, listed, link } = waiting;
        let mut entry = Entry::new(shown.as_bytes(), Kind::File);
        entry.mode = listed.mode & 0o7777;
        if let Some(target) = link {
            entry.kind = Kind::SymbolicLink;
            entry.link = target.as_bytes().to_vec();
            return Ok(Some(entry.blocks()));
        }
        if listed.is_directory {
            let Some(children) = list(&self.inside, path).await? else { return Ok(None) };
            let mut links = links::targets(&self.inside, path, &children).await?;
            for child in children.into_iter().rev() {
                let link = links.remove(&child.name);
                let (path, shown) = (join(path, &child.name), format!("{shown}/{}", child.name));
                self.waiting.push_front(Waiting { path, shown, listed: child, link });
            }
            entry.kind = Kind::Directory;
            return Ok(Some(entry.blocks()));
        }
        let Some((file, ahead)) = self.open(path).await? else { return Ok(None) };
        entry.size = listed.size_bytes;
        if self.is_longer(&ahead, entry.size) {
            // What is listed is the link, or it has grown; a header needs the size of what follows.
            entry.size = self.measure(path).await?;
        } else if ahead.is_empty() {
            entry.size = 0;
        }
        let padding = entry.padding();
        self.open = Some(Open { file, left: entry.size, padding, ahead });
        Ok(Some(entry.blocks()))
    }

    fn is_longer(&self, ahead: &Bytes, size: u64) -> bool {
        u64::try_from(ahead.len()).unwrap_or(u64::MAX) > size
    }

    /// Opens a file and reads its first block; nothing when there is none, or it is none.
    async fn open(&self, path: &str) -> Result<Option<(OpenFile, Bytes)>> {
        let files = self.inside.filesystem();
        let opened = async {
            let file = files.open(path, &OpenOptions::new(OpenMode::Read)).await?;
            let ahead = files.read(&file).await?;
            Ok((file, ahead))
        };
        match opened.await {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if is_missing(&error) || is_special(&error) => {
                tracing::debug!(path, %error, "a file is left out of the archive");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a file to its end, only to know its size.
    async fn measure(&self, path: &str) -> Result<u64> {
        let Some((file, ahead)) = self.open(path).await? else { return Ok(0) };
        let mut piece = ahead;
        let mut size = 0;
        while !piece.is_empty() {
            size += u64::try_from(piece.len()).unwrap_or_default();
            piece = self.inside.filesystem().read(&file).await?;
        }
        self.inside.filesystem().close(file).await?;
        Ok(size)
    }

    async fn content(&mut self, mut open: Open) -> Result<Bytes> {
        if open.left == 0 {
            self.inside.filesystem().close(open.file).await?;
            return Ok(open.padding);
        }
        let mut piece = std::mem::take(&mut open.ahead);
        if piece.is_empty() {
            piece = self.inside.filesystem().read(&open.file).await?;
        }
        if piece.is_empty() {
            // It has become shorter; what is missing is filled up, as tar does.
            piece = vec![0; usize::try_from(open.left.min(64 * 1024)).unwrap_or_default()].into();
        }
        piece.truncate(usize::try_from(open.left).unwrap_or(usize::MAX));
        open.left -= u64::try_from(piece.len()).unwrap_or_default();
        self.open = Some(open);
        Ok(piece)
    }
}

/// Whether it is a device or a socket that cannot be opened, or another's.
fn is_special(error: &Error) -> bool {
    ["no such device", "permission denied", "too many levels"].iter().any(|words| error.message().contains(words))
}
