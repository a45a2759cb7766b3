//! Tar archives on their way to and from engines: checked as they pass, read and written entry by entry.
//!
//! Engines differ in what they make of a broken archive: some say so, some take what they can read, some notice only when
//! the first container is made of it. So the frame of a plain tar is followed here, in bounded memory; of a compressed one
//! only the engine knows the inside.

mod entries;
mod frame;
pub(crate) mod tree;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, Result, Retry};

pub(crate) use entries::{Entry, Reader, end, entry, entry_header, first_name, one_file, padding_after};
use frame::Check;
pub(crate) use frame::is_compressed;

/// An archive that is not longer than this is checked as a whole before anything of it is sent.
const AHEAD: usize = 1024 * 1024;
/// Tars are made of blocks of this size.
const BLOCK: usize = 512;

/// An archive that is being sent, and what was found wrong with it meanwhile.
pub(crate) struct Upload {
    /// What is to be sent. It breaks off at the first fault.
    pub(crate) body: ByteStream,
    fault: Arc<Mutex<Option<Error>>>,
}

/// Tells, after the engine's answer, whether the archive was at fault.
pub(crate) struct Verdict(Arc<Mutex<Option<Error>>>);

impl Upload {
    /// Reads the beginning, or the whole if it is short. `InvalidInput` names `archive`.
    pub(crate) async fn begin(archive: ByteStream) -> Result<Self> {
        Upload::check(archive, Check::default()).await
    }

    /// The same, for engines that look into the archive too late to tell what is wrong with it: a compressed one is refused.
    pub(crate) async fn begin_plain(archive: ByteStream) -> Result<Self> {
        Upload::check(archive, Check::plain()).await
    }

    async fn check(mut archive: ByteStream, mut check: Check) -> Result<Self> {
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
    pub(crate) fn split(self) -> (ByteStream, Verdict) {
        (self.body, Verdict(self.fault))
    }
}

impl Verdict {
    /// The answer to a call that took the archive: the archive's fault comes before what the engine made of it.
    pub(crate) fn on<T>(&self, answer: Result<T>) -> Result<T> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => Err(fault),
            None => answer,
        }
    }
}

fn broken(why: &'static str) -> Error {
    Error::invalid("archive", format!("is broken: {why}"))
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
