//! Everything that a server tells of a container.

use std::sync::Arc;

use roadstead_core::{ContainerDetails, Error, Result};

use super::request::Request;
use super::shared::Lxd;

/// C10, C11.
pub(super) async fn inspect(_lxd: &Arc<Lxd>, _id: &str) -> Result<ContainerDetails> {
    Err(Error::unsupported("this yet"))
}

/// `NotFound` when there is no such container.
pub(super) async fn exists(lxd: &Arc<Lxd>, id: &str) -> Result<()> {
    Request::get(&["instances", id]).bytes(&lxd.client).await.map(|_| ())
}
