//! Files into and out of a container, as tar streams: read and written one by one, without any program inside.
//!
//! Of a container that does not run, volumes are read in another way ([`volume`]), and what else is mounted is not to be seen.

mod mounted;
mod owners;
mod volume;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, CopyInOptions, Error, ErrorKind, Result, Retry, names};

use self::mounted::{LINKS_MAX, Mounts, absolute, too_many_links};
use self::volume::Found;
use super::instance::Instance;
use super::sftp::{Attributes, Handle, Sftp};
use super::shared::Lxd;
use crate::archive::Upload;
use crate::archive::tree::{Entries, Entry, Kind};

/// The bits of a mode that tell what a file is.
const KIND: u32 = 0o170_000;

fn kind(attributes: &Attributes) -> Option<Kind> {
    match attributes.mode? & KIND {
        0o100_000 => Some(Kind::File),
        0o040_000 => Some(Kind::Directory),
        0o120_000 => Some(Kind::SymbolicLink),
        _ => None,
    }
}

/// What is known of a file as an entry; nothing of sockets and devices, whose numbers SFTP does not tell.
fn entry(path: Vec<u8>, attributes: &Attributes) -> Option<Entry> {
    let mut entry = Entry::new(path, kind(attributes)?);
    entry.mode = attributes.mode.unwrap_or(0) & 0o7777;
    let (user, group) = attributes.owner.unwrap_or((0, 0));
    (entry.uid, entry.gid) = (user.into(), group.into());
    entry.mtime = attributes.times.map_or(0, |(_, change)| i64::from(change));
    if entry.kind == Kind::File {
        entry.size = attributes.size.unwrap_or(0);
    }
    Some(entry)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() || directory.ends_with(b"/") {
        return [directory, name].concat();
    }
    [directory, b"/", name].concat()
}

/// C130, C131, C135.
pub(super) async fn copy_out(lxd: &Arc<Lxd>, id: &str, path: &str) -> Result<ByteStream> {
    names::absolute_path("path", path)?;
    // The endpoint says the same of a container that is not there as of a file that is not.
    let instance = Instance::read(lxd, id).await?;
    let mut sftp = Sftp::open(lxd, id).await?;
    let clean = path.trim_end_matches('/');
    let name = clean.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(".").as_bytes().to_vec();
    let mut path = clean.as_bytes().to_vec();
    let mounts = Mounts::of(&instance);
    if !mounts.is_empty() {
        match mounted_at(lxd, &instance, &mounts, &mut sftp, path, &name).await? {
            Found::Archive(archive) => return Ok(archive),
            Found::Elsewhere(visible) => path = visible,
        }
    }
    let mut walk = Walk { sftp, waiting: VecDeque::new(), open: None, ended: false };
    let attributes = walk.sftp.lstat(if path.is_empty() { b"/" } else { &path }).await?;
    walk.waiting.push_back((path, name, attributes));
    Ok(stream::try_unfold(walk, |mut walk| async { Ok(walk.next().await?.map(|piece| (piece, walk))) }).boxed())
}

/// What is at a path of a container that does not run, or the path where the endpoint shows it.
async fn mounted_at(
    lxd: &Lxd,
    instance: &Instance,
    mounts: &Mounts,
    sftp: &mut Sftp,
    mut path: Vec<u8>,
    name: &[u8],
) -> Result<Found> {
    let member = instance.location.as_deref().filter(|member| !matches!(*member, "" | "none"));
    for _ in 0..LINKS_MAX {
        let parts = mounts.resolve(sftp, &path, false).await?;
        let Some((mounted, within)) = mounts.covering(&parts) else {
            return Ok(Found::Elsewhere(if parts.is_empty() { parts.concat() } else { absolute(&parts) }));
        };
        match volume::read(lxd, mounted, within, name, member).await? {
            Found::Elsewhere(next) => path = next,
            archive => return Ok(archive),
        }
    }
    Err(too_many_links(&path))
}

/// A walk through a tree that is written as an archive.
struct Walk {
    sftp: Sftp,
    /// Path in the container, path in the archive, what is known of it.
    waiting: VecDeque<(Vec<u8>, Vec<u8>, Attributes)>,
    open: Option<Open>,
    ended: bool,
}

/// A file whose content is being read.
struct Open {
    handle: Handle,
    entry: Entry,
    at: u64,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(open) = self.open.take() {
            return self.content(open).await.map(Some);
        }
        while let Some((path, name, attributes)) = self.waiting.pop_front() {
            let Some(mut entry) = entry(name.clone(), &attributes) else { continue };
            match self.step(&path, &name, &mut entry).await {
                Ok(()) => return Ok(Some(entry.blocks())),
                // It went away while the rest was copied.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if std::mem::replace(&mut self.ended, true) { Ok(None) } else { Ok(Some(Entry::end())) }
    }

    /// Prepares what comes after the blocks of this entry.
    async fn step(&mut self, path: &[u8], name: &[u8], entry: &mut Entry) -> Result<()> {
        match entry.kind {
            Kind::SymbolicLink => entry.link = self.sftp.read_link(path).await?.to_vec(),
            Kind::Directory => {
                let children = self.sftp.list(if path.is_empty() { b"/" } else { path }).await?;
                for (child, attributes) in children.into_iter().rev() {
                    self.waiting.push_front((join(&[path, b"/"].concat(), &child), join(name, &child), attributes));
                }
            }
            _ if entry.size > 0 => {
                let handle = self.sftp.open_to_read(path).await?;
                self.open = Some(Open { handle, entry: entry.clone(), at: 0 });
            }
            _ => {}
        }
        Ok(())
    }

    async fn content(&mut self, mut open: Open) -> Result<Bytes> {
        let left = open.entry.size - open.at;
        if left == 0 {
            let padding = open.entry.padding();
            self.sftp.close(open.handle).await?;
            return Ok(padding);
        }
        let mut piece = self.sftp.read(&open.handle, open.at, left).await?;
        if piece.is_empty() {
            // It has become shorter since its size was written; what is missing is filled up, as tar does.
            piece = vec![0; usize::try_from(left.min(64 * 1024)).unwrap_or(0)].into();
        }
        open.at += piece.len() as u64;
        self.open = Some(open);
        Ok(piece)
    }
}

/// C132, C133.
pub(super) async fn copy_in(
    lxd: &Arc<Lxd>,
    id: &str,
    path: &str,
    archive: ByteStream,
    options: &CopyInOptions,
) -> Result<()> {
    names::absolute_path("path", path)?;
    let mounts = Mounts::of(&Instance::read(lxd, id).await?);
    let mut sftp = Sftp::open(lxd, id).await?;
    if !mounts.is_empty() {
        mounts.must_be_visible(&mounts.resolve(&mut sftp, path.as_bytes(), true).await?)?;
    }
    let directory = sftp.stat(path.as_bytes()).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("no such directory in the container: {path}")),
        _ => error,
    })?;
    if kind(&directory) != Some(Kind::Directory) {
        return Err(Error::invalid("path", format!("{path} is not a directory")));
    }
    let (body, verdict) = Upload::begin(archive).await?.split();
    let mut unpack = Unpack {
        sftp,
        mounts,
        root: path.as_bytes().to_vec(),
        keep_kinds: options.no_overwrite_dir_with_file,
        directories: Vec::new(),
    };
    verdict.on(unpack.all(body).await)
}

/// An archive on its way into a container.
struct Unpack {
    sftp: Sftp,
    /// What would lie below these, the container would not see.
    mounts: Mounts,
    root: Vec<u8>,
    keep_kinds: bool,
    /// Directories whose times are set at the end, when nothing is put into them any more.
    directories: Vec<(Vec<u8>, Attributes)>,
}

impl Unpack {
    async fn all(&mut self, body: ByteStream) -> Result<()> {
        let mut entries = Entries::new(body);
        let mut changed = false;
        while let Some(entry) = entries.next().await.map_err(|error| after(changed, error))? {
            self.one(&entry, &mut entries).await.map_err(|error| after(changed, error))?;
            changed = true;
        }
        for (path, attributes) in std::mem::take(&mut self.directories).into_iter().rev() {
            self.sftp.set(&path, &attributes).await?;
        }
        Ok(())
    }

    async fn one(&mut self, entry: &Entry, entries: &mut Entries) -> Result<()> {
        let mut parts = Vec::new();
        for part in entry.path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(Error::invalid("archive", "an entry leads out of the directory")),
                part => parts.push(part.to_vec()),
            }
        }
        let Some(name) = parts.pop() else {
            // The directory itself: its owner and mode are the archive's, too.
            let (root, attributes) = (self.root.clone(), attributes(entry)?);
            return self.sftp.set(&root, &attributes).await;
        };
        if !self.mounts.is_empty() {
            let path = join(&self.root, &[parts.as_slice(), std::slice::from_ref(&name)].concat().join(&b'/'));
            self.mounts.must_be_visible(&self.mounts.resolve(&mut self.sftp, &path, false).await?)?;
        }
        let directory = self.descend(&parts).await?;
        let path = join(&directory, &name);
        let there = match self.sftp.lstat(&path).await {
            Ok(found) => kind(&found).or(Some(Kind::Fifo)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_directory = entry.kind == Kind::Directory;
        if let Some(there) = there {
            let was_directory = there == Kind::Directory;
            if self.keep_kinds && was_directory != is_directory {
                let shown = String::from_utf8_lossy(&path).into_owned();
                return Err(Error::new(ErrorKind::Conflict, format!("{shown} is of another kind in the container")));
            }
            if was_directory && !is_directory {
                self.sftp.remove_directory(&path).await?;
            } else if !was_directory {
                self.sftp.remove(&path).await?;
            }
        }
        let attributes = attributes(entry)?;
        match entry.kind {
            Kind::Directory => {
                if there != Some(Kind::Directory) {
                    self.sftp.make_directory(&path, entry.mode).await?;
                }
                self.sftp.set(&path, &attributes).await?;
                self.directories.push((path, attributes));
                return Ok(());
            }
            Kind::SymbolicLink => {
                // The owner of a link cannot be set over SFTP, and means nothing.
                return self.sftp.link(&path, &entry.link).await;
            }
            Kind::HardLink => {
                let existing = join(&self.root, entry.link.strip_prefix(b"./").unwrap_or(&entry.link));
                return self.sftp.hard_link(&path, &existing).await;
            }
            Kind::File => {}
            _ => return Err(Error::invalid("archive", "devices and pipes cannot be copied into a container")),
        }
        let handle = self.sftp.open_to_write(&path, 0o600).await?;
        let mut at = 0;
        while let Some(piece) = entries.data().await? {
            let length = piece.len() as u64;
            self.sftp.write(&handle, at, piece).await?;
            at += length;
        }
        self.sftp.close(handle).await?;
        self.sftp.set(&path, &attributes).await
    }

    /// The directory with these parts below the root, made where it is missing. A link on the way is followed within the
    /// container, which the endpoint does not let anybody leave.
    async fn descend(&mut self, parts: &[Vec<u8>]) -> Result<Vec<u8>> {
        let mut path = self.root.clone();
        for part in parts {
            path = join(&path, part);
            match self.sftp.stat(&path).await {
                Ok(found) if kind(&found) == Some(Kind::Directory) => {}
                Ok(_) => {
                    let shown = String::from_utf8_lossy(&path).into_owned();
                    return Err(Error::invalid("archive", format!("{shown} is not a directory in the container")));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.sftp.make_directory(&path, 0o755).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(path)
    }
}

/// Something was written before: who tries again must look.
fn after(changed: bool, error: Error) -> Error {
    if changed { error.with_retry(Retry::Unknown) } else { error }
}

fn attributes(entry: &Entry) -> Result<Attributes> {
    let number = |value: u64| {
        u32::try_from(value).map_err(|_| Error::invalid("archive", "an owner's number is too large for the container"))
    };
    let mtime = u32::try_from(entry.mtime).unwrap_or(0);
    Ok(Attributes {
        size: None,
        owner: Some((number(entry.uid)?, number(entry.gid)?)),
        mode: Some(entry.mode),
        times: Some((mtime, mtime)),
    })
}
