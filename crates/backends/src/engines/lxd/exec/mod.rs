//! Commands in a container as jobs.

use std::sync::Arc;

use roadstead_core::{Error, Job, JobSpec, Result};

use super::shared::Lxd;

/// J1 and following.
pub(super) async fn run(_lxd: &Arc<Lxd>, _id: &str, _job: &JobSpec) -> Result<Arc<dyn Job>> {
    Err(Error::unsupported("this yet"))
}
