//! What happens on a server.

use std::sync::Arc;

use roadstead_core::{Error, Event, EventOptions, ItemStream, Result};

use super::shared::Lxd;

/// N50, N51.
pub(super) async fn stream(_lxd: &Arc<Lxd>, _options: &EventOptions) -> Result<ItemStream<Event>> {
    Err(Error::unsupported("this yet"))
}
