//! Resource use as numbers.

use std::sync::Arc;

use roadstead_core::{ContainerStats, Error, Result};

use super::shared::Lxd;

/// C160, C161.
pub(super) async fn stats(_lxd: &Arc<Lxd>, _id: &str) -> Result<ContainerStats> {
    Err(Error::unsupported("this yet"))
}
