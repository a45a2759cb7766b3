//! Disks and partitions as `lsblk` tells of them, with the numbers of the kernel and the table as `parted` prints it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::sys::stat::{major, minor};
use serde_json::{Map, Value, json};

use crate::core0::builtins::{Failure, errors, tool};

/// Members that are strings always; in all others null is a value.
const TEXTS: [&str; 29] = [
    "name",
    "kname",
    "maj:min",
    "ra",
    "ro",
    "rm",
    "hotplug",
    "model",
    "serial",
    "owner",
    "group",
    "mode",
    "alignment",
    "min-io",
    "opt-io",
    "phy-sec",
    "log-sec",
    "rota",
    "rq-size",
    "type",
    "disc-aln",
    "disc-gran",
    "disc-max",
    "disc-zero",
    "wsame",
    "rand",
    "tran",
    "subsystems",
    "size",
];
const OTHERS: [&str; 14] = [
    "fstype",
    "mountpoint",
    "label",
    "uuid",
    "parttype",
    "partlabel",
    "partuuid",
    "partflags",
    "state",
    "sched",
    "wwn",
    "pkname",
    "hctl",
    "rev",
];

/// All disks with their partitions, but for memory and floppy disks.
pub(super) fn list() -> Result<Value, Failure> {
    let disks = blocks(&["--json", "--output-all", "--bytes", "--exclude", "1,2"])?;
    disks.iter().map(|disk| entry(disk, None)).collect()
}

/// One disk, or one partition of it.
pub(super) fn one(disk: &str, part: &str) -> Result<Value, Failure> {
    let disk = device(disk)?;
    let (name, parent) = if part.is_empty() { (disk, None) } else { (device(part)?, Some(disk)) };
    let path = format!("/dev/{name}");
    let found = blocks(&["-O", "-J", "-b", &path])?;
    let found = found.first().ok_or_else(|| Failure::new(500, format!("no device with the name {path}")))?;
    entry(found, parent.as_deref())
}

/// The kernel's name of a block device, given by any path or by its name below `/dev`.
pub(super) fn device(device: &str) -> Result<String, Failure> {
    let path = if device.starts_with('/') { device.to_owned() } else { format!("/dev/{device}") };
    let found = fs::metadata(&path).map_err(errors::at("stat", &path))?;
    if !found.file_type().is_block_device() {
        return Err(Failure::new(500, format!("{path}: not a block device")));
    }
    let event = errors::read(format!("/sys/dev/block/{}:{}/uevent", major(found.rdev()), minor(found.rdev())))?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map(str::to_owned).ok_or_else(|| Failure::new(500, "malformed uevent file"))
}

fn blocks(options: &[&str]) -> Result<Vec<Value>, Failure> {
    let output = tool::needed("lsblk", options)?;
    let mut printed: Value =
        serde_json::from_str(&output.stdout).map_err(|error| Failure::new(500, error.to_string()))?;
    Ok(printed["blockdevices"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

fn entry(block: &Value, parent: Option<&str>) -> Result<Value, Failure> {
    let mut entry = Map::new();
    for name in TEXTS {
        entry.insert(name.to_owned(), text(&block[name]).unwrap_or_default().into());
    }
    for name in OTHERS.iter().chain(&["vendor"]) {
        entry.insert((*name).to_owned(), text(&block[*name]).map_or(Value::Null, Value::from));
    }
    let name = text(&block["kname"]).unwrap_or_default();
    // The kernel counts sectors of 512 bytes whatever the device has; the node multiplies by what it has.
    let disk = parent.unwrap_or(&name);
    let size_of_block = number(&format!("/sys/block/{disk}/queue/logical_block_size"))?;
    let directory = parent.map_or_else(|| format!("/sys/block/{name}"), |parent| format!("/sys/block/{parent}/{name}"));
    let size = number(&format!("{directory}/size"))? * size_of_block;
    let start = if parent.is_some() { number(&format!("{directory}/start"))? * size_of_block } else { 0 };
    let (table, free) = if parent.is_some() { (String::new(), Vec::new()) } else { table(&name)? };
    entry.insert("start".to_owned(), start.into());
    entry.insert("end".to_owned(), (start + size).wrapping_sub(1).into());
    entry.insert("size".to_owned(), size.into());
    entry.insert("blocksize".to_owned(), size_of_block.into());
    entry.insert("table".to_owned(), table.into());
    entry.insert("free".to_owned(), free.into());
    if let Some(children) = block["children"].as_array() {
        let parts = children.iter().filter(|child| child["type"] == "part");
        let parts: Result<Vec<Value>, Failure> = parts.map(|child| self::entry(child, Some(&name))).collect();
        entry.insert("children".to_owned(), parts?.into());
    }
    Ok(entry.into())
}

/// As an `lsblk` of that time printed values: all in quotes, and truth as 1 or 0.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(u8::from(*truth).to_string()),
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn number(path: &str) -> Result<u64, Failure> {
    errors::read(path)?.trim().parse().map_err(|_| Failure::new(500, "expected integer"))
}

/// The kind of table, and what is free. A disk without a table has neither.
fn table(name: &str) -> Result<(String, Vec<Value>), Failure> {
    let printed = match tool::needed("parted", &["-s", &format!("/dev/{name}"), "unit", "B", "print", "free"]) {
        Ok(output) => output.stdout,
        Err(failure) if failure.code == 404 => return Err(failure),
        Err(_) => String::new(),
    };
    Ok((parse_table(&printed), parse_free(&printed)))
}

fn parse_table(printed: &str) -> String {
    printed.lines().find_map(|line| line.strip_prefix("Partition Table: ")).unwrap_or_default().trim().to_owned()
}

fn parse_free(printed: &str) -> Vec<Value> {
    let bytes = |word: &str| word.strip_suffix('B')?.parse::<u64>().ok();
    let free = |line: &str| {
        let mut words = line.trim().strip_suffix("Free Space")?.split_whitespace();
        let (start, end, size) = (bytes(words.next()?)?, bytes(words.next()?)?, bytes(words.next()?)?);
        words.next().is_none().then(|| json!({"start": start, "end": end, "size": size}))
    };
    printed.lines().filter_map(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_what_is_free_are_read() {
        let printed = "Disk /dev/sda: 1073741824B\nPartition Table: gpt\n\nNumber  Start  End  Size  File system  Name\n        \
                       17408B  1048575B  1031168B  Free Space\n 1      1048576B  536870911B  535822336B  ext4\n        \
                       536870912B  1073724927B  536854016B  Free Space\n";
        assert_eq!(parse_table(printed), "gpt");
        let free = parse_free(printed);
        assert_eq!(free.len(), 2);
        assert_eq!(free[0], json!({"start": 17408, "end": 1_048_575, "size": 1_031_168}));
    }

    #[test]
    fn values_are_text() {
        assert_eq!(text(&json!(true)).as_deref(), Some("1"));
        assert_eq!(text(&json!(512)).as_deref(), Some("512"));
        assert_eq!(text(&Value::Null), None);
    }
}
