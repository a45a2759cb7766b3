//! Copies that are given up, and servers that are killed, half way: nothing half-made is left, and the original is as
//! it was.

use std::fs;

use futures_util::StreamExt;
use roadstead_core::{CopyOptions, CopyProgress, CopyTransport, ErrorKind, ItemStream, Node};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::{OwnEngine, incus, lxd, lxd_second};
use serde_json::Value;

use super::{
    SOON, TRANSPORTS, copy, exists, instance, node, options, original, root, running, same_files, snapshot_root, until,
};

/// Bytes that take some seconds on their way.
const LARGE: usize = 100_000_000;
/// So many of them are on the other side when something happens.
const HALF_WAY: u64 = 5_000_000;

/// A container that is not copied in a moment.
fn large(engine: &TestEngine) -> String {
    let name = original(engine);
    // Bytes that cannot be compressed.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(LARGE / 8)
    .flatten()
    .collect();
    fs::write(root(engine, &name).join("srv/large"), bytes).unwrap();
    name
}

/// Starts a copy and reads until it is half way.
async fn half_way(target: &dyn Node, source: &dyn Node, options: &CopyOptions) -> ItemStream<CopyProgress> {
    let mut stream = target.copy_container(source, options).await.unwrap();
    let wait = async {
        loop {
            let told = stream.next().await.expect("it is not over").unwrap();
            assert_ne!(told.status, "copied", "it was too fast");
            if told.current_bytes.is_some_and(|bytes| bytes > HALF_WAY) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.expect("it gets half way");
    stream
}

/// How a copy ends.
async fn end(mut stream: ItemStream<CopyProgress>) -> roadstead_core::Result<()> {
    let all = async {
        while let Some(told) = stream.next().await {
            told?;
        }
        Ok(())
    };
    tokio::time::timeout(SOON, all).await.expect("the copy ends")
}

fn idle(engine: &TestEngine) -> bool {
    running(engine).is_empty()
}

/// What a copy must not change.
fn facts(engine: &TestEngine, name: &str) -> Value {
    let mut facts = instance(engine, name);
    // A server that was killed notes so.
    facts["config"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("volatile.last_state"));
    facts["expanded_config"] = Value::Null;
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn given_up_between_two_lxd() {
    if let (Some(source), Some(target)) = (lxd(), lxd_second()) {
        given_up(&source, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_up_from_incus_to_lxd() {
    if let (Some(source), Some(target)) = (incus(), lxd()) {
        given_up(&source, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_up_from_lxd_to_incus() {
    if let (Some(source), Some(target)) = (lxd(), incus()) {
        given_up(&source, &target).await;
    }
}

async fn given_up(source: &TestEngine, target: &TestEngine) {
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(source).await, node(target).await);
    let name = large(source);
    let before = facts(source, &name);
    for transport in TRANSPORTS {
        let copied = target.name(&format!("{}-given-up", transport.name()));
        drop(half_way(&*to, &*from, &options(&name, &copied, transport, false)).await);
        until("nothing goes on", || idle(source) && idle(target));
        until("nothing is left", || !exists(target, &copied));
        assert_eq!(facts(source, &name), before);
    }
    assert!(root(source, &name).join("srv/large").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_lxd_that_receives() {
    if let (Some(source), Some(own)) = (lxd(), OwnEngine::lxd("copies-to")) {
        killed_target(&source, &own).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_incus_that_receives() {
    if let (Some(source), Some(own)) = (lxd(), OwnEngine::incus("copies-to")) {
        killed_target(&source, &own).await;
    }
}

async fn killed_target(source: &TestEngine, own: &OwnEngine) {
    let target = own.engine();
    let _cleaner = source.cleaner();
    let (from, to) = (node(source).await, node(target).await);
    let name = large(source);
    let before = facts(source, &name);
    for transport in TRANSPORTS {
        let copied = target.name(&format!("{}-killed", transport.name()));
        let options = options(&name, &copied, transport, false);
        let stream = half_way(&*to, &*from, &options).await;
        own.kill();
        let error = end(stream).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{transport:?}: {error}");
        own.start_again();
        until("nothing goes on", || idle(source) && idle(target));
        assert_eq!(facts(source, &name), before);
        if exists(target, &copied) {
            // Nobody could take it away; whoever comes later knows it by its label.
            let left = instance(target, &copied);
            assert_eq!(left["config"]["user.roadstead.move"], options.labels["roadstead.move"]);
            assert_eq!(left["status"], "Stopped");
            let deleted = target.client(&["delete", "--force", &copied]);
            assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
        }
        again(source, target, (&*from, &*to), &options).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_lxd_that_gives() {
    if let (Some(own), Some(target)) = (OwnEngine::lxd("copies-from"), lxd()) {
        killed_source(&own, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_incus_that_gives() {
    if let (Some(own), Some(target)) = (OwnEngine::incus("copies-from"), lxd()) {
        killed_source(&own, &target).await;
    }
}

async fn killed_source(own: &OwnEngine, target: &TestEngine) {
    let source = own.engine();
    let _cleaner = target.cleaner();
    let (from, to) = (node(source).await, node(target).await);
    let name = large(source);
    let before = facts(source, &name);
    for transport in TRANSPORTS {
        let copied = target.name(&format!("{}-killed", transport.name()));
        let options = options(&name, &copied, transport, false);
        let stream = half_way(&*to, &*from, &options).await;
        own.kill();
        end(stream).await.unwrap_err();
        // The error comes when nothing is left.
        assert!(!exists(target, &copied), "{transport:?}");
        own.start_again();
        until("nothing goes on", || idle(source) && idle(target));
        assert_eq!(facts(source, &name), before);
        again(source, target, (&*from, &*to), &options).await;
    }
}

/// The same copy, without trouble, and with the snapshots where that is possible.
async fn again(source: &TestEngine, target: &TestEngine, (from, to): (&dyn Node, &dyn Node), options: &CopyOptions) {
    let mut options = options.clone();
    options.snapshots = options.transport == CopyTransport::Relay;
    // What takes long has served.
    let large = root(source, &options.container).join("srv/large");
    let aside = source.socket().with_file_name(format!("{}-large", options.container));
    fs::rename(&large, &aside).unwrap();
    let done = copy(to, from, &options).await;
    done.unwrap_or_else(|error| panic!("{:?}: {error}", options.transport));
    same_files(&root(target, &options.name), &root(source, &options.container));
    fs::rename(&aside, &large).unwrap();
    if options.snapshots {
        let snapshots = |engine, name: &str| snapshot_root(engine, name, "first");
        same_files(&snapshots(target, &options.name), &snapshots(source, &options.container));
    }
}
