//! One container: its directory, its process, and the two ways of its socket.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::super::command::Command;
use super::super::engine::{Outlet, Statistic};
use super::super::go;
use super::super::inside::{Said, Setup};
use super::super::job::Begin;
use super::super::message::{Message, Record, STDERR, STDOUT};
use super::super::node::NodeOutlet;
use super::super::process::{NotBegun, Process};
use super::create::{CONFIGURED, CreateArguments, FAILED};
use super::forwards::Forwards;
use super::network::Network;
use super::spawn::{Birth, spawn};
use super::{Containers, create, flist, group_directory};

/// How long a container may not take a command before whoever sent it is told.
const TAKEN: Duration = Duration::from_secs(5);

/// A container.
pub(super) struct Container {
    pub(super) id: u16,
    /// Its root directory.
    pub(super) root: PathBuf,
    directory: PathBuf,
    state: Mutex<State>,
    commands: mpsc::Sender<Command>,
    forwarded: Mutex<Option<mpsc::Receiver<Command>>>,
}

struct State {
    arguments: CreateArguments,
    pid: i32,
}

impl Container {
    pub(super) fn new(id: u16, directory: PathBuf, arguments: CreateArguments) -> Self {
        let (commands, forwarded) = mpsc::channel(1);
        Container {
            id,
            root: directory.join("root"),
            directory,
            state: Mutex::new(State { arguments, pid: 0 }),
            commands,
            forwarded: Mutex::new(Some(forwarded)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pid(&self) -> i32 {
        self.state().pid
    }

    pub(super) fn arguments(&self) -> CreateArguments {
        self.state().arguments.clone()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut CreateArguments) -> T) -> T {
        change(&mut self.state().arguments)
    }

    /// As it is listed.
    pub(super) fn shown(&self, forwards: &Forwards) -> Value {
        let mut state = self.state();
        state.arguments.port = forwards.of(self.id);
        json!({"arguments": state.arguments, "root": self.root, "pid": state.pid})
    }

    /// Hands a command to it.
    ///
    /// # Errors
    /// When it does not take it.
    pub(super) async fn dispatch(&self, command: Command) -> Result<(), String> {
        match self.commands.send_timeout(command, TAKEN).await {
            Ok(()) => Ok(()),
            Err(_) => Err("failed to dispatch command to container, check system logs for errors".to_owned()),
        }
    }

    /// Its root file system, with all that is mounted or written into it.
    ///
    /// # Errors
    /// In the node's words.
    pub(super) async fn fill(&self) -> Result<(), String> {
        let arguments = self.arguments();
        let download = self.directory.join("download");
        flist::unpack(&arguments.root, &self.root, &download)
            .await
            .map_err(|reason| format!("mount-root-flist({reason})"))?;
        let written = |error: std::io::Error| go::errno(&error);
        for directory in ["etc", "proc", "sys", "dev"] {
            std::fs::create_dir_all(self.root.join(directory)).map_err(written)?;
        }
        std::fs::write(self.root.join("coreX"), "").map_err(written)?;
        for (source, guest) in arguments.mount.iter().flatten() {
            let target = self.inside(guest);
            if create::has_scheme(source) {
                flist::unpack(source, &target, &download)
                    .await
                    .map_err(|reason| format!("mount-bind-flist({reason})"))?;
            } else if Path::new(source).is_dir() {
                std::fs::create_dir_all(&target).map_err(written)?;
            } else {
                std::fs::create_dir_all(target.parent().unwrap_or(&self.root)).map_err(written)?;
                std::fs::write(&target, "").map_err(written)?;
            }
        }
        for (path, text) in arguments.config.iter().flatten() {
            let target = self.inside(path);
            std::fs::create_dir_all(target.parent().unwrap_or(&self.root)).map_err(written)?;
            std::fs::write(&target, text).map_err(written)?;
        }
        if arguments.host_network
            && let Ok(text) = std::fs::read(RESOLVER)
        {
            std::fs::write(self.inside(RESOLVER), text).map_err(written)?;
        }
        Ok(())
    }

    /// Where a path of its own is on the node.
    pub(super) fn inside(&self, path: &str) -> PathBuf {
        let parts = Path::new(path).components().filter(|part| matches!(part, std::path::Component::Normal(_)));
        self.root.join(parts.collect::<PathBuf>())
    }

    /// Adds name servers to those it has.
    pub(super) fn add_name_servers(&self, servers: &[String]) {
        let file = self.inside(RESOLVER);
        let mut text = std::fs::read_to_string(&file).unwrap_or_default();
        for server in servers {
            text.push_str(&format!("\nnameserver {server}\n"));
        }
        if !servers.is_empty()
            && let Err(error) = std::fs::write(&file, text)
        {
            eprintln!("core0: {}: {error}", file.display());
        }
    }

    pub(super) fn remove_files(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("core0: {}: {error}", self.directory.display());
        }
    }
}

const RESOLVER: &str = "/etc/resolv.conf";

/// The work of a container's job.
pub(super) struct ContainerWork {
    pub(super) container: Arc<Container>,
    pub(super) containers: Arc<Containers>,
    pub(super) outlet: Arc<NodeOutlet>,
    /// Told once it takes commands, or why it never will.
    pub(super) begun: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
}

#[async_trait]
impl Begin for ContainerWork {
    async fn begin(&self, messages: mpsc::Sender<Message>) -> Result<Process, NotBegun> {
        let begun = self.start(messages).await;
        if let Some(sender) = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(begun.as_ref().map(|_| ()).map_err(Clone::clone));
        }
        begun.map_err(|reason| NotBegun::Refused(0, reason))
    }
}

impl ContainerWork {
    async fn start(&self, messages: mpsc::Sender<Message>) -> Result<Process, String> {
        let container = &self.container;
        let arguments = container.arguments();
        let log = container.directory.join("container.log");
        let birth = Birth {
            hostname: hostname(&arguments),
            privileged: arguments.privileged,
            host_network: arguments.host_network,
            env: &environment(&arguments),
            log: &log,
        };
        let (mut child, socket) = spawn(&birth).map_err(|error| format!("fork/exec /coreX: {}", go::errno(&error)))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1);
        container.state().pid = pid;
        self.join_groups(pid);
        if !arguments.host_network {
            self.connect_all(pid).await;
        }
        let setup = Setup {
            root: container.root.clone(),
            hostname: hostname(&arguments).to_owned(),
            privileged: arguments.privileged,
            mounts: mounts(&arguments),
        };
        let begun = self.talk(socket, &setup).await;
        if begun.is_err() {
            let _ = child.kill().await;
        }
        let (container, containers) = (container.clone(), self.containers.clone());
        let after = async move {
            let status = child.wait().await;
            containers.ended(&container).await;
            let code = status.ok().and_then(|status| status.code()).unwrap_or(-1);
            let end = match code {
                0 => Message::end(STDOUT, "", 0, false),
                code => Message::end(STDERR, "", u32::try_from(1000 + code).unwrap_or(999), true),
            };
            let _ = messages.send(end).await;
        };
        match begun {
            Ok(()) => {
                tokio::spawn(after);
                Ok(Process { pid, group: false })
            }
            Err(reason) => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                after.await;
                Err(log.lines().last().map_or(reason, str::to_owned))
            }
        }
    }

    /// The cgroups that it was to be in; an unprivileged one is shown in one more, whether this machine has it or not.
    fn join_groups(&self, pid: i32) {
        let groups = self.container.change(|arguments| {
            if !arguments.privileged {
                arguments.cgroups.get_or_insert_default().push(["devices".to_owned(), "corex".to_owned()]);
            }
            arguments.cgroups.clone().unwrap_or_default()
        });
        for [subsystem, name] in groups {
            let tasks = group_directory(&subsystem, &name).join("cgroup.procs");
            if tasks.exists()
                && let Err(error) = std::fs::write(&tasks, pid.to_string())
            {
                eprintln!("core0: {}: {error}", tasks.display());
            }
        }
    }

    async fn connect_all(&self, pid: i32) {
        let network: &Network = &self.containers.network;
        if let Err(reason) = network.loopback(pid).await {
            eprintln!("core0: {reason}");
        }
        for index in 0..self.container.arguments().nics().len() {
            // An interface that fails is shown as such, and the container runs without it.
            if let Err(reason) = self.containers.connect(&self.container, index).await {
                eprintln!("core0: container {}: {reason}", self.container.id);
            }
        }
    }

    /// Sends the setup, waits for the word that commands are taken, and from then on carries both ways.
    async fn talk(&self, socket: StdStream, setup: &Setup) -> Result<(), String> {
        let socket = UnixStream::from_std(socket).map_err(|error| error.to_string())?;
        let (reader, mut writer) = socket.into_split();
        let mut lines = BufReader::new(reader).lines();
        let line = serde_json::to_string(setup).map_err(|error| error.to_string())? + "\n";
        writer.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        match lines.next_line().await {
            Ok(Some(line)) if matches!(serde_json::from_str(&line), Ok(Said::Ready)) => {}
            _ => return Err("container ended before it began".to_owned()),
        }
        let forwarded = self.container.forwarded.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(forwarded) = forwarded {
            tokio::spawn(forward(forwarded, writer));
        }
        tokio::spawn(listen(lines, self.container.id, self.outlet.clone()));
        Ok(())
    }
}

/// Commands to the container, for as long as it lives.
async fn forward(mut commands: mpsc::Receiver<Command>, mut writer: OwnedWriteHalf) {
    while let Some(command) = commands.recv().await {
        let Ok(line) = serde_json::to_string(&command) else { continue };
        if writer.write_all((line + "\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What the container says, for as long as it lives.
async fn listen(mut lines: tokio::io::Lines<BufReader<OwnedReadHalf>>, id: u16, outlet: Arc<NodeOutlet>) {
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Said::Result(mut result)) => {
                result.container = u64::from(id);
                // What follows need not wait for Redis.
                let outlet = outlet.clone();
                tokio::spawn(async move { outlet.result(result).await });
            }
            Ok(Said::Log { job, message }) => outlet.logs.record(Record { core: id, command: job, message }).await,
            Ok(Said::Statistic(statistic)) => {
                let key = format!("core-{id}.{}", statistic.key);
                outlet.statistic(Statistic { key, ..statistic }).await;
            }
            Ok(Said::Ready) => {}
            Err(error) => eprintln!("core0: container {id}: {error}"),
        }
    }
}

fn hostname(arguments: &CreateArguments) -> &str {
    if arguments.hostname.is_empty() { "corex" } else { &arguments.hostname }
}

fn environment(arguments: &CreateArguments) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("HOME".to_owned(), "/".to_owned()),
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
    ]);
    env.extend(arguments.env.clone().unwrap_or_default());
    env
}

fn mounts(arguments: &CreateArguments) -> Vec<(String, String)> {
    let all = arguments.mount.clone().unwrap_or_default().into_iter();
    all.filter(|(source, _)| !create::has_scheme(source)).collect()
}

/// The arguments that a container's job is listed with.
pub(super) fn job_arguments(container: &Container) -> Value {
    let arguments = container.arguments();
    let mut flags = vec!["-hostname", hostname(&arguments)];
    if !arguments.privileged {
        flags.push("-unprivileged");
    }
    json!({
        "name": "/coreX", "dir": "/", "args": flags, "env": environment(&arguments),
        "host_network": arguments.host_network, "chroot": container.root,
        "log": container.directory.join("container.log"),
    })
}

impl Container {
    /// Notes how an interface fares.
    pub(super) fn nic_is(&self, index: usize, connected: bool) {
        let state = if connected { CONFIGURED } else { FAILED };
        self.change(|arguments| {
            if let Some(nic) = arguments.nics.as_mut().and_then(|nics| nics.get_mut(index)) {
                nic.state = state.to_owned();
            }
        });
    }
}
