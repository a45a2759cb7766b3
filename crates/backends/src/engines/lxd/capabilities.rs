//! What a server can do, from what it reports: the extensions of its API.

use std::collections::BTreeSet;

use roadstead_core::Capabilities;
use roadstead_core::jobs::JobLimits;

/// Everything that the decision rests on.
#[derive(Debug)]
pub(super) struct Reported<'a> {
    pub(super) extensions: &'a BTreeSet<String>,
    /// Whether the server is on this machine, so that its processes are ours to see.
    pub(super) local: bool,
}

/// The capabilities of a server.
pub(super) fn derive(reported: &Reported<'_>, limits: &JobLimits) -> Capabilities {
    let has = |extension: &str| reported.extensions.contains(extension);
    let mut can = Capabilities::all();
    can.node_jobs = false;
    // The kernel tells these, and only of the machine that we are on.
    can.host = reported.local;
    can.usage_machine = reported.local;
    can.usage_history = reported.local;
    can.process_files = reported.local;
    // What holds processes needs a program on the server that is not told of.
    can.snapshots_stateful = false;
    can.snapshots_expire = has("snapshot_expiry_creation");
    can.backups = has("container_backup") && has("backup_compression_algorithm") && has("backup_override_name");
    can.copy = has("instances");
    can.pools = has("clustering");
    // There is no call for it: only who sees the process can send it a signal.
    can.kill = reported.local;
    // Swap is allowed or not, and never counted.
    can.limit_swap = false;
    // Its name server answers for who asked it for an address, and a container with a command of its own does not.
    can.network_names = false;
    // The console is one stream, of the running container only.
    can.logs_split = false;
    can.log_times = false;
    can.attach = has("console");
    can.events_since = false;
    // Nothing looks after a container's health, and nothing restarts what ended by itself.
    can.health_check = false;
    can.restart_policy = false;
    can.ports = has("proxy");
    // Of a container that does not run, the endpoint for files shows the root disk; only volumes can be read in another way.
    can.binds_at_rest = false;
    can.job_kill = has("container_exec_signal_handling");
    can.jobs_kept_seconds = limits.keep.as_secs();
    can.jobs_kept_max = u64::try_from(limits.max_jobs).unwrap_or(u64::MAX);
    can
}
