//! All processes of the machine, looked at again and again: who is there, and what each has used since the last look.
//!
//! Of a process that was there before only `stat` is read, from a descriptor that is kept; its command line, its user and its group
//! are read once, and the group once more at the next look, since engines put a process into its group after they made it. A number
//! that the kernel gave to another process meanwhile is told by the time when it began. Of a container at rest not even `stat` is
//! read: none of its processes ran, so that none can have ended either.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::pid::{Stat, memberships};
use super::files::scan::number;
use super::kept::{Buffer, Comes, Kept};
use super::named::is_of_container;

/// Looks after which the group of a process is taken to stay what it is.
const GROUP_LOOKS: u8 = 2;

/// A process as it was at the last look.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stat: Stat,
    /// Ticks that it used between the last two looks, or since it began when that was after the last but one.
    pub(super) used_ticks: u64,
    /// The path of its group: of version 2, or of the first controller of version 1 that has one.
    pub(super) group: Arc<str>,
    looks: u8,
    kept: Option<Kept>,
    seen: u64,
}

/// The processes.
#[derive(Debug)]
pub(super) struct Table {
    root: PathBuf,
    all: HashMap<u32, Entry>,
    look: u64,
    /// How many descriptors may be kept; those beyond that are opened each time.
    descriptors: usize,
    kept: usize,
}

impl Table {
    /// Those below `root`, which is `/proc`, with at most so many kept descriptors.
    pub(super) fn new(root: &Path, descriptors: usize) -> Self {
        Table { root: root.to_owned(), all: HashMap::new(), look: 0, descriptors, kept: 0 }
    }

    /// Looks at all of them but those of groups at rest, which are as they were. One that ends meanwhile is left out.
    ///
    /// # Errors
    /// When the list of processes cannot be read.
    pub(super) fn look(&mut self, buffer: &mut Buffer, is_at_rest: impl Fn(&str) -> bool) -> io::Result<()> {
        self.look += 1;
        for entry in std::fs::read_dir(&self.root)? {
            let Ok(entry) = entry else { continue };
            let pid = number(entry.file_name().as_encoded_bytes()).and_then(|pid| u32::try_from(pid).ok());
            if let Some(pid) = pid {
                self.look_at(pid, buffer, &is_at_rest);
            }
        }
        let look = self.look;
        self.all.retain(|_, entry| entry.seen == look);
        self.kept = self.all.values().filter(|entry| entry.kept.is_some()).count();
        Ok(())
    }

    fn look_at(&mut self, pid: u32, buffer: &mut Buffer, is_at_rest: impl Fn(&str) -> bool) {
        let mut before = self.all.get_mut(&pid);
        if let Some(entry) = &mut before
            && entry.can_rest()
            && is_at_rest(&entry.group)
        {
            entry.used_ticks = 0;
            entry.seen = self.look;
            return;
        }
        let kept = before.as_ref().and_then(|entry| entry.kept.as_ref());
        // A descriptor is that of the process for which it was opened, whoever has its number now.
        let stat = kept.and_then(|kept| Stat::parse(kept.read(buffer).ok()?));
        if let (Some(entry), Some(stat)) = (before, stat) {
            let used = |stat: &Stat| stat.user_ticks.saturating_add(stat.system_ticks);
            entry.used_ticks = used(&stat).saturating_sub(used(&entry.stat));
            entry.stat = stat;
            entry.seen = self.look;
            if entry.looks < GROUP_LOOKS {
                entry.looks += 1;
                if let Some(group) = group(&self.root, pid, buffer) {
                    entry.group = group;
                }
            }
            return;
        }
        let Ok(kept) = Kept::open(&self.root.join(format!("{pid}/stat")), Comes::Whole) else { return };
        let Some(stat) = kept.read(buffer).ok().and_then(Stat::parse) else { return };
        let used = stat.user_ticks.saturating_add(stat.system_ticks);
        let same = self.all.get(&pid).filter(|entry| entry.stat.start_ticks == stat.start_ticks);
        let used_ticks = match same {
            Some(entry) => used.saturating_sub(entry.stat.user_ticks.saturating_add(entry.stat.system_ticks)),
            // What was there before anybody looked has used what it has in its life, not since the last look.
            None if self.look == 1 => 0,
            None => used,
        };
        let (known, looks) = match same {
            Some(entry) if entry.looks >= GROUP_LOOKS => (Some(Arc::clone(&entry.group)), entry.looks),
            Some(entry) => (None, entry.looks + 1),
            None => (None, 1),
        };
        let Some(group) = known.or_else(|| group(&self.root, pid, buffer)) else { return };
        let is_kept = self.kept < self.descriptors;
        self.kept += usize::from(is_kept);
        let entry = Entry { stat, used_ticks, group, looks, kept: is_kept.then_some(kept), seen: self.look };
        self.all.insert(pid, entry);
    }

    /// How many descriptors are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Those that were there at the last look.
    pub(super) fn processes(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.all.iter().map(|(pid, entry)| (*pid, entry))
    }
}

impl Entry {
    /// Whether it is as it was while its group rests: its group is known, and it was not about to run.
    fn can_rest(&self) -> bool {
        self.looks >= GROUP_LOOKS && self.stat.state != b'R'
    }
}

/// The path of the group that a process of this machine is in now.
pub(super) fn group_of(pid: u32) -> Option<Arc<str>> {
    group(Path::new("/proc"), pid, &mut Buffer::default())
}

/// The path of a process's group, preferably one that names a container; nothing when the process has ended.
fn group(root: &Path, pid: u32, buffer: &mut Buffer) -> Option<Arc<str>> {
    let file = Kept::open(&root.join(format!("{pid}/cgroup")), Comes::InParts).ok()?;
    let text = file.read(buffer).ok()?;
    let paths = || memberships(text);
    // Where both versions are mounted, an engine may have made a group in one of them only.
    let container = paths().map(|(_, path)| path).find(|path| is_of_container(path));
    let unified =
        paths().find(|(controllers, _)| controllers.is_empty()).map(|(_, path)| path).filter(|path| *path != b"/");
    let any = || paths().map(|(_, path)| path).find(|path| *path != b"/");
    Some(Arc::from(String::from_utf8_lossy(container.or(unified).or_else(any).unwrap_or(b"/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_looked_at() {
        let mut table = Table::new(Path::new("/proc"), 64);
        let mut buffer = Buffer::default();
        table.look(&mut buffer, |_| false).unwrap();
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        table.look(&mut buffer, |_| false).unwrap();
        let names: HashMap<u32, Vec<u8>> =
            table.processes().map(|(pid, entry)| (pid, entry.stat.name.clone())).collect();
        assert!(names.contains_key(&own) && names.contains_key(&1));
        assert_eq!(names.get(&child.id()).map(Vec::as_slice), Some(&b"sleep"[..]));
        child.kill().unwrap();
        child.wait().unwrap();
        table.look(&mut buffer, |_| false).unwrap();
        assert!(table.processes().all(|(pid, _)| pid != child.id()));
        assert!(table.kept <= 64);
    }

    fn write(root: &Path, pid: u32, start: u64, used: u64, groups: &str) {
        let directory = root.join(pid.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 {used} 0 0 0 20 0 1 0 {start} 4096 1 0\n");
        std::fs::write(directory.join("stat"), stat).unwrap();
        std::fs::write(directory.join("cgroup"), groups).unwrap();
    }

    fn told(table: &Table) -> Vec<(u32, u64, String)> {
        let mut all: Vec<_> =
            table.processes().map(|(pid, entry)| (pid, entry.used_ticks, entry.group.to_string())).collect();
        all.sort();
        all
    }

    #[test]
    fn each_is_what_it_used_since_the_last_look() {
        let root = std::env::temp_dir().join(format!("table-{}", std::process::id()));
        for descriptors in [0, 10] {
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(root.join("self")).unwrap();
            let (mut table, mut buffer) = (Table::new(&root, descriptors), Buffer::default());
            write(&root, 7, 100, 50, "0::/\n");
            table.look(&mut buffer, |_| false).unwrap();
            assert_eq!(told(&table), [(7, 0, "/".to_owned())], "what it used before is not known");
            write(&root, 7, 100, 80, "3:cpu,cpuacct:/docker/a:b\n0::/\n");
            write(&root, 9, 200, 5, "0::/new\n");
            table.look(&mut buffer, |_| false).unwrap();
            assert_eq!(told(&table), [(7, 30, "/docker/a:b".to_owned()), (9, 5, "/new".to_owned())]);
            // The number is another process's now, and the group of the other one stays.
            std::fs::remove_dir_all(root.join("7")).unwrap();
            write(&root, 7, 300, 3, "0::/other\n");
            write(&root, 9, 200, 6, "0::/new\n");
            table.look(&mut buffer, |_| false).unwrap();
            write(&root, 9, 200, 6, "0::/later\n");
            table.look(&mut buffer, |_| false).unwrap();
            let (pid, _, group) = told(&table).pop().unwrap();
            assert_eq!((pid, group.as_str()), (9, "/new"));
            std::fs::remove_dir_all(root.join("9")).unwrap();
            table.look(&mut buffer, |_| false).unwrap();
            assert_eq!(table.processes().count(), 1);
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
