//! Creating simulated containers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::files::{FileSystem, MountPoint};
use super::images::find_image;
use super::logs::LogStore;
use super::state::{Endpoint, Life, Net, Record, Shared, StoredVolume, World};
use crate::container::{ContainerSpec, ContainerState, MountKind, NetworkAttachment, NetworkEndpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::names;
use crate::node::CreatedContainer;
use crate::operation as op;
use crate::volume::{Volume, VolumeSpec};

impl Shared {
    pub(super) async fn create_container(&self, spec: &ContainerSpec) -> Result<CreatedContainer> {
        self.takes(spec)?;
        let effects = self.enter(&op::NODE_CREATE_CONTAINER).await?;
        let made = {
            let mut world = self.world();
            let record = self.build(&mut world, spec)?;
            let made =
                CreatedContainer { id: record.id.clone(), name: record.name.clone(), ..CreatedContainer::default() };
            self.event(ResourceKind::Container, EventAction::Created, &record.id, Some(&record.name));
            world.containers.insert(record.number, record);
            made
        };
        self.answer(effects, made)
    }

    pub(super) async fn check_container(&self, spec: &ContainerSpec) -> Result<()> {
        self.takes(spec)?;
        let effects = self.enter(&op::NODE_CHECK_CONTAINER).await?;
        self.answer(effects, ())
    }

    /// Refuses what the specification says.
    fn takes(&self, spec: &ContainerSpec) -> Result<()> {
        spec.require(&self.capabilities)?;
        spec.validate()?;
        names::image_reference("image", &spec.image)
    }

    /// A container as the spec and its image say.
    fn build(&self, world: &mut World, spec: &ContainerSpec) -> Result<Record> {
        let image = find_image(&world.images, &spec.image)?.clone();
        let mut effective = spec.clone();
        if effective.entrypoint.is_none() {
            effective.entrypoint = Some(image.details.entrypoint.clone()).filter(|words| !words.is_empty());
            if effective.command.is_none() {
                effective.command = Some(image.details.command.clone()).filter(|words| !words.is_empty());
            }
        }
        if effective.entrypoint.iter().chain(&effective.command).all(Vec::is_empty) {
            return Err(Error::invalid("command", "neither the spec nor the image names one"));
        }
        let mut env = image.details.env.clone();
        env.extend(std::mem::take(&mut effective.env));
        effective.env = env;
        effective.working_directory = effective.working_directory.or_else(|| image.details.working_directory.clone());
        effective.user = effective.user.or_else(|| image.details.user.clone());
        let mut labels = image.details.summary.labels.clone();
        labels.extend(std::mem::take(&mut effective.labels));
        effective.labels = labels;
        self.assemble(world, effective, image.details.summary.id, image.files)
    }

    /// A container with this configuration, the image's defaults included, and these files. Everything that can fail comes
    /// before anything is changed, so that a refused one leaves nothing behind.
    pub(super) fn assemble(
        &self,
        world: &mut World,
        mut effective: ContainerSpec,
        image_id: String,
        mut files: FileSystem,
    ) -> Result<Record> {
        if let Some(name) = &effective.name
            && world.name_is_taken(name)
        {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the container name {name} is taken"))
                .with_resource(name.clone()));
        }
        for (index, mount) in effective.mounts.iter().enumerate() {
            let source = mount.source.as_deref().unwrap_or_default();
            if mount.kind == MountKind::Bind && super::lock(&self.node_files).entry(source).is_none() {
                return Err(Error::invalid(
                    format!("mounts[{index}].source"),
                    format!("{source} does not exist on the node"),
                ));
            }
        }
        if effective.networks.is_empty() {
            effective.networks.push(NetworkAttachment::new("bridge"));
        }
        let mut endpoints = Vec::new();
        for (index, attachment) in effective.networks.iter().enumerate() {
            let net = find_network(&mut world.networks, &attachment.network).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("networks[{index}]: no such network: {}", attachment.network))
                    .with_resource(attachment.network.clone())
            })?;
            endpoints.push(Endpoint {
                network_id: net.shown.id.clone(),
                aliases: attachment.aliases.clone(),
                shown: NetworkEndpoint {
                    network: net.shown.name.clone(),
                    addresses: attachment.address.or_else(|| net.next_address()).into_iter().collect(),
                    gateway: net.shown.subnets.first().and_then(|subnet| subnet.gateway),
                    ..NetworkEndpoint::default()
                },
            });
        }
        let number = world.next_number();
        let id = world.ids.id();
        let name = effective.name.clone().unwrap_or_else(|| self.free_name(world));
        let (mounts, anonymous_volumes) = self.mount(world, &mut effective);
        if let Some(directory) = &effective.working_directory {
            // As engines do; a file in its place shows when the process starts.
            let _ =
                files.entry(directory).is_none() && files.put_deep(directory, super::files::Entry::directory()).is_ok();
        }
        effective.name = Some(name.clone());
        Ok(Record {
            number,
            id,
            name,
            spec: effective,
            image_id,
            state: ContainerState::Created,
            created_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            exit_code: None,
            error: None,
            restart_count: 0,
            health: None,
            files: files.shared(),
            mounts,
            anonymous_volumes,
            logs: Arc::new(LogStore::default()),
            frozen: watch::Sender::new(false),
            life: watch::Sender::new(Life::default()),
            main: None,
            others: Vec::new(),
            generation: 0,
            stop_requested: false,
            endpoints,
            spent_cpu_seconds: 0.0,
            snapshots: Vec::new(),
        })
    }

    fn free_name(&self, world: &mut World) -> String {
        let mut attempt = 0;
        loop {
            let name = world.ids.name(attempt);
            if !world.name_is_taken(&name) {
                return name;
            }
            attempt += 1;
        }
    }

    /// Mounts what the spec asks for, and names anonymous volumes.
    fn mount(&self, world: &mut World, spec: &mut ContainerSpec) -> (Vec<MountPoint>, Vec<String>) {
        let (mut mounts, mut anonymous) = (Vec::new(), Vec::new());
        for mount in &mut spec.mounts {
            let (source, directory) = match mount.kind {
                MountKind::Bind => (Arc::clone(&self.node_files), mount.source.clone().unwrap_or_default()),
                MountKind::Volume => {
                    let name = mount.source.get_or_insert_with(|| {
                        let name = world.ids.id();
                        anonymous.push(name.clone());
                        name
                    });
                    let volume = self.volume(&mut world.volumes, &VolumeSpec::new(name.clone()));
                    (Arc::clone(&volume.files), "/".to_owned())
                }
                _ => (FileSystem::default().shared(), "/".to_owned()),
            };
            let target = super::files::absolute("/", &mount.target);
            mounts.push(MountPoint {
                target,
                source,
                directory: super::files::absolute("/", &directory),
                read_only: mount.read_only,
            });
        }
        (mounts, anonymous)
    }

    /// The volume of this name, made if it is not there.
    pub(super) fn volume<'a>(
        &self,
        volumes: &'a mut BTreeMap<String, StoredVolume>,
        spec: &VolumeSpec,
    ) -> &'a mut StoredVolume {
        volumes.entry(spec.name.clone()).or_insert_with(|| {
            self.event(ResourceKind::Volume, EventAction::Created, &spec.name, Some(&spec.name));
            StoredVolume {
                shown: Volume {
                    node: self.name.clone(),
                    name: spec.name.clone(),
                    driver: spec.driver.clone().unwrap_or_else(|| "local".to_owned()),
                    path: None,
                    labels: spec.labels.clone(),
                    options: spec.options.clone(),
                    created_at: Some(self.clock.now()),
                },
                files: FileSystem::default().shared(),
            }
        })
    }
}

/// The network with this name or id.
pub(super) fn find_network<'a>(networks: &'a mut [Net], name: &str) -> Option<&'a mut Net> {
    networks.iter_mut().find(|net| net.shown.name == name || net.shown.id == name)
}

/// Names of volumes that containers use.
pub(super) fn used_volumes(world: &World) -> BTreeSet<&str> {
    world
        .containers
        .values()
        .flat_map(|record| &record.spec.mounts)
        .filter(|mount| mount.kind == MountKind::Volume)
        .filter_map(|mount| mount.source.as_deref())
        .collect()
}
