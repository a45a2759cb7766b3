//! Changing the limits and the restart policy of a container.

use std::sync::Arc;

use roadstead_core::{Capability, ContainerUpdate, RestartPolicy, Result};
use serde_json::json;

use super::create::change;
use super::instance::{Config, Instance};
use super::lifecycle::patient;
use super::shared::Lxd;
use super::{inspect, server, spec};

/// Whether an instance is started with the server.
pub(super) const AUTOSTART: &str = "boot.autostart";
/// What [`AUTOSTART`] was before the instance was held.
pub(super) const HELD: &str = "user.roadstead.held";
/// There was none.
pub(super) const NOTHING: &str = "none";

/// The keys that hold an instance with this configuration, or let it go; an empty value takes a key away.
fn held(own: &Config, hold: bool) -> Config {
    let mut changes = Config::new();
    match (own.get(HELD), hold) {
        (None, true) => {
            changes.insert(HELD.to_owned(), own.get(AUTOSTART).cloned().unwrap_or_else(|| NOTHING.to_owned()));
            changes.insert(AUTOSTART.to_owned(), "false".to_owned());
        }
        (Some(before), false) => {
            let before = if before == NOTHING { "" } else { before };
            changes.insert(AUTOSTART.to_owned(), before.to_owned());
            changes.insert(HELD.to_owned(), String::new());
        }
        _ => {}
    }
    changes
}

/// C80, C81. The server has limits take effect at once where the container runs.
pub(super) async fn update(lxd: &Arc<Lxd>, id: &str, changes: &ContainerUpdate) -> Result<()> {
    changes.limits.require("limits", &lxd.capabilities)?;
    // Nothing is restarted here, so never to do it is what there is already.
    if changes.restart.is_some_and(|policy| policy != RestartPolicy::Never) {
        lxd.capabilities.require(Capability::RestartPolicy)?;
    }
    changes.validate()?;
    server::must_have_cpus(lxd, &changes.limits).await?;
    let mut config = spec::write_limits(&changes.limits)?;
    if let Some(hold) = changes.hold {
        config.extend(held(&Instance::read(lxd, id).await?.config, hold));
    }
    if config.is_empty() {
        return inspect::exists(lxd, id).await;
    }
    let patch = json!({"config": config});
    patient(|| change(lxd, id, &patch)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_is_as_it_was_when_it_is_let_go() {
        for before in [Config::new(), Config::from([(AUTOSTART.to_owned(), "true".to_owned())])] {
            let mut now = before.clone();
            assert!(held(&now, false).is_empty());
            now.extend(held(&now, true));
            assert_eq!(now.get(AUTOSTART).map(String::as_str), Some("false"));
            assert!(held(&now, true).is_empty());
            now.extend(held(&now, false));
            now.retain(|_, value| !value.is_empty());
            assert_eq!(now, before);
        }
    }
}
