//! Snapshots of a container: the server's own.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Capability, Error, ErrorKind, Result, Snapshot, SnapshotOptions, Timestamp, names};
use serde::Deserialize;
use serde_json::json;

use super::request::Request;
use super::shared::Lxd;

/// Copying a whole file system may take so long, where the storage cannot do without.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(1800);

/// A snapshot; every member may be null or missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    name: Option<String>,
    created_at: Option<String>,
    expires_at: Option<String>,
    stateful: Option<bool>,
    size: Option<i64>,
}

impl Wire {
    fn snapshot(self) -> Snapshot {
        let time = |text: Option<String>| {
            let time = text.and_then(|text| text.parse::<Timestamp>().ok());
            time.filter(|time| !time.is_never() && time.unix_seconds() > 0)
        };
        let name = self.name.unwrap_or_default();
        let mut snapshot = Snapshot::default();
        // Old servers write CONTAINER/SNAPSHOT.
        snapshot.name = name.rsplit('/').next().unwrap_or_default().to_owned();
        snapshot.created_at = time(self.created_at);
        snapshot.expires_at = time(self.expires_at);
        snapshot.stateful = self.stateful.unwrap_or(false);
        // Below zero where the storage cannot tell.
        snapshot.size_bytes = self.size.and_then(|size| u64::try_from(size).ok());
        snapshot
    }
}

/// S1.
pub(super) async fn snapshots(lxd: &Arc<Lxd>, id: &str) -> Result<Vec<Snapshot>> {
    names::existing("id", id)?;
    let request = Request::get(&["instances", id, "snapshots"]).query("recursion", "1");
    let found: Vec<Wire> = request.json(&lxd.client).await?;
    let mut snapshots: Vec<_> = found.into_iter().map(Wire::snapshot).collect();
    snapshots.sort_by_key(|snapshot| snapshot.created_at);
    Ok(snapshots)
}

async fn find(lxd: &Lxd, id: &str, name: &str) -> Result<Snapshot> {
    names::existing("id", id)?;
    names::snapshot_name("name", name)?;
    let found: Wire = Request::get(&["instances", id, "snapshots", name]).json(&lxd.client).await?;
    Ok(found.snapshot())
}

/// S10–S12.
pub(super) async fn create_snapshot(lxd: &Arc<Lxd>, id: &str, options: &SnapshotOptions) -> Result<Snapshot> {
    names::existing("id", id)?;
    options.validate(Timestamp::now())?;
    let mut body = json!({"name": options.name, "stateful": options.stateful});
    if options.stateful {
        lxd.capabilities.require(Capability::SnapshotsStateful)?;
    }
    if let (Some(time), Some(members)) = (options.expires_at, body.as_object_mut()) {
        lxd.capabilities.require(Capability::SnapshotsExpire)?;
        members.insert("expires_at".to_owned(), json!(time));
    }
    let request = Request::post(&["instances", id, "snapshots"]).body(&body);
    request.finish(&lxd.client, SNAPSHOT_DEADLINE).await?;
    find(lxd, id, &options.name).await
}

/// S20–S23.
pub(super) async fn restore_snapshot(lxd: &Arc<Lxd>, id: &str, name: &str) -> Result<()> {
    // The server would say so only in the words of an operation.
    find(lxd, id, name).await?;
    let request = Request::put(&["instances", id]).body(&json!({"restore": name}));
    request.finish(&lxd.client, SNAPSHOT_DEADLINE).await.map(|_| ()).map_err(|error| {
        if error.kind() == ErrorKind::Unexpected && error.message().contains("does not exist") {
            return Error::new(ErrorKind::NotFound, error.message().to_owned()).with_source(error);
        }
        error
    })
}

/// S30–S32.
pub(super) async fn delete_snapshot(lxd: &Arc<Lxd>, id: &str, name: &str) -> Result<()> {
    names::existing("id", id)?;
    names::snapshot_name("name", name)?;
    let request = Request::delete(&["instances", id, "snapshots", name]);
    request.finish(&lxd.client, SNAPSHOT_DEADLINE).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let found: Vec<Wire> = serde_json::from_value(json!([
            {"name": "web/s1", "created_at": "2026-01-01T00:00:00Z", "expires_at": "0001-01-01T00:00:00Z", "size": -1},
            {"name": "s2", "created_at": null, "stateful": true, "size": 7, "config": null},
        ]))
        .unwrap();
        let found: Vec<_> = found.into_iter().map(Wire::snapshot).collect();
        assert_eq!((found[0].name.as_str(), found[0].expires_at, found[0].size_bytes), ("s1", None, None));
        assert!(found[0].created_at.is_some());
        assert_eq!((found[1].name.as_str(), found[1].stateful, found[1].size_bytes), ("s2", true, Some(7)));
    }
}
