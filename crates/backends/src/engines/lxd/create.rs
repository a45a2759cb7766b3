//! From a spec to an instance.

use std::sync::Arc;

use roadstead_core::{ContainerSpec, CreatedContainer, Error, Result};

use super::shared::Lxd;

/// N30–N40.
pub(super) async fn create_container(_lxd: &Arc<Lxd>, _spec: &ContainerSpec) -> Result<CreatedContainer> {
    Err(Error::unsupported("this yet"))
}
