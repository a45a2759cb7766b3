//! What a real core0 was asked and what it answered, in the order in which it happened.

use serde_json::Value;

/// Where the captures are, unless the environment says otherwise.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/core0-transcripts.jsonl");

/// One capture.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    pub(crate) case: String,
    pub(crate) members: Value,
    when: i64,
}

impl Capture {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.members[name].as_str().unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some()
    }

    /// A member that is a JSON document in a string.
    pub(crate) fn document(&self, name: &str) -> Value {
        parsed(&self.members[name])
    }

    /// The same in the member of a member.
    pub(crate) fn started(&self, name: &str) -> &str {
        self.members[name]["pushed"].as_str().unwrap_or_default()
    }
}

pub(crate) fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap_or("null")).unwrap_or_default()
}

/// Milliseconds at which it was: of the first job that it is about.
fn when(case: &str, members: &Value) -> i64 {
    // At the very end, since they look at what the others left.
    if ["statistics-queues", "redis-keyspace"].contains(&case) {
        return i64::MAX;
    }
    let started = |document: &Value| document["starttime"].as_i64().filter(|when| *when > 0);
    let results = ["dispatch_result_raw", "result_raw", "result", "r1"];
    if let Some(when) = results.iter().find_map(|name| started(&parsed(&members[*name]))) {
        // It is the last run of one that had begun seconds before.
        return if members.get("llen_after_unschedule").is_some() { when - 4000 } else { when };
    }
    // The first digits of a message's time are the milliseconds.
    let text = members.to_string();
    let epoch = text.split("epoch\\\":").nth(1).or_else(|| text.split("starttime\\\":").nth(1));
    epoch.and_then(|text| text.get(..13)?.parse().ok()).unwrap_or_default()
}

/// All captures.
pub(crate) fn all() -> Vec<Capture> {
    let path = std::env::var("ROADSTEAD_CORE0_TRANSCRIPTS").unwrap_or_else(|_| OURS.to_owned());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let capture = |line: &str| {
        let members: Value = serde_json::from_str(line).unwrap();
        let case = members["case"].as_str().unwrap().to_owned();
        let when = when(&case, &members);
        Capture { case, members, when }
    };
    let mut captures: Vec<Capture> = text.lines().filter(|line| !line.is_empty()).map(capture).collect();
    captures.sort_by_key(|capture| capture.when);
    captures
}
