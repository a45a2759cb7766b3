//! The specification of a copy that is made of files and a portable configuration: the same for the plan, which lists what
//! it lacks, and for the copying, which creates it.
//!
//! What a target cannot do in general is taken out by its capabilities ([`super::fit`]); what it refuses besides, it is asked
//! for, member by member, until it would take the rest. Every refusal takes something away, so there is an end.

use std::collections::BTreeSet;

use super::fit::{Fitted, Places, fit};
use super::layout::Layout;
use super::record::MARK;
use super::spec::CopiedMount;
use crate::capabilities::Capabilities;
use crate::container::{ContainerDetails, ContainerSpec, EngineSetting, MountKind, RestartPolicy};
use crate::copy::NotCarried;
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// What a system container without a command of its own runs.
const INIT: &str = "/sbin/init";
/// An image for questions that are about anything but the image.
const NO_IMAGE: &str = "roadstead/move:none";

/// Who the copy will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    /// The id of the move, which is the value of the mark.
    pub(super) mark: &'a str,
    /// The restart policy that it gets in the end.
    pub(super) restart: RestartPolicy,
}

impl<'a> Identity<'a> {
    /// For a plan: image and mark are not chosen yet, and no engine cares which they are.
    pub(super) fn planned(name: &'a str, restart: RestartPolicy) -> Self {
        Identity { name, image: NO_IMAGE, mark: "planned", restart }
    }
}

/// The copy, and what it lacks.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) spec: ContainerSpec,
    pub(super) not_carried: Vec<NotCarried>,
    pub(super) copied_mounts: Vec<CopiedMount>,
    /// Where these really are on the source, in the same order.
    pub(super) copied_from: Vec<String>,
    /// Where the source has temporary file systems that the copy has not.
    pub(super) emptied: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Drafts the copy of `original`, which lies like this on a node that can do `source`, on `target`; nothing is created.
///
/// # Errors
/// `InvalidInput` with the field `new_name` when the target takes no container of this name; whatever the target says when
/// it refuses something that a copy cannot do without.
pub(super) async fn draft(
    target: &dyn Node,
    original: &ContainerDetails,
    layout: &Layout,
    source: &Capabilities,
    copy: Identity<'_>,
) -> Result<Draft> {
    let networks = networks(target).await?;
    let mut asked = original.spec.clone();
    asked.restart = copy.restart;
    let mut fitted = fit(&asked, layout, source, target.capabilities(), networks.as_ref());
    identify(&mut fitted.spec, copy);
    while let Err(error) = target.check_container(&fitted.spec).await {
        do_without(&mut fitted, copy.name, error).map_err(|error| error.with_node(target.name()))?;
    }
    let Fitted { spec, mut not_carried, copied_mounts, copied_from, warnings, .. } = fitted;
    not_carried.extend(original.beyond_spec.iter().map(|setting| beyond(setting, &spec)));
    let emptied = emptied(original, layout, &spec);
    Ok(Draft { spec, not_carried, copied_mounts, copied_from, emptied, warnings })
}

/// What is said of a setting that the specification has no place for.
fn beyond(setting: &EngineSetting, copy: &ContainerSpec) -> NotCarried {
    let label = setting.name.strip_prefix("config.user.").filter(|key| copy.labels.contains_key(*key));
    if label.is_some() {
        let reason = "it becomes a label of the copy, where programs within it do not find it";
        return NotCarried::new(&setting.name, reason);
    }
    let value = setting.value.as_deref().map(|value| format!(": {value}")).unwrap_or_default();
    NotCarried::new(&setting.name, format!("the portable configuration has no place for it{value}"))
}

/// Where `original` has temporary file systems that `copy` has not: directories take their places.
fn emptied(original: &ContainerDetails, layout: &Layout, copy: &ContainerSpec) -> Vec<String> {
    let mounts = original.spec.mounts.iter().zip(&layout.mounts);
    let temporary = mounts.filter(|(mount, _)| mount.kind == MountKind::Tmpfs).map(|(_, spot)| &spot.at);
    let kept = |at: &&String| copy.mounts.iter().any(|mount| mount.target == **at);
    temporary.filter(|at| !kept(at)).cloned().collect()
}

/// Names of the networks of a node, if it tells.
async fn networks(node: &dyn Node) -> Result<Option<BTreeSet<String>>> {
    if !node.capabilities().networks {
        return Ok(None);
    }
    Ok(Some(node.list_networks().await?.into_iter().map(|network| network.name).collect()))
}

fn identify(spec: &mut ContainerSpec, copy: Identity<'_>) {
    copy.image.clone_into(&mut spec.image);
    spec.name = Some(copy.name.to_owned());
    spec.labels.insert(MARK.to_owned(), copy.mark.to_owned());
    if spec.entrypoint.is_none() && spec.command.is_none() {
        spec.command = Some(vec![INIT.to_owned()]);
    }
}

/// Takes out what the target has refused; gives the error back where a copy cannot do without it.
fn do_without(fitted: &mut Fitted, name: &str, error: Error) -> Result<()> {
    let refused = matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported);
    let Some(field) = error.field().filter(|_| refused).map(str::to_owned) else { return Err(error) };
    if field == "name" {
        return Err(bad_name(name, &error));
    }
    let Some(dropped) = drop_member(&mut fitted.spec, &mut fitted.places, &field) else { return Err(error) };
    let reason = format!("the target does not take it: {}", why(&error));
    fitted.warnings.extend(dropped.warning);
    fitted.not_carried.extend(dropped.fields.into_iter().map(|field| NotCarried::new(field, reason.clone())));
    Ok(())
}

/// Refuses a name that the target takes for no container.
///
/// # Errors
/// As [`draft`].
pub(super) async fn takes_name(target: &dyn Node, name: &str) -> Result<()> {
    match target.check_container(&ContainerSpec::new(NO_IMAGE).name(name)).await {
        Err(error) if error.field() == Some("name") => Err(bad_name(name, &error).with_node(target.name())),
        _ => Ok(()),
    }
}

fn bad_name(name: &str, error: &Error) -> Error {
    let reason = format!("the target takes no container called {name} ({}): give it another name", why(error));
    Error::invalid("new_name", reason)
}

/// The line of an error without the field that it is about.
fn why(error: &Error) -> &str {
    let named = error.field().and_then(|field| error.message().strip_prefix(field)?.strip_prefix(": "));
    named.unwrap_or(error.message())
}

/// What was taken out of a specification.
#[derive(Debug, Default)]
struct Dropped {
    /// Members of the original.
    fields: Vec<String>,
    warning: Option<String>,
}

impl Dropped {
    fn field(field: impl Into<String>) -> Self {
        Dropped { fields: vec![field.into()], warning: None }
    }
}

/// Takes the member that `field` is about out of `spec`; none when it is not there, or a copy cannot do without it.
fn drop_member(spec: &mut ContainerSpec, places: &mut Places, field: &str) -> Option<Dropped> {
    let (head, tail) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
    let key = tail.strip_prefix('.').unwrap_or_default();
    let index = || tail.strip_prefix('[')?.split_once(']').and_then(|(index, _)| index.parse::<usize>().ok());
    let there = match head {
        "limits" => return limits(spec, key),
        "networks" => return networks_of(spec, places, index(), tail),
        "env" if key.is_empty() => !std::mem::take(&mut spec.env).is_empty(),
        "env" => spec.env.remove(key).is_some(),
        // Without its mark the copy could not be told from others.
        "labels" if key == MARK => false,
        "labels" => spec.labels.remove(key).is_some(),
        "ports" => return items(&mut spec.ports, &mut places.ports, head, index()),
        "mounts" => return items(&mut spec.mounts, &mut places.mounts, head, index()),
        "capabilities_add" => return items(&mut spec.capabilities_add, &mut places.added, head, index()),
        "capabilities_drop" => return items(&mut spec.capabilities_drop, &mut places.dropped, head, index()),
        "working_directory" => spec.working_directory.take().is_some(),
        "user" => spec.user.take().is_some(),
        "hostname" => spec.hostname.take().is_some(),
        "health_check" => return spec.health_check.take().map(|_| Dropped::field(head)),
        "stop_signal" => spec.stop_signal.take().is_some(),
        "stop_timeout_seconds" => spec.stop_timeout_seconds.take().is_some(),
        "privileged" => std::mem::take(&mut spec.privileged),
        "read_only_root" => std::mem::take(&mut spec.read_only_root),
        "init" => std::mem::take(&mut spec.init),
        "tty" => std::mem::take(&mut spec.tty),
        "stdin" => std::mem::take(&mut spec.stdin),
        "dns" => {
            // All of it or nothing: servers without their search domains resolve other names.
            return (std::mem::take(&mut spec.dns) != crate::Dns::default()).then(|| Dropped::field(head));
        }
        _ => false,
    };
    there.then(|| Dropped::field(field))
}

fn limits(spec: &mut ContainerSpec, member: &str) -> Option<Dropped> {
    let limits = &mut spec.limits;
    let there = match member {
        "memory_bytes" => {
            let there = limits.memory_bytes.take().is_some();
            // Swap is counted on top of the memory, and means nothing without it.
            let swap = limits.swap_bytes.take().map(|_| "limits.swap_bytes".to_owned());
            return there.then(|| Dropped {
                fields: ["limits.memory_bytes".to_owned()].into_iter().chain(swap).collect(),
                warning: None,
            });
        }
        "swap_bytes" => limits.swap_bytes.take().is_some(),
        "cpus" => limits.cpus.take().is_some(),
        "cpu_shares" => limits.cpu_shares.take().is_some(),
        "cpu_set" => limits.cpu_set.take().is_some(),
        "pids" => limits.pids.take().is_some(),
        _ => false,
    };
    there.then(|| Dropped::field(format!("limits.{member}")))
}

/// One item of a list, or all of them; named by where they stood in the original.
fn items<T>(items: &mut Vec<T>, places: &mut Vec<usize>, head: &str, index: Option<usize>) -> Option<Dropped> {
    let fields: Vec<String> = match index {
        Some(index) if index < items.len() => {
            items.remove(index);
            let place = if index < places.len() { places.remove(index) } else { index };
            vec![format!("{head}[{place}]")]
        }
        Some(_) => Vec::new(),
        None => {
            items.clear();
            std::mem::take(places).into_iter().map(|place| format!("{head}[{place}]")).collect()
        }
    };
    (!fields.is_empty()).then_some(Dropped { fields, warning: None })
}

fn networks_of(spec: &mut ContainerSpec, places: &mut Places, index: Option<usize>, tail: &str) -> Option<Dropped> {
    if let Some(attachment) = index.and_then(|index| spec.networks.get_mut(index)) {
        let place = index.and_then(|index| places.networks.get(index)).copied().unwrap_or_default();
        if tail.contains("].aliases") {
            let there = !std::mem::take(&mut attachment.aliases).is_empty();
            return there.then(|| Dropped::field(format!("networks[{place}].aliases")));
        }
        if tail.ends_with("].address") {
            return attachment.address.take().map(|_| Dropped::field(format!("networks[{place}].address")));
        }
    }
    let lost = spec.networks.iter().enumerate().filter(|(at, _)| index.is_none_or(|index| index == *at));
    let warning = lost.filter_map(|(_, attachment)| super::fit::mode_warning(&attachment.network)).next_back();
    let dropped = items(&mut spec.networks, &mut places.networks, "networks", index)?;
    Some(Dropped { warning, ..dropped })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::capabilities::Capabilities;

    fn full() -> ContainerSpec {
        serde_json::from_value(json!({
            "image": "a:1", "command": ["c"], "env": {"A.B": "1", "C": "2"}, "user": "1", "hostname": "h",
            "working_directory": "/w", "labels": {"l.m": "v"},
            "mounts": [{"type": "bind", "source": "/srv", "target": "/b"}, {"type": "tmpfs", "target": "/t"}],
            "ports": [{"container_port": 80}, {"container_port": 81}, {"container_port": 82}],
            "networks": [{"network": "gone"}, {"network": "n", "aliases": ["x"]}, {"network": "none"}],
            "dns": {"servers": ["1.1.1.1"]}, "restart": {"policy": "always"},
            "limits": {"memory_bytes": 8388608, "swap_bytes": 1, "cpus": 1.5, "cpu_shares": 9, "cpu_set": "0", "pids": 9},
            "capabilities_add": ["NET_ADMIN", "FLY"], "capabilities_drop": ["CHOWN"], "privileged": true, "init": true,
            "tty": true, "stdin": true, "read_only_root": true, "stop_signal": "HUP", "stop_timeout_seconds": 1,
            "health_check": {"command": ["true"]}
        }))
        .unwrap()
    }

    /// With a target that refuses these fields, in this order.
    fn refusing(fields: &[&str]) -> Result<Fitted> {
        let networks = BTreeSet::from(["n".to_owned()]);
        let mut fitted =
            fit(&full(), &Layout::as_written(&full()), &Capabilities::all(), &Capabilities::all(), Some(&networks));
        fitted.not_carried.clear();
        identify(&mut fitted.spec, Identity::planned("web_1", RestartPolicy::Never));
        for field in fields {
            do_without(&mut fitted, "web_1", Error::unsupported_field(*field, "this"))?;
        }
        Ok(fitted)
    }

    fn named(draft: &Fitted) -> Vec<&str> {
        draft.not_carried.iter().map(|lost| lost.field.as_str()).collect()
    }

    #[test]
    fn what_is_refused_is_dropped_and_named_by_its_place_in_the_original() {
        let fields = [
            "ports[0].protocol",
            "ports[1]",
            "networks[0].aliases",
            "networks[1].network",
            "mounts[0].target",
            "capabilities_add[1]",
            "env.A.B",
            "labels.l.m",
            "limits.memory_bytes",
            "limits.cpu_shares",
            "health_check.command",
            "init",
        ];
        let draft = refusing(&fields).unwrap();
        assert_eq!(
            named(&draft),
            [
                "ports[0]",
                "ports[2]",
                "networks[1].aliases",
                "networks[2]",
                "mounts[1]",
                "capabilities_add[1]",
                "env.A.B",
                "labels.l.m",
                "limits.memory_bytes",
                "limits.swap_bytes",
                "limits.cpu_shares",
                "health_check",
                "init",
            ]
        );
        let spec = &draft.spec;
        assert_eq!((spec.ports.len(), spec.ports[0].container_port, spec.networks.len()), (1, 81, 1));
        assert_eq!((spec.limits.cpus, spec.capabilities_add.as_slice()), (Some(1.5), &["NET_ADMIN".to_owned()][..]));
        assert_eq!(spec.labels.keys().collect::<Vec<_>>(), [MARK]);
        assert_eq!(draft.not_carried[0].reason, "the target does not take it: this engine does not support this");
        assert_eq!(draft.warnings.len(), 1, "{:?}", draft.warnings);
    }

    #[test]
    fn every_optional_member_can_be_done_without() {
        for field in [
            "limits.swap_bytes",
            "limits.cpus",
            "limits.cpu_set",
            "limits.pids",
            "env",
            "env.C",
            "ports",
            "mounts",
            "networks",
            "capabilities_add",
            "capabilities_drop[0]",
            "working_directory",
            "user",
            "hostname",
            "stop_signal",
            "stop_timeout_seconds",
            "privileged",
            "read_only_root",
            "tty",
            "stdin",
            "dns.servers[0]",
        ] {
            let draft = refusing(&[field]).unwrap();
            assert!(!draft.not_carried.is_empty(), "{field}");
            let error = refusing(&[field, field]);
            assert!(error.is_err() || field.contains('['), "{field} is refused although it is gone");
        }
    }

    #[test]
    fn what_a_copy_cannot_do_without_is_an_error() {
        for field in ["image", "command[0]", "entrypoint", "restart", "labels.roadstead.move", "ports[7]", "nonsense"] {
            assert_eq!(refusing(&[field]).unwrap_err().field(), Some(field));
        }
        let error = refusing(&["init", "name"]).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("new_name")));
        assert!(error.message().contains("web_1"), "{error}");
    }

    #[test]
    fn an_engine_that_is_away_is_not_asked_again() {
        let mut fitted = fit(&full(), &Layout::as_written(&full()), &Capabilities::all(), &Capabilities::all(), None);
        let error = do_without(&mut fitted, "web", Error::new(ErrorKind::Unavailable, "away")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
