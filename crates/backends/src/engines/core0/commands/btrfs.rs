//! Btrfs file systems of a node: `btrfs.*`, section 12.7 of the reference, which knows the answers from the server's source.

use serde::Serialize;
use serde_json::json;

use roadstead_core::{Error, Result, names};

use super::reading::{record, words};
use super::{Commands, HOUR};

/// `btrfs.*`.
#[derive(Clone, Copy, Debug)]
pub struct Btrfs<'a>(pub(super) &'a Commands);

words! {
    /// How data is spread over devices.
    pub enum Profile {
        /// In stripes.
        Raid0 = "raid0",
        /// On two devices.
        Raid1 = "raid1",
        /// In stripes with one parity.
        Raid5 = "raid5",
        /// In stripes with two parities.
        Raid6 = "raid6",
        /// In stripes, on two devices each.
        Raid10 = "raid10",
        /// Twice on one device.
        Dup = "dup",
        /// Once.
        Single = "single",
    }
}

record! {
    /// A file system.
    pub struct BtrfsFilesystem {
        /// Its label.
        label: String = "label";
        /// Its unique id.
        uuid: String = "uuid";
        /// How many devices it has.
        total_devices: u32 = "total_devices";
        /// What is used, in bytes.
        used_bytes: u64 = "used";
        /// Its devices.
        devices: Vec<BtrfsDevice> = "devices";
        /// What the tool warns of.
        warnings: String = "warnings";
    }
}

record! {
    /// A device of a file system.
    pub struct BtrfsDevice {
        /// Whether it is missing.
        missing: bool = "missing";
        /// Its number in the file system.
        device_id: u64 = "dev_id";
        /// Its size in bytes.
        size_bytes: u64 = "size";
        /// What is used, in bytes.
        used_bytes: u64 = "used";
        /// Its path.
        path: String = "path";
    }
}

record! {
    /// A file system that is mounted.
    pub struct BtrfsInfo {
        /// Its label.
        label: String = "label";
        /// Its unique id.
        uuid: String = "uuid";
        /// How many devices it has.
        total_devices: u32 = "total_devices";
        /// What is used, in bytes.
        used_bytes: u64 = "used";
        /// Its devices.
        devices: Vec<BtrfsDevice> = "devices";
        /// What the tool warns of.
        warnings: String = "warnings";
        /// Room for data.
        data: Allocation = "data";
        /// Room for the tree of chunks.
        system: Allocation = "system";
        /// Room for all other trees.
        metadata: Allocation = "metadata";
        /// Room that is kept back.
        global_reserve: Allocation = "globalreserve";
    }
}

record! {
    /// Room of one kind.
    pub struct Allocation {
        /// How it is spread.
        profile: Profile = "profile";
        /// All of it, in bytes.
        total_bytes: u64 = "total";
        /// What is used of it, in bytes.
        used_bytes: u64 = "used";
    }
}

record! {
    /// A subvolume.
    pub struct Subvolume {
        /// Its id.
        id: u64 = "ID";
        /// Its generation.
        generation: u64 = "Gen";
        /// Id of the subvolume that it is in.
        top_level: u64 = "TopLevel";
        /// Its path in the file system.
        path: String = "Path";
        /// What it may hold, in bytes; 0 for no limit.
        quota_bytes: u64 = "Quota";
    }
}

/// A file system to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BtrfsArguments {
    /// Its label.
    pub label: String,
    /// How metadata is spread; as the tool sees fit when empty.
    pub metadata: Profile,
    /// How data is spread; as the tool sees fit when empty.
    pub data: Profile,
    /// Its devices, by path.
    pub devices: Vec<String>,
    /// Whether what is on them may be lost.
    pub overwrite: bool,
}

impl BtrfsArguments {
    /// A file system on these devices, if nothing is on them.
    pub fn new<S: Into<String>>(label: impl Into<String>, devices: impl IntoIterator<Item = S>) -> Self {
        let devices = devices.into_iter().map(Into::into).collect();
        BtrfsArguments { label: label.into(), devices, ..BtrfsArguments::default() }
    }
}

/// A snapshot to take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct SnapshotArguments {
    /// The subvolume, an absolute path.
    pub source: String,
    /// Where the snapshot goes, an absolute path.
    pub destination: String,
    /// Whether nobody may write to it.
    pub read_only: bool,
}

/// What a subvolume may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quota {
    /// So many bytes.
    Bytes(u64),
    /// As much as there is.
    None,
}

/// `btrfs.*`.
impl Btrfs<'_> {
    /// All file systems: `btrfs.list`.
    ///
    /// # Errors
    /// As every command; `NotFound` when the node has no tool for them.
    pub async fn list(&self) -> Result<Vec<BtrfsFilesystem>> {
        self.0.list("btrfs.list", ()).await
    }

    /// The file system that is mounted there: `btrfs.info`.
    ///
    /// # Errors
    /// As every command.
    pub async fn info(&self, mount_point: &str) -> Result<BtrfsInfo> {
        self.0.call("btrfs.info", json!({"mountpoint": mount_point})).await
    }

    /// Makes a file system: `btrfs.create`. It may take an hour.
    ///
    /// # Errors
    /// As every command; `InvalidInput` without devices.
    pub async fn create(&self, arguments: &BtrfsArguments) -> Result<()> {
        if arguments.devices.is_empty() {
            return Err(Error::invalid("devices", "must name a device"));
        }
        self.0.done_for(HOUR, "btrfs.create", arguments).await
    }

    /// Adds devices: `btrfs.device_add`. It may take an hour.
    ///
    /// # Errors
    /// As every command.
    pub async fn add_devices(&self, mount_point: &str, devices: &[String]) -> Result<()> {
        let arguments = json!({"mountpoint": mount_point, "devices": devices});
        self.0.done_for(HOUR, "btrfs.device_add", arguments).await
    }

    /// Removes devices, whose data is moved to the others before: `btrfs.device_remove`. It may take an hour.
    ///
    /// # Errors
    /// As every command.
    pub async fn remove_devices(&self, mount_point: &str, devices: &[String]) -> Result<()> {
        let arguments = json!({"mountpoint": mount_point, "devices": devices});
        self.0.done_for(HOUR, "btrfs.device_remove", arguments).await
    }

    /// Makes a subvolume: `btrfs.subvol_create`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for a path that is not absolute.
    pub async fn create_subvolume(&self, path: &str) -> Result<()> {
        names::absolute_path("path", path)?;
        self.0.done("btrfs.subvol_create", json!({"path": path})).await
    }

    /// Deletes a subvolume: `btrfs.subvol_delete`.
    ///
    /// # Errors
    /// As [`Btrfs::create_subvolume`].
    pub async fn delete_subvolume(&self, path: &str) -> Result<()> {
        names::absolute_path("path", path)?;
        self.0.done("btrfs.subvol_delete", json!({"path": path})).await
    }

    /// The subvolumes of a file system: `btrfs.subvol_list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn subvolumes(&self, path: &str) -> Result<Vec<Subvolume>> {
        self.0.list("btrfs.subvol_list", json!({"path": path})).await
    }

    /// Sets what a subvolume may hold: `btrfs.subvol_quota`.
    ///
    /// # Errors
    /// As every command.
    pub async fn set_quota(&self, path: &str, quota: Quota) -> Result<()> {
        let limit = match quota {
            Quota::Bytes(bytes) => bytes.to_string(),
            Quota::None => "none".to_owned(),
        };
        self.0.done("btrfs.subvol_quota", json!({"path": path, "limit": limit})).await
    }

    /// Takes a snapshot of a subvolume: `btrfs.subvol_snapshot`.
    ///
    /// # Errors
    /// As [`Btrfs::create_subvolume`].
    pub async fn snapshot(&self, arguments: &SnapshotArguments) -> Result<()> {
        names::absolute_path("source", &arguments.source)?;
        names::absolute_path("destination", &arguments.destination)?;
        self.0.done("btrfs.subvol_snapshot", arguments).await
    }
}
