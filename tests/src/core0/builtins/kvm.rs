//! `kvm.*`: what the node says before it asks libvirt, and what it says when libvirt is not there. This machine has none, so
//! nothing goes further.

use serde_json::{Value, json};

use super::arguments::{Arguments, INT, Kind, Shape, TEXTS, UINT64};
use super::{Failure, tool};

const UUID: Shape = Shape { go: "kvm.DomainUUID", fields: &[("uuid", Kind::Text)] };
const GET: Shape = Shape {
    go: r#"struct { Name string "json:\"name\""; UUID string "json:\"uuid\"" }"#,
    fields: &[("name", Kind::Text), ("uuid", Kind::Text)],
};
const NIC: Shape = Shape { go: "kvm.Nic", fields: &[("type", Kind::Text), ("id", Kind::Text), ("hwaddr", Kind::Text)] };
const MOUNT: Shape =
    Shape { go: "kvm.Mount", fields: &[("source", Kind::Text), ("target", Kind::Text), ("readonly", Kind::Flag)] };
const MEDIA: Shape = Shape {
    go: "kvm.Media",
    fields: &[
        ("url", Kind::Text),
        ("type", Kind::Named("kvm.DiskDeviceType")),
        ("bus", Kind::Text),
        ("iotune", Kind::Any),
    ],
};
const CREATE: Shape = Shape {
    go: "kvm.CreateParams",
    fields: &[
        ("nics", Kind::List(&Kind::Object(&NIC))),
        ("port", Kind::Table(&INT)),
        ("name", Kind::Text),
        ("cpu", INT),
        ("memory", INT),
        ("flist", Kind::Text),
        ("share_cache", Kind::Flag),
        ("cmdline", Kind::Text),
        ("mount", Kind::List(&Kind::Object(&MOUNT))),
        ("media", Kind::List(&Kind::Object(&MEDIA))),
        ("config", Kind::Table(&Kind::Text)),
        ("tags", TEXTS),
        ("storage", Kind::Text),
        ("kvm", Kind::Flag),
    ],
};
const MIGRATION_TARGET: Shape = Shape {
    go: "kvm.MigrateTargetParams",
    fields: &[("nics", Kind::List(&Kind::Object(&NIC))), ("port", Kind::Table(&INT)), ("uuid", Kind::Text)],
};
const DISK: Shape = Shape { go: "kvm.ManDiskParams", fields: &[("uuid", Kind::Text), ("media", Kind::Object(&MEDIA))] };
const MACHINE_NIC: Shape = Shape {
    go: "kvm.ManNicParams",
    fields: &[("type", Kind::Text), ("id", Kind::Text), ("hwaddr", Kind::Text), ("uuid", Kind::Text)],
};
const LIMIT: Shape = Shape {
    go: "kvm.LimitDiskIOParams",
    fields: &[
        ("uuid", Kind::Text),
        ("media", Kind::Object(&MEDIA)),
        ("totalbytessecset", Kind::Flag),
        ("totalbytessec", UINT64),
        ("readbytessecset", Kind::Flag),
        ("readbytessec", UINT64),
        ("writebytessecset", Kind::Flag),
        ("writebytessec", UINT64),
        ("totaliopssecset", Kind::Flag),
        ("totaliopssec", UINT64),
        ("readiopssecset", Kind::Flag),
        ("readiopssec", UINT64),
        ("writeiopssecset", Kind::Flag),
        ("writeiopssec", UINT64),
        ("groupnameset", Kind::Flag),
        ("groupname", Kind::Text),
    ],
};
const MIGRATE: Shape = Shape { go: "kvm.MigrateParams", fields: &[("uuid", Kind::Text), ("desturi", Kind::Text)] };
const FORWARD: Shape = Shape {
    go: "kvm.kvmPortForward",
    fields: &[("uuid", Kind::Text), ("container_port", INT), ("host_port", Kind::Text)],
};
const IMAGE: Shape = Shape {
    go: r#"struct { FileName string "json:\"file_name\""; Format string "json:\"format\""; Size string "json:\"size\"" }"#,
    fields: &[("file_name", Kind::Text), ("format", Kind::Text), ("size", Kind::Text)],
};
const CONVERT: Shape = Shape {
    go: r#"struct { InputFile string "json:\"input_file\""; OutputFile string "json:\"output_file\""; OutputFormat string "json:\"output_format\"" }"#,
    fields: &[("input_file", Kind::Text), ("output_file", Kind::Text), ("output_format", Kind::Text)],
};
/// The bridge of virtual machines.
const BRIDGE: &str = "kvm0";
/// Where libvirt would listen.
const SOCKET: &str = "/var/run/libvirt/libvirt-sock";

/// The commands of this group; `None` for any other name. `kvm.events` is not here: it has no end.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    let asked = |shape: &'static Shape| shape.decode(arguments, 500).and_then(|_| libvirt());
    Some(match command {
        "kvm.create" => CREATE.decode(arguments, 500).and_then(|arguments| {
            bootable(&arguments)?;
            libvirt()
        }),
        "kvm.prepare_migration_target" => MIGRATION_TARGET.decode(arguments, 500).and_then(|arguments| {
            nics(&arguments)?;
            libvirt()
        }),
        "kvm.get" => GET.decode(arguments, 500).and_then(|arguments| {
            if arguments.text("name").is_empty() == arguments.text("uuid").is_empty() {
                return Err(Failure::new(500, "Must supply either Name or UUID"));
            }
            libvirt()
        }),
        "kvm.list" | "kvm.monitor" => libvirt(),
        "kvm.destroy" | "kvm.shutdown" | "kvm.reboot" | "kvm.reset" | "kvm.pause" | "kvm.resume" | "kvm.info" => {
            asked(&UUID)
        }
        // Statistics of the node under the machine's name; there are none of one that never was.
        "kvm.infops" => UUID.decode(arguments, 500).map(|_| json!({})),
        "kvm.attach_disk" | "kvm.detach_disk" => asked(&DISK),
        "kvm.add_nic" | "kvm.remove_nic" => asked(&MACHINE_NIC),
        "kvm.limit_disk_io" => asked(&LIMIT),
        "kvm.migrate" => asked(&MIGRATE),
        "kvm.portforward-add" | "kvm.portforward-remove" => asked(&FORWARD),
        "kvm.create-image" => IMAGE.decode(arguments, 500).and_then(|arguments| {
            let [format, file, size] = ["format", "file_name", "size"].map(|name| arguments.text(name));
            tool::needed("qemu-img", &["create", "-f", format, file, size]).map(|_| Value::Null)
        }),
        "kvm.convert-image" => CONVERT.decode(arguments, 500).and_then(|arguments| {
            let [format, input, output] =
                ["output_format", "input_file", "output_file"].map(|name| arguments.text(name));
            tool::needed("qemu-img", &["convert", "-O", format, input, output]).map(|_| Value::Null)
        }),
        _ => return None,
    })
}

/// The connection that every machine needs.
fn libvirt() -> Result<Value, Failure> {
    let refused = match std::os::unix::net::UnixStream::connect(SOCKET) {
        Ok(_) => "no connection driver available for qemu:///system".to_owned(),
        Err(error) => {
            let text = error.to_string();
            format!("Failed to connect socket to '{SOCKET}': {}", text.split(" (os error").next().unwrap_or_default())
        }
    };
    Err(Failure::new(500, format!("virError(Code=38, Domain=7, Message='{refused}')")))
}

fn bootable(arguments: &Arguments) -> Result<(), Failure> {
    nics(arguments)?;
    if arguments.list("media").is_empty() && arguments.text("flist").is_empty() {
        return Err(Failure::new(500, "At least one boot media has to be provided (via media or an flist)"));
    }
    for (member, name) in [("cpu", "CPU"), ("memory", "Memory")] {
        if arguments.whole(member) == 0 {
            return Err(Failure::new(500, format!("{name} is a required parameter")));
        }
    }
    let reserved = |mount: &&Value| matches!(mount["target"].as_str(), Some("root" | "zoscache"));
    match arguments.list("mount").iter().find(reserved) {
        Some(mount) => {
            let target = mount["target"].as_str().unwrap_or_default();
            Err(Failure::new(500, format!("mount target '{target}' is reserved")))
        }
        None => Ok(()),
    }
}

fn nics(arguments: &Arguments) -> Result<(), Failure> {
    let mut bridges: Vec<&str> = Vec::new();
    for nic in arguments.list("nics") {
        let bridge = nic["id"].as_str().unwrap_or_default();
        match nic["type"].as_str().unwrap_or_default() {
            "default" if bridges.contains(&BRIDGE) => {
                return Err(Failure::new(500, "only one default network is allowed"));
            }
            "default" => bridges.push(BRIDGE),
            "bridge" if bridge == BRIDGE => {
                let message =
                    format!("cannot use bridge {BRIDGE} with nic type 'bridge', please use type default instead");
                return Err(Failure::new(500, message));
            }
            "bridge" if bridges.contains(&bridge) => {
                let message = format!("connecting to bridge '{bridge}' more than one time is not allowed");
                return Err(Failure::new(500, message));
            }
            "bridge" => bridges.push(bridge),
            "vlan" | "vxlan" => {}
            other => return Err(Failure::new(500, format!("invalid nic type '{other}'"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &Value) -> String {
        call("kvm.create", arguments).expect("known").expect_err("refused").message
    }

    #[test]
    fn machines_are_checked_before_libvirt_is_asked() {
        let media = json!([{"url": "/x", "type": "disk"}]);
        assert_eq!(refused(&json!({"media": media})), "CPU is a required parameter");
        assert_eq!(refused(&json!({"media": media, "cpu": 1})), "Memory is a required parameter");
        assert_eq!(refused(&json!({"nics": [{"type": "x"}]})), "invalid nic type 'x'");
        assert_eq!(
            refused(&json!({"nics": [{"type": "default"}, {"type": "default"}]})),
            "only one default network is allowed"
        );
        let mount = json!({"media": media, "cpu": 1, "memory": 1, "mount": [{"source": "/", "target": "root"}]});
        assert_eq!(refused(&mount), "mount target 'root' is reserved");
    }
}
