//! Tar archives of in-memory files, and byte streams made of and into archives.

use std::io::{Cursor, Read};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::files::{Content, Entry, FileSystem};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::ByteStream;

/// The largest archive that is taken in; larger ones belong to an engine with a disk.
const ARCHIVE_MAX_BYTES: usize = 512 * 1024 * 1024;

/// How much of an archive is sent at once.
const PIECE_BYTES: usize = 64 * 1024;

fn broken(reason: impl std::fmt::Display) -> Error {
    Error::invalid("archive", format!("not a tar archive that can be read: {reason}"))
}

/// Reads a stream to its end.
pub(super) async fn collect(mut archive: ByteStream) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(piece) = archive.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > ARCHIVE_MAX_BYTES {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!(
                    "the archive has more than {ARCHIVE_MAX_BYTES} bytes, which the in-memory engine does not take"
                ),
            )
            .with_retry(crate::Retry::Never));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Gives bytes in pieces.
pub(super) fn pieces(whole: Bytes) -> ByteStream {
    stream::unfold(whole, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(PIECE_BYTES.min(rest.len()));
        Some((Ok(piece), rest))
    })
    .boxed()
}

/// The archive with these entries.
pub(super) fn pack<'a>(entries: impl Iterator<Item = (&'a str, &'a Entry)>) -> Result<Bytes> {
    let failed =
        |error: std::io::Error| Error::new(ErrorKind::Unexpected, "could not write the archive").with_source(error);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(entry.uid);
        header.set_gid(entry.gid);
        header.set_mtime(entry.modified);
        header.set_size(0);
        match &entry.content {
            Content::File(data) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(data.len() as u64);
                builder.append_data(&mut header, name, data.as_ref()).map_err(failed)?;
            }
            Content::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, format!("{name}/"), std::io::empty()).map_err(failed)?;
            }
            Content::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, name, target).map_err(failed)?;
            }
        }
    }
    builder.into_inner().map(Bytes::from).map_err(failed)
}

/// The archive with all of a file system.
pub(super) fn pack_root(files: &FileSystem) -> Result<Bytes> {
    let below = files.iter().filter(|(path, _)| *path != "/");
    pack(below.map(|(path, entry)| (path.trim_start_matches('/'), entry)))
}

/// The file system that an archive holds.
///
/// # Errors
/// As [`unpack`], and `InvalidInput` for entries that are in each other's way.
pub(super) fn unpack_root(archive: &Bytes) -> Result<FileSystem> {
    let mut files = FileSystem::default();
    for (name, entry) in unpack(archive)? {
        let path = super::files::absolute("/", &name);
        if path == "/" || (entry.is_directory() && files.entry(&path).is_some()) {
            continue;
        }
        files
            .put_deep(&path, entry)
            .map_err(|error| Error::invalid("archive", format!("{name} cannot be unpacked: {error}")))?;
    }
    Ok(files)
}

/// The entries of an archive, names without leading or trailing slash. Devices and pipes are left out.
///
/// # Errors
/// `InvalidInput` for what is no tar archive, is cut short, or has a name that leads out of the archive.
pub(super) fn unpack(archive: &Bytes) -> Result<Vec<(String, Entry)>> {
    for (magic, name) in [(&b"\x1f\x8b"[..], "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz")] {
        if archive.starts_with(magic) {
            return Err(broken(format_args!("the in-memory engine reads plain tar, not {name}")));
        }
    }
    let mut found: Vec<(String, Entry)> = Vec::new();
    let mut reader = tar::Archive::new(Cursor::new(archive));
    for entry in reader.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = clean(&name)?;
        let header = entry.header();
        let kind = header.entry_type();
        let mode = header.mode().map_err(broken)? & 0o7777;
        let (uid, gid) = (header.uid().map_err(broken)?, header.gid().map_err(broken)?);
        let modified = header.mtime().map_err(broken)?;
        let link = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let content = match kind {
            tar::EntryType::Directory => Content::Directory,
            tar::EntryType::Symlink => Content::Symlink(link.unwrap_or_default()),
            tar::EntryType::Link => {
                let target = clean(&link.unwrap_or_default())?;
                let original = found.iter().find(|(name, _)| *name == target);
                original.map(|(_, entry)| entry.content.clone()).ok_or_else(|| broken("a hard link to nothing"))?
            }
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                // The size that a header claims is not trusted: the data decides.
                let mut data = Vec::new();
                let expected = entry.size();
                entry.read_to_end(&mut data).map_err(broken)?;
                if data.len() as u64 != expected {
                    return Err(broken("it is cut short"));
                }
                Content::File(data.into())
            }
            _ => continue,
        };
        found.push((name, Entry { content, mode, uid, gid, modified }));
    }
    Ok(found)
}

fn clean(name: &str) -> Result<String> {
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || name.contains('\0') {
        return Err(broken(format_args!("the name {name:?} leads out of it")));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_equal() {
        let mut link = Entry::file("", 0o777);
        link.content = Content::Symlink("../x".to_owned());
        let entries = [("d", Entry::directory()), ("d/f", Entry::file(vec![0, 255, 10], 0o640)), ("d/l", link)];
        let archive = pack(entries.iter().map(|(name, entry)| (*name, entry))).unwrap();
        let back = unpack(&archive).unwrap();
        assert_eq!(back.len(), 3);
        for ((name, entry), (found_name, found)) in entries.iter().zip(&back) {
            assert_eq!((*name, entry), (found_name.as_str(), found));
        }
        for length in [1, 100, 600, archive.len() / 2 - 100] {
            assert!(unpack(&archive.slice(..length)).is_err(), "cut after {length} bytes");
        }
    }

    #[test]
    fn hostile_and_foreign_archives_are_refused() {
        for data in [&b"\x1f\x8b\x08\x00"[..], b"BZh9", &b"no archive ".repeat(100)] {
            assert_eq!(unpack(&Bytes::copy_from_slice(data)).unwrap_err().field(), Some("archive"));
        }
        assert!(clean("a/../../etc/passwd").is_err());
        assert_eq!(clean("./a//b/").unwrap(), "a/b");
    }
}
