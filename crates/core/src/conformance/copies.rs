//! Clauses of copies by the engine's own means. The node is its own source: what differs between two nodes is for the
//! tests of migration.

use std::collections::BTreeSet;

use super::check::{Check, During, Failure, drain, ensure, equal, refused};
use super::declare;
use super::scene::{Scene, details, in_state, read_file};
use super::tar::{self, File};
use crate::container::{Container, ContainerState, CopyInOptions, RestartPolicy};
use crate::copy::{CopyOptions, CopyTransport};
use crate::error::{ErrorKind, Result};

declare! {
    N60 "copy ways: what the source does not have is NotFound" [Copy] no_way_for_nothing;
    N61 "copy ways: each transport once" [Copy Create] each_transport_once;
    N62 "a copy has files, configuration and labels, and does not run" [Copy Create Files] copied;
    N63 "copy: a name that is taken" [Copy Create] copy_onto_something;
    N64 "copy: what the source does not have is NotFound" [Copy Create] copy_of_nothing;
}

async fn no_way_for_nothing(scene: &Scene) -> Check {
    let missing = scene.name("missing");
    refused("ways for what is not there", scene.node().copy_ways(scene.node(), &missing).await, ErrorKind::NotFound)
        .map(drop)
}

/// How this node takes a copy from itself; a node that has no way for that is not tried.
async fn way(scene: &Scene, container: &dyn Container) -> Check<CopyTransport> {
    let ways = scene.node().copy_ways(scene.node(), container.id()).await.during("copy ways")?;
    ways.first().map(|way| way.transport).ok_or_else(|| Failure::Gated("no way from the node to itself".to_owned()))
}

async fn copy(scene: &Scene, options: &CopyOptions) -> Result<()> {
    let mut stream = scene.node().copy_container(scene.node(), options).await?;
    while let Some(step) = futures_util::StreamExt::next(&mut stream).await {
        step?;
    }
    Ok(())
}

async fn each_transport_once(scene: &Scene) -> Check {
    let container = scene.stopped("c").await?;
    let ways = scene.node().copy_ways(scene.node(), container.id()).await.during("copy ways")?;
    let transports: BTreeSet<_> = ways.iter().map(|way| way.transport.name()).collect();
    equal("the number of transports", transports.len(), ways.len())
}

async fn copied(scene: &Scene) -> Check {
    let mut spec = scene.spec("original").label(scene.label(), "kept");
    spec.env.insert("CF_VALUE".to_owned(), "two  words".to_owned());
    if scene.has(crate::Capability::RestartPolicy) {
        spec.restart = RestartPolicy::Always;
    }
    let original = scene.create(&spec).await?;
    let archive = tar::write(&[File::new("copied", 0o640, "content")]);
    original.copy_in("/", tar::stream_of(archive), &CopyInOptions::default()).await.during("copy in")?;
    let before = details(&*original).await?;
    let name = scene.name("copy");
    let mut options = CopyOptions::new(original.id(), &name, way(scene, &*original).await?);
    options.labels.insert(format!("{}.copy", scene.label()), "yes".to_owned());
    let mut stream = scene.node().copy_container(scene.node(), &options).await.during("copy")?;
    ensure(!drain("copy", &mut stream).await?.is_empty(), "no progress was told")?;
    let made = scene.node().container(&name);
    let shown = in_state(&*made, ContainerState::Created).await?;
    equal("the name", shown.summary.name.as_str(), name.as_str())?;
    let label = |key: &str| shown.summary.labels.get(key).map(String::as_str);
    equal("the label of the original", label(&scene.label()), Some("kept"))?;
    equal("the label of the copy", label(&format!("{}.copy", scene.label())), Some("yes"))?;
    equal("the variable", shown.spec.env.get("CF_VALUE").map(String::as_str), Some("two  words"))?;
    equal("the command", &shown.spec.command, &before.spec.command)?;
    equal("the restart policy", shown.spec.restart, RestartPolicy::Never)?;
    let files = read_file(&*made, "/copied").await?;
    equal("the file", files, vec![File::new("copied", 0o640, "content")])?;
    equal("the original", details(&*original).await?, before)
}

async fn copy_onto_something(scene: &Scene) -> Check {
    let original = scene.stopped("original").await?;
    let taken = scene.created("taken").await?;
    let before = details(&*taken).await?;
    let options = CopyOptions::new(original.id(), &before.summary.name, way(scene, &*original).await?);
    refused("copy to a name that is taken", copy(scene, &options).await, ErrorKind::AlreadyExists)?;
    equal("what had the name", details(&*taken).await?, before)
}

async fn copy_of_nothing(scene: &Scene) -> Check {
    let there = scene.stopped("there").await?;
    let name = scene.name("copy");
    let options = CopyOptions::new(scene.name("missing"), &name, way(scene, &*there).await?);
    refused("copy of what is not there", copy(scene, &options).await, ErrorKind::NotFound)?;
    refused("inspect", scene.node().container(&name).inspect().await, ErrorKind::NotFound).map(drop)
}
