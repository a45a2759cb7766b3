//! What the server tells of an operation.

use std::collections::BTreeMap;
use std::fmt;

use roadstead_core::{Error, ErrorKind, Result, Retry, Secret};
use serde::Deserialize;
use serde_json::Value;

use super::super::error;

/// Codes from here on are ends.
const SUCCESS: u16 = 200;
const CANCELLED: u16 = 401;

/// A state of an operation.
#[derive(Clone, Default)]
pub(in super::super) struct OperationState {
    /// Its id.
    pub(in super::super) id: String,
    /// The status as a number: 103 runs, 200 succeeded, 400 failed, 401 was cancelled.
    pub(in super::super) status_code: u16,
    /// What it is about, as paths of the API by kind (`instances`, `images` …).
    pub(in super::super) resources: BTreeMap<String, Vec<String>>,
    /// What it tells of itself; depends on the operation.
    pub(in super::super) metadata: Value,
    /// Whether it can be cancelled.
    pub(in super::super) may_cancel: bool,
    /// Why it failed.
    pub(in super::super) error: String,
    /// Whether nothing runs, as behind a token, which only waits to be used.
    pub(in super::super) only_waits: bool,
}

/// As it is written. Every member may be null or missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    id: Option<String>,
    status_code: Option<u16>,
    resources: Option<BTreeMap<String, Option<Vec<String>>>>,
    metadata: Option<Value>,
    may_cancel: Option<bool>,
    err: Option<String>,
    class: Option<String>,
}

impl OperationState {
    /// From the server's words; nothing when they are not an operation's.
    pub(in super::super) fn parse(value: Value) -> Option<Self> {
        let written: Written = serde_json::from_value(value).ok()?;
        Some(OperationState {
            id: written.id.filter(|id| !id.is_empty())?,
            status_code: written.status_code?,
            resources: written
                .resources
                .unwrap_or_default()
                .into_iter()
                .map(|(kind, paths)| (kind, paths.unwrap_or_default()))
                .collect(),
            metadata: written.metadata.unwrap_or_default(),
            may_cancel: written.may_cancel.unwrap_or(false),
            error: written.err.unwrap_or_default(),
            only_waits: written.class.as_deref() == Some("token"),
        })
    }

    /// Whether it will not change any more.
    pub(in super::super) fn is_final(&self) -> bool {
        self.status_code >= SUCCESS
    }

    /// Itself when it succeeded; otherwise why it did not.
    pub(in super::super) fn into_result(self) -> Result<Self> {
        match self.status_code {
            ..=SUCCESS => Ok(self),
            CANCELLED => {
                Err(Error::new(ErrorKind::Cancelled, "the engine's operation was cancelled").with_retry(Retry::Unknown))
            }
            _ if self.error.is_empty() => {
                Err(Error::new(ErrorKind::Unexpected, "the engine's operation failed without a word"))
            }
            _ => Err(error::from_operation(&self.error)),
        }
    }

    /// A secret for one of its websockets: of an exec or console under `fds`, of a migration at the top.
    pub(in super::super) fn secret(&self, name: &str) -> Option<Secret> {
        let text = |value: &Value| value.get(name).and_then(Value::as_str).map(Secret::new);
        self.metadata.get("fds").and_then(text).or_else(|| text(&self.metadata))
    }

    /// The server's words on how far it is, if it has any: `rootfs: 41% (12.3MB/s)`.
    pub(in super::super) fn progress(&self) -> Option<&str> {
        let members = self.metadata.as_object()?;
        members.iter().find(|(key, _)| key.ends_with("_progress")).and_then(|(_, value)| value.as_str())
    }

    /// The name at the end of the first resource of a kind: `/1.0/instances/web` → `web`.
    pub(in super::super) fn resource(&self, kind: &str) -> Option<&str> {
        let path = self.resources.get(kind)?.first()?;
        path.split('?').next()?.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

impl fmt::Debug for OperationState {
    /// Without metadata: there may be secrets of websockets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationState")
            .field("id", &self.id)
            .field("status_code", &self.status_code)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_read_tolerantly() {
        let state = OperationState::parse(json!({
            "id": "a", "class": "task", "status": "Running", "status_code": 103, "may_cancel": true, "err": "",
            "resources": {"instances": ["/1.0/instances/web?project=p"], "images": null},
            "metadata": {"download_progress": "rootfs: 5%"},
        }))
        .unwrap();
        assert!(!state.is_final() && state.may_cancel);
        assert_eq!((state.resource("instances"), state.progress()), (Some("web"), Some("rootfs: 5%")));
        assert_eq!(state.resource("images"), None);
        let bare = OperationState::parse(json!({"id": "a", "status_code": 200, "metadata": null, "resources": null}));
        assert!(bare.unwrap().into_result().is_ok());
        assert!(OperationState::parse(json!({"id": "a"})).is_none());
        assert!(OperationState::parse(json!(null)).is_none());
    }

    #[test]
    fn ends_are_results_and_secrets_are_not_shown() {
        let end = |code: u16, err: &str| {
            OperationState::parse(json!({"id": "a", "status_code": code, "err": err})).unwrap().into_result()
        };
        assert_eq!(end(400, "Instance is running").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(end(401, "").unwrap_err().kind(), ErrorKind::Cancelled);
        let state = OperationState::parse(json!({
            "id": "a", "status_code": 103, "metadata": {"fds": {"0": "hunter2"}, "control": "hunter3"},
        }))
        .unwrap();
        assert_eq!(state.secret("0").unwrap().expose(), "hunter2");
        assert_eq!(state.secret("control").unwrap().expose(), "hunter3");
        assert!(!format!("{state:?}").contains("hunter"));
    }
}
