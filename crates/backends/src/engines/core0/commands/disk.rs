//! Disks and partitions of a node: `disk.*`, section 12.7 of the reference.
//!
//! G1 and G2 wrap the list of disks in an object, and write all numbers as text, as `lsblk` does, which G3 does for most:
//! both are read. Names are those of `/dev` or whole paths of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Value, json};

use roadstead_core::{Error, ErrorKind, Result};

use super::job::json_text;
use super::reading::{Named, Read, member, record};
use super::{Commands, MINUTES};

/// `disk.*`.
#[derive(Clone, Copy, Debug)]
pub struct Disks<'a>(pub(super) &'a Commands);

record! {
    /// A disk, a partition, or what lies on one.
    pub struct Device {
        /// Its name, for example `sda1`.
        name: String = "name";
        /// The kernel's own name.
        kernel_name: String = "kname";
        /// Major and minor number, for example `8:1`.
        numbers: String = "maj:min";
        /// Its kind: `disk`, `part`, `loop` …
        kind: String = "type";
        /// Its size in bytes.
        size_bytes: u64 = "size" in size;
        /// Its first byte.
        start_bytes: u64 = "start" in size;
        /// Its last byte.
        end_bytes: u64 = "end" in size;
        /// Size of its blocks in bytes.
        block_bytes: u64 = "blocksize" in size;
        /// Its file system, empty when it has none.
        filesystem: String = "fstype";
        /// Where it is mounted, empty when nowhere.
        mount_point: String = "mountpoint";
        /// Label of its file system.
        label: String = "label";
        /// Unique id of its file system.
        uuid: String = "uuid";
        /// Label of the partition.
        partition_label: String = "partlabel";
        /// Unique id of the partition.
        partition_uuid: String = "partuuid";
        /// Kind of the partition, by its unique id or number.
        partition_type: String = "parttype";
        /// Kind of the partition table: `gpt`, `msdos`; empty when there is none.
        table: String = "table";
        /// What no partition uses.
        free: Vec<FreeSpace> = "free";
        /// Whether it is read-only.
        read_only: bool = "ro";
        /// Whether it is removable.
        removable: bool = "rm";
        /// Whether it may come and go; absent when not told.
        hotplug: Option<bool> = "hotplug";
        /// Whether it rotates; absent when not told.
        rotational: Option<bool> = "rota";
        /// Model in the maker's words.
        model: String = "model";
        /// Serial number.
        serial: String = "serial";
        /// Maker.
        vendor: String = "vendor";
        /// How it is attached: `sata`, `nvme`, `usb` …
        transport: String = "tran";
        /// Kernel name of what it lies on.
        parent: String = "pkname";
        /// What lies on it.
        children: Vec<Device> = "children";
    }
}

record! {
    /// What no partition uses.
    pub struct FreeSpace {
        /// Its first byte.
        start_bytes: u64 = "start" in size;
        /// Its last byte.
        end_bytes: u64 = "end" in size;
        /// Its size in bytes.
        size_bytes: u64 = "size" in size;
    }
}

record! {
    /// Where something is mounted.
    pub struct Mount {
        /// The directory.
        mount_point: String = "mountpoint";
        /// The kind of file system.
        filesystem: String = "filesystem";
        /// How: names with their values, `1` for those without.
        options: BTreeMap<String, String> = "options";
    }
}

record! {
    /// What a disk says about itself.
    pub struct SmartInfo {
        /// Its model.
        model: String = "model";
        /// Its serial number.
        serial_number: String = "serial_number";
        /// Its unique id.
        device_id: String = "device_id";
        /// Version of its firmware.
        firmware_version: String = "firmware_version";
        /// Its capacity, in its own words.
        user_capacity: String = "user_capacity";
        /// Sizes of its sectors, in its own words.
        sector_size: String = "sector_size";
        /// How fast it rotates, in its own words.
        rotation_rate: String = "rotation_rate";
        /// Whether it is in the tool's own list of disks, in words.
        device: String = "device";
        /// Its version of ATA.
        ata_version: String = "ata_version";
        /// Its version of SATA.
        sata_version: String = "sata_version";
        /// Whether it watches itself, in the tool's words.
        smart_support_available: String = "smart_support_available";
        /// Whether that is turned on, in the tool's words.
        smart_support_enabled: String = "smart_support_enabled";
    }
}

record! {
    /// Whether a disk finds itself healthy.
    pub struct SmartHealth {
        /// It does.
        passed: bool = "passed";
    }
}

/// A number of bytes; text may have a unit, as `lsblk` writes it: powers of 1024.
fn size(value: &Value) -> Option<u64> {
    if let Some(bytes) = u64::read(value) {
        return Some(bytes);
    }
    let text = value.as_str()?.trim().trim_end_matches(['B', 'i']);
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        _ => return None,
    };
    let number: f64 = number.trim().replace(',', ".").parse().ok().filter(|number: &f64| *number >= 0.0)?;
    u64::read(&json!(number * f64::from(2_u32).powi(shift)))
}

/// The disks of a node in either form.
struct Devices(Vec<Device>);

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let list = match &value {
            Value::Null => Some(Vec::new()),
            Value::Object(_) => Some(member(&value, &["blockdevices"], Vec::read)),
            list => Vec::read(list),
        };
        list.map(Devices).ok_or_else(|| D::Error::custom("it is no list of disks"))
    }
}

/// A partition to make, in the words of `parted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct PartitionArguments {
    /// The disk, by its name below `/dev`.
    pub disk: String,
    /// Where it begins, for example `1MiB`.
    pub start: String,
    /// Where it ends, for example `100%`.
    pub end: String,
    /// `primary`, `logical` or `extended`.
    pub part_type: String,
}

/// What to mount, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MountArguments {
    /// How; never empty: `auto` when nothing is asked for.
    pub options: String,
    /// The device.
    pub source: String,
    /// The directory.
    pub target: String,
}

impl Default for MountArguments {
    fn default() -> Self {
        MountArguments { options: "auto".to_owned(), source: String::new(), target: String::new() }
    }
}

impl MountArguments {
    /// This device, in this directory.
    pub fn new(source: impl Into<String>, target: impl Into<String>) -> Self {
        MountArguments { source: source.into(), target: target.into(), ..MountArguments::default() }
    }
}

/// What is there.
impl Disks<'_> {
    /// All disks and what lies on them: `disk.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn list(&self) -> Result<Vec<Device>> {
        self.0.call::<Devices>("disk.list", ()).await.map(|Devices(list)| list)
    }

    /// A disk, or one of its partitions: `disk.getinfo`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn get(&self, disk: &str, partition: Option<&str>) -> Result<Device> {
        self.0.call("disk.getinfo", json!({"disk": disk, "part": partition.unwrap_or_default()})).await
    }

    /// What is mounted, by device: `disk.mounts`.
    ///
    /// # Errors
    /// As every command.
    pub async fn mounts(&self) -> Result<BTreeMap<String, Vec<Mount>>> {
        self.0.call::<Named<Vec<Mount>>>("disk.mounts", ()).await.map(|Named(mounts)| mounts)
    }

    /// What a disk says about itself: `disk.smartctl-info`.
    ///
    /// # Errors
    /// As every command.
    pub async fn smart_info(&self, device: &str) -> Result<SmartInfo> {
        self.0.call("disk.smartctl-info", json!({"device": device})).await
    }

    /// Whether a disk finds itself healthy: `disk.smartctl-health`.
    ///
    /// # Errors
    /// As every command.
    pub async fn smart_health(&self, device: &str) -> Result<SmartHealth> {
        self.0.call("disk.smartctl-health", json!({"device": device})).await
    }

    /// Whether a disk stands still: `disk.isstandby`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn is_standby(&self, disk: &str) -> Result<bool> {
        self.0.ask("disk.isstandby", json!({"disk": disk})).await
    }

    /// What the tool that measures seeking says, JSON: `disk.seektime`. It may take two and a half minutes.
    ///
    /// # Errors
    /// As every command.
    pub async fn seek_time(&self, disk: &str) -> Result<String> {
        let found: Value = self.0.call_for(MINUTES, "disk.seektime", json!({"disk": disk})).await?;
        json_text(&found).ok_or_else(|| Error::new(ErrorKind::Unexpected, "the answer of disk.seektime is empty"))
    }
}

/// What changes. Without an answer in time, look before trying again.
impl Disks<'_> {
    /// Makes a partition table, `gpt` or `msdos`; what was on the disk is lost: `disk.mktable`.
    ///
    /// # Errors
    /// As every command; `Unexpected` with the tool's words.
    pub async fn make_table(&self, disk: &str, kind: &str) -> Result<()> {
        self.0.done_for(MINUTES, "disk.mktable", json!({"disk": disk, "table_type": kind})).await
    }

    /// Makes a partition: `disk.mkpart`.
    ///
    /// # Errors
    /// As [`Disks::make_table`].
    pub async fn make_partition(&self, partition: &PartitionArguments) -> Result<()> {
        self.0.done_for(MINUTES, "disk.mkpart", partition).await
    }

    /// Removes a partition, by its number: `disk.rmpart`.
    ///
    /// # Errors
    /// As [`Disks::make_table`].
    pub async fn remove_partition(&self, disk: &str, number: u32) -> Result<()> {
        self.0.done_for(MINUTES, "disk.rmpart", json!({"disk": disk, "number": number})).await
    }

    /// Mounts a device: `disk.mount`.
    ///
    /// # Errors
    /// As [`Disks::make_table`]; `InvalidInput` without options, which a node does not understand.
    pub async fn mount(&self, arguments: &MountArguments) -> Result<()> {
        if arguments.options.is_empty() {
            return Err(Error::invalid("options", "must not be empty; `auto` asks for nothing"));
        }
        self.0.done("disk.mount", arguments).await
    }

    /// Unmounts a device or directory: `disk.umount`.
    ///
    /// # Errors
    /// As [`Disks::make_table`].
    pub async fn unmount(&self, source: &str) -> Result<()> {
        self.0.done("disk.umount", json!({"source": source})).await
    }

    /// Lets a disk stand still after some time without use. The time is hdparm's, 1 to 240 times five seconds:
    /// `disk.spindown`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for less than five seconds and more than twenty minutes.
    pub async fn spin_down(&self, disk: &str, after: Duration) -> Result<()> {
        let steps = after.as_secs().div_ceil(5);
        if !(1..=240).contains(&steps) {
            return Err(Error::invalid("after", "must be 5 seconds to 20 minutes"));
        }
        self.0.done("disk.spindown", json!({"disk": disk, "spindown": steps})).await
    }

    /// Protects a partition from being written by the node itself, by its unique id: `disk.protect`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` without an id.
    pub async fn protect(&self, partition_uuid: &str) -> Result<()> {
        self.0.done("disk.protect", json!({"partuuid": partition_uuid})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_list_and_of_numbers() {
        let entry = json!({"name": "sda", "size": "512110190592", "rota": "0", "ro": "0", "rm": "1", "mountpoint": null,
            "children": [{"name": "sda1", "size": 1024, "start": "1048576", "free": null}]});
        for list in [json!([entry]), json!({"blockdevices": [entry]})] {
            let Devices(list) = serde_json::from_value(list).unwrap();
            let disk = &list[0];
            assert_eq!((disk.size_bytes, disk.rotational, disk.removable), (512_110_190_592, Some(false), true));
            assert_eq!((disk.children[0].start_bytes, disk.children[0].rotational), (1_048_576, None));
        }
        assert!(serde_json::from_value::<Devices>(json!(null)).unwrap().0.is_empty());
        assert_eq!(size(&json!("931.5G")), Some(1_000_190_509_056));
        assert_eq!((size(&json!("1,5K")), size(&json!("2MiB"))), (Some(1536), Some(2 << 20)));
        assert_eq!((size(&json!("x")), size(&json!("")), size(&json!("-1G"))), (None, None, None));
    }
}
