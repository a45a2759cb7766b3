//! Marks that show that a connection to a console stands.
//!
//! A server answers before the connection stands, and what is typed until then is thrown away without a word. The one
//! thing that shows is something that was written to the console and arrives by the connection. So we write there: a
//! control sequence that terminals leave out. Of what we give it is taken out again.

use bytes::{Bytes, BytesMut};

use super::super::spec::chance;

/// An operating system command that no terminal knows.
const BEGIN: &[u8] = b"\x1b]7777;roadstead:";
const END: u8 = 7;
/// Letters of what tells one mark from another.
const LETTERS: usize = 8;

/// A mark of its own.
pub(super) fn new() -> String {
    let letters = chance() & u64::from(u32::MAX);
    format!("{}{letters:0LETTERS$x}{}", String::from_utf8_lossy(BEGIN), char::from(END))
}

/// Takes marks out of what comes piece by piece.
#[derive(Debug, Default)]
pub(super) struct Unmarked {
    /// What may be the beginning of a mark.
    held: BytesMut,
}

impl Unmarked {
    /// The next piece without marks.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Bytes {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let mut clean = BytesMut::with_capacity(text.len());
        while let Some(at) = text.iter().position(|byte| BEGIN.first() == Some(byte)) {
            clean.extend_from_slice(&text.split_to(at));
            match is_mark(&text) {
                Some(true) => drop(text.split_to(BEGIN.len() + LETTERS + 1)),
                Some(false) => clean.extend_from_slice(&text.split_to(1)),
                None => {
                    self.held = text;
                    return clean.freeze();
                }
            }
        }
        clean.extend_from_slice(&text);
        clean.freeze()
    }

    /// What is left when nothing more comes.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

/// Whether a text begins with a mark; unknown while it is too short.
fn is_mark(text: &[u8]) -> Option<bool> {
    let expected = |at: usize, byte: u8| match BEGIN.get(at) {
        Some(begin) => *begin == byte,
        None if at < BEGIN.len() + LETTERS => byte.is_ascii_hexdigit(),
        None => byte == END,
    };
    let length = BEGIN.len() + LETTERS + 1;
    if !text.iter().take(length).enumerate().all(|(at, byte)| expected(at, *byte)) {
        return Some(false);
    }
    (text.len() >= length).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_wherever_they_are_cut() {
        let text = format!("\x1b[1mone{}two\x1b]7777;other\x07{}{}\x1b", new(), new(), new());
        for size in 1..text.len() {
            let mut unmarked = Unmarked::default();
            let mut clean = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                clean.extend(unmarked.pass(piece));
            }
            clean.extend(unmarked.rest());
            assert_eq!(
                String::from_utf8(clean).unwrap(),
                "\x1b[1monetwo\x1b]7777;other\x07\x1b",
                "in pieces of {size}"
            );
        }
    }
}
