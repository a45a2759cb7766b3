//! Lists: they show what is really there, cost one engine call, and do not fail when containers vanish meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roadstead_tests::engines;
use roadstead_tests::proxy::CountingProxy;
use roadstead_tests::{ServerOptions, TestEngine};
use serde_json::{Value, json};

const COUNT: usize = 100;

fn ids(list: &Value) -> BTreeSet<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no items: {list}"));
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

fn find<'a>(list: &'a Value, id: &str) -> &'a Value {
    let items = list["items"].as_array().expect("items");
    items.iter().find(|item| item["id"] == id).unwrap_or_else(|| panic!("no {id} in {list}"))
}

async fn lists_real_containers(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let running = engine.run(&engine.name("running"));
    let created = engine.create(&engine.name("created"), &["true"]);
    let frozen = engine.run(&engine.name("frozen"));
    assert_eq!(engine.ask("POST", &format!("/containers/{frozen}/pause"), None).status, 204);
    let stopped = engine.create(&engine.name("stopped"), &["true"]);
    assert_eq!(engine.ask("POST", &format!("/containers/{stopped}/start"), None).status, 204);
    assert_eq!(engine.ask("POST", &format!("/containers/{stopped}/wait"), None).status, 200);
    let labelled = json!({"Image": engines::image(), "Labels": {"roadstead.test": "yes"}});
    let labelled = engine
        .ask("POST", &format!("/containers/create?name={}", engine.name("labelled")), Some(&labelled))
        .expect(201)
        .json()["Id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let server = ServerOptions::with(engine).start();
    let list = server.get("/v1/containers").await.expect(200).json();
    assert_eq!(list["errors"], json!([]), "{list}");
    assert_eq!(list["nodes"][0]["node"], engine.kind());
    assert_eq!(list["nodes"][0]["ok"], true);
    for (id, state, name) in [
        (&running, "running", "running"),
        (&created, "created", "created"),
        (&frozen, "frozen", "frozen"),
        (&stopped, "stopped", "stopped"),
    ] {
        let item = find(&list, id);
        assert_eq!(item["state"], state, "{item}");
        assert_eq!(item["name"], engine.name(name));
        assert_eq!(item["node"], engine.kind());
        assert!(item["image"].as_str().is_some_and(|image| image.ends_with(&engines::image())), "{item}");
        assert!(item["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{item}");
        assert!(item["labels"].is_object(), "{item}");
    }
    assert_eq!(find(&list, &labelled)["labels"]["roadstead.test"], "yes");

    // The engine's own list is the truth; other tests add and remove theirs meanwhile.
    let theirs: BTreeSet<String> = engine
        .get("/containers/json?all=true")
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["Names"].to_string().contains(engine.name("").as_str()))
        .map(|item| item["Id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(theirs.is_subset(&ids(&list)), "{theirs:?} in {list}");

    let node = format!("/v1/nodes/{}/containers", engine.kind());
    let name = engine.name("frozen");
    for (query, wanted) in [
        (format!("?name={name}"), BTreeSet::from([frozen.clone()])),
        (format!("?name={name}&state=running"), BTreeSet::new()),
        (format!("?name={name}&state=running&state=frozen"), BTreeSet::from([frozen.clone()])),
        // A part of a name is no name.
        (format!("?name={}", engine.name("froz")), BTreeSet::new()),
        (format!("?label=roadstead.test%3Dyes&name={}", engine.name("labelled")), BTreeSet::from([labelled.clone()])),
        (format!("?label=roadstead.test%3Dno&name={}", engine.name("labelled")), BTreeSet::new()),
    ] {
        let list = server.get(&format!("{node}{query}")).await.expect(200).json();
        assert_eq!(ids(&list), wanted, "{query}");
    }

    // Pages hold each container once.
    let query = |cursor: &str| {
        let names =
            ["running", "created", "frozen", "stopped", "labelled"].map(|name| format!("&name={}", engine.name(name)));
        format!("{node}?limit=2{}{cursor}", names.concat())
    };
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&query(&cursor)).await.expect(200).json();
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        assert!(seen.len() <= 5, "the pages have no end: {seen:?}");
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_real_containers_of_docker() {
    if let Some(engine) = engines::docker() {
        lists_real_containers(&engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_real_containers_of_podman() {
    if let Some(engine) = engines::podman() {
        lists_real_containers(&engine).await;
    }
}

/// Two engines and one that is not there: the sick one hides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_sick_node_hides_no_other() {
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let _cleaners = (docker.cleaner(), podman.cleaner());
    let one = docker.create(&docker.name("one"), &["true"]);
    let two = podman.create(&podman.name("two"), &["true"]);
    let server = ServerOptions::with(&docker)
        .node("podman", podman.uri())
        .node("absent", "docker+unix:///no/such/directory/docker.sock")
        .start();
    let list = server.get("/v1/containers").await.expect(200).json();
    assert_eq!(find(&list, &one)["node"], "docker");
    assert_eq!(find(&list, &two)["node"], "podman");
    assert_eq!(list["errors"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["errors"][0]["node"], "absent");
    assert_eq!(list["errors"][0]["code"], "unavailable");
    let ok: Vec<_> = list["nodes"].as_array().expect("nodes").iter().map(|node| node["ok"].as_bool()).collect();
    assert_eq!(ok.iter().filter(|ok| **ok == Some(true)).count(), 2, "{list}");
    assert_eq!(ok.iter().filter(|ok| **ok == Some(false)).count(), 1, "{list}");
}

/// A hundred running containers: one engine call for the list, and none of a thousand lists at once fails while
/// containers are removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_containers_cost_one_call_and_may_vanish() {
    let Some(engine) = engines::docker() else { return };
    let _cleaner = engine.cleaner();
    let running: Vec<String> = std::thread::scope(|scope| {
        let starters: Vec<_> = (0..4)
            .map(|part| {
                let engine = &engine;
                scope.spawn(move || -> Vec<String> {
                    (part..COUNT).step_by(4).map(|index| engine.run(&engine.name(&format!("c{index}")))).collect()
                })
            })
            .collect();
        starters.into_iter().flat_map(|starter| starter.join().expect("it starts")).collect()
    });

    let proxy = CountingProxy::start(engine.socket());
    let counted =
        ServerOptions::default().node("counted", &format!("docker+unix://{}", proxy.socket().display())).start();
    // The first answer shows that the node is connected and all it wanted to know at first is known.
    let _ = counted.get("/v1/nodes/counted/containers").await.expect(200);
    let _ = proxy.take();
    let list = counted.get("/v1/nodes/counted/containers").await.expect(200).json();
    assert!(running.iter().all(|id| ids(&list).contains(id)));
    assert_eq!(proxy.take(), [""; 0], "what is in memory costs no call");
    let list = counted.get("/v1/nodes/counted/containers?fresh=true").await.expect(200).json();
    let calls = proxy.take();
    assert!(running.iter().all(|id| ids(&list).contains(id)));
    assert!(running.iter().all(|id| find(&list, id)["state"] == "running"));
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0].starts_with("GET /") && calls[0].contains("/containers/json?"), "{calls:?}");

    let server = Arc::new(ServerOptions::with(&engine).start());
    let (vanish, stay) = running.split_at(COUNT / 2);
    let stay: Arc<BTreeSet<String>> = Arc::new(stay.iter().cloned().collect());
    let all_gone = Arc::new(AtomicBool::new(false));
    let mut listers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (server, stay, all_gone) = (Arc::clone(&server), Arc::clone(&stay), Arc::clone(&all_gone));
        listers.spawn(async move {
            loop {
                // Looked at first: the last list begins after the last removal.
                let last = all_gone.load(Ordering::Acquire);
                let answer = server.get("/v1/nodes/docker/containers").await;
                if answer.status != 200 {
                    return Err(format!("{} {}", answer.status, answer.text()));
                }
                if !stay.is_subset(&ids(&answer.json())) {
                    return Err("a container that stayed is missing".to_owned());
                }
                if last {
                    return Ok(());
                }
            }
        });
    }
    let remover = {
        let (engine, vanish, all_gone) = (engine.clone(), vanish.to_vec(), Arc::clone(&all_gone));
        tokio::task::spawn_blocking(move || {
            let statuses: Vec<u16> = vanish
                .iter()
                .map(|id| engine.ask("DELETE", &format!("/containers/{id}?force=true"), None).status)
                .collect();
            all_gone.store(true, Ordering::Release);
            statuses
        })
    };
    let failed: Vec<String> = listers.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of 1000 failed, the first: {}", failed.len(), failed[0]);
    assert!(remover.await.expect("it ends").iter().all(|status| *status == 204));
    let left = ids(&server.get("/v1/nodes/docker/containers").await.expect(200).json());
    assert!(vanish.iter().all(|id| !left.contains(id)), "a removed container is still listed");
}
