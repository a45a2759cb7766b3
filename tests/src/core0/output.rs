//! What a process prints, cut into messages: a line that begins with `N::` is of level N, and so is everything between
//! `N:::` and a line of nothing but `:::`.
//!
//! A message is what one read brought, up to 32 KiB; so the real node does it, with all that follows from it: a level is
//! only seen at the beginning of a line within one read, and a block that is never closed is lost.

use super::message::Message;

/// As much as is read at once.
pub(crate) const READ: usize = 32 * 1024;
const CLOSED: &[u8] = b"\n:::\n";

/// Cuts one stream.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// The level of what bears none.
    level: u16,
    block: Option<(u16, Vec<u8>)>,
}

/// The beginning of a line that bears a level.
struct Header {
    level: u16,
    block: bool,
    length: usize,
}

fn header(line: &[u8]) -> Option<Header> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let colons = line[digits..].iter().take(3).take_while(|byte| **byte == b':').count();
    if digits == 0 || colons < 2 {
        return None;
    }
    let number = std::str::from_utf8(&line[..digits]).unwrap_or_default();
    let level = number.parse().unwrap_or(u16::MAX);
    Some(Header { level, block: colons == 3, length: digits + colons })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The index of the newline, or of the end when the newline is the last byte or there is none.
fn line_end(text: &[u8]) -> usize {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(at) if at + 1 < text.len() => at,
        _ => text.len(),
    }
}

impl Cutter {
    pub(crate) fn new(level: u16) -> Self {
        Cutter { level, block: None }
    }

    /// Takes what one read brought.
    pub(crate) fn take(&mut self, read: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut buffer = read;
        if let Some((level, mut block)) = self.block.take() {
            let closed_at_once = block.last() == Some(&b'\n') && buffer.starts_with(&CLOSED[1..]);
            if closed_at_once {
                messages.push(Message::new(level, block));
                buffer = &buffer[CLOSED.len() - 1..];
            } else if let Some(end) = find(buffer, CLOSED) {
                block.extend_from_slice(&buffer[..end]);
                messages.push(Message::new(level, block));
                buffer = &buffer[end + CLOSED.len()..];
            } else {
                block.extend_from_slice(buffer);
                self.block = Some((level, block));
                return messages;
            }
        }
        self.lines(buffer, &mut messages);
        messages
    }

    fn lines(&mut self, buffer: &[u8], messages: &mut Vec<Message>) {
        // What has no level yet begins here.
        let mut start = 0;
        let mut at = 0;
        while at < buffer.len() {
            let Some(header) = header(&buffer[at..]) else {
                at += line_end(&buffer[at..]) + 1;
                continue;
            };
            if at > start {
                messages.push(Message::new(self.level, &buffer[start..at]));
            }
            let text = at + header.length;
            if header.block {
                let Some(end) = find(&buffer[text..], CLOSED) else {
                    self.block = Some((header.level, buffer[text..].to_vec()));
                    return;
                };
                messages.push(Message::new(header.level, &buffer[text..text + end]));
                start = text + end + CLOSED.len();
                // The real one misses a level in the very first column after a block.
                at = start + 1;
            } else {
                let end = (text + line_end(&buffer[text..]) + 1).min(buffer.len());
                messages.push(Message::new(header.level, &buffer[text..end]));
                start = end;
                at = end;
            }
        }
        if start < buffer.len() {
            messages.push(Message::new(self.level, &buffer[start..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(reads: &[&str]) -> Vec<(u16, String)> {
        let mut cutter = Cutter::new(1);
        let messages = reads.iter().flat_map(|read| cutter.take(read.as_bytes()));
        messages.map(|message| (message.level, String::from_utf8(message.text).unwrap())).collect()
    }

    fn of(messages: &[(u16, &str)]) -> Vec<(u16, String)> {
        messages.iter().map(|(level, text)| (*level, (*text).to_owned())).collect()
    }

    #[test]
    fn lines_with_levels_stand_alone() {
        assert_eq!(
            cut(&["one\n8::ops\ntwo\nthree\n20::[1]\n"]),
            of(&[(1, "one\n"), (8, "ops\n"), (1, "two\nthree\n"), (20, "[1]\n")])
        );
        assert_eq!(cut(&["3::last"]), of(&[(3, "last")]));
        assert_eq!(cut(&["3::a\n4::b\n"]), of(&[(3, "a\n"), (4, "b\n")]));
    }

    #[test]
    fn blocks_span_reads() {
        assert_eq!(
            cut(&["before\n", "20:::\n", "{\"a\": 1}\n", ":::\n", "after\n"]),
            of(&[(1, "before\n"), (20, "\n{\"a\": 1}\n"), (1, "after\n")])
        );
        assert_eq!(cut(&["20:::\n{}\n:::\nafter\n"]), of(&[(20, "\n{}"), (1, "after\n")]));
        assert_eq!(cut(&["20:::\nnever closed"]), of(&[]));
    }

    #[test]
    fn what_looks_like_a_level_but_is_none_stays() {
        assert_eq!(cut(&["1:x\n::\nabc 20::x\n"]), of(&[(1, "1:x\n::\nabc 20::x\n")]));
    }
}
