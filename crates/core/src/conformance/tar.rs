//! As much of the tar format as the suite needs: plain files in ustar, and reading past what other writers add.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use crate::stream::ByteStream;

const BLOCK: usize = 512;

/// A plain file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Path without leading `./` and `/`.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) data: Vec<u8>,
}

impl File {
    pub(super) fn new(path: &str, mode: u32, data: impl Into<Vec<u8>>) -> Self {
        File { path: path.to_owned(), mode, data: data.into() }
    }
}

/// Any entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As of a [`File`], without a slash at the end.
    pub(super) path: String,
    pub(super) directory: bool,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) data: Vec<u8>,
}

impl Entry {
    /// A directory, or a file without content.
    pub(super) fn new(path: &str, directory: bool, mode: u32, owner: (u32, u32)) -> Self {
        Entry { path: path.to_owned(), directory, mode, owner, data: Vec::new() }
    }
}

/// An archive of these files, which root owns.
pub(super) fn write(files: &[File]) -> Vec<u8> {
    let entry = |file: &File| Entry { data: file.data.clone(), ..Entry::new(&file.path, false, file.mode, (0, 0)) };
    write_entries(&files.iter().map(entry).collect::<Vec<_>>())
}

/// An archive of these entries.
pub(super) fn write_entries(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for Entry { path, directory, mode, owner, data } in entries {
        let (path, kind) = if *directory { (format!("{path}/"), 5) } else { (path.clone(), 0) };
        let mut header = format!("{path:\0<100}{mode:07o}\0{:07o}\0{:07o}\0", owner.0, owner.1);
        header.push_str(&format!("{:011o}\0{:011o}\0        {kind}", data.len(), 1_600_000_000));
        header.push_str(&"\0".repeat(100));
        header.push_str("ustar\x0000");
        let mut header = header.into_bytes();
        header.resize(BLOCK, 0);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
            *place = byte;
        }
        archive.extend_from_slice(&header);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The plain files of an archive.
pub(super) fn read(archive: &[u8]) -> Result<Vec<File>, String> {
    let files = read_entries(archive)?.into_iter().filter(|entry| !entry.directory);
    Ok(files.map(|entry| File { path: entry.path, mode: entry.mode, data: entry.data }).collect())
}

/// The plain files and the directories of an archive.
pub(super) fn read_entries(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut rest = archive;
    let mut long_name = None;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(entries);
        }
        let field = |from: usize, length: usize| {
            let bytes = header.get(from..from + length).unwrap_or_default();
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
        };
        let octal = |from, length| {
            let digits = field(from, length);
            usize::from_str_radix(digits.trim(), 8).map_err(|_| format!("{digits:?} is not an octal number"))
        };
        let small = |from| octal(from, 8).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let size = octal(124, 12)?;
        let data = after.get(..size).ok_or("the archive ends within a file")?;
        rest = after.get(size.next_multiple_of(BLOCK)..).ok_or("the archive ends within a file")?;
        match header.get(156) {
            Some(b'L') => long_name = Some(String::from_utf8_lossy(data).trim_end_matches('\0').to_owned()),
            Some(b'x') => {
                let records = String::from_utf8_lossy(data).into_owned();
                let path = records.lines().find_map(|line| line.split_once(' ')?.1.strip_prefix("path="));
                long_name = path.map(str::to_owned).or(long_name);
            }
            Some(kind @ (0 | b'0' | b'5')) => {
                let (name, prefix) = (field(0, 100), field(345, 155));
                let ustar = field(257, 6) == "ustar";
                let short = if ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name };
                let path = long_name.take().unwrap_or(short);
                let path = path.trim_start_matches("./").trim_matches('/');
                let owner = (small(108)?, small(116)?);
                let entry = Entry::new(path, *kind == b'5', small(100)? & 0o7777, owner);
                entries.push(Entry { data: data.to_vec(), ..entry });
            }
            Some(_) => long_name = None,
            None => {}
        }
    }
    Err("the archive has no end".to_owned())
}

/// Bytes in pieces, as they arrive over a network.
pub(super) fn stream_of(bytes: impl AsRef<[u8]>) -> ByteStream {
    let pieces: Vec<_> = bytes.as_ref().chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// Something that is no archive of any kind.
pub(super) fn broken() -> ByteStream {
    stream_of(b"this is not an archive; ".repeat(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_owners_are_read_as_written() {
        let entries = [Entry::new("d", true, 0o2750, (1, 2)), Entry::new("d/f", false, 0o600, (1234, 4321))];
        assert_eq!(read_entries(&write_entries(&entries)).unwrap(), entries);
        assert_eq!(read(&write_entries(&entries)).unwrap(), [File::new("d/f", 0o600, "")]);
    }

    #[test]
    fn what_was_written_is_read() {
        let files = [File::new("a/b", 0o640, "text"), File::new("empty", 0o4755, ""), File::new("c", 0o644, [7; 513])];
        let archive = write(&files);
        assert_eq!(archive.len() % BLOCK, 0);
        assert_eq!(&archive[257..263], b"ustar\0");
        assert_eq!(read(&archive).unwrap(), files);
        assert!(read(&archive[..700]).is_err());
        assert!(read(b"nonsense").is_err());
    }
}
