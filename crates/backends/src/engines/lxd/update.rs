//! Changing the limits and the restart policy of a container.

use std::sync::Arc;

use roadstead_core::{ContainerUpdate, Error, Result};

use super::shared::Lxd;

/// C80, C81.
pub(super) async fn update(_lxd: &Arc<Lxd>, _id: &str, _changes: &ContainerUpdate) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
