//! `btrfs.*`, by the program of that name.

use serde_json::{Map, Value, json};

use super::arguments::{Kind, Shape, TEXTS};
use super::{Failure, tool};

const CREATE: Shape = Shape {
    go: "btrfs.CreateArgument",
    fields: &[
        ("label", Kind::Text),
        ("metadata", Kind::Text),
        ("data", Kind::Text),
        ("devices", TEXTS),
        ("overwrite", Kind::Flag),
    ],
};
const INFO: Shape = Shape { go: "btrfs.InfoArgument", fields: &[("mountpoint", Kind::Text)] };
const DEVICES: Shape =
    Shape { go: "btrfs.DeviceAddArgument", fields: &[("mountpoint", Kind::Text), ("devices", TEXTS)] };
const SUBVOLUME: Shape = Shape { go: "btrfs.SubvolArgument", fields: &[("path", Kind::Text)] };
const QUOTA: Shape = Shape { go: "btrfs.SubvolQuotaArgument", fields: &[("path", Kind::Text), ("limit", Kind::Text)] };
const SNAPSHOT: Shape = Shape {
    go: "btrfs.SnapshotArgument",
    fields: &[("source", Kind::Text), ("destination", Kind::Text), ("read_only", Kind::Flag)],
};
const PROFILES: [&str; 8] = ["raid0", "raid1", "raid5", "raid6", "raid10", "dup", "single", ""];

/// The commands of this group; `None` for any other name.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    let run = |options: &[&str]| tool::needed("btrfs", options).map(|_| Value::Null);
    let on_path = |verb: &'static str| {
        SUBVOLUME
            .decode(arguments, 500)
            .and_then(|arguments| run(&["subvolume", verb, absolute(arguments.text("path"))?]))
    };
    let on_devices = |options: &'static [&'static str]| {
        DEVICES.decode(arguments, 500).and_then(|arguments| {
            let devices = arguments.texts("devices");
            let devices = devices.iter().map(String::as_str).chain([arguments.text("mountpoint")]);
            run(&options.iter().copied().chain(devices).collect::<Vec<_>>())
        })
    };
    Some(match command {
        "btrfs.list" => list(None).map(Value::Array),
        "btrfs.info" => INFO.decode(arguments, 500).and_then(|arguments| info(arguments.text("mountpoint"))),
        "btrfs.create" => CREATE.decode(arguments, 500).and_then(|arguments| {
            let devices = arguments.texts("devices");
            if devices.is_empty() {
                return Err(Failure::new(500, "need to specify devices to create btrfs"));
            }
            let mut options: Vec<&str> = if arguments.flag("overwrite") { vec!["-f"] } else { Vec::new() };
            for (name, option) in [("label", "-L"), ("metadata", "-m"), ("data", "-d")] {
                let value = arguments.text(name);
                if name != "label" && !PROFILES.contains(&value) {
                    // The node prints the entry of its table in place of the profile.
                    return Err(Failure::new(500, format!("invalid {name} profile:{{}}")));
                }
                if !value.is_empty() {
                    options.extend([option, value]);
                }
            }
            options.extend(devices.iter().map(String::as_str));
            tool::needed("mkfs.btrfs", &options).map(|_| Value::Null)
        }),
        "btrfs.device_add" => on_devices(&["device", "add", "-K", "-f"]),
        "btrfs.device_remove" => on_devices(&["device", "remove"]),
        "btrfs.subvol_create" => on_path("create"),
        "btrfs.subvol_delete" => on_path("delete"),
        "btrfs.subvol_list" => {
            SUBVOLUME.decode(arguments, 500).and_then(|arguments| subvolumes(absolute(arguments.text("path"))?))
        }
        "btrfs.subvol_quota" => QUOTA.decode(arguments, 500).and_then(|arguments| {
            let path = absolute(arguments.text("path"))?;
            run(&["quota", "enable", path])?;
            run(&["qgroup", "limit", arguments.text("limit"), path])
        }),
        "btrfs.subvol_snapshot" => SNAPSHOT.decode(arguments, 500).and_then(|arguments| {
            let mut options = vec!["subvolume", "snapshot"];
            if arguments.flag("read_only") {
                options.push("-r");
            }
            options.extend([arguments.text("source"), arguments.text("destination")]);
            run(&options)
        }),
        _ => return None,
    })
}

fn absolute(path: &str) -> Result<&str, Failure> {
    if path.starts_with('/') { Ok(path) } else { Err(Failure::new(500, format!("invalid path={path}"))) }
}

fn list(mountpoint: Option<&str>) -> Result<Vec<Value>, Failure> {
    let options: Vec<&str> = ["filesystem", "show", "--raw"].into_iter().chain(mountpoint).collect();
    let printed = tool::needed("btrfs", &options)?.stdout;
    Ok(printed.split("\n\n").filter_map(filesystem).collect())
}

/// One block of `btrfs filesystem show`; lines before the label are warnings of the program, those with stars its own.
fn filesystem(block: &str) -> Option<Value> {
    let mut lines = block.get(block.find("Label:")?..)?.lines().map(str::trim);
    let (label, uuid) = lines.next()?.strip_prefix("Label:")?.split_once("uuid:")?;
    let count = lines.next()?;
    let mut count = count.strip_prefix("Total devices ")?.split(" FS bytes used ");
    let (total, used) = (count.next()?.trim().parse::<i64>().ok()?, count.next()?.trim().parse::<i64>().ok()?);
    let (mut devices, mut warnings) = (Vec::new(), String::new());
    for line in lines {
        if line.starts_with("**") {
            warnings += line;
        } else if let ["devid", id, "size", size, "used", used, "path", path, ..] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        {
            let number = |text: &str| text.parse::<i64>().unwrap_or(0);
            let mut device = json!({"dev_id": number(id), "size": number(size), "used": number(used), "path": path});
            if line.ends_with("MISSING") {
                device["missing"] = true.into();
            }
            devices.push(device);
        }
    }
    Some(json!({
        "label": label.trim().trim_matches('\''), "uuid": uuid.trim(), "total_devices": total, "used": used,
        "devices": devices, "warnings": warnings,
    }))
}

fn info(mountpoint: &str) -> Result<Value, Failure> {
    let Some(mut found) = list(Some(mountpoint))?.into_iter().next() else {
        return Err(Failure::new(500, "runtime error: index out of range [0] with length 0"));
    };
    let printed = tool::needed("btrfs", &["filesystem", "df", "--raw", mountpoint])?.stdout;
    for name in ["Data", "System", "Metadata", "GlobalReserve"] {
        let usage = printed.lines().find_map(|line| usage(line, name));
        found[name.to_lowercase()] = usage.unwrap_or_else(|| json!({"profile": "", "total": 0, "used": 0}));
    }
    Ok(found)
}

/// A line such as `Data, single: total=8388608, used=65536`.
fn usage(line: &str, name: &str) -> Option<Value> {
    let (profile, numbers) = line.strip_prefix(name)?.strip_prefix(", ")?.split_once(": total=")?;
    let (total, used) = numbers.split_once(", used=")?;
    Some(json!({"profile": profile, "total": total.parse::<i64>().ok()?, "used": used.trim().parse::<i64>().ok()?}))
}

fn subvolumes(path: &str) -> Result<Value, Failure> {
    let printed = tool::needed("btrfs", &["subvolume", "list", "-o", path])?.stdout;
    // There are no quota groups before the first quota.
    let groups = tool::needed("btrfs", &["qgroup", "show", "-re", "--raw", path]).map(|output| output.stdout);
    let quotas = groups.map(|printed| quotas(&printed)).unwrap_or_default();
    let volume = |line: &str| {
        let ["ID", id, "gen", generation, "top", "level", top, "path", path, ..] =
            line.split_whitespace().collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let number = |text: &str| text.parse::<i64>().ok();
        let quota = quotas.get(&format!("0/{id}")).cloned().unwrap_or_else(|| 0.into());
        Some(
            json!({"ID": number(id)?, "Gen": number(generation)?, "TopLevel": number(top)?, "Path": path, "Quota": quota}),
        )
    };
    Ok(printed.lines().filter_map(volume).collect())
}

/// The limit of each quota group; `none` is 0.
fn quotas(printed: &str) -> Map<String, Value> {
    let quota = |line: &str| {
        let mut words = line.split_whitespace();
        let id = words.next().filter(|id| id.contains('/'))?.to_owned();
        Some((id, words.nth(2)?.parse::<u64>().unwrap_or(0).into()))
    };
    printed.lines().filter_map(quota).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_prints_is_read() {
        let block = "Label: 'data'  uuid: 1f0a5c9e-0000-4000-8000-000000000000\n\tTotal devices 2 FS bytes used 114688\n\
                     \tdevid    1 size 268435456 used 8388608 path /dev/loop0\n\t*** Some devices missing\n";
        let found = filesystem(block).expect("read");
        assert_eq!(
            (&found["label"], &found["total_devices"], &found["used"]),
            (&json!("data"), &json!(2), &json!(114_688))
        );
        assert_eq!(found["devices"][0]["path"], "/dev/loop0");
        assert_eq!(found["warnings"], "*** Some devices missing");
        assert_eq!(
            usage("Data, single: total=8388608, used=65536", "Data"),
            Some(json!({"profile": "single", "total": 8_388_608, "used": 65536}))
        );
        assert_eq!(quotas("0/257 16384 16384 10485760 none\n").get("0/257"), Some(&json!(10_485_760)));
    }
}
