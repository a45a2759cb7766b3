//! What a daemon refuses of a specification, found before it is asked: its own words name no member.

use roadstead_core::{ContainerSpec, Error, Limits, Result, names};

use super::client::Client;

/// Every kernel capability; daemons take no other words, but for `ALL`.
const KERNEL_CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// N41, N42. Asks nobody.
pub(super) fn check(client: &Client, spec: &ContainerSpec) -> Result<()> {
    spec.require(&client.capabilities)?;
    spec.validate()?;
    names::image_reference("image", &spec.image)?;
    network_modes(spec)?;
    kernel_capabilities(spec)?;
    cores(client.cores, &spec.limits)
}

/// Modes that are no networks, but are named like some.
pub(super) fn is_mode(network: &str) -> bool {
    matches!(network, "host" | "none")
}

fn network_modes(spec: &ContainerSpec) -> Result<()> {
    for (index, network) in spec.networks.iter().enumerate() {
        if is_mode(&network.network) && spec.networks.len() > 1 {
            return Err(Error::invalid(
                format!("networks[{index}].network"),
                format!("{:?} cannot be combined with other networks", network.network),
            ));
        }
        let again = spec.networks.iter().take(index).any(|earlier| earlier.network == network.network);
        if again {
            return Err(Error::invalid(format!("networks[{index}].network"), "is given twice"));
        }
    }
    Ok(())
}

fn kernel_capabilities(spec: &ContainerSpec) -> Result<()> {
    for (field, names) in [("capabilities_add", &spec.capabilities_add), ("capabilities_drop", &spec.capabilities_drop)]
    {
        for (index, name) in names.iter().enumerate() {
            let upper = name.to_ascii_uppercase();
            let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if short != "ALL" && !KERNEL_CAPABILITIES.contains(&short) {
                return Err(Error::invalid(format!("{field}[{index}]"), format!("no kernel has a capability {name}")));
            }
        }
    }
    Ok(())
}

/// `cores` is how many the daemon counts, where it refuses more.
fn cores(cores: Option<u32>, limits: &Limits) -> Result<()> {
    let Some(cores) = cores else { return Ok(()) };
    if limits.cpus.is_some_and(|cpus| cpus > f64::from(cores)) {
        return Err(Error::invalid("limits.cpus", format!("the node has {cores} cores")));
    }
    let set = limits.cpu_set.as_deref().unwrap_or_default();
    let beyond = set.split([',', '-']).filter_map(|core| core.trim().parse::<u32>().ok()).any(|core| core >= cores);
    if beyond {
        return Err(Error::invalid("limits.cpu_set", format!("the node has {cores} cores, counted from 0")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use roadstead_core::NetworkAttachment;

    use super::*;

    #[test]
    fn modes_stand_alone_and_networks_once() {
        let mut spec = ContainerSpec::new("a");
        spec.networks = ["n", "host"].map(NetworkAttachment::new).into();
        assert_eq!(network_modes(&spec).unwrap_err().field(), Some("networks[1].network"));
        spec.networks = ["n", "n"].map(NetworkAttachment::new).into();
        assert_eq!(network_modes(&spec).unwrap_err().field(), Some("networks[1].network"));
        spec.networks = ["none"].map(NetworkAttachment::new).into();
        network_modes(&spec).unwrap();
    }

    #[test]
    fn capabilities_that_no_kernel_has_are_named() {
        let mut spec = ContainerSpec::new("a");
        spec.capabilities_add = ["net_admin", "CAP_CHOWN", "ALL"].map(str::to_owned).into();
        kernel_capabilities(&spec).unwrap();
        spec.capabilities_drop = vec!["FLY".to_owned()];
        assert_eq!(kernel_capabilities(&spec).unwrap_err().field(), Some("capabilities_drop[0]"));
        assert!(KERNEL_CAPABILITIES.is_sorted());
    }

    #[test]
    fn cores_that_are_not_there_are_refused_where_the_daemon_does() {
        let limits = |cpus, set: Option<&str>| {
            let mut limits = Limits::default();
            (limits.cpus, limits.cpu_set) = (cpus, set.map(str::to_owned));
            limits
        };
        for allowed in [limits(Some(2.0), Some("0-1")), limits(None, Some("1")), limits(None, None)] {
            cores(Some(2), &allowed).unwrap();
        }
        assert_eq!(cores(Some(2), &limits(Some(2.5), None)).unwrap_err().field(), Some("limits.cpus"));
        assert_eq!(cores(Some(2), &limits(None, Some("0,2-3"))).unwrap_err().field(), Some("limits.cpu_set"));
        cores(None, &limits(Some(64.0), Some("63"))).unwrap();
    }
}
