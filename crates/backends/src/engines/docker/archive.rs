//! Archives on their way to the engine, checked as they pass.
//!
//! Engines differ in what they make of a broken archive: some say so, some take what they can read. So the frame of a
//! plain tar is followed here, in bounded memory; of a compressed one only the engine knows the inside.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, Result, Retry};

/// An archive that is not longer than this is checked as a whole before anything of it is sent.
const AHEAD: usize = 1024 * 1024;
const BLOCK: usize = 512;
/// Extended headers and long names are never longer than this.
const EXTENSION_MAX: u64 = 1024 * 1024;

/// An archive that is being sent, and what was found wrong with it meanwhile.
pub(super) struct Upload {
    /// What is to be sent. It breaks off at the first fault.
    pub(super) body: ByteStream,
    fault: Arc<Mutex<Option<Error>>>,
}

/// Tells, after the engine's answer, whether the archive was at fault.
pub(super) struct Verdict(Arc<Mutex<Option<Error>>>);

impl Upload {
    /// Reads the beginning, or the whole if it is short. `InvalidInput` names `archive`.
    pub(super) async fn begin(mut archive: ByteStream) -> Result<Self> {
        let mut check = Check::default();
        let mut ahead = VecDeque::new();
        let mut length = 0;
        while length < AHEAD {
            let Some(piece) = archive.next().await else {
                check.finish().map_err(broken)?;
                return Ok(Upload { body: stream::iter(ahead.into_iter().map(Ok)).boxed(), fault: Arc::default() });
            };
            let piece = piece?;
            check.push(&piece).map_err(broken)?;
            length += piece.len();
            ahead.push_back(piece);
        }
        let fault = Arc::new(Mutex::new(None));
        let state = Some((archive, check, Arc::clone(&fault)));
        let rest = stream::unfold(state, |state| async {
            let (mut archive, mut check, fault) = state?;
            let problem = match archive.next().await {
                Some(Ok(piece)) => match check.push(&piece) {
                    Ok(()) => return Some((Ok(piece), Some((archive, check, fault)))),
                    Err(why) => broken(why),
                },
                Some(Err(error)) => error,
                None => broken(check.finish().err()?),
            };
            // What goes to the engine only breaks the transfer off; the caller gets the real one.
            let placeholder = broken("the transfer was broken off");
            *fault.lock().unwrap_or_else(PoisonError::into_inner) =
                // The engine may have unpacked what came before.
                Some(problem.with_retry(Retry::Unknown));
            Some((Err(placeholder), None))
        });
        Ok(Upload { body: stream::iter(ahead.into_iter().map(Ok)).chain(rest).boxed(), fault })
    }

    /// The body to be sent, and who tells of its faults.
    pub(super) fn split(self) -> (ByteStream, Verdict) {
        (self.body, Verdict(self.fault))
    }
}

impl Verdict {
    /// The answer to a call that took the archive: the archive's fault comes before what the engine made of it.
    pub(super) fn on<T>(&self, answer: Result<T>) -> Result<T> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => Err(fault),
            None => answer,
        }
    }
}

fn broken(why: &'static str) -> Error {
    Error::invalid("archive", format!("is broken: {why}"))
}

/// Follows the frame of a tar.
#[derive(Debug, Default)]
struct Check {
    block: Vec<u8>,
    state: State,
    /// The size that an extended header gives for the next entry.
    size: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    #[default]
    Start,
    /// A header comes next.
    Header,
    /// One empty block has come; a second ends the archive.
    Ending,
    /// Data, and how much of it is padding.
    Data { left: u64, padding: u64 },
    /// An extended header, to be read.
    Extension { left: u64, length: usize },
    /// Further blocks of a sparse file's map.
    Sparse { size: u64 },
    /// The end, or compressed: anything may follow.
    Anything,
}

impl Check {
    fn push(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Anything => return Ok(()),
                State::Data { left, .. } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    bytes = bytes.get(step..).unwrap_or_default();
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    continue;
                }
                State::Extension { left, length } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    let (taken, rest) = bytes.split_at(step);
                    self.block.extend_from_slice(taken);
                    bytes = rest;
                    if *left == 0 {
                        let length = *length;
                        self.size = extended_size(self.block.get(..length).unwrap_or_default());
                        self.block.clear();
                        self.state = State::Header;
                    }
                    continue;
                }
                State::Start | State::Header | State::Ending | State::Sparse { .. } => {}
            }
            let step = (BLOCK - self.block.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(step);
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.state == State::Start && self.block.len() >= 6 && is_compressed(&self.block) {
                self.state = State::Anything;
                return Ok(());
            }
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.state = self.after(&block)?;
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), &'static str> {
        match self.state {
            State::Start if self.block.is_empty() => Err("it is empty"),
            State::Start => Err("it is not a tar archive"),
            State::Anything => Ok(()),
            // Some programs leave the end marks and the last padding out; engines accept it.
            State::Header | State::Ending if self.block.is_empty() => Ok(()),
            State::Data { left, padding } if left <= padding => Ok(()),
            _ => Err("it ends in the middle of an entry"),
        }
    }

    /// What follows this block.
    fn after(&mut self, block: &[u8]) -> Result<State, &'static str> {
        if let State::Sparse { size } = self.state {
            return Ok(if block.get(504).is_some_and(|more| *more != 0) { State::Sparse { size } } else { data(size) });
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(if self.state == State::Ending { State::Anything } else { State::Ending });
        }
        let header = Header::read(block).ok_or(match self.state {
            State::Start => "it is not a tar archive",
            _ => "an entry has a wrong checksum or size",
        })?;
        match header.kind {
            // Extended headers are about the next entry; global ones and long names do not change its frame.
            b'x' | b'g' | b'L' | b'K' if header.size > EXTENSION_MAX => Err("an extended header is too long"),
            b'x' if header.size > 0 => Ok(State::Extension {
                left: header.size.next_multiple_of(BLOCK as u64),
                length: usize::try_from(header.size).map_err(|_| "an extended header is too long")?,
            }),
            b'x' | b'g' | b'L' | b'K' => Ok(data(header.size)),
            // Links, devices and directories have no data, whatever their size says.
            b'1'..=b'6' => {
                self.size = None;
                Ok(State::Header)
            }
            kind => {
                let size = self.size.take().unwrap_or(header.size);
                let more_map = kind == b'S' && block.get(482).is_some_and(|more| *more != 0);
                Ok(if more_map { State::Sparse { size } } else { data(size) })
            }
        }
    }
}

fn data(size: u64) -> State {
    let whole = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(size);
    if whole == 0 { State::Header } else { State::Data { left: whole, padding: whole - size } }
}

fn is_compressed(bytes: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    magics.iter().any(|magic| bytes.starts_with(magic))
}

struct Header {
    size: u64,
    kind: u8,
}

impl Header {
    fn read(block: &[u8]) -> Option<Self> {
        let sum = number(block.get(148..156)?)?;
        let bytes = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let unsigned: u64 = bytes().map(u64::from).sum();
        // Very old programs summed up signed bytes.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if sum != unsigned && i64::try_from(sum) != Ok(signed) {
            return None;
        }
        Some(Header { size: number(block.get(124..136)?)?, kind: *block.get(156)? })
    }
}

/// A number of a header: octal digits, or, marked by the first bit, binary.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first & 0x80 != 0 {
        // The second bit is a sign; nothing here may be negative.
        let start = (*first & 0x40 == 0).then_some(u64::from(*first & 0x3f))?;
        return rest.iter().try_fold(start, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The `size` of an extended header: records of the form `LENGTH KEY=VALUE\n`.
fn extended_size(mut records: &[u8]) -> Option<u64> {
    let mut size = None;
    while !records.is_empty() {
        let blank = records.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(records.get(..blank)?).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value).ok()?.parse().ok();
        }
        records = records.get(length..)?;
    }
    size
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::TryStreamExt;
    use roadstead_core::ErrorKind;

    use super::*;

    fn pieces(bytes: &[u8], size: usize) -> ByteStream {
        let pieces: Vec<Result<Bytes>> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    fn entry(name: &str, kind: u8, size: &str, data: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend_from_slice(data);
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        block
    }

    fn file(name: &str, data: &[u8]) -> Vec<u8> {
        entry(name, b'0', &format!("{:011o}", data.len()), data)
    }

    async fn send(bytes: &[u8], size: usize) -> Result<Vec<u8>> {
        let (body, verdict) = Upload::begin(pieces(bytes, size)).await?.split();
        let sent: Result<Vec<Bytes>> = body.try_collect().await;
        verdict.on(sent).map(|pieces| pieces.concat())
    }

    #[tokio::test]
    async fn whole_archives_pass_unchanged() {
        let end = vec![0; 2 * BLOCK];
        let extended =
            [entry("h", b'x', "00000000014", b"12 size=700\n"), entry("big", b'0', "00000000001", &[7; 700])];
        for archive in [
            [file("a", b"hello"), entry("d", b'5', "00000000777", b""), file("b", &[1; 1024]), end.clone()].concat(),
            [extended.concat(), file("c", b"x"), end.clone()].concat(),
            [file("a", b"no end marks")].concat(),
            [file("long", &vec![9; 3 * AHEAD]), end.clone(), b"anything after the end".to_vec()].concat(),
            [vec![0x1f, 0x8b, 8, 0, 0, 0], b"only the engine knows".to_vec()].concat(),
        ] {
            for size in [511, 4096, archive.len()] {
                assert_eq!(send(&archive, size).await.unwrap(), archive, "in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn broken_archives_are_refused() {
        let long = file("long", &vec![9; 2 * AHEAD]);
        let mut flipped = file("a", b"hello");
        flipped[3] ^= 1;
        for archive in [
            Vec::new(),
            b"this is not a tar archive".to_vec(),
            vec![b'x'; 4096],
            flipped,
            file("a", b"hello")[..600 - 100].to_vec(),
            file("a", &[5; 600])[..BLOCK + 300].to_vec(),
            long[..long.len() - 4096].to_vec(),
            [long.clone(), vec![b'x'; BLOCK]].concat(),
        ] {
            let error = send(&archive, 700).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.field(), Some("archive"));
        }
    }

    #[tokio::test]
    async fn the_senders_own_error_comes_back() {
        let long = file("long", &vec![9; 2 * AHEAD]);
        let failing = pieces(&long[..AHEAD + 5000], 4096)
            .chain(stream::once(async { Err(Error::new(ErrorKind::Cancelled, "the sender went away")) }))
            .boxed();
        let (body, verdict) = Upload::begin(failing).await.unwrap().split();
        let sent: Result<Vec<Bytes>> = body.try_collect().await;
        assert_eq!(
            verdict.on(sent.map(|_| ())).map_err(|error| (error.kind(), error.retry())),
            Err((ErrorKind::Cancelled, Retry::Unknown))
        );
    }
}
