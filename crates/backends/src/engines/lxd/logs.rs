//! The console's log.

use std::sync::Arc;

use roadstead_core::{Error, ItemStream, LogOptions, LogRecord, Result};

use super::shared::Lxd;

/// C140–C144.
pub(super) async fn logs(_lxd: &Arc<Lxd>, _id: &str, _options: &LogOptions) -> Result<ItemStream<LogRecord>> {
    Err(Error::unsupported("this yet"))
}
