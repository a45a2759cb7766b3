//! What a virtual machine is created with. Nodes repeat it in their lists, so that it is written and read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::super::job::{json_text, tags};
use super::super::reading::{mebibytes, record, words};
use super::super::writing::plain;

record! {
    /// What a virtual machine is created with: a name, processors, memory, and a disk or a flist to start from.
    #[derive(Serialize)]
    pub secret struct MachineArguments {
        /// Its name.
        name: String = "name";
        /// How many processors it has.
        cpu: u32 = "cpu";
        /// Its memory in bytes, a multiple of a MiB.
        #[serde(rename = "memory", serialize_with = "in_mebibytes")]
        memory_bytes: u64 = "memory" in mebibytes;
        /// Its disks; it starts from the first.
        #[serde(skip_serializing_if = "plain")]
        media: Vec<Media> = "media";
        /// URL of the flist that its files come from.
        #[serde(skip_serializing_if = "plain")]
        flist: String = "flist";
        /// Its network interfaces.
        #[serde(skip_serializing_if = "plain")]
        nics: Vec<MachineNic> = "nics";
        /// Ports of the node, as in [`PortForward::host_port`](super::PortForward::host_port), and where they lead.
        #[serde(skip_serializing_if = "plain")]
        port: BTreeMap<String, u16> = "port";
        /// Directories of the node that it sees.
        #[serde(skip_serializing_if = "plain")]
        mount: Vec<MachineMount> = "mount";
        /// Files that are written over those of its flist: path and text.
        #[serde(skip_serializing_if = "plain")]
        config: BTreeMap<String, String> = "config";
        /// Where the contents of the flist's files come from; the node's own place when empty.
        #[serde(skip_serializing_if = "plain")]
        storage: String = "storage";
        /// Command line of its kernel.
        #[serde(skip_serializing_if = "plain")]
        cmdline: String = "cmdline";
        /// Whether machines share the cache of their flists.
        #[serde(skip_serializing_if = "plain")]
        share_cache: bool = "share_cache";
        /// Whether it may have virtual machines itself.
        #[serde(skip_serializing_if = "plain")]
        kvm: bool = "kvm";
        /// Its tags, which go with the command itself.
        #[serde(skip_serializing)]
        tags: Vec<String> = "tags" in tags;
    }
}

/// Without what may hold a password: addresses, files, the kernel's command line, tags.
impl fmt::Debug for MachineArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineArguments")
            .field("name", &self.name)
            .field("cpu", &self.cpu)
            .field("memory_bytes", &self.memory_bytes)
            .field("media", &self.media.len())
            .field("nics", &self.nics.len())
            .field("port", &self.port)
            .field("mount", &self.mount.len())
            .field("config", &self.config.keys())
            .field("share_cache", &self.share_cache)
            .field("kvm", &self.kvm)
            .finish_non_exhaustive()
    }
}

impl MachineArguments {
    /// A machine with this name, so many processors, and so much memory in bytes.
    pub fn new(name: impl Into<String>, cpu: u32, memory_bytes: u64) -> Self {
        MachineArguments { name: name.into(), cpu, memory_bytes, ..MachineArguments::default() }
    }
}

/// Nodes count MiB; what is no multiple of one is rounded up, so that there is never less.
fn in_mebibytes<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(bytes.div_ceil(1024 * 1024))
}

words! {
    /// What a medium is.
    pub enum MediaType {
        /// A disk.
        Disk = "disk",
        /// A CD-ROM.
        CdRom = "cdrom",
    }
}

words! {
    /// How a medium is attached.
    pub enum BusType {
        /// As a device for virtual machines.
        Virtio = "virtio",
        /// As a disk of old.
        Ide = "ide",
        /// As a disk.
        Sata = "sata",
        /// As a disk of SCSI.
        Scsi = "scsi",
        /// As a disk of USB.
        Usb = "usb",
    }
}

record! {
    /// A disk or CD-ROM.
    #[derive(Serialize)]
    pub struct Media {
        /// Where its content is: a path of the node, or `nbd://…`.
        url: String = "url";
        /// What it is; a disk when empty.
        #[serde(rename = "type", skip_serializing_if = "plain")]
        kind: MediaType = "type";
        /// How it is attached; for virtual machines when empty.
        #[serde(skip_serializing_if = "plain")]
        bus: BusType = "bus";
        /// How fast it may be used, as nodes repeat it: JSON. Set it by
        /// [`Machines::limit_disk`](super::Machines::limit_disk).
        #[serde(skip_serializing)]
        iotune: String = "iotune" in json_text;
    }
}

impl Media {
    /// A disk with this content.
    pub fn disk(url: impl Into<String>) -> Self {
        Media { url: url.into(), kind: MediaType::Disk, ..Media::default() }
    }
}

words! {
    /// What an interface of a virtual machine is connected to.
    pub enum MachineNicType {
        /// The node's own bridge, with NAT: 172.19.0.0/16.
        Default = "default",
        /// A bridge, by name.
        Bridge = "bridge",
        /// A VLAN, by its tag.
        Vlan = "vlan",
        /// A VXLAN, by its number.
        Vxlan = "vxlan",
    }
}

record! {
    /// A network interface of a virtual machine.
    #[derive(Serialize)]
    pub struct MachineNic {
        /// What it is connected to.
        #[serde(rename = "type")]
        kind: MachineNicType = "type";
        /// Which bridge, tag or number; nothing for [`MachineNicType::Default`].
        #[serde(skip_serializing_if = "plain")]
        id: String = "id";
        /// Its hardware address; the node chooses one when empty.
        #[serde(skip_serializing_if = "plain")]
        hwaddr: String = "hwaddr";
    }
}

impl MachineNic {
    /// An interface of this type, connected to this.
    pub fn new(kind: MachineNicType, id: impl Into<String>) -> Self {
        MachineNic { kind, id: id.into(), hwaddr: String::new() }
    }

    pub(super) fn of(&self, uuid: &str) -> Value {
        let mut arguments = json!(self);
        if let Some(members) = arguments.as_object_mut() {
            members.insert("uuid".to_owned(), json!(uuid));
        }
        arguments
    }
}

record! {
    /// A directory of the node that a virtual machine sees.
    #[derive(Serialize)]
    pub struct MachineMount {
        /// The node's directory.
        source: String = "source";
        /// Its name in the machine; `root` is taken.
        target: String = "target";
        /// Whether nobody there may write to it.
        #[serde(skip_serializing_if = "plain")]
        readonly: bool = "readonly";
    }
}

/// The network of a virtual machine that comes from another node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MigrationTarget {
    /// Its unique id.
    pub uuid: String,
    /// Its network interfaces.
    #[serde(skip_serializing_if = "plain")]
    pub nics: Vec<MachineNic>,
    /// Ports of the node, and where they lead.
    #[serde(skip_serializing_if = "plain")]
    pub port: BTreeMap<String, u16>,
    /// Its tags.
    #[serde(skip_serializing_if = "plain")]
    pub tags: Vec<String>,
}

/// An image to write in another format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ConvertImage {
    /// The image, a path of the node.
    pub input_file: String,
    /// Where it is written, a path of the node.
    pub output_file: String,
    /// `raw`, `qcow2` …
    pub output_format: String,
}
