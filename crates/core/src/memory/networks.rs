//! Networks of the simulated node.

use async_trait::async_trait;

use super::create::find_network;
use super::node::MemoryNode;
use super::state::Net;
use crate::capabilities::Capability;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::names;
use crate::network::{Network, NetworkSpec, Networks, Subnet};
use crate::operation as op;

#[async_trait]
impl Networks for MemoryNode {
    async fn list_networks(&self) -> Result<Vec<Network>> {
        self.shared.capabilities.require(Capability::Networks)?;
        let effects = self.shared.enter(&op::NETWORK_LIST).await?;
        let mut items: Vec<_> = self.shared.world().networks.iter().map(|net| net.shown.clone()).collect();
        if effects.vanish {
            items.pop();
        }
        Ok(items)
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.shared.capabilities.require(Capability::Networks)?;
        names::existing("name", name)?;
        let effects = self.shared.enter(&op::NETWORK_INSPECT).await?;
        let found = find_network(&mut self.shared.world().networks, name).map(|net| net.shown.clone());
        self.shared.answer(effects, found.ok_or_else(|| Error::not_found("network", name))?)
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        self.shared.capabilities.require(Capability::Networks)?;
        spec.validate()?;
        let effects = self.shared.enter(&op::NETWORK_CREATE).await?;
        let id = {
            let mut world = self.shared.world();
            if world.networks.iter().any(|net| net.shown.name == spec.name) {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("the network name {} is taken", spec.name))
                    .with_resource(spec.name.clone()));
            }
            let id = world.ids.id();
            let number = world.next_number();
            let mut subnets = spec.subnets.clone();
            if subnets.is_empty() {
                subnets.push(Subnet::new(format!("10.{}.{}.0/24", 100 + (number >> 8) % 100, number % 256)));
            }
            world.networks.push(Net {
                shown: Network {
                    node: self.shared.name.clone(),
                    id: id.clone(),
                    name: spec.name.clone(),
                    driver: spec.driver.clone().unwrap_or_else(|| "bridge".to_owned()),
                    internal: spec.internal,
                    subnets,
                    labels: spec.labels.clone(),
                    options: spec.options.clone(),
                    created_at: Some(self.shared.clock.now()),
                },
                preset: false,
                next_host: 1,
            });
            id
        };
        self.shared.event(ResourceKind::Network, EventAction::Created, &id, Some(&spec.name));
        self.shared.answer(effects, id)
    }

    async fn delete_network(&self, name: &str) -> Result<()> {
        self.shared.capabilities.require(Capability::Networks)?;
        names::existing("name", name)?;
        let effects = self.shared.enter(&op::NETWORK_DELETE).await?;
        let id = {
            let mut world = self.shared.world();
            let net = find_network(&mut world.networks, name).ok_or_else(|| Error::not_found("network", name))?;
            let (id, preset) = (net.shown.id.clone(), net.preset);
            let conflict =
                |why: &str| Err(Error::new(ErrorKind::Conflict, format!("network {name} {why}")).with_resource(name));
            if preset {
                return conflict("is the engine's own");
            }
            let used = world.containers.values().any(|record| {
                record.state.has_processes() && record.endpoints.iter().any(|endpoint| endpoint.network_id == id)
            });
            if used {
                return conflict("is used by a running container");
            }
            world.networks.retain(|net| net.shown.id != id);
            id
        };
        self.shared.event(ResourceKind::Network, EventAction::Deleted, &id, Some(name));
        self.shared.answer(effects, ())
    }
}
