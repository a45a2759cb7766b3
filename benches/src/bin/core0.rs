//! Measures calls of a core0 node beside the least that can be done over the same Redis, and beside the Python client.
//!
//! Usage: `cargo run --release -p roadstead-benches --bin core0 -- URI [--calls N] [--python PYTHON --tls URI]
//! [--write FILE]`, with a `core0+unix:` URI, and the `core0+rediss:` one of the same node; PYTHON is an interpreter that has the
//! package `0-core-client`, and measures by `benches/core0_client.py` over TLS.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use roadstead_backends::engines::core0::Core0Node;
use roadstead_benches::resp::Resp;
use roadstead_benches::{HEAD, Pair};
use roadstead_core::{ConnectOptions, JobSpec, NodeUri};
use tokio::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many calls follow each other before the other way has its turn.
const TURN: usize = 250;
const JOBS: usize = 1000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().ok_or("usage: core0 URI [--calls N] [--python PYTHON --tls URI] [--write FILE]")?;
    let (mut calls, mut python, mut tls, mut file) = (10_000, None, None, None);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--calls" => calls = value.parse()?,
            "--python" => python = Some(value),
            "--tls" => tls = Some(value),
            "--write" => file = Some(value),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let node = roadstead_backends::registry().connect("bench", &uri, &ConnectOptions::default()).await?;
    let core0 = node.engine().downcast_ref::<Core0Node>().ok_or("not a core0")?;
    let socket = uri.parse::<NodeUri>()?.path().to_owned();
    let mut raw = Resp::connect(&socket).await?;

    let mut bare = Pair { what: "`core.ping`".to_owned(), beside: "Redis `PING`, bare", ours: vec![], theirs: vec![] };
    let mut floor =
        Pair { what: "`core.ping`".to_owned(), beside: "push and wait, bare", ours: vec![], theirs: vec![] };
    let mut number = 0;
    while bare.ours.len() < calls {
        for _ in 0..TURN {
            let begun = Instant::now();
            core0.commands().commands().agent().ping().await?;
            bare.ours.push(begun.elapsed());
        }
        for _ in 0..TURN {
            let begun = Instant::now();
            raw.ping().await?;
            bare.theirs.push(begun.elapsed());
        }
        for _ in 0..TURN {
            number += 1;
            let id = format!("bench-{}-{number}", std::process::id());
            let begun = Instant::now();
            raw.push_and_wait(&id).await?;
            floor.theirs.push(begun.elapsed());
        }
    }
    floor.ours.clone_from(&bare.ours);
    let mut pairs = vec![bare, floor];
    if let (Some(python), Some(tls)) = (python, tls) {
        pairs.push(beside_python(&python, &tls, calls / 10).await?);
    }
    let begun = Instant::now();
    let started = (0..JOBS).map(|number| {
        let node = &node;
        async move {
            let job = node.run(&JobSpec::new(["sh", "-c", &format!("exit {}", number % 200)])).await?;
            let ended = job.wait(Duration::from_secs(300)).await?;
            Ok::<bool, roadstead_core::Error>(ended.exit_code == i32::try_from(number % 200).ok())
        }
    });
    let right = futures_util::future::join_all(started).await;
    let took = begun.elapsed();
    let right = right.into_iter().filter(|result| matches!(result, Ok(true))).count();

    let mut table = format!(
        "# core0: results\n\nWritten by `cargo run --release -p roadstead-benches --bin core0`; medians of calls, the ways in turn in \
         one run, on the stand-in of the tests.\n\n{HEAD}\n"
    );
    for pair in &pairs {
        table.push_str(&pair.line());
        table.push('\n');
    }
    table.push_str(&format!("\n{JOBS} jobs at once on one node: {right} right, in {:.1} s.\n", took.as_secs_f64()));
    print!("{table}");
    if let Some(file) = file {
        std::fs::write(file, table)?;
    }
    Ok(())
}

async fn beside_python(python: &str, uri: &str, calls: usize) -> Outcome<Pair> {
    let node = roadstead_backends::registry().connect("tls", uri, &ConnectOptions::default()).await?;
    let core0 = node.engine().downcast_ref::<Core0Node>().ok_or("not a core0")?;
    let address: NodeUri = uri.parse()?;
    let (host, port) = (address.host().unwrap_or("127.0.0.1"), address.port().unwrap_or(6379).to_string());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("core0_client.py");
    let mut pair =
        Pair { what: "`core.ping`, TLS".to_owned(), beside: "Python `0-core-client`", ours: vec![], theirs: vec![] };
    // Four turns each, so that neither has the quiet half of the run for itself.
    for _ in 0..4 {
        for _ in 0..calls / 4 {
            let begun = Instant::now();
            core0.commands().commands().agent().ping().await?;
            pair.ours.push(begun.elapsed());
        }
        let output = Command::new(python).arg(&script).args([host, &port, &(calls / 4).to_string()]).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            pair.theirs.push(Duration::from_secs_f64(line.parse()?));
        }
    }
    Ok(pair)
}
