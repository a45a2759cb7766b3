//! What of a container does not suit the target: it is told before, and the copy is as like the original as it can be.

use roadstead_core::memory::{MemoryNode, MemoryOptions, PRESET_IMAGE};
use roadstead_core::{ContainerSpec, CopyTransport, CopyWay, ErrorKind, Node};
use roadstead_tests::engines::{image, incus, lxd, lxd_second};
use serde_json::{Value, json};

use super::{change, copy, exists, instance, node, options, original};

fn lost(way: &CopyWay) -> Vec<&str> {
    way.not_carried.iter().map(|lost| lost.field.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_and_networks_that_the_target_lacks() {
    let (Some(source), Some(target)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(&source).await, node(&target).await);
    let profile = source.name("profile");
    let body = json!({
        "name": profile, "config": {"limits.processes": "77", "user.given": "by a profile"},
        "devices": {"shown": {"type": "proxy", "listen": "unix:@rt-shown", "connect": "tcp:127.0.0.1:80"}},
    });
    assert!(source.ask("POST", "/1.0/profiles", Some(&body)).status < 300);
    let name = original(&source);
    let network = instance(&source, &name)["expanded_devices"]["eth0"]["network"].clone();
    let subnet = source.get(&format!("/1.0/networks/{}", network.as_str().unwrap()));
    let subnet = subnet["metadata"]["config"]["ipv4.address"].as_str().unwrap().to_owned();
    let address = format!("{}.77", subnet.rsplit_once('.').unwrap().0);
    change(
        &source,
        &name,
        &json!({
            "profiles": ["default", profile],
            "devices": {"eth0": {
            "type": "nic", "name": "eth0", "network": network, "ipv4.address": address, "limits.ingress": "10Mbit",
        }},
        }),
    );
    source.operate("POST", &format!("/1.0/instances/{name}/snapshots"), Some(&json!({"name": "second"})));

    let ways = to.copy_ways(&*from, &name).await.unwrap();
    // Only on its way through our hands does the snapshot lose the profile that the target would refuse it for.
    assert_eq!((ways[0].transport, ways[0].snapshots), (CopyTransport::Relay, true), "{ways:?}");
    assert!(ways[1..].iter().all(|way| !way.snapshots), "{ways:?}");
    let (missing, bridge) = (format!("profiles.{profile}"), format!("networks.{}", network.as_str().unwrap()));
    for field in [missing.as_str(), bridge.as_str(), "snapshots"] {
        assert!(lost(&ways[0]).contains(&field), "{field}: {ways:?}");
    }
    let copied = target.name("fitted");
    copy(&*to, &*from, &options(&name, &copied, CopyTransport::Relay, true)).await.unwrap();
    let after = instance(&target, &copied);
    assert_eq!(after["profiles"], json!(["default"]));
    assert_eq!(after["config"]["limits.processes"], "77");
    assert_eq!(after["config"]["user.given"], "by a profile");
    assert_eq!(after["devices"]["shown"]["listen"], "unix:@rt-shown");
    let theirs = target.get("/1.0/profiles/default")["metadata"]["devices"]["eth0"]["network"].clone();
    let fitted = json!({"type": "nic", "name": "eth0", "network": theirs, "limits.ingress": "10Mbit"});
    assert_eq!(after["devices"]["eth0"], fitted);
    let snapshots = target.get(&format!("/1.0/instances/{copied}/snapshots?recursion=1"))["metadata"].clone();
    let snapshots: Vec<(&str, &Value)> = snapshots
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (found["name"].as_str().unwrap(), &found["profiles"]))
        .collect();
    assert_eq!(snapshots, [("first", &json!(["default"])), ("second", &json!(["default"]))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_the_target_does_not_know() {
    let (Some(source), Some(target)) = (incus(), lxd()) else { return };
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(&source).await, node(&target).await);
    let name = original(&source);
    change(&source, &name, &json!({"config": {"boot.autorestart": "true"}}));
    // Who uses the profile changes with the other tests.
    let made = || {
        let profile = target.get("/1.0/profiles/default")["metadata"].clone();
        (profile["config"].clone(), profile["devices"].clone(), instance(&source, &name))
    };
    let before = made();
    let ways = to.copy_ways(&*from, &name).await.unwrap();
    assert_eq!(made(), before, "asking changed something");
    assert!(ways.iter().all(|way| lost(way).contains(&"config.boot.autorestart")), "{ways:?}");
    let copied = target.name("fitted");
    copy(&*to, &*from, &options(&name, &copied, CopyTransport::Pull, false)).await.unwrap();
    assert_eq!(instance(&target, &copied)["config"]["user.kept"], "two  words");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing() {
    let (Some(source), Some(target)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(&source).await, node(&target).await);
    let name = source.run(&source.name("runs"));
    let before = instance(&source, &name);
    let copied = target.name("refused");
    let refused = |options| {
        let (to, from) = (&to, &from);
        async move { copy(&**to, &**from, &options).await.unwrap_err() }
    };

    assert_eq!(to.copy_ways(&*from, "missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = refused(options("missing", &copied, CopyTransport::Pull, false)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = refused(options(&name, &copied, CopyTransport::Local, false)).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    for transport in super::TRANSPORTS {
        let mut live = options(&name, &copied, transport, false);
        live.live = true;
        let error = refused(live).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("CRIU"), "{error}");
        assert!(!exists(&target, &copied));
    }
    assert_eq!(instance(&source, &name), before);

    let taken = target.create(&target.name("taken"), &["true"]);
    let there = instance(&target, &taken);
    let error = refused(options(&name, &taken, CopyTransport::Push, false)).await;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(instance(&target, &taken), there);

    // What is mounted is not the container's.
    change(&source, &name, &json!({"devices": {"host": {"type": "disk", "source": "/etc", "path": "/mnt"}}}));
    assert!(to.copy_ways(&*from, &name).await.unwrap().is_empty());
    let error = refused(options(&name, &copied, CopyTransport::Pull, false)).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    // Another engine has nothing in common.
    let other = MemoryNode::new("memory", MemoryOptions::default()).unwrap();
    for (target, source) in [(&*to, &other as &dyn Node), (&other, &*from)] {
        assert_eq!(target.copy_ways(source, "missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let spec = ContainerSpec::new(PRESET_IMAGE).name("any");
    other.create_container(&spec).await.unwrap();
    assert!(to.copy_ways(&other, "any").await.unwrap().is_empty());
    assert!(other.copy_ways(&*from, &name).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_addresses_are_of_the_network_they_come_to() {
    let (Some(source), Some(target)) = (lxd(), lxd_second()) else { return };
    let _cleaners = (source.cleaner(), target.cleaner());
    let (from, to) = (node(&source).await, node(&target).await);
    // Nobody in it asks for an address.
    let spec = ContainerSpec::new(image()).name(source.name("original")).command(["sleep", "1000"]);
    let made = from.create_container(&spec).await.unwrap();
    let beside = source.name("beside");
    copy(&*from, &*from, &options(&made.id, &beside, CopyTransport::Local, false)).await.unwrap();
    let copied = target.name("elsewhere");
    copy(&*to, &*from, &options(&made.id, &copied, CopyTransport::Push, false)).await.unwrap();
    let mut seen = Vec::new();
    for (engine, node, name) in [(&source, &from, &made.id), (&source, &from, &beside), (&target, &to, &copied)] {
        node.container(name).start().await.unwrap();
        let shown = instance(engine, name)["expanded_devices"]["eth0"].clone();
        let (address, network) = (shown["ipv4.address"].as_str().unwrap(), shown["network"].as_str().unwrap());
        let bridge = engine.get(&format!("/1.0/networks/{network}"))["metadata"]["config"]["ipv4.address"].clone();
        let (gateway, length) = bridge.as_str().unwrap().split_once('/').unwrap();
        let inside = engine.client_text(&["exec", name, "--", "ip", "-o", "-4", "addr", "show", "eth0"]);
        assert!(inside.contains(&format!("inet {address}/{length} ")), "{inside}");
        let reached = engine.client(&["exec", name, "--", "ping", "-c", "1", "-W", "5", gateway]);
        assert!(reached.status.success(), "{}", String::from_utf8_lossy(&reached.stdout));
        seen.push(address.to_owned());
    }
    assert_ne!(seen[0], seen[1]);
}
