//! Files into and out of a container.

use std::sync::Arc;

use roadstead_core::{ByteStream, CopyInOptions, Error, Result};

use super::shared::Lxd;

/// C130, C131.
pub(super) async fn copy_out(_lxd: &Arc<Lxd>, _id: &str, _path: &str) -> Result<ByteStream> {
    Err(Error::unsupported("this yet"))
}

/// C132, C133.
pub(super) async fn copy_in(
    _lxd: &Arc<Lxd>,
    _id: &str,
    _path: &str,
    _archive: ByteStream,
    _options: &CopyInOptions,
) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
