//! What the main process may do: privileged or not, kernel capabilities.

use roadstead_core::{ContainerSpec, Error, Result};

use super::super::instance::Config;
use super::raw::RawLxc;

pub(super) const PRIVILEGED: &str = "security.privileged";
pub(super) const NESTING: &str = "security.nesting";
const DROP: &str = "lxc.cap.drop";
const KEEP: &str = "lxc.cap.keep";

/// Kernel capabilities that reach beyond any container and are never given to one with users of its own: the kernel
/// asks for them in the node's own user namespace.
const BEYOND: [&str; 13] = [
    "audit_control",
    "audit_read",
    "block_suspend",
    "mac_admin",
    "mac_override",
    "perfmon",
    "bpf",
    "sys_boot",
    "sys_module",
    "sys_rawio",
    "sys_time",
    "syslog",
    "wake_alarm",
];

/// Writes them; gives what cannot be as asked.
pub(super) fn write(spec: &ContainerSpec, config: &mut Config, raw: &mut RawLxc) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if spec.privileged {
        config.insert(PRIVILEGED.to_owned(), "true".to_owned());
        config.insert(NESTING.to_owned(), "true".to_owned());
    }
    let (add, drop) = (plain(&spec.capabilities_add), plain(&spec.capabilities_drop));
    if drop.iter().any(|name| name == "all") {
        if add.iter().any(|name| name == "all") {
            return Err(Error::invalid("capabilities_add", "ALL cannot be added and dropped"));
        }
        raw.push(KEEP, if add.is_empty() { "none".to_owned() } else { add.join(" ") });
    } else if !drop.is_empty() {
        raw.push(DROP, drop.join(" "));
    }
    // Every other one, the container has already, over what is its own.
    for name in add.iter().filter(|name| !spec.privileged && BEYOND.contains(&name.as_str())) {
        warnings.push(format!("{} has no effect in a container that is not privileged", name.to_uppercase()));
    }
    Ok(warnings)
}

/// Whether it has the node's own users.
pub(super) fn is_privileged(config: &Config) -> bool {
    config.get(PRIVILEGED).is_some_and(|value| matches!(value.as_str(), "true" | "1" | "yes" | "on"))
}

/// Reads what of it the configuration tells.
pub(super) fn read(config: &Config, raw: &RawLxc, spec: &mut ContainerSpec) {
    spec.privileged = is_privileged(config);
    let names = |text: &str| text.split_ascii_whitespace().map(str::to_uppercase).collect::<Vec<_>>();
    if let Some(keep) = raw.get(KEEP) {
        spec.capabilities_drop = vec!["ALL".to_owned()];
        spec.capabilities_add = names(keep).into_iter().filter(|name| name != "NONE").collect();
    } else {
        spec.capabilities_drop = raw.all(DROP).flat_map(names).collect();
    }
}

/// Lower case, without the prefix.
fn plain(names: &[String]) -> Vec<String> {
    let lower = names.iter().map(|name| name.to_ascii_lowercase());
    lower.map(|name| name.strip_prefix("cap_").unwrap_or(&name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(add: &[&str], drop: &[&str]) -> (ContainerSpec, Vec<String>) {
        let mut spec = ContainerSpec::new("i");
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        (spec.capabilities_add, spec.capabilities_drop) = (owned(add), owned(drop));
        let (mut config, mut raw) = (Config::new(), RawLxc::default());
        let warnings = write(&spec, &mut config, &mut raw).unwrap();
        let mut found = ContainerSpec::new("i");
        read(&config, &raw, &mut found);
        (found, warnings)
    }

    #[test]
    fn capabilities_are_dropped_and_kept() {
        let (found, warnings) = written(&[], &["CAP_CHOWN", "mknod"]);
        assert_eq!((found.capabilities_drop, warnings.len()), (vec!["CHOWN".to_owned(), "MKNOD".to_owned()], 0));
        let (found, _) = written(&["NET_ADMIN"], &["ALL"]);
        assert_eq!((found.capabilities_drop[0].as_str(), found.capabilities_add[0].as_str()), ("ALL", "NET_ADMIN"));
        let (found, _) = written(&[], &["all"]);
        assert!(found.capabilities_add.is_empty() && found.capabilities_drop == ["ALL"]);
        assert_eq!(written(&["SYS_TIME", "NET_ADMIN"], &[]).1.len(), 1);
    }
}
