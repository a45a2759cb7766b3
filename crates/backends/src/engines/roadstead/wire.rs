//! What a server says, read such that a newer one is understood: members that are not known are passed over, and words that
//! are not known cost no more than the member in which they stand. Every answer bears the name that the node has here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use roadstead_core::{
    ContainerDetails, ContainerSpec, EngineSetting, Error, ErrorKind, Event, JobState, JobStatus, LogRecord,
    OutputChunk, OutputKind, Result, Timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::request::nonsense;
use super::shared::Remote;

/// Members that may say something in words that are not known here, and without which the rest is still true.
const DISPENSABLE: [&str; 4] = ["ports", "subnets", "health", "endpoints"];

/// An item of a list, or a whole answer about one thing of the node.
pub(super) fn item<T: DeserializeOwned>(remote: &Remote, mut value: Value) -> Result<T> {
    rename(remote, &mut value);
    let refused = match T::deserialize(&value) {
        Ok(item) => return Ok(item),
        Err(refused) => refused,
    };
    for member in DISPENSABLE {
        let Some(there) = value.get_mut(member) else { continue };
        *there = if there.is_array() { Value::Array(Vec::new()) } else { Value::Null };
        if let Ok(item) = T::deserialize(&value) {
            return Ok(item);
        }
    }
    Err(nonsense(refused))
}

fn rename(remote: &Remote, value: &mut Value) {
    if let Some(node) = value.get_mut("node") {
        *node = Value::String(remote.name.clone());
    }
}

/// A container. What of its specification is not understood is named in `beyond_spec`, and not lost in silence.
pub(super) fn details(remote: &Remote, mut value: Value) -> Result<ContainerDetails> {
    rename(remote, &mut value);
    if let Ok(details) = ContainerDetails::deserialize(&value) {
        return Ok(details);
    }
    let mut beyond = Vec::new();
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|member, value| {
            let alone = serde_json::json!({ (member.as_str()): value });
            let known = ContainerSpec::deserialize(&alone).is_ok();
            if !known {
                beyond.push(EngineSetting::hidden(format!("spec.{member}")));
            }
            known
        });
    }
    let mut details: ContainerDetails = item(remote, value)?;
    details.beyond_spec.extend(beyond);
    details.beyond_spec.sort();
    Ok(details)
}

/// A job. One in a state that is not known here runs until it has ended, and then its exit code counts.
pub(super) fn job(remote: &Remote, mut value: Value) -> Result<JobStatus> {
    let known = value.get("state").is_some_and(|state| JobState::deserialize(state).is_ok());
    if !known && value.get("state").is_some_and(Value::is_string) {
        let ended = value.get("ended_at").is_some_and(|time| !time.is_null());
        let state = match value.get("exit_code").and_then(Value::as_i64) {
            _ if !ended => JobState::Running,
            Some(0) => JobState::Succeeded,
            _ => JobState::Failed,
        };
        if let Some(there) = value.get_mut("state") {
            *there = state.name().into();
        }
    }
    item(remote, value)
}

/// An event. Those of the node itself bear its name as their id.
pub(super) fn event(remote: &Remote, data: &str) -> Result<Event> {
    let value: Value = serde_json::from_str(data).map_err(nonsense)?;
    let mut event: Event = item(remote, value)?;
    if event.resource == roadstead_core::ResourceKind::Node && event.id == remote.there {
        event.id.clone_from(&remote.name);
    }
    Ok(event)
}

/// A piece of output or of a log.
#[derive(Debug, Deserialize)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    #[serde(default, deserialize_with = "kind")]
    stream: Option<OutputKind>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

/// A stream of a kind that is not known here counts as a terminal: output is shown in any case.
fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<OutputKind>, D::Error> {
    let word = Value::deserialize(deserializer)?;
    Ok(OutputKind::deserialize(word).ok())
}

impl Piece {
    pub(super) fn read(data: &str) -> Result<Self> {
        serde_json::from_str(data).map_err(nonsense)
    }

    fn kind(&self) -> OutputKind {
        self.stream.unwrap_or(OutputKind::Console)
    }

    fn data(&mut self) -> Result<Bytes> {
        match (self.text.take(), self.base64.take()) {
            (Some(text), _) => Ok(text.into()),
            (None, Some(base64)) => STANDARD
                .decode(base64)
                .map(Bytes::from)
                .map_err(|_| Error::new(ErrorKind::Unexpected, "the server's answer makes no sense: it is not base64")),
            (None, None) => Ok(Bytes::new()),
        }
    }

    pub(super) fn chunk(mut self) -> Result<OutputChunk> {
        let data = self.data()?;
        Ok(OutputChunk::new(self.sequence, self.kind(), data))
    }

    pub(super) fn record(mut self) -> Result<LogRecord> {
        let mut record = LogRecord::new(self.kind(), self.data()?);
        record.time = self.time;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::tests::remote;
    use super::*;
    use roadstead_core::{ContainerState, ContainerSummary, EventAction, Network, ResourceKind};
    use serde_json::json;

    #[test]
    fn a_newer_server_is_understood() {
        let remote = remote();
        let summary = json!({
            "node": "far", "id": "1", "name": "web", "image": "i", "state": "levitating", "labels": {},
            "created_at": null, "ports": [{"container_port": 1, "protocol": "quic", "newer": 1}], "newer": {"x": []}
        });
        let found: ContainerSummary = item(&remote, summary.clone()).unwrap();
        assert_eq!((found.node.as_str(), found.state, found.ports.len()), ("near", ContainerState::Unknown, 0));

        let mut full = summary;
        full["spec"] = json!({
            "image": "i", "command": ["x"], "warp": 9, "restart": {"policy": "sometimes"}, "limits": {"pids": 5}
        });
        full["health"] = json!("radiant");
        let found = details(&remote, full).unwrap();
        assert_eq!((found.spec.image.as_str(), found.spec.limits.pids, found.health), ("i", Some(5), None));
        let beyond: Vec<_> = found.beyond_spec.iter().map(|setting| setting.name.as_str()).collect();
        assert_eq!(beyond, ["spec.restart", "spec.warp"]);

        let network = json!({
            "node": "far", "id": "1", "name": "n", "driver": "bridge", "internal": false, "labels": {},
            "subnets": [{"cidr": "10.0.0.0/8", "newer": 1}], "created_at": null
        });
        assert_eq!(item::<Network>(&remote, network).unwrap().name, "n");

        let event = event(
            &remote,
            r#"{"time":"2026-11-21T06:50:42Z","node":"far","resource":"galaxy","action":"merged","id":"1","engine_action":"m","n":1}"#,
        );
        let event = event.unwrap();
        assert_eq!((event.resource, event.action), (ResourceKind::Other, EventAction::Other));
    }

    #[test]
    fn a_job_in_a_new_state() {
        let remote = remote();
        let told = |more: Value| {
            let mut told = json!({
                "id": "j", "node": "far", "command": [], "state": "paused", "started_at": "2026-11-21T06:50:42Z",
                "tty": false, "output_bytes": 0, "output_dropped_bytes": 0
            });
            told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            job(&remote, told).unwrap().state
        };
        assert_eq!(told(json!({})), JobState::Running);
        let ended = "2026-11-21T06:50:43Z";
        assert_eq!(told(json!({"ended_at": ended, "exit_code": 0})), JobState::Succeeded);
        assert_eq!(told(json!({"ended_at": ended})), JobState::Failed);
        assert_eq!(told(json!({"state": "lost"})), JobState::Lost);
    }

    #[test]
    fn output_is_bytes() {
        let chunk = |data: &str| Piece::read(data).and_then(Piece::chunk);
        let text = chunk(r#"{"sequence":3,"stream":"stderr","text":"ü","newer":1}"#).unwrap();
        assert_eq!(text, OutputChunk::new(3, OutputKind::Stderr, Bytes::from("ü")));
        let bytes = chunk(r#"{"sequence":4,"stream":"hologram","base64":"/w=="}"#).unwrap();
        assert_eq!(bytes, OutputChunk::new(4, OutputKind::Console, Bytes::from_static(b"\xff")));
        for bad in ["", "[]", r#"{"sequence":-1}"#, r#"{"sequence":1,"base64":"*"}"#, r#"{"sequence":1,"text":7}"#] {
            assert_eq!(chunk(bad).unwrap_err().kind(), ErrorKind::Unexpected, "{bad}");
        }
    }
}
