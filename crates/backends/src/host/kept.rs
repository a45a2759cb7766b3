//! Files that are read again and again: opened once, and read from their beginning into a buffer that all of them share.
//!
//! Opening a file of the kernel costs several times what reading it does, and most of that is the way through the directories. A
//! descriptor that is kept goes on working until what it is about ends; then reading says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file is not read beyond this.
const LONGEST: usize = 4 * 1024 * 1024;
/// So much is asked for at first, which is more than most files have.
const FIRST: usize = 8 * 1024;
/// No machine has smaller pages.
const PAGE: usize = 4096;
/// Short lines are shorter: those of `net/dev` have a name of fifteen bytes and sixteen numbers of twenty.
const SHORT_LINE: usize = 512;

/// What comes out of a file in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// All of it, as from files that tell of one thing.
    Whole,
    /// A page at a time, as from lists.
    InParts,
    /// The same of a list whose lines are short: the kernel puts lines into a page while they fit, so that a page with room for one
    /// more is the last one, and need not be asked whether it is.
    InShortLines,
}

/// A file that is kept open.
#[derive(Debug)]
pub(super) struct Kept {
    file: File,
    comes: Comes,
}

/// A buffer that grows to what is needed and stays so.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Kept {
    /// # Errors
    /// `NotFound` when there is no such file, or what it is about has ended.
    pub(super) fn open(path: &Path, comes: Comes) -> io::Result<Self> {
        let file = File::open(path).map_err(ended)?;
        Ok(Kept { file, comes })
    }

    /// What stands in it now.
    ///
    /// # Errors
    /// `NotFound` when what it is about has ended; `FileTooLarge` beyond four mebibytes.
    pub(super) fn read<'a>(&self, buffer: &'a mut Buffer) -> io::Result<&'a [u8]> {
        let all = &mut buffer.0;
        if all.is_empty() {
            all.resize(FIRST, 0);
        }
        let mut filled = 0;
        loop {
            let room = all.get_mut(filled..).unwrap_or_default();
            let asked = room.len();
            let read = self.file.read_at(room, filled as u64).map_err(ended)?;
            filled += read;
            let is_full = filled == all.len();
            let is_last = match self.comes {
                Comes::Whole => !is_full,
                Comes::InParts => false,
                Comes::InShortLines => read < PAGE - SHORT_LINE && read < asked,
            };
            if read == 0 && asked > 0 || is_last {
                return Ok(all.get(..filled).unwrap_or_default());
            }
            if is_full {
                if all.len() >= LONGEST {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                all.resize(all.len() * 2, 0);
            }
        }
    }
}

/// What the kernel says when a group or a process ended under an open file.
fn ended(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        // ENODEV of groups, ESRCH of processes.
        Some(19 | 3) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_beginning_each_time() {
        let mut buffer = Buffer::default();
        let uptime = Kept::open(Path::new("/proc/uptime"), Comes::Whole).unwrap();
        let first = uptime.read(&mut buffer).unwrap().to_vec();
        assert!(!first.is_empty() && first.ends_with(b"\n"));
        let second = uptime.read(&mut buffer).unwrap();
        assert_eq!(
            first.iter().filter(|byte| **byte == b' ').count(),
            second.iter().filter(|byte| **byte == b' ').count()
        );
    }

    #[test]
    fn long_lists_come_whole() {
        // Longer than a page, and than the buffer at first.
        let symbols = Path::new("/proc/kallsyms");
        let mut buffer = Buffer::default();
        let parts = Kept::open(symbols, Comes::InParts).unwrap();
        match parts.read(&mut buffer) {
            Ok(read) => assert_eq!(read.len(), std::fs::read(symbols).unwrap().len()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::FileTooLarge),
        }
        let mounts = Path::new("/proc/self/mountinfo");
        let kept = Kept::open(mounts, Comes::InParts).unwrap();
        assert_eq!(kept.read(&mut buffer).unwrap(), std::fs::read(mounts).unwrap());
    }

    #[test]
    fn a_list_of_short_lines_comes_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let mut buffer = Buffer::default();
        // Of a page and a half in one go, which no list of the kernel does, and of several buffers.
        for lines in [0, 1, 30, 200, 4000] {
            std::fs::write(&path, "0123456789 123456789 123456789\n".repeat(lines)).unwrap();
            let kept = Kept::open(&path, Comes::InShortLines).unwrap();
            assert_eq!(kept.read(&mut buffer).unwrap().len(), lines * 31);
        }
        let path = Path::new("/proc/self/net/dev");
        let mut lines = |comes| {
            let kept = Kept::open(path, comes).unwrap();
            kept.read(&mut buffer).unwrap().split(|byte| *byte == b'\n').count()
        };
        // Interfaces may come and go beside this test: what is the same before and after says what there was.
        let same = (0..100).find_map(|_| {
            let all = [Comes::InParts, Comes::InShortLines, Comes::InParts].map(&mut lines);
            (all[0] == all[2]).then_some(all)
        });
        assert!(same.is_some_and(|all| all[0] == all[1]), "{same:?}");
    }

    #[test]
    fn a_process_that_ended_is_not_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = format!("/proc/{}/stat", child.id());
        let kept = Kept::open(Path::new(&path), Comes::Whole).unwrap();
        let mut buffer = Buffer::default();
        assert!(!kept.read(&mut buffer).unwrap().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(kept.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Kept::open(Path::new(&path), Comes::Whole).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
