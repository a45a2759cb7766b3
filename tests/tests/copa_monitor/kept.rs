//! What was acknowledged is kept: over a restart, a kill, among servers that write at once; and what is too old, too much, or of a pool that
//! is gone, goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roadstead_tests::etcd::shared;
use serde_json::{Value, json};

use crate::{Copa, LINK, encoded, link, member, options, until};

const KIND: Option<&str> = Some("application/x-www-form-urlencoded");

/// The number that a measurement bears as its throughput, and its id.
fn numbered(measurements: &[Value]) -> Vec<(u64, u64)> {
    let number = |one: &Value| one["throughput"].to_string().trim_end_matches(".0").parse::<u64>().unwrap();
    measurements.iter().map(|one| (number(one), one["id"].as_u64().unwrap())).collect()
}

/// Posts numbers from this one on until the server does not answer; gives those that were acknowledged.
async fn post(copa: Copa, first: u64, most: u64, count: Arc<AtomicUsize>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for number in first..first + most {
        let throughput = number.to_string();
        let body = encoded(&link(&[("throughput", &throughput)]));
        let Some((status, answer)) = copa.try_send("POST", "/REST/network/kpilink/", KIND, body).await else { break };
        assert_eq!(status, 200, "{answer}");
        if answer != json!({"success": "post_kpilink"}) {
            // A server that ends says so.
            assert!(answer["error"].is_string(), "{answer}");
            break;
        }
        acknowledged.push(number);
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Numbers are each there once, and newest first.
fn whole(kept: &[(u64, u64)], acknowledged: &BTreeSet<u64>) {
    let numbers: BTreeSet<_> = kept.iter().map(|(number, _)| *number).collect();
    let lost: Vec<_> = acknowledged.difference(&numbers).collect();
    assert!(lost.is_empty(), "these were acknowledged and are lost: {lost:?}");
    assert_eq!(numbers.len(), kept.len(), "one is there twice");
    assert!(kept.is_sorted_by(|(_, newer), (_, older)| newer > older), "ids do not rise: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_or_ends_loses_nothing() {
    let state = tempfile::tempdir().expect("a directory");
    let mut acknowledged = BTreeSet::new();
    let mut highest = 0;
    for round in 0..4_u64 {
        let mut server = options().start_in(state.path());
        let copa = Copa::of(&server);
        whole(&numbered(&copa.measurements("kpilink", "locus=server1").await), &acknowledged);
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                tokio::spawn(post(copa.clone(), round * 1_000_000 + writer * 100_000, 100_000, Arc::clone(&count)))
            })
            .collect();
        until("enough is written", async || count.load(Ordering::Relaxed) >= 150).await;
        if round % 2 == 0 {
            server.kill();
        } else {
            server.terminate();
            assert!(server.wait_end().success());
        }
        for writer in writers {
            acknowledged.extend(writer.await.expect("it writes"));
        }
        let again = options().start_in(state.path());
        let kept = numbered(&Copa::of(&again).measurements("kpilink", "locus=server1").await);
        whole(&kept, &acknowledged);
        let newest = kept[0].1;
        assert!(newest > highest, "an id is given twice: {newest} after {highest}");
        highest = newest;
    }
    let last = options().start_in(state.path());
    let copa = Copa::of(&last);
    let kept = copa.measurements("kpilink", "locus=server1&last=1").await;
    assert_eq!(kept[0]["id"], highest);
    let _ = copa.form("/REST/network/kpilink/", &LINK).await;
    assert_eq!(copa.measurements("kpilink", "locus=server1&last=1").await[0]["id"], highest + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_write_at_once() {
    let Some(uri) = shared("copa-measurements") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let servers = [member(&uri, directory.path(), "one"), member(&uri, directory.path(), "two")];
    let count = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let copa = Copa::of(&servers[usize::try_from(writer % 2).unwrap()]);
            tokio::spawn(post(copa, writer * 1000, 25, Arc::clone(&count)))
        })
        .collect();
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("it writes"));
    }
    assert_eq!(acknowledged.len(), 200, "all are acknowledged");
    let of_both = [
        numbered(&Copa::of(&servers[0]).measurements("kpilink", "locus=server1").await),
        numbered(&Copa::of(&servers[1]).measurements("kpilink", "locus=server1").await),
    ];
    assert_eq!(of_both[0], of_both[1]);
    whole(&of_both[0], &acknowledged);
    let ids: Vec<_> = of_both[0].iter().rev().map(|(_, id)| *id).collect();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    // What one is configured with, the other is, too.
    let set =
        Copa::of(&servers[0]).form("/REST/network/configuration", &[("auto_delegation_type", "threshold_lat")]).await;
    assert_eq!(set, json!({"success": "update_configuration"}));
    let told = Copa::of(&servers[1]).get("/REST/network/configuration").await;
    assert_eq!(told["configuration"][0]["auto_delegation_type"], "threshold_lat");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_or_too_old_is_not_shown() {
    let state = tempfile::tempdir().expect("a directory");
    let bounded = || options().argument("--keep-measurements-count").argument("120");
    let server = bounded().start_in(state.path());
    let copa = Copa::of(&server);
    let stations: Vec<_> = (0..60).map(|_| json!({
        "locus": "server1", "mac": "m", "mfb": 1, "tdls": 1, "wmm": 1, "authenticated": 1, "authorized": 1,
        "expected_throughput": "", "inactive_time": "", "preamble": "", "rx_bitrate": "", "rx_bytes": 0,
        "rx_packets": 0, "signal": "", "signal_avg": "", "tx_bitrate": "", "tx_bytes": 0, "tx_failed": 0, "tx_retries": 0,
    })).collect();
    for _ in 0..5 {
        let posted = copa.json("/REST/network/kpiwireless/", &json!(stations)).await;
        assert_eq!(posted, json!({"success": "post_kpiwireless"}));
    }
    let kept = copa.measurements("kpiwireless", "locus=server1").await;
    let ids: Vec<_> = kept.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (181..=300).rev().collect::<Vec<_>>());
    drop(server);
    // With a shorter time all of it is too old in a moment, and numbers go on.
    let server = bounded().argument("--keep-measurements-seconds").argument("1").start_in(state.path());
    let copa = Copa::of(&server);
    until("it is too old", async || copa.measurements("kpiwireless", "locus=server1").await.is_empty()).await;
    let _ = copa.json("/REST/network/kpiwireless/", &stations[0]).await;
    drop(server);
    let server = bounded().start_in(state.path());
    let copa = Copa::of(&server);
    assert_eq!(copa.measurements("kpiwireless", "locus=server1&last=1").await[0]["id"], 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_measurements_of_a_removed_pool_go_and_no_others() {
    let server = options().start();
    let copa = Copa::of(&server);
    for (name, remove) in [("third", true), ("fourth", false)] {
        let add = async || {
            // Nothing need answer at its address.
            let added = copa
                .form("/REST/pools/", &[("operation", "add"), ("container_pool", name), ("ip", "127.0.0.1:9")])
                .await;
            assert_eq!(added["success"], "Container pool added Successfully", "{added}");
        };
        add().await;
        for turn in 0..150 {
            copa.is_busy(if turn % 2 == 0 { name } else { "server2" }, "1").await;
        }
        let _ = copa.form("/REST/network/kpilink/", &LINK).await;
        let _ = copa.form("/REST/network/kpilink/", &link(&[("locus2", name)])).await;
        let _ = copa.form("/REST/network/kpilink/", &link(&[("locus1", name)])).await;
        let others = copa.measurements("kpiresource", "locus=server2").await.len();
        assert_eq!(copa.measurements("kpiresource", &format!("locus={name}")).await.len(), 75);
        if remove {
            let removed = copa.form("/REST/pools/", &[("operation", "remove"), ("container_pool", name)]).await;
            assert_eq!(removed, json!({"container_pool": name, "success": "Container pool removed successfully."}));
        } else {
            let _ = server.delete(&format!("/v1/nodes/{name}")).await.expect(204);
        }
        let gone = copa.get(&format!("/REST/network/kpiresource/?locus={name}")).await;
        assert_eq!(gone["error"], "Pool matching query does not exist.");
        add().await;
        assert!(copa.measurements("kpiresource", &format!("locus={name}")).await.is_empty());
        assert!(copa.measurements("kpilink", &format!("locus={name}")).await.is_empty());
        let links = copa.measurements("kpilink", "locus=server1").await;
        assert!(links.iter().all(|link| link["locus2_id"] == "server2"), "{links:?}");
        assert_eq!(copa.measurements("kpiresource", "locus=server2").await.len(), others);
        let _ = copa.form("/REST/pools/", &[("operation", "remove"), ("container_pool", name)]).await;
    }
}
