//! Measures what looking at this machine's containers and processes costs, beside the kernel's own time and other ways to the
//! same numbers.
//!
//! Usage: `cargo run --release -p roadstead-benches --bin host -- [--python PROGRAM] [--write FILE]`, as root.
//! Containers are control groups that the program makes and takes away again; the Python program needs psutil.
//! With `--hold asleep|awake COUNT` alone it makes so many, prints a line, and takes them away when its input ends.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::{Duration, Instant};

use roadstead_backends::host::{Sampler, SamplerOptions, raise_descriptor_limit};
use roadstead_benches::host::cost::{thread, thread_time};
use roadstead_benches::host::groups::{self, Groups, Kind};
use roadstead_benches::host::kernel::{self, Kernel};
use roadstead_benches::median;

type Outcome<T> = Result<T, Box<dyn Error>>;

const COUNTS: [usize; 3] = [10, 100, 1000];
const THREAD: &str = "roadstead-sampler";
/// For how long a pace is measured.
const PACED: Duration = Duration::from_secs(40);
/// How often it is looked for each row,
const LOOKS: usize = 20;
/// and where there are so many that the figure of the history counts: for a whole step of it, in which each history takes some
/// memory once.
const LOOKS_OF_MANY: usize = 300;

/// What looking at so many of a kind cost.
struct Cost {
    count: usize,
    processes: usize,
    pass: Duration,
    kernel: Duration,
    files: usize,
    percent: f64,
    ring_bytes_per_minute: f64,
}

impl Cost {
    /// Beyond what the machine alone costs and the kernel takes itself, in microseconds for each.
    fn beyond(&self, machine: Duration) -> f64 {
        let own = self.pass.as_secs_f64() - machine.as_secs_f64() - self.kernel.as_secs_f64();
        own * 1e6 / self.count.max(1) as f64
    }
}

fn options(interval: Duration, budget_percent: f64) -> SamplerOptions {
    let mut options = SamplerOptions::default();
    (options.interval, options.budget_percent) = (interval, budget_percent);
    options
}

/// Lets the sampler look once a second.
async fn look(sampler: &Sampler, groups: &Groups, count: usize) -> Outcome<Cost> {
    sampler.configure(options(Duration::from_secs(1), 100.0))?;
    sampler.sample().await?;
    let task = thread(THREAD)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (mut passes, mut kernel) = (Vec::new(), Vec::new());
    let mut reader = Kernel::begin(groups.directories(), groups.pids())?;
    let mut files = reader.read()?.files;
    let made = groups.all.iter().filter(|group| !group.directories.is_empty()).count();
    let first = sampler.sample().await?;
    let begun = (Instant::now(), thread_time(&task)?);
    for _ in 0..if made == 1000 { LOOKS_OF_MANY } else { LOOKS } {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sample = sampler.sample().await?;
        passes.push(Duration::from_secs_f64(sample.sampling().sample_cost_seconds));
        let reading = reader.read()?;
        files = reading.files;
        kernel.push(reading.time);
    }
    let used = thread_time(&task)?.saturating_sub(begun.1);
    let last = sampler.sample().await?;
    let seen = last.groups().iter().filter(|group| group.path().contains(groups::PARENT)).count();
    if seen != made {
        return Err(format!("{seen} of {made} containers were seen").into());
    }
    let minutes = last.observed_at().since(first.observed_at()).as_secs_f64() / 60.0;
    let grown = last.sampling().history_bytes.saturating_sub(first.sampling().history_bytes);
    let cost = Cost {
        count,
        processes: last.process_count(),
        pass: median(&passes),
        kernel: median(&kernel),
        files,
        percent: used.as_secs_f64() / begun.0.elapsed().as_secs_f64() * 100.0,
        ring_bytes_per_minute: grown as f64 / minutes / count.max(1) as f64,
    };
    Ok(cost)
}

/// What a sampler with a budget of one percent uses of a core.
async fn budget(sampler: &Sampler) -> Outcome<(f64, f64)> {
    sampler.configure(options(Duration::from_millis(500), 1.0))?;
    sampler.sample().await?;
    let task = thread(THREAD)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (begun, before) = (Instant::now(), thread_time(&task)?);
    tokio::time::sleep(PACED).await;
    // Asking keeps it going.
    let sample = sampler.sample().await?;
    let used = thread_time(&task)?.saturating_sub(before);
    Ok((used.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0, sample.sampling().interval_seconds))
}

/// A program that reads the same of each of some processes; prints seconds of processor time for a pass.
const PSUTIL: &str = "
import sys, time, psutil
pids = [int(pid) for pid in sys.stdin.read().split()]
all = [psutil.Process(pid) for pid in pids]
def look():
    for process in all:
        with process.oneshot():
            process.ppid(); process.name(); process.status(); process.cpu_times()
            process.memory_info(); process.num_threads(); process.create_time()
look()
passes = []
for _ in range(5):
    before = time.process_time(); look(); passes.append(time.process_time() - before)
print(sorted(passes)[2])
";

fn psutil(python: &str, pids: &[u32]) -> Outcome<Duration> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(python).args(["-c", PSUTIL]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let list: Vec<String> = pids.iter().map(u32::to_string).collect();
    child.stdin.take().ok_or("no input")?.write_all(list.join(" ").as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{python} with psutil failed").into());
    }
    Ok(Duration::from_secs_f64(String::from_utf8(output.stdout)?.trim().parse()?))
}

fn row(what: &str, cost: &Cost, beyond: f64) -> String {
    format!(
        "| {} {what} | {:.2} ms | {:.2} ms ({} files) | {beyond:.1} µs | {:.2} % | {:.0} B |",
        cost.count,
        cost.pass.as_secs_f64() * 1e3,
        cost.kernel.as_secs_f64() * 1e3,
        cost.files,
        cost.percent,
        cost.ring_bytes_per_minute,
    )
}

/// Has so many containers for as long as the input lasts.
fn hold(kind: Option<&str>, count: Option<&str>) -> Outcome<()> {
    let kind = match kind {
        Some("asleep") => Kind::Asleep,
        Some("awake") => Kind::Awake,
        _ => return Err("--hold asleep|awake COUNT".into()),
    };
    let made = Groups::make(kind, count.ok_or("--hold needs a count")?.parse()?);
    let held = made.and_then(|made| {
        println!("{} containers", made.all.len());
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())
    });
    groups::clear();
    held.map(|_| ()).map_err(Into::into)
}

/// The other lives of this program.
fn is_another() -> Outcome<bool> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--hold") => hold(arguments.next().as_deref(), arguments.next().as_deref()).map(|()| true),
        Some(groups::ARGUMENT) => {
            groups::wake_up();
            Ok(true)
        }
        Some(kernel::ARGUMENT) => kernel::serve().map(|()| true).map_err(Into::into),
        _ => Ok(false),
    }
}

const HEAD: &str = "# Results: this machine's containers and processes

Written by `cargo run --release -p roadstead-benches --bin host`. Containers are control groups with a process each, looked at once a
second; processor time, medians of 20 passes, of 300 for 1,000 containers. A process that sleeps never runs between two looks, so that
most of what its container has counted cannot have changed and is read every eighth to sixteenth second only; one that is awake runs
for a moment several times a second, so that every counter is read at every look. The kernel's own time is that of another program that
reads all these files once a second from kept descriptors and does not look at what they say. What is beyond it is for each process,
and for each container without its process; below zero where a look reads less than all.
";

fn main() -> Outcome<()> {
    if is_another()? {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut python, mut write) = (None, None);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--python" => python = Some(value),
            "--write" => write = Some(value),
            _ => return Err(format!("{argument} is not known").into()),
        }
    }
    raise_descriptor_limit();
    let measured = measure(python.as_deref()).await;
    groups::clear();
    let text = measured?;
    println!("{text}");
    if let Some(path) = write {
        std::fs::write(path, text)?;
    }
    Ok(())
}

async fn measure(python: Option<&str>) -> Outcome<String> {
    let sampler = Sampler::new();
    let machine = look(&sampler, &Groups::make(Kind::Processes, 0)?, 0).await?;
    let mut lines = vec![
        HEAD.to_owned(),
        format!(
            "A pass over the machine alone ({} processes): {:.2} ms.\n",
            machine.processes,
            machine.pass.as_secs_f64() * 1e3
        ),
        "| | pass | kernel's own | beyond it, each | of a core | history of each, a minute |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut notes = Vec::new();
    let mut each_process = 0.0;
    for count in COUNTS {
        let groups = Groups::make(Kind::Processes, count)?;
        let cost = look(&sampler, &groups, count).await?;
        each_process = cost.beyond(machine.pass);
        lines.push(row("processes", &cost, each_process));
        if let Some(python) = python.filter(|_| count == 100) {
            let pids: Vec<u32> = groups.pids().collect();
            let theirs = psutil(python, &pids)?;
            let own = cost.pass.saturating_sub(machine.pass);
            notes.push(format!(
                "psutil, the same 100 processes: {:.2} ms; Roadstead: {:.2} ms ({:.1} to 1).",
                theirs.as_secs_f64() * 1e3,
                own.as_secs_f64() * 1e3,
                theirs.as_secs_f64() / own.as_secs_f64().max(f64::MIN_POSITIVE)
            ));
        }
    }
    for (kind, what) in [(Kind::Asleep, "containers that sleep"), (Kind::Awake, "containers that are awake")] {
        for count in COUNTS {
            let groups = Groups::make(kind, count)?;
            let cost = look(&sampler, &groups, count).await?;
            lines.push(row(what, &cost, cost.beyond(machine.pass) - each_process));
            if count == 1000 {
                let (percent, interval) = budget(&sampler).await?;
                notes.push(format!(
                    "1,000 {what}, twice a second asked for and a budget of 1 %: {percent:.2} % of a core, a look every {interval:.1} s."
                ));
            }
        }
    }
    for note in notes {
        lines.extend([String::new(), note]);
    }
    Ok(lines.join("\n") + "\n")
}
