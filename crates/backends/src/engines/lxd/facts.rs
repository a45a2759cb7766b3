//! The few facts about a container that must be known before its streams and jobs are touched.

use roadstead_core::{ContainerState, Error, ErrorKind, Result, Timestamp};
use serde::Deserialize;

use super::instance::{self, Config, Instance};
use super::shared::Lxd;
use super::spec::{RAW, RawLxc};

/// A container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    state: ContainerState,
    /// Tells it from a later one of the same name.
    pub(super) incarnation: String,
    /// When it was last started.
    pub(super) started: Option<Timestamp>,
    /// User and group of its main process, where they are set.
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// Directory of its main process, where it is set.
    pub(super) directory: Option<String>,
    /// What was asked for when it was created, where that was done by us.
    asked: Option<Asked>,
}

/// What was asked for the streams of a container's main process, whose console is a terminal in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Asked {
    tty: bool,
    stdin: bool,
}

impl Asked {
    fn read(config: &Config) -> Option<Self> {
        serde_json::from_str(config.get("user.roadstead.spec")?).ok()
    }
}

impl Facts {
    /// Asks the server. `NotFound` when there is no such container.
    pub(super) async fn of(lxd: &Lxd, id: &str) -> Result<Self> {
        Instance::read(lxd, id).await.map(|instance| Facts::read(&instance))
    }

    fn read(instance: &Instance) -> Self {
        let raw = RawLxc::parse(instance.effective().get(RAW).map(String::as_str).unwrap_or_default());
        let number = |key| raw.get(key).and_then(|value| value.parse().ok());
        // Older servers give instances no number of their own.
        let created = || instance.created_at.map(|time| time.to_string());
        Facts {
            state: instance.state(),
            incarnation: instance.config.get("volatile.uuid").cloned().or_else(created).unwrap_or_default(),
            started: instance.started_at(),
            user: number("lxc.init.uid"),
            group: number("lxc.init.gid"),
            directory: raw.get("lxc.init.cwd").filter(|directory| !directory.is_empty()).map(str::to_owned),
            asked: Asked::read(&instance.config),
        }
    }

    /// Whether processes are in it, running or frozen.
    pub(super) fn runs(&self) -> bool {
        self.state.has_processes()
    }

    /// Whether the terminal that its console is was asked for. Of what others created, it is what it is.
    pub(super) fn tty(&self) -> bool {
        self.asked.is_none_or(|asked| asked.tty)
    }

    /// Whether its main process may be written to.
    pub(super) fn stdin(&self) -> bool {
        self.asked.is_none_or(|asked| asked.stdin)
    }

    /// `Conflict` unless processes can be started in it.
    pub(super) fn must_run(&self) -> Result<()> {
        match self.state {
            ContainerState::Frozen => Err(Error::new(ErrorKind::Conflict, "the container is frozen")),
            _ if self.runs() => Ok(()),
            _ => Err(instance::not_running()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(instance: Value) -> Facts {
        Facts::read(&serde_json::from_value(instance).unwrap())
    }

    #[test]
    fn facts_are_read_tolerantly() {
        let frozen = facts(json!({
            "status": "Frozen", "created_at": "2026-01-01T00:00:00Z", "extra": 1,
            "config": {"volatile.uuid": "u", "user.roadstead.spec": r#"{"stdin": true, "more": 1}"#},
            "expanded_config": {"raw.lxc": "lxc.init.uid = 7\nlxc.init.cwd = /srv/a b"},
        }));
        assert!(frozen.runs() && frozen.must_run().is_err());
        assert_eq!((frozen.user, frozen.group, frozen.directory.as_deref()), (Some(7), None, Some("/srv/a b")));
        assert_eq!((frozen.incarnation.as_str(), frozen.started), ("u", None));
        assert!(!frozen.tty() && frozen.stdin());
        let bare = facts(json!({"status": null, "config": null}));
        assert!(!bare.runs() && bare.tty() && bare.stdin());
        assert_eq!(bare.must_run().unwrap_err().kind(), ErrorKind::Conflict);
    }
}
