//! What a specification needs an engine to be able to do, member by member.

use super::spec::{ContainerSpec, Limits, RestartPolicy};
use crate::capabilities::{Capabilities, Capability};
use crate::error::Result;

impl ContainerSpec {
    /// Refuses what an engine of these capabilities lacks. Engines call it before [`ContainerSpec::validate`], in
    /// [`crate::Node::create_container`] and [`crate::Node::check_container`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`]; it names the member, for example `limits.cpus`.
    pub fn require(&self, able: &Capabilities) -> Result<()> {
        able.require(Capability::Create)?;
        for (field, asked, capability) in [
            ("restart", self.restart != RestartPolicy::Never, Capability::RestartPolicy),
            ("health_check", self.health_check.is_some(), Capability::HealthCheck),
            ("ports", !self.ports.is_empty(), Capability::Ports),
            ("mounts", !self.mounts.is_empty(), Capability::Mounts),
            ("networks", !self.networks.is_empty(), Capability::Networks),
            ("user", self.user.is_some(), Capability::Users),
            ("privileged", self.privileged, Capability::Privileges),
            ("capabilities_add", !self.capabilities_add.is_empty(), Capability::Privileges),
            ("capabilities_drop", !self.capabilities_drop.is_empty(), Capability::Privileges),
        ] {
            if asked {
                able.require_for(field, capability)?;
            }
        }
        self.limits.require("limits", able)
    }
}

impl Limits {
    /// Refuses limits that would not take effect on an engine of these capabilities; `field` is where they stand in the
    /// caller's input.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] that names the member.
    pub fn require(&self, field: &str, able: &Capabilities) -> Result<()> {
        for (member, asked, capability) in [
            ("memory_bytes", self.memory_bytes.is_some(), Capability::LimitMemory),
            ("swap_bytes", self.swap_bytes.is_some(), Capability::LimitSwap),
            ("cpus", self.cpus.is_some(), Capability::LimitCpu),
            ("cpu_shares", self.cpu_shares.is_some(), Capability::LimitCpu),
            ("cpu_set", self.cpu_set.is_some(), Capability::LimitCpu),
            ("pids", self.pids.is_some(), Capability::LimitPids),
        ] {
            if asked {
                able.require_for(&format!("{field}.{member}"), capability)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_by_its_member() {
        let full: ContainerSpec = serde_json::from_value(serde_json::json!({
            "image": "a", "restart": {"policy": "always"}, "health_check": {"command": ["true"]}, "user": "1",
            "ports": [{"container_port": 1}], "mounts": [{"type": "tmpfs", "target": "/t"}],
            "networks": [{"network": "n"}], "privileged": true,
            "limits": {"memory_bytes": 8388608, "swap_bytes": 0, "cpu_set": "0", "pids": 9}
        }))
        .unwrap();
        full.require(&Capabilities::all()).unwrap();
        for (capability, field) in [
            (Capability::RestartPolicy, Some("restart")),
            (Capability::HealthCheck, Some("health_check")),
            (Capability::Ports, Some("ports")),
            (Capability::Mounts, Some("mounts")),
            (Capability::Networks, Some("networks")),
            (Capability::Users, Some("user")),
            (Capability::Privileges, Some("privileged")),
            (Capability::LimitMemory, Some("limits.memory_bytes")),
            (Capability::LimitSwap, Some("limits.swap_bytes")),
            (Capability::LimitCpu, Some("limits.cpu_set")),
            (Capability::LimitPids, Some("limits.pids")),
            (Capability::Create, None),
        ] {
            let mut able = Capabilities::all();
            able.set(capability, false);
            let error = full.require(&able).unwrap_err();
            assert_eq!((error.kind(), error.field()), (crate::ErrorKind::Unsupported, field), "{capability:?}");
        }
        ContainerSpec::new("a").require(&Capabilities { create: true, ..Capabilities::default() }).unwrap();
    }
}
