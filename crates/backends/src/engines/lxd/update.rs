//! Changing the limits and the restart policy of a container.

use std::sync::Arc;

use roadstead_core::{Capability, ContainerUpdate, RestartPolicy, Result};
use serde_json::json;

use super::create::change;
use super::lifecycle::patient;
use super::shared::Lxd;
use super::{inspect, server, spec};

/// C80, C81. The server has limits take effect at once where the container runs.
pub(super) async fn update(lxd: &Arc<Lxd>, id: &str, changes: &ContainerUpdate) -> Result<()> {
    for capability in spec::limits_needed(&changes.limits) {
        lxd.capabilities.require(capability)?;
    }
    // Nothing is restarted here, so never to do it is what there is already.
    if changes.restart.is_some_and(|policy| policy != RestartPolicy::Never) {
        lxd.capabilities.require(Capability::RestartPolicy)?;
    }
    changes.validate()?;
    server::must_have_cpus(lxd, &changes.limits).await?;
    let config = spec::write_limits(&changes.limits)?;
    if config.is_empty() {
        return inspect::exists(lxd, id).await;
    }
    let patch = json!({"config": config});
    patient(|| change(lxd, id, &patch)).await
}
