//! Stores on real etcd: the clauses, members that die, stop or lose the others, servers that share them, and what etcd forgets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test says that it failed, and a line how it says what it saw"
)]

mod apart;
mod clauses;
mod copies;
mod events;
mod forgetting;
mod jobs;
mod large;
mod members;
mod own;
mod servers;
mod users;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::store::{Key, Store, Watched};
use roadstead_core::{ItemStream, Result};
use roadstead_tests::etcd::OwnEtcd;

/// No sound etcd takes this long for anything.
const SOON: Duration = Duration::from_secs(60);

async fn open(uri: &str) -> Arc<dyn Store> {
    roadstead_backends::stores::open(uri).await.expect("the store opens")
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

async fn next(watch: &mut ItemStream<Watched>) -> Option<Result<Watched>> {
    tokio::time::timeout(SOON, watch.next()).await.expect("it is told soon")
}

/// Asks again and again, until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {} s", SOON.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Which member leads, once they agree on one.
async fn leader(own: &OwnEtcd) -> usize {
    let mut found = None;
    until("one leads", async || {
        found = own.leader();
        found.is_some()
    })
    .await;
    found.unwrap()
}
