//! A container's file system as a stream, and as an image.

use std::sync::Arc;

use roadstead_core::{ByteStream, CommitOptions, Error, Result};

use super::shared::Lxd;

/// C110.
pub(super) async fn commit(_lxd: &Arc<Lxd>, _id: &str, _options: &CommitOptions) -> Result<String> {
    Err(Error::unsupported("this yet"))
}

/// C120.
pub(super) async fn export(_lxd: &Arc<Lxd>, _id: &str) -> Result<ByteStream> {
    Err(Error::unsupported("this yet"))
}
