//! The console of a running container.

use std::sync::Arc;

use roadstead_core::{AttachOptions, Attachment, Error, Result, TerminalSize};

use super::shared::Lxd;

/// C150, C151.
pub(super) async fn attach(_lxd: &Arc<Lxd>, _id: &str, _options: &AttachOptions) -> Result<Attachment> {
    Err(Error::unsupported("this yet"))
}

/// C152, C153.
pub(super) async fn resize(_lxd: &Arc<Lxd>, _id: &str, _size: TerminalSize) -> Result<()> {
    Err(Error::unsupported("this yet"))
}
