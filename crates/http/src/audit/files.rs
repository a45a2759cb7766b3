//! The files of the audit log: lines of JSON, each file named by the number of its first line, so that a number is found without
//! reading those before it.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::line::Outline;

const ENDING: &str = ".jsonl";
/// More than the longest line has.
const TAIL: u64 = 64 * 1024;

/// A file of the log.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The number of its first line.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// When something was last written to it.
    pub(super) written: SystemTime,
}

/// Makes the directory (0700) where it is not there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The files, oldest first. What has another name is none.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(ENDING)).and_then(|name| name.parse().ok());
        // One that is deleted in this moment is none any more.
        let (Some(first), Ok(about)) = (number, entry.metadata()) else { continue };
        if about.is_file() {
            let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push(Found { first, path: entry.path(), bytes: about.len(), written });
        }
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// A new file, on the disk with its name.
pub(super) fn create(directory: &Path, first: u64) -> io::Result<File> {
    let path = directory.join(format!("{first:020}{ENDING}"));
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Opens a file to go on with it: what was cut off at its end is taken away. Gives the number after its last line, too.
pub(super) fn reopen(found: &Found) -> io::Result<(File, u64, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).open(&found.path)?;
    let bytes = file.metadata()?.len();
    let from = bytes.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == 0 && from > 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its end is no line"));
    }
    let kept = from + whole as u64;
    if kept < bytes {
        file.set_len(kept)?;
        file.sync_all()?;
    }
    let last = tail.get(..whole).unwrap_or_default().rsplit(|byte| *byte == b'\n');
    let last = last.filter_map(|line| serde_json::from_slice::<Outline>(line).ok()).map(|line| line.seq).next();
    Ok((file, kept, last.map_or(found.first, |last| last.max(found.first)).saturating_add(1)))
}

/// Deletes the oldest files until those that are left have at most `most` bytes and were written to within `keep`. The last one stays.
pub(super) fn prune(directory: &Path, most: u64, keep: Duration) -> io::Result<()> {
    let mut files = VecDeque::from(list(directory)?);
    files.pop_back();
    let mut total: u64 = files.iter().map(|file| file.bytes).sum();
    while let Some(oldest) = files.pop_front() {
        let age = SystemTime::now().duration_since(oldest.written).unwrap_or_default();
        if total <= most && age <= keep {
            break;
        }
        fs::remove_file(&oldest.path)?;
        total = total.saturating_sub(oldest.bytes);
    }
    Ok(())
}

/// Reads lines across files, one after the other.
#[derive(Debug)]
pub(super) struct Lines {
    files: VecDeque<Found>,
    open: Option<BufReader<File>>,
    line: Vec<u8>,
}

impl Lines {
    /// From the file that has the line `first` on, or where that is gone from the first one that is there. Files that were last written
    /// to before `since` are left out.
    pub(super) fn from(directory: &Path, first: u64, since: Option<SystemTime>) -> io::Result<Self> {
        let files = list(directory)?;
        let begin = files.iter().rposition(|file| file.first <= first).unwrap_or(0);
        let files = files.into_iter().skip(begin);
        let files = files.filter(|file| since.is_none_or(|since| file.written >= since)).collect();
        Ok(Lines { files, open: None, line: Vec::new() })
    }

    /// The next line. What is not closed by a line feed was cut off by a crash, or is being written, and is none.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(open) = &mut self.open {
                self.line.clear();
                open.read_until(b'\n', &mut self.line)?;
                if self.line.pop_if(|last| *last == b'\n').is_some() {
                    return Ok(Some(&self.line));
                }
                self.open = None;
            }
            let Some(file) = self.files.pop_front() else { return Ok(None) };
            self.open = match File::open(&file.path) {
                Ok(file) => Some(BufReader::with_capacity(256 * 1024, file)),
                // It became too old meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
    }
}
