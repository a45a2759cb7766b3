//! Volumes of the simulated node.

use async_trait::async_trait;

use super::create::used_volumes;
use super::node::MemoryNode;
use crate::capabilities::Capability;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::names;
use crate::operation as op;
use crate::volume::{Volume, VolumeSpec, Volumes};

#[async_trait]
impl Volumes for MemoryNode {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        self.shared.capabilities.require(Capability::Volumes)?;
        let effects = self.shared.enter(&op::VOLUME_LIST).await?;
        let mut items: Vec<_> = self.shared.world().volumes.values().map(|volume| volume.shown.clone()).collect();
        if effects.vanish {
            items.pop();
        }
        Ok(items)
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.shared.capabilities.require(Capability::Volumes)?;
        names::existing("name", name)?;
        let effects = self.shared.enter(&op::VOLUME_INSPECT).await?;
        let found = self.shared.world().volumes.get(name).map(|volume| volume.shown.clone());
        self.shared.answer(effects, found.ok_or_else(|| Error::not_found("volume", name))?)
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        self.shared.capabilities.require(Capability::Volumes)?;
        spec.validate()?;
        let effects = self.shared.enter(&op::VOLUME_CREATE).await?;
        let volume = {
            let mut world = self.shared.world();
            if world.volumes.contains_key(&spec.name) {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("the volume name {} is taken", spec.name))
                    .with_resource(spec.name.clone()));
            }
            self.shared.volume(&mut world.volumes, spec).shown.clone()
        };
        self.shared.answer(effects, volume)
    }

    async fn delete_volume(&self, name: &str, _force: bool) -> Result<()> {
        self.shared.capabilities.require(Capability::Volumes)?;
        names::existing("name", name)?;
        let effects = self.shared.enter(&op::VOLUME_DELETE).await?;
        {
            let mut world = self.shared.world();
            if used_volumes(&world).contains(name) {
                return Err(Error::new(ErrorKind::Conflict, format!("volume {name} is used by a container"))
                    .with_resource(name));
            }
            if world.volumes.remove(name).is_none() {
                return Err(Error::not_found("volume", name));
            }
        }
        self.shared.event(ResourceKind::Volume, EventAction::Deleted, name, Some(name));
        self.shared.answer(effects, ())
    }
}
