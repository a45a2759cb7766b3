//! Containers of a node: `corex.*`, section 12.5 of the reference.
//!
//! Names are the same in every generation; `name`, `env`, `cgroups`, `config`, the state of network interfaces,
//! [`Containers::get`], [`Containers::add_nic`] and the forwarding of ports came one after the other until G3, and are
//! `Unsupported` where they are missing.

mod arguments;
mod flist;

pub use arguments::{ContainerArguments, Nic, NicConfig, NicState, NicType};
pub use flist::FlistArguments;

use std::time::Duration;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};

use roadstead_core::{Result, Secret, names};

use super::super::Command;
use super::agent::Usage;
use super::reading::{Read, member};
use super::{Commands, HOUR, MINUTES};

/// How long [`Containers::create_and_wait`] waits at most when the caller does not say: a year, since containers may stay.
const STAYING: Duration = Duration::from_secs(365 * 24 * 3600);

/// `corex.*`.
#[derive(Clone, Copy, Debug)]
pub struct Containers<'a>(pub(super) &'a Commands);

/// A container of a node.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Container {
    /// Its id, from 1 upwards; never used again.
    pub id: u64,
    /// What it uses; absent where it is not asked about ([`Containers::get`]).
    pub usage: Option<Usage>,
    /// What it was created with, and what was added since.
    pub arguments: ContainerArguments,
    /// Its file system, as a path of the node.
    pub root: String,
    /// Its first process, as the node counts.
    pub pid: u32,
}

impl Container {
    /// An entry of a list, whose key is the id, or the answer to a query, which has it inside.
    fn read(id: Option<&str>, value: &Value) -> Option<Self> {
        let inner = member(value, &["container"], |inner| Some(inner.clone()));
        let id = match id {
            Some(id) => id.trim().parse().ok()?,
            None => value.get("id").and_then(u64::read)?,
        };
        Some(Container {
            id,
            usage: value.get("rss").and_then(|_| Usage::read(value)),
            arguments: member(&inner, &["arguments"], ContainerArguments::read),
            root: member(&inner, &["root"], String::read),
            pid: member(&inner, &["pid"], u32::read),
        })
    }
}

impl<'de> Deserialize<'de> for Container {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Container::read(None, &value).ok_or_else(|| D::Error::custom("it is no container"))
    }
}

/// Containers by id, as nodes list them.
struct Listed(Vec<Container>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Listed(Vec::new())),
            Value::Object(members) => {
                let mut all: Vec<Container> =
                    members.iter().filter_map(|(id, value)| Container::read(Some(id), value)).collect();
                all.sort_by_key(|container| container.id);
                Ok(Listed(all))
            }
            _ => Err(D::Error::custom("it is no list of containers")),
        }
    }
}

/// Which container: by its id, or by the name that it was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerQuery {
    /// Its id.
    Id(u64),
    /// Its name.
    Name(String),
}

impl From<u64> for ContainerQuery {
    fn from(id: u64) -> Self {
        ContainerQuery::Id(id)
    }
}

impl From<&str> for ContainerQuery {
    fn from(name: &str) -> Self {
        ContainerQuery::Name(name.to_owned())
    }
}

/// A port of a node that leads to one of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct PortForward {
    /// The node's side: `8080`, `10.0.0.1:8080`, `10.0.0.0/24:8080` or `eth0:8080`, and `|tcp`, `|udp` or `|tcp+udp`.
    pub host_port: String,
    /// The container's.
    pub container_port: u16,
}

impl PortForward {
    /// From here to there.
    pub fn new(host_port: impl Into<String>, container_port: u16) -> Self {
        PortForward { host_port: host_port.into(), container_port }
    }

    fn arguments(&self, container: u64) -> Value {
        json!({"container": container, "host_port": self.host_port, "container_port": self.container_port})
    }
}

/// `corex.*`.
impl Containers<'_> {
    /// Creates a container, starts it, and gives its id: `corex.create`. It may take two and a half minutes.
    ///
    /// # Errors
    /// As every command; `InvalidInput`; `NotFound` for a flist, a bridge or a path that does not exist; `Conflict` when
    /// something must run before; `ResourceExhausted` when there are too many containers. One that fails late burns an id.
    pub async fn create(&self, arguments: &ContainerArguments) -> Result<u64> {
        self.0.id_for(MINUTES, &arguments.command("corex.create")?).await
    }

    /// Creates a container and waits until it has ended: `corex.create-sync`. Say how long by
    /// [`Commands::with_deadline`]; when the time has passed, the container goes on.
    ///
    /// # Errors
    /// As [`Containers::create`].
    pub async fn create_and_wait(&self, arguments: &ContainerArguments) -> Result<()> {
        self.0.run_for(STAYING, &arguments.command("corex.create-sync")?).await?.check()
    }

    /// All containers, by id: `corex.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<Container>> {
        self.0.call::<Listed>("corex.list", ()).await.map(|Listed(all)| all)
    }

    /// The containers that have all of these tags; all containers when there are none: `corex.find`.
    ///
    /// # Errors
    /// As every command.
    pub async fn find<S: AsRef<str>>(&self, tags: &[S]) -> Result<Vec<Container>> {
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        self.0.call::<Listed>("corex.find", json!({"tags": tags})).await.map(|Listed(all)| all)
    }

    /// One container, by id or name, without what it uses; absent when there is none: `corex.get`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for an id above 65535; `Unsupported` on older nodes, where
    /// [`Containers::list`] helps.
    pub async fn get(&self, query: impl Into<ContainerQuery>) -> Result<Option<Container>> {
        let arguments = match query.into() {
            ContainerQuery::Id(id) => json!({"query": id}),
            ContainerQuery::Name(name) => json!({"query": name}),
        };
        self.0.call("corex.get", arguments).await
    }

    /// Hands a command to a container and gives the id of the job that it is there: `corex.dispatch`. Commands of
    /// [`HostCommands::inside`](super::HostCommands::inside) do this themselves, and wait.
    ///
    /// # Errors
    /// As every command; `NotFound` when there is no such container; `Unavailable` when its agent does not answer.
    pub async fn dispatch(&self, container: u64, command: &Command) -> Result<String> {
        command.validate()?;
        self.0.call("corex.dispatch", json!({"container": container, "command": command})).await
    }

    /// Ends a container and waits until it is gone, two and a half minutes at most: `corex.terminate`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn terminate(&self, container: u64) -> Result<()> {
        self.0.done_for(MINUTES, "corex.terminate", json!({"container": container})).await
    }

    /// Adds a network interface: `corex.nic-add`. One that could not be added stays in the list, with
    /// [`NicState::Error`].
    ///
    /// # Errors
    /// As every command; `NotFound` for the container or its bridge; `InvalidInput` when it has the node's network.
    pub async fn add_nic(&self, container: u64, nic: &Nic) -> Result<()> {
        self.0.done("corex.nic-add", json!({"container": container, "nic": nic})).await
    }

    /// Removes a network interface, by its place in [`ContainerArguments::nics`]: `corex.nic-remove`. It stays in the list,
    /// with [`NicState::Destroyed`], so that places never change.
    ///
    /// # Errors
    /// As every command; `NotFound`; `InvalidInput` for a place that there is not; `Conflict` when it is destroyed already.
    pub async fn remove_nic(&self, container: u64, index: u64) -> Result<()> {
        self.0.done("corex.nic-remove", json!({"container": container, "index": index})).await
    }

    /// Forwards a port: `corex.portforward-add`.
    ///
    /// # Errors
    /// As every command; `NotFound`; `AlreadyExists` when the port is in use.
    pub async fn add_port_forward(&self, container: u64, forward: &PortForward) -> Result<()> {
        self.0.done("corex.portforward-add", forward.arguments(container)).await
    }

    /// Ends the forwarding of a port: `corex.portforward-remove`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn remove_port_forward(&self, container: u64, forward: &PortForward) -> Result<()> {
        self.0.done("corex.portforward-remove", forward.arguments(container)).await
    }

    /// Saves a container's files to a restic repository, whose URL has its password, and gives the snapshot's id:
    /// `corex.backup`. It may take an hour.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn backup(&self, container: u64, url: &Secret, tags: &[String]) -> Result<String> {
        let mut arguments = json!({"container": container, "url": url.expose()});
        if let (false, Some(members)) = (tags.is_empty(), arguments.as_object_mut()) {
            members.insert("tags".to_owned(), json!(tags));
        }
        self.0.call_for(HOUR, "corex.backup", arguments).await
    }

    /// Creates a container from a snapshot, `…#<snapshot>` of a restic repository, and gives its id: `corex.restore`. It has
    /// these tags. It may take an hour.
    ///
    /// # Errors
    /// As every command.
    pub async fn restore(&self, url: &Secret, tags: &[String]) -> Result<u64> {
        let mut command = Command::new("corex.restore", json!({"url": url.expose()}))?;
        command.tags = (!tags.is_empty()).then(|| tags.to_vec());
        self.0.id_for(HOUR, &command).await
    }

    /// Puts another flist over a container's files: `corex.flist-layer`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn add_flist_layer(&self, container: u64, flist: &str) -> Result<()> {
        names::no_nul("flist", flist)?;
        self.0.done_for(MINUTES, "corex.flist-layer", json!({"container": container, "flist": flist})).await
    }

    /// Makes a flist of a container's files, and gives where it is: a path of the node, or the hub's URL:
    /// `corex.flist.create`. It may take an hour.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn create_flist(&self, container: u64, arguments: &FlistArguments) -> Result<String> {
        self.0.call_for(HOUR, "corex.flist.create", arguments.with(container)).await
    }

    /// What ZeroTier says about itself in a container: `corex.zerotier.info`.
    ///
    /// # Errors
    /// As every command; `NotFound`; `Unexpected` when it does not run there.
    pub async fn zerotier_info(&self, container: u64) -> Result<super::zerotier::ZeroTierInfo> {
        self.0.call("corex.zerotier.info", json!({"container": container})).await
    }

    /// The ZeroTier networks of a container: `corex.zerotier.list`.
    ///
    /// # Errors
    /// As [`Containers::zerotier_info`].
    pub async fn zerotier_networks(&self, container: u64) -> Result<Vec<super::zerotier::ZeroTierNetwork>> {
        self.0.list("corex.zerotier.list", json!({"container": container})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_queries_have_the_id_in_other_places() {
        let listed: Listed = serde_json::from_value(json!({
            "10": {"cpu": 0.8, "rss": 5, "vms": 6, "swap": null, "container": {"arguments": {"root": "r"}, "root": "/x", "pid": 7}},
            "9": {"container": null}, "odd": {}, "11": null,
        }))
        .unwrap();
        assert_eq!(listed.0.iter().map(|container| container.id).collect::<Vec<_>>(), [9, 10, 11]);
        assert_eq!(listed.0[1].usage.as_ref().unwrap().rss_bytes, 5);
        assert_eq!((listed.0[1].pid, listed.0[1].arguments.root.as_str(), &listed.0[0].usage), (7, "r", &None));
        let one: Option<Container> = serde_json::from_value(json!({"id": "4", "container": {"pid": 1}})).unwrap();
        assert_eq!((one.as_ref().unwrap().id, one.unwrap().pid), (4, 1));
        assert_eq!(serde_json::from_value::<Option<Container>>(json!(null)).unwrap(), None);
    }
}
