//! Backups of simulated containers: a tar archive of a description in JSON and of one archive for each file system.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::archive;
use super::files::{Content, Entry};
use super::lock;
use super::snapshots::room_for;
use super::state::{Kept, Shared};
use crate::capabilities::Capability;
use crate::container::{
    BackupOptions, ContainerSpec, ContainerState, MountKind, RestoreOptions, Snapshot, SnapshotOptions,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::node::CreatedContainer;
use crate::operation as op;
use crate::stream::ByteStream;
use crate::time::Timestamp;

const DESCRIPTION: &str = "backup.json";
const ROOT: &str = "root.tar";

/// All of a container but its files, which have archives of their own.
#[derive(Serialize, Deserialize)]
struct Saved {
    spec: ContainerSpec,
    image_id: String,
    /// Whether it ever ran.
    ran: bool,
    snapshots: Vec<SavedSnapshot>,
}

#[derive(Serialize, Deserialize)]
struct SavedSnapshot {
    shown: Snapshot,
    spec: ContainerSpec,
    files: String,
}

/// A backup that was read and found good.
struct Read {
    saved: Saved,
    files: super::files::FileSystem,
    snapshots: Vec<Kept>,
}

fn bad(reason: impl std::fmt::Display) -> Error {
    Error::invalid("archive", format!("not a backup that can be read: {reason}"))
}

/// Reads a backup, and refuses what could not have been made by [`Shared::backup`].
fn read(packed: &Bytes) -> Result<Read> {
    let entries: BTreeMap<String, Entry> = archive::unpack(packed)?.into_iter().collect();
    let content = |name: &str| match entries.get(name).map(|entry| &entry.content) {
        Some(Content::File(data)) => Ok(data.clone()),
        _ => Err(bad(format_args!("{name} is missing"))),
    };
    let saved: Saved =
        serde_json::from_slice(&content(DESCRIPTION)?).map_err(|error| bad(format_args!("{DESCRIPTION}: {error}")))?;
    saved.spec.validate().map_err(|error| bad(error.message()))?;
    let mut snapshots: Vec<Kept> = Vec::new();
    for snapshot in &saved.snapshots {
        // What has expired since the backup was made is no fault of it.
        let named = SnapshotOptions::new(&snapshot.shown.name).validate(Timestamp::now());
        named.and_then(|()| snapshot.spec.validate()).map_err(|error| bad(error.message()))?;
        if snapshots.iter().any(|other| other.shown.name == snapshot.shown.name) {
            return Err(bad(format_args!("it has the snapshot {} twice", snapshot.shown.name)));
        }
        let files = archive::unpack_root(&content(&snapshot.files)?)?;
        snapshots.push(Kept { shown: snapshot.shown.clone(), spec: snapshot.spec.clone(), files });
        room_for(&snapshots)?;
    }
    let files = archive::unpack_root(&content(ROOT)?)?;
    Ok(Read { saved, files, snapshots })
}

impl Shared {
    pub(super) fn backup(&self, id: &str, options: &BackupOptions) -> Result<Bytes> {
        let mut world = self.world();
        let record = self.with_snapshots(&mut world, id)?;
        let named = |spec: &ContainerSpec| {
            let mut spec = spec.clone();
            for mount in spec.mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
                // Volumes without a name belong to one container alone: another gets its own.
                mount.source = mount.source.take().filter(|name| !record.anonymous_volumes.contains(name));
            }
            spec
        };
        let mut entries = vec![(ROOT.to_owned(), Entry::file(archive::pack_root(&lock(&record.files))?, 0o600))];
        let mut snapshots = Vec::new();
        for (number, kept) in record.snapshots.iter().enumerate().filter(|_| options.snapshots) {
            let files = format!("snapshot-{number}.tar");
            entries.push((files.clone(), Entry::file(archive::pack_root(&kept.files)?, 0o600)));
            snapshots.push(SavedSnapshot { shown: kept.shown.clone(), spec: named(&kept.spec), files });
        }
        let saved = Saved {
            spec: named(&record.spec),
            image_id: record.image_id.clone(),
            ran: record.state != ContainerState::Created,
            snapshots,
        };
        let description = serde_json::to_vec(&saved)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "could not write the backup").with_source(error))?;
        entries.push((DESCRIPTION.to_owned(), Entry::file(description, 0o600)));
        archive::pack(entries.iter().map(|(name, entry)| (name.as_str(), entry)))
    }

    pub(super) async fn restore_container(
        &self,
        packed: ByteStream,
        options: &RestoreOptions,
    ) -> Result<CreatedContainer> {
        self.capabilities.require(Capability::Backups)?;
        options.validate()?;
        let effects = self.enter(&op::NODE_RESTORE_CONTAINER).await?;
        let Read { saved, files, snapshots } = read(&archive::collect(packed).await?)?;
        let mut spec = saved.spec;
        spec.name = options.name.clone().or(spec.name);
        if !self.capabilities.networks {
            // The default one, which nobody asked for, stands among them.
            spec.networks.clear();
        }
        spec.require(&self.capabilities)?;
        let made = {
            let mut world = self.world();
            let mut record = self.assemble(&mut world, spec, saved.image_id, files)?;
            record.snapshots = snapshots;
            // Mounts are the new container's own, whichever snapshot it is brought back to.
            for kept in &mut record.snapshots {
                kept.spec.mounts.clone_from(&record.spec.mounts);
            }
            if saved.ran {
                record.state = ContainerState::Stopped;
            }
            self.event(ResourceKind::Container, EventAction::Created, &record.id, Some(&record.name));
            let made =
                CreatedContainer { id: record.id.clone(), name: record.name.clone(), ..CreatedContainer::default() };
            world.containers.insert(record.number, record);
            made
        };
        self.answer(effects, made)
    }
}
