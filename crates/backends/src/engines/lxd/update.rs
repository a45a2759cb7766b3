//! Changing the limits and the configuration of a container.

use std::sync::Arc;

use roadstead_core::{Error, Limits, Result};

use super::shared::Lxd;

/// C80.
pub(super) async fn update(_lxd: &Arc<Lxd>, _id: &str, _limits: &Limits) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
