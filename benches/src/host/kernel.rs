//! What the kernel itself takes to fill the files of control groups and processes: a program of its own with its own descriptors reads
//! them as often as it is told to, and looks at nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::cost::own_time;

/// The argument with which this program is that one.
pub const ARGUMENT: &str = "--read-only";

/// The files of a group that a sampler reads, of either version.
const FILES: [&str; 15] = [
    "cpuacct.usage",
    "cpuacct.stat",
    "cpu.stat",
    "memory.usage_in_bytes",
    "memory.current",
    "memory.stat",
    "memory.oom_control",
    "memory.events",
    "memory.swap.current",
    "blkio.throttle.io_service_bytes_recursive",
    "io.stat",
    "pids.current",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// The program that reads.
#[derive(Debug)]
pub struct Kernel {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What one reading of all took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How many files there are.
    pub files: usize,
    /// Processor time of all of them.
    pub time: Duration,
}

impl Kernel {
    /// Begins with the files of these groups and processes.
    ///
    /// # Errors
    /// When the program cannot begin.
    pub fn begin<'a>(groups: impl Iterator<Item = &'a Path>, pids: impl Iterator<Item = u32>) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        for group in groups {
            writeln!(input, "{}", group.display())?;
        }
        for pid in pids {
            writeln!(input, "{pid}")?;
        }
        writeln!(input)?;
        Ok(Kernel { child, input, output: BufReader::new(output) })
    }

    /// Has it read everything once.
    ///
    /// # Errors
    /// When it ended.
    pub fn read(&mut self) -> io::Result<Reading> {
        writeln!(self.input)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(files)), Some(Ok(nanos))) => {
                Ok(Reading { files: usize::try_from(files).unwrap_or(usize::MAX), time: Duration::from_nanos(nanos) })
            }
            _ => Err(io::Error::other("the program that reads has ended")),
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end: reads names until an empty line, and then all files for each line.
///
/// # Errors
/// When what was written cannot be read, or nobody reads what this writes.
pub fn serve() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let mut files = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        match line.parse::<u32>() {
            _ if line.is_empty() => break,
            Ok(pid) => files.push(File::open(format!("/proc/{pid}/stat"))?),
            Err(_) => group(Path::new(&line), &mut files),
        }
    }
    let mut buffer = vec![0; 64 * 1024];
    for line in lines {
        let _ = line?;
        let before = own_time();
        for file in &files {
            // A kernel may have a file and refuse to fill it.
            let _ = file.read_at(&mut buffer, 0);
        }
        let time = own_time().saturating_sub(before);
        writeln!(io::stdout(), "{} {}", files.len(), time.as_nanos())?;
    }
    Ok(())
}

fn group(directory: &Path, files: &mut Vec<File>) {
    let unified = directory.starts_with("/sys/fs/cgroup/unified");
    // Beside version 1, processor time is read there.
    let names = FILES.iter().filter(|name| !(unified && **name == "cpu.stat"));
    let paths: Vec<PathBuf> =
        names.map(|name| directory.join(name)).filter(|path| fs::exists(path).unwrap_or(false)).collect();
    files.extend(paths.into_iter().filter_map(|path| File::open(path).ok()));
}
