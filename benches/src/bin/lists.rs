//! Measures lists of containers: `GET /v1/containers` beside dockerd's own list and beside a bare server that sends the same bytes; how
//! soon a change is seen; how soon a server is ready; what it costs at rest. Writes the tables as a file.
//!
//! Usage: `cargo build --release -p roadstead-http -p roadstead-benches`, then
//! `target/release/lists PROGRAM URI TLS_URI CERTS [--write FILE] [--rest SECONDS]`: the server to measure, the `docker+unix:` and
//! `docker+https:` URIs of one dockerd that has the image `roadstead/busybox:latest`, and the directory of a client certificate for it.
//! It makes 1,000 containers of its own there and deletes them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use roadstead_benches::lists::load::{Address, Load, Target};
use roadstead_benches::lists::server::{Certificate, Server};
use roadstead_benches::lists::stock::{self, Stock};
use roadstead_benches::lists::table::{self, Row};
use roadstead_benches::lists::{Outcome, null, rest, start, visible};
use roadstead_core::{ConnectOptions, NodeUri};

/// Rounds of each comparison, and how long one takes.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Connections at once.
const CONNECTIONS: [usize; 2] = [1, 16];
/// Changes that are waited for.
const CHANGES: usize = 400;
/// Starts that are looked at.
const STARTS: usize = 9;
/// Nodes at rest.
const NODES: usize = 100;

struct Given {
    program: PathBuf,
    uri: String,
    unix: PathBuf,
    tls: Address,
    write: Option<String>,
    rest: Duration,
}

fn given() -> Outcome<Given> {
    let usage = "usage: lists PROGRAM URI TLS_URI CERTS [--write FILE] [--rest SECONDS]";
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or(usage);
    let (program, uri, tls, certs) = (next()?, next()?, next()?, next()?);
    let (mut write, mut rest) = (None, Duration::from_secs(330));
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--write" => write = Some(value),
            "--rest" => rest = Duration::from_secs(value.parse()?),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let parsed: NodeUri = tls.parse()?;
    let port = parsed.port().ok_or("the TLS URI has no port")?;
    let tls = Address::Tls(([127, 0, 0, 1], port).into(), Some(PathBuf::from(certs)));
    let unix = PathBuf::from(uri.parse::<NodeUri>()?.path());
    Ok(Given { program: program.into(), uri, unix, tls, write, rest })
}

#[actix_web::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("null") {
        let address = arguments.next().ok_or("an address is missing")?.parse()?;
        let body = std::fs::read(arguments.next().ok_or("a file is missing")?)?;
        return Ok(null::serve(address, body).await?);
    }
    // The load runs on threads of its own.
    let given = given()?;
    let measured = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(measure(&given)).map_err(|error| error.to_string())
    });
    measured.join().map_err(|_| "it panicked")??;
    Ok(())
}

async fn measure(given: &Given) -> Outcome<()> {
    let node = roadstead_backends::registry().connect("bench", &given.uri, &ConnectOptions::default()).await?;
    let mut stock = Stock::new(node);
    let tables = tables(given, &mut stock).await;
    stock.clear().await;
    let tables = tables?;
    println!("{tables}");
    if let Some(file) = &given.write {
        std::fs::write(file, tables)?;
    }
    Ok(())
}

async fn tables(given: &Given, stock: &mut Stock) -> Outcome<String> {
    let info =
        roadstead_backends::registry().connect("bench", &given.uri, &ConnectOptions::default()).await?.info().await?;
    let (mut rows, mut seen, mut rests) = (Vec::new(), Vec::new(), Vec::new());
    let dockerd = [("docker".to_owned(), given.uri.clone())];
    let many: Vec<_> = (0..NODES).map(|number| (format!("n{number}"), given.uri.clone())).collect();
    rests.push(at_rest(given, &many, 0).await?);
    for (count, start) in [(100, true), (1000, false)] {
        eprintln!("{count} containers");
        stock.fill(count, start).await?;
        rows.extend(beside_dockerd(given, &dockerd, count).await?);
        let server = Server::ours(&given.program, &dockerd, None).await?;
        rows.extend(beside_null(&server, count).await?);
        let running = stock.ids.get(..100).unwrap_or_default();
        let visible = visible::measure(&server, &Address::Unix(given.unix.clone()), running, CHANGES).await?;
        seen.push(table::visible(count, &visible));
        drop(server);
        if count == 100 {
            rests.push(at_rest(given, &many, NODES * count).await?);
        }
    }
    eprintln!("10000 containers");
    let server = Server::ours(&given.program, &[("sea".to_owned(), "memory:".to_owned())], None).await?;
    stock::simulated(&server, 10_000).await?;
    rows.extend(beside_null(&server, 10_000).await?);
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start::measure(&given.program, &[("sea".to_owned(), server.uri("sea")?)], 10_000).await?);
    }
    let lines: Vec<_> = rows.iter().map(Row::line).collect();
    Ok(format!(
        "# Lists of containers\n\n\
         Written by `lists` of `benches` ({ROUNDS} rounds of {} s each, in turn; kept connections, the next question as soon as the \
         answer is there; load and servers share {} processors). `GET /v1/containers` of {} {} with 100 running containers, and with 900 \
         more that are not started; 10,000 are simulated, since dockerd takes long to make them. dockerd is asked for \
         `/containers/json?all=1`. The bare server is actix-web with the same number of threads and sends the bytes of our answer; it has no \
         identity, log, request ids or safe headers.\n\n{}\n{}\n\n\
         ## How soon a change is seen\n\n\
         Containers are frozen and unfrozen at dockerd, past our server, and `/v1/containers?watch` is read. The goal is 250 ms.\n\n{}\n{}\n\n\
         ## Start\n\n\
         From the start of the process, whose only node is one of another of our servers, with all of its containers in memory there. The \
         goal is to be ready within a second.\n\n{}\n{}\n\n\
         ## At rest\n\n\
         One dockerd as {NODES} nodes, each with its own events and mirror; nobody asks, for {} s. The machine is sampled once a minute.\n\n\
         {}\n{}\n",
        ROUND.as_secs(),
        std::thread::available_parallelism()?,
        info.engine,
        info.engine_version,
        table::HEAD,
        lines.join("\n"),
        table::VISIBLE_HEAD,
        seen.join("\n"),
        table::STARTS_HEAD,
        table::starts(10_000, &starts),
        given.rest.as_secs(),
        table::REST_HEAD,
        rests.join("\n"),
    ))
}

async fn compare(ours: &Target, theirs: &Target, connections: usize) -> Outcome<(Load, Load)> {
    let (mut left, mut right) = (Load::default(), Load::default());
    for target in [ours, theirs] {
        target.load(connections, ROUND / 2).await?;
    }
    for _ in 0..ROUNDS {
        left.add(ours.load(connections, ROUND).await?);
        right.add(theirs.load(connections, ROUND).await?);
    }
    Ok((left, right))
}

async fn beside_dockerd(given: &Given, nodes: &[(String, String)], containers: usize) -> Outcome<Vec<Row>> {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/http/tests/rest/tls");
    let certificate = Certificate { cert: files.join("cert.pem"), key: files.join("key.pem") };
    let server = Server::ours(&given.program, nodes, Some(&certificate)).await?;
    let bytes = server.target.get().await?.len();
    let path = "/containers/json?all=1".to_owned();
    let theirs = Target { address: given.tls.clone(), path, headers: String::new(), pid: None };
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let (ours, theirs) = compare(&server.target, &theirs, connections).await?;
        rows.push(Row { containers, bytes, connection: "TLS", connections, other: "dockerd", ours, theirs });
    }
    Ok(rows)
}

async fn beside_null(server: &Server, containers: usize) -> Outcome<Vec<Row>> {
    // Until it comes from memory.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let body = server.target.get().await?;
    let file = std::env::temp_dir().join(format!("roadstead-lists-{}.json", std::process::id()));
    std::fs::write(&file, &body)?;
    let null = Server::null(&file).await;
    std::fs::remove_file(&file)?;
    let null = null?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let (ours, theirs) = compare(&server.target, &null.target, connections).await?;
        let (connection, other) = ("TCP", "bare server");
        rows.push(Row { containers, bytes: body.len(), connection, connections, other, ours, theirs });
    }
    Ok(rows)
}

async fn at_rest(given: &Given, nodes: &[(String, String)], containers: usize) -> Outcome<String> {
    let server = Server::ours(&given.program, nodes, None).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rest = rest::measure(server.pid(), given.rest).await?;
    Ok(table::rest(nodes.len(), containers, &rest))
}
