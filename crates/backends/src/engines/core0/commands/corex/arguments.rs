//! What a container is created with. Nodes repeat it in their lists, so that it is written and read.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use roadstead_core::{Error, Result, Secret, names};

use super::super::super::Command;
use super::super::job::tags;
use super::super::reading::{record, words};
use super::super::writing::{exposed_if_any, plain};

record! {
    /// What a container is created with. Only `root` must be given. Of environment and files only the names are shown for
    /// debugging, since the rest may be secret.
    #[derive(Serialize)]
    pub secret struct ContainerArguments {
        /// URL of the flist that its files come from: a local file, http or https, ending in .flist, .tgz, .tar.gz, .gz,
        /// .tbz2, .bz2 or .tar; or a restic snapshot.
        root: String = "root";
        /// What is mounted: absolute paths of the node, which must exist, or flists, and where in the container.
        #[serde(skip_serializing_if = "plain")]
        mount: BTreeMap<String, String> = "mount";
        /// Whether it shares the node's network; its own interfaces are ignored then.
        #[serde(skip_serializing_if = "plain")]
        host_network: bool = "host_network";
        /// Its secret identity in ZeroTier networks.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
        identity: Option<Secret> = "identity" in identity;
        /// Its network interfaces.
        #[serde(skip_serializing_if = "plain")]
        nics: Vec<Nic> = "nics";
        /// Ports of the node, as in [`PortForward::host_port`](super::PortForward::host_port), and where they lead. They need an
        /// interface of the type [`NicType::Default`].
        #[serde(skip_serializing_if = "plain")]
        port: BTreeMap<String, u16> = "port";
        /// Whether it may do what the node may.
        #[serde(skip_serializing_if = "plain")]
        privileged: bool = "privileged";
        /// Its host name; `corex` when empty.
        #[serde(skip_serializing_if = "plain")]
        hostname: String = "hostname";
        /// Where the contents of the flist's files come from; the node's own place when empty.
        #[serde(skip_serializing_if = "plain")]
        storage: String = "storage";
        /// A name to find it by; it need not be the only one.
        #[serde(skip_serializing_if = "plain")]
        name: String = "name";
        /// Environment of everything in it.
        #[serde(skip_serializing_if = "plain")]
        env: BTreeMap<String, String> = "env";
        /// Control groups: subsystem and name. Unprivileged ones get `devices`, `corex` besides.
        #[serde(skip_serializing_if = "plain")]
        cgroups: Vec<(String, String)> = "cgroups";
        /// Files that are written over its own: path and text.
        #[serde(skip_serializing_if = "plain")]
        config: BTreeMap<String, String> = "config";
        /// Its tags, which go with the command itself.
        #[serde(skip_serializing)]
        tags: Vec<String> = "tags" in tags;
    }
}

/// Without what may hold a password: addresses, variables, files, tags.
impl fmt::Debug for ContainerArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerArguments")
            .field("name", &self.name)
            .field("hostname", &self.hostname)
            .field("mount", &self.mount.values())
            .field("host_network", &self.host_network)
            .field("nics", &self.nics)
            .field("port", &self.port)
            .field("privileged", &self.privileged)
            .field("env", &self.env.keys())
            .field("cgroups", &self.cgroups)
            .field("config", &self.config.keys())
            .finish_non_exhaustive()
    }
}

impl ContainerArguments {
    /// A container with the files of this flist.
    pub fn new(root: impl Into<String>) -> Self {
        ContainerArguments { root: root.into(), ..ContainerArguments::default() }
    }

    pub(super) fn command(&self, name: &'static str) -> Result<Command> {
        if self.root.is_empty() {
            return Err(Error::invalid("root", "must be the URL of a flist"));
        }
        for (field, names) in [("env", &self.env), ("config", &self.config), ("mount", &self.mount)] {
            for (name, value) in names {
                names::no_nul(field, name)?;
                names::no_nul(field, value)?;
            }
        }
        let mut command = Command::new(name, self)?;
        command.tags = (!self.tags.is_empty()).then(|| self.tags.clone());
        Ok(command)
    }
}

/// Nodes repeat an empty one where none was given.
fn identity(value: &Value) -> Option<Option<Secret>> {
    Some(value.as_str().filter(|text| !text.is_empty()).map(Secret::new))
}

words! {
    /// What an interface is connected to.
    pub enum NicType {
        /// The node's own bridge, with NAT: 172.18.0.0/16.
        Default = "default",
        /// A bridge, by name.
        Bridge = "bridge",
        /// A VLAN, by its tag; needs the container of Open vSwitch.
        Vlan = "vlan",
        /// A VXLAN, by its number; needs the container of Open vSwitch.
        Vxlan = "vxlan",
        /// A ZeroTier network, by its id.
        ZeroTier = "zerotier",
        /// A link of the node, shared.
        Macvlan = "macvlan",
        /// A link of the node, handed over.
        Passthrough = "passthrough",
    }
}

words! {
    /// What became of an interface.
    pub enum NicState {
        /// Not known.
        Unknown = "unknown",
        /// It is there.
        Configured = "configured",
        /// It could not be made.
        Error = "error",
        /// It was removed.
        Destroyed = "destroyed",
    }
}

record! {
    /// A network interface of a container.
    #[derive(Serialize)]
    pub struct Nic {
        /// What it is connected to.
        #[serde(rename = "type")]
        kind: NicType = "type";
        /// Which bridge, tag, number, network or link; nothing for [`NicType::Default`].
        #[serde(skip_serializing_if = "plain")]
        id: String = "id";
        /// Its hardware address; the node chooses one when empty.
        #[serde(skip_serializing_if = "plain")]
        hwaddr: String = "hwaddr";
        /// Its name in the container, 15 bytes at most, not beginning with `eth` or `zt`; `eth` and its place when empty.
        #[serde(skip_serializing_if = "plain")]
        name: String = "name";
        /// Its addresses.
        #[serde(skip_serializing_if = "plain")]
        config: NicConfig = "config";
        /// Whether its traffic is counted in the node's metrics.
        #[serde(skip_serializing_if = "plain")]
        monitor: bool = "monitor";
        /// What became of it; nodes tell, nobody asks for it. Empty on older ones.
        #[serde(skip_serializing)]
        state: NicState = "state";
    }
}

impl Nic {
    /// An interface of this type, connected to this.
    pub fn new(kind: NicType, id: impl Into<String>) -> Self {
        Nic { kind, id: id.into(), ..Nic::default() }
    }
}

record! {
    /// The addresses of an interface.
    #[derive(Serialize)]
    pub struct NicConfig {
        /// Whether it asks for an address.
        #[serde(skip_serializing_if = "plain")]
        dhcp: bool = "dhcp";
        /// Its address and prefix length, for example `10.0.0.5/24`.
        #[serde(skip_serializing_if = "plain")]
        cidr: String = "cidr";
        /// The way to everywhere else.
        #[serde(skip_serializing_if = "plain")]
        gateway: String = "gateway";
        /// Name servers.
        #[serde(skip_serializing_if = "plain")]
        dns: Vec<String> = "dns";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let mut arguments = ContainerArguments::new("/x.flist");
        arguments.env.insert("TOKEN".to_owned(), "hunter2".to_owned());
        arguments.config.insert("/etc/secret".to_owned(), "hunter2".to_owned());
        arguments.mount.insert("/data?hunter2".to_owned(), "/data".to_owned());
        arguments.root = "https://me:hunter2@host/x.flist".to_owned();
        arguments.storage = "ardb://:hunter2@host".to_owned();
        arguments.tags.push("hunter2".to_owned());
        let shown = format!("{arguments:?} {arguments:#?}");
        assert!(shown.contains("TOKEN") && shown.contains("/etc/secret") && !shown.contains("hunter2"), "{shown}");
    }
}
