//! The frames in which the engine carries stdout and stderr over one connection, taken apart in bounded memory.
//!
//! A frame is a byte for the stream, three of zero, the length as four bytes (big endian), and the data. A terminal's
//! output has no frames.

use bytes::{Buf, Bytes, BytesMut};
use roadstead_core::{Error, ErrorKind, OutputKind, Result};

/// Frames up to this length are given whole; longer ones in pieces. Engines write 32 KiB at most.
const WHOLE_MAX: usize = 64 * 1024;
const HEADER: usize = 8;

/// A frame, or a piece of a long one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its stream.
    pub(super) kind: OutputKind,
    /// Its data.
    pub(super) data: Bytes,
    /// Whether a frame begins with it.
    pub(super) begins: bool,
}

/// Takes frames out of bytes that arrive in any pieces.
#[derive(Debug)]
pub(super) struct Frames {
    tty: bool,
    buffer: BytesMut,
    /// Stream, and what is still to come, of the frame that was begun.
    current: Option<Current>,
    /// Stream of the last frame.
    last: Option<OutputKind>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    kind: OutputKind,
    left: usize,
    begun: bool,
    /// The engine's own words about a failure, which come as a stream of their own.
    failure: bool,
}

impl Frames {
    /// `tty`: there are no frames.
    pub(super) fn new(tty: bool) -> Self {
        Frames { tty, buffer: BytesMut::new(), current: None, last: None }
    }

    /// Takes bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame that is there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if self.tty {
                let data = self.buffer.split().freeze();
                return Ok(Some(Frame { kind: OutputKind::Console, data, begins: true }));
            }
            let Some(current) = self.current else {
                // Podman 4.3 does not count the line end of what it repeats from its log; no header begins so.
                if let (Some(kind), Some(b'\n')) = (self.last, self.buffer.first()) {
                    let data = self.buffer.split_to(1).freeze();
                    return Ok(Some(Frame { kind, data, begins: false }));
                }
                match self.header()? {
                    Some(current) => self.current = Some(current),
                    None => return Ok(None),
                }
                continue;
            };
            if current.left == 0 {
                self.current = None;
                continue;
            }
            let ready = self.buffer.len().min(current.left);
            if ready < current.left.min(WHOLE_MAX) {
                return Ok(None);
            }
            let data = self.buffer.split_to(ready.min(WHOLE_MAX)).freeze();
            if current.failure {
                let words = String::from_utf8_lossy(&data).trim().to_owned();
                return Err(Error::new(ErrorKind::Unexpected, format!("the engine broke the stream off: {words}")));
            }
            let left = current.left - data.len();
            self.last = Some(current.kind);
            self.current = (left > 0).then_some(Current { left, begun: true, ..current });
            return Ok(Some(Frame { kind: current.kind, data, begins: !current.begun }));
        }
    }

    fn header(&mut self) -> Result<Option<Current>> {
        let Some(&[kind, zero1, zero2, zero3, a, b, c, d]) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let (kind, failure) = match kind {
            // 0 is what was put into stdin, which some engines show.
            0 | 1 => (OutputKind::Stdout, false),
            2 => (OutputKind::Stderr, false),
            3 => (OutputKind::Stderr, true),
            _ => return Err(nonsense()),
        };
        if [zero1, zero2, zero3] != [0; 3] {
            return Err(nonsense());
        }
        self.buffer.advance(HEADER);
        Ok(Some(Current { kind, left, begun: false, failure }))
    }
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Unexpected, "the engine's output is not in frames")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        frame.extend(data);
        frame
    }

    fn all(frames: &mut Frames) -> Vec<(OutputKind, Vec<u8>)> {
        std::iter::from_fn(|| frames.next().unwrap()).map(|frame| (frame.kind, frame.data.to_vec())).collect()
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let bytes = [frame(1, b"out\n"), frame(2, b""), frame(2, &[0, 1, 2, 255])].concat();
        for size in 1..=bytes.len() {
            let mut frames = Frames::new(false);
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                frames.push(piece);
                got.extend(all(&mut frames));
            }
            assert_eq!(
                got,
                [(OutputKind::Stdout, b"out\n".to_vec()), (OutputKind::Stderr, vec![0, 1, 2, 255])],
                "in pieces of {size}"
            );
        }
    }

    #[test]
    fn a_long_frame_comes_in_pieces_and_is_never_held_back_whole() {
        let mut frames = Frames::new(false);
        frames.push(&[1, 0, 0, 0, 255, 255, 255, 255]);
        frames.push(&vec![7; WHOLE_MAX]);
        let first = frames.next().unwrap().unwrap();
        assert!(first.begins);
        assert_eq!(first.data.len(), WHOLE_MAX);
        frames.push(&vec![7; WHOLE_MAX]);
        assert!(!frames.next().unwrap().unwrap().begins);
        assert_eq!(frames.next().unwrap(), None);
    }

    #[test]
    fn a_line_end_that_was_not_counted_belongs_to_its_line() {
        let mut frames = Frames::new(false);
        frames.push(&[frame(2, b"begin"), b"\n".to_vec(), frame(1, b"go on\n")].concat());
        let got = all(&mut frames);
        assert_eq!(got[..2], [(OutputKind::Stderr, b"begin".to_vec()), (OutputKind::Stderr, b"\n".to_vec())]);
        assert_eq!(got[2], (OutputKind::Stdout, b"go on\n".to_vec()));
    }

    #[test]
    fn a_terminal_passes_every_byte() {
        let mut frames = Frames::new(true);
        let bytes: Vec<u8> = (0..=255).collect();
        frames.push(&bytes);
        assert_eq!(all(&mut frames), [(OutputKind::Console, bytes)]);
    }

    #[test]
    fn nonsense_and_failures_are_errors() {
        for bytes in [b"plain text".to_vec(), vec![1, 1, 0, 0, 0, 0, 0, 1]] {
            let mut frames = Frames::new(false);
            frames.push(&bytes);
            assert_eq!(frames.next().unwrap_err().kind(), ErrorKind::Unexpected);
        }
        let mut frames = Frames::new(false);
        frames.push(&frame(3, b"disk full"));
        assert!(frames.next().unwrap_err().to_string().contains("disk full"));
    }
}
