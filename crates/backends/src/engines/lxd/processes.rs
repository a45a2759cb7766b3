//! The processes of a container as typed values.

use std::sync::Arc;

use roadstead_core::{Error, Process, Result};

use super::shared::Lxd;

/// C170 and following.
pub(super) async fn processes(_lxd: &Arc<Lxd>, _id: &str) -> Result<Vec<Process>> {
    Err(Error::unsupported("this yet"))
}
