//! Comparing the copy with the source, file by file.
//!
//! The copy is read first, and the source last: what somebody writes into it until then is found, and the move goes back
//! instead of deleting it with the source. What is written after its file was read by this last look, and before the rename
//! that follows at once, is not found: engines have no lock on the files of a container.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, TryStreamExt};

use super::archive::{Content, Manifest, Progress, Splice, scan};
use super::carry;
use super::facts::handle;
use super::forward::temporary;
use super::mover::Mover;
use super::record::MoveRecord;
use super::spec::MoveWay;
use super::step::{Phase, Step};
use crate::container::ContainerDetails;
use crate::error::{Error, ErrorKind, Result};

impl Mover {
    /// The copy holds what was read of the source, and the source holds it still.
    pub(super) async fn compare(&self, record: &mut MoveRecord, copy: &ContainerDetails) -> Result<()> {
        let there = scan(handle(&*self.target, copy).export().await?, Manifest::without(&temporary(copy))).await?;
        let found = there.content();
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(wanted) = &record.content
            && found != *wanted
        {
            let what = read.map_or_else(
                || format!("{} entries, {} bytes", found.entries, found.bytes),
                |read| read.differences(&there).join("; "),
            );
            return Err(self.unlike(wanted, &what));
        }
        self.reached(Step::Verify, Phase::Within).await;
        let now = self.read_source(record, copy).await?;
        let content = now.content();
        if content != found {
            return Err(match &record.content {
                Some(_) => changed(record, &there.differences(&now).join("; ")),
                // Engines do not tell what they read, so it may be either.
                None => self.unlike(
                    &content,
                    &format!(
                        "{} (it did not arrive whole, or the source was changed while it was moved)",
                        now.differences(&there).join("; ")
                    ),
                ),
            });
        }
        record.content = Some(content);
        Ok(())
    }

    /// What the source holds of all that the copy shall hold.
    async fn read_source(&self, record: &MoveRecord, copy: &ContainerDetails) -> Result<Manifest> {
        let own = self.own_source(record).await?;
        if record.plan.way != MoveWay::Portable {
            return scan(handle(&*self.source, &own).export().await?, Manifest::without(&temporary(copy))).await;
        }
        let copy = self.drafted(record, &own).await?;
        let manifest = Arc::new(Mutex::new(Manifest::without(&carry::temporary(&copy.spec))));
        let quiet: Progress = Arc::new(|_| async {}.boxed());
        let parts = self.parts(&own, copy.copied_from, copy.emptied);
        let mut archive = Splice::stream(parts, Arc::clone(&manifest), quiet);
        while archive.try_next().await?.is_some() {}
        drop(archive);
        Ok(std::mem::take(&mut *manifest.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn unlike(&self, wanted: &Content, what: &str) -> Error {
        Error::new(
            ErrorKind::Unexpected,
            format!("the copy is not what the source is ({} entries, {} bytes): {what}", wanted.entries, wanted.bytes),
        )
        .with_retry(crate::Retry::Never)
        .with_node(self.target.name())
    }
}

/// Somebody wrote into the source after it was copied.
fn changed(record: &MoveRecord, what: &str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "the source {} was changed while it was moved: {what}; what others write into must be still, or the comparison be \
             left out with `check`",
            record.plan.container
        ),
    )
    .with_resource(record.plan.container.clone())
    .with_node(record.plan.source.clone())
}
