//! Dialects: the APIs of older systems, spoken over REST so that their clients keep working.
//!
//! A dialect is a router and pure translations (their words and ours), nothing else: what it tells comes from core and from the
//! server's own rooms, and it runs over every engine. Here is what they share: which there are ([`Dialect`]), how one is switched on
//! ([`DialectConfig`]), through which door a request came and who may come through it ([`Door`]), how an error looks ([`face`]), and
//! the one way by which something is changed ([`changing`]).

mod address;
mod config;
pub(crate) mod copa;
mod deed;
mod door;
mod face;
pub(crate) mod pharos;

use std::sync::Arc;

use actix_web::web;
use serde::{Deserialize, Serialize};

pub(crate) use address::Address;
pub use config::DialectConfig;
pub(crate) use config::{check, warnings};
pub(crate) use deed::changing;
pub(crate) use door::Door;
pub(crate) use face::render;

use roadstead_core::{ErrorKind, Result};

use crate::config::Config;
use crate::nodes::NodeSlot;
use crate::records::Records;
use crate::state::App;

/// An older API that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The Docker monitoring of pharos.
    Pharos,
    /// The container pools of COPA.
    Copa,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Dialect; 2] = [Dialect::Pharos, Dialect::Copa];

    /// Its name: in the configuration, and as the first part of its paths on the main listener.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Pharos => "pharos",
            Dialect::Copa => "copa",
        }
    }

    /// Its first part of the path on the main listener.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Dialect::Pharos => "/pharos",
            Dialect::Copa => "/copa",
        }
    }

    /// What its nodes are connected by when nothing else is said, with `{host}` for the address that a client gives. A client of
    /// either system says an address and nothing else.
    pub(crate) const fn default_node_uri(self) -> &'static str {
        match self {
            Dialect::Pharos => "docker+tcp://{host}:2375",
            Dialect::Copa => "lxd+https://{host}:8443?trust=first-use",
        }
    }

    /// Its routes, as they are at the root of a listener of its own.
    pub(crate) fn routes(self, config: &mut web::ServiceConfig) {
        match self {
            Dialect::Pharos => pharos::routes(config),
            Dialect::Copa => copa::routes(config),
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The part of the configuration's reference that is about dialects.
pub(crate) fn reference() -> String {
    let mut text = REFERENCE_HEAD.to_owned();
    for (key, words) in config::KEYS {
        text.push_str(&format!("| `{key}` | {words} |\n"));
    }
    text.push_str("\n`node_uri` when absent:");
    for dialect in Dialect::ALL {
        text.push_str(&format!("\n* `{}`: `{}`", dialect.name(), dialect.default_node_uri()));
    }
    text.push('\n');
    text
}

const REFERENCE_HEAD: &str = "
## Dialects

The APIs of older systems, which are off unless named; [dialects](dialects/README.md) says what they are. Each is below its name on
the main listener (`/pharos`, `/copa`), where callers need the token, and with an address on a listener of its own, where the paths
are the old ones. In the file:

```toml
[[dialects]]
name = \"copa\"
listen = \"127.0.0.1:8000\"
anonymous = \"operate\"
node_uri = \"lxd+https://{host}:8443?trust=first-use\"
certificate = \"/etc/roadstead/lxd.crt\"
key = \"/etc/roadstead/lxd.key\"
```

| key | is |
|---|---|
";

/// What the dialects keep.
#[derive(Debug)]
pub(crate) struct Dialects {
    /// The last metrics.
    pub(crate) pharos: pharos::Kept,
    /// What is measured for COPA.
    pub(crate) copa: copa::Monitor,
}

impl Dialects {
    /// In this store.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn new(records: &Records, config: &Config) -> Result<Self> {
        Ok(Dialects { pharos: pharos::Kept::default(), copa: copa::Monitor::new(records, config)? })
    }

    /// Begins what dialects do by themselves, until the server ends.
    pub(crate) fn keep(app: &web::Data<App>) {
        copa::keep(app);
    }

    /// A node was removed: what is kept of it goes, too, unless there is one of its name again.
    ///
    /// # Errors
    /// Those of the store; it can be done again.
    pub(crate) async fn forget(app: &App, node: &str) -> Result<()> {
        let _changing = app.dialects.pharos.changing.lock().await;
        Dialects::forget_alone(app, node).await
    }

    /// The same, for whoever keeps others from adding nodes by pharos.
    ///
    /// # Errors
    /// As there.
    async fn forget_alone(app: &App, node: &str) -> Result<()> {
        if app.nodes.get(node).is_ok() {
            return Ok(());
        }
        app.dialects.pharos.forget(node);
        let said = match app.records.pharos()?.remove(node).await {
            // Nothing was said of one that was added otherwise.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        // What cannot be removed of one keeps nothing of the other.
        let measured = app.dialects.copa.forget(node).await;
        said.and(measured)
    }
}

/// The nodes that dialects show, by name: all but the simulation that the server serves when it finds no engine. Clients of an
/// older API have no way to see that nothing on it is real.
pub(crate) fn nodes(app: &App) -> Vec<Arc<NodeSlot>> {
    app.nodes.all().into_iter().filter(|slot| !slot.is_placeholder()).collect()
}
