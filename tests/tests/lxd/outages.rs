//! Event streams over the death of a daemon.

use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::{Event, EventAction, EventOptions, ItemStream};
use roadstead_tests::engines::OwnEngine;

use crate::{Known, connect};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn events_of_lxd_go_on_after_its_death() {
    if let Some(own) = OwnEngine::lxd("outage") {
        events_go_on(&own).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_incus_go_on_after_its_death() {
    if let Some(own) = OwnEngine::incus("outage") {
        events_go_on(&own).await;
    }
}

async fn events_go_on(own: &OwnEngine) {
    let engine = own.engine();
    let known = Known::of(engine);
    let tls = format!("{}?server_certificate={}&{}", engine.tls_uri(), known.server.display(), known.query);
    let mut streams = Vec::new();
    for uri in [engine.uri(), &tls] {
        let node = connect(uri).await.expect("it answers");
        streams.push(node.events(&EventOptions::default()).await.expect("events"));
    }
    let before = engine.create(&engine.name("before"), &["true"]);
    for events in &mut streams {
        find(events, |event| event.id == before && event.action == EventAction::Created).await;
    }
    own.kill();
    own.start_again();
    for events in &mut streams {
        find(events, |event| event.action == EventAction::Resync).await;
    }
    let after = engine.create(&engine.name("after"), &["true"]);
    for events in &mut streams {
        find(events, |event| event.id == after && event.action == EventAction::Created).await;
    }
}

async fn find(events: &mut ItemStream<Event>, wanted: impl Fn(&Event) -> bool) {
    let found = async {
        while let Some(event) = events.next().await {
            if wanted(&event.expect("the stream goes on")) {
                return;
            }
        }
        panic!("the stream ended");
    };
    tokio::time::timeout(SOON, found).await.expect("it comes");
}
