//! The processes of a container, as the node counts them.
//!
//! The node lists all of its processes; those of a container are the children of its first one, and their children. What the
//! list does not tell (state, user, threads, the number within the container) stands in the kernel's own files of the node,
//! which are read through the node, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use roadstead_core::{ErrorKind, Process, ProcessState, Result};

use super::commands::corex::Container;
use super::commands::process::Process as Listed;
use super::found::Found;
use super::kept;
use super::settle;
use super::shared::Core0;

/// A status is shorter.
const STATUS_MAX_BYTES: u64 = 64 * 1024;
/// Of a longer command line, what the list has is told.
const COMMAND_MAX_BYTES: u64 = 1024 * 1024;
/// So many are read at once.
const AT_ONCE: usize = 8;

/// C170, C171.
pub(super) async fn processes(core0: &Core0, found: &Found) -> Result<Vec<Process>> {
    found.must_run()?;
    let own = family(core0.host.commands().processes().list().await?, found.container.pid);
    let pids: Vec<u32> = own.iter().map(|process| process.pid).collect();
    let looks = pids.into_iter().map(|pid| async move { tokio::try_join!(status(core0, pid), words(core0, pid)) });
    let seen: Vec<Result<(Option<Status>, Words)>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let mut all = Vec::new();
    for (listed, seen) in own.into_iter().zip(seen) {
        // One that has ended meanwhile is none.
        if let (Some(status), words) = seen? {
            all.push(process(listed, status, words));
        }
    }
    Ok(all)
}

/// The program and its arguments; none when they cannot be told.
type Words = Option<Vec<String>>;

fn process(listed: Listed, status: Status, words: Words) -> Process {
    let mut process = Process::default();
    process.pid = listed.pid;
    process.ppid = listed.parent_pid;
    process.user = status.user;
    process.name = listed.name;
    process.state = status.state;
    process.cpu_seconds = (listed.cpu.user + listed.cpu.system).as_secs_f64();
    process.cpu_user_seconds = Some(listed.cpu.user.as_secs_f64());
    process.cpu_system_seconds = Some(listed.cpu.system.as_secs_f64());
    process.rss_bytes = Some(listed.rss_bytes);
    process.vms_bytes = Some(listed.vms_bytes);
    process.started_at = listed.started_at;
    // The node joins the words with blanks, after which nobody knows where one ends: the line stays whole then.
    let line = || Some(listed.command_line).filter(|line| !line.is_empty()).into_iter().collect();
    process.cmdline = words.unwrap_or_else(line);
    process.threads = status.threads;
    process
}

/// The process `first` and all that come of it, by ascending pid.
fn family(all: Vec<Listed>, first: u32) -> Vec<Listed> {
    let members = descendants(&all, &BTreeSet::from([first]));
    let mut own: Vec<Listed> = all.into_iter().filter(|process| members.contains(&process.pid)).collect();
    own.sort_by_key(|process| process.pid);
    own
}

/// These processes, and all that come of them.
pub(super) fn descendants(all: &[Listed], roots: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent_pid).or_default().push(process.pid);
    }
    let mut members = BTreeSet::new();
    let mut waiting: Vec<u32> = roots.iter().copied().collect();
    while let Some(pid) = waiting.pop() {
        if members.insert(pid) {
            waiting.extend(children.get(&pid).into_iter().flatten());
        }
    }
    members
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: ProcessState,
    pub(super) user: String,
    pub(super) threads: Option<u32>,
    /// Its number in its own container.
    pub(super) inner_pid: Option<u32>,
}

impl Status {
    pub(super) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        Status {
            state: field("State").chars().next().map_or(ProcessState::Unknown, ProcessState::from_letter),
            user: field("Uid").split_whitespace().next().unwrap_or_default().to_owned(),
            threads: field("Threads").parse().ok(),
            inner_pid: field("NSpid").split_whitespace().last().and_then(|pid| pid.parse().ok()),
        }
    }
}

/// None when there is no such process any more.
async fn status(core0: &Core0, pid: u32) -> Result<Option<Status>> {
    let commands = core0.host.commands();
    match commands.filesystem().read_file(&format!("/proc/{pid}/status"), STATUS_MAX_BYTES).await {
        Ok(text) => Ok(Some(Status::parse(&String::from_utf8_lossy(&text)))),
        Err(error) if error.kind() == ErrorKind::NotFound || error.message().contains("no such process") => Ok(None),
        Err(error) => Err(error),
    }
}

/// The words of a process, as the kernel has them.
async fn words(core0: &Core0, pid: u32) -> Result<Words> {
    let commands = core0.host.commands();
    match commands.filesystem().read_file(&format!("/proc/{pid}/cmdline"), COMMAND_MAX_BYTES).await {
        Ok(text) => Ok(Some(split(&text))),
        // It cannot be reached: nothing else would be.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => Err(error),
        Err(error) => {
            tracing::debug!(pid, %error, "the words of a process could not be read");
            Ok(None)
        }
    }
}

/// Each word ends with a NUL. A process may write over them, and leave the last NUL out.
pub(super) fn split(text: &[u8]) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Which container it is that has a number now: an agent that is started anew counts from the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Which {
    /// Empty when it is not of ours.
    mark: String,
    /// Its first process.
    first: u32,
}

impl Which {
    pub(super) fn new(mark: &str, first: u32) -> Self {
        Which { mark: mark.to_owned(), first }
    }

    pub(super) fn of(container: &Container) -> Self {
        Which::new(&kept::mark(&container.arguments).unwrap_or_default(), container.pid)
    }
}

/// The main processes whose pids were asked for: by the numbers of their containers, with the run.
#[derive(Debug, Default)]
pub(super) struct MainPids(Mutex<BTreeMap<u64, (Which, u64, u32)>>);

impl MainPids {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, (Which, u64, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of which containers something is known.
    pub(super) fn known(&self) -> Vec<(u64, Which)> {
        self.all().iter().map(|(container, (which, ..))| (*container, which.clone())).collect()
    }

    pub(super) fn forget(&self, container: u64, gone: &Which) {
        let mut all = self.all();
        if all.get(&container).is_some_and(|(which, ..)| which == gone) {
            all.remove(&container);
        }
    }

    fn get(&self, container: u64, which: &Which, run: u64) -> Option<u32> {
        self.all().get(&container).filter(|known| (&known.0, known.1) == (which, run)).map(|known| known.2)
    }

    fn put(&self, container: u64, which: Which, run: u64, pid: u32) {
        self.all().insert(container, (which, run, pid));
    }
}

/// The pid of the main process, as the node counts; of a container without one, that of its first process. It is found out once
/// for each run.
pub(super) async fn main_pid(core0: &Core0, found: &Found) -> Result<Option<u32>> {
    if !found.state.has_processes() {
        return Ok(None);
    }
    let (container, first) = (found.container.id, Some(found.container.pid).filter(|pid| *pid > 0));
    let (Some(job), Some(first)) = (found.main_job(), first) else { return Ok(first) };
    let which = Which::of(&found.container);
    if let Some(pid) = core0.main_pids.get(container, &which, found.run.number) {
        return Ok(Some(pid));
    }
    let Some(inner) = settle::listed(&core0.inside(container), job).await?.and_then(|job| job.pid) else {
        return Ok(None);
    };
    let Some(process) = outer(core0, first, inner).await? else { return Ok(None) };
    core0.main_pids.put(container, which, found.run.number, process.pid);
    Ok(Some(process.pid))
}

/// The child of a container's first process that has this number in the container, as the node counts it.
pub(super) async fn outer(core0: &Core0, first: u32, inner: u32) -> Result<Option<Listed>> {
    outer_of(core0, &core0.host.commands().processes().list().await?, first, inner).await
}

/// The same, of a list of the node's processes.
pub(super) async fn outer_of(core0: &Core0, all: &[Listed], first: u32, inner: u32) -> Result<Option<Listed>> {
    for process in all.iter().filter(|process| process.parent_pid == first && process.pid != first) {
        if status(core0, process.pid).await?.is_some_and(|status| status.inner_pid == Some(inner)) {
            return Ok(Some(process.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_its_first_process_and_what_comes_of_it() {
        let listed = |pid, parent_pid| {
            let mut process = Listed::default();
            (process.pid, process.parent_pid) = (pid, parent_pid);
            process
        };
        let all = vec![listed(9, 5), listed(1, 0), listed(5, 1), listed(7, 9), listed(6, 1), listed(5, 5)];
        let pids: Vec<u32> = family(all, 5).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [5, 5, 7, 9]);
    }

    #[test]
    fn processor_time_is_told_in_both_modes() {
        let mut listed = Listed::default();
        listed.cpu.user = std::time::Duration::from_millis(1500);
        listed.cpu.system = std::time::Duration::from_millis(250);
        let told = process(listed, Status::parse(""), None);
        assert_eq!((told.cpu_seconds, told.cpu_user_seconds, told.cpu_system_seconds), (1.75, Some(1.5), Some(0.25)));
    }

    #[test]
    fn a_main_process_is_that_of_one_container_and_run() {
        let (pids, one) = (MainPids::default(), Which::new("one", 40));
        pids.put(1, one.clone(), 1, 41);
        assert_eq!(pids.get(1, &one, 1), Some(41));
        for (which, run) in [(&one, 2), (&Which::new("two", 40), 1), (&Which::new("one", 50), 1)] {
            assert_eq!(pids.get(1, which, run), None, "{which:?}");
        }
        pids.forget(1, &Which::new("two", 40));
        assert_eq!(pids.known(), [(1, one.clone())]);
        pids.forget(1, &one);
        assert_eq!(pids.known(), []);
    }

    #[test]
    fn words_are_those_of_the_kernel() {
        assert_eq!(split(b"sh\0-c\0sleep 1;  true\0\0"), ["sh", "-c", "sleep 1;  true", ""]);
        assert_eq!(split(b"server: worker"), ["server: worker"]);
        assert_eq!(split(b"a\xff\0"), ["a\u{fffd}"]);
        assert!(split(b"").is_empty());
        let told = |words| {
            let listed = Listed { command_line: "sh -c sleep 1".to_owned(), ..Listed::default() };
            process(listed, Status::parse(""), words).cmdline
        };
        assert_eq!(told(Some(vec!["sh".to_owned()])), ["sh"]);
        assert_eq!(told(None), ["sh -c sleep 1"], "no word is made up");
    }

    #[test]
    fn what_the_kernel_says() {
        let text = "Name:\tsh\nState:\tS (sleeping)\nNSpid:\t4242\t17\nUid:\t1000\t0\t0\t0\nThreads:\t3\n";
        let status = Status::parse(text);
        assert_eq!((status.state, status.user.as_str()), (ProcessState::Sleeping, "1000"));
        assert_eq!((status.threads, status.inner_pid), (Some(3), Some(17)));
        let nothing = Status::parse("");
        assert_eq!((nothing.state, nothing.inner_pid), (ProcessState::Unknown, None));
    }
}
