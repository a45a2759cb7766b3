//! An archive, unpacked into a directory of a container while it arrives.

use std::collections::BTreeSet;

use bytes::BytesMut;
use roadstead_core::{ByteStream, CopyInOptions, Error, ErrorKind, Result, Retry};

use super::super::commands::Commands;
use super::super::commands::filesystem::{OpenMode, OpenOptions, Permissions};
use super::{BLOCK, join, links, list, look};
use crate::archive::Upload;
use crate::archive::tree::{Entries, Entry, Kind};

/// Unpacks `archive` into the directory `path`.
pub(super) async fn unpack(inside: Commands, path: &str, archive: ByteStream, options: &CopyInOptions) -> Result<()> {
    if list(&inside, path).await?.is_none() {
        let words = format!("no such directory in the container: {path}");
        return Err(Error::new(ErrorKind::NotFound, words));
    }
    let (body, verdict) = Upload::begin_plain(archive).await?.split();
    let mut unpack = Unpack {
        inside,
        root: path.to_owned(),
        keep_kinds: options.no_overwrite_dir_with_file,
        known: BTreeSet::new(),
    };
    verdict.on(unpack.all(body).await)
}

struct Unpack {
    inside: Commands,
    root: String,
    keep_kinds: bool,
    /// Directories that are known to be there.
    known: BTreeSet<String>,
}

impl Unpack {
    async fn all(&mut self, body: ByteStream) -> Result<()> {
        let mut entries = Entries::new(body);
        let mut changed = false;
        // Something was written before: who tries again must look.
        let after = |changed: bool, error: Error| if changed { error.with_retry(Retry::Unknown) } else { error };
        while let Some(entry) = entries.next().await.map_err(|error| after(changed, error))? {
            self.one(&entry, &mut entries).await.map_err(|error| after(changed, error))?;
            changed = true;
        }
        Ok(())
    }

    async fn one(&mut self, entry: &Entry, entries: &mut Entries) -> Result<()> {
        let parts = parts(&entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            // The directory itself: its mode is the archive's, too.
            return self.mode(&self.root, entry.mode).await;
        };
        let parent = parents.iter().fold(self.root.clone(), |path, part| join(&path, part));
        if !self.known.contains(&parent) {
            self.inside.filesystem().make_directory(&parent).await?;
            self.known.insert(parent.clone());
        }
        let path = join(&parent, name);
        self.make_room(&path, entry.kind == Kind::Directory).await?;
        match entry.kind {
            Kind::Directory => {
                self.inside.filesystem().make_directory(&path).await?;
                self.known.insert(path.clone());
                self.mode(&path, entry.mode).await
            }
            Kind::SymbolicLink => links::make(&self.inside, &path, text(&entry.link)?, true).await,
            Kind::HardLink => {
                let target = self::parts(&entry.link)?.iter().fold(self.root.clone(), |path, part| join(&path, part));
                links::make(&self.inside, &path, &target, false).await
            }
            Kind::File => self.file(&path, entry.mode, entries).await,
            _ => Err(Error::invalid("archive", "devices and pipes cannot be copied into a container")),
        }
    }

    /// Removes what stands in the way.
    async fn make_room(&mut self, path: &str, directory: bool) -> Result<()> {
        let Some(there) = look(&self.inside, path).await? else { return Ok(()) };
        if self.keep_kinds && there.is_directory != directory {
            let words = format!("{path} is of another kind in the container");
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        if there.is_directory && directory {
            return Ok(());
        }
        // A link in particular: what is written goes to its own place, not to where the link leads.
        let below = format!("{path}/");
        self.known.retain(|known| known != path && !known.starts_with(&below));
        self.inside.filesystem().remove(path).await
    }

    async fn file(&self, path: &str, mode: u32, entries: &mut Entries) -> Result<()> {
        let files = self.inside.filesystem();
        let file = files.open(path, &OpenOptions { permissions: 0o600, ..OpenOptions::new(OpenMode::Write) }).await?;
        let written = async {
            let mut block = BytesMut::new();
            while let Some(piece) = entries.data().await? {
                block.extend_from_slice(&piece);
                while block.len() >= BLOCK {
                    files.write(&file, &block.split_to(BLOCK)).await?;
                }
            }
            if block.is_empty() { Ok(()) } else { files.write(&file, &block).await }
        };
        let written = written.await;
        let closed = files.close(file).await;
        written?;
        closed?;
        self.mode(path, mode).await
    }

    async fn mode(&self, path: &str, mode: u32) -> Result<()> {
        let permissions = Permissions { mode: mode & 0o777, recursive: false };
        self.inside.filesystem().change_mode(path, &permissions).await
    }
}

/// The agent takes text only.
fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|_| Error::invalid("archive", "a name in it is no UTF-8, which the node cannot take"))
}

/// The parts of an entry's path, which must stay below the directory.
fn parts(path: &[u8]) -> Result<Vec<String>> {
    let mut parts = Vec::new();
    for part in text(path)?.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(Error::invalid("archive", "an entry leads out of the directory")),
            part => parts.push(part.to_owned()),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out() {
        assert_eq!(parts(b"./a//b/").unwrap(), ["a", "b"]);
        assert!(parts(b".").unwrap().is_empty());
        for bad in [&b"../a"[..], b"a/../../b", b"\xff"] {
            assert_eq!(parts(bad).unwrap_err().field(), Some("archive"));
        }
    }
}
