//! The stand-in as a program: everything put together, from the command line to the end.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::builtins::Built;
use super::command::Command;
use super::containers::Containers;
use super::engine::{Engine, Outlet, Statistic};
use super::logs::Logs;
use super::message::{Message, Record};
use super::metrics::Metrics;
use super::node_commands::NodeCommands;
use super::options::Options;
use super::redis_link::RedisLink;
use super::result::JobResult;
use super::sink::Sink;
use super::statistics::Statistics;
use super::{inside, local, proxy};

/// How long jobs and containers may take to end when the stand-in itself is told to.
const GRACE: Duration = Duration::from_secs(5);

/// Where a node's jobs tell what they do: its Redis.
pub(crate) struct NodeOutlet {
    pub(crate) sink: Sink,
    pub(crate) logs: Arc<Logs>,
    pub(crate) statistics: Arc<Statistics>,
}

#[async_trait]
impl Outlet for NodeOutlet {
    async fn message(&self, job: &str, message: &Message) {
        self.logs.record(Record { core: 0, command: job.to_owned(), message: message.document() }).await;
    }

    async fn result(&self, result: JobResult) {
        self.sink.forward(&result).await;
    }

    async fn statistic(&self, statistic: Statistic) {
        self.statistics.feed(statistic).await;
    }
}

/// The program: a node, or process 1 of a container, which is the same program under another name.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args();
    if arguments.next().as_deref() == Some(inside::NAME) {
        return inside::main();
    }
    // For the proxy's TLS, and for roots that are far away.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = arguments.peekable();
    let served = async {
        if arguments.peek().is_some_and(|first| first == "--proxy") {
            return proxy::serve(arguments).await;
        }
        serve(Options::parse(arguments)?).await
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(served));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("core0-stand-in: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options) -> Result<(), String> {
    std::fs::create_dir_all(&options.directory).map_err(|error| format!("{}: {error}", options.directory.display()))?;
    let password = match &options.password_file {
        Some(file) => {
            let password = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(password.trim().to_owned())
        }
        None => None,
    };
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;

    let redis =
        RedisLink::new(&options.redis, password.as_deref(), options.when_away).map_err(|error| error.to_string())?;
    let redis = Arc::new(redis);
    let sink = Sink::new(redis.clone());
    let logs = Logs::start(redis.clone(), options.log_length);
    let statistics = Arc::new(Statistics::new(redis));
    let outlet = Arc::new(NodeOutlet { sink: sink.clone(), logs: logs.clone(), statistics: statistics.clone() });
    let built = Built::new(false, &options.directory);
    let engine = Engine::new(outlet.clone(), built, false, options.max_jobs);
    let containers = Containers::new(&options, engine.clone(), outlet)?;
    let off = Arc::new(Notify::new());
    let commands = Arc::new(NodeCommands {
        engine: engine.clone(),
        logs,
        statistics,
        metrics: Metrics::default(),
        containers: containers.clone(),
        off: off.clone(),
    });
    engine.extend(commands.clone());
    let socket = options.local_socket.clone().unwrap_or_else(|| options.directory.join("core.sock"));
    let listener = local::listen(&socket)?;
    tokio::spawn(local::serve(listener, engine.clone(), containers.clone()));
    containers.arrive().await;
    commands.start_monitors();
    eprintln!("core0: takes commands");
    tokio::select! {
        () = sink.serve(&engine) => {}
        _ = terminated.recv() => engine.shut_down(GRACE).await,
        _ = interrupted.recv() => engine.shut_down(GRACE).await,
        () = off.notified() => {}
    }
    remove_bridges(&engine, &options.directory).await;
    containers.leave().await;
    let _ = std::fs::remove_file(socket);
    Ok(())
}

/// Bridges that were made on a real node go with it.
async fn remove_bridges(engine: &Engine, directory: &Path) {
    let made = std::fs::read_to_string(directory.join("bridges/made")).unwrap_or_default();
    for name in made.lines() {
        if let Some(Err(failure)) = engine.built(&Command::new("", "bridge.delete", json!({"name": name}))).await {
            eprintln!("core0: {name}: {}", failure.message);
        }
    }
}
