//! Every command of a node, and of the containers on it, as a typed call: a module for each group of them.
//!
//! Source: sections 8.2, 9 and 12 of the reference of core0's protocol. [`Commands`] has what exists on nodes and in
//! containers alike (section 6), [`HostCommands`] what only a node has. Arguments are plain structs that write the members
//! of the reference and leave out what is not asked for; answers are plain data in our units: bytes, [`Duration`],
//! [`Timestamp`](roadstead_core::Timestamp), permission bits as numbers. They are read tolerantly, whatever generation
//! wrote them. A command that a node does not know, because it is older or smaller, fails with
//! [`Unsupported`](roadstead_core::ErrorKind::Unsupported); all other failures have the kind that section 14.4 gives them
//! ([`Outcome::error`]), or are those of the connection.
//!
//! A call that is dropped (cancelled) stops waiting, not the command: the node finishes what it has accepted.

pub mod agent;
pub mod aggregator;
pub mod bridge;
pub mod btrfs;
pub mod cgroup;
pub mod config;
pub mod corex;
pub mod diagnostics;
pub mod disk;
pub mod filesystem;
#[cfg(test)]
mod hostile;
pub mod info;
pub mod ip;
pub mod job;
pub mod kvm;
pub mod logger;
pub mod nft;
pub mod power;
pub mod process;
mod reading;
#[cfg(test)]
pub(super) mod replay;
mod writing;
pub mod zerotier;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use roadstead_core::Result;

use self::reading::{Done, Items, Number, Truth};
use super::client::Client;
use super::{Command, Outcome, Scope};

/// How long a command may take when neither it nor the caller says otherwise.
const USUAL: Duration = Duration::from_secs(30);
/// For what waits for processes to end, or prepares a container: a node gives up after 90 seconds itself (section 12.5).
const MINUTES: Duration = Duration::from_secs(150);
/// For what moves data: backups, downloads, images, new file systems.
const HOUR: Duration = Duration::from_secs(3600);

/// The commands that exist on a node and in each container on it.
#[derive(Clone, Debug)]
pub struct Commands {
    client: Arc<Client>,
    scope: Scope,
    /// The caller's own; otherwise each command's.
    deadline: Option<Duration>,
}

impl Commands {
    pub(super) fn new(client: Arc<Client>, scope: Scope) -> Self {
        Commands { client, scope, deadline: None }
    }

    /// The same, with this much time for each command instead of its own: 30 seconds for most, longer for those that the
    /// reference says take longer. When it has passed the call fails; the command goes on.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Commands { deadline: Some(deadline), ..self }
    }

    /// Where they run.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Runs any command to its end and gives its result, whatever that is.
    ///
    /// # Errors
    /// Those of the connection; `InvalidInput` for a command that a node would drop; `DeadlineExceeded`.
    pub async fn run(&self, command: &Command) -> Result<Outcome> {
        self.run_for(USUAL, command).await
    }

    async fn run_for(&self, usual: Duration, command: &Command) -> Result<Outcome> {
        command.validate()?;
        self.client.run(self.scope, command, self.deadline.unwrap_or(usual)).await
    }

    /// A command by its name, and its payload as a value.
    async fn call<T: DeserializeOwned>(&self, name: &'static str, arguments: impl Serialize) -> Result<T> {
        self.call_for(USUAL, name, arguments).await
    }

    /// The same for what takes longer.
    async fn call_for<T: DeserializeOwned>(
        &self,
        usual: Duration,
        name: &'static str,
        arguments: impl Serialize,
    ) -> Result<T> {
        self.run_for(usual, &Command::new(name, arguments)?).await?.value()
    }

    /// A command whose success says all.
    async fn done(&self, name: &'static str, arguments: impl Serialize) -> Result<()> {
        self.call::<Done>(name, arguments).await.map(|Done| ())
    }

    /// The same for what takes longer.
    async fn done_for(&self, usual: Duration, name: &'static str, arguments: impl Serialize) -> Result<()> {
        self.call_for::<Done>(usual, name, arguments).await.map(|Done| ())
    }

    /// A command that gives a list.
    async fn list<T: reading::Read>(&self, name: &'static str, arguments: impl Serialize) -> Result<Vec<T>> {
        self.call::<Items<T>>(name, arguments).await.map(|Items(items)| items)
    }

    /// A command that says yes or no.
    async fn ask(&self, name: &'static str, arguments: impl Serialize) -> Result<bool> {
        self.call::<Truth>(name, arguments).await.map(|Truth(truth)| truth)
    }

    /// A command that gives the id of a container.
    async fn id_for(&self, usual: Duration, command: &Command) -> Result<u64> {
        self.run_for(usual, command).await?.value::<Number<u64>>().map(|Number(id)| id)
    }

    /// What core0 or coreX says about itself, and programs and scripts.
    #[must_use]
    pub fn agent(&self) -> agent::Agent<'_> {
        agent::Agent(self)
    }

    /// Processors, memory, network and more.
    #[must_use]
    pub fn info(&self) -> info::Info<'_> {
        info::Info(self)
    }

    /// Processes.
    #[must_use]
    pub fn processes(&self) -> process::Processes<'_> {
        process::Processes(self)
    }

    /// Jobs.
    #[must_use]
    pub fn jobs(&self) -> job::Jobs<'_> {
        job::Jobs(self)
    }

    /// Files.
    #[must_use]
    pub fn filesystem(&self) -> filesystem::Filesystem<'_> {
        filesystem::Filesystem(self)
    }

    /// Network links, addresses and routes.
    #[must_use]
    pub fn ip(&self) -> ip::Ip<'_> {
        ip::Ip(self)
    }
}

/// The commands of a node: those that containers have, too, by [`HostCommands::commands`], and those that only a node has.
#[derive(Clone, Debug)]
pub struct HostCommands {
    commands: Commands,
}

impl HostCommands {
    pub(super) fn new(client: Arc<Client>) -> Self {
        HostCommands { commands: Commands::new(client, Scope::Host) }
    }

    /// The same, with this much time for each command: [`Commands::with_deadline`].
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        HostCommands { commands: self.commands.with_deadline(deadline) }
    }

    /// The commands that exist in containers, too, on the node itself.
    #[must_use]
    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    /// The same commands in a container. Whether it exists is found out by the first call.
    #[must_use]
    pub fn inside(&self, container: u64) -> Commands {
        Commands { scope: Scope::Container(container), ..self.commands.clone() }
    }

    /// Containers.
    #[must_use]
    pub fn containers(&self) -> corex::Containers<'_> {
        corex::Containers(&self.commands)
    }

    /// Bridges between containers, machines and networks.
    #[must_use]
    pub fn bridges(&self) -> bridge::Bridges<'_> {
        bridge::Bridges(&self.commands)
    }

    /// The firewall, and ports that are forwarded.
    #[must_use]
    pub fn firewall(&self) -> nft::Firewall<'_> {
        nft::Firewall(&self.commands)
    }

    /// Disks and partitions.
    #[must_use]
    pub fn disks(&self) -> disk::Disks<'_> {
        disk::Disks(&self.commands)
    }

    /// Btrfs file systems.
    #[must_use]
    pub fn btrfs(&self) -> btrfs::Btrfs<'_> {
        btrfs::Btrfs(&self.commands)
    }

    /// ZeroTier networks of the node.
    #[must_use]
    pub fn zerotier(&self) -> zerotier::ZeroTier<'_> {
        zerotier::ZeroTier(&self.commands)
    }

    /// Control groups.
    #[must_use]
    pub fn cgroups(&self) -> cgroup::Cgroups<'_> {
        cgroup::Cgroups(&self.commands)
    }

    /// Virtual machines.
    #[must_use]
    pub fn machines(&self) -> kvm::Machines<'_> {
        kvm::Machines(&self.commands)
    }

    /// Metrics.
    #[must_use]
    pub fn metrics(&self) -> aggregator::Metrics<'_> {
        aggregator::Metrics(&self.commands)
    }

    /// Logs.
    #[must_use]
    pub fn logger(&self) -> logger::Logger<'_> {
        logger::Logger(&self.commands)
    }

    /// How the node is configured.
    ///
    /// # Errors
    /// As every command.
    pub async fn config(&self) -> Result<config::Config> {
        self.commands.call("config.get", ()).await
    }

    /// Downloads, and looking into the agent itself.
    #[must_use]
    pub fn diagnostics(&self) -> diagnostics::Diagnostics<'_> {
        diagnostics::Diagnostics(&self.commands)
    }

    /// Restarting the machine, and turning it off.
    #[must_use]
    pub fn power(&self) -> power::Power<'_> {
        power::Power(&self.commands)
    }
}
