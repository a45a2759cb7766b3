//! Every way between every two servers carries everything.

use roadstead_core::{CopyTransport, ErrorKind};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::{incus, lxd, lxd_second};

use super::{
    TRANSPORTS, change, copy, exists, instance, node, options, original, root, running, same_files, snapshot_root,
    until,
};

#[tokio::test(flavor = "multi_thread")]
async fn lxd_to_lxd() {
    if let (Some(source), Some(target)) = (lxd(), lxd_second()) {
        every_way(&source, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lxd_to_incus() {
    if let (Some(source), Some(target)) = (lxd(), incus()) {
        every_way(&source, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn incus_to_lxd() {
    if let (Some(source), Some(target)) = (incus(), lxd()) {
        every_way(&source, &target).await;
    }
}

async fn every_way(source: &TestEngine, target: &TestEngine) {
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(source).await, node(target).await);
    let name = original(source);
    change(source, &name, &serde_json::json!({"config": {"boot.autostart": "true"}}));
    // A container that has run has other owners on the disk.
    source.operate("PUT", &format!("/1.0/instances/{name}/state"), Some(&serde_json::json!({"action": "start"})));
    let stop = serde_json::json!({"action": "stop", "force": true});
    source.operate("PUT", &format!("/1.0/instances/{name}/state"), Some(&stop));
    let before = instance(source, &name);
    let ways = to.copy_ways(&*from, &name).await.unwrap();
    let mut found: Vec<CopyTransport> = ways.iter().map(|way| way.transport).collect();
    found.sort_by_key(|transport| transport.name());
    assert_eq!(found, TRANSPORTS, "{ways:?}");
    assert!(ways[0].snapshots, "the best way leaves the snapshots behind: {ways:?}");
    for way in &ways {
        let lost: Vec<&str> =
            way.not_carried.iter().map(|lost| lost.field.as_str()).filter(|field| *field != "snapshots").collect();
        // Both pools are directories, and each server's default profile has a bridge of its own.
        assert_eq!(
            lost.iter().filter(|field| !field.starts_with("networks.")).collect::<Vec<_>>(),
            [&"hard_links"],
            "{way:?}"
        );
        assert!(!way.live, "there is no way to take processes along here: {way:?}");
        for snapshots in [false, true] {
            let copied = target.name(&format!("{}-{snapshots}", way.transport.name()));
            let options = options(&name, &copied, way.transport, snapshots);
            if snapshots && !way.snapshots {
                assert!(way.not_carried.iter().any(|lost| lost.field == "snapshots"), "{way:?}");
                let refused = copy(&*to, &*from, &options).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
                assert!(!exists(target, &copied));
                continue;
            }
            let told = copy(&*to, &*from, &options).await.unwrap_or_else(|error| panic!("{options:?}: {error}"));
            assert_eq!(told.last().unwrap().status, "copied");
            complete(source, &name, target, &copied, snapshots);
            runs(target, &copied);
        }
    }
    assert_eq!(instance(source, &name), before);
    until("nothing goes on", || running(source).is_empty() && running(target).is_empty());
}

/// The copy is what the original is.
fn complete(source: &TestEngine, name: &str, target: &TestEngine, copied: &str, snapshots: bool) {
    let (before, after) = (instance(source, name), instance(target, copied));
    assert_eq!(after["status"], "Stopped");
    assert_eq!(after["config"]["user.kept"], "two  words");
    assert_eq!(after["config"]["limits.memory"], "64MiB");
    assert_eq!(after["config"]["user.roadstead.move"], "0123456789abcdef0123456789abcdef");
    assert_eq!(after["config"]["boot.autostart"], "false");
    assert_eq!(after["config"]["volatile.base_image"], before["config"]["volatile.base_image"]);
    assert_eq!(after["config"]["raw.lxc"], before["config"]["raw.lxc"]);
    assert_eq!(after["config"]["volatile.eth0.hwaddr"], before["config"]["volatile.eth0.hwaddr"]);
    assert_eq!(after["profiles"], before["profiles"]);
    // Each server has a bridge of its own, which its default profile names.
    let profile = target.get("/1.0/profiles/default")["metadata"].clone();
    assert_eq!(after["expanded_devices"], profile["devices"]);
    same_files(&root(target, copied), &root(source, name));
    let list = target.get(&format!("/1.0/instances/{copied}/snapshots?recursion=1"))["metadata"].clone();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|found| found["name"].as_str().unwrap()).collect();
    if !snapshots {
        assert!(names.is_empty(), "{names:?}");
        return;
    }
    assert_eq!(names.iter().map(|name| name.rsplit('/').next().unwrap()).collect::<Vec<_>>(), ["first"]);
    let (there, here) = (snapshot_root(target, copied, "first"), snapshot_root(source, name, "first"));
    same_files(&there, &here);
    assert_eq!(std::fs::read_to_string(there.join("srv/kept/words")).unwrap(), "before the snapshot");
}

/// It starts, its owners are right from inside, and it can be deleted.
fn runs(target: &TestEngine, name: &str) {
    target.operate("PUT", &format!("/1.0/instances/{name}/state"), Some(&serde_json::json!({"action": "start"})));
    let stat = ["exec", name, "--", "stat", "-c", "%a %u %g", "/srv/kept/words"];
    // Of a short command their client loses all of the output now and then.
    let seen = std::iter::repeat_with(|| target.client_text(&stat)).take(5).find(|seen| !seen.is_empty());
    assert_eq!(seen.unwrap_or_default().trim(), "4751 1234 4321");
    let deleted = target.client(&["delete", "--force", name]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
}
