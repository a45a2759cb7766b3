//! What the machine of a node is made of, and the numbers that the server keeps, which only this engine tells.

use std::collections::BTreeMap;

use roadstead_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::node::LxdNode;
use super::request::Request;
use super::shared::Lxd;

/// What a machine is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeResources {
    /// Processors.
    pub cpu: CpuFacts,
    /// Memory.
    pub memory: MemoryFacts,
    /// Disks, by name.
    pub disks: Vec<DiskFacts>,
    /// Ports of network cards, by name.
    pub nics: Vec<NicFacts>,
    /// The operating system.
    pub os: OsFacts,
    /// Mean number of processes that want to run, over 1, 5 and 15 minutes, where the server tells.
    pub load: Option<[f64; 3]>,
}

/// Processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuFacts {
    /// In the kernel's word, for example `x86_64`.
    pub architecture: String,
    /// Name of the first processor, if told.
    pub model: Option<String>,
    /// Maker of the first processor, if told.
    pub vendor: Option<String>,
    /// Number of processors.
    pub sockets: u32,
    /// Number of cores of all processors.
    pub cores: u32,
    /// Number of threads of all cores: what the kernel schedules on.
    pub threads: u32,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryFacts {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskFacts {
    /// Name of the device, for example `sda`.
    pub name: String,
    /// How it is connected, for example `nvme`.
    pub kind: String,
    /// Its model, if told.
    pub model: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether it can be taken out.
    pub removable: bool,
    /// Sizes of its partitions in bytes, by name.
    pub partitions: BTreeMap<String, u64>,
}

/// A port of a network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NicFacts {
    /// Name of the interface, for example `eth0`.
    pub name: String,
    /// Hardware address.
    pub address: String,
    /// The kernel's driver, if told.
    pub driver: Option<String>,
    /// What the card is, if told.
    pub model: Option<String>,
    /// Whether a cable is in it.
    pub link: bool,
    /// Speed in Mbit/s, if told.
    pub speed_mbit: Option<u64>,
}

/// The operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OsFacts {
    /// Its name, for example `Debian GNU/Linux`.
    pub name: String,
    /// Its version, for example `12`.
    pub version: String,
    /// Version of the kernel.
    pub kernel: String,
    /// The machine's host name.
    pub hostname: String,
}

/// One number of the server's metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricSample {
    /// Its name, for example `lxd_memory_MemTotal_bytes`; the unit is part of it.
    pub name: String,
    /// What it is about, for example `name` and `project` of an instance.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    network: Option<Network>,
    storage: Option<Storage>,
    load: Option<Load>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    architecture: Option<String>,
    sockets: Option<Vec<Socket>>,
    total: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Socket {
    name: Option<String>,
    vendor: Option<String>,
    cores: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    used: Option<u64>,
    total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    cards: Option<Vec<Card>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Card {
    driver: Option<String>,
    product: Option<String>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    id: Option<String>,
    address: Option<String>,
    link_detected: Option<bool>,
    link_speed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    disks: Option<Vec<Disk>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disk {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    model: Option<String>,
    size: Option<u64>,
    read_only: Option<bool>,
    removable: Option<bool>,
    partitions: Option<Vec<Disk>>,
}

/// The members are written in capitals, unlike all others.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Load {
    average1_min: Option<f64>,
    average5_min: Option<f64>,
    #[serde(alias = "Average15Min")]
    average10_min: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    environment: Option<Environment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Environment {
    os_name: Option<String>,
    os_version: Option<String>,
    kernel_version: Option<String>,
    server_name: Option<String>,
}

fn told(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn resources(wire: Wire, environment: Environment) -> NodeResources {
    let cpu = wire.cpu.unwrap_or_default();
    let sockets = cpu.sockets.unwrap_or_default();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let memory = wire.memory.unwrap_or_default();
    NodeResources {
        cpu: CpuFacts {
            architecture: cpu.architecture.unwrap_or_default(),
            sockets: count(sockets.len()),
            cores: count(sockets.iter().map(|socket| socket.cores.as_ref().map_or(0, Vec::len)).sum()),
            threads: cpu.total.unwrap_or(0),
            model: sockets.first().and_then(|socket| told(socket.name.clone())),
            vendor: sockets.first().and_then(|socket| told(socket.vendor.clone())),
        },
        memory: MemoryFacts { total_bytes: memory.total.unwrap_or(0), used_bytes: memory.used.unwrap_or(0) },
        disks: wire.storage.unwrap_or_default().disks.unwrap_or_default().into_iter().map(disk).collect(),
        nics: wire.network.unwrap_or_default().cards.unwrap_or_default().into_iter().flat_map(nics).collect(),
        os: OsFacts {
            name: environment.os_name.unwrap_or_default(),
            version: environment.os_version.unwrap_or_default(),
            kernel: environment.kernel_version.unwrap_or_default(),
            hostname: environment.server_name.unwrap_or_default(),
        },
        load: wire.load.and_then(|load| Some([load.average1_min?, load.average5_min?, load.average10_min?])),
    }
}

fn disk(disk: Disk) -> DiskFacts {
    DiskFacts {
        name: disk.id.unwrap_or_default(),
        kind: disk.kind.unwrap_or_default(),
        model: told(disk.model),
        size_bytes: disk.size.unwrap_or(0),
        read_only: disk.read_only.unwrap_or(false),
        removable: disk.removable.unwrap_or(false),
        partitions: disk
            .partitions
            .unwrap_or_default()
            .into_iter()
            .map(|part| (part.id.unwrap_or_default(), part.size.unwrap_or(0)))
            .collect(),
    }
}

fn nics(card: Card) -> impl Iterator<Item = NicFacts> {
    let (driver, model) = (told(card.driver), told(card.product));
    card.ports.unwrap_or_default().into_iter().map(move |port| NicFacts {
        name: port.id.unwrap_or_default(),
        address: port.address.unwrap_or_default(),
        driver: driver.clone(),
        model: model.clone(),
        link: port.link_detected.unwrap_or(false),
        speed_mbit: port.link_speed.filter(|speed| *speed > 0),
    })
}

/// Samples of the text format of OpenMetrics; lines that make no sense are left out.
fn samples(text: &str) -> Vec<MetricSample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// `name{key="value",…} 1.5`, with a time behind it that is not needed.
fn sample(line: &str) -> Option<MetricSample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((key, after)) = rest.split_once("=\"").filter(|_| !rest.starts_with('}')) {
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, other) => value.push(other),
                }
            };
            labels.insert(key.trim_start_matches(',').trim().to_owned(), value);
            rest = after.get(end + 1..)?;
        }
        rest = rest.trim_start_matches(',').strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| MetricSample { name: name.to_owned(), labels, value })
}

fn of_member(request: Request, lxd: &Lxd) -> Request {
    request.query_some("target", lxd.member.as_deref())
}

/// Facts about the machine.
impl LxdNode {
    /// What the machine is made of: processors, memory, disks, network cards, operating system.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a server that does not tell.
    pub async fn resources(&self) -> Result<NodeResources> {
        let work = async {
            if !self.0.has("resources") {
                return Err(Error::unsupported("telling what the machine is made of"));
            }
            let wire: Wire = of_member(Request::get(&["resources"]), &self.0).json(&self.0.client).await?;
            let server: Server = of_member(Request::get(&[]), &self.0).json(&self.0.client).await?;
            Ok(resources(wire, server.environment.unwrap_or_default()))
        };
        self.call("lxd.resources", None, "", work).await
    }

    /// The numbers that the server keeps of itself and of its running instances, at most some seconds old.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a server that keeps none.
    pub async fn metrics(&self) -> Result<Vec<MetricSample>> {
        let work = async {
            if !self.0.has("metrics") {
                return Err(Error::unsupported("metrics"));
            }
            let text = of_member(Request::get(&["metrics"]), &self.0).bytes(&self.0.client).await?;
            let text = std::str::from_utf8(&text).map_err(|cause| {
                Error::new(ErrorKind::Unexpected, "the engine's metrics are no text").with_source(cause)
            })?;
            Ok(samples(text))
        };
        self.call("lxd.metrics", None, "", work).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let wire: Wire = serde_json::from_value(json!({
            "cpu": {"architecture": "x86_64", "total": 4, "sockets": [{"name": "", "vendor": "V", "cores": [{}, {}]}]},
            "memory": {"used": 1, "total": 2}, "gpu": {"cards": null},
            "network": {"cards": [{"driver": "d", "ports": [{"id": "eth0", "link_detected": true}, {}]}, {"ports": null}]},
            "storage": {"disks": [{"id": "vda", "size": 7, "partitions": [{"id": "vda1", "size": 5}]}]},
            "load": {"Average1Min": 0.5, "Average5Min": 1.0, "Average10Min": 1.5, "Processes": 9},
        }))
        .unwrap();
        let facts = resources(wire, Environment::default());
        assert_eq!((facts.cpu.sockets, facts.cpu.cores, facts.cpu.threads), (1, 2, 4));
        assert_eq!((facts.cpu.model, facts.cpu.vendor.as_deref()), (None, Some("V")));
        assert_eq!((facts.nics.len(), facts.nics[0].link, facts.disks[0].partitions["vda1"]), (2, true, 5));
        assert_eq!(facts.load, Some([0.5, 1.0, 1.5]));
        assert_eq!(resources(Wire::default(), Environment::default()), NodeResources::default());
    }

    #[test]
    fn samples_are_read_from_text() {
        let text = "# HELP a b\n# TYPE a counter\na{cpu=\"0\",name=\"c\\\"1\\\\\",} 1.5\nb 2e3 1700000000\nnonsense\nc{x=\"1} 3\n# EOF\n";
        let found = samples(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].labels["name"].as_str(), found[0].value), ("c\"1\\", 1.5));
        assert_eq!((found[1].name.as_str(), found[1].labels.len(), found[1].value), ("b", 0, 2000.0));
    }
}
