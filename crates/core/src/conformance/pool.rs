//! Clauses of pools, tried with the node under test among sick ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::check::{Check, During, ensure, equal, refused};
use super::declare;
use super::scene::Scene;
use super::sick::{Ailment, Sick};
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::ErrorKind;
use crate::pool::{Listing, Pool};
use crate::static_pool::StaticPool;

declare! {
    P1 "one sick node never hides the healthy ones" [Create] sick_and_well;
    P2 "the whole answers by its deadline" [] by_its_deadline;
    P3 "every node is told of, in order, once" [] every_node_once;
    P4 "a member by name" [] member_by_name;
    P5 "each member's containers, with its node's name" [Create] containers_of_all;
}

const REFUSES: &str = "sick-and-refusing";
const SILENT: &str = "sick-and-silent";

/// Enough for the node under test on a busy machine, and what the silent one takes.
const DEADLINE: Duration = Duration::from_secs(3);

fn pool(scene: &Scene) -> StaticPool {
    let node = &scene.fixture.node;
    StaticPool::new(
        "fleet",
        [Sick::node(REFUSES, Ailment::Refuses, node), Arc::clone(node), Sick::node(SILENT, Ailment::Silent, node)],
    )
}

async fn list(scene: &Scene) -> Check<Listing<ContainerSummary>> {
    pool(scene).list_containers(&ContainerFilter::all(), DEADLINE).await.during("list")
}

async fn sick_and_well(scene: &Scene) -> Check {
    let container = scene.created("c").await?;
    let listing = list(scene).await?;
    ensure(listing.items.iter().any(|item| item.id == container.id()), "a container of the healthy node is missing")?;
    let mut errors: Vec<_> = listing.errors.iter().map(|error| (error.node.as_str(), error.code)).collect();
    errors.sort_by_key(|(node, _)| *node);
    equal("the errors", errors, [(REFUSES, ErrorKind::Unavailable), (SILENT, ErrorKind::DeadlineExceeded)])
}

async fn by_its_deadline(scene: &Scene) -> Check {
    let begun = Instant::now();
    let deadline = Duration::from_millis(500);
    let listing = pool(scene).list_containers(&ContainerFilter::all(), deadline).await.during("list")?;
    let took = begun.elapsed();
    ensure(took < deadline + Duration::from_secs(2), format!("the list took {took:?} instead of {deadline:?}"))?;
    let silent = listing.errors.iter().find(|error| error.node == SILENT).map(|error| error.code);
    equal("the error of the silent node", silent, Some(ErrorKind::DeadlineExceeded))
}

async fn every_node_once(scene: &Scene) -> Check {
    let listing = list(scene).await?;
    let told: Vec<_> = listing.nodes.iter().map(|node| (node.node.as_str(), node.ok)).collect();
    equal("the nodes", told, [(REFUSES, false), (scene.node().name(), true), (SILENT, false)])?;
    for node in &listing.nodes {
        let errors = listing.errors.iter().filter(|error| error.node == node.node).count();
        equal(&format!("the number of errors of {}", node.node), errors, usize::from(!node.ok))?;
        equal(&format!("whether {} was observed", node.node), node.observed_at.is_some(), node.ok)?;
    }
    Ok(())
}

async fn member_by_name(scene: &Scene) -> Check {
    let pool = pool(scene);
    let names: Vec<_> = pool.nodes().iter().map(|node| node.name().to_owned()).collect();
    equal("the members", names, [REFUSES, scene.node().name(), SILENT])?;
    equal("the member", pool.node(scene.node().name()).during("node")?.uri(), scene.node().uri())?;
    refused("node", pool.node("no-such-node"), ErrorKind::NotFound).map(drop)
}

async fn containers_of_all(scene: &Scene) -> Check {
    let container = scene.created("c").await?;
    let filter = ContainerFilter { names: scene_names(&*container).await?, ..ContainerFilter::default() };
    let listing = pool(scene).list_containers(&filter, DEADLINE).await.during("list")?;
    let found: Vec<_> = listing.items.iter().map(|item| (item.node.as_str(), item.id.as_str())).collect();
    equal("the containers", found, [(scene.node().name(), container.id())])
}

async fn scene_names(container: &dyn crate::Container) -> Check<Vec<String>> {
    Ok(vec![super::scene::details(container).await?.summary.name])
}
