//! What a daemon can do, from what it reports: its API version, `/info`, the components in `/version`, and one probe.

use roadstead_core::Capabilities;
use roadstead_core::jobs::JobLimits;

use super::system::{Info, Version};

/// Everything that the decision rests on.
#[derive(Debug)]
pub(super) struct Reported<'a> {
    pub(super) api: (usize, usize),
    /// Whether it has the call to update limits.
    pub(super) updates: bool,
    pub(super) version: &'a Version,
    pub(super) info: &'a Info,
    /// Whether the daemon is on this machine, so that its processes are ours to see.
    pub(super) local: bool,
}

/// The capabilities of a daemon.
pub(super) fn derive(reported: &Reported<'_>, limits: &JobLimits) -> Capabilities {
    let info = reported.info;
    let told = |value: Option<bool>| value.unwrap_or(false);
    // A daemon without root cannot make cgroups of version 1, nor can one whose driver is "none".
    let cgroups = info.cgroup_driver.as_deref() != Some("none")
        && !(info.rootless() && info.cgroup_version.as_deref() == Some("1"));
    // Where each container has a monitor of its own and no daemon stays, systemd has to start the checks. Whether it is
    // there shows in the way cgroups are made.
    let supervised = !reported.version.has_component("conmon") || info.cgroup_driver.as_deref() == Some("systemd");
    // Podman gives everything that is copied out to root; what it exports keeps its owners.
    let owners = !reported.version.has_component("conmon");
    let linux = info.os_type.as_deref().is_none_or(|os| os == "linux");
    let mut can = Capabilities::all();
    can.node_jobs = false;
    // The kernel tells these, and only of the machine that we are on.
    can.host = reported.local;
    can.usage_machine = reported.local && cgroups;
    can.usage_history = reported.local && cgroups;
    can.process_files = reported.local;
    can.copy = false;
    // What has no daemon that stays answers the question for a swarm, and knows none.
    can.pools = info.swarm.is_some() && !reported.version.has_component("conmon");
    can.file_owners = owners;
    // A daemon's archives hold `security.capability` and nothing else of the kind.
    can.file_attributes = reported.version.has_component("conmon");
    // What a daemon calls a checkpoint holds the processes and not the files; nothing makes a container of an archive.
    can.snapshots = false;
    can.snapshots_stateful = false;
    can.snapshots_expire = false;
    can.backups = false;
    can.update = reported.updates && reported.api >= (1, 22);
    can.freeze = cgroups;
    can.stats = cgroups;
    can.usage = cgroups;
    can.limit_memory = told(info.memory_limit);
    can.limit_swap = told(info.swap_limit);
    can.limit_cpu = told(info.cpu_cfs_quota);
    can.limit_pids = told(info.pids_limit);
    can.health_check = supervised;
    can.privileges = linux;
    can.jobs_kept_seconds = limits.keep.as_secs();
    can.jobs_kept_max = u64::try_from(limits.max_jobs).unwrap_or(u64::MAX);
    can
}

/// How many cores it counts, where it refuses limits of more. One without a daemon leaves that to the kernel.
pub(super) fn cores(reported: &Reported<'_>) -> Option<u32> {
    let refuses = !reported.version.has_component("conmon");
    reported.info.cpus.and_then(|cores| u32::try_from(cores).ok()).filter(|cores| refuses && *cores > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(version: &str, info: &str, updates: bool) -> Capabilities {
        let version: Version = serde_json::from_str(version).unwrap();
        let info: Info = serde_json::from_str(info).unwrap();
        derive(&Reported { api: (1, 41), updates, version: &version, info: &info, local: true }, &JobLimits::default())
    }

    #[test]
    fn limits_and_cgroups_are_what_the_daemon_reports() {
        let docker = derived(
            r#"{"Components":[{"Name":"Engine"}]}"#,
            r#"{"MemoryLimit":true,"SwapLimit":false,"CpuCfsQuota":true,"PidsLimit":true,"CgroupDriver":"cgroupfs",
                "CgroupVersion":"1","OSType":"linux","SecurityOptions":["name=seccomp,profile=default"]}"#,
            true,
        );
        assert!(docker.limit_memory && !docker.limit_swap && docker.freeze && docker.health_check && docker.update);
        assert_eq!(docker.jobs_kept_seconds, 3600);
        let rootless = derived(
            "{}",
            r#"{"MemoryLimit":false,"CgroupDriver":"none","CgroupVersion":"1","SecurityOptions":["name=rootless"]}"#,
            true,
        );
        assert!(!rootless.limit_memory && !rootless.freeze && !rootless.stats);
    }

    #[test]
    fn without_a_daemon_that_stays_health_checks_need_systemd() {
        let version = r#"{"Components":[{"Name":"Podman Engine"},{"Name":"Conmon"}]}"#;
        assert!(!derived(version, r#"{"CgroupDriver":"cgroupfs"}"#, false).health_check);
        let with_systemd = derived(version, r#"{"CgroupDriver":"systemd"}"#, false);
        assert!(with_systemd.health_check && !with_systemd.update);
    }
}
