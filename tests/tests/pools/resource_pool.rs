//! A resource pool of Zero-OS nodes.

use roadstead_backends::engines::core0::resource_pool;
use roadstead_core::pool::{ActionOutcome, ContainerAction, ManyOptions, Placement};
use roadstead_core::{ContainerFilter, ContainerSpec, DeleteOptions, ErrorKind, Pool, PoolExt};
use roadstead_tests::engines::{self, OwnEngine};

use crate::{SOON, connect};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_one_pool() {
    let Some(first) = engines::core0() else { return };
    let Some(second) = OwnEngine::core0("resource-pool") else { return };
    let _cleaner = first.cleaner();
    let (here, there) = (connect("here", &first).await, connect("there", second.engine()).await);
    let pool = resource_pool("zero", [here.clone(), there.clone()]).expect("both are Zero-OS nodes");
    let spec = |name: &str| ContainerSpec::new(engines::flist()).name(first.name(name)).command(["sleep", "600"]);

    let made = pool.create_container(&spec("one"), &Placement::default(), SOON).await.expect("it is made");
    let elsewhere = made.node.clone();
    let mut other = Placement::default();
    other.nodes = vec![if elsewhere == "here" { "there" } else { "here" }.to_owned()];
    pool.create_container(&spec("two"), &other, SOON).await.expect("it is made");
    let mut ours = ContainerFilter::all();
    ours.names = vec![first.name("one"), first.name("two")];
    let listing = pool.list_containers(&ours, SOON).await.unwrap();
    let mut found: Vec<_> = listing.items.iter().map(|item| item.node.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["here", "there"]);
    let totals = pool.totals(SOON).await;
    assert_eq!((totals.members.len(), totals.errors.len()), (2, 0), "{totals:?}");
    assert!(totals.memory_bytes > 0 && totals.containers >= 2);

    let mut options = ManyOptions::of(ours.clone());
    options.deadline = SOON;
    // What no node of the kind can do is said of each before anything is done.
    let frozen = pool.act(&ContainerAction::Freeze, &options).await.unwrap();
    let codes: Vec<_> = frozen.items.iter().map(|item| item.error.as_ref().unwrap().code).collect();
    assert_eq!(codes, [ErrorKind::Unsupported; 2]);
    for action in [ContainerAction::Start, ContainerAction::Delete(DeleteOptions::force())] {
        let acted = pool.act(&action, &options).await.unwrap();
        assert!(acted.items.iter().all(|item| item.outcome == ActionOutcome::Done), "{action:?}: {acted:?}");
        assert_eq!(acted.items.len(), 2);
    }
    assert_eq!(here.pool("zero").await.unwrap_err().kind(), ErrorKind::Unsupported, "nodes know nothing of each other");

    if let Some(docker) = engines::docker() {
        let stranger: [_; 2] = [here, connect("stranger", &docker).await];
        let error = resource_pool("zero", stranger).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("nodes")));
    }
}
