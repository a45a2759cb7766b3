//! Measures how fast a command of a core0 node may write before output is lost, by how many are read at the same time.
//!
//! Usage: `cargo run --release -p roadstead-benches --bin core0_output -- URI [--read URI] [--write FILE]`, with a `core0+unix:`
//! URI, and the URI by which the same node is read, such as its `core0+rediss:` one. Entries are written into the list of a job
//! as a node does it, and the thousand that it keeps are kept, past the agent, whose own speed is another matter.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use roadstead_backends::engines::core0::{Command, Core0Job, Core0Node, Entry, Scope};
use roadstead_benches::resp::Resp;
use roadstead_core::{ConnectOptions, ItemStream, NodeUri, Signal};

type Outcome<T> = Result<T, Box<dyn Error>>;

const READERS: [usize; 3] = [1, 100, 1000];
/// Entries in a second.
const RATES: [usize; 6] = [500, 1000, 4000, 10_000, 20_000, 40_000];
/// How often a writer writes what is due.
const TURN: Duration = Duration::from_millis(2);
/// Nobody writes for so long before.
const SILENCE: Duration = Duration::from_secs(5);

/// A job that writes nothing itself, and its output.
async fn silent(node: &Core0Node) -> Outcome<(Core0Job, ItemStream<Entry>)> {
    let mut command = Command::script("exec sleep 900")?;
    command.stream = true;
    let job = node.start_job(Scope::Host, &command).await?;
    let entries = job.entries().await?;
    Ok((job, entries))
}

/// Writes for a second; how many entries, and within which time.
async fn write(redis: &mut Resp, id: &str, rate: usize) -> Outcome<(usize, Duration)> {
    let key = format!("stream:{id}");
    let begun = Instant::now();
    let mut written = 0;
    while written < rate {
        tokio::time::sleep(TURN).await;
        let due = (begun.elapsed().as_secs_f64() * f64::from(u32::try_from(rate)?)).floor();
        let entries: Vec<String> = (written..rate)
            .take_while(|number| f64::from(u32::try_from(*number).unwrap_or(u32::MAX)) < due)
            .map(|number| {
                let (epoch, meta) = (number + 1, if number + 1 == rate { 65_539 } else { 65_537 });
                format!(
                    r#"{{"core":0,"command":"{id}","message":{{"message":"line {number}\n","epoch":{epoch},"meta":{meta}}}}}"#
                )
            })
            .collect();
        written += entries.len();
        redis.push_and_trim(&key, &entries).await?;
    }
    Ok((written, begun.elapsed()))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().ok_or("usage: core0_output URI [--read URI] [--write FILE]")?;
    let (mut by, mut file) = (uri.clone(), None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--read" => by = value,
            "--write" => file = Some(value),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let parsed: NodeUri = by.parse()?;
    let node = roadstead_backends::registry().connect("bench", &by, &ConnectOptions::default()).await?;
    let core0 = node.engine().downcast_ref::<Core0Node>().ok_or("not a core0")?;
    let mut redis = Resp::connect(uri.parse::<NodeUri>()?.path()).await?;
    let mut table = format!(
        "# core0: output\n\nWritten by `cargo run --release -p roadstead-benches --bin core0_output`, over `{}:`, on the stand-in of \
         the tests. One job writes for a second after {} s of silence, the others that are read are silent.\n\n\
         | read at the same time | entries in a second | lost | the last one read after it was written |\n|---|---|---|---|\n",
        parsed.scheme(),
        SILENCE.as_secs(),
    );
    let mut others = Vec::new();
    for readers in READERS {
        while others.len() + 1 < readers {
            let (job, mut entries) = silent(core0).await?;
            let read = tokio::spawn(async move { while entries.next().await.is_some() {} });
            others.push((job, read));
        }
        for rate in RATES {
            let (job, mut entries) = silent(core0).await?;
            let read = tokio::spawn(async move {
                let mut count = 0;
                while let Some(entry) = entries.next().await {
                    count += 1;
                    if entry?.end.is_some() {
                        break;
                    }
                }
                Ok::<_, roadstead_core::Error>((count, Instant::now()))
            });
            tokio::time::sleep(SILENCE).await;
            let (written, took) = write(&mut redis, job.id(), rate).await?;
            let end = Instant::now();
            let (count, last) = read.await??;
            job.kill(Signal::KILL).await?;
            let lost = written - count;
            let line = format!(
                "| {readers} | {:.0} | {lost} of {written} | {:.0} ms |\n",
                f64::from(u32::try_from(written)?) / took.as_secs_f64(),
                last.saturating_duration_since(end).as_secs_f64() * 1e3
            );
            print!("{line}");
            table.push_str(&line);
        }
    }
    for (job, read) in others {
        read.abort();
        job.kill(Signal::KILL).await?;
    }
    if let Some(file) = file {
        std::fs::write(file, table)?;
    }
    Ok(())
}
