//! Processes as typed values, from `/proc`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use roadstead_core::Process;

use super::cgroup::Cgroup;
use super::files::pid::{Io, Stat, Status};
use super::numbers::Clock;
use super::opened::{self, Sockets};

impl Cgroup {
    /// Its processes, by ascending pid. One that ends while it is looked at is left out.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let mut reader = Reader::new(false, false);
        let processes: Vec<_> =
            self.pids()?.into_iter().filter_map(|pid| reader.read(pid)).map(|(_, read)| read).collect();
        if processes.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(processes) }
    }
}

/// Reads processes one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    clock: Clock,
    users: Users,
    sockets: Sockets,
    open_files: bool,
    connections: bool,
}

impl Reader {
    /// Open files and connections as asked for.
    pub(super) fn new(open_files: bool, connections: bool) -> Self {
        let users = Users::parse(&fs::read_to_string("/etc/passwd").unwrap_or_default());
        Reader { clock: Clock::of_this_machine(), users, sockets: Sockets::default(), open_files, connections }
    }

    /// One process, and what its `stat` said; nothing when it has ended.
    pub(super) fn read(&mut self, pid: u32) -> Option<(Stat, Process)> {
        let root = Path::new("/proc");
        let directory = root.join(pid.to_string());
        let read = |name: &str| fs::read(directory.join(name));
        let stat = Stat::parse(&read("stat").ok()?)?;
        let status = Status::parse(&read("status").unwrap_or_default());
        let uid = status.uid.or_else(|| fs::metadata(&directory).ok().map(|found| found.uid()))?;
        let mut process = self.clock.process(&stat);
        process.user = self.users.name(&directory, uid);
        process.rss_bytes = status.rss_bytes.or(process.rss_bytes);
        process.swap_bytes = status.swap_bytes;
        let io = read("io").ok().and_then(|text| Io::parse(&text));
        process.read_bytes = io.map(|io| io.read_bytes);
        process.written_bytes = io.map(|io| io.written_bytes);
        // A zombie has none of these.
        process.cmdline = cmdline(&read("cmdline").unwrap_or_default());
        process.exe = fs::read_link(directory.join("exe")).ok().map(|path| path.to_string_lossy().into_owned());
        if self.open_files {
            process.open_files = opened::files(root, pid);
        }
        if self.connections {
            process.connections = self.sockets.of(root, pid);
        }
        Some((stat, process))
    }
}

/// Words that end with a zero each. A program that wrote something shorter in their place leaves zeros at the end.
pub(super) fn cmdline(text: &[u8]) -> Vec<String> {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    match text.get(..end) {
        None | Some([]) => Vec::new(),
        Some(words) => words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
    }
}

/// The users of this machine, by number, as `ps` shows them; or those of a container that counts users by itself, for
/// which this machine has no names.
#[derive(Debug, Default)]
pub(super) struct Users {
    pub(super) names: HashMap<u32, String>,
    /// By user namespace: first number inside, first number here, how many; nothing when both count alike.
    maps: HashMap<OsString, Vec<(u32, u32, u32)>>,
}

impl Users {
    pub(super) fn parse(text: &str) -> Self {
        let mut users = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(_), Some(Ok(uid))) =
                (fields.next(), fields.next(), fields.next().map(str::parse::<u32>))
            {
                // Of two names for one number the first counts.
                users.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Users { names: users, maps: HashMap::new() }
    }

    /// The user of a process, whose directory in `/proc` this is.
    pub(super) fn name(&mut self, directory: &Path, uid: u32) -> String {
        let namespace = fs::read_link(directory.join("ns/user")).unwrap_or_default().into_os_string();
        let read = || map(&fs::read_to_string(directory.join("uid_map")).unwrap_or_default());
        let map = self.maps.entry(namespace).or_insert_with(read);
        match inside(map, uid) {
            Some(own) => own.to_string(),
            None => self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        }
    }
}

/// The number that a container which counts by itself has for this one.
pub(super) fn inside(map: &[(u32, u32, u32)], uid: u32) -> Option<u32> {
    map.iter().find_map(|(inside, here, count)| {
        uid.checked_sub(*here).filter(|step| step < count).and_then(|step| inside.checked_add(step))
    })
}

/// What `uid_map` says; nothing when numbers inside are those here.
pub(super) fn map(text: &str) -> Vec<(u32, u32, u32)> {
    let lines = text.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    lines.filter(|(inside, here, _)| inside != here).collect()
}

#[cfg(test)]
mod tests {
    use roadstead_core::Timestamp;

    use super::*;

    #[test]
    fn this_very_process_is_read_as_typed_values() {
        let mut reader = Reader::new(true, true);
        let (stat, process) = reader.read(std::process::id()).unwrap();
        assert_eq!((process.pid, stat.pid), (std::process::id(), std::process::id()));
        assert!(process.ppid > 0 && process.rss_bytes > Some(0) && process.vms_bytes > process.rss_bytes);
        let both = process.cpu_user_seconds.unwrap() + process.cpu_system_seconds.unwrap();
        assert!((process.cpu_seconds - both).abs() < 1e-9, "{process:?}");
        assert!(process.threads >= Some(1) && !process.user.is_empty());
        assert_eq!(process.cmdline, std::env::args().collect::<Vec<_>>());
        assert_eq!(process.exe.map(Into::into), std::env::current_exe().ok());
        assert!(process.read_bytes.is_some() && process.open_files.is_some() && process.connections.is_some());
        let age = Timestamp::now().since(process.started_at.unwrap());
        assert!(age.as_secs() < 3600, "{age:?}");
        assert!(reader.read(u32::MAX).is_none());
    }

    #[test]
    fn words_of_a_command_line() {
        let words = |text: &[u8]| cmdline(text);
        assert_eq!(words(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(words(b"nginx: worker\0\0\0"), ["nginx: worker"]);
        assert!(words(b"").is_empty() && words(b"\0\0").is_empty());
    }

    #[test]
    fn users_of_a_container_that_counts_by_itself_are_its_numbers() {
        let map = map("         0     100000   65536\n     70000     5 1\nbroken\n");
        assert_eq!([100_000, 101_234, 5, 0].map(|uid| inside(&map, uid)), [Some(0), Some(1234), Some(70000), None]);
        assert!(super::map("         0          0 4294967295\n").is_empty());
    }

    #[test]
    fn users_without_a_name_are_numbers() {
        let text = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nbroken\nnobody:x:x:1::/:\n";
        let mut users = Users::parse(text);
        let nowhere = Path::new("/nowhere");
        let names = [0, 4_000_000_000].map(|uid| users.name(nowhere, uid));
        assert_eq!(names, ["root".to_owned(), "4000000000".to_owned()]);
    }
}
