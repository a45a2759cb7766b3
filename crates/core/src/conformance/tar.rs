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

/// An archive of these files.
pub(super) fn write(files: &[File]) -> Vec<u8> {
    let mut archive = Vec::new();
    for file in files {
        let mut header = format!("{:\0<100}{:07o}\0{:07o}\0{:07o}\0", file.path, file.mode, 0, 0);
        header.push_str(&format!("{:011o}\0{:011o}\0        0", file.data.len(), 1_600_000_000));
        header.push_str(&"\0".repeat(100));
        header.push_str("ustar\x0000");
        let mut header = header.into_bytes();
        header.resize(BLOCK, 0);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
            *place = byte;
        }
        archive.extend_from_slice(&header);
        archive.extend_from_slice(&file.data);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The plain files of an archive.
pub(super) fn read(archive: &[u8]) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut rest = archive;
    let mut long_name = None;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(files);
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
            Some(0 | b'0') => {
                let (name, prefix) = (field(0, 100), field(345, 155));
                let ustar = field(257, 6) == "ustar";
                let short = if ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name };
                let path = long_name.take().unwrap_or(short);
                let mode = u32::try_from(octal(100, 8)? & 0o7777).unwrap_or_default();
                let path = path.trim_start_matches("./").trim_start_matches('/');
                files.push(File::new(path, mode, data));
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
