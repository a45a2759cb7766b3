//! `disk.*`: disks and partitions, by the programs that the node has for them.

mod devices;
mod health;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::arguments::{Kind, Shape, UINT};
use super::{Answer, Failure, errors, tool};

const INFO: Shape = Shape { go: "builtin.diskInfo", fields: &[("disk", Kind::Text), ("part", Kind::Text)] };
const DISK: Shape = Shape { go: r#"struct { Disk string "json:\"disk\"" }"#, fields: &[("disk", Kind::Text)] };
const DEVICE: Shape = Shape { go: r#"struct { Device string "json:\"device\"" }"#, fields: &[("device", Kind::Text)] };
const PARTUUID: Shape =
    Shape { go: r#"struct { Partuuid string "json:\"partuuid\"" }"#, fields: &[("partuuid", Kind::Text)] };
const SPINDOWN: Shape = Shape {
    go: r#"struct { Disk string "json:\"disk\""; Spindown uint "json:\"spindown\"" }"#,
    fields: &[("disk", Kind::Text), ("spindown", UINT)],
};

/// The commands of this group; `None` for any other name.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
    let value = |result: Result<Value, Failure>| result.map(Answer::Value);
    Some(match command {
        "disk.list" => value(devices::list()),
        "disk.getinfo" => value(
            INFO.decode(arguments, 500)
                .and_then(|arguments| devices::one(arguments.text("disk"), arguments.text("part"))),
        ),
        "disk.mounts" => value(mounts()),
        "disk.mktable" => program("parted", &["-s", "/dev/{disk}", "mktable", "{table_type}"], arguments),
        "disk.mkpart" => {
            program("parted", &["-s", "/dev/{disk}", "mkpart", "{part_type}", "{start}", "{end}"], arguments)
        }
        "disk.rmpart" => program("parted", &["-s", "/dev/{disk}", "rm", "{number}"], arguments),
        "disk.mount" => program("mount", &["-o", "{options}", "{source}", "{target}"], arguments),
        "disk.umount" => program("umount", &["{source}"], arguments),
        "disk.smartctl-info" => value(DEVICE.decode(arguments, 500).and_then(|arguments| {
            tool::needed("smartctl", &["-i", arguments.text("device")])
                .and_then(|output| health::describe(&output.stdout))
        })),
        "disk.smartctl-health" => value(DEVICE.decode(arguments, 500).and_then(|arguments| {
            let output = tool::needed("smartctl", &["-H", arguments.text("device")])?;
            Ok(json!({"passed": output.stdout.contains("PASSED")}))
        })),
        "disk.spindown" => value(SPINDOWN.decode(arguments, 500).and_then(|arguments| {
            let (disk, spindown) = (existing(arguments.text("disk"))?, arguments.whole("spindown"));
            if spindown > 240 {
                return Err(Failure::new(400, format!("spindown {spindown} out of range 1 - 240")));
            }
            tool::needed("hdparm", &["-S", &spindown.to_string(), disk]).map(|_| Value::Null)
        })),
        "disk.isstandby" => value(DISK.decode(arguments, 500).and_then(|arguments| {
            let output = tool::needed("hdparm", &["-C", existing(arguments.text("disk"))?])?;
            health::standby(&output.stdout).map(Value::Bool)
        })),
        "disk.seektime" => value(DISK.decode(arguments, 400).and_then(|arguments| {
            let device = devices::device(arguments.text("disk"))?;
            let output = tool::needed("seektime", &["-j", &format!("/dev/{device}")])?;
            serde_json::from_str(&output.stdout).map_err(|error| Failure::new(500, error.to_string()))
        })),
        "disk.protect" => {
            value(PARTUUID.decode(arguments, 500).and_then(|arguments| protect(arguments.text("partuuid"))))
        }
        _ => return None,
    })
}

fn existing(disk: &str) -> Result<&str, Failure> {
    if Path::new(disk).exists() { Ok(disk) } else { Err(Failure::new(400, format!("disk doesn't exist: {disk}"))) }
}

/// A program whose options have the arguments in them. The node fills in whatever there is, and leaves the name of an
/// argument that is not.
fn program(program: &str, options: &[&str], arguments: &Value) -> Result<Answer, Failure> {
    let members = arguments.as_object().cloned().unwrap_or_default();
    let options: Vec<String> = options.iter().map(|option| filled(option, &members)).collect();
    tool::itself(program, &options)
}

fn filled(option: &str, members: &Map<String, Value>) -> String {
    members.iter().fold(option.to_owned(), |option, (name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        option.replace(&format!("{{{name}}}"), &text)
    })
}

/// What is mounted, by the device.
fn mounts() -> Result<Value, Failure> {
    let text = errors::read("/proc/mounts")?;
    let mut devices: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let [device, mountpoint, kind, options, ..] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let option = |option: &str| {
            let mut parts = option.split('=');
            (parts.next().unwrap_or_default().to_owned(), Value::from(parts.next().unwrap_or("1")))
        };
        let options: Map<String, Value> = options.split(',').map(option).collect();
        devices
            .entry(device)
            .or_default()
            .push(json!({"mountpoint": mountpoint, "filesystem": kind, "options": options}));
    }
    Ok(json!(devices))
}

/// Makes a partition and its disk read-only.
fn protect(partuuid: &str) -> Result<Value, Failure> {
    if partuuid.is_empty() {
        return Err(Failure::new(500, "partuuid is required"));
    }
    let disks = devices::list()?;
    for disk in disks.as_array().into_iter().flatten() {
        for part in disk["children"].as_array().into_iter().flatten().filter(|part| part["partuuid"] == partuuid) {
            for device in [part, disk] {
                let path = format!("/dev/{}", device["name"].as_str().unwrap_or_default());
                tool::needed("blockdev", &["--setro", &path])?;
            }
        }
    }
    Ok(Value::Null)
}
