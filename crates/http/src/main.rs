//! The binary `roadstead`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the program speaks to its user")]

mod log;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use roadstead_backends::host::{Sampler, SamplerOptions, raise_descriptor_limit};
use roadstead_backends::stores;
use roadstead_core::store;
use roadstead_core::{Error, ErrorKind, Result};
use roadstead_http::cli::{Command, Serve, StoreCommand, completions};
use roadstead_http::{Config, LogFormat, NodeSource, Records, Server, StateDir, assemble, warnings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Serve(serve) => run(&serve),
        Command::Store { command: StoreCommand::Copy { from, to } } => blocking(copy(&from, &to)),
        Command::Completions { shell } => std::io::stdout()
            .write_all(&completions(shell))
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Error::new(ErrorKind::Unexpected, format!("nobody reads: {error}"))),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("roadstead: {error}");
            ExitCode::from(error.kind().row().exit_code)
        }
    }
}

fn run(serve: &Serve) -> Result<ExitCode> {
    let config = serve.effective()?;
    if serve.print_config {
        print!("{}", config.to_toml()?);
        return Ok(ExitCode::SUCCESS);
    }
    let _log = log(&config)?;
    blocking(async { if serve.check { check(config).await } else { self::serve(config).await } })
}

fn blocking(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("no runtime: {error}")))?;
    let result = runtime.block_on(work);
    // What still blocks a thread is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn copy(from: &str, to: &str) -> Result<ExitCode> {
    let (from, to) = (named("FROM", stores::open_existing(from).await)?, named("TO", stores::open(to).await)?);
    let copied = store::copy(&*from, &*to).await?;
    for store in [from, to] {
        store.close().await?;
    }
    println!("{} entries are copied, {} bytes, and compared.", copied.entries, copied.bytes);
    if copied.leased > 0 {
        println!("{} entries belong to servers that ran a moment ago, and stay behind.", copied.leased);
    }
    Ok(ExitCode::SUCCESS)
}

/// Says of which argument an error is.
fn named<T>(argument: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        let named = Error::new(error.kind(), format!("{argument}: {}", error.message())).with_retry(error.retry());
        match error.field() {
            Some(field) => named.with_field(field),
            None => named,
        }
    })
}

/// What is returned has to be kept to the end: what is not written yet is written when it is dropped.
fn log(config: &Config) -> Result<log::Guard> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| Error::invalid("log", error))?;
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal();
    let (writer, guard) =
        log::open().map_err(|error| Error::new(ErrorKind::Unexpected, "no thread for the log").with_source(error))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(color);
    match config.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(guard)
}

async fn check(config: Config) -> Result<ExitCode> {
    Server::check(&config)?;
    let records = Records::peek(&config, &StateDir::at(&config.state_dir)).await?;
    let nodes = assemble(&config, roadstead_backends::registry(), &records).await?;
    let mut good = true;
    for slot in nodes.all() {
        let deadline = Duration::from_secs(config.connect_timeout_seconds.into());
        let answer = async { slot.node(deadline).await?.info().await };
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(info)) if info.simulated && slot.source() == NodeSource::Discovered => {
                good = false;
                println!("no engine was found on this machine: {} would be a simulation", slot.name());
            }
            Ok(Ok(info)) => println!("{}: ok, {} {} at {}", slot.name(), info.engine, info.engine_version, slot.uri()),
            Ok(Err(error)) => {
                good = false;
                println!("{}: failed at {}: {}", slot.name(), slot.uri(), error);
            }
            Err(_) => {
                good = false;
                println!("{}: failed at {}: no answer in time", slot.name(), slot.uri());
            }
        }
    }
    for warning in warnings(&config, &nodes) {
        println!("warning: {warning}");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The sampler of this machine, which goes on when nobody asks.
fn sampler(config: &Config) -> Result<Sampler> {
    raise_descriptor_limit();
    let mut options = SamplerOptions::default();
    options.interval = Duration::from_secs_f64(config.sample_interval_seconds);
    options.budget_percent = config.sample_budget_percent;
    options.fine = Duration::from_secs(config.keep_samples_seconds.into());
    options.keep = Duration::from_secs(config.keep_history_seconds.into());
    options.keep_running = true;
    let sampler = Sampler::shared();
    sampler.configure(options)?;
    Ok(sampler)
}

async fn serve(config: Config) -> Result<ExitCode> {
    let signals =
        |kind| signal(kind).map_err(|error| Error::new(ErrorKind::Unexpected, format!("no signals: {error}")));
    // Taken before anything is served, so that an early signal does not end the process in the middle.
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let sampler = sampler(&config)?;
    let starting = Server::start(config, roadstead_backends::registry());
    let running = tokio::select! {
        running = starting => running?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    for slot in running.nodes().all() {
        if let Some(node) = slot.connected()
            && node.capabilities().usage_machine
            && node.info().await.is_ok_and(|info| info.local)
        {
            // Looking begins now, so that there is a history when somebody asks for it.
            if let Err(error) = sampler.sample().await {
                tracing::warn!(%error, "this machine is not measured");
            }
            break;
        }
    }
    for url in running.urls() {
        println!("Roadstead listens on {url}");
    }
    for (dialect, url) in running.dialect_urls() {
        println!("The dialect {dialect} listens on {url}");
    }
    println!("The admin token is in {}", running.token_path().display());
    for slot in running.nodes().all() {
        let state = match slot.connected() {
            Some(_) => "connected",
            None => "not available now; it is tried again when it is asked for",
        };
        println!("Node {} at {}: {state}", slot.name(), slot.uri());
        if let Some(node) = slot.connected()
            && node.info().await.is_ok_and(|info| info.simulated)
        {
            println!("Node {} is a simulation in memory: nothing on it is real.", slot.name());
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending: running requests may finish");
    running.shutdown().await?;
    Ok(ExitCode::SUCCESS)
}
