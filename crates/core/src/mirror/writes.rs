//! The layer by which a mirror learns of what is done through its node: whoever changes a container finds it changed in the
//! next list, and whoever was told of an event finds what it tells of.

use std::any::Any;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::Mirror;
use crate::error::Result;
use crate::event::Event;
use crate::layers::{Around, Call};
use crate::operation::{self as op, Operation};
use crate::stream::ItemStream;

/// What a call leaves to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Nothing,
    /// The container that it is about.
    Container,
    /// Anything.
    All,
}

/// `container.wait` changes nothing, but who was told of an end must not be shown that it still runs.
fn leaves(operation: &Operation) -> Leaves {
    let is = |others: &[&Operation]| others.iter().any(|other| other.name == operation.name);
    if is(&[
        &op::CONTAINER_START,
        &op::CONTAINER_STOP,
        &op::CONTAINER_RESTART,
        &op::CONTAINER_KILL,
        &op::CONTAINER_FREEZE,
        &op::CONTAINER_UNFREEZE,
        &op::CONTAINER_UPDATE,
        &op::CONTAINER_WAIT,
        &op::CONTAINER_COMMIT,
        &op::CONTAINER_RESTORE_SNAPSHOT,
        &op::CONTAINER_DELETE,
    ]) {
        Leaves::Container
    } else if is(&[
        &op::NODE_CREATE_CONTAINER,
        &op::NODE_RESTORE_CONTAINER,
        &op::NODE_COPY_CONTAINER,
        &op::CONTAINER_RENAME,
        &op::IMAGE_PULL,
        &op::IMAGE_IMPORT,
        &op::IMAGE_LOAD,
        &op::IMAGE_TAG,
        &op::IMAGE_DELETE,
    ]) {
        Leaves::All
    } else {
        Leaves::Nothing
    }
}

/// The layer. It is to be the outermost one, or what a mirror's own questions go through as well; it passes everything on.
#[derive(Clone, Debug)]
pub struct Writes {
    pub(super) mirror: Arc<Mirror>,
}

/// Marks when it is dropped: when the call has ended, however it ended, or was given up.
struct Mark {
    mirror: Arc<Mirror>,
    leaves: Leaves,
    resource: String,
}

impl Drop for Mark {
    fn drop(&mut self) {
        match self.leaves {
            Leaves::Nothing => {}
            Leaves::All => self.mirror.resync(),
            Leaves::Container => self.mirror.touch(&self.resource),
        }
    }
}

impl Writes {
    fn mark(&self, call: Call<'_>) -> Option<Mark> {
        let leaves = leaves(call.operation);
        (leaves != Leaves::Nothing).then(|| Mark {
            mirror: Arc::clone(&self.mirror),
            leaves,
            resource: call.resource.to_owned(),
        })
    }
}

impl Around for Writes {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call<'a>,
        mut attempt: impl FnMut() -> Option<BoxFuture<'a, Result<T>>> + Send + 'a,
    ) -> Result<T> {
        let _mark = self.mark(call);
        crate::layers::first(&mut attempt).await
    }

    fn stream<T: Send + 'static>(&self, call: Call<'_>, stream: ItemStream<T>) -> ItemStream<T> {
        if call.operation.name == op::NODE_EVENTS.name {
            let mirror = Arc::clone(&self.mirror);
            return stream
                .inspect(move |item| {
                    if let Some(event) = item.as_ref().ok().and_then(|item| (item as &dyn Any).downcast_ref::<Event>())
                    {
                        mirror.tell(event);
                    }
                })
                .boxed();
        }
        match self.mark(call) {
            None => stream,
            // It is done when the stream has ended, or was given up.
            Some(mark) => stream
                .chain(futures_util::stream::poll_fn({
                    let mut mark = Some(mark);
                    move |_| {
                        drop(mark.take());
                        std::task::Poll::Ready(None)
                    }
                }))
                .boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Access;

    /// Whoever adds an operation that changes something has to say what it leaves to be looked at.
    #[test]
    fn every_operation_that_changes_something_was_thought_of() {
        let harmless = [
            "node.run",
            "container.create_snapshot",
            "container.delete_snapshot",
            "container.copy_in",
            "container.attach",
            "container.resize",
            "container.run",
            "job.write_stdin",
            "job.close_stdin",
            "job.resize",
            "job.kill",
            "network.create",
            "network.delete",
            "volume.create",
            "volume.delete",
        ];
        for operation in op::ALL {
            let changes = operation.access != Access::Read || operation.name == "container.wait";
            let told = leaves(operation) != Leaves::Nothing || harmless.contains(&operation.name);
            assert_eq!(told, changes, "{}", operation.name);
        }
    }
}
