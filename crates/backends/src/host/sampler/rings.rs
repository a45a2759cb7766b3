//! The histories of the machine, of every container and of every process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::Timestamp;
use roadstead_core::usage::{MachineUsage, Metric, Spread, UsagePoint};

use super::sample::{GroupSample, ProcessSample, Sample};
use crate::host::history::{History, Keep, Tenths, Values};

/// What is kept of a container.
pub(in crate::host) const OF_GROUPS: [Metric; 13] = [
    Metric::CpuPercent,
    Metric::MemoryBytes,
    Metric::WorkingSetBytes,
    Metric::SwapBytes,
    Metric::ReadBytesPerSecond,
    Metric::WrittenBytesPerSecond,
    Metric::ReceivedBytesPerSecond,
    Metric::SentBytesPerSecond,
    Metric::Pids,
    Metric::ThrottledPercent,
    Metric::CpuPressurePercent,
    Metric::MemoryPressurePercent,
    Metric::IoPressurePercent,
];

/// What is kept of the machine.
pub(in crate::host) const OF_MACHINE: [Metric; 12] = [
    Metric::CpuPercent,
    Metric::MemoryBytes,
    Metric::SwapBytes,
    Metric::ReadBytesPerSecond,
    Metric::WrittenBytesPerSecond,
    Metric::ReceivedBytesPerSecond,
    Metric::SentBytesPerSecond,
    Metric::Pids,
    Metric::CpuPressurePercent,
    Metric::MemoryPressurePercent,
    Metric::IoPressurePercent,
    Metric::Load,
];

/// What is kept of a process.
pub(in crate::host) const OF_PROCESSES: [Metric; 2] = [Metric::CpuPercent, Metric::MemoryBytes];

/// A process by its number and the time of its start, which tells it from the one that had the number before.
type ProcessKey = (u32, u64);

/// All histories. They count time from a day's beginning, so that steps begin at round times.
#[derive(Debug)]
pub(in crate::host) struct Rings {
    keep: Keep,
    begin: Timestamp,
    machine: History<12>,
    groups: HashMap<Arc<str>, History<13>>,
    processes: HashMap<ProcessKey, History<2>>,
}

const DAY: i64 = 86_400;

impl Rings {
    pub(super) fn new(keep: Keep) -> Self {
        let now = Timestamp::now();
        let begin =
            Timestamp::from_unix_seconds(now.unix_seconds() - now.unix_seconds().rem_euclid(DAY)).unwrap_or(now);
        Rings { keep, begin, machine: History::new(keep), groups: HashMap::new(), processes: HashMap::new() }
    }

    fn tenths(&self, at: Timestamp) -> Tenths {
        Tenths::try_from(at.since(self.begin).as_millis() / 100).unwrap_or(Tenths::MAX)
    }

    /// Adds what a look saw, and forgets what is gone.
    pub(super) fn push(&mut self, sample: &Sample, page_bytes: u64) {
        let at = self.tenths(sample.observed_at);
        self.machine.push(at, of_machine(&sample.machine));
        for group in &sample.groups {
            let keep = self.keep;
            let history = self.groups.entry(Arc::clone(&group.path)).or_insert_with(|| History::new(keep));
            history.push(at, of_group(group));
        }
        forget(&mut self.groups, sample.groups.len(), |path| sample.group(path).is_some());
        for process in &sample.processes {
            let keep = self.keep;
            let key = (process.stat.pid, process.stat.start_ticks);
            self.processes.entry(key).or_insert_with(|| History::new(keep)).push(at, of_process(process, page_bytes));
        }
        forget(&mut self.processes, sample.processes.len(), |(pid, start)| {
            sample.process(*pid).is_some_and(|process| process.stat.start_ticks == *start)
        });
    }

    /// The bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        let groups: usize = self.groups.values().map(History::bytes).sum();
        let processes: usize = self.processes.values().map(History::bytes).sum();
        u64::try_from(self.machine.bytes() + groups + processes).unwrap_or(u64::MAX)
    }

    /// The machine's points.
    pub(in crate::host) fn machine(&self, since: Option<Timestamp>, step: Option<Duration>) -> Vec<UsagePoint> {
        self.points(&self.machine, &OF_MACHINE, since, step)
    }

    /// A group's points; none of one that is not known.
    pub(in crate::host) fn group(
        &self,
        path: &str,
        since: Option<Timestamp>,
        step: Option<Duration>,
    ) -> Vec<UsagePoint> {
        self.groups.get(path).map(|history| self.points(history, &OF_GROUPS, since, step)).unwrap_or_default()
    }

    /// A process's points; none of one that is not known.
    pub(in crate::host) fn process(
        &self,
        process: &ProcessSample,
        since: Option<Timestamp>,
        step: Option<Duration>,
    ) -> Vec<UsagePoint> {
        let history = self.processes.get(&(process.stat.pid, process.stat.start_ticks));
        history.map(|history| self.points(history, &OF_PROCESSES, since, step)).unwrap_or_default()
    }

    fn points<const N: usize>(
        &self,
        history: &History<N>,
        metrics: &[Metric; N],
        since: Option<Timestamp>,
        step: Option<Duration>,
    ) -> Vec<UsagePoint> {
        let since = since.map_or(0, |since| self.tenths(since));
        // A step that is no whole number of tenths is rounded up: never shorter than asked for.
        let step = step.map_or(1, |step| Tenths::try_from(step.as_millis().div_ceil(100)).unwrap_or(Tenths::MAX));
        let point = |span: crate::host::history::Span<N>| {
            let at = self.begin.saturating_add(Duration::from_millis(u64::from(span.at) * 100));
            let known = metrics.iter().zip(span.spreads).filter(|(_, spread)| spread.mean.is_finite());
            let values = known.map(|(metric, spread)| {
                (*metric, Spread::new(spread.min.into(), spread.mean.into(), spread.max.into()))
            });
            UsagePoint::new(at, values.collect())
        };
        history.since(since, step).into_iter().map(point).collect()
    }
}

/// Looks for what is gone only where there is more than there should be.
fn forget<K: Eq + Hash, V>(all: &mut HashMap<K, V>, there: usize, is_there: impl Fn(&K) -> bool) {
    if all.len() > there {
        all.retain(|key, _| is_there(key));
        if all.capacity() > 64 && all.capacity() / 4 > all.len() {
            all.shrink_to_fit();
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "seven digits are kept")]
fn float(value: f64) -> f32 {
    value as f32
}

#[allow(clippy::cast_precision_loss, reason = "seven digits are kept")]
fn bytes(value: u64) -> f32 {
    value as f32
}

fn rate(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, float)
}

fn pressure(pressure: Option<roadstead_core::Pressure>) -> f32 {
    rate(pressure.map(|pressure| pressure.some_percent))
}

fn of_group(group: &GroupSample) -> Values<13> {
    let (stats, rates) = (&group.stats, group.rates.as_ref());
    let told = stats.pressure.unwrap_or_default();
    [
        rate(rates.map(|rates| rates.cpu_percent)),
        bytes(stats.memory.usage_bytes),
        stats.memory.working_set_bytes.map_or(f32::NAN, bytes),
        stats.memory.swap_bytes.map_or(f32::NAN, bytes),
        rate(rates.and_then(|rates| rates.read_bytes_per_second)),
        rate(rates.and_then(|rates| rates.written_bytes_per_second)),
        rate(rates.and_then(|rates| rates.received_bytes_per_second)),
        rate(rates.and_then(|rates| rates.sent_bytes_per_second)),
        bytes(stats.pids.current),
        rate(rates.and_then(|rates| rates.throttled_percent)),
        pressure(told.cpu),
        pressure(told.memory),
        pressure(told.io),
    ]
}

fn of_machine(machine: &MachineUsage) -> Values<12> {
    let rates = machine.rates.as_ref();
    let told = machine.pressure.unwrap_or_default();
    [
        rate(machine.cpu.percent),
        bytes(machine.memory.used_bytes),
        bytes(machine.swap.used_bytes),
        rate(rates.and_then(|rates| rates.read_bytes_per_second)),
        rate(rates.and_then(|rates| rates.written_bytes_per_second)),
        rate(rates.and_then(|rates| rates.received_bytes_per_second)),
        rate(rates.and_then(|rates| rates.sent_bytes_per_second)),
        bytes(machine.processes),
        pressure(told.cpu),
        pressure(told.memory),
        pressure(told.io),
        rate(machine.cpu.load.map(|[minute, ..]| minute)),
    ]
}

fn of_process(process: &ProcessSample, page_bytes: u64) -> Values<2> {
    [rate(process.cpu_percent), bytes(process.stat.rss_pages.saturating_mul(page_bytes))]
}
