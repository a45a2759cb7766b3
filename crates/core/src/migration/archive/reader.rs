//! Reading a tar stream entry by entry, without holding more of it than one piece.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::header::{self, BLOCK, Entry, Kind, Records, broken, clean};
use crate::error::{Error, ErrorKind, Result};
use crate::stream::ByteStream;

/// Extended headers hold names and attributes; what is longer is no header.
const EXTENDED_MAX: u64 = 4 * 1024 * 1024;

/// How much of a file's data is given at once at most.
const PIECE: usize = 256 * 1024;

/// An entry as it came: its headers verbatim, and what they say.
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) headers: Bytes,
}

pub(super) struct Reader {
    stream: ByteStream,
    buffer: BytesMut,
    ended: bool,
}

impl Reader {
    pub(super) fn new(stream: ByteStream) -> Self {
        Reader { stream, buffer: BytesMut::new(), ended: false }
    }

    /// Reads until the buffer holds `wanted` bytes, or the stream has ended.
    async fn fill(&mut self, wanted: usize) -> Result<()> {
        while self.buffer.len() < wanted && !self.ended {
            match self.stream.next().await {
                Some(piece) => self.buffer.extend_from_slice(&piece?),
                None => self.ended = true,
            }
        }
        Ok(())
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes> {
        self.fill(length).await?;
        if self.buffer.len() < length {
            // An engine that died in the middle of its answer.
            return Err(Error::new(ErrorKind::Unavailable, "the engine's archive was cut short"));
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Some of the next `left` bytes of data.
    pub(super) async fn piece(&mut self, left: u64) -> Result<Bytes> {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        if self.buffer.is_empty() {
            self.fill(1).await?;
        }
        let length = most.min(self.buffer.len()).max(1);
        self.exactly(length).await
    }

    /// The headers of the next entry; none at the end of the archive, which is read to the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Found>> {
        let mut headers = BytesMut::new();
        let mut records = Records::new();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            let block = self.exactly(BLOCK).await?;
            if block.iter().all(|byte| *byte == 0) {
                return self.finish().await.map(|()| None);
            }
            let (letter, mut entry) = header::parse(&block)?;
            match letter {
                b'x' | b'g' | b'L' | b'K' => {
                    if entry.size > EXTENDED_MAX {
                        return Err(broken("an extended header is too long"));
                    }
                    let size = usize::try_from(entry.size).map_err(broken)?;
                    let data = self.exactly(size.next_multiple_of(BLOCK)).await?;
                    let content = data.get(..size).unwrap_or_default();
                    match letter {
                        b'x' => records.extend(header::records(content)?),
                        b'L' => long_path = Some(header::long_name(content)),
                        b'K' => long_link = Some(header::long_name(content)),
                        // Global headers hold remarks of whoever wrote the archive.
                        _ => continue,
                    }
                    headers.extend_from_slice(&block);
                    headers.extend_from_slice(&data);
                }
                b'S' => return Err(broken("it holds sparse files")),
                0 | b'0'..=b'7' => {
                    headers.extend_from_slice(&block);
                    entry.path = long_path.unwrap_or(entry.path);
                    entry.link = long_link.unwrap_or(entry.link);
                    entry.extend(records)?;
                    entry.path = clean(&entry.path)?;
                    if entry.kind == Kind::HardLink {
                        entry.link = clean(&entry.link)?;
                    }
                    if entry.kind != Kind::File {
                        // Some writers give links the size of what they lead to, without any data.
                        entry.size = 0;
                    }
                    return Ok(Some(Found { entry, headers: headers.freeze() }));
                }
                other => return Err(broken(format_args!("it holds an entry of type {:?}", char::from(other)))),
            }
        }
    }

    /// Errors of an engine may come after the last block.
    async fn finish(&mut self) -> Result<()> {
        self.buffer.clear();
        while let Some(piece) = self.stream.next().await {
            piece?;
        }
        Ok(())
    }
}
