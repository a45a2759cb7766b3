//! The few facts about a container that must be known before its streams and jobs are touched.

use std::collections::BTreeMap;

use roadstead_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::request::Request;
use super::shared::Lxd;

/// What a server tells of an instance, as far as it matters for streams.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    status: Option<String>,
    created_at: Option<String>,
    last_used_at: Option<String>,
    config: Option<BTreeMap<String, String>>,
    expanded_config: Option<BTreeMap<String, String>>,
}

/// A container that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether it runs; frozen ones do, too.
    pub(super) running: bool,
    /// Whether it is frozen.
    pub(super) frozen: bool,
    /// Tells it from a later one of the same name.
    pub(super) incarnation: String,
    /// User and group of its main process, where they are set.
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// Directory of its main process, where it is set.
    pub(super) directory: Option<String>,
    /// When it was last started, in the server's words.
    pub(super) started: String,
    /// What was asked for when it was created, where that was done by us.
    pub(super) asked: Option<Asked>,
}

/// What was asked for the streams of a container's main process, whose console is a terminal in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    pub(super) tty: bool,
    pub(super) stdin: bool,
}

impl Facts {
    /// Asks the server. `NotFound` when there is no such container.
    pub(super) async fn of(lxd: &Lxd, id: &str) -> Result<Self> {
        Request::get(&["instances", id]).json(&lxd.client).await.map(Facts::read)
    }

    fn read(told: Told) -> Self {
        let config = told.config.unwrap_or_default();
        let effective = told.expanded_config.unwrap_or_default();
        let raw = effective.get("raw.lxc").or_else(|| config.get("raw.lxc")).map(String::as_str).unwrap_or_default();
        let number = |key| setting(raw, key).and_then(|value| value.parse().ok());
        let status = told.status.unwrap_or_default();
        Facts {
            running: matches!(status.as_str(), "Running" | "Frozen" | "Ready" | "Freezing" | "Thawed"),
            frozen: status == "Frozen",
            // Older servers give instances no number of their own.
            incarnation: config.get("volatile.uuid").cloned().or(told.created_at).unwrap_or_default(),
            user: number("lxc.init.uid"),
            group: number("lxc.init.gid"),
            directory: setting(raw, "lxc.init.cwd").map(str::to_owned),
            started: told.last_used_at.unwrap_or_default(),
            asked: config.get("user.roadstead.spec").and_then(|kept| serde_json::from_str(kept).ok()),
        }
    }

    /// Whether the terminal that its console is was asked for. Of what others created, it is what it is.
    pub(super) fn tty(&self) -> bool {
        self.asked.is_none_or(|asked| asked.tty)
    }

    /// `Conflict` unless processes can be started in it.
    pub(super) fn must_run(&self) -> Result<()> {
        let why = match (self.running, self.frozen) {
            (true, false) => return Ok(()),
            (true, true) => "the container is frozen",
            (false, _) => "the container does not run",
        };
        Err(Error::new(ErrorKind::Conflict, why))
    }
}

/// The last value of a key in a configuration of LXC's own: a line `key = value`; later lines win.
fn setting<'a>(raw: &'a str, key: &str) -> Option<&'a str> {
    raw.lines()
        .rev()
        .filter_map(|line| line.split_once('='))
        .find(|(name, value)| name.trim() == key && !value.trim().is_empty())
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_read_tolerantly() {
        let told = json!({
            "status": "Frozen", "created_at": "2026-01-01T00:00:00Z", "extra": 1,
            "config": {"volatile.uuid": "u", "user.roadstead.spec": "{\"stdin\": true, \"more\": 1}"},
            "expanded_config": {"raw.lxc": "lxc.init.uid = 7\nlxc.init.uid=8\nlxc.init.cwd = /srv/a b\n#lxc.init.gid = 1"},
        });
        let facts = Facts::read(serde_json::from_value(told).unwrap());
        assert!(facts.running && facts.frozen && facts.must_run().is_err());
        assert_eq!((facts.user, facts.group, facts.directory.as_deref()), (Some(8), None, Some("/srv/a b")));
        assert_eq!(facts.incarnation, "u");
        assert_eq!(facts.asked, Some(Asked { tty: false, stdin: true }));
        assert!(!facts.tty() && Facts::default().tty());
        let bare = Facts::read(serde_json::from_value(json!({"status": null, "config": null})).unwrap());
        assert_eq!(bare, Facts::default());
        assert_eq!(bare.must_run().unwrap_err().kind(), ErrorKind::Conflict);
    }
}
