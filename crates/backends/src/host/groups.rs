//! What a container uses, read again and again: its group's files and its network's, kept open.
//!
//! Which files there are depends on the version of the groups, on the kernel, and on which controllers the engine asked for; what is
//! not there is absent from the answer. Limits change seldom, and are read anew once in a while only; and of a container in which
//! nothing ran, what cannot have changed is not read either.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use roadstead_core::usage::NamespaceTraffic;

use super::cgroup::{Cgroup, Version};
use super::files::group::{Cpu, Memory, Pressure, io_of_one, io_of_two, limit, oom_kills, processors};
use super::files::machine::{Nic, nics};
use super::files::scan::whole;
use super::kept::{Buffer, Comes, Kept};
use super::numbers::traffic;
use super::rest::{Rest, Times, is_written, spread};

/// Limits are read once in so many reads.
const LIMITS_EVERY: u32 = 16;
const NANOSECONDS: u64 = 1_000_000_000;

/// What was read of one container at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counters {
    pub(super) cpu: Cpu,
    /// All that the kernel counts for it, in bytes.
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory: Memory,
    pub(super) oom_kills: Option<u64>,
    /// Bytes read and written.
    pub(super) io: Option<(u64, u64)>,
    pub(super) pids: Option<u64>,
    pub(super) limits: Limits,
    /// Of processor, memory and devices; in version 1 the kernel has none.
    pub(super) pressure: [Option<Pressure>; 3],
    /// Its interfaces, the loopback included; nothing where it uses the machine's own network.
    pub(super) nics: Option<Vec<Nic>>,
    /// It uses the machine's own network.
    pub(super) has_machine_network: bool,
}

/// What it may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) memory_bytes: Option<u64>,
    pub(super) pids: Option<u64>,
    /// How many processors.
    pub(super) processors: Option<u32>,
}

/// The kept files of one container.
#[derive(Debug)]
pub(super) struct GroupFiles {
    cpu: CpuFiles,
    memory: Option<MemoryFiles>,
    io: Option<(Version, Kept)>,
    pids: Option<Kept>,
    pressure: [Option<Kept>; 3],
    network: Network,
    /// What was read of them last.
    limits: Option<Limits>,
    limit_paths: [Option<PathBuf>; 3],
    /// How often it was read, counted from another number for each, so that limits of all are not read at the same look.
    reads: u32,
    rest: Rest,
    /// Its processor time just before its processes were looked at.
    before_processes: Option<u64>,
}

#[derive(Debug)]
enum CpuFiles {
    One { usage: Kept, modes: Option<Kept>, stat: Option<Kept>, tick_ns: u64 },
    Two(Kept),
}

#[derive(Debug)]
struct MemoryFiles {
    version: Version,
    usage: Kept,
    stat: Kept,
    swap: Option<Kept>,
    kills: Option<Kept>,
}

impl GroupFiles {
    /// Opens what there is. After these times it rests, and is read anew.
    ///
    /// # Errors
    /// `NotFound` when the container has ended, or the kernel does not count its processor time.
    pub(super) fn open(group: &Cgroup, times: Times) -> io::Result<Self> {
        let one_or = |directory: Option<(Version, &Path)>, one: &str, two: &str| {
            directory.and_then(|(version, directory)| {
                let name = if version == Version::One { one } else { two };
                Some((version, there(&directory.join(name))?))
            })
        };
        let file = |controller: &str, one: &str, two: &str| {
            one_or(group.directory(controller), one, two).map(|(_, kept)| kept)
        };
        let cpu = match group.directory("cpuacct") {
            Some((Version::One, directory)) => {
                let stat = match group.directory("cpu") {
                    Some((Version::One, directory)) => there(&directory.join("cpu.stat")),
                    _ => None,
                };
                let usage = Kept::open(&directory.join("cpuacct.usage"), Comes::Whole)?;
                let tick_ns = NANOSECONDS / procfs::ticks_per_second().max(1);
                CpuFiles::One { usage, modes: there(&directory.join("cpuacct.stat")), stat, tick_ns }
            }
            Some((Version::Two, directory)) => CpuFiles::Two(Kept::open(&directory.join("cpu.stat"), Comes::Whole)?),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let memory = one_or(group.directory("memory"), "memory.usage_in_bytes", "memory.current").and_then(
            |(version, usage)| {
                Some(MemoryFiles {
                    version,
                    usage,
                    stat: file("memory", "memory.stat", "memory.stat")?,
                    swap: (version == Version::Two).then(|| file("memory", "", "memory.swap.current")).flatten(),
                    kills: file("memory", "memory.oom_control", "memory.events"),
                })
            },
        );
        let io = one_or(group.directory("blkio"), "blkio.throttle.io_service_bytes_recursive", "io.stat")
            .or_else(|| one_or(group.directory("blkio"), "blkio.throttle.io_service_bytes", "io.stat"));
        let pressure = ["cpu.pressure", "memory.pressure", "io.pressure"]
            .map(|name| group.unified.as_deref().and_then(|directory| there(&directory.join(name))));
        let path = |controller: &str, one: &str, two: &str| {
            group
                .directory(controller)
                .map(|(version, directory)| directory.join(if version == Version::One { one } else { two }))
        };
        Ok(GroupFiles {
            cpu,
            memory,
            io,
            pids: file("pids", "pids.current", "pids.current"),
            pressure,
            network: Network::of(group.pid),
            limits: None,
            limit_paths: [
                path("memory", "memory.limit_in_bytes", "memory.max"),
                path("pids", "pids.max", "pids.max"),
                path("cpuset", "cpuset.effective_cpus", "cpuset.cpus.effective"),
            ],
            reads: spread(group.pid) % LIMITS_EVERY,
            rest: Rest::new(group.pid, times),
            before_processes: None,
        })
    }

    /// How many descriptors it keeps.
    pub(super) fn descriptors(&self) -> usize {
        let cpu = match &self.cpu {
            CpuFiles::One { modes, stat, .. } => 1 + usize::from(modes.is_some()) + usize::from(stat.is_some()),
            CpuFiles::Two(_) => 1,
        };
        let memory = self
            .memory
            .as_ref()
            .map_or(0, |memory| 2 + usize::from(memory.swap.is_some()) + usize::from(memory.kills.is_some()));
        let one = |is_there: bool| usize::from(is_there);
        let others = one(self.io.is_some()) + one(self.pids.is_some()) + one(self.network.file().is_some());
        cpu + memory + others + self.pressure.iter().flatten().count()
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// `NotFound` when the container has ended.
    pub(super) fn read(&mut self, now: Instant, buffer: &mut Buffer) -> io::Result<Counters> {
        let has_machine_network = matches!(self.network, Network::Machine);
        let mut counters = Counters { cpu: self.cpu.read(buffer)?, has_machine_network, ..Counters::default() };
        if let Some(memory) = &self.memory {
            memory.read(&mut counters, buffer)?;
        }
        counters.pids = self.pids(buffer)?;
        counters.pressure = self.pressure(buffer);
        counters.io = self.io(buffer)?;
        counters.nics = self.nics(buffer);
        counters.limits = self.limits();
        // What ran since its processes were looked at has changed them.
        let is_proven = self.before_processes.take() == Some(counters.cpu.total_ns);
        self.rest.is_read(now, &mut counters, is_proven);
        Ok(counters)
    }

    /// Reads what can have changed of a container in which nothing ran since all of it was read. Nothing when something did run,
    /// when all of it is due, or when it has ended: then all is to be read. Its processes are to be looked at after this.
    pub(super) fn read_at_rest(&mut self, now: Instant, buffer: &mut Buffer) -> Option<Counters> {
        self.before_processes = self.cpu.total_ns(buffer);
        let total_ns = self.before_processes?;
        let before = self.rest.before(now).filter(|before| before.cpu.total_ns == total_ns)?;
        let memory_bytes = self.memory.as_ref().and_then(|memory| whole(memory.usage.read(buffer).ok()?));
        if memory_bytes != before.memory_bytes {
            return None;
        }
        let mut counters = before.clone();
        if !is_written(&counters) {
            counters.io = self.io(buffer).ok()?;
        }
        counters.nics = self.nics(buffer);
        counters.limits = self.limits();
        self.before_processes = None;
        Some(counters)
    }

    /// Its limits, read anew once in a while.
    fn limits(&mut self) -> Limits {
        let is_due = self.reads.is_multiple_of(LIMITS_EVERY);
        self.reads = self.reads.wrapping_add(1);
        if let Some(limits) = self.limits.filter(|_| !is_due) {
            return limits;
        }
        let [memory, pids, processors] = &self.limit_paths;
        let read = |path: &Option<PathBuf>| path.as_deref().and_then(|path| std::fs::read(path).ok());
        *self.limits.insert(Limits {
            memory_bytes: read(memory).and_then(|text| limit(&text)),
            pids: read(pids).and_then(|text| limit(&text)),
            processors: read(processors).and_then(|set| self::processors(&set)).or_else(all_processors),
        })
    }

    fn pids(&self, buffer: &mut Buffer) -> io::Result<Option<u64>> {
        self.pids.as_ref().map_or(Ok(None), |pids| pids.read(buffer).map(whole))
    }

    fn pressure(&self, buffer: &mut Buffer) -> [Option<Pressure>; 3] {
        // A kernel may have the file and refuse to fill it.
        self.pressure.each_ref().map(|file| Some(Pressure::parse(file.as_ref()?.read(buffer).ok()?)))
    }

    fn io(&self, buffer: &mut Buffer) -> io::Result<Option<(u64, u64)>> {
        Ok(match &self.io {
            Some((Version::One, file)) => io_of_one(file.read(buffer)?),
            Some((Version::Two, file)) => Some(io_of_two(file.read(buffer)?)),
            None => None,
        })
    }

    /// The process whose network this is may end before the container does.
    fn nics(&self, buffer: &mut Buffer) -> Option<Vec<Nic>> {
        Some(nics(self.network.file()?.read(buffer).ok()?))
    }
}

impl CpuFiles {
    fn read(&self, buffer: &mut Buffer) -> io::Result<Cpu> {
        let read = match self {
            CpuFiles::Two(stat) => Cpu::of_two(stat.read(buffer)?),
            CpuFiles::One { usage, modes, stat, tick_ns } => {
                // The buffer holds one of them at a time; all three are short.
                let copy = |file: &Option<Kept>, buffer: &mut Buffer| match file {
                    Some(file) => file.read(buffer).map(|text| Some(text.to_vec())),
                    None => Ok(None),
                };
                let held = copy(stat, buffer)?;
                let modes = copy(modes, buffer)?;
                Cpu::of_one(usage.read(buffer)?, modes.as_deref(), held.as_deref(), *tick_ns)
            }
        };
        read.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// All time; nothing where it cannot be read.
    fn total_ns(&self, buffer: &mut Buffer) -> Option<u64> {
        match self {
            CpuFiles::Two(stat) => Some(Cpu::of_two(stat.read(buffer).ok()?)?.total_ns),
            CpuFiles::One { usage, .. } => whole(usage.read(buffer).ok()?),
        }
    }
}

impl MemoryFiles {
    fn read(&self, counters: &mut Counters, buffer: &mut Buffer) -> io::Result<()> {
        counters.memory_bytes = whole(self.usage.read(buffer)?);
        let stat = self.stat.read(buffer)?;
        counters.memory = match self.version {
            Version::One => Memory::of_one(stat),
            Version::Two => Memory::of_two(stat),
        };
        if let Some(swap) = &self.swap {
            counters.memory.swap = whole(swap.read(buffer)?);
        }
        counters.oom_kills = match &self.kills {
            Some(kills) => oom_kills(kills.read(buffer)?),
            None => None,
        };
        Ok(())
    }
}

/// Where no set is told: what this very process may use.
fn all_processors() -> Option<u32> {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok())
}

/// A file that may be there.
fn there(path: &Path) -> Option<Kept> {
    Kept::open(path, Comes::Whole).ok()
}

/// Whose network a container uses.
#[derive(Debug)]
enum Network {
    /// Its own: the counters of the interfaces in it.
    Own(Kept),
    /// The machine's, which is read with the machine.
    Machine,
    /// It cannot be told.
    Unknown,
}

impl Cgroup {
    /// What the network of its main process carried, the loopback included; nothing when that has ended.
    pub(super) fn traffic(&self) -> Option<NamespaceTraffic> {
        // The file is that of the namespace that the process is in, whose ever it is.
        let all = nics(&std::fs::read(format!("/proc/{}/net/dev", self.pid)).ok()?);
        Some(traffic(all.iter().map(|nic| (nic.received_bytes, nic.sent_bytes))))
    }
}

impl Network {
    fn of(pid: u32) -> Self {
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        match (namespace(&pid.to_string()), namespace("self")) {
            (Some(theirs), Some(ours)) if theirs == ours => Network::Machine,
            (Some(_), Some(_)) => match Kept::open(Path::new(&format!("/proc/{pid}/net/dev")), Comes::InShortLines) {
                Ok(file) => Network::Own(file),
                Err(_) => Network::Unknown,
            },
            _ => Network::Unknown,
        }
    }

    fn file(&self) -> Option<&Kept> {
        match self {
            Network::Own(file) => Some(file),
            Network::Machine | Network::Unknown => None,
        }
    }
}
