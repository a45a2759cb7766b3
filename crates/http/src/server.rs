//! Starting and ending the server.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web;
use futures_util::future::join_all;
use roadstead_core::{ConnectOptions, Error, ErrorKind, Registry, Result, Secret};
use tokio::sync::{mpsc, watch};

use crate::alerts;
use crate::audit::Audit;
use crate::auth::Token;
use crate::config::Config;
use crate::containers::Bodies;
use crate::dialects::{self, Dialect, Dialects, Door};
use crate::fleet::Duty;
use crate::journal::{Bounds as JournalBounds, follow_alerts};
use crate::listener::{Listener, listen, tls};
use crate::mirrors;
use crate::moves::Moves;
use crate::nodes::{Bounds, NewNode, NodeSlot, NodeSource, Nodes, Place};
use crate::pools::Pools;
use crate::records::Records;
use crate::state::App;
use crate::state_dir::StateDir;
use crate::webhooks::Webhooks;
use crate::work::Works;

/// The server.
#[derive(Debug)]
pub struct Server;

/// A server that runs. Dropping it leaves it running; [`Running::shutdown`] ends it.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    tls: bool,
    token: Secret,
    token_path: PathBuf,
    app: web::Data<App>,
    ending: watch::Sender<bool>,
    handles: Vec<ServerHandle>,
    tasks: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
    dialects: Vec<(Dialect, SocketAddr)>,
}

pub(crate) fn cannot(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, format!("{what}: {error}")).with_source(error)
}

/// The nodes of the configuration, or those of this machine, or a simulated one; connected where they answer.
///
/// # Errors
/// When the configuration names an engine that does not exist, or the stored nodes cannot be read.
pub async fn assemble(config: &Config, registry: Registry, records: &Records) -> Result<Nodes> {
    let mut options = ConnectOptions::default();
    options.deadline = Duration::from_secs(config.connect_timeout_seconds.into());
    options.keep_jobs = Duration::from_secs(config.keep_jobs_seconds.into());
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let bounds =
        Bounds { quick: seconds(config.request_timeout_seconds), slow: seconds(config.archive_timeout_seconds) };
    let here = Place::here(&StateDir::at(&config.state_dir).server_id()?);
    let nodes = Nodes::load(registry, options, bounds, records, here).await?;
    for (name, node) in &config.nodes {
        let node = node.named(name);
        nodes.check(&node).map_err(|error| Error::invalid(format!("nodes.{name}"), error.message().to_owned()))?;
        nodes.serve(&node, NodeSource::Configured);
    }
    if config.nodes.is_empty() {
        for found in nodes.registry().discover() {
            if let Some(problem) = found.problem {
                tracing::warn!(node = found.name, origin = found.origin, problem, "an engine that cannot be used");
                nodes.serve_broken(&found.name, problem);
                continue;
            }
            tracing::info!(node = found.name, origin = found.origin, "found an engine of this machine");
            let node = NewNode { name: found.name, uri: found.uri, ..NewNode::default() };
            nodes.serve(&node, NodeSource::Discovered);
        }
    }
    if nodes.all().is_empty() {
        nodes.serve_placeholder();
    }
    let deadline = Duration::from_secs(config.connect_timeout_seconds.into());
    join_all(nodes.all().iter().map(|slot: &Arc<NodeSlot>| async move {
        // Whether it worked is logged; a node that is away is tried again when it is asked for.
        let _ = slot.node(deadline).await;
    }))
    .await;
    Ok(nodes)
}

/// What in the configuration may be a mistake, though it is none for certain, one line each: nodes that are not there, in rules of
/// alerts and for the images of a dialect; files for nodes that a dialect adds, which cannot be read.
#[must_use]
pub fn warnings(config: &Config, nodes: &Nodes) -> Vec<String> {
    let mut warnings = alerts::warnings(&config.alerts, nodes);
    warnings.extend(dialects::warnings(&config.dialects, nodes));
    warnings
}

impl Server {
    /// What can be known to fail at the start without starting, and without changing anything: the configuration, the
    /// files of TLS, and the admin token if there is one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn check(config: &Config) -> Result<()> {
        config.validate()?;
        tls(config)?;
        let state_dir = StateDir::at(&config.state_dir);
        if state_dir.token_path().exists() {
            state_dir.admin_token()?;
        }
        Ok(())
    }

    /// Starts serving, and returns when requests are taken. Must be called in a multi-threaded tokio runtime: what the
    /// server does in the background runs there.
    ///
    /// # Errors
    /// When the configuration is refused, an address cannot be listened on, or the state directory cannot be used.
    pub async fn start(config: Config, registry: Registry) -> Result<Running> {
        config.validate()?;
        let tls = tls(&config)?;
        let state_dir = StateDir::open(&config.state_dir)?;
        let token = state_dir.admin_token()?;
        let token_path = state_dir.token_path();
        // Made now: it is only read later.
        state_dir.server_id()?;
        // Bound first, so that a second server on the same address fails before it does anything.
        let listeners = config.listen.iter().map(|address| listen(*address)).collect::<Result<Vec<_>>>()?;
        let address =
            |socket: &TcpListener| socket.local_addr().map_err(|error| cannot("an address is not known", error));
        let addresses = listeners.iter().map(address).collect::<Result<Vec<_>>>()?;
        let (mut own, mut dialects) = (Vec::new(), Vec::new());
        for dialect in &config.dialects {
            if let Some(asked) = dialect.listen {
                let socket = listen(asked)?;
                dialects.push((dialect.name, address(&socket)?));
                own.push(Listener { door: Door::of(dialect), sockets: vec![socket] });
            }
        }
        let records = Records::open(&config, &state_dir).await?;
        let moves = Moves::new(records.moves()?);
        let works = Works::new(records.jobs()?);
        let pools = Pools::new(records.pools()?);
        let nodes = assemble(&config, registry, &records).await?;
        let fleet = records.join(nodes.server(), urls(&addresses, tls.is_some())).await?;
        let keep = Duration::from_secs(config.keep_audit_seconds.into());
        let audit = Audit::open(&state_dir.audit_path(), config.audit_max_bytes, keep, fleet.id())?;
        let keys = records.keys()?;
        let (ending, ended) = watch::channel(false);
        let drain = config.drain_timeout_seconds;
        let journal = Arc::new(records.journal().await?);
        let webhooks = Arc::new(Webhooks::new(records.webhooks()?, Arc::clone(&journal), &config)?);
        let kept = Dialects::new(&records, &config)?;
        let app = web::Data::new(App {
            config,
            nodes,
            fleet,
            duty: Duty::default(),
            journal,
            watching: Arc::default(),
            webhooks,
            records,
            state_dir,
            moves,
            works,
            audit,
            keys,
            pools,
            alerts: Arc::default(),
            bodies: Bodies::default(),
            dialects: kept,
            machines: Mutex::default(),
            token: Token::new(token.clone()),
            ending: ended,
        });
        let main = Listener { door: Door::main(&app.config.dialects), sockets: listeners };
        let servers = std::iter::once(main).chain(own).map(|listener| listener.serve(&app, tls.as_ref(), drain));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let handles = servers.iter().map(actix_web::dev::Server::handle).collect();
        let tasks = servers.into_iter().map(tokio::spawn).collect();
        let fleet = app.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = fleet.ending() => {}
                () = fleet.nodes.follow() => {}
                () = fleet.fleet.stay() => {}
                () = fleet.keys.sweep() => {}
                () = fleet.duty.follow(&fleet.fleet, &fleet.nodes) => {}
            }
        });
        mirrors::keep(&app);
        keep_journal(&app);
        alerts::watch(&app)?;
        Moves::resume(app.clone()).await;
        Works::keep_going(&app);
        Dialects::keep(&app);
        Ok(Running { addresses, tls: tls.is_some(), token, token_path, app, ending, handles, tasks, dialects })
    }
}

/// Writes and follows the journal, and tells webhooks of it, until the server ends.
fn keep_journal(app: &web::Data<App>) {
    let app = app.clone().into_inner();
    let bounds = JournalBounds {
        age: Duration::from_secs(app.config.keep_events_seconds.into()),
        count: app.config.keep_events_count.into(),
    };
    // Bounded: what cannot be written yet holds the nodes' streams back.
    let (sender, said) = mpsc::channel(256);
    let of_app = Arc::clone(&app);
    let writer = app.journal.writer(bounds, move |node| of_app.nodes.get(node).is_err());
    // Before anything raises one.
    let alerts = app.alerts.follow(None, None);
    tokio::spawn(async move {
        let id = app.fleet.id();
        let alerts = follow_alerts(alerts, &app.nodes, &app.duty, id, sender.clone());
        let watching = app.watching.follow(&app.nodes, &app.duty, id, app.deadline(), sender);
        tokio::select! {
            () = app.ending() => {}
            () = writer.run(said) => {}
            () = alerts => {}
            () = watching => {}
            () = app.journal.follow() => {}
            () = app.webhooks.keep(&app.fleet) => {}
        }
    });
}

fn urls(addresses: &[SocketAddr], tls: bool) -> Vec<String> {
    addresses.iter().map(|address| url(*address, tls)).collect()
}

fn url(address: SocketAddr, tls: bool) -> String {
    format!("{}://{address}", if tls { "https" } else { "http" })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens, as URLs.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        urls(&self.addresses, self.tls)
    }

    /// The dialects that have a listener of their own, and its URL.
    pub fn dialect_urls(&self) -> impl Iterator<Item = (Dialect, String)> {
        self.dialects.iter().map(|(dialect, address)| (*dialect, url(*address, self.tls)))
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// The file with the admin token.
    #[must_use]
    pub fn token_path(&self) -> &Path {
        &self.token_path
    }

    /// The nodes that are served.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.app.nodes
    }

    /// Ends: streams end now, requests that run may finish until the drain time is over.
    ///
    /// # Errors
    /// When the server had failed.
    pub async fn shutdown(self) -> Result<()> {
        self.ending.send_replace(true);
        join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        let ended = join_all(self.tasks).await;
        // Workers may drop their share of the state after the server has ended, and the next server must not wait for that.
        self.app.fleet.leave().await;
        self.app.audit.close().await;
        let closed = self.app.records.close().await;
        self.app.state_dir.release();
        closed?;
        ended.into_iter().try_for_each(|ended| match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(cannot("the server failed", error)),
            Err(error) => Err(cannot("the server failed", error)),
        })
    }
}
