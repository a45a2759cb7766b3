//! A single entry of an archive: what stands at its beginning is read, and the rest is left alone.

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::header::{BLOCK, Entry, Kind};
use super::reader::Reader;
use crate::error::Result;
use crate::stream::ByteStream;

/// What is at a path, as the first entry of its archive says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Look {
    /// Where a symbolic link leads; none for everything else.
    pub(in super::super) link: Option<Vec<u8>>,
    /// Permissions, with set-id and sticky bits.
    pub(in super::super) mode: u32,
    pub(in super::super) uid: u64,
    pub(in super::super) gid: u64,
}

/// Looks at the first entry; none when the archive has no entry, as that of a socket, which no archive can hold.
pub(in super::super) async fn look(archive: ByteStream) -> Result<Option<Look>> {
    let found = Reader::new(archive).next().await?;
    Ok(found.map(|found| {
        let Entry { kind, mode, uid, gid, link, .. } = found.entry;
        Look { link: (kind == Kind::Symlink).then_some(link), mode, uid, gid }
    }))
}

/// The archive of an empty directory of root's with this mode.
pub(in super::super) fn empty_directory(mode: u32) -> ByteStream {
    let mut archive = Entry { mode, ..Entry::directory(b"directory") }.write();
    archive.resize(archive.len() + 2 * BLOCK, 0);
    stream::once(async { Ok(Bytes::from(archive)) }).boxed()
}
