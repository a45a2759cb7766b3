//! Measures lists over many nodes that each take 5 ms, through the REST server, beside bare requests to the same nodes at once;
//! prints a table, and writes it as its section of a file.
//!
//! Usage: `cargo run --release -p roadstead-benches --bin fleet -- URI [--write FILE]`, with a `docker+unix:` URI of an engine that
//! has the image `roadstead/busybox:latest`. The nodes are ports of a child process, for which that engine answers (see
//! `roadstead_benches::fleet`). It makes a container on the engine and deletes it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use roadstead_benches::fleet::{FleetNode, Mood, Recorder};
use roadstead_benches::raw::Raw;
use roadstead_benches::{Pair, median, section};
use roadstead_core::{ConnectOptions, ContainerSpec, DeleteOptions, NodeUri};
use roadstead_http::{Config, NodeConfig, Server};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// What it is called in the file of results.
const SECTION: &str = "Lists over many nodes";
const IMAGE: &str = "roadstead/busybox:latest";
/// What each node takes for an answer.
const DELAY: Duration = Duration::from_millis(5);
const SIZES: [usize; 3] = [10, 100, 1000];
const RUNS: usize = 30;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["nodes", socket, count] => nodes(socket, count.parse()?).await,
        [uri] => measured(uri, None).await,
        [uri, "--write", file] => measured(uri, Some(file)).await,
        _ => Err("usage: fleet URI [--write FILE]".into()),
    }
}

/// The child process: says the ports of its nodes, and serves them until it is ended.
async fn nodes(socket: &str, count: usize) -> Outcome<()> {
    let recorder = Recorder::new(socket);
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        nodes.push(FleetNode::start(&recorder, Mood::Answers(DELAY)).await?);
    }
    let ports: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    println!("{}", ports.join(" "));
    std::future::pending().await
}

async fn measured(uri: &str, file: Option<&str>) -> Outcome<()> {
    let engine = roadstead_backends::registry().connect("bench", uri, &ConnectOptions::default()).await?;
    let socket = uri.parse::<NodeUri>()?.path().to_owned();
    let name = format!("bench-fleet-{}", std::process::id());
    let made = engine.create_container(&ContainerSpec::new(IMAGE).name(&name).command(["true"])).await?;
    let mut lines = Vec::new();
    for size in SIZES {
        match measure(&socket, size).await {
            Ok((pair, connected)) => lines.push(line(size, connected, &pair)),
            Err(error) => {
                engine.container(&made.id).delete(&DeleteOptions::force()).await?;
                return Err(error);
            }
        }
    }
    engine.container(&made.id).delete(&DeleteOptions::force()).await?;
    let table = format!(
        "Written by `cargo run --release -p roadstead-benches --bin fleet`. Each node takes {} ms for an answer, in another \
         process on the same machine; {RUNS} runs, both ways in turn. *Roadstead* is `GET /v1/containers?fresh=true` whole: all \
         nodes asked, answers parsed, sorted and rendered. *Bare* is one bare request on a kept connection to each node, all at \
         once, answers not parsed.\n\n\
         | nodes | connected in | Roadstead, median | Roadstead, worst | bare, median | ratio | beyond a node's own time, for each |\n\
         |---|---|---|---|---|---|---|\n{}\n",
        DELAY.as_millis(),
        lines.join("\n")
    );
    print!("{table}");
    if let Some(file) = file {
        let old = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, section::replaced(&old, SECTION, &table))?;
    }
    Ok(())
}

fn line(size: usize, connected: Duration, pair: &Pair) -> String {
    let (ours, theirs) = (median(&pair.ours), median(&pair.theirs));
    let worst = pair.ours.iter().max().copied().unwrap_or_default();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "| {size} | {:.0} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.2} | {:.3} ms |",
        milliseconds(connected),
        milliseconds(ours),
        milliseconds(worst),
        milliseconds(theirs),
        milliseconds(ours) / milliseconds(theirs),
        milliseconds(ours.saturating_sub(DELAY)) / size as f64,
    )
}

/// Ends the child with the measurement.
struct Nodes {
    _child: Child,
    addresses: Vec<SocketAddr>,
}

async fn start(socket: &str, count: usize) -> Outcome<Nodes> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["nodes", socket, &count.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await?;
    let addresses = line.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(Nodes { _child: child, addresses })
}

async fn measure(socket: &str, size: usize) -> Outcome<(Pair, Duration)> {
    let nodes = start(socket, size).await?;
    let state = tempfile::tempdir()?;
    let mut config = Config::default();
    config.listen = vec![([127, 0, 0, 1], 0).into()];
    config.state_dir = state.path().join("state");
    for (number, address) in nodes.addresses.iter().enumerate() {
        config.nodes.insert(format!("n{number:04}"), NodeConfig::Uri(format!("docker+tcp://{address}")));
    }
    let begun = Instant::now();
    let server = Server::start(config, roadstead_backends::registry()).await?;
    let connected = begun.elapsed();
    let address = *server.addresses().first().ok_or("no address")?;
    let mut rest = Raw::to_port(address, &format!("Authorization: Bearer {}\r\n", server.token().expose())).await?;
    let mut bare = try_join_all(nodes.addresses.iter().map(|address| Raw::to_port(*address, ""))).await?;

    let mut pair = Pair { what: String::new(), beside: "", ours: Vec::new(), theirs: Vec::new() };
    // One to warm both up.
    for run in 0..=RUNS {
        let begun = Instant::now();
        try_join_all(bare.iter_mut().map(list)).await?;
        let theirs = begun.elapsed();
        let begun = Instant::now();
        let bytes = rest.get("/v1/containers?fresh=true").await?;
        let ours = begun.elapsed();
        if bytes < size * 100 {
            return Err(format!("only {bytes} bytes of {size} nodes").into());
        }
        if run > 0 {
            pair.ours.push(ours);
            pair.theirs.push(theirs);
        }
    }
    server.shutdown().await?;
    Ok((pair, connected))
}

async fn list(node: &mut Raw<TcpStream>) -> std::io::Result<usize> {
    node.get("/v1.41/containers/json?all=true&filters=%7B%7D").await
}
