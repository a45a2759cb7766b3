//! Tars read entry by entry as they arrive, and the headers of those that are written.
//!
//! For archives whose entries are archives themselves: an image that is saved, an image in two files. Only their outer
//! frame is looked at; what the entries hold passes through in pieces.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use roadstead_core::{ByteStream, Result};

use super::frame::{EXTENSION_MAX, Header};
use super::{BLOCK, broken};

/// An entry that is to be read next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path as it stands in the archive, without `./` at its beginning.
    pub(crate) name: String,
    /// Bytes of content.
    pub(crate) size: u64,
    /// Whether it is a plain file.
    pub(crate) file: bool,
}

/// Reads a tar from its beginning to its end, once.
pub(crate) struct Reader {
    archive: ByteStream,
    /// What has come and is not read yet.
    ahead: Bytes,
    /// Bytes of the entry's content that are not read yet.
    left: u64,
    /// Bytes after the content up to the next header.
    padding: u64,
}

impl Reader {
    /// Reads `archive`.
    pub(crate) fn new(archive: ByteStream) -> Self {
        Reader { archive, ahead: Bytes::new(), left: 0, padding: 0 }
    }

    /// The first bytes of the archive, up to one block; less only when there is no more. They stay to be read.
    pub(crate) async fn peek(&mut self) -> Result<&[u8]> {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.ahead));
        while bytes.len() < BLOCK {
            match self.archive.next().await {
                Some(piece) => bytes.extend_from_slice(&piece?),
                None => break,
            }
        }
        self.ahead = bytes.freeze();
        Ok(self.ahead.get(..BLOCK.min(self.ahead.len())).unwrap_or_default())
    }

    /// The archive from where it was read up to.
    pub(crate) fn into_rest(self) -> ByteStream {
        futures_util::stream::iter((!self.ahead.is_empty()).then_some(Ok(self.ahead))).chain(self.archive).boxed()
    }

    /// The next entry, after what is left of the one before; `None` at the end of the archive.
    ///
    /// # Errors
    /// `InvalidInput` that names `archive`, or what the sender says.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        while self.read().await?.is_some() {}
        let mut long_name = None;
        let mut long_size = None;
        loop {
            let Some(block) = self.block().await? else { return Ok(None) };
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::read(&block).ok_or_else(|| broken("an entry has a wrong checksum or size"))?;
            if matches!(header.kind, b'x' | b'g' | b'L' | b'K') {
                let text = self.extension(header.size).await?;
                match header.kind {
                    b'L' => long_name = Some(until_nul(&text)),
                    b'x' => {
                        long_name = record(&text, "path").or(long_name);
                        long_size = record(&text, "size").and_then(|size| size.parse().ok()).or(long_size);
                    }
                    _ => {}
                }
                continue;
            }
            // Links, devices and directories have no content, whatever their size says.
            let size = if matches!(header.kind, b'1'..=b'6') { 0 } else { long_size.unwrap_or(header.size) };
            let name = long_name.take().unwrap_or_else(|| short_name(&block));
            (self.left, self.padding) = (size, padding(size));
            return Ok(Some(Entry {
                name: name.trim_start_matches("./").to_owned(),
                size,
                file: matches!(header.kind, 0 | b'0'),
            }));
        }
    }

    /// The next piece of the entry's content; `None` at its end.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.left > 0 {
            self.fill().await?;
            let piece = self.ahead.split_to(step(self.left, self.ahead.len()));
            self.left -= piece.len() as u64;
            return Ok(Some(piece));
        }
        while self.padding > 0 {
            // Some programs leave the last padding out.
            if self.ahead.is_empty() && !self.more().await? {
                self.padding = 0;
                break;
            }
            let step = step(self.padding, self.ahead.len());
            self.ahead.advance(step);
            self.padding -= step as u64;
        }
        Ok(None)
    }

    /// All of the entry's content, which must not be longer than `max` bytes.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub(crate) async fn whole(&mut self, max: usize) -> Result<Bytes> {
        if self.left > max as u64 {
            return Err(broken("an entry that describes others is too long"));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = self.read().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The content of an extended header.
    async fn extension(&mut self, size: u64) -> Result<Bytes> {
        if size > EXTENSION_MAX {
            return Err(broken("an extended header is too long"));
        }
        (self.left, self.padding) = (size, padding(size));
        self.whole(usize::try_from(EXTENSION_MAX).unwrap_or(usize::MAX)).await
    }

    /// One block; `None` when the archive has ended before it.
    async fn block(&mut self) -> Result<Option<Bytes>> {
        let mut block = BytesMut::new();
        while block.len() < BLOCK {
            if self.ahead.is_empty() && !self.more().await? {
                return if block.is_empty() { Ok(None) } else { Err(broken("it ends in the middle of an entry")) };
            }
            let step = (BLOCK - block.len()).min(self.ahead.len());
            block.extend_from_slice(&self.ahead.split_to(step));
        }
        Ok(Some(block.freeze()))
    }

    async fn fill(&mut self) -> Result<()> {
        if self.ahead.is_empty() && !self.more().await? {
            return Err(broken("it ends in the middle of an entry"));
        }
        Ok(())
    }

    /// Waits for the next piece that is not empty; false when there is none.
    async fn more(&mut self) -> Result<bool> {
        loop {
            match self.archive.next().await {
                None => return Ok(false),
                Some(piece) => self.ahead = piece?,
            }
            if !self.ahead.is_empty() {
                return Ok(true);
            }
        }
    }
}

fn step(left: u64, there: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(there)
}

/// How many bytes of zero follow content of `size` bytes.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn short_name(block: &[u8]) -> String {
    let field = |from: usize, to: usize| until_nul(block.get(from..to).unwrap_or_default());
    let prefix = if block.get(257..263) == Some(b"ustar\0".as_slice()) { field(345, 500) } else { String::new() };
    if prefix.is_empty() { field(0, 100) } else { format!("{prefix}/{}", field(0, 100)) }
}

/// The value of `key` in an extended header: records of the form `LENGTH KEY=VALUE\n`.
fn record(mut records: &[u8], key: &str) -> Option<String> {
    let mut found = None;
    while let Some(blank) = records.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(records.get(..blank)?).ok()?.parse().ok()?;
        let pair = records.get(blank + 1..length.checked_sub(1)?)?;
        if let Some(value) = pair.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            found = Some(String::from_utf8_lossy(value).into_owned());
        }
        records = records.get(length..)?;
    }
    found
}

/// The header of a plain file that only root may write, without a time. `name` has at most 100 bytes.
pub(crate) fn entry_header(name: &str, size: u64) -> Bytes {
    let mut header = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\x000000000\x000000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // Octal digits do not reach: the first bit says that the number is binary.
        put(124, &[0x80]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
        *place = byte;
    }
    Bytes::from(header)
}

/// What follows content of `size` bytes.
pub(crate) fn padding_after(size: u64) -> Bytes {
    Bytes::from_static(&[0; BLOCK]).split_to(step(padding(size), BLOCK))
}

/// A whole entry.
pub(crate) fn entry(name: &str, content: &[u8]) -> Bytes {
    let size = content.len() as u64;
    Bytes::from([&entry_header(name, size)[..], content, &padding_after(size)[..]].concat())
}

/// A whole archive of one file.
pub(crate) fn one_file(name: &str, content: &[u8]) -> Bytes {
    Bytes::from([&entry(name, content)[..], &end()[..]].concat())
}

/// What the first entry is called, told by the first block of an archive; `None` when an extended header tells it.
///
/// # Errors
/// `InvalidInput` that names `archive` when it is none.
pub(crate) fn first_name(block: &[u8]) -> Result<Option<String>> {
    let refuse = || broken("it is not a tar archive");
    let block = block.get(..BLOCK).ok_or_else(refuse)?;
    let header = Header::read(block).ok_or_else(refuse)?;
    let extended = matches!(header.kind, b'x' | b'g' | b'L' | b'K');
    Ok((!extended).then(|| short_name(block).trim_start_matches("./").to_owned()))
}

/// What ends an archive.
pub(crate) fn end() -> Bytes {
    Bytes::from_static(&[0; 2 * BLOCK])
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use roadstead_core::ErrorKind;

    use super::*;

    fn reader(bytes: &[u8], size: usize) -> Reader {
        let pieces: Vec<Result<Bytes>> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Reader::new(stream::iter(pieces).boxed())
    }

    async fn read(bytes: &[u8], size: usize) -> Result<Vec<(String, Bytes)>> {
        let mut reader = reader(bytes, size);
        let mut found = Vec::new();
        while let Some(entry) = reader.next().await? {
            found.push((entry.name, reader.whole(10_000).await?));
        }
        Ok(found)
    }

    #[tokio::test]
    async fn what_was_written_is_read_however_it_arrives() {
        let archive = [entry("./a", b"hello"), entry("b/c", &[7; 1024]), entry("empty", b""), end()].concat();
        for size in [1, 511, 513, archive.len()] {
            let found = read(&archive, size).await.unwrap();
            let names: Vec<_> = found.iter().map(|(name, data)| (name.as_str(), data.len())).collect();
            assert_eq!(names, [("a", 5), ("b/c", 1024), ("empty", 0)], "in pieces of {size}");
        }
        // Without end marks and the last padding.
        let bare = entry("a", b"hello");
        assert_eq!(read(&bare[..BLOCK + 5], 100).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn content_that_is_not_read_is_passed_over() {
        let archive = [entry("a", &[1; 5000]), entry("b", b"x"), end()].concat();
        let mut reader = reader(&archive, 700);
        assert_eq!(reader.peek().await.unwrap().len(), BLOCK);
        assert_eq!(reader.next().await.unwrap().unwrap().size, 5000);
        assert_eq!(reader.next().await.unwrap().unwrap().name, "b");
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_a_peek_saw_is_still_there() {
        let mut reader = reader(b"0123456789", 3);
        assert_eq!(reader.peek().await.unwrap(), b"0123456789");
        let rest: Vec<_> = reader.into_rest().collect().await;
        assert_eq!(rest.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat(), b"0123456789");
    }

    #[tokio::test]
    async fn broken_archives_are_refused() {
        let whole = entry("a", &[1; 5000]);
        for bytes in [&whole[..300], &whole[..2000], b"nonsense"] {
            let error = read(bytes, 100).await.unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("archive")));
        }
    }

    #[tokio::test]
    async fn long_sizes_are_written_in_binary() {
        let header = entry_header("big", 1 << 40);
        assert_eq!(reader(&header, 512).next().await.unwrap().unwrap().size, 1 << 40);
    }

    #[test]
    fn the_first_name_is_told_by_the_first_block() {
        assert_eq!(first_name(&one_file("./a/b", b"x")).unwrap().as_deref(), Some("a/b"));
        assert!(first_name(b"short").is_err() && first_name(&[b'x'; BLOCK]).is_err());
    }

    #[test]
    fn records_of_extended_headers() {
        assert_eq!(record(b"12 path=a/b\n11 size=70\n", "size").as_deref(), Some("70"));
        assert_eq!(record(b"12 path=a/b\n", "path").as_deref(), Some("a/b"));
        assert_eq!(record(b"99 path=a/b\n", "path"), None);
    }
}
