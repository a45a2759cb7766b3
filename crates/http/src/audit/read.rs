//! Reading the audit log: what began, together with what came of it, without holding more than a page.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use roadstead_core::Timestamp;
use serde::Serialize;

use super::files::Lines;
use super::line::{End, Event, Line, Outcome, Outline};

/// So many entries are looked at together where their outcome decides whether they are wanted.
const LOOK: usize = 1000;
/// So much later than it says a line may be written.
const LATE: Duration = Duration::from_secs(300);

/// Something that was done, or refused.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AuditEntry {
    /// Its number; greater for what was written down later.
    pub(crate) id: u64,
    /// When it was written down, which was before it was done.
    at: Timestamp,
    /// Id of the server that did it.
    server: String,
    /// Id of the request that it goes back to; absent for what the server went on with by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Who did it: `admin`, who has the admin token, or `server` for what the server does because of an earlier request.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// Address that the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// What was done: the id of the operation in this document, or `move.apply` and `move.roll_back` for the work at a migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    /// Method of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Pattern of its path; the path itself where there is no such route.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// To what it was done, by the names in the pattern: `node`, `container`.
    target: BTreeMap<String, String>,
    /// The query keys that were given, without their values.
    parameters: Vec<String>,
    /// Whether it was allowed.
    decision: Decision,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The HTTP status that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The code of the problem that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Path of what was made or begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// Whether nothing was done, because an earlier answer was given again (`Idempotency-Key`).
    replayed: bool,
    /// When its outcome was written down.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    /// How many requests it stands for; of those without an identity only the first of each minute is told by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// How many of them came from each address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    peers: BTreeMap<String, u64>,
}

/// Whether something was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Whoever asked may do it.
    Allowed,
    /// Whoever asked may not do it.
    Refused,
}

impl AuditEntry {
    fn new(line: Line) -> Self {
        let Line { seq, event, at, server, deed, reason, count, peers, .. } = line;
        let refused = event == Event::Refused;
        AuditEntry {
            id: seq,
            at,
            server,
            request_id: deed.request_id,
            identity: deed.identity,
            peer: deed.peer,
            operation: deed.operation,
            method: deed.method,
            route: deed.route,
            target: deed.target,
            parameters: deed.parameters,
            decision: if refused { Decision::Refused } else { Decision::Allowed },
            reason,
            outcome: if refused { Outcome::Refused } else { Outcome::Begun },
            status: refused.then_some(401),
            problem: refused.then(|| "unauthenticated".to_owned()),
            location: None,
            replayed: false,
            ended_at: None,
            duration_seconds: None,
            count,
            peers,
        }
    }

    fn end(&mut self, at: Timestamp, end: End) {
        self.outcome = end.outcome.unwrap_or(Outcome::Unknown);
        (self.status, self.problem, self.location) = (end.status, end.problem, end.location);
        (self.replayed, self.duration_seconds, self.ended_at) = (end.replayed, end.duration_seconds, Some(at));
    }
}

/// Which entries are wanted. Every member narrows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) operation: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) container: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) outcome: Option<Outcome>,
}

impl Filter {
    fn passes(&self, line: &Line) -> bool {
        let is = |wanted: &Option<String>, found: Option<&String>| wanted.is_none() || wanted.as_ref() == found;
        let target = &line.deed.target;
        // What goes from one node to another concerns both.
        let on_node = ["node", "source", "target"].into_iter().any(|role| is(&self.node, target.get(role)));
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && on_node
            && is(&self.operation, line.deed.operation.as_ref())
            && is(&self.container, target.get("container"))
            && is(&self.request_id, line.deed.request_id.as_ref())
    }

    /// Whether nothing that comes after `line` can be wanted.
    fn is_past(&self, line: &Line) -> bool {
        self.until.is_some_and(|until| line.at >= until.saturating_add(LATE))
    }

    fn written_since(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.since?.unix_seconds()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// Up to one more than `limit` entries behind `after`, oldest first. Of those in `open` no outcome is looked for.
pub(super) fn read(
    directory: &Path,
    mut after: u64,
    limit: usize,
    filter: &Filter,
    open: &BTreeSet<u64>,
) -> io::Result<Vec<AuditEntry>> {
    let wanted = limit.saturating_add(1);
    let mut found = Vec::new();
    loop {
        let most = if filter.outcome.is_some() { LOOK } else { wanted };
        let look = look(directory, after, most, filter, open)?;
        found.extend(
            look.entries.into_iter().filter(|entry| filter.outcome.is_none_or(|outcome| entry.outcome == outcome)),
        );
        match look.more_behind {
            Some(last) if found.len() < wanted => after = last,
            _ => break,
        }
    }
    found.truncate(wanted);
    Ok(found)
}

struct Look {
    entries: Vec<AuditEntry>,
    /// The last number that was looked at, when there may be more.
    more_behind: Option<u64>,
}

/// Up to `most` entries whatever came of them, and what came of them.
fn look(directory: &Path, after: u64, most: usize, filter: &Filter, open: &BTreeSet<u64>) -> io::Result<Look> {
    let mut lines = Lines::from(directory, after.saturating_add(1), filter.written_since())?;
    let mut entries: Vec<AuditEntry> = Vec::new();
    // Those whose outcome is still to be found, and where they are.
    let mut waiting: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut full, mut past) = (false, false);
    let mut last = after;
    while !((full || past) && waiting.is_empty()) {
        let Some(text) = lines.next()? else { break };
        // What is no line of ours hides none of the others.
        let Ok(outline) = serde_json::from_slice::<Outline>(text) else { continue };
        match outline.event {
            Event::Started => waiting.clear(),
            Event::Ended => {
                let place = outline.entry.and_then(|entry| waiting.remove(&entry));
                if let Some(entry) = place.and_then(|place| entries.get_mut(place))
                    && let Ok(line) = serde_json::from_slice::<Line>(text)
                {
                    entry.end(line.at, line.end);
                }
            }
            Event::Begun | Event::Refused if outline.seq > after && !full && !past => {
                let Ok(line) = serde_json::from_slice::<Line>(text) else { continue };
                past = filter.is_past(&line);
                last = outline.seq;
                if filter.passes(&line) {
                    if outline.event == Event::Begun && !open.contains(&outline.seq) {
                        waiting.insert(outline.seq, entries.len());
                    }
                    entries.push(AuditEntry::new(line));
                    full = entries.len() >= most;
                }
            }
            Event::Begun | Event::Refused | Event::Other => {}
        }
    }
    Ok(Look { entries, more_behind: full.then_some(last) })
}
