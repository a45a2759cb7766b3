//! Whether a copy is what was asked for, as far as the target can tell without reading all of its files.
//!
//! That the files are all there is the word of both servers: each side ends its operation well only after the other has
//! confirmed that every file system arrived.

use std::sync::Arc;

use roadstead_core::{CopyOptions, Error, ErrorKind, Result, Retry};
use serde_json::Value;

use super::super::shared::Lxd;
use super::original::{Original, is_volatile};

/// Looks at the copy: same configuration and devices as asked for, same snapshots as the original.
pub(super) async fn verify(target: &Arc<Lxd>, original: &Original, body: &Value, options: &CopyOptions) -> Result<()> {
    let copy = Original::read(target, &options.name).await?;
    let differs = |what: &str| {
        let words = format!("the copy is not what was asked for: its {what} differ");
        Err(Error::new(ErrorKind::Unexpected, words).with_retry(Retry::Never))
    };
    let asked = |member: &str| body.get(member).and_then(Value::as_object).into_iter().flatten();
    let has = |key: &str, value: &Value| copy.config.get(key).map(String::as_str) == value.as_str();
    // An empty value is the same as none.
    if asked("config").any(|(key, value)| !is_volatile(key) && value.as_str() != Some("") && !has(key, value)) {
        return differs("configuration keys");
    }
    if asked("devices").any(|(name, _)| !copy.devices.contains_key(name)) {
        return differs("devices");
    }
    if options.snapshots {
        let names = |of: &Original| {
            let mut names: Vec<String> = of.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
            names.sort();
            names
        };
        if names(&copy) != names(original) {
            return differs("snapshots");
        }
    }
    if !options.live && copy.running {
        return differs("states");
    }
    Ok(())
}
