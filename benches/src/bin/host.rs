//! Measures what looking at this machine's containers and processes costs, beside the kernel's own time and other ways to the
//! same numbers.
//!
//! Usage: `cargo run --release -p roadstead-benches --bin host -- [--python PROGRAM] [--write FILE]`, as root.
//! Containers are control groups that the program makes and takes away again; the Python program needs psutil.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::Duration;

use roadstead_backends::host::{Sampler, SamplerOptions, raise_descriptor_limit};
use roadstead_benches::host::cost::{Open, thread, thread_time};
use roadstead_benches::host::groups::Groups;
use roadstead_benches::median;

type Outcome<T> = Result<T, Box<dyn Error>>;

const COUNTS: [usize; 3] = [10, 100, 1000];
const THREAD: &str = "roadstead-sampler";
/// For how long a pace is measured.
const PACED: Duration = Duration::from_secs(40);

/// What looking at so many containers cost.
struct Cost {
    containers: usize,
    processes: usize,
    pass: Duration,
    kernel: Duration,
    files: usize,
    percent: f64,
    ring_bytes_per_minute: f64,
}

fn options(interval: Duration, budget_percent: f64) -> SamplerOptions {
    let mut options = SamplerOptions::default();
    (options.interval, options.budget_percent) = (interval, budget_percent);
    options
}

/// Lets the sampler look once a second.
async fn look(sampler: &Sampler, groups: &Groups) -> Outcome<Cost> {
    sampler.configure(options(Duration::from_secs(1), 100.0));
    sampler.sample().await?;
    let task = thread(THREAD)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut passes, mut kernel) = (Vec::new(), Vec::new());
    let mut open = Open::default();
    groups.containers.iter().flatten().for_each(|directory| open.group(directory));
    groups.pids().for_each(|pid| open.process(pid));
    let first = sampler.sample().await?;
    let begun = (std::time::Instant::now(), thread_time(&task)?);
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sample = sampler.sample().await?;
        passes.push(Duration::from_secs_f64(sample.sampling().sample_cost_seconds));
        kernel.push(open.read()?);
    }
    let used = thread_time(&task)?.saturating_sub(begun.1);
    let last = sampler.sample().await?;
    let seen = last.groups().iter().filter(|group| group.path().contains("roadstead-bench")).count();
    if seen != groups.containers.len() {
        return Err(format!("{seen} of {} containers were seen", groups.containers.len()).into());
    }
    let minutes = last.observed_at().since(first.observed_at()).as_secs_f64() / 60.0;
    let grown = last.sampling().history_bytes.saturating_sub(first.sampling().history_bytes);
    let rings = grown as f64 / minutes / groups.containers.len().max(1) as f64;
    let pass = median(&passes);
    let cost = Cost {
        containers: groups.containers.len(),
        processes: last.process_count(),
        pass,
        kernel: median(&kernel),
        files: open.len(),
        percent: used.as_secs_f64() / begun.0.elapsed().as_secs_f64() * 100.0,
        ring_bytes_per_minute: rings,
    };
    Ok(cost)
}

/// What a sampler with a budget of one percent uses of a core.
async fn budget(sampler: &Sampler) -> Outcome<(f64, f64)> {
    sampler.configure(options(Duration::from_millis(500), 1.0));
    sampler.sample().await?;
    let task = thread(THREAD)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (begun, before) = (std::time::Instant::now(), thread_time(&task)?);
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
            process.cpu_times(); process.memory_info(); process.status(); process.num_threads(); process.ppid(); process.name()
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

fn row(cost: &Cost, machine: &Cost) -> String {
    let (count, micros) = (cost.containers as f64, 1e6);
    let own = cost.pass.saturating_sub(machine.pass);
    format!(
        "| {} | {} | {:.2} ms | {:.2} ms ({} files) | {:.1} µs | {:.2} % | {:.0} B |",
        cost.containers,
        cost.processes,
        cost.pass.as_secs_f64() * 1e3,
        cost.kernel.as_secs_f64() * 1e3,
        cost.files,
        own.saturating_sub(cost.kernel).as_secs_f64() * micros / count,
        cost.percent,
        cost.ring_bytes_per_minute,
    )
}

#[tokio::main]
async fn main() -> Outcome<()> {
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
    let sampler = Sampler::new();
    let machine = look(&sampler, &Groups::make(0)?).await?;
    let mut lines = vec![
        "# Results: this machine's containers and processes".to_owned(),
        String::new(),
        "Written by `cargo run --release -p roadstead-benches --bin host`. Containers are control groups with a sleeping process each, \
         looked at once a second; processor time, medians of 15 passes. The kernel's own time is that of reading the same files from \
         kept descriptors without looking at what they say, beside the passes."
            .to_owned(),
        String::new(),
        format!(
            "A pass over the machine alone ({} processes): {:.2} ms.",
            machine.processes,
            machine.pass.as_secs_f64() * 1e3
        ),
        String::new(),
        "| containers | processes | pass | kernel's own | beyond it, each container with its process | of a core | history of \
         each, a minute |"
            .to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for count in COUNTS {
        let groups = Groups::make(count)?;
        let cost = look(&sampler, &groups).await?;
        lines.push(row(&cost, &machine));
        if let Some(python) = python.as_deref().filter(|_| count == 100) {
            let pids: Vec<u32> = groups.pids().collect();
            let theirs = psutil(python, &pids)?;
            let own = cost.pass.saturating_sub(machine.pass);
            lines.push(String::new());
            lines.push(format!(
                "psutil, the same 100 processes alone: {:.2} ms; Roadstead, with their containers: {:.2} ms ({:.1} to 1).",
                theirs.as_secs_f64() * 1e3,
                own.as_secs_f64() * 1e3,
                theirs.as_secs_f64() / own.as_secs_f64().max(f64::MIN_POSITIVE)
            ));
            lines.push(String::new());
        }
        if count == 1000 {
            let (percent, interval) = budget(&sampler).await?;
            lines.push(String::new());
            lines.push(format!(
                "With 1,000 containers, twice a second asked for and a budget of 1 %: {percent:.2} % of a core, a look every {interval:.1} s."
            ));
        }
    }
    let text = lines.join("\n") + "\n";
    println!("{text}");
    if let Some(path) = write {
        std::fs::write(path, text)?;
    }
    Ok(())
}
