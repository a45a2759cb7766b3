//! The ten numbers of the dialect, of processes, containers and nodes.
//!
//! | index | number |
//! |---|---|
//! | 0 | percent of one core since the sample before |
//! | 1, 2 | seconds of user and of kernel time since the process began |
//! | 3, 4, 5 | resident memory in percent of the machine's, the same in bytes, virtual memory in bytes |
//! | 6, 7 | bytes read from and written to block devices, of a container as a whole; of its processes where that is not counted |
//! | 8, 9 | bytes received and sent in its network namespace |
//!
//! Of a container the first six are sums over its processes and the last four its own; of a node all are sums over its containers.

use roadstead_core::Process;
use roadstead_core::usage::ContainerUsage;
use serde_json::{Value, json};

/// How many numbers there are.
const COUNT: usize = 10;
/// Those that are whole numbers where they are of one process.
const WHOLE: [usize; 2] = [4, 5];

/// Ten numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ten([f64; COUNT]);

impl Ten {
    /// Those of a process on a machine with so many bytes of memory. What the engine does not tell is zero. Where it tells
    /// processor time in one number only, that counts as user time.
    pub(super) fn of_process(process: &Process, memory_bytes: Option<u64>) -> Self {
        let user = process.cpu_user_seconds.unwrap_or(process.cpu_seconds);
        let system = process.cpu_system_seconds.unwrap_or(0.0);
        let resident = bytes(process.rss_bytes);
        Ten::new([
            process.cpu_percent.unwrap_or(0.0),
            user,
            system,
            percent(resident, memory_bytes),
            resident,
            bytes(process.vms_bytes),
            0.0,
            0.0,
            0.0,
            0.0,
        ])
    }

    /// Those of a container as a whole, where its engine does not list its processes.
    pub(super) fn of_container(usage: &ContainerUsage, memory_bytes: Option<u64>) -> Self {
        let cpu = &usage.stats.cpu;
        let memory = &usage.stats.memory;
        let resident = memory.rss_bytes.or(memory.working_set_bytes).unwrap_or(memory.usage_bytes);
        let resident = bytes(Some(resident));
        let numbers = [
            usage.rates.map_or(0.0, |rates| rates.cpu_percent),
            cpu.user_seconds.unwrap_or(cpu.total_seconds),
            cpu.system_seconds.unwrap_or(0.0),
            percent(resident, memory_bytes),
            resident,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ];
        Ten::new(numbers).with_devices(usage, &[])
    }

    /// What is no number counts as zero: JSON has no word for it.
    fn new(numbers: [f64; COUNT]) -> Self {
        Ten(numbers.map(|number| if number.is_finite() { number } else { 0.0 }))
    }

    /// With what the container as a whole read, wrote, received and sent: in its network namespace, or where that is not told on the
    /// interfaces that are. Where the kernel does not count for the container what it reads and writes, that of its processes counts.
    pub(super) fn with_devices(mut self, usage: &ContainerUsage, processes: &[&Process]) -> Self {
        let of_processes = |number: fn(&Process) -> Option<u64>| {
            processes.iter().filter_map(|process| number(process)).fold(0_u64, u64::saturating_add)
        };
        let (read, written) = match &usage.stats.block_io {
            Some(io) => (io.read_bytes, io.written_bytes),
            None => (of_processes(|process| process.read_bytes), of_processes(|process| process.written_bytes)),
        };
        let (received, sent) = match usage.namespace {
            Some(namespace) => (namespace.received_bytes, namespace.sent_bytes),
            None => usage.stats.networks.iter().fold((0_u64, 0_u64), |sum, network| {
                (sum.0.saturating_add(network.received_bytes), sum.1.saturating_add(network.sent_bytes))
            }),
        };
        let own = [read, written, received, sent].map(|number| bytes(Some(number)));
        for (number, own) in self.0.iter_mut().skip(COUNT - own.len()).zip(own) {
            *number = own;
        }
        self
    }

    /// As the `metrics` of a process.
    pub(super) fn of_one(self) -> Value {
        let one = |(index, number): (usize, f64)| {
            if WHOLE.contains(&index) { json!(whole(number)) } else { json!(number) }
        };
        self.0.into_iter().enumerate().map(one).collect()
    }

    /// As the `Metrics` of a container or node.
    pub(super) fn of_many(self) -> Value {
        json!(self.0)
    }
}

impl std::iter::Sum for Ten {
    fn sum<I: Iterator<Item = Ten>>(all: I) -> Ten {
        let mut sum = Ten::default();
        for one in all {
            for (sum, number) in sum.0.iter_mut().zip(one.0) {
                *sum += number;
            }
        }
        sum
    }
}

#[allow(clippy::cast_precision_loss, reason = "a double counts bytes exactly up to eight pebibytes, and then nearly")]
fn bytes(number: Option<u64>) -> f64 {
    number.unwrap_or(0) as f64
}

fn percent(resident: f64, of: Option<u64>) -> f64 {
    match of {
        Some(all) if all > 0 => resident / bytes(Some(all)) * 100.0,
        _ => 0.0,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made of such a number")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use roadstead_core::usage::NamespaceTraffic;
    use roadstead_core::{BlockIoStats, ContainerStats, NetworkStats, Timestamp};

    use super::*;

    fn process() -> Process {
        let mut process = Process::default();
        process.cpu_percent = Some(1.8);
        (process.cpu_seconds, process.cpu_user_seconds, process.cpu_system_seconds) = (1.75, Some(0.5), Some(1.25));
        (process.rss_bytes, process.vms_bytes) = (Some(250), Some(4000));
        process
    }

    fn usage() -> ContainerUsage {
        let mut stats = ContainerStats::at(Timestamp::now());
        let mut io = BlockIoStats::default();
        (io.read_bytes, io.written_bytes) = (22_114_304, 176_402_432);
        stats.block_io = Some(io);
        let mut network = NetworkStats::default();
        (network.received_bytes, network.sent_bytes) = (7, 8);
        stats.networks = vec![network.clone(), network];
        ContainerUsage::new("c", "c", stats)
    }

    #[test]
    fn those_of_a_process_are_in_their_order() {
        let ten = Ten::of_process(&process(), Some(1000));
        assert_eq!(ten.of_one().to_string(), "[1.8,0.5,1.25,25.0,250,4000,0.0,0.0,0.0,0.0]");
        assert_eq!(ten.of_many().to_string(), "[1.8,0.5,1.25,25.0,250.0,4000.0,0.0,0.0,0.0,0.0]");
        let mut together = process();
        (together.cpu_user_seconds, together.cpu_system_seconds) = (None, None);
        assert_eq!(Ten::of_process(&together, None).0[..4], [1.8, 1.75, 0.0, 0.0]);
        assert_eq!(Ten::of_process(&Process::default(), Some(0)), Ten::default());
        together.cpu_percent = Some(f64::NAN);
        assert_eq!(Ten::of_process(&together, None).0[0], 0.0);
    }

    #[test]
    fn those_of_a_container_are_sums_and_its_own() {
        let process = Ten::of_process(&process(), Some(1000));
        let sum = [process, process].into_iter().sum::<Ten>();
        let mut usage = usage();
        let told = |usage: &ContainerUsage| sum.with_devices(usage, &[]).of_many().to_string();
        assert_eq!(told(&usage), "[3.6,1.0,2.5,50.0,500.0,8000.0,22114304.0,176402432.0,14.0,16.0]");
        usage.namespace = Some(NamespaceTraffic::new(179_765_349, 2_230_453));
        usage.stats.block_io = None;
        assert_eq!(told(&usage), "[3.6,1.0,2.5,50.0,500.0,8000.0,0.0,0.0,179765349.0,2230453.0]");
        let mut reader = Process::default();
        (reader.read_bytes, reader.written_bytes) = (Some(5), Some(6));
        let told = sum.with_devices(&usage, &[&reader, &Process::default(), &reader]).of_many();
        assert_eq!((told[6].as_f64(), told[7].as_f64()), (Some(10.0), Some(12.0)));
    }

    #[test]
    fn a_container_without_a_list_of_processes_has_its_own_numbers() {
        let mut usage = usage();
        usage.stats.cpu.total_seconds = 3.0;
        usage.stats.memory.usage_bytes = 500;
        let told = |usage: &ContainerUsage| Ten::of_container(usage, Some(1000)).0[..6].to_vec();
        assert_eq!(told(&usage), [0.0, 3.0, 0.0, 50.0, 500.0, 0.0]);
        (usage.stats.cpu.user_seconds, usage.stats.cpu.system_seconds) = (Some(2.0), Some(1.0));
        usage.stats.memory.working_set_bytes = Some(400);
        assert_eq!(told(&usage), [0.0, 2.0, 1.0, 40.0, 400.0, 0.0]);
        usage.stats.memory.rss_bytes = Some(100);
        assert_eq!(told(&usage)[3..5], [10.0, 100.0]);
        assert_eq!(Ten::of_container(&usage, None).0[8], 14.0);
    }

    #[test]
    fn the_sum_of_nothing_is_ten_zeros() {
        assert_eq!(std::iter::empty().sum::<Ten>().of_many().to_string(), "[0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0]");
    }
}
