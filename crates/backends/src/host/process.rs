//! The processes of a container, from `/proc`.

use std::collections::HashMap;
use std::io;

use procfs::process::Process as ProcessFiles;
use roadstead_core::{Process, ProcessState, Timestamp};

use super::cgroup::Cgroup;

impl Cgroup {
    /// Its processes, by ascending pid. One that ends while it is looked at is left out.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub fn processes(&self) -> io::Result<Vec<Process>> {
        let pids = self.pids()?;
        let users = Users::of(self.pid);
        let boot = procfs::boot_time_secs().ok();
        let processes: Vec<_> = pids.into_iter().filter_map(|pid| read(pid, &users, boot)).collect();
        if processes.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(processes) }
    }
}

fn read(pid: u32, users: &Users, boot: Option<u64>) -> Option<Process> {
    let files = ProcessFiles::new(i32::try_from(pid).ok()?).ok()?;
    let stat = files.stat().ok()?;
    let uid = files.status().map(|status| status.euid).or_else(|_| files.uid()).ok()?;
    let ticks = procfs::ticks_per_second().max(1);
    let mut process = Process::default();
    process.pid = pid;
    process.ppid = u32::try_from(stat.ppid).unwrap_or(0);
    process.user = users.name(uid);
    process.name = stat.comm;
    process.state = ProcessState::from_letter(stat.state);
    process.cpu_seconds = cpu_seconds(stat.utime.saturating_add(stat.stime), ticks);
    process.rss_bytes = Some(stat.rss.saturating_mul(procfs::page_size()));
    process.vms_bytes = Some(stat.vsize);
    process.started_at = boot.and_then(|boot| {
        let since_boot = u128::from(stat.starttime).checked_mul(1_000_000_000)? / u128::from(ticks);
        let nanos = u128::from(boot).checked_mul(1_000_000_000)?.checked_add(since_boot)?;
        Timestamp::from_unix_nanos(i128::try_from(nanos).ok()?)
    });
    // A zombie has none.
    process.cmdline = files.cmdline().unwrap_or_default();
    process.threads = u32::try_from(stat.num_threads).ok();
    Some(process)
}

#[allow(clippy::cast_precision_loss, reason = "ticks of centuries fit")]
fn cpu_seconds(used: u64, ticks: u64) -> f64 {
    used as f64 / ticks as f64
}

/// The users of this machine, by number, as `ps` shows them; or those of a container that counts users by itself, for
/// which this machine has no names.
#[derive(Debug, Default)]
struct Users {
    names: HashMap<u32, String>,
    /// First number inside, first number here, how many: nothing when both count alike.
    map: Vec<(u32, u32, u32)>,
}

impl Users {
    /// As the user namespace of this process has them.
    fn of(pid: u32) -> Self {
        let mut users = Users::parse(&std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        users.map = map(&std::fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default());
        users
    }

    fn parse(text: &str) -> Self {
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
        Users { names: users, map: Vec::new() }
    }

    fn name(&self, uid: u32) -> String {
        let own = self.map.iter().find_map(|(inside, here, count)| {
            uid.checked_sub(*here).filter(|step| step < count).and_then(|step| inside.checked_add(step))
        });
        match own {
            Some(own) => own.to_string(),
            None => self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        }
    }
}

/// What `uid_map` says; nothing when numbers inside are those here.
fn map(text: &str) -> Vec<(u32, u32, u32)> {
    let lines = text.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    lines.filter(|(inside, here, _)| inside != here).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_read_as_typed_values() {
        let users = Users::of(std::process::id());
        let process = read(std::process::id(), &users, procfs::boot_time_secs().ok()).unwrap();
        assert_eq!(process.pid, std::process::id());
        assert!(process.ppid > 0 && process.rss_bytes > Some(0) && process.vms_bytes > process.rss_bytes);
        assert!(process.threads >= Some(1) && !process.cmdline.is_empty() && !process.user.is_empty());
        let age = Timestamp::now().since(process.started_at.unwrap());
        assert!(age.as_secs() < 3600, "{age:?}");
        assert!(read(u32::MAX, &users, None).is_none());
    }

    #[test]
    fn users_of_a_container_that_counts_by_itself_are_its_numbers() {
        let mut users = Users::parse("root:x:0:0:root:/root:/bin/sh\n");
        users.map = map("         0     100000   65536\n     70000     5 1\nbroken\n");
        assert_eq!(users.name(100_000), "0");
        assert_eq!((users.name(101_234), users.name(5), users.name(0)), ("1234".into(), "70000".into(), "root".into()));
        assert!(map("         0          0 4294967295\n").is_empty());
    }

    #[test]
    fn users_without_a_name_are_numbers() {
        let users = Users::parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nbroken\nnobody:x:x:1::/:\n");
        assert_eq!((users.name(0), users.name(4_000_000_000)), ("root".to_owned(), "4000000000".to_owned()));
    }
}
