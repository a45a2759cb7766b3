//! What is known of a container's console, put together from what the server gives piece by piece.
//!
//! Of a running container the server gives what was written since it was asked last, whoever asked, and never again. Of
//! one that has ended it gives a file. LXC writes that file as things happen, after whatever earlier runs left in it;
//! but in the end, about a second after the container, it puts in the file's place what nobody has asked for, unless
//! there is nothing of that. So a file is either the whole run or its rest, and which of them, its contents tell.

use bytes::Bytes;
use roadstead_core::Timestamp;

use super::mark::Unmarked;

/// Of one console so much is kept; the oldest goes first.
const MAX: usize = 1 << 20;

/// LXC cuts the file when it grows, in the middle, too; then so many of the last known bytes are looked for in it. Fewer
/// may be there by chance.
const LAST_BYTES: [usize; 4] = [4096, 1024, 256, 64];

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// What was written since the last question.
    New(Bytes),
    /// The file that is left of a container that has ended.
    File(Bytes),
    /// Nothing is new, or there is no file.
    Nothing,
}

/// The bytes of one console.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    unmarked: Unmarked,
    /// Position of the first kept byte in all that was ever written.
    start: u64,
    /// The start of the container that the newest bytes belong to.
    run: Option<Timestamp>,
    /// Position where that run begins.
    run_start: u64,
    /// Whether the file of that run was seen.
    ended: bool,
    /// Length of the last file.
    file: usize,
}

impl Kept {
    /// Position of the first kept byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What was written from a position on, as far as it is kept.
    pub(super) fn after(&self, position: u64) -> Bytes {
        let skip = usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Bytes::copy_from_slice(self.bytes.get(skip..).unwrap_or_default())
    }

    /// The container was started at this time.
    pub(super) fn run(&mut self, started: Timestamp) {
        if self.run != Some(started) {
            self.run = Some(started);
            self.run_start = self.end();
            self.ended = false;
        }
    }

    /// Takes in an answer.
    pub(super) fn take(&mut self, answer: &Answer) {
        match answer {
            Answer::New(bytes) => {
                let bytes = self.unmarked.pass(bytes);
                self.append(&bytes);
            }
            Answer::File(bytes) => {
                let rest = self.unmarked.rest();
                self.append(&rest);
                let mut unmarked = Unmarked::default();
                let bytes = [unmarked.pass(bytes), unmarked.rest()].concat();
                let known = self.known(&bytes);
                self.append(bytes.get(known..).unwrap_or_default());
                (self.ended, self.file) = (true, bytes.len());
            }
            Answer::Nothing => {}
        }
    }

    /// How much of the file, from its beginning, is no news.
    fn known(&self, file: &[u8]) -> usize {
        let all = self.bytes.as_slice();
        let run_start = usize::try_from(self.run_start.saturating_sub(self.start)).unwrap_or(0);
        let run = all.get(run_start..).unwrap_or_default();
        if run.is_empty() {
            // Of this run nothing is known, but of the earlier ones that the file may begin with.
            let earlier = self.file.min(file.len());
            return if file.get(..earlier).is_some_and(|earlier| all.ends_with(earlier)) { earlier } else { 0 };
        }
        if let Some(after) = after(file, run) {
            return after;
        }
        let last = LAST_BYTES.iter().filter_map(|length| run.get(run.len().checked_sub(*length)?..));
        if let Some(after) = last.filter_map(|last| after(file, last)).next() {
            return after;
        }
        // The whole was seen before the rest.
        let begins = |length: &usize| file.get(..*length).is_some_and(|beginning| run.ends_with(beginning));
        let overlap = (1..=file.len().min(run.len())).rev().find(begins);
        overlap.filter(|_| self.ended).unwrap_or(0)
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(MAX);
        self.bytes.drain(..surplus);
        self.start += surplus as u64;
    }
}

/// Where `text` goes on after `part`.
fn after(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part).map(|at| at + part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(text: &'static str) -> Answer {
        Answer::New(Bytes::from_static(text.as_bytes()))
    }

    fn file(text: &'static str) -> Answer {
        Answer::File(Bytes::from_static(text.as_bytes()))
    }

    fn told(answers: &[(&str, Answer)]) -> String {
        let mut kept = Kept::default();
        for (run, answer) in answers {
            kept.run(format!("2026-11-21T11:56:0{run}Z").parse().unwrap());
            kept.take(answer);
        }
        String::from_utf8(kept.after(0).to_vec()).unwrap()
    }

    #[test]
    fn pieces_follow_each_other_and_a_file_may_be_the_rest() {
        assert_eq!(told(&[("1", new("a")), ("1", new("")), ("1", new("b")), ("1", file("c"))]), "abc");
        assert_eq!(told(&[("1", file("c")), ("1", file("c"))]), "c");
        assert_eq!(told(&[("1", Answer::Nothing)]), "");
    }

    #[test]
    fn a_file_may_be_the_whole_run_before_it_is_the_rest() {
        let whole = [("1", new("one ")), ("1", new("two ")), ("1", file("one two three ")), ("1", file("three "))];
        assert_eq!(told(&whole), "one two three ");
        assert_eq!(told(&[("1", new("one ")), ("1", file("earlier one two "))]), "one two ");
        // Nothing was left to be said.
        assert_eq!(told(&[("1", new("one ")), ("1", file("earlier one "))]), "one ");
        // More was written after the first look at the file.
        assert_eq!(told(&[("1", new("a ")), ("1", file("a b ")), ("1", file("b c "))]), "a b c ");
    }

    #[test]
    fn a_file_may_have_lost_its_beginning() {
        let given: String = (0..100).map(|number| format!("{number} ")).collect();
        let mut kept = Kept::default();
        kept.take(&Answer::New(given.clone().into()));
        kept.take(&Answer::File(format!("{}{}end", &given[100..150], &given[200..]).into()));
        assert_eq!(kept.after(0), format!("{given}end"));
    }

    #[test]
    fn a_later_run_begins_anew() {
        let runs = [("1", new("x")), ("1", file("y")), ("2", new("x")), ("2", file("y"))];
        assert_eq!(told(&runs), "xyxy");
        assert_eq!(told(&[("1", new("x")), ("1", file("x")), ("2", file("xx"))]), "xx");
        assert_eq!(told(&[("1", new("x")), ("1", file("x")), ("2", file("y"))]), "xy");
        // Nothing was written in the second run.
        assert_eq!(told(&[("1", new("x")), ("1", file("x")), ("2", file("x"))]), "x");
    }

    #[test]
    fn the_oldest_goes_first_and_positions_stay() {
        let mut kept = Kept::default();
        kept.take(&Answer::New(Bytes::from(vec![b'x'; MAX])));
        kept.take(&new("yz"));
        assert_eq!((kept.start(), kept.end()), (2, MAX as u64 + 2));
        assert_eq!(kept.after(MAX as u64), "yz");
        assert_eq!((kept.after(0).len(), kept.after(u64::MAX).len()), (MAX, 0));
    }
}
