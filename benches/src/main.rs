//! Measures the Docker engine beside bare requests over the same socket, prints a table, and writes it as its section of a file.
//!
//! Usage: `cargo run --release -p roadstead-benches -- URI [--write FILE]`, with a `…+unix:` URI of an engine that has the image
//! `roadstead/busybox:latest`. It makes 100 containers of its own and deletes them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_benches::raw::Raw;
use roadstead_benches::{HEAD, Pair, section};
use roadstead_core::{ConnectOptions, ContainerFilter, ContainerSpec, DeleteOptions, JobSpec, Node, NodeUri};

const CONTAINERS: usize = 100;
/// What it is called in the file of results.
const SECTION: &str = "Docker, beside bare requests";
const IMAGE: &str = "roadstead/busybox:latest";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments.next().ok_or("usage: roadstead-benches URI [--write FILE]")?;
    let file = match arguments.next().as_deref() {
        None => None,
        Some("--write") => Some(arguments.next().ok_or("--write needs a file")?),
        Some(other) => return Err(format!("unknown argument {other}").into()),
    };
    let node = roadstead_backends::registry().connect("bench", &uri, &ConnectOptions::default()).await?;
    let socket = uri.parse::<NodeUri>()?.path().to_owned();

    let mut ids = Vec::new();
    let made = make(&node, &mut ids).await;
    let pairs = match made {
        Ok(()) => measure(&node, &socket, &ids).await,
        Err(error) => Err(error),
    };
    for id in &ids {
        if let Err(error) = node.container(id).delete(&DeleteOptions::force()).await {
            eprintln!("left behind: {error}");
        }
    }

    let info = node.info().await?;
    let mut table = format!(
        "Written by `cargo run --release -p roadstead-benches`. {} {} with {CONTAINERS} running containers; medians, both \
         ways timed in turn in one run.\n\n{HEAD}\n",
        info.engine, info.engine_version
    );
    for pair in pairs? {
        table.push_str(&pair.line());
        table.push('\n');
    }
    print!("{table}");
    if let Some(file) = file {
        let old = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(file, section::replaced(&old, SECTION, &table))?;
    }
    Ok(())
}

async fn make(node: &Arc<dyn Node>, ids: &mut Vec<String>) -> Outcome<()> {
    for number in 0..CONTAINERS {
        let name = format!("bench-{}-{number}", std::process::id());
        let spec = ContainerSpec::new(IMAGE).name(name).command(["sleep", "3600"]);
        let id = node.create_container(&spec).await?.id;
        ids.push(id.clone());
        node.container(&id).start().await?;
    }
    Ok(())
}

async fn measure(node: &Arc<dyn Node>, socket: &str, ids: &[String]) -> Outcome<Vec<Pair>> {
    let mut raw = Raw::connect(socket).await?;
    let id = ids.first().ok_or("no container")?;
    let container = node.container(id);
    let mut pairs = Vec::new();

    let mut pair = empty(format!("list of {CONTAINERS}"), "bare request, answer not parsed", 100);
    for _ in 0..100 {
        let begun = Instant::now();
        raw.get("/containers/json?all=1").await?;
        pair.theirs.push(begun.elapsed());
        let begun = Instant::now();
        let listed = node.list_containers(&ContainerFilter::all()).await?;
        pair.ours.push(begun.elapsed());
        if listed.len() < CONTAINERS {
            return Err(format!("only {} listed", listed.len()).into());
        }
    }
    pairs.push(pair);

    let mut pair = empty("inspect".to_owned(), "bare request, answer not parsed", 200);
    for _ in 0..200 {
        let begun = Instant::now();
        raw.get(&format!("/containers/{id}/json")).await?;
        pair.theirs.push(begun.elapsed());
        let begun = Instant::now();
        container.inspect().await?;
        pair.ours.push(begun.elapsed());
    }
    pairs.push(pair);

    let mut pair = empty("statistics".to_owned(), "the engine's own, one-shot", 10);
    for _ in 0..10 {
        let begun = Instant::now();
        raw.get(&format!("/containers/{id}/stats?stream=false&one-shot=true")).await?;
        pair.theirs.push(begun.elapsed());
        let begun = Instant::now();
        container.stats().await?;
        pair.ours.push(begun.elapsed());
    }
    pairs.push(pair);

    let mut pair = empty("processes".to_owned(), "the engine's own (text of ps)", 50);
    for _ in 0..50 {
        let begun = Instant::now();
        raw.get(&format!("/containers/{id}/top")).await?;
        pair.theirs.push(begun.elapsed());
        let begun = Instant::now();
        container.processes().await?;
        pair.ours.push(begun.elapsed());
    }
    pairs.push(pair);

    let mut pair = empty("run `true`, wait for its exit code".to_owned(), "`docker exec`", 20);
    for _ in 0..20 {
        let begun = Instant::now();
        let endpoint = format!("unix://{socket}");
        let exec = tokio::process::Command::new("docker").args(["-H", &endpoint, "exec", id, "true"]).status().await?;
        if !exec.success() {
            return Err("docker exec failed".into());
        }
        pair.theirs.push(begun.elapsed());
        let begun = Instant::now();
        container.run(&JobSpec::new(["true"])).await?.wait(Duration::from_secs(30)).await?;
        pair.ours.push(begun.elapsed());
    }
    pairs.push(pair);
    Ok(pairs)
}

fn empty(what: String, beside: &'static str, runs: usize) -> Pair {
    Pair { what, beside, ours: Vec::with_capacity(runs), theirs: Vec::with_capacity(runs) }
}
