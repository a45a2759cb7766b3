//! Making the copy: by the engines' own means, or as a file system and a portable configuration.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, TryStreamExt};

use super::archive::{Manifest, Open, Part, Progress, Splice, empty_directory, is_volatile};
use super::draft::{Draft, Identity, draft};
use super::facts::handle;
use super::forward::delete_image;
use super::layout::Layout;
use super::mover::Mover;
use super::record::{MARK, MoveRecord};
use super::step::{Phase, Point, Step};
use crate::container::{ContainerDetails, ContainerSpec, MountKind, RestartPolicy};
use crate::copy::{CopyOptions, CopyTransport};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImportOptions;

/// Mode of a temporary file system's root.
const TEMPORARY: u32 = 0o1777;

impl Mover {
    /// The engines' own means. Where one transport does not come to an end for want of a way through, the next is tried.
    pub(super) async fn copy_native(
        &self,
        record: &mut MoveRecord,
        transports: &[CopyTransport],
        live: bool,
        snapshots: bool,
    ) -> Result<()> {
        let mut last = Error::unsupported("any way of copying between these nodes");
        for transport in transports {
            let mut options = CopyOptions::new(&record.plan.container, &record.plan.name, *transport);
            options.live = live;
            options.snapshots = snapshots;
            options.labels.insert(MARK.to_owned(), record.id().to_owned());
            match self.copy_by(&options).await {
                Ok(bytes) => {
                    record.bytes = bytes;
                    return Ok(());
                }
                Err(error) if leads_nowhere(&error) => {
                    record.note(format!("copying by {} failed: {error}", transport.name()));
                    last = error;
                    // What is left of it would bear the name.
                    self.clear_target(record).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn copy_by(&self, options: &CopyOptions) -> Result<u64> {
        let mut stream = self.target.copy_container(&*self.source, options).await?;
        let mut bytes = 0;
        let mut begun = false;
        while let Some(progress) = stream.try_next().await? {
            bytes = progress.current_bytes.unwrap_or(bytes);
            self.observer.copied(bytes);
            if !std::mem::replace(&mut begun, true) {
                self.reached(Step::Copy, Phase::Within).await;
            }
        }
        if !begun {
            self.reached(Step::Copy, Phase::Within).await;
        }
        Ok(bytes)
    }

    /// Export of the source as one archive with the content of its mounts in place, an image of it, a container of that.
    pub(super) async fn copy_portable(&self, record: &mut MoveRecord) -> Result<()> {
        let own = self.own_source(record).await?;
        let image = record.image();
        let copy = self.drafted(record, &own).await?;
        // What has changed since the plan was made is told, too.
        for lost in &copy.not_carried {
            if !record.plan.not_carried.contains(lost) {
                record.note(format!("{} is not carried: {}", lost.field, lost.reason));
            }
        }
        record.plan.copied_mounts.clone_from(&copy.copied_mounts);
        delete_image(&*self.target, &image).await?;
        let mut spec = copy.spec;
        if self.target.capabilities().update {
            // It gets its policy when the move has been committed; where that cannot be changed, it has it from the
            // beginning: a policy does nothing for a container that was never started.
            spec.restart = RestartPolicy::Never;
        }
        let manifest = Arc::new(Mutex::new(Manifest::without(&temporary(&spec))));
        let parts = self.parts(&own, copy.copied_from, copy.emptied);
        let archive = Splice::stream(parts, Arc::clone(&manifest), self.progress());
        let mut options = ImportOptions::new(&image);
        options.message = Some(format!("moved from {} by {}", record.plan.source, record.id()));
        self.target.import_image(archive, &options).await?;
        self.reached(Step::Copy, Phase::Within).await;
        let created = self.target.create_container(&spec).await?;
        for warning in created.warnings {
            record.note(format!("the target's engine says: {warning}"));
        }
        let read = std::mem::take(&mut *manifest.lock().unwrap_or_else(PoisonError::into_inner));
        let content = read.content();
        record.bytes = content.bytes;
        record.content = Some(content);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(())
    }

    /// The copy as it is drafted: the same for copying and for comparing.
    pub(super) async fn drafted(&self, record: &MoveRecord, own: &ContainerDetails) -> Result<Draft> {
        let image = record.image();
        let identity = Identity { name: &record.plan.name, image: &image, mark: record.id(), restart: record.restart };
        let layout = Layout::of(&*self.source, own).await?;
        draft(&*self.target, own, &layout, self.source.capabilities(), identity).await
    }

    /// The root, what is mounted at `copied`, and empty directories in the places of temporary file systems.
    pub(super) fn parts(&self, own: &ContainerDetails, copied: Vec<String>, emptied: Vec<String>) -> Vec<Part> {
        let container = handle(&*self.source, own);
        let exported = Arc::clone(&container);
        let export = move || {
            let exported = Arc::clone(&exported);
            async move { exported.export().await }.boxed()
        };
        let mut parts = vec![Part { at: String::new(), open: Box::new(export) }];
        // What is mounted further down hides what is there, so it comes later.
        let mut places: BTreeMap<String, bool> = copied.into_iter().map(|at| (at, true)).collect();
        for at in emptied.into_iter().filter(|at| !is_volatile(at.trim_start_matches('/').as_bytes())) {
            places.entry(at).or_insert(false);
        }
        parts.extend(places.into_iter().map(|(at, copied)| {
            let (container, path) = (Arc::clone(&container), at.clone());
            let open: Open = if copied {
                Box::new(move || {
                    let (container, path) = (Arc::clone(&container), path.clone());
                    async move { container.copy_out(&path).await }.boxed()
                })
            } else {
                Box::new(|| async { Ok(empty_directory(TEMPORARY)) }.boxed())
            };
            Part { at, open }
        }));
        parts
    }

    fn progress(&self) -> Progress {
        let observer = Arc::clone(&self.observer);
        let begun = Arc::new(AtomicBool::new(false));
        Arc::new(move |bytes| {
            let (observer, begun) = (Arc::clone(&observer), Arc::clone(&begun));
            async move {
                observer.copied(bytes);
                if !begun.swap(true, Ordering::Relaxed) {
                    observer.reached(Point { step: Step::Copy, phase: Phase::Within }).await;
                }
            }
            .boxed()
        })
    }
}

/// Where the copy has temporary file systems, whose content is nobody's.
pub(super) fn temporary(copy: &ContainerSpec) -> Vec<String> {
    let mounts = copy.mounts.iter();
    mounts.filter(|mount| mount.kind == MountKind::Tmpfs).map(|mount| mount.target.clone()).collect()
}

/// Whether an error may be due to the way that the bytes took, so that another way may lead there.
fn leads_nowhere(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Unexpected
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
    )
}
