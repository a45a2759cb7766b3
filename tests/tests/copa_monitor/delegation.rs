//! Delegation on two real LXD servers: what is measured makes it propose, and, where that is wished, move.
//!
//! All engines are of the test's own. Delegation moves whatever runs on a pool that bears too much, and on an engine that others use, too,
//! that would be theirs.

use std::time::Duration;

use roadstead_tests::engines::{OwnEngine, TestEngine};
use roadstead_tests::{Server, ServerOptions};
use serde_json::{Value, json};

use crate::{Copa, speaking};

/// A move takes its time, and a look comes every few seconds.
const PATIENCE: Duration = Duration::from_secs(150);

/// Some of a core, again and again: enough that its leaving is a relief, and not so much that others notice.
const BUSY: &str =
    "trap 'exit 0' PWR TERM; while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.3; done";

/// Nothing of it, until it is told to end.
const IDLE: &str = "trap 'exit 0' PWR TERM; while :; do sleep 1; done";

fn start(engine: &TestEngine, name: &str, command: &[&str]) -> String {
    let name = engine.create(&engine.name(name), command);
    let body = json!({"action": "start", "timeout": 30});
    let _ = engine.operate("PUT", &format!("/1.0/instances/{name}/state"), Some(&body));
    name
}

fn status(engine: &TestEngine, name: &str) -> Option<String> {
    let answer = engine.ask("GET", &format!("/1.0/instances/{name}"), None);
    (answer.status == 200).then(|| answer.json()["metadata"]["status"].as_str().unwrap().to_owned())
}

/// Measures as agents would, until delegation tells what is awaited.
async fn measured_until(copa: &Copa, busy: &[(&str, &str)], is_so: impl Fn(&Value) -> bool) -> Value {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        for (pool, cpu) in busy {
            copa.is_busy(pool, cpu).await;
        }
        let answer = copa.get("/REST/network/delegation/").await;
        assert_eq!(answer["success"], "delegation");
        let told = &answer["delegation"];
        if is_so(told) {
            return told.clone();
        }
        assert!(tokio::time::Instant::now() < end, "not within {} s: {told}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Each of two servers that share a store tells what one of them looks for, and that one is followed when it dies.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_servers_looks() {
    let Some(uri) = roadstead_tests::etcd::shared("copa-delegation") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let mut servers = [crate::member(&uri, directory.path(), "one"), crate::member(&uri, directory.path(), "two")];
    configure(&Copa::of(&servers[0]), &[("auto_delegation_type", "threshold_cpu")]).await;
    let looks = async |server: &Server| {
        let copa = Copa::of(server);
        let is_strained = |told: &Value| !told["strained"].as_array().unwrap().is_empty();
        let told = measured_until(&copa, &[("server1", "95"), ("server2", "5")], is_strained).await;
        assert_eq!(told["strained"][0]["container_pool"], "server1");
        assert!(told["strained"][0]["reason"].as_str().unwrap().contains("no container that could go"), "{told}");
        told["server"].as_str().unwrap().to_owned()
    };
    let first = looks(&servers[0]).await;
    assert_eq!(looks(&servers[1]).await, first);
    let own = async |server: &Server| {
        let told = server.get("/v1/servers").await.expect(200).json();
        let id = |item: &Value| {
            item["urls"].to_string().contains(server.address()).then(|| item["id"].as_str().unwrap().to_owned())
        };
        told["items"].as_array().unwrap().iter().find_map(id).expect("it is one of them")
    };
    let looking = if own(&servers[0]).await == first { 0 } else { 1 };
    assert_eq!(own(&servers[looking]).await, first);
    servers[looking].kill();
    let other = Copa::of(&servers[1 - looking]);
    let told = measured_until(&other, &[("server1", "95")], |told| told["server"] != json!(first)).await;
    assert_eq!(told["server"], json!(own(&servers[1 - looking]).await));
}

async fn configure(copa: &Copa, fields: &[(&str, &str)]) {
    assert_eq!(copa.form("/REST/network/configuration/", fields).await, json!({"success": "update_configuration"}));
}

fn serve(from: &TestEngine, to: &TestEngine) -> ServerOptions {
    speaking().node("server1", from.uri()).node("server2", to.uri())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_bears_too_much_is_relieved() {
    let (Some(own), Some(other)) = (OwnEngine::lxd("copadelg"), OwnEngine::lxd("copadelh")) else { return };
    let (from, to) = (own.engine(), other.engine());
    let busy = start(from, "busy", &["sh", "-c", BUSY]);
    let idle = start(from, "idle", &["sh", "-c", IDLE]);
    let server = serve(from, to).start();
    let copa = Copa::of(&server);
    let loads = [("server1", "95"), ("server2", "5")];

    // Where no agent measures, the server shows what it sees of the machine itself.
    crate::until("the machine is told", async || {
        let shown = copa.get("/REST/network/dashboard/").await["data"][0].clone();
        assert_eq!((&shown["name"], &shown["throughput"]), (&json!("server1"), &Value::Null));
        let percent = |name: &str| shown[name].as_f64().is_some_and(|value| (0.0..=100.0).contains(&value));
        percent("cpu") && percent("mem") && shown["mem"] != json!(0.0)
    })
    .await;

    // Nobody has chosen a criterion: nothing is proposed however much a pool bears.
    let nothing = measured_until(&copa, &loads, |told| !told["looked_at"].is_null()).await;
    assert_eq!((&nothing["does"], &nothing["proposals"]), (&json!("nothing"), &json!([])));

    // By hand: it is proposed, and nothing happens.
    configure(&copa, &[("delegation_mode", "m"), ("auto_delegation_type", "threshold_cpu")]).await;
    let proposes = measured_until(&copa, &loads, |told| !told["proposals"].as_array().unwrap().is_empty()).await;
    assert_eq!(proposes["does"], "proposes");
    let proposal = &proposes["proposals"][0];
    assert_eq!(
        (&proposal["container"], &proposal["container_pool"], &proposal["destination_pool"]),
        (&json!(busy), &json!("server1"), &json!("server2"))
    );
    let reason = proposal["reason"].as_str().unwrap();
    assert!(reason.contains("cpu 95.0 % is over cpu 80.0 %"), "{reason}");
    assert_eq!(proposes["proposals"].as_array().unwrap().len(), 1, "one of each pool at a time");
    assert_eq!(proposes["moves"], json!([]));

    // Where no other pool stays far enough below the threshold, nothing is.
    configure(&copa, &[("threshold_margin_percent", "99")]).await;
    let full = measured_until(&copa, &loads, |told| !told["strained"].as_array().unwrap().is_empty()).await;
    assert_eq!(full["proposals"], json!([]));
    assert!(full["strained"][0]["reason"].as_str().unwrap().contains("no other member"), "{full}");
    assert_eq!(status(from, &busy).as_deref(), Some("Running"), "a proposal moves nothing");
    configure(&copa, &[("threshold_margin_percent", "10")]).await;

    // By itself.
    configure(&copa, &[("delegation_mode", "a")]).await;
    let done = measured_until(&copa, &loads, |told| told["moves"][0]["state"] == "done").await;
    assert_eq!((&done["does"], done["moves"].as_array().unwrap().len()), (&json!("performs"), 1));
    let moved = &done["moves"][0];
    assert_eq!((&moved["container"], &moved["destination_pool"]), (&json!(busy), &json!("server2")));
    assert!(moved["ended_at"].is_string() && moved["error"].is_null(), "{moved}");
    assert_eq!((status(from, &busy), status(to, &busy).as_deref()), (None, Some("Running")));
    assert_eq!(status(from, &idle).as_deref(), Some("Running"), "what uses nothing is no relief");
    is_told_elsewhere(&server, moved).await;

    // It is not moved back, though its new pool bears too much now: it was moved lately.
    let swapped = [("server1", "5"), ("server2", "95")];
    let rests = measured_until(&copa, &swapped, |told| !told["strained"].as_array().unwrap().is_empty()).await;
    assert_eq!(rests["strained"][0]["container_pool"], "server2");
    assert_eq!(rests["moves"].as_array().unwrap().len(), 1, "{rests}");
    assert_eq!(status(to, &busy).as_deref(), Some("Running"));
}

/// The move is one like all others, and the server's own deed.
async fn is_told_elsewhere(server: &Server, moved: &Value) {
    let migration = server.get(moved["migration_path"].as_str().unwrap()).await.expect(200).json();
    assert_eq!((&migration["state"], &migration["id"]), (&json!("done"), &moved["id"]));
    let audit = server.get("/v1/audit?limit=1000").await.expect(200).json();
    let deeds = audit["items"].as_array().unwrap().iter().filter(|entry| entry["target"]["migration"] == moved["id"]);
    let mut told: Vec<_> = deeds
        .map(|entry| {
            (
                entry["operation"].as_str().unwrap(),
                entry["identity"].as_str().unwrap(),
                entry["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("copa.delegation.migrate", "server", "succeeded"), ("move.apply", "server", "succeeded")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_answers_late_is_relieved_and_a_killed_server_is_followed() {
    let (Some(own), Some(other)) = (OwnEngine::lxd("copadell"), OwnEngine::lxd("copadelm")) else { return };
    let (from, to) = (own.engine(), other.engine());
    let only = start(from, "only", &["sh", "-c", IDLE]);
    let state = tempfile::tempdir().expect("a directory");
    let mut server = serve(from, to).start_in(state.path());
    let fields = [("delegation_mode", "a"), ("auto_delegation_type", "threshold_lat"), ("threshold_latency_ms", "50")];
    configure(&Copa::of(&server), &fields).await;
    // A third pool, which is far from the first and near to the second.
    let copa = Copa::of(&server);
    let added =
        copa.form("/REST/pools/", &[("operation", "add"), ("container_pool", "client"), ("ip", "127.0.0.1:9")]).await;
    assert!(added["error"].is_null(), "{added}");
    let late = async |copa: &Copa| {
        for (locus, latency) in [("server1", "80"), ("server2", "2")] {
            let link = crate::link(&[
                ("locus1", locus),
                ("locus2", "client"),
                ("latency_median_1to2", latency),
                ("latency_median_2to1", latency),
            ]);
            assert_eq!(copa.form("/REST/network/kpilink/", &link).await, json!({"success": "post_kpilink"}));
        }
    };
    let end = tokio::time::Instant::now() + PATIENCE;
    let begun = loop {
        late(&copa).await;
        let told = copa.get("/REST/network/delegation/").await["delegation"].clone();
        if !told["moves"].as_array().unwrap().is_empty() {
            break told;
        }
        assert!(tokio::time::Instant::now() < end, "nothing was begun: {told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    // Whatever the move has done by now, the next server goes on with it, and tells its end.
    server.kill();
    let server = serve(from, to).start_in(state.path());
    let copa = Copa::of(&server);
    let done = measured_until(&copa, &[], |told| !told["moves"][0]["ended_at"].is_null()).await;
    assert_eq!(
        (&done["moves"][0]["id"], &done["moves"][0]["state"]),
        (&begun["moves"][0]["id"], &json!("done")),
        "{done}"
    );
    assert_eq!((status(from, &only), status(to, &only).as_deref()), (None, Some("Running")));
}
