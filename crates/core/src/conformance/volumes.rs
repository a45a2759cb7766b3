//! Clauses of volumes.

use super::check::{Check, During, ensure, equal, failed, refused};
use super::declare;
use super::scene::Scene;
use crate::capabilities::Capability;
use crate::container::{ContainerSpec, Mount, MountKind};
use crate::error::ErrorKind;
use crate::volume::VolumeSpec;

declare! {
    V1 "list: every volume with its labels" [Volumes] list;
    V2 "inspect: by name" [Volumes] inspect;
    V3 "create: driver and labels; files are kept" [Volumes] create;
    V4 "create: a name that is taken" [Volumes] create_taken;
    V5 "delete: afterwards it is not found" [Volumes] delete;
    V6 "delete: Conflict while a container uses it" [Volumes Create Mounts] delete_used;
}

fn labelled(scene: &Scene, rest: &str) -> VolumeSpec {
    let mut spec = VolumeSpec::new(scene.volume_name(rest));
    spec.labels.insert(scene.label(), "value".to_owned());
    spec
}

fn with_volume(mut spec: ContainerSpec, volume: &str) -> ContainerSpec {
    spec.mounts = vec![Mount {
        kind: MountKind::Volume,
        source: Some(volume.to_owned()),
        target: "/data".to_owned(),
        read_only: false,
        size_bytes: None,
    }];
    spec
}

async fn list(scene: &Scene) -> Check {
    let spec = labelled(scene, "listed");
    scene.node().create_volume(&spec).await.during("create")?;
    let all = scene.node().list_volumes().await.during("list")?;
    let Some(found) = all.into_iter().find(|volume| volume.name == spec.name) else {
        return failed("the volume is not listed");
    };
    equal("the node", found.node.as_str(), scene.node().name())?;
    equal("the labels", found.labels, spec.labels)
}

async fn inspect(scene: &Scene) -> Check {
    let spec = labelled(scene, "found");
    let created = scene.node().create_volume(&spec).await.during("create")?;
    let found = scene.node().inspect_volume(&spec.name).await.during("inspect")?;
    equal("the name", &found.name, &spec.name)?;
    equal("the volume", found, created)?;
    let missing = scene.node().inspect_volume(&scene.volume_name("missing")).await;
    refused("inspect", missing, ErrorKind::NotFound).map(drop)
}

async fn create(scene: &Scene) -> Check {
    let plain = scene.node().create_volume(&labelled(scene, "plain")).await.during("create")?;
    ensure(!plain.driver.is_empty(), "the volume has no driver")?;
    let mut spec = labelled(scene, "full");
    spec.driver = Some(plain.driver.clone());
    let full = scene.node().create_volume(&spec).await.during("create with a driver")?;
    equal("the driver", &full.driver, &plain.driver)?;
    equal("the labels", &full.labels, &spec.labels)?;
    if scene.has(Capability::Create) && scene.has(Capability::Mounts) && scene.has(Capability::Logs) {
        let writer = with_volume(scene.script("writer", "echo kept > /data/file"), &spec.name);
        scene.result_of(&writer).await?;
        let reader = with_volume(scene.script("reader", "cat /data/file"), &spec.name);
        scene.gives("the next container", &reader, 0, "kept\n").await?;
    }
    Ok(())
}

async fn create_taken(scene: &Scene) -> Check {
    let spec = labelled(scene, "taken");
    let first = scene.node().create_volume(&spec).await.during("create")?;
    let again = VolumeSpec::new(&spec.name);
    refused("create again", scene.node().create_volume(&again).await, ErrorKind::AlreadyExists)?;
    equal("the volume", scene.node().inspect_volume(&spec.name).await.during("inspect")?, first)
}

async fn delete(scene: &Scene) -> Check {
    let spec = labelled(scene, "short");
    scene.node().create_volume(&spec).await.during("create")?;
    scene.node().delete_volume(&spec.name, false).await.during("delete")?;
    refused("inspect", scene.node().inspect_volume(&spec.name).await, ErrorKind::NotFound)?;
    refused("delete again", scene.node().delete_volume(&spec.name, false).await, ErrorKind::NotFound).map(drop)
}

async fn delete_used(scene: &Scene) -> Check {
    let spec = labelled(scene, "used");
    scene.node().create_volume(&spec).await.during("create")?;
    scene.start(&with_volume(scene.spec("user"), &spec.name)).await?;
    refused("delete", scene.node().delete_volume(&spec.name, false).await, ErrorKind::Conflict)?;
    scene.node().inspect_volume(&spec.name).await.during("inspect").map(drop)
}
