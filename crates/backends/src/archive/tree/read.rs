//! The entries of a plain tar that arrives as a stream, one after the other, with their data in pieces.
//!
//! ustar, PAX and the long names of GNU are read; what belongs together comes as one [`Entry`]. Memory is bounded: of the
//! data, only the piece that has just arrived is held.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use roadstead_core::{ByteStream, Result};

use super::super::{BLOCK, broken};
use super::entry::{Entry, Kind};

/// Extensions and long names are never longer than this.
const EXTENSION_MAX: u64 = 1024 * 1024;

/// Reads an archive.
pub(crate) struct Entries {
    source: ByteStream,
    held: Bytes,
    /// Data of the present entry that has not been given, and what stands after it.
    left: u64,
    padding: u64,
    ended: bool,
}

impl Entries {
    pub(crate) fn new(source: ByteStream) -> Self {
        Entries { source, held: Bytes::new(), left: 0, padding: 0, ended: false }
    }

    /// The next entry; what was not taken of the one before is skipped.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        let mut extension = Extension::default();
        while self.data().await?.is_some() {}
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(block) = self.block().await? else {
                self.ended = true;
                return Ok(None);
            };
            if block.iter().all(|byte| *byte == 0) {
                self.ended = true;
                // Whoever sends the archive must not hear its pipe break: what stands after the end is read, too.
                while let Some(piece) = self.source.next().await {
                    piece?;
                }
                return Ok(None);
            }
            let header =
                Header::read(&block).ok_or_else(|| broken("it is not a tar archive, or a header is damaged"))?;
            match header.letter {
                b'x' => extension.records(&self.text(header.size).await?)?,
                // A global extension says nothing about owners, modes or names.
                b'g' => drop(self.text(header.size).await?),
                b'L' => extension.path = Some(until_nul(&self.text(header.size).await?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.text(header.size).await?).to_vec()),
                letter => {
                    let kind = Kind::from_letter(letter)
                        .ok_or_else(|| broken("it has an entry of a kind that is not read, such as a sparse file"))?;
                    let entry = extension.complete(header, kind)?;
                    self.left = entry.size;
                    self.padding = entry.size.next_multiple_of(BLOCK as u64) - entry.size;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The next piece of the present entry's data.
    pub(crate) async fn data(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            let padding = std::mem::take(&mut self.padding);
            self.skip(padding).await?;
            return Ok(None);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let Some(piece) = self.piece(most).await? else { return Err(broken("it ends in the middle of an entry")) };
        self.left -= piece.len() as u64;
        Ok(Some(piece))
    }

    /// At most `most` bytes, not none; none at the end.
    async fn piece(&mut self, most: usize) -> Result<Option<Bytes>> {
        while self.held.is_empty() {
            match self.source.next().await {
                Some(piece) => self.held = piece?,
                None => return Ok(None),
            }
        }
        Ok(Some(self.held.split_to(self.held.len().min(most))))
    }

    async fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            // Some programs leave the last padding out.
            let Some(piece) = self.piece(usize::try_from(count).unwrap_or(usize::MAX)).await? else { break };
            count -= piece.len() as u64;
        }
        Ok(())
    }

    async fn block(&mut self) -> Result<Option<BytesMut>> {
        let mut block = BytesMut::with_capacity(BLOCK);
        while block.len() < BLOCK {
            match self.piece(BLOCK - block.len()).await? {
                Some(piece) => block.extend_from_slice(&piece),
                None if block.is_empty() => return Ok(None),
                None => return Err(broken("it ends in the middle of a header")),
            }
        }
        Ok(Some(block))
    }

    async fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_MAX {
            return Err(broken("an extended header is too long"));
        }
        let mut pieces = VecDeque::new();
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        while let Some(piece) = self.data().await? {
            pieces.push_back(piece);
        }
        Ok(pieces.into_iter().flatten().collect())
    }
}

/// The members of a block that do not need what stood before it.
struct Header {
    letter: u8,
    path: Vec<u8>,
    link: Vec<u8>,
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: i64,
    device: (u64, u64),
}

impl Header {
    fn read(block: &[u8]) -> Option<Self> {
        let field = |from: usize, length: usize| block.get(from..from + length);
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
            .sum();
        if number(field(148, 8)?)? != sum {
            return None;
        }
        let name = until_nul(field(0, 100)?);
        let ustar = field(257, 6)? == b"ustar\0";
        let before = if ustar { until_nul(field(345, 155)?) } else { &[] };
        let path = if before.is_empty() { name.to_vec() } else { [before, b"/", name].concat() };
        Some(Header {
            letter: *block.get(156)?,
            path,
            link: until_nul(field(157, 100)?).to_vec(),
            mode: number(field(100, 8)?)?,
            uid: number(field(108, 8)?)?,
            gid: number(field(116, 8)?)?,
            size: number(field(124, 12)?)?,
            // Times before 1970 are negative numbers of GNU; nobody is helped by an archive refused for one.
            mtime: number(field(136, 12)?).and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0),
            device: (number(field(329, 8)?).unwrap_or(0), number(field(337, 8)?).unwrap_or(0)),
        })
    }
}

/// What stood before a header and is about it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    mtime: Option<i64>,
    others: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extension {
    fn records(&mut self, text: &[u8]) -> Result<()> {
        let wrong = || broken("an extended header makes no sense");
        let mut rest = text;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = rest.get(..space).and_then(decimal).and_then(|length| usize::try_from(length).ok());
            let (record, after) = length.and_then(|length| rest.split_at_checked(length)).ok_or_else(wrong)?;
            let record = record.get(space + 1..).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (name, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            match name {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = Some(decimal(value).ok_or_else(wrong)?),
                b"gid" => self.gid = Some(decimal(value).ok_or_else(wrong)?),
                b"size" => self.size = Some(decimal(value).ok_or_else(wrong)?),
                b"mtime" => {
                    let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                    self.mtime = std::str::from_utf8(whole).ok().and_then(|text| text.parse().ok());
                    self.others.push((name.to_vec(), value.to_vec()));
                }
                _ if name.starts_with(b"GNU.sparse.") => {
                    return Err(broken("it has a sparse file, which is not read"));
                }
                _ => self.others.push((name.to_vec(), value.to_vec())),
            }
            rest = after;
        }
        Ok(())
    }

    fn complete(&mut self, header: Header, kind: Kind) -> Result<Entry> {
        let Extension { path, link, uid, gid, size, mtime, others } = std::mem::take(self);
        let mut path = path.unwrap_or(header.path);
        // Writers of old mark a directory by a slash only.
        let kind = if kind == Kind::File && path.ends_with(b"/") { Kind::Directory } else { kind };
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        if path.contains(&0) {
            return Err(broken("a path has a NUL in it"));
        }
        let mut entry = Entry::new(path, kind);
        entry.mode = u32::try_from(header.mode & 0o7777).unwrap_or(0);
        entry.uid = uid.unwrap_or(header.uid);
        entry.gid = gid.unwrap_or(header.gid);
        // Links, devices and directories have no data, whatever their size says.
        entry.size = if kind == Kind::File { size.unwrap_or(header.size) } else { 0 };
        entry.mtime = mtime.unwrap_or(header.mtime);
        entry.link = link.unwrap_or(header.link);
        entry.device = header.device;
        entry.records = others;
        Ok(entry)
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn decimal(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Octal digits, or the big-endian bytes that GNU writes where these have no room.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        if first & 0x40 != 0 {
            return None;
        }
        return rest
            .iter()
            .try_fold(u64::from(first & 0x3f), |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(until_nul(field)).ok()?.trim_matches(' ');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use roadstead_core::ErrorKind;

    use super::*;

    fn source(bytes: &[u8], size: usize) -> ByteStream {
        let pieces: Vec<Result<Bytes>> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<(Entry, Vec<u8>)>> {
        let mut entries = Entries::new(source(bytes, size));
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await? {
            let mut data = Vec::new();
            while let Some(piece) = entries.data().await? {
                data.extend_from_slice(&piece);
            }
            found.push((entry, data));
        }
        Ok(found)
    }

    fn samples() -> Vec<(Entry, Vec<u8>)> {
        let mut plain = Entry::new(*b"d/plain", Kind::File);
        (plain.mode, plain.uid, plain.gid, plain.mtime) = (0o4755, 1000, 65534, 1_700_000_000);
        let mut directory = Entry::new(*b"d", Kind::Directory);
        directory.mode = 0o1777;
        let mut link = Entry::new(*b"d/link", Kind::SymbolicLink);
        link.link = [b"../", "é".repeat(80).as_bytes()].concat();
        let mut long = Entry::new([b"x/".repeat(200).as_slice(), "ü".repeat(60).as_bytes()].concat(), Kind::File);
        (long.uid, long.mtime) = (3_000_000_000, -5);
        let mut split = Entry::new([b"a".repeat(90), b"/".to_vec(), b"b".repeat(99)].concat(), Kind::Directory);
        split.records = vec![(b"SCHILY.xattr.user.x".to_vec(), b"bin\0=\nary".to_vec())];
        let mut hard = Entry::new(*b"hard", Kind::HardLink);
        hard.link = b"d/plain".to_vec();
        let mut device = Entry::new(*b"null", Kind::CharacterDevice);
        device.device = (1, 3);
        vec![
            (directory, Vec::new()),
            (plain, b"hello".to_vec()),
            (link, Vec::new()),
            (long, vec![7; 1024]),
            (split, Vec::new()),
            (hard, Vec::new()),
            (device, Vec::new()),
        ]
    }

    fn write(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (entry, data) in entries {
            let mut entry = entry.clone();
            entry.size = data.len() as u64;
            archive.extend_from_slice(&entry.blocks());
            archive.extend_from_slice(data);
            archive.extend_from_slice(&entry.padding());
        }
        archive.extend_from_slice(&Entry::end());
        archive
    }

    #[tokio::test]
    async fn what_is_written_is_read_again() {
        let mut expected = samples();
        for (entry, data) in &mut expected {
            entry.size = data.len() as u64;
        }
        expected[3].0.records = vec![(b"mtime".to_vec(), b"-5".to_vec())];
        let archive = write(&samples());
        for size in [1, 511, archive.len()] {
            assert_eq!(read(&archive, size).await.unwrap(), expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn other_programs_read_it_and_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        std::fs::write(&path, write(&samples()[..4])).unwrap();
        let tar = |arguments: &[&str]| {
            let output = std::process::Command::new("tar").args(arguments).current_dir(&directory).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let list = tar(&["tvf", "a.tar", "--numeric-owner"]);
        assert!(list.contains("-rwsr-xr-x 1000/65534") && list.contains("drwxrwxrwt"), "{list}");
        std::fs::create_dir(directory.path().join("t")).unwrap();
        let name = "n".repeat(180);
        std::fs::write(directory.path().join("t").join(&name), "data").unwrap();
        std::fs::hard_link(directory.path().join("t").join(&name), directory.path().join("t/zz")).unwrap();
        for format in ["gnu", "pax", "ustar", "v7"] {
            if matches!(format, "ustar" | "v7") {
                let _ = std::fs::remove_file(directory.path().join("t").join(&name));
            }
            tar(&["cf", "b.tar", "--sort=name", "--format", format, "t"]);
            let found = read(&std::fs::read(directory.path().join("b.tar")).unwrap(), 700).await.unwrap();
            assert_eq!((found[0].0.path.as_slice(), found[0].0.kind), (&b"t"[..], Kind::Directory), "{format}");
            if found.len() == 3 {
                assert_eq!(found[1].0.path, format!("t/{name}").into_bytes(), "{format}");
                assert_eq!((found[2].0.kind, &found[2].0.link), (Kind::HardLink, &found[1].0.path), "{format}");
            }
            assert_eq!(found[1].1, b"data", "{format}");
        }
    }

    #[tokio::test]
    async fn broken_ones_are_refused() {
        let archive = write(&samples());
        let mut flipped = archive.clone();
        flipped[3] ^= 1;
        for broken in [flipped, archive[..700].to_vec(), archive[..1026].to_vec(), vec![b'x'; 2048]] {
            assert_eq!(read(&broken, 512).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(read(&[], 1).await.unwrap().is_empty());
    }
}
