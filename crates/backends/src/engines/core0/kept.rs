//! The common specification as the arguments of `corex.create`, and back.
//!
//! What a node has a member for stands there, so that every tool sees the same. The whole specification is kept besides, in a
//! file of the container that is part of its arguments, and so of every list of the node: nothing of ours has to be stored
//! anywhere else. A container with that file is ours.

use std::collections::BTreeMap;
use std::fmt;

use roadstead_core::{ContainerSpec, Error, Mount, MountKind, NetworkAttachment, Result, Timestamp, names};
use serde::{Deserialize, Serialize};

use super::commands::corex::{ContainerArguments, Nic, NicType};
use super::ports;

/// The file, within the container.
pub(super) const FILE: &str = "/.roadstead/spec.json";
/// The networks that are none of the node's bridges.
const HOST: &str = "host";
const NONE: &str = "none";
const DEFAULT: &str = "default";

/// What is kept of a container of ours.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    version: u32,
    /// A UUID, under which its record stands.
    pub(super) mark: String,
    pub(super) created_at: Timestamp,
    pub(super) spec: ContainerSpec,
}

/// Without the specification, whose words and variables may be secret.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("mark", &self.mark).field("created_at", &self.created_at).finish_non_exhaustive()
    }
}

impl Kept {
    pub(super) fn new(mark: String, spec: &ContainerSpec) -> Self {
        let mut spec = spec.clone();
        // They are the tags.
        spec.labels = BTreeMap::new();
        Kept { version: 1, mark, created_at: Timestamp::now(), spec }
    }

    /// What a container's arguments keep; nothing when it is not of ours.
    pub(super) fn read(arguments: &ContainerArguments) -> Option<Self> {
        let kept: Kept = serde_json::from_str(arguments.config.get(FILE)?).ok()?;
        (names::one_word("mark", &kept.mark).is_ok()).then_some(kept)
    }

    /// The words of the main process; empty when it has none.
    pub(super) fn words(&self) -> Vec<String> {
        self.spec.entrypoint.iter().chain(&self.spec.command).flatten().cloned().collect()
    }
}

/// The mark of a container of ours, also of one that a newer version made and whose file this one cannot read.
pub(super) fn mark(arguments: &ContainerArguments) -> Option<String> {
    let file: serde_json::Value = serde_json::from_str(arguments.config.get(FILE)?).ok()?;
    file.get("mark")?.as_str().map(str::to_owned)
}

/// The ports that no one has chosen yet, by their places.
pub(super) fn open_ports(spec: &ContainerSpec) -> usize {
    spec.ports.iter().filter(|port| port.host_port.is_none()).count()
}

/// The arguments for a validated specification. `picked` are the ports for those without one.
pub(super) fn write(kept: &Kept, labels: &BTreeMap<String, String>, picked: &[u16]) -> Result<ContainerArguments> {
    let spec = &kept.spec;
    let mut arguments = ContainerArguments::new(root(&spec.image));
    arguments.name = spec.name.clone().unwrap_or_default();
    arguments.hostname = spec.hostname.clone().unwrap_or_default();
    arguments.env.clone_from(&spec.env);
    arguments.tags = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    mount(spec, &mut arguments)?;
    connect(spec, &mut arguments)?;
    let mut picked = picked.iter();
    for (number, port) in spec.ports.iter().enumerate() {
        let field = format!("ports[{number}]");
        let Some(host_port) = port.host_port.or_else(|| picked.next().copied()) else {
            return Err(Error::new(roadstead_core::ErrorKind::ResourceExhausted, "the node has no port left"));
        };
        let (host, container_port) = ports::write(&field, port, host_port)?;
        if arguments.port.insert(host, container_port).is_some() {
            return Err(Error::invalid(format!("{field}.host_port"), "is given twice"));
        }
    }
    if !arguments.port.is_empty() && !arguments.nics.iter().any(|nic| nic.kind == NicType::Default) {
        return Err(Error::invalid("ports", "need the default network"));
    }
    let text = serde_json::to_string(kept).map_err(|error| Error::invalid("spec", error))?;
    arguments.config.insert(FILE.to_owned(), text);
    Ok(arguments)
}

/// A path is a file of the node.
fn root(image: &str) -> String {
    if image.starts_with('/') { format!("file://{image}") } else { image.to_owned() }
}

fn mount(spec: &ContainerSpec, arguments: &mut ContainerArguments) -> Result<()> {
    for (number, mount) in spec.mounts.iter().enumerate() {
        let field = |member: &str| format!("mounts[{number}].{member}");
        let Mount { kind: MountKind::Bind, source: Some(source), .. } = mount else {
            return Err(Error::unsupported_field(field("type"), "mounts of volumes and temporary file systems"));
        };
        if mount.read_only {
            return Err(Error::unsupported_field(field("read_only"), "read-only mounts"));
        }
        if arguments.mount.insert(source.clone(), mount.target.clone()).is_some() {
            return Err(Error::invalid(field("source"), "this engine mounts a directory once only"));
        }
    }
    Ok(())
}

fn connect(spec: &ContainerSpec, arguments: &mut ContainerArguments) -> Result<()> {
    let only = |name: &str| spec.networks.iter().any(|network| network.network == name);
    if spec.networks.is_empty() {
        arguments.nics.push(Nic::new(NicType::Default, ""));
        return Ok(());
    }
    if spec.networks.len() > 1 && (only(HOST) || only(NONE)) {
        return Err(Error::invalid("networks", format!("{HOST} and {NONE} stand alone")));
    }
    arguments.host_network = only(HOST);
    for (number, attachment) in spec.networks.iter().enumerate() {
        let field = |member: &str| format!("networks[{number}].{member}");
        if spec.networks.iter().take(number).any(|other| other.network == attachment.network) {
            return Err(Error::invalid(field("network"), "is given twice"));
        }
        if !attachment.aliases.is_empty() {
            return Err(Error::unsupported_field(field("aliases"), "names on networks"));
        }
        if attachment.address.is_some() {
            return Err(Error::unsupported_field(field("address"), "fixed addresses"));
        }
        match attachment.network.as_str() {
            HOST | NONE => {}
            DEFAULT => arguments.nics.push(Nic::new(NicType::Default, "")),
            bridge => arguments.nics.push(Nic::new(NicType::Bridge, bridge)),
        }
    }
    Ok(())
}

/// The bridges that must exist for these arguments.
pub(super) fn bridges(arguments: &ContainerArguments) -> impl Iterator<Item = &str> {
    arguments.nics.iter().filter(|nic| nic.kind == NicType::Bridge).map(|nic| nic.id.as_str())
}

/// What an interface is connected to, in one word.
pub(super) fn network(nic: &Nic) -> String {
    match (&nic.kind, nic.id.as_str()) {
        (NicType::Default, _) => DEFAULT.to_owned(),
        (kind, "") => kind.to_string(),
        (_, id) => id.to_owned(),
    }
}

/// Tags as labels: `key=value`, or a key alone with an empty value.
pub(super) fn labels(tags: &[String]) -> BTreeMap<String, String> {
    let pair = |tag: &String| match tag.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (tag.clone(), String::new()),
    };
    tags.iter().map(pair).filter(|(key, _)| !key.is_empty()).collect()
}

/// The specification of a container, whoever made it.
pub(super) fn spec(arguments: &ContainerArguments, kept: Option<&Kept>) -> ContainerSpec {
    let mut spec = match kept {
        Some(kept) => kept.spec.clone(),
        None => foreign(arguments),
    };
    spec.labels = labels(&arguments.tags);
    // What was added and removed since counts.
    spec.ports = ports::read(&arguments.port);
    spec
}

fn foreign(arguments: &ContainerArguments) -> ContainerSpec {
    let mut spec = ContainerSpec::new(arguments.root.clone());
    spec.name = Some(arguments.name.clone()).filter(|name| !name.is_empty());
    spec.hostname = Some(arguments.hostname.clone()).filter(|name| !name.is_empty());
    spec.env.clone_from(&arguments.env);
    spec.privileged = arguments.privileged;
    let bind = |(source, target): (&String, &String)| Mount {
        kind: MountKind::Bind,
        source: Some(source.clone()),
        target: target.clone(),
        read_only: false,
        size_bytes: None,
    };
    spec.mounts = arguments.mount.iter().map(bind).collect();
    spec.networks = match arguments.host_network {
        true => vec![NetworkAttachment::new(HOST)],
        false => arguments.nics.iter().map(|nic| NetworkAttachment::new(network(nic))).collect(),
    };
    spec
}

#[cfg(test)]
mod tests {
    use roadstead_core::PortMapping;

    use super::*;

    fn written(spec: &ContainerSpec) -> Result<ContainerArguments> {
        write(&Kept::new("m".to_owned(), spec), &spec.labels, &[1024, 1025])
    }

    fn full() -> ContainerSpec {
        let mut spec = ContainerSpec::new("/opt/x.flist").name("web").command(["sh", "-c", "true"]);
        spec = spec.label("a", "1").label("b", "").label("c", "x=y");
        spec.env.insert("K".to_owned(), "v w".to_owned());
        spec.hostname = Some("h".to_owned());
        spec.stop_timeout_seconds = Some(7);
        let port = |host_port| PortMapping {
            container_port: 80,
            host_port,
            host_address: None,
            protocol: roadstead_core::Protocol::Tcp,
        };
        spec.ports = vec![port(None), port(Some(8080)), port(None)];
        let bind = Mount {
            kind: MountKind::Bind,
            source: Some("/data".to_owned()),
            target: "/d".to_owned(),
            read_only: false,
            size_bytes: None,
        };
        spec.mounts = vec![bind];
        spec
    }

    #[test]
    fn a_container_of_ours_is_what_it_was_asked_to_be() {
        let asked = full();
        let arguments = written(&asked).unwrap();
        assert_eq!((arguments.root.as_str(), arguments.name.as_str()), ("file:///opt/x.flist", "web"));
        assert_eq!(arguments.tags, ["a=1", "b=", "c=x=y"]);
        assert_eq!(arguments.port.keys().collect::<Vec<_>>(), ["1024", "1025", "8080"]);
        assert_eq!(arguments.nics, [Nic::new(NicType::Default, "")]);
        let kept = Kept::read(&arguments).unwrap();
        assert_eq!(kept.words(), ["sh", "-c", "true"]);
        let mut shown = spec(&arguments, Some(&kept));
        assert_eq!(shown.ports.len(), 3);
        shown.ports.clone_from(&asked.ports);
        assert_eq!(shown, asked);
    }

    #[test]
    fn a_container_of_others_shows_what_it_has() {
        let mut arguments = written(&full()).unwrap();
        arguments.config.clear();
        arguments.tags = vec!["web".to_owned(), "k=v".to_owned(), "=".to_owned()];
        assert_eq!(Kept::read(&arguments), None);
        let shown = spec(&arguments, None);
        assert_eq!(shown.labels, BTreeMap::from([("k".to_owned(), "v".to_owned()), ("web".to_owned(), String::new())]));
        assert_eq!((shown.image.as_str(), shown.mounts.len()), ("file:///opt/x.flist", 1));
        assert_eq!(shown.networks, [NetworkAttachment::new("default")]);
        arguments.config.insert(FILE.to_owned(), r#"{"version":9,"mark":"newer"}"#.to_owned());
        assert_eq!(Kept::read(&arguments), None);
        assert_eq!(mark(&arguments).as_deref(), Some("newer"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let refused = |change: &dyn Fn(&mut ContainerSpec)| {
            let mut spec = full();
            change(&mut spec);
            let error = written(&spec).unwrap_err();
            let field = error.context().find(|(key, _)| *key == "field").map(|(_, value)| value.to_owned());
            field.or_else(|| error.field().map(str::to_owned)).unwrap_or_default()
        };
        assert_eq!(refused(&|spec| spec.mounts[0].read_only = true), "mounts[0].read_only");
        assert_eq!(refused(&|spec| spec.mounts[0].kind = MountKind::Tmpfs), "mounts[0].type");
        assert_eq!(refused(&|spec| spec.mounts.push(spec.mounts[0].clone())), "mounts[1].source");
        assert_eq!(refused(&|spec| spec.ports.push(spec.ports[1].clone())), "ports[3].host_port");
        assert_eq!(refused(&|spec| spec.networks = vec![NetworkAttachment::new("none")]), "ports");
        let two = |one: &str| vec![NetworkAttachment::new(one), NetworkAttachment::new("br0")];
        assert_eq!(refused(&|spec| spec.networks = two("host")), "networks");
        assert_eq!(refused(&|spec| spec.networks = two("br0")), "networks[1].network");
    }

    #[test]
    fn networks_are_interfaces() {
        let mut asked = ContainerSpec::new("/x.tar");
        let nics = |asked: &ContainerSpec| written(asked).unwrap().nics;
        asked.networks = vec![NetworkAttachment::new("default"), NetworkAttachment::new("br0")];
        assert_eq!(nics(&asked), [Nic::new(NicType::Default, ""), Nic::new(NicType::Bridge, "br0")]);
        assert_eq!(bridges(&written(&asked).unwrap()).collect::<Vec<_>>(), ["br0"]);
        asked.networks = vec![NetworkAttachment::new("none")];
        assert!(nics(&asked).is_empty());
        asked.networks = vec![NetworkAttachment::new("host")];
        assert!(written(&asked).unwrap().host_network);
    }
}
