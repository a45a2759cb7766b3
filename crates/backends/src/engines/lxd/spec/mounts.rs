//! Mounts: directories of the node and volumes as disk devices, temporary file systems as lines of `raw.lxc`.

use roadstead_core::{Mount, MountKind};

use super::super::instance::{Config, Devices};
use super::raw::RawLxc;

const ENTRY: &str = "lxc.mount.entry";

/// The device of a directory or a volume; none for a temporary file system.
///
/// `pool` holds the volumes. `volume` is the name of the volume, which for an anonymous one was made up.
pub(super) fn device(mount: &Mount, volume: Option<&str>, pool: &str, privileged: bool) -> Option<Config> {
    let mut keys = Config::new();
    let mut set = |key: &str, value: &str| keys.insert(key.to_owned(), value.to_owned());
    set("type", "disk");
    set("path", &mount.target);
    match mount.kind {
        MountKind::Bind => {
            set("source", mount.source.as_deref()?);
            // Otherwise the owners of the node's files would be nobody to the container. Where the kernel cannot do
            // it, the start says so, and does without.
            if !privileged {
                set("shift", "true");
            }
        }
        MountKind::Volume => {
            set("pool", pool);
            set("source", volume.or(mount.source.as_deref())?);
        }
        _ => return None,
    }
    if mount.read_only {
        set("readonly", "true");
    }
    Some(keys)
}

/// The line of a temporary file system.
pub(super) fn write_tmpfs(mount: &Mount, raw: &mut RawLxc) {
    let size = mount.size_bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let access = if mount.read_only { "ro" } else { "rw" };
    let target = escape(mount.target.trim_start_matches('/'));
    raw.push(ENTRY, format!("tmpfs {target} tmpfs {access},nosuid,nodev,mode=1777{size},create=dir 0 0"));
}

/// The first temporary file system that another mount is within: servers add lines of `raw.lxc` after their own, so that it would
/// be mounted over the other.
pub(super) fn hiding(mounts: &[Mount]) -> Option<usize> {
    let parts = |mount: &Mount| -> Vec<String> {
        mount.target.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
    };
    let hides = |mount: &Mount| {
        let above = parts(mount);
        let mut disks = mounts.iter().filter(|other| other.kind != MountKind::Tmpfs);
        mount.kind == MountKind::Tmpfs && !above.is_empty() && disks.any(|other| parts(other).starts_with(&above))
    };
    mounts.iter().position(hides)
}

/// The mounts in effect, by target. The root is none.
pub(super) fn read(devices: &Devices, raw: &RawLxc) -> Vec<Mount> {
    let disks = devices.values().filter_map(|keys| {
        let get = |key: &str| keys.get(key).filter(|value| !value.is_empty());
        let target = get("path").filter(|path| *path != "/")?;
        if get("type").map(String::as_str) != Some("disk") {
            return None;
        }
        let source = get("source").cloned();
        let kind = match (&source, get("pool")) {
            (_, Some(_)) => MountKind::Volume,
            (Some(source), None) if source.starts_with('/') => MountKind::Bind,
            _ => MountKind::Unknown,
        };
        let read_only = get("readonly").is_some_and(|value| matches!(value.as_str(), "true" | "1" | "yes" | "on"));
        Some(Mount { kind, source, target: target.clone(), read_only, size_bytes: None })
    });
    let temporary = raw.all(ENTRY).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (_, target, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let mut options = options.split(',');
        (kind == "tmpfs").then(|| Mount {
            kind: MountKind::Tmpfs,
            source: None,
            target: format!("/{}", unescape(target).trim_start_matches('/')),
            read_only: options.clone().any(|option| option == "ro"),
            size_bytes: options.find_map(|option| option.strip_prefix("size=")?.parse().ok()),
        })
    });
    let mut mounts: Vec<_> = disks.chain(temporary).collect();
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    mounts
}

/// As fstab(5) writes white space.
fn escape(path: &str) -> String {
    path.replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011").replace('\n', r"\012")
}

fn unescape(path: &str) -> String {
    path.replace(r"\012", "\n").replace(r"\011", "\t").replace(r"\040", " ").replace(r"\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let asked = |kind, source: Option<&str>, target: &str, read_only, size_bytes| Mount {
            kind,
            source: source.map(str::to_owned),
            target: target.to_owned(),
            read_only,
            size_bytes,
        };
        let mounts = [
            asked(MountKind::Bind, Some("/srv"), "/b", true, None),
            asked(MountKind::Tmpfs, None, "/t a\\b", true, Some(4096)),
            asked(MountKind::Volume, Some("v"), "/v", false, None),
        ];
        let mut raw = RawLxc::default();
        let mut devices = Devices::new();
        for (number, mount) in mounts.iter().enumerate() {
            match device(mount, None, "default", false) {
                Some(keys) => drop(devices.insert(format!("mount{number}"), keys)),
                None => write_tmpfs(mount, &mut raw),
            }
        }
        devices.insert("root".to_owned(), [("type", "disk"), ("path", "/"), ("pool", "p")].map(owned).into());
        devices.insert(
            "x".to_owned(),
            [("type", "disk"), ("path", "/x"), ("source", "cloud-init:config")].map(owned).into(),
        );
        let found = read(&devices, &RawLxc::parse(&raw.to_string()));
        assert_eq!(found[..3], mounts);
        assert_eq!(found[3].kind, MountKind::Unknown);
        assert_eq!(devices["mount0"]["shift"], "true");
    }

    #[test]
    fn a_temporary_file_system_over_another_mount_is_found() {
        let mounts = |targets: &[(MountKind, &str)]| -> Vec<Mount> {
            let mount = |(kind, target): &(MountKind, &str)| Mount {
                kind: *kind,
                source: None,
                target: (*target).to_owned(),
                read_only: false,
                size_bytes: None,
            };
            targets.iter().map(mount).collect()
        };
        let (volume, tmpfs) = (MountKind::Volume, MountKind::Tmpfs);
        assert_eq!(hiding(&mounts(&[(volume, "/a/b"), (tmpfs, "/c"), (tmpfs, "//a/./")])), Some(2));
        assert_eq!(hiding(&mounts(&[(volume, "/a"), (tmpfs, "/a/b"), (tmpfs, "/ab"), (tmpfs, "/ab/c")])), None);
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }
}
