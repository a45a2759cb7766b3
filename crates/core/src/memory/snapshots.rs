//! Snapshots of simulated containers: their files and configuration as they were.

use super::files::CAPACITY_BYTES;
use super::lock;
use super::state::{Kept, Record, Shared, World};
use crate::capabilities::{Capabilities, Capability};
use crate::container::{ContainerState, Snapshot, SnapshotOptions};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::event::{EventAction, ResourceKind};

/// More than any test needs, and little enough that a served node cannot fill the machine's memory by one container.
const SNAPSHOTS_MAX: usize = 1000;

/// Refuses what the node cannot do.
pub(super) fn require(capabilities: &Capabilities, options: &SnapshotOptions) -> Result<()> {
    capabilities.require(Capability::Snapshots)?;
    if options.stateful {
        capabilities.require(Capability::SnapshotsStateful)?;
    }
    if options.expires_at.is_some() {
        capabilities.require(Capability::SnapshotsExpire)?;
    }
    Ok(())
}

/// Refuses more than the node has room for.
pub(super) fn room_for(snapshots: &[Kept]) -> Result<()> {
    let bytes: usize = snapshots.iter().map(|kept| kept.files.bytes()).sum();
    if snapshots.len() > SNAPSHOTS_MAX || bytes > CAPACITY_BYTES {
        let message = "no room for the snapshot: delete some of the container's others";
        return Err(Error::new(ErrorKind::ResourceExhausted, message).with_retry(Retry::Never));
    }
    Ok(())
}

impl Record {
    fn kept(&self, name: &str) -> Result<&Kept> {
        self.snapshots.iter().find(|kept| kept.shown.name == name).ok_or_else(|| Error::not_found("snapshot", name))
    }
}

impl Shared {
    fn snapshot_event(&self, record: &Record, action: EventAction, snapshot: &str) {
        self.event_with(ResourceKind::Container, action, &record.id, Some(&record.name), |event| {
            event.attributes.insert("snapshot".to_owned(), snapshot.to_owned());
        });
    }

    /// The container, without the snapshots whose time is over. Nobody sees the difference to deleting them in time.
    pub(super) fn with_snapshots<'a>(&self, world: &'a mut World, id: &str) -> Result<&'a mut Record> {
        let now = self.clock.now();
        let record = world.container(id)?;
        let expired = |kept: &Kept| kept.shown.expires_at.is_some_and(|time| time <= now);
        for kept in record.snapshots.iter().filter(|kept| expired(kept)) {
            self.snapshot_event(record, EventAction::SnapshotDeleted, &kept.shown.name);
        }
        record.snapshots.retain(|kept| !expired(kept));
        Ok(record)
    }

    pub(super) fn snapshots(&self, id: &str) -> Result<Vec<Snapshot>> {
        let mut world = self.world();
        Ok(self.with_snapshots(&mut world, id)?.snapshots.iter().map(|kept| kept.shown.clone()).collect())
    }

    pub(super) fn create_snapshot(&self, id: &str, options: &SnapshotOptions) -> Result<Snapshot> {
        let mut world = self.world();
        let record = self.with_snapshots(&mut world, id)?;
        if record.kept(&options.name).is_ok() {
            let message = format!("container {} has a snapshot {} already", record.name, options.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message).with_resource(options.name.clone()));
        }
        let files = lock(&record.files).clone();
        let shown = Snapshot {
            name: options.name.clone(),
            created_at: Some(self.clock.now()),
            stateful: options.stateful,
            size_bytes: Some(files.bytes() as u64),
            expires_at: options.expires_at,
        };
        record.snapshots.push(Kept { shown: shown.clone(), spec: record.spec.clone(), files });
        if let Err(full) = room_for(&record.snapshots) {
            record.snapshots.pop();
            return Err(full);
        }
        self.snapshot_event(record, EventAction::SnapshotCreated, &options.name);
        Ok(shown)
    }

    pub(super) async fn restore_snapshot(&self, id: &str, name: &str) -> Result<()> {
        let (id, kept, ran) = {
            let mut world = self.world();
            let record = self.with_snapshots(&mut world, id)?;
            let ran = record.state.has_processes() || record.state == ContainerState::Restarting;
            (record.id.clone(), record.kept(name)?.clone(), ran)
        };
        if ran {
            self.stop_container(&id, Some(0)).await?;
        }
        {
            let mut world = self.world();
            let record = world.container(&id)?;
            if record.state.has_processes() {
                return Err(record.conflict("was started while it was brought back"));
            }
            *lock(&record.files) = kept.files;
            // Its name is not of its state.
            let own_name = record.spec.name.take();
            record.spec = kept.spec;
            record.spec.name = own_name;
            self.snapshot_event(record, EventAction::Restored, name);
        }
        if ran { self.start_container(&id) } else { Ok(()) }
    }

    pub(super) fn delete_snapshot(&self, id: &str, name: &str) -> Result<()> {
        let mut world = self.world();
        let record = self.with_snapshots(&mut world, id)?;
        record.kept(name)?;
        record.snapshots.retain(|kept| kept.shown.name != name);
        self.snapshot_event(record, EventAction::SnapshotDeleted, name);
        Ok(())
    }
}
