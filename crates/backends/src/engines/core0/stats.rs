//! What a container uses, as the sum of its processes: nodes count nothing of a container as a whole.
//!
//! Of a process that has ended, what it had used when it was last seen stays counted, so that processor time never goes down;
//! what it used after that is not told by anybody, nor is network and disk traffic.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roadstead_core::{ContainerStats, ErrorKind, Result, Timestamp};

use super::commands::process::Process;
use super::found::Found;
use super::processes::Which;
use super::shared::Core0;

/// Three numbers.
const SCHEDSTAT_MAX_BYTES: u64 = 4096;

/// What containers have used so far, by number.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<BTreeMap<u64, (Which, Used)>>);

/// Processor time in user and kernel mode.
type Cpu = (Duration, Duration);

#[derive(Debug, Default)]
struct Used {
    /// Of those that have ended.
    gone: Cpu,
    /// Of those that were seen last: by pid and start.
    present: BTreeMap<(u32, Option<Timestamp>), Cpu>,
}

impl Used {
    fn see(&mut self, processes: &[Process]) -> Cpu {
        let add = |sum: Cpu, cpu: Cpu| (sum.0 + cpu.0, sum.1 + cpu.1);
        let mut before = std::mem::take(&mut self.present);
        for process in processes {
            let key = (process.pid, process.started_at);
            let last = before.remove(&key).unwrap_or_default();
            let now = (process.cpu.user.max(last.0), process.cpu.system.max(last.1));
            self.present.insert(key, now);
        }
        self.gone = before.into_values().fold(self.gone, add);
        self.present.values().copied().fold(self.gone, add)
    }
}

impl Remembered {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, (Which, Used)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of which containers something is known.
    pub(super) fn known(&self) -> Vec<(u64, Which)> {
        self.all().iter().map(|(container, (which, _))| (*container, which.clone())).collect()
    }

    pub(super) fn forget(&self, container: u64, gone: &Which) {
        let mut all = self.all();
        if all.get(&container).is_some_and(|(which, _)| which == gone) {
            all.remove(&container);
        }
    }

    fn see(&self, container: u64, which: &Which, processes: &[Process]) -> Cpu {
        let mut all = self.all();
        let (seen, used) = all.entry(container).or_default();
        if seen != which {
            (*seen, *used) = (which.clone(), Used::default());
        }
        used.see(processes)
    }
}

/// Nodes count in hundredths of a second, of which a container that has just begun has used none: the kernel counts more finely.
async fn refine(core0: &Core0, container: u64, processes: &mut [Process]) -> Result<()> {
    if processes.iter().any(|process| process.cpu.user + process.cpu.system > Duration::ZERO) {
        return Ok(());
    }
    let Some(first) = processes.first_mut() else { return Ok(()) };
    let path = format!("/proc/{}/schedstat", first.pid);
    match core0.inside(container).filesystem().read_file(&path, SCHEDSTAT_MAX_BYTES).await {
        Ok(text) => first.cpu.user = running(&String::from_utf8_lossy(&text)),
        // Not every kernel has it, and the process may be gone.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The first number: nanoseconds on a processor.
pub(super) fn running(schedstat: &str) -> Duration {
    schedstat
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

/// C160, C161.
pub(super) async fn stats(core0: &Core0, found: &Found) -> Result<ContainerStats> {
    found.must_run()?;
    let container = found.container.id;
    let mut processes = core0.inside(container).processes().list().await?;
    refine(core0, container, &mut processes).await?;
    let (user, system) = core0.usage.see(container, &Which::of(&found.container), &processes);
    let mut stats = ContainerStats::at(Timestamp::now());
    stats.cpu.total_seconds = (user + system).as_secs_f64();
    stats.cpu.user_seconds = Some(user.as_secs_f64());
    stats.cpu.system_seconds = Some(system.as_secs_f64());
    stats.memory.usage_bytes = processes.iter().map(|process| process.rss_bytes).sum();
    stats.memory.swap_bytes = Some(processes.iter().map(|process| process.swap_bytes).sum());
    stats.memory.limit_bytes = found.kept.as_ref().and_then(|kept| kept.spec.limits.memory_bytes);
    stats.pids.current = processes.len().try_into().unwrap_or(u64::MAX);
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_finely() {
        assert_eq!(running("1500000 20 3\n"), Duration::from_micros(1500));
        assert_eq!(running(""), Duration::ZERO);
    }

    #[test]
    fn a_number_that_is_given_anew_is_another_container() {
        let processes = |user| {
            let mut process = Process::default();
            (process.pid, process.cpu.user) = (7, Duration::from_secs(user));
            vec![process]
        };
        let (first, next) = (Which::new("one", 40), Which::new("two", 40));
        let remembered = Remembered::default();
        assert_eq!(remembered.see(1, &first, &processes(9)).0.as_secs(), 9);
        assert_eq!(remembered.see(1, &next, &processes(2)).0.as_secs(), 2);
        remembered.forget(1, &first);
        assert_eq!(remembered.known(), [(1, next.clone())], "what is forgotten is what was gone");
        remembered.forget(1, &next);
        assert_eq!(remembered.known(), []);
    }

    #[test]
    fn processor_time_never_goes_down() {
        let process = |pid, user| {
            let mut process = Process::default();
            (process.pid, process.cpu.user) = (pid, Duration::from_secs(user));
            process
        };
        let mut used = Used::default();
        let mut see = |processes: &[Process]| used.see(processes).0.as_secs();
        assert_eq!(see(&[process(1, 1), process(2, 5)]), 6);
        assert_eq!(see(&[process(1, 2)]), 7);
        assert_eq!(see(&[process(1, 1), process(3, 1)]), 8);
        assert_eq!(see(&[]), 8);
        assert_eq!(see(&[process(1, 2)]), 10);
    }
}
