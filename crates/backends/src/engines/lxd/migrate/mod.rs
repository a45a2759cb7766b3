//! Copying a container from one server to another by the servers' own migration.

use std::sync::Arc;

use roadstead_core::{Capability, CopyOptions, CopyProgress, CopyWay, Error, ItemStream, Node, Result};

use super::shared::Lxd;

/// N60, N61.
pub(super) async fn copy_ways(_lxd: &Arc<Lxd>, _source: &dyn Node, _container: &str) -> Result<Vec<CopyWay>> {
    Err(Error::unsupported(Capability::Copy.text()))
}

/// N62 to N64.
pub(super) async fn copy_container(
    _lxd: &Arc<Lxd>,
    _source: &dyn Node,
    _options: &CopyOptions,
) -> Result<ItemStream<CopyProgress>> {
    Err(Error::unsupported(Capability::Copy.text()))
}
