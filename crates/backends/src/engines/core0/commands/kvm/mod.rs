//! Virtual machines of a node: `kvm.*`, section 12.9 of the reference, which knows their answers from the server's source. Where
//! libvirt does not run, all of them fail with its words.

mod arguments;
mod limits;
mod statistics;

pub use arguments::{
    BusType, ConvertImage, MachineArguments, MachineMount, MachineNic, MachineNicType, Media, MediaType,
    MigrationTarget,
};
pub use limits::{DiskLimits, Rate};
pub use statistics::{BlockStatistics, MachineStatistics, NicStatistics, VcpuStatistics};

use std::collections::BTreeMap;

use serde_json::{Value, json};

use roadstead_core::{Error, Result};

use super::super::Command;
use super::aggregator::{Metric, metrics};
use super::corex::PortForward;
use super::job::tags;
use super::reading::{Named, record, words};
use super::{Commands, HOUR, MINUTES};

/// `kvm.*`.
#[derive(Clone, Copy, Debug)]
pub struct Machines<'a>(pub(super) &'a Commands);

words! {
    /// What a virtual machine does.
    pub enum MachineState {
        /// Nothing is known.
        NoState = "nostate",
        /// It runs.
        Running = "running",
        /// It waits for something of the node.
        Blocked = "blocked",
        /// It is paused.
        Paused = "paused",
        /// It is about to be shut down.
        Shutdown = "shutdown",
        /// It has crashed.
        Crashed = "crashed",
        /// It sleeps.
        Suspended = "pmsuspended",
        /// It is off.
        Off = "shutoff",
    }
}

record! {
    /// A virtual machine.
    pub struct Machine {
        /// Its number while it runs.
        id: i64 = "id";
        /// Its unique id.
        uuid: String = "uuid";
        /// Its name.
        name: String = "name";
        /// What it does.
        state: MachineState = "state";
        /// The port of its screen.
        vnc: u16 = "vnc";
        /// Its tags.
        tags: Vec<String> = "tags" in tags;
        /// The node's ends of its network interfaces.
        interfaces: Vec<String> = "ifctargets";
        /// Its address in the node's own network; empty when it is in others only.
        default_ip: String = "default_ip";
        /// What it was created with.
        arguments: MachineArguments = "params";
    }
}

/// Which virtual machine: by its name or its unique id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineQuery {
    /// Its name.
    Name(String),
    /// Its unique id.
    Uuid(String),
}

/// Life and death.
impl Machines<'_> {
    /// Creates a virtual machine, starts it, and gives its unique id: `kvm.create`. It may take two and a half minutes.
    ///
    /// # Errors
    /// As every command; `InvalidInput`.
    pub async fn create(&self, arguments: &MachineArguments) -> Result<String> {
        let mut command = Command::new("kvm.create", arguments)?;
        command.tags = (!arguments.tags.is_empty()).then(|| arguments.tags.clone());
        self.0.run_for(MINUTES, &command).await?.value()
    }

    /// All virtual machines: `kvm.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<Machine>> {
        self.0.list("kvm.list", ()).await
    }

    /// A virtual machine: `kvm.get`.
    ///
    /// # Errors
    /// As every command; `NotFound`. The same for all that follow.
    pub async fn get(&self, query: &MachineQuery) -> Result<Machine> {
        let arguments = match query {
            MachineQuery::Name(name) => json!({"name": name}),
            MachineQuery::Uuid(uuid) => json!({"uuid": uuid}),
        };
        self.0.call("kvm.get", arguments).await
    }

    async fn tell(&self, command: &'static str, uuid: &str) -> Result<()> {
        self.0.done_for(MINUTES, command, json!({"uuid": uuid})).await
    }

    /// Ends it at once, and forgets it: `kvm.destroy`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn destroy(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.destroy", uuid).await
    }

    /// Asks it to shut down: `kvm.shutdown`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn shutdown(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.shutdown", uuid).await
    }

    /// Asks it to restart: `kvm.reboot`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn reboot(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.reboot", uuid).await
    }

    /// Restarts it without asking: `kvm.reset`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn reset(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.reset", uuid).await
    }

    /// Lets it stand still: `kvm.pause`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn pause(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.pause", uuid).await
    }

    /// Lets it go on: `kvm.resume`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn resume(&self, uuid: &str) -> Result<()> {
        self.tell("kvm.resume", uuid).await
    }

    /// Moves it to another node, `qemu+tcp://…`, without ending it: `kvm.migrate`. It may take an hour.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn migrate(&self, uuid: &str, destination: &str) -> Result<()> {
        self.0.done_for(HOUR, "kvm.migrate", json!({"uuid": uuid, "desturi": destination})).await
    }

    /// Prepares the network of a virtual machine that comes from another node: `kvm.prepare_migration_target`.
    ///
    /// # Errors
    /// As every command.
    pub async fn prepare_migration(&self, target: &MigrationTarget) -> Result<()> {
        self.0.done("kvm.prepare_migration_target", target).await
    }
}

/// Figures.
impl Machines<'_> {
    /// What it has used since it was started: `kvm.info`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn statistics(&self, uuid: &str) -> Result<MachineStatistics> {
        self.0.call("kvm.info", json!({"uuid": uuid})).await
    }

    /// Its metrics, as [`Metrics::query`](super::aggregator::Metrics::query) gives them; none for a machine that is not
    /// there: `kvm.infops`.
    ///
    /// # Errors
    /// As every command.
    pub async fn metrics(&self, uuid: &str) -> Result<BTreeMap<String, Metric>> {
        self.0.call::<Named<Metric>>("kvm.infops", json!({"uuid": uuid})).await.map(metrics)
    }

    /// Takes one sample of all virtual machines now: `kvm.monitor`.
    ///
    /// # Errors
    /// As every command.
    pub async fn sample(&self) -> Result<()> {
        self.0.done("kvm.monitor", ()).await
    }

    /// The command that tells, in its stream, what happens to virtual machines, until it is killed: `kvm.events`.
    ///
    /// # Errors
    /// None today.
    pub fn events(&self) -> Result<Command> {
        let mut command = Command::new("kvm.events", ())?;
        command.stream = true;
        Ok(command)
    }
}

/// What it is made of.
impl Machines<'_> {
    /// Attaches a disk: `kvm.attach_disk`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn attach_disk(&self, uuid: &str, media: &Media) -> Result<()> {
        self.0.done("kvm.attach_disk", json!({"uuid": uuid, "media": media})).await
    }

    /// Detaches a disk: `kvm.detach_disk`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn detach_disk(&self, uuid: &str, media: &Media) -> Result<()> {
        self.0.done("kvm.detach_disk", json!({"uuid": uuid, "media": media})).await
    }

    /// Limits how fast a disk is used: `kvm.limit_disk_io`.
    ///
    /// # Errors
    /// As [`Machines::get`]; `InvalidInput` without any limit.
    pub async fn limit_disk(&self, uuid: &str, media: &Media, limits: &DiskLimits) -> Result<()> {
        if *limits == DiskLimits::default() {
            return Err(Error::invalid("limits", "must have a limit"));
        }
        self.0.done("kvm.limit_disk_io", limits.arguments(uuid, media)).await
    }

    /// Adds a network interface: `kvm.add_nic`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn add_nic(&self, uuid: &str, nic: &MachineNic) -> Result<()> {
        self.0.done("kvm.add_nic", nic.of(uuid)).await
    }

    /// Removes a network interface: `kvm.remove_nic`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn remove_nic(&self, uuid: &str, nic: &MachineNic) -> Result<()> {
        self.0.done("kvm.remove_nic", nic.of(uuid)).await
    }

    /// Forwards a port of the node to it: `kvm.portforward-add`.
    ///
    /// # Errors
    /// As [`Machines::get`]; `AlreadyExists` when the port is in use.
    pub async fn add_port_forward(&self, uuid: &str, forward: &PortForward) -> Result<()> {
        self.0.done("kvm.portforward-add", forwarded(uuid, forward)).await
    }

    /// Ends the forwarding of a port: `kvm.portforward-remove`.
    ///
    /// # Errors
    /// As [`Machines::get`].
    pub async fn remove_port_forward(&self, uuid: &str, forward: &PortForward) -> Result<()> {
        self.0.done("kvm.portforward-remove", forwarded(uuid, forward)).await
    }

    /// Makes an empty image of a disk, `raw` or `qcow2`, of a size in the words of `qemu-img`: `kvm.create-image`. It may take
    /// an hour.
    ///
    /// # Errors
    /// As every command.
    pub async fn create_image(&self, path: &str, format: &str, size: &str) -> Result<()> {
        self.0.done_for(HOUR, "kvm.create-image", json!({"file_name": path, "format": format, "size": size})).await
    }

    /// Writes an image in another format: `kvm.convert-image`. It may take an hour.
    ///
    /// # Errors
    /// As every command.
    pub async fn convert_image(&self, image: &ConvertImage) -> Result<()> {
        self.0.done_for(HOUR, "kvm.convert-image", image).await
    }
}

fn forwarded(uuid: &str, forward: &PortForward) -> Value {
    json!({"uuid": uuid, "host_port": forward.host_port, "container_port": forward.container_port})
}
