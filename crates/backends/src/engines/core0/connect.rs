//! From a node's URI to a connected node, and which one runs on this machine.

use std::path::Path;
use std::sync::Arc;

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{Capabilities, ConnectOptions, Discovered, ErrorKind, NodeUri, Result};

use super::address::Address;
use super::client::Client;
use super::commands::HostCommands;
use super::shared::Core0;
use super::sweep;

/// Every scheme that is served.
pub(super) const SCHEMES: &[&str] = &["core0+unix", "core0+redis", "core0+rediss"];

/// Where a node has its Redis, and the socket that nothing else than core0 has.
const REDIS: &str = "/var/run/redis.sock";
const AGENT: &str = "/var/run/core.sock";

/// Connects to the node at `uri`.
pub(super) async fn connect(name: &str, uri: &NodeUri, options: &ConnectOptions) -> Result<Arc<Core0>> {
    let client = Client::new(Address::read(uri, options)?);
    client.greet(options.deadline).await?.check()?;
    let mut limits = JobLimits::default();
    limits.keep = options.keep_jobs;
    let groups = match HostCommands::new(Arc::clone(&client)).cgroups().list().await {
        Ok(_) => true,
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) => {
            return Err(error);
        }
        Err(_) => false,
    };
    let capabilities = capabilities(groups, &limits);
    let core0 = Core0::new(name, uri.to_string(), client, capabilities, JobKeeper::new(name, limits));
    sweep::soon(&core0);
    Ok(core0)
}

/// What a node can do. It reports nothing of the kind, but whether it knows control groups can be asked.
fn capabilities(groups: bool, limits: &JobLimits) -> Capabilities {
    let mut can = Capabilities::default();
    for capability in [
        &mut can.create,
        &mut can.restart,
        &mut can.kill,
        &mut can.wait,
        &mut can.exit_codes,
        &mut can.files,
        &mut can.logs,
        &mut can.logs_split,
        &mut can.log_times,
        &mut can.stats,
        &mut can.host,
        &mut can.usage,
        &mut can.processes,
        &mut can.node_processes,
        &mut can.jobs,
        &mut can.job_kill,
        &mut can.node_jobs,
        &mut can.mounts,
        &mut can.ports,
    ] {
        *capability = true;
    }
    can.limit_memory = groups;
    can.jobs_kept_seconds = limits.keep.as_secs();
    can.jobs_kept_max = u64::try_from(limits.max_jobs).unwrap_or(u64::MAX);
    can
}

/// The node that this machine is.
pub(super) fn discover() -> Vec<Discovered> {
    found(Path::new(REDIS), Path::new(AGENT)).into_iter().collect()
}

fn found(redis: &Path, agent: &Path) -> Option<Discovered> {
    // A Redis alone is anybody's.
    let both = redis.exists() && agent.exists();
    both.then(|| Discovered::new("core0", format!("core0+unix://{}", redis.display()), redis.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cannot_be_chosen() {
        let can = capabilities(true, &JobLimits::default());
        let mut spec = roadstead_core::ContainerSpec::new("/x.flist");
        spec.require(&can).expect("the default one is there");
        spec.networks = vec![roadstead_core::NetworkAttachment::new("default")];
        let refused = spec.require(&can).unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (ErrorKind::Unsupported, Some("networks")));
    }

    #[test]
    fn a_redis_alone_is_no_node() {
        let directory = tempfile::tempdir().unwrap();
        let (redis, agent) = (directory.path().join("redis.sock"), directory.path().join("core.sock"));
        std::fs::write(&redis, "").unwrap();
        assert_eq!(found(&redis, &agent), None);
        std::fs::write(&agent, "").unwrap();
        let discovered = found(&redis, &agent).unwrap();
        assert!(discovered.uri.starts_with("core0+unix:///") && discovered.uri.ends_with("/redis.sock"));
    }
}
