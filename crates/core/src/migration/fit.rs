//! What becomes of a container's configuration on another engine, field by field.

use std::collections::BTreeSet;

use super::archive::is_within;
use super::layout::{Holds, Layout, Spot};
use super::record::MARK;
use super::spec::CopiedMount;
use crate::capabilities::{Capabilities, Capability};
use crate::container::{ContainerSpec, Limits, Mount, MountKind, NetworkAttachment, RestartPolicy};
use crate::copy::NotCarried;

/// What the labels begin with that are Roadstead's bookkeeping.
const OWN_LABELS: &str = "roadstead.";

/// The configuration of the copy, and what it lacks.
#[derive(Debug)]
pub(super) struct Fitted {
    /// Image, name and marks are not set yet.
    pub(super) spec: ContainerSpec,
    pub(super) not_carried: Vec<NotCarried>,
    pub(super) copied_mounts: Vec<CopiedMount>,
    /// Where these really are, in the same order.
    pub(super) copied_from: Vec<String>,
    /// What must not be overlooked among it.
    pub(super) warnings: Vec<String>,
    /// Where the items of its lists stood in the original.
    pub(super) places: Places,
}

/// Indexes in the original's lists, one for each item that is still there.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) mounts: Vec<usize>,
    pub(super) ports: Vec<usize>,
    pub(super) networks: Vec<usize>,
    /// Of kernel capabilities that are added.
    pub(super) added: Vec<usize>,
    /// Of kernel capabilities that are dropped.
    pub(super) dropped: Vec<usize>,
}

impl Fitted {
    fn lose(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.not_carried.push(NotCarried::new(field, reason));
    }

    fn lacks(&mut self, field: impl Into<String>, capability: Capability) {
        self.lose(field, format!("the target does not support {}", capability.text()));
    }
}

/// Fits the configuration of a container of a node that can do `source` to a node that can do `able` and has these networks;
/// none when it does not tell. Its mounts are where `layout` says.
pub(super) fn fit(
    original: &ContainerSpec,
    layout: &Layout,
    source: &Capabilities,
    able: &Capabilities,
    networks: Option<&BTreeSet<String>>,
) -> Fitted {
    let mut fitted = Fitted {
        spec: original.clone(),
        not_carried: Vec::new(),
        copied_mounts: Vec::new(),
        copied_from: Vec::new(),
        warnings: Vec::new(),
        places: Places {
            ports: (0..original.ports.len()).collect(),
            added: (0..original.capabilities_add.len()).collect(),
            dropped: (0..original.capabilities_drop.len()).collect(),
            ..Places::default()
        },
    };
    fitted.lose("image", format!("{} becomes an image of the container's own file system", original.image));
    // Says what engine it is on, by a convention of systemd; Podman sets it, and shows it as if it had been asked for.
    fitted.spec.env.remove("container");
    labels(&mut fitted);
    root(&mut fitted, layout);
    mounts(&mut fitted, layout, source, able);
    attachments(&mut fitted, able, networks);
    limits(&mut fitted, able);
    let spec = &mut fitted.spec;
    let mut lacking = Vec::new();
    if !able.ports && !spec.ports.is_empty() {
        spec.ports.clear();
        lacking.push(("ports", Capability::Ports));
    }
    if !able.restart_policy && spec.restart != RestartPolicy::Never {
        spec.restart = RestartPolicy::Never;
        lacking.push(("restart", Capability::RestartPolicy));
    }
    if !able.health_check && spec.health_check.take().is_some() {
        lacking.push(("health_check", Capability::HealthCheck));
    }
    if !able.privileges {
        for (field, there) in [
            ("privileged", std::mem::take(&mut spec.privileged)),
            ("capabilities_add", !std::mem::take(&mut spec.capabilities_add).is_empty()),
            ("capabilities_drop", !std::mem::take(&mut spec.capabilities_drop).is_empty()),
        ] {
            if there {
                lacking.push((field, Capability::Privileges));
            }
        }
    }
    for (field, capability) in lacking {
        fitted.lacks(field, capability);
    }
    fitted
}

/// Labels under our own prefix are bookkeeping of the source's engine, and some engines refuse them from others.
fn labels(fitted: &mut Fitted) {
    // The mark of an earlier move gives way to that of this one.
    fitted.spec.labels.remove(MARK);
    let own: Vec<String> = fitted.spec.labels.keys().filter(|key| key.starts_with(OWN_LABELS)).cloned().collect();
    for key in own {
        fitted.spec.labels.remove(&key);
        fitted.lose(format!("labels.{key}"), format!("labels under `{OWN_LABELS}` are Roadstead's own"));
    }
}

/// Whether a path of the node is the machine's own, which belongs to no container.
pub(super) fn is_the_machines(source: &str) -> bool {
    let source = source.trim_end_matches('/');
    source.is_empty()
        || ["/dev", "/proc", "/sys"]
            .iter()
            .any(|own| source.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Archives need not have the root directory itself, and engines make it as they like.
fn root(fitted: &mut Fitted, layout: &Layout) {
    if let Some(root) = &layout.root
        && (root.mode, root.uid, root.gid) != (0o755, 0, 0)
    {
        let is = format!("mode {:o} and belongs to {}:{}", root.mode, root.uid, root.gid);
        fitted.lose(
            "files.root",
            format!("the root directory itself has {is}; that of the copy is as its engine makes it"),
        );
    }
}

/// Why what is mounted is not copied.
fn stays(mount: &Mount, spot: Option<&Spot>, from: &Capabilities) -> Option<String> {
    let (path, target) = (mount.source.as_deref().unwrap_or_default(), &mount.target);
    let holds = spot.map_or(&Holds::Unknown, |spot| &spot.holds);
    match mount.kind {
        MountKind::Bind if is_the_machines(path) => {
            Some(format!("{path} belongs to the source's machine: nothing is at {target}"))
        }
        MountKind::Bind if *holds == Holds::Nothing || (*holds != Holds::Files && path.ends_with(".sock")) => {
            Some(format!("{path} is a socket of the source's machine: nothing is at {target}"))
        }
        MountKind::Bind if !from.binds_at_rest => Some(format!(
            "the source shows {path} only while the container runs: nothing is at {target}, and the directory stays on the \
             source"
        )),
        MountKind::Bind => match holds {
            Holds::Refused(why) => Some(format!("the source does not show {path} ({why}): nothing is at {target}")),
            _ => None,
        },
        MountKind::Unknown => Some(format!("what is mounted at {target} is not known")),
        _ => None,
    }
}

/// Directories and volumes are copied into the container's own file system; temporary file systems are made anew, unless they
/// would hide some of that.
fn mounts(fitted: &mut Fitted, layout: &Layout, from: &Capabilities, able: &Capabilities) {
    let all = std::mem::take(&mut fitted.spec.mounts);
    let copied = |index: usize, mount: &Mount| {
        mount.kind != MountKind::Tmpfs && stays(mount, layout.mounts.get(index), from).is_none()
    };
    let at = |index: usize, mount: &Mount| {
        layout.mounts.get(index).map_or_else(|| mount.target.clone(), |spot| spot.at.clone())
    };
    let visible: Vec<(String, String)> = all
        .iter()
        .enumerate()
        .filter(|(index, mount)| copied(*index, mount))
        .map(|(index, mount)| (at(index, mount), mount.target.clone()))
        .collect();
    for (index, mut mount) in all.into_iter().enumerate() {
        let field = format!("mounts[{index}]");
        let (place, target) = (at(index, &mount), &mount.target);
        if mount.kind == MountKind::Tmpfs {
            let hides = visible.iter().find(|(other, _)| is_within(other.as_bytes(), place.as_bytes()));
            if !able.mounts {
                fitted.lacks(field, Capability::Mounts);
            } else if let Some((_, hidden)) = hides {
                let reason = format!(
                    "{target} would hide {hidden}, which becomes a part of the copy's own file system: it is a directory \
                     there, and what is written into it is kept"
                );
                fitted.lose(field, reason);
            } else {
                // Engines need not follow links to where they mount something.
                mount.target = place;
                fitted.spec.mounts.push(mount);
                fitted.places.mounts.push(index);
            }
        } else if let Some(reason) = stays(&mount, layout.mounts.get(index), from) {
            fitted.lose(field, reason);
        } else {
            if mount.read_only {
                fitted.lose(format!("{field}.read_only"), format!("{target} can be written in the copy"));
            }
            let volume = match (mount.kind, &mount.source) {
                (MountKind::Volume, Some(name)) => format!("; the volume {name} stays on the source"),
                (MountKind::Volume, None) => "; the volume goes with the source, unless others use it".to_owned(),
                _ => String::new(),
            };
            fitted.lose(field, format!("{target} becomes a part of the copy's own file system{volume}"));
            fitted.copied_mounts.push(CopiedMount { target: mount.target, source: mount.source });
            fitted.copied_from.push(place);
        }
    }
}

/// A network is carried where the target has one of its name; a fixed address belongs to the source's network.
fn attachments(fitted: &mut Fitted, able: &Capabilities, networks: Option<&BTreeSet<String>>) {
    // Where nothing was asked for, an engine shows its default network; the target has one of its own. Podman lists its own
    // as `bridge`, and does not find it by this name.
    if matches!(fitted.spec.networks.as_slice(), [only] if *only == NetworkAttachment::new("bridge")) {
        fitted.spec.networks.clear();
        return;
    }
    let mut kept = Vec::new();
    for (index, mut attachment) in std::mem::take(&mut fitted.spec.networks).into_iter().enumerate() {
        let NetworkAttachment { network, address, .. } = &mut attachment;
        if let Some(warning) = mode_warning(network) {
            // No network of this name need be there: the target says whether it can.
            if able.networks {
                fitted.places.networks.push(index);
                kept.push(attachment);
            } else {
                fitted.lacks(format!("networks[{index}]"), Capability::Networks);
                fitted.warnings.push(warning);
            }
            continue;
        }
        if !networks.is_some_and(|there| there.contains(network.as_str())) {
            let reason = format!("the target has no network {network}: it is on the target's default network");
            fitted.lose(format!("networks[{index}]"), reason);
            continue;
        }
        if let Some(address) = address.take() {
            let reason = format!("the target gives another one than {address}");
            fitted.lose(format!("networks[{index}].address"), reason);
        }
        fitted.places.networks.push(index);
        kept.push(attachment);
    }
    fitted.spec.networks = kept;
}

/// What it means to lose this network, where it is none: the copy can be reached, or reach, what the container cannot.
pub(super) fn mode_warning(network: &str) -> Option<String> {
    match network {
        "none" => Some("the container is on no network; the copy is on the target's default network".to_owned()),
        "host" => {
            Some("the container is on its node's own network; the copy is on the target's default network".to_owned())
        }
        _ => None,
    }
}

fn limits(fitted: &mut Fitted, able: &Capabilities) {
    let Limits { memory_bytes, swap_bytes, cpus, cpu_shares, cpu_set, pids, .. } = &mut fitted.spec.limits;
    let mut lacking = Vec::new();
    if !able.limit_memory && memory_bytes.take().is_some() {
        lacking.push(("limits.memory_bytes", Capability::LimitMemory));
        // Swap is counted on top of the memory, and means nothing without it.
        if swap_bytes.take().is_some() {
            lacking.push(("limits.swap_bytes", Capability::LimitMemory));
        }
    }
    if !able.limit_swap && swap_bytes.take().is_some() {
        lacking.push(("limits.swap_bytes", Capability::LimitSwap));
    }
    if !able.limit_cpu {
        for (field, there) in [
            ("limits.cpus", cpus.take().is_some()),
            ("limits.cpu_shares", cpu_shares.take().is_some()),
            ("limits.cpu_set", cpu_set.take().is_some()),
        ] {
            if there {
                lacking.push((field, Capability::LimitCpu));
            }
        }
    }
    if !able.limit_pids && pids.take().is_some() {
        lacking.push(("limits.pids", Capability::LimitPids));
    }
    for (field, capability) in lacking {
        fitted.lacks(field, capability);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fitted: &Fitted) -> Vec<&str> {
        fitted.not_carried.iter().map(|lost| lost.field.as_str()).collect()
    }

    /// With mounts that are where they are said to be.
    fn plain(
        original: &ContainerSpec,
        source: &Capabilities,
        able: &Capabilities,
        networks: Option<&BTreeSet<String>>,
    ) -> Fitted {
        fit(original, &Layout::as_written(original), source, able, networks)
    }

    fn full() -> ContainerSpec {
        serde_json::from_value(serde_json::json!({
            "image": "a:1", "command": ["c"], "env": {"K": "V"}, "user": "1", "hostname": "h", "labels": {"l": "v"},
            "mounts": [{"type": "bind", "source": "/srv", "target": "/b", "read_only": true},
                       {"type": "volume", "source": "v1", "target": "/v"},
                       {"type": "bind", "source": "/run/docker.sock", "target": "/s"},
                       {"type": "bind", "source": "/sys/fs", "target": "/y"},
                       {"type": "tmpfs", "target": "/t"}],
            "ports": [{"container_port": 80}],
            "networks": [{"network": "n1", "address": "10.1.2.3"}, {"network": "n2"}],
            "restart": {"policy": "always"},
            "limits": {"memory_bytes": 8388608, "swap_bytes": 1, "cpus": 1.5, "pids": 9},
            "capabilities_add": ["NET_ADMIN"], "privileged": true, "health_check": {"command": ["true"]}
        }))
        .unwrap()
    }

    #[test]
    fn an_able_target_gets_all_but_what_belongs_to_the_source() {
        let networks = BTreeSet::from(["n1".to_owned()]);
        let fitted = plain(&full(), &Capabilities::all(), &Capabilities::all(), Some(&networks));
        assert_eq!(
            fields(&fitted),
            [
                "image",
                "mounts[0].read_only",
                "mounts[0]",
                "mounts[1]",
                "mounts[2]",
                "mounts[3]",
                "networks[0].address",
                "networks[1]"
            ]
        );
        let copied: Vec<_> = fitted.copied_mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(copied, ["/b", "/v"]);
        assert_eq!(fitted.spec.mounts.len(), 1);
        assert_eq!((fitted.spec.networks.len(), fitted.spec.networks[0].address), (1, None));
        assert_eq!((fitted.spec.limits, fitted.spec.restart), (full().limits, RestartPolicy::Always));
        assert_eq!((fitted.spec.env, fitted.spec.ports), (full().env, full().ports));
    }

    #[test]
    fn a_directory_that_cannot_be_read_at_rest_stays() {
        let mut source = Capabilities::all();
        source.set(Capability::BindsAtRest, false);
        let fitted = plain(&full(), &source, &Capabilities::all(), None);
        let lost: Vec<_> = fitted.not_carried.iter().filter(|lost| lost.field.starts_with("mounts[0]")).collect();
        let [only] = lost.as_slice() else { panic!("{lost:?}") };
        assert_eq!(only.field, "mounts[0]");
        for words in ["/srv only while the container runs", "nothing is at /b", "stays on the source"] {
            assert!(only.reason.contains(words), "{}", only.reason);
        }
        let copied: Vec<_> = fitted.copied_mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(copied, ["/v"]);
        assert!(fitted.spec.mounts.iter().all(|mount| mount.kind == MountKind::Tmpfs));
    }

    #[test]
    fn labels_of_our_own_are_not_carried() {
        let mut spec = ContainerSpec::new("a:1").label("l", "v").label(MARK, "0").label("roadstead.x", "1");
        spec.env.insert("roadstead.y".to_owned(), "kept".to_owned());
        let fitted = plain(&spec, &Capabilities::all(), &Capabilities::all(), None);
        assert_eq!(fields(&fitted), ["image", "labels.roadstead.x"]);
        assert_eq!(fitted.spec.labels, ContainerSpec::new("a:1").label("l", "v").labels);
        assert_eq!(fitted.spec.env, spec.env);
    }

    #[test]
    fn the_default_network_becomes_the_targets_own() {
        let mut spec = ContainerSpec::new("a:1");
        spec.networks = vec![NetworkAttachment::new("bridge")];
        let fitted = plain(&spec, &Capabilities::all(), &Capabilities::all(), None);
        assert_eq!(fields(&fitted), ["image"]);
        assert!(fitted.spec.networks.is_empty());
    }

    #[test]
    fn no_network_stays_none_where_the_target_has_networks_and_is_warned_of_elsewhere() {
        let mut spec = ContainerSpec::new("a:1");
        spec.networks = vec![NetworkAttachment::new("none")];
        let fitted = plain(&spec, &Capabilities::all(), &Capabilities::all(), Some(&BTreeSet::new()));
        assert_eq!((fields(&fitted), fitted.spec.networks.len(), fitted.warnings.len()), (vec!["image"], 1, 0));
        let fitted = plain(&spec, &Capabilities::all(), &Capabilities::default(), None);
        assert_eq!((fields(&fitted), fitted.spec.networks.len()), (vec!["image", "networks[0]"], 0));
        assert!(fitted.warnings[0].contains("on no network"), "{:?}", fitted.warnings);
    }

    #[test]
    fn what_the_target_cannot_do_is_dropped_and_named() {
        let fitted = plain(&full(), &Capabilities::all(), &Capabilities::default(), None);
        let named = fields(&fitted);
        for field in [
            "mounts[4]",
            "networks[0]",
            "networks[1]",
            "limits.memory_bytes",
            "limits.swap_bytes",
            "limits.cpus",
            "limits.pids",
            "ports",
            "restart",
            "health_check",
            "privileged",
            "capabilities_add",
        ] {
            assert_eq!(named.iter().filter(|name| **name == field).count(), 1, "{field} in {named:?}");
        }
        assert!(!named.contains(&"capabilities_drop"), "what was not there is not lost");
        let spec = fitted.spec;
        assert!(spec.limits.is_empty() && spec.mounts.is_empty() && spec.ports.is_empty() && !spec.privileged);
        assert_eq!((spec.env, spec.labels, spec.hostname), (full().env, full().labels, full().hostname));
    }

    /// Of mounts at these places, which hold this.
    fn at(spec: &ContainerSpec, spots: &[(&str, Holds)]) -> Layout {
        let spots = spots.iter().map(|(at, holds)| Spot { at: (*at).to_owned(), holds: holds.clone() });
        Layout { mounts: spots.collect(), ..Layout::as_written(spec) }
    }

    fn with_mounts(mounts: serde_json::Value) -> ContainerSpec {
        ContainerSpec { mounts: serde_json::from_value(mounts).unwrap(), ..ContainerSpec::new("a:1") }
    }

    #[test]
    fn a_temporary_file_system_hides_nothing_that_is_copied() {
        let spec = with_mounts(serde_json::json!([
            {"type": "tmpfs", "target": "/scratch"}, {"type": "volume", "source": "v", "target": "/scratch/data"},
            {"type": "tmpfs", "target": "/scratch/data/tmp"}, {"type": "tmpfs", "target": "/scratch2"},
            {"type": "tmpfs", "target": "/var/run"}, {"type": "volume", "source": "w", "target": "/run/app"},
            {"type": "tmpfs", "target": "/var/tmp"}
        ]));
        let layout = at(
            &spec,
            &[
                ("/scratch", Holds::Files),
                ("/scratch/data", Holds::Files),
                ("/scratch/data/tmp", Holds::Files),
                ("/scratch2", Holds::Files),
                ("/run", Holds::Files),
                ("/run/app", Holds::Files),
                ("/tmp", Holds::Files),
            ],
        );
        let fitted = fit(&spec, &layout, &Capabilities::all(), &Capabilities::all(), None);
        assert_eq!(fields(&fitted), ["image", "mounts[0]", "mounts[1]", "mounts[4]", "mounts[5]"]);
        assert!(fitted.not_carried[1].reason.contains("would hide /scratch/data"), "{:?}", fitted.not_carried);
        assert!(fitted.not_carried[3].reason.contains("would hide /run/app"), "{:?}", fitted.not_carried);
        let kept: Vec<_> = fitted.spec.mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(kept, ["/scratch/data/tmp", "/scratch2", "/tmp"]);
        assert_eq!((fitted.places.mounts, fitted.copied_from.len()), (vec![2, 3, 6], 2));
    }

    #[test]
    fn what_is_mounted_is_told_from_a_socket_by_what_it_holds() {
        let spec = with_mounts(serde_json::json!([
            {"type": "bind", "source": "/srv/a.sock", "target": "/a"}, {"type": "bind", "source": "/srv/b", "target": "/b"},
            {"type": "bind", "source": "/srv/c.sock", "target": "/c"}, {"type": "bind", "source": "/srv/d", "target": "/d"}
        ]));
        let refused = Holds::Refused("not now".to_owned());
        let spots = [("/a", Holds::Files), ("/b", Holds::Nothing), ("/c", Holds::Unknown), ("/d", refused)];
        let fitted = fit(&spec, &at(&spec, &spots), &Capabilities::all(), &Capabilities::all(), None);
        let reasons: Vec<_> = fitted.not_carried.iter().skip(1).map(|lost| lost.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "/a becomes a part of the copy's own file system",
                "/srv/b is a socket of the source's machine: nothing is at /b",
                "/srv/c.sock is a socket of the source's machine: nothing is at /c",
                "the source does not show /srv/d (not now): nothing is at /d",
            ]
        );
        assert_eq!(fitted.copied_from, ["/a"]);
    }

    #[test]
    fn the_root_directory_is_told_where_it_is_not_as_engines_make_it() {
        let spec = ContainerSpec::new("a:1");
        for (mode, uid, told) in [(0o755, 0, false), (0o711, 0, true), (0o755, 5, true)] {
            let root = Some(super::super::archive::Look { link: None, mode, uid, gid: 0 });
            let layout = Layout { root, ..Layout::default() };
            let fitted = fit(&spec, &layout, &Capabilities::all(), &Capabilities::all(), None);
            assert_eq!(fields(&fitted).contains(&"files.root"), told, "{mode:o} {uid}");
        }
    }
}
