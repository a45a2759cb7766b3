//! Copying a simulated container from one simulated node to another, or on one.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};

use super::MemoryNode;
use super::faults::Faults;
use super::files::FileSystem;
use super::state::Shared;
use super::streams;
use crate::capabilities::Capability;
use crate::container::{ContainerSpec, MountKind, RestartPolicy};
use crate::copy::{CopyOptions, CopyProgress, CopyTransport, CopyWay, NotCarried};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::node::Node;
use crate::operation as op;
use crate::stream::ItemStream;

/// What is read of the source.
struct Original {
    spec: ContainerSpec,
    image_id: String,
    files: FileSystem,
}

impl Shared {
    /// The simulated node behind `source`, if it is one.
    fn peer(source: &dyn Node) -> Option<&Arc<Shared>> {
        source.engine().downcast_ref::<MemoryNode>().map(|node| &node.shared)
    }

    fn original(&self, container: &str) -> Result<Original> {
        if self.faults.is_away() {
            return Err(Faults::away().with_node(self.name.clone()));
        }
        let mut world = self.world();
        let record = world.container(container)?;
        let files = super::lock(&record.files).clone();
        Ok(Original { spec: record.spec.clone(), image_id: record.image_id.clone(), files })
    }

    /// What of the configuration this node has no place for; the specification is changed to what it has.
    fn fit(&self, spec: &mut ContainerSpec) -> Vec<NotCarried> {
        let world = self.world();
        let mut lost = Vec::new();
        spec.networks.retain(|attachment| {
            let found = world.networks.iter().any(|net| net.shown.name == attachment.network);
            if !found {
                let reason = format!("the target has no network {}", attachment.network);
                lost.push(NotCarried::new(format!("networks.{}", attachment.network), reason));
            }
            found
        });
        for attachment in &mut spec.networks {
            attachment.address = None;
        }
        lost
    }

    pub(super) async fn copy_ways(&self, source: &dyn Node, container: &str) -> Result<Vec<CopyWay>> {
        self.capabilities.require(Capability::Copy)?;
        crate::names::existing("container", container)?;
        let effects = self.enter(&op::NODE_COPY_WAYS).await?;
        let Some(peer) = Self::peer(source) else {
            // There is none, but only of what there is.
            source.container(container).inspect().await?;
            return self.answer(effects, Vec::new());
        };
        let mut original = peer.original(container)?;
        // What is mounted does not belong to the container, and would be another thing on another node.
        let local = std::ptr::eq(Arc::as_ptr(peer), std::ptr::from_ref(self));
        if !local && original.spec.mounts.iter().any(|mount| mount.kind != MountKind::Tmpfs) {
            return self.answer(effects, Vec::new());
        }
        let mut way = CopyWay::new(if local { CopyTransport::Local } else { CopyTransport::Pull });
        way.not_carried = self.fit(&mut original.spec);
        self.answer(effects, vec![way])
    }

    pub(super) async fn copy_container(
        &self,
        source: &dyn Node,
        options: &CopyOptions,
    ) -> Result<ItemStream<CopyProgress>> {
        self.capabilities.require(Capability::Copy)?;
        options.validate()?;
        let effects = self.enter(&op::NODE_COPY_CONTAINER).await?;
        let peer = Self::peer(source).ok_or_else(|| Error::unsupported("copying from a node of another engine"))?;
        let local = std::ptr::eq(Arc::as_ptr(peer), std::ptr::from_ref(self));
        let wanted = if local { CopyTransport::Local } else { CopyTransport::Pull };
        if options.transport != wanted || options.live || options.snapshots {
            return Err(Error::unsupported("this way of copying"));
        }
        peer.original(&options.container)?;
        if self.world().name_is_taken(&options.name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the container name {} is taken", options.name))
                .with_resource(options.name.clone()));
        }
        let begun = CopyProgress::new("reading");
        let (target, peer, options) = (Weak::clone(&self.weak), Arc::clone(peer), options.clone());
        let rest = stream::once(async move {
            let target = target.upgrade().ok_or_else(Faults::away)?;
            target.take_copy(&peer, &options)
        });
        Ok(streams::cut(effects.readable(), stream::once(async { Ok(begun) }).chain(rest).boxed()))
    }

    fn take_copy(&self, peer: &Shared, options: &CopyOptions) -> Result<CopyProgress> {
        let mut original = peer.original(&options.container)?;
        if self.faults.is_away() {
            return Err(Faults::away());
        }
        self.fit(&mut original.spec);
        let mut spec = original.spec;
        spec.name = Some(options.name.clone());
        spec.restart = RestartPolicy::Never;
        spec.labels.extend(options.labels.clone());
        let bytes = original.files.bytes() as u64;
        let mut world = self.world();
        let record = self.assemble(&mut world, spec, original.image_id, original.files)?;
        self.event(ResourceKind::Container, EventAction::Created, &record.id, Some(&record.name));
        world.containers.insert(record.number, record);
        Ok(CopyProgress { status: "copied".to_owned(), current_bytes: Some(bytes), total_bytes: Some(bytes) })
    }
}
