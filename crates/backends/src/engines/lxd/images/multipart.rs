//! Images in two files: the `multipart/form-data` in which servers take and give them.
//!
//! The first part is the metadata, the second the root file system. Servers read the parts in this order, give no part's
//! length, and end their own answers twice.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};

/// Separates the parts that we send. Content that holds it by accident would be cut there: 128 random bits are enough.
pub(super) struct Boundary(String);

impl Boundary {
    /// A new one.
    pub(super) fn new() -> Self {
        Boundary(format!("roadstead-{}", random()))
    }

    /// The value of the header `content-type`.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.0)
    }

    /// What comes before the content of a part; `first` for the first one.
    pub(super) fn part(&self, first: bool, name: &str, file_name: &str) -> Bytes {
        let line_end = if first { "" } else { "\r\n" };
        // A quote or a line break would end the header.
        let file_name: String = file_name.chars().filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\').collect();
        Bytes::from(format!(
            "{line_end}--{}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.0
        ))
    }

    /// What comes after the last part.
    pub(super) fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.0))
    }
}

/// 128 random bits in hexadecimal digits. Two hashers with the keys of the process's own random state give 64 each.
pub(super) fn random() -> String {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(std::time::Instant::now());
    format!("{:016x}{:016x}", half(), half())
}

/// The boundary that a `content-type` names; `None` when it is no multipart.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let mut fields = content_type.split(';').map(str::trim);
    fields.next().filter(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))?;
    let value = fields.find_map(|field| field.strip_prefix("boundary="))?.trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// A part that is to be read next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name: `metadata`, `rootfs` or `rootfs.img`.
    pub(super) name: String,
    /// The name of its file.
    pub(super) file_name: String,
}

/// The headers of a part are never longer than this.
const HEADERS_MAX: usize = 16 * 1024;

/// Reads the parts of a body, once.
pub(super) struct Reader {
    body: ByteStream,
    buffer: BytesMut,
    /// What ends a part's content.
    delimiter: Vec<u8>,
    /// Whether the content of a part is being read.
    inside: bool,
}

impl Reader {
    /// Reads `body`.
    pub(super) fn new(body: ByteStream, boundary: &str) -> Self {
        // The first delimiter has no line break before it; one is put there so that all are alike.
        Reader {
            body,
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            inside: true,
        }
    }

    /// The next part; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        while self.read().await?.is_some() {}
        while self.buffer.len() < 2 {
            if !self.more().await? {
                return Ok(None);
            }
        }
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if self.buffer.len() > HEADERS_MAX || !self.more().await? {
                return Err(nonsense());
            }
        };
        let headers = self.buffer.split_to(end + 4);
        self.inside = true;
        let mut part = Part::default();
        for line in String::from_utf8_lossy(&headers).lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            if key.eq_ignore_ascii_case("content-disposition") {
                let field = |name: &str| {
                    let fields = value.split(';').filter_map(|field| field.trim().split_once('='));
                    let found = fields.into_iter().find(|(key, _)| *key == name);
                    found.map(|(_, value)| value.trim_matches('"').to_owned()).unwrap_or_default()
                };
                part = Part { name: field("name"), file_name: field("filename") };
            }
        }
        Ok(Some(part))
    }

    /// The next piece of the part's content; `None` at its end.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>> {
        while self.inside {
            if let Some(end) = find(&self.buffer, &self.delimiter) {
                let piece = self.buffer.split_to(end).freeze();
                let _ = self.buffer.split_to(self.delimiter.len());
                self.inside = false;
                return Ok((!piece.is_empty()).then_some(piece));
            }
            // A delimiter may have begun at the end of what is here.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            if !self.more().await? {
                return Err(nonsense());
            }
        }
        Ok(None)
    }

    /// All of the part's content, which must not be longer than `max` bytes.
    pub(super) async fn whole(&mut self, max: usize) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.read().await? {
            if whole.len() + piece.len() > max {
                return Err(Error::new(ErrorKind::Unexpected, "the metadata of the image is too long"));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The rest of the part's content as a stream.
    pub(super) fn into_content(self) -> ByteStream {
        let content = stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.read().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        content.boxed()
    }

    async fn more(&mut self) -> Result<bool> {
        match self.body.next().await {
            None => Ok(false),
            Some(piece) => {
                self.buffer.extend_from_slice(&piece?);
                Ok(true)
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    // The first byte is searched alone first: content seldom has it, and this is the loop that all content goes through.
    let (first, _) = what.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        if bytes.get(from + at..)?.starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine's answer ended in the middle of an image")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(boundary: &Boundary, metadata: &[u8], rootfs: &[u8]) -> Vec<u8> {
        [
            &boundary.part(true, "metadata", "m.tar")[..],
            metadata,
            &boundary.part(false, "rootfs", "r\"\r\n.tar")[..],
            rootfs,
            &boundary.end()[..],
            // As servers do.
            &boundary.end()[..],
        ]
        .concat()
    }

    fn reader(bytes: &[u8], size: usize, boundary: &str) -> Reader {
        let pieces: Vec<Result<Bytes>> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Reader::new(stream::iter(pieces).boxed(), boundary)
    }

    #[tokio::test]
    async fn what_was_written_is_read_however_it_arrives() {
        let ours = Boundary::new();
        let boundary = boundary(&ours.content_type()).unwrap();
        // Content that nearly looks like a delimiter.
        let rootfs = [b"\r\n--".as_slice(), &boundary.as_bytes()[..8], b"\r\r\n", &[7; 3000], b"\r\n"].concat();
        for metadata in [b"meta".as_slice(), b""] {
            let bytes = body(&ours, metadata, &rootfs);
            for size in [1, 7, 1000, bytes.len()] {
                let mut reader = reader(&bytes, size, &boundary);
                let part = reader.next().await.unwrap().unwrap();
                assert_eq!((part.name.as_str(), part.file_name.as_str()), ("metadata", "m.tar"));
                assert_eq!(reader.whole(100).await.unwrap(), metadata);
                assert_eq!(reader.next().await.unwrap().unwrap().file_name, "r.tar");
                let pieces: Vec<_> = reader.into_content().collect().await;
                assert_eq!(pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat(), rootfs);
            }
        }
    }

    #[tokio::test]
    async fn the_end_is_told_from_a_break() {
        let ours = Boundary::new();
        let boundary = boundary(&ours.content_type()).unwrap();
        let bytes = body(&ours, b"meta", b"root");
        let mut whole = reader(&bytes, 50, &boundary);
        assert!(whole.next().await.unwrap().is_some());
        assert!(whole.next().await.unwrap().is_some());
        assert_eq!(whole.next().await.unwrap(), None);
        let mut cut = reader(&bytes[..bytes.len() / 2], 50, &boundary);
        assert!(cut.next().await.unwrap().is_some());
        assert!(matches!(cut.next().await, Err(error) if error.kind() == ErrorKind::Unavailable));
    }

    #[test]
    fn boundaries_are_found_and_differ() {
        assert_eq!(boundary("multipart/form-data; boundary=\"ab\""), Some("ab".to_owned()));
        assert_eq!(boundary("application/octet-stream; boundary=ab"), None);
        assert_eq!(boundary("multipart/form-data"), None);
        assert_ne!(Boundary::new().content_type(), Boundary::new().content_type());
    }
}
