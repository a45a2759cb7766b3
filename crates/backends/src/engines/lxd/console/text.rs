//! What a program wrote, from what its terminal made of it.

use bytes::{Bytes, BytesMut};

/// A line is given in pieces when it is longer than this.
const LINE_MAX: usize = 64 * 1024;

/// Takes back what a terminal does to a program that did not ask for one: it puts a carriage return before each line
/// feed.
#[derive(Debug)]
pub(in super::super) struct Text {
    tty: bool,
    /// Whether a carriage return has come whose line feed may follow.
    held: bool,
}

impl Text {
    /// `tty`: the terminal was asked for, and every byte passes as it is.
    pub(in super::super) fn new(tty: bool) -> Self {
        Text { tty, held: false }
    }

    /// The next bytes.
    pub(in super::super) fn pass(&mut self, bytes: Bytes) -> Bytes {
        if self.tty {
            return bytes;
        }
        let mut text = BytesMut::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held) && byte != b'\n' {
                text.extend_from_slice(b"\r");
            }
            if byte == b'\r' {
                self.held = true;
            } else {
                text.extend_from_slice(&[byte]);
            }
        }
        text.freeze()
    }

    /// What is left when nothing more comes.
    pub(in super::super) fn rest(&mut self) -> Bytes {
        if std::mem::take(&mut self.held) { Bytes::from_static(b"\r") } else { Bytes::new() }
    }
}

/// The lines of a text, each with its end; the last one may have none.
pub(in super::super) fn lines(mut text: Bytes) -> Vec<Bytes> {
    let mut lines = Vec::new();
    while !text.is_empty() {
        let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
        lines.push(text.split_to(end.min(LINE_MAX)));
    }
    lines
}

/// The last `count` lines.
pub(in super::super) fn tail(text: &Bytes, count: u64) -> Bytes {
    let ends = text.iter().enumerate().filter(|(at, byte)| **byte == b'\n' && at + 1 < text.len());
    let begins: Vec<usize> = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    match begins.len().checked_sub(count) {
        None | Some(0) => text.clone(),
        Some(skipped) => text.slice(begins.get(skipped).copied().unwrap_or(text.len())..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_terminals_line_ends_are_taken_back() {
        let mut text = Text::new(false);
        let pieces = ["one\r\ntw", "o\r", "\nthree\r", "four\r\r\n\r"].map(|piece| text.pass(bytes(piece)));
        assert_eq!(pieces.concat(), b"one\ntwo\nthree\rfour\r\n");
        assert_eq!((text.rest(), text.rest()), (bytes("\r"), bytes("")));
        assert_eq!(Text::new(true).pass(bytes("a\r\n")), "a\r\n");
    }

    #[test]
    fn lines_and_their_tail() {
        assert_eq!(lines(bytes("a\n\nb")), ["a\n", "\n", "b"]);
        assert!(lines(Bytes::new()).is_empty());
        assert_eq!(lines(Bytes::from(vec![b'x'; LINE_MAX + 1])).len(), 2);
        for (count, end) in [(0, ""), (1, "b\n"), (2, "\nb\n"), (3, "a\n\nb\n"), (u64::MAX, "a\n\nb\n")] {
            assert_eq!(tail(&bytes("a\n\nb\n"), count), end);
        }
        assert_eq!(tail(&bytes("a\nb"), 1), "b");
        assert_eq!(tail(&bytes(""), 3), "");
    }
}
