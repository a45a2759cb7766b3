//! The acceptance cases of COPA's reference, by their numbers.

use std::future::Future;
use std::pin::Pin;

use roadstead_tests::dialects::Outcome;
use serde_json::{Value, json};

use super::stage::{Pair, Stage};

type Play = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A case.
pub(super) struct Case {
    pub(super) number: &'static str,
    pub(super) words: &'static str,
    pub(super) play: Play,
}

macro_rules! cases {
    ($($number:ident $play:ident $words:literal;)+) => {
        pub(super) const CASES: &[Case] =
            &[$(Case { number: stringify!($number), words: $words, play: |stage| Box::pin($play(stage)) }),+];
    };
}

cases! {
    C01 no_pools "no pools";
    C02 add "a pool is added";
    C03 sorted "pools are sorted by name";
    C04 no_operation "operation is missing";
    C05 no_ip "ip is missing";
    C06 remove "a pool is removed";
    C07 delete "a pool is deleted, which is a synonym";
    C08 remove_ghost "a pool that is not there is removed";
    C09 upsert "a pool is added again with another address";
    C10 not_allowed "a method that pools do not have";
    C11 list "containers are listed";
    C12 get_without_operation "operation is missing of a GET";
    C13 information_without_name "information without a container";
    C14 information "information of a running container";
    C15 without_cpu "information where the engine tells no processor time";
    C16 information_ghost "information of a container that is not there";
    C17 get_bogus "a GET of an operation that is none";
    C18 start "a container is started";
    C19 stop_and_freeze "a container is stopped, and frozen when it does not run";
    C20 start_without_name "a verb without a container";
    C21 dance "a verb that is none";
    C22 create "a container is created from an alias";
    C23 create_ghost "a container of an image that is not there";
    C24 create_without_image "a container without an image";
    C25 migrate "a container is migrated";
    C26 migrate_with_warning "the source refuses to be deleted after a migration";
    C27 migrate_without_destination "a migration without a destination";
    C28 delete_container "a container is deleted";
    C29 aliases "images by alias";
    C30 json_off "a JSON body where that extension is off";
    C31 links "a measurement of a link is kept and told";
    C32 links_of_ghost "measurements of a pool that is not there";
    C33 configuration "the configuration is kept and told";
    C34 host_command "commands of the host are refused";
}

const FORM: &str = "application/x-www-form-urlencoded";

fn missing(field: &str) -> Value {
    json!({ "error": format!("Required Field '{field}' not in post") })
}

fn is_error(body: &Value) -> bool {
    let members = body.as_object().expect("an object");
    members.len() == 1 && members["error"].as_str().is_some_and(|text| !text.is_empty() && !text.contains('\n'))
}

/// A server that finds no engine shows no pool: the simulation that it serves then is none.
async fn no_pools(_: &Stage) -> Outcome {
    let server =
        roadstead_tests::server::ServerOptions::default().argument("--dialect=copa=127.0.0.1:0,anonymous=read").start();
    let nodes = server.get("/v1/nodes").await.expect(200).json();
    let is_placeholder = |node: &Value| node["name"] == "memory" && node["source"] == "discovered";
    let all = nodes["items"].as_array().expect("nodes");
    if !all.iter().all(is_placeholder) {
        return Outcome::NotOffered("this machine has engines of its own".to_owned());
    }
    let url = format!("{}/REST/pools/", server.dialect("copa"));
    let body = super::doors::client().get(url).send().await.expect("an answer");
    assert_eq!(body.json::<Value>().await.expect("JSON"), json!({ "pools": [], "success": "pools" }));
    Outcome::Shown
}

const ADD: &str = "operation=add&container_pool=testServer&ip=1.1.1.1";

async fn add(stage: &Stage) -> Outcome {
    let wanted = json!({ "container_pool": "testServer", "local_ip": "1.1.1.1", "success": "Container pool added Successfully" });
    assert_eq!(stage.post("/REST/pools/", ADD).await, wanted);
    Outcome::Shown
}

async fn pools(stage: &Stage, path: &str) -> Vec<(String, String)> {
    let body = stage.get(path).await;
    assert_eq!((&body["success"], body.as_object().expect("an object").len()), (&json!("pools"), 2));
    serde_json::from_value(body["pools"].clone()).expect("pairs")
}

async fn sorted(stage: &Stage) -> Outcome {
    stage.post("/REST/pools", "operation=add&container_pool=server0&ip=box.example:99").await;
    for path in ["/REST/pools", "/REST/pools/"] {
        let pools = pools(stage, path).await;
        let names: Vec<_> = pools.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["server0", "server1", "server2", "testServer"]);
        assert_eq!(pools[0].1, "box.example:99");
        assert_eq!(pools[3].1, "1.1.1.1");
    }
    stage.post("/REST/pools", "operation=remove&container_pool=server0").await;
    for bad in ["1.2.3", "a b", "", "::g", "host:0", "a/b"] {
        let body = stage.post("/REST/pools", &format!("operation=add&container_pool=bad&ip={bad}")).await;
        assert!(is_error(&body), "{bad}: {body}");
    }
    assert_eq!(pools(stage, "/REST/pools").await.len(), 3);
    Outcome::Shown
}

async fn no_operation(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "").await, missing("operation"));
    assert_eq!(stage.post("/REST/pools", "").await, missing("operation"));
    Outcome::Shown
}

async fn no_ip(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "operation=add&container_pool=x").await, missing("ip"));
    assert_eq!(stage.post("/REST/pools/", "operation=add&ip=1.1.1.1").await, missing("container_pool"));
    Outcome::Shown
}

async fn removed(stage: &Stage, operation: &str) {
    stage.post("/REST/pools/", ADD).await;
    let wanted = json!({ "container_pool": "testServer", "success": "Container pool removed successfully." });
    let form = format!("operation={operation}&container_pool=testServer");
    assert_eq!(stage.post("/REST/pools/", &form).await, wanted);
    assert!(pools(stage, "/REST/pools").await.iter().all(|(name, _)| name != "testServer"));
}

async fn remove(stage: &Stage) -> Outcome {
    removed(stage, "remove").await;
    Outcome::Shown
}

async fn delete(stage: &Stage) -> Outcome {
    removed(stage, "delete").await;
    let body = stage.post("/REST/pools/", "operation=dance&container_pool=server1").await;
    assert_eq!(body, json!({ "error": "Operation 'dance' invalid" }));
    // What the configuration names would be back with the next start.
    let body = stage.post("/REST/pools/", "operation=remove&container_pool=server1").await;
    assert!(is_error(&body), "{body}");
    Outcome::Shown
}

fn no_pool() -> Value {
    json!({ "error": "Pool matching query does not exist." })
}

async fn remove_ghost(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/pools/", "operation=remove&container_pool=ghost").await, no_pool());
    Outcome::Shown
}

async fn upsert(stage: &Stage) -> Outcome {
    stage.post("/REST/pools/", ADD).await;
    let again = stage.post("/REST/pools/", "operation=add&container_pool=testServer&ip=2.2.2.2").await;
    assert_eq!(
        (&again["local_ip"], &again["success"]),
        (&json!("2.2.2.2"), &json!("Container pool added Successfully"))
    );
    let found: Vec<_> =
        pools(stage, "/REST/pools").await.into_iter().filter(|(name, _)| name == "testServer").collect();
    assert_eq!(found, [("testServer".to_owned(), "2.2.2.2".to_owned())]);
    stage.post("/REST/pools/", "operation=remove&container_pool=testServer").await;
    Outcome::Shown
}

async fn not_allowed(stage: &Stage) -> Outcome {
    for path in ["/REST/pools/", "/REST/pools", "/REST/container", "/REST/image/", "/core/containers_list/api/"] {
        for method in ["PUT", "DELETE", "PATCH"] {
            let (status, body) = stage.send(stage.request(method, path)).await;
            assert_eq!((status, body), (200, json!({ "error": "Method not allowed" })), "{method} {path}");
        }
    }
    let (status, body) = stage.send(stage.request("GET", "/REST/nothing")).await;
    assert_eq!(status, 404, "{body}");
    Outcome::Shown
}

async fn list(stage: &Stage) -> Outcome {
    let name = stage.make("list", "server1").await;
    let target = "/REST/container/?container_pool=server1&operation=list_containers";
    let body = stage.get(target).await;
    let names: Vec<String> = serde_json::from_value(body["containers"].clone()).expect("names");
    assert!(names.contains(&name) && names.is_sorted(), "{names:?}");
    assert_eq!(body.as_object().expect("an object").len(), 1, "{body}");
    assert_eq!(stage.get("/REST/container?container_pool=ghost&operation=list_containers").await, no_pool());
    Outcome::Shown
}

async fn get_without_operation(stage: &Stage) -> Outcome {
    assert_eq!(stage.get("/REST/container/?container_pool=server1").await, missing("operation"));
    assert_eq!(stage.get("/REST/container?operation=list_containers").await, missing("container_pool"));
    Outcome::Shown
}

async fn information_without_name(stage: &Stage) -> Outcome {
    let target = "/REST/container/?operation=information&container_pool=server1";
    assert_eq!(stage.get(target).await, missing("container_name"));
    Outcome::Shown
}

fn information_of(name: &str) -> String {
    format!("/REST/container/?operation=information&container_name={name}&container_pool=server1")
}

async fn information(stage: &Stage) -> Outcome {
    let name = stage.make("info", "server1").await;
    let stopped = stage.get(&information_of(&name)).await;
    assert_eq!((&stopped["network"], &stopped["cpu"]), (&Value::Null, &json!({ "usage": 0 })), "{stopped}");
    stage.verb("server1", &name, "start").await;
    stage.reaches("server1", &name, Some("running")).await;
    let body = stage.get(&information_of(&name)).await;
    let members: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["cpu", "disk", "memory", "network"], "{body}");
    assert!(body["cpu"]["usage"].as_u64().expect("nanoseconds") > 0, "{body}");
    assert!(body["memory"]["usage"].as_u64().expect("bytes") > 0, "{body}");
    for member in ["usage", "usage_peak", "swap_usage", "swap_usage_peak"] {
        assert!(body["memory"][member].is_u64(), "{body}");
    }
    for interface in body["network"].as_object().expect("interfaces").values() {
        for member in ["addresses", "counters", "hwaddr", "host_name", "mtu", "state", "type"] {
            assert!(interface.get(member).is_some(), "{member} in {body}");
        }
    }
    if stage.pair == Pair::Lxd {
        as_lxd_tells(stage, &name, &body["network"]);
    }
    stage.verb("server1", &name, "stop").await;
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

/// The interfaces are those of LXD's own state.
fn as_lxd_tells(stage: &Stage, name: &str, network: &Value) {
    let state = stage.engine(0).get(&format!("/1.0/instances/{name}/state"));
    for (interface, told) in state["metadata"]["network"].as_object().expect("LXD tells them") {
        for member in ["hwaddr", "host_name", "mtu", "state", "type", "addresses"] {
            assert_eq!(network[interface][member], told[member], "{member} of {interface}");
        }
    }
}

async fn without_cpu(stage: &Stage) -> Outcome {
    if stage.pair != Pair::Lxd {
        return Outcome::NotOffered("only versions of LXD before 2.19 tell none".to_owned());
    }
    super::doors::without_cpu(stage).await;
    Outcome::Shown
}

fn no_container() -> Value {
    json!({ "error": "Container matching query does not exist." })
}

async fn information_ghost(stage: &Stage) -> Outcome {
    assert_eq!(stage.get(&information_of("ghost")).await, no_container());
    Outcome::Shown
}

async fn get_bogus(stage: &Stage) -> Outcome {
    assert_eq!(stage.get("/REST/container/?operation=bogus&container_pool=server1").await, json!({}));
    Outcome::Shown
}

fn done() -> Value {
    json!({ "success": "Operation successful" })
}

async fn start(stage: &Stage) -> Outcome {
    let name = stage.make("start", "server1").await;
    assert_eq!(stage.verb("server1", &name, "start").await, done());
    stage.reaches("server1", &name, Some("running")).await;
    if stage.pair == Pair::Lxd {
        let state = stage.engine(0).get(&format!("/1.0/instances/{name}/state"));
        assert_eq!(state["metadata"]["status"], "Running");
    }
    if stage.pair == Pair::Docker {
        assert_eq!(stage.engine(0).get(&format!("/containers/{name}/json"))["State"]["Running"], true);
    }
    if stage.can("server1", "freeze").await {
        assert_eq!(stage.verb("server1", &name, "freeze").await, done());
        stage.reaches("server1", &name, Some("frozen")).await;
        assert_eq!(stage.verb("server1", &name, "unfreeze").await, done());
        stage.reaches("server1", &name, Some("running")).await;
    }
    stage.verb("server1", &name, "stop").await;
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

async fn stop_and_freeze(stage: &Stage) -> Outcome {
    let name = stage.make("stop", "server1").await;
    stage.verb("server1", &name, "start").await;
    stage.reaches("server1", &name, Some("running")).await;
    let again = stage.verb("server1", &name, "start").await;
    assert_eq!(again, json!({ "error": "The container is already running" }));
    let running = stage.verb("server1", &name, "delete").await;
    assert!(is_error(&running), "{running}");
    assert_eq!(stage.verb("server1", &name, "stop").await, done());
    stage.reaches("server1", &name, Some("stopped")).await;
    let body = stage.verb("server1", &name, "freeze").await;
    assert!(is_error(&body), "{body}");
    let again = stage.verb("server1", &name, "stop").await;
    assert_eq!(again, json!({ "error": "The container is already stopped" }));
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

async fn start_without_name(stage: &Stage) -> Outcome {
    let body = stage.post("/REST/container/", "operation=start&container_pool=server1").await;
    assert_eq!(body, missing("container_name"));
    let body = stage.post("/REST/container", "container_name=x&container_pool=server1").await;
    assert_eq!(body, missing("operation"));
    let body = stage.post("/REST/container", "container_name=x&operation=start").await;
    assert_eq!(body, missing("container_pool"));
    assert_eq!(stage.verb("server1", "ghost", "start").await, no_container());
    assert_eq!(stage.verb("ghost", "ghost", "start").await, no_pool());
    Outcome::Shown
}

async fn dance(stage: &Stage) -> Outcome {
    let name = stage.make("dance", "server1").await;
    assert_eq!(stage.verb("server1", &name, "dance").await, json!({ "error": "Operation 'dance' invalid" }));
    assert_eq!(stage.verb("server1", "ghost", "dance").await, no_container());
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

/// An alias of an image, as COPA's list of images tells it.
pub(super) async fn alias(stage: &Stage) -> String {
    let images = stage.get("/REST/image/").await;
    let wanted = stage.image("server1");
    let bare = wanted.trim_end_matches(":latest");
    let known = images["images"].as_object().expect("images");
    known
        .keys()
        .find(|alias| [wanted.as_str(), bare].iter().any(|wanted| alias.ends_with(wanted)))
        .unwrap_or_else(|| panic!("{wanted} in {images}"))
        .clone()
}

async fn create(stage: &Stage) -> Outcome {
    if !stage.can("server1", "images").await {
        return Outcome::NotOffered("the engine has no images by name".to_owned());
    }
    let (name, alias) = (stage.name("create"), alias(stage).await);
    let form = |pool: &str| format!("container_name={name}&container_pool={pool}&operation=create&image_type={alias}");
    let made = json!({ "success": "Container created successfully." });
    assert_eq!(stage.post("/REST/container/", &form("server1")).await, made);
    // Its name is taken now.
    let again = stage.post("/REST/container/", &form("server1")).await;
    assert!(is_error(&again), "{again}");
    let state = stage.state("server1", &name).await;
    assert!(state.is_some_and(|state| state != "created"), "it was started");
    if stage.pair == Pair::Lxd {
        let images = stage.get("/REST/image/").await;
        let instance = stage.engine(0).get(&format!("/1.0/instances/{name}"));
        assert_eq!(instance["metadata"]["config"]["volatile.base_image"], images["images"][&alias]);
        on_the_other(stage, &form("server2"), &name).await;
    }
    stage.verb("server1", &name, "stop").await;
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    Outcome::Shown
}

/// Images of one pool make containers of the other.
async fn on_the_other(stage: &Stage, form: &str, name: &str) {
    assert_eq!(stage.post("/REST/container/", form).await, json!({ "success": "Container created successfully." }));
    assert!(stage.state("server2", name).await.is_some());
    stage.verb("server2", name, "stop").await;
    assert_eq!(stage.verb("server2", name, "delete").await, done());
}

async fn create_ghost(stage: &Stage) -> Outcome {
    let form =
        format!("container_name={}&container_pool=server1&operation=create&image_type=ghost", stage.name("ghost"));
    let body = stage.post("/REST/container/", &form).await;
    assert_eq!(body, json!({ "error": "Image matching query does not exist." }));
    Outcome::Shown
}

async fn create_without_image(stage: &Stage) -> Outcome {
    let body = stage.post("/REST/container/", "container_name=x&container_pool=server1&operation=create").await;
    assert_eq!(body, missing("image_type"));
    Outcome::Shown
}

fn migration(name: &str) -> String {
    format!("container_name={name}&container_pool=server1&destination_pool=server2&operation=migrate")
}

async fn listed(stage: &Stage, pool: &str, name: &str) -> bool {
    let body = stage.get(&format!("/REST/container/?container_pool={pool}&operation=list_containers")).await;
    body["containers"].as_array().expect("names").iter().any(|known| known == name)
}

async fn migrate(stage: &Stage) -> Outcome {
    let name = stage.make("move", "server1").await;
    if stage.pair == Pair::Lxd {
        // It ran, and runs afterwards.
        stage.verb("server1", &name, "start").await;
    }
    let plan = json!({ "source": { "node": "server1", "container": name }, "target": { "node": "server2" } });
    let planned = stage.server.post_json("/v1/migrations/plan", &plan).await;
    let body = stage.post("/REST/container/", &migration(&name)).await;
    if planned.status != 200 {
        // What cannot be done is said, and nothing has changed.
        assert!(is_error(&body) && listed(stage, "server1", &name).await, "{body}");
        stage.verb("server1", &name, "delete").await;
        return Outcome::NotOffered("containers of this engine cannot go to the other one".to_owned());
    }
    assert_eq!(body, json!({ "success": "Container migrated successfully." }));
    assert!(listed(stage, "server2", &name).await && !listed(stage, "server1", &name).await);
    if stage.pair == Pair::Lxd {
        let state = stage.engine(1).get(&format!("/1.0/instances/{name}/state"));
        assert_eq!(state["metadata"]["status"], "Running");
        assert_eq!(stage.engine(0).ask("GET", &format!("/1.0/instances/{name}"), None).status, 404);
        let body = stage.post("/REST/container/", &migration(&name).replace("=server1", "=server2")).await;
        assert!(is_error(&body), "to the pool that it is in: {body}");
        stage.verb("server2", &name, "stop").await;
    }
    assert_eq!(stage.verb("server2", &name, "delete").await, done());
    Outcome::Shown
}

async fn migrate_with_warning(stage: &Stage) -> Outcome {
    if stage.pair != Pair::Lxd {
        return Outcome::NotOffered("a refusal at that very moment is played on LXD".to_owned());
    }
    super::doors::refused_delete(stage).await;
    Outcome::Shown
}

async fn migrate_without_destination(stage: &Stage) -> Outcome {
    let name = stage.make("nowhere", "server1").await;
    let form = format!("container_name={name}&container_pool=server1&operation=migrate");
    assert_eq!(stage.post("/REST/container/", &form).await, missing("destination_pool"));
    let body = stage.post("/REST/container/", &format!("{form}&destination_pool=ghost")).await;
    assert_eq!(body, no_pool());
    stage.verb("server1", &name, "delete").await;
    Outcome::Shown
}

async fn delete_container(stage: &Stage) -> Outcome {
    let name = stage.make("delete", "server1").await;
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    assert!(!listed(stage, "server1", &name).await);
    stage.reaches("server1", &name, None).await;
    Outcome::Shown
}

async fn aliases(stage: &Stage) -> Outcome {
    if !stage.can("server1", "images").await {
        let body = stage.get("/REST/image/").await;
        assert_eq!(body, json!({ "images": {}, "success": "Operation successful" }));
        return Outcome::NotOffered("the engine has no images by name".to_owned());
    }
    let first = alias(stage).await;
    let (a1, a2) = (stage.name("a1"), stage.name("a2"));
    for new in [&a1, &a2] {
        let body = json!({ "reference": first, "new_reference": new });
        let tagged = stage.server.post_json("/v1/nodes/server1/images/tag", &body).await;
        assert!(tagged.status < 300, "{}", tagged.text());
    }
    let images = stage.get("/REST/image").await;
    assert_eq!(images["success"], "Operation successful");
    let of = |alias: &str| {
        let known = images["images"].as_object().expect("images");
        let found = known.iter().find(|(known, _)| *known == alias || known.ends_with(&format!("{alias}:latest")));
        found.unwrap_or_else(|| panic!("{alias} in {images}")).1.clone()
    };
    assert_eq!(of(&a1), of(&first));
    assert_eq!(of(&a2), of(&first));
    another_image(stage, &first).await;
    // By the pool's name, by its address, and by what is no pool's.
    assert_eq!(stage.get("/REST/image/?image_pool=127.0.0.1").await["success"], "Operation successful");
    assert_eq!(stage.get("/REST/image/?image_pool=server1").await["images"][&first], of(&first));
    assert_eq!(stage.get("/REST/image/?image_pool=10.0.0.1").await, no_pool());
    for alias in [&a1, &a2] {
        let target = format!("/v1/nodes/server1/image?reference={alias}");
        assert!(stage.server.delete(&target).await.status < 300);
    }
    assert_eq!(stage.post("/REST/image/", "x=y").await, json!({}));
    Outcome::Shown
}

async fn json_off(stage: &Stage) -> Outcome {
    let server = roadstead_tests::server::ServerOptions::default()
        .node("server1", "memory:")
        .argument("--dialect=copa=127.0.0.1:0,anonymous=admin,json_bodies=false")
        .start();
    let body = json!({ "container_name": "x", "container_pool": "server1", "operation": "start" });
    let url = format!("{}/REST/container/", server.dialect("copa"));
    let request = super::doors::client().post(url).json(&body);
    assert_eq!(stage.send(request).await, (200, missing("container_name")));
    // Where it is on, which is the default, the members are those of the form; so are those of a multipart form.
    assert_eq!(stage.post_json("/REST/container/", &body).await, no_container());
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"container_name\"\r\n\r\nx\r\n--b--\r\n";
    let request = stage.request("POST", "/REST/container/").header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(stage.send(request.body(multipart)).await.1, missing("operation"));
    let request = stage.request("POST", "/REST/container/").header("content-type", FORM).body("container_name=%ff");
    assert_eq!(stage.send(request).await.1, missing("operation"));
    Outcome::Shown
}

const LINK: &str = "locus1=server1&locus2=server2&jitter_1to2=0.5&latency_max_1to2=9&latency_median_1to2=4.25&latency_min_1to2=1\
&jitter_2to1=0.75&latency_max_2to1=8&latency_median_2to1=5&latency_min_2to1=2&throughput=100";

async fn links(stage: &Stage) -> Outcome {
    assert_eq!(stage.post("/REST/network/kpilink/", LINK).await, json!({ "success": "post_kpilink" }));
    let told = stage.get("/REST/network/kpilink/?locus=server1&last=1").await;
    assert_eq!(
        (&told["success"], told["measurements"].as_array().map(Vec::len)),
        (&json!("kpilink"), Some(1)),
        "{told}"
    );
    let link = &told["measurements"][0];
    assert_eq!((&link["locus1_id"], &link["locus2_id"]), (&json!("server1"), &json!("server2")), "{link}");
    assert!(link["throughput"].is_f64() && link["throughput"] == 100.0 && link["latency_max_1to2"].is_f64(), "{link}");
    Outcome::Shown
}

async fn links_of_ghost(stage: &Stage) -> Outcome {
    let told = stage.get("/REST/network/kpilink/?locus=ghost").await;
    assert_eq!(told, json!({ "error": "Pool not registered" }));
    Outcome::Shown
}

async fn configuration(stage: &Stage) -> Outcome {
    let path = "/REST/network/configuration/";
    let post =
        async |form: &str| assert_eq!(stage.post(path, form).await, json!({ "success": "update_configuration" }));
    post("delegation_mode=a&auto_delegation_type=threshold_cpu").await;
    let told = stage.get(path).await;
    let stored = &told["configuration"][0];
    assert_eq!((&stored["name"], &stored["delegation_mode"]), (&json!("default"), &json!("a")), "{told}");
    assert_eq!(stored["auto_delegation_type"], "threshold_cpu", "{told}");
    // Nothing is to be moved behind the back of the cases that follow.
    post("delegation_mode=m").await;
    Outcome::Shown
}

/// A second image, which has a fingerprint of its own; a pool that does not have it gets it for a container.
async fn another_image(stage: &Stage, first: &str) {
    if !stage.can("server1", "commit").await {
        return;
    }
    let (name, b) = (stage.make("committed", "server1").await, stage.name("b"));
    let body = json!({ "image": b });
    let path = format!("/v1/nodes/server1/containers/{name}/commit");
    let committed = stage.server.post_json(&path, &body).await;
    assert_eq!(committed.status, 201, "{}", committed.text());
    let images = stage.get("/REST/image").await["images"].as_object().expect("images").clone();
    let known = images.iter().find(|(alias, _)| alias.as_str() == b || alias.ends_with(&format!("{b}:latest")));
    let (alias, fingerprint) = known.unwrap_or_else(|| panic!("{b} in {images:?}"));
    assert_ne!(fingerprint, &images[first]);
    if stage.pair == Pair::Lxd {
        let there = format!("/1.0/images/{}", fingerprint.as_str().expect("text"));
        assert_eq!(stage.engine(1).ask("GET", &there, None).status, 404, "the other pool does not have it");
        let made = stage.name("brought");
        let form = format!("container_name={made}&container_pool=server2&operation=create&image_type={alias}");
        let answer = stage.post("/REST/container/", &form).await;
        assert_eq!(answer, json!({ "success": "Container created successfully." }));
        assert_eq!(stage.engine(1).ask("GET", &there, None).status, 200, "it was brought");
        stage.verb("server2", &made, "stop").await;
        assert_eq!(stage.verb("server2", &made, "delete").await, done());
        let _ = stage.server.delete(&format!("/v1/nodes/server2/image?reference={alias}")).await;
    }
    assert_eq!(stage.verb("server1", &name, "delete").await, done());
    assert!(stage.server.delete(&format!("/v1/nodes/server1/image?reference={alias}")).await.status < 300);
}

const COMMANDS: &str = "/core/containers_list/api/";

async fn host_command(stage: &Stage) -> Outcome {
    for operation in ["copa_host_command", "copa_module_execution"] {
        let body = stage
            .post_json(COMMANDS, &json!({ "operation": operation, "cmd": ["id"], "method": "os.getpid", "args": "" }))
            .await;
        assert_eq!(body, json!({ "code": -1, "message": "COPA API error: operation disabled", "result": null }));
    }
    let failed = |text: &str| json!({ "code": -1, "message": format!("COPA API error: {text}"), "result": null });
    let name = stage.make("command", "server1").await;
    let on = |operation: &str| json!({ "operation": operation, "container_pool": "server1", "container_name": name });
    let mut command = on("command_execution");
    command["cmd"] = json!("id");
    assert_eq!(stage.post_json(COMMANDS, &command).await, failed("Parameter 'cmd' must be a list"));
    assert_eq!(stage.post_json(COMMANDS, &on("dance")).await, failed("Unknown operation"));
    let done = |result: Value| json!({ "code": 0, "message": "Process successful", "result": result });
    assert_eq!(stage.post_json(COMMANDS, &on("start")).await, done(Value::Null));
    stage.reaches("server1", &name, Some("running")).await;
    let told = stage.post_json(COMMANDS, &on("information")).await;
    assert_eq!((&told["code"], told["result"].as_object().map(serde_json::Map::len)), (&json!(0), Some(4)), "{told}");
    if stage.pair != Pair::Memory {
        command["cmd"] = json!(["sh", "-c", "echo out; echo err >&2; exit 3"]);
        let ran = stage.post_json(COMMANDS, &command).await;
        assert_eq!(ran, done(json!([3, "out\n", "err\n"])));
    }
    assert_eq!(stage.post_json(COMMANDS, &on("stop")).await, done(Value::Null));
    let mut moving = on("migrate");
    moving["destination_pool"] = json!("ghost");
    assert_eq!(stage.post_json(COMMANDS, &moving).await, failed("Pool matching query does not exist."));
    assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, done(Value::Null));
    assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, failed("Container matching query does not exist."));
    if stage.can("server1", "images").await {
        let images =
            stage.post_json(COMMANDS, &json!({ "operation": "images_list", "container_pool": "server1" })).await;
        assert_eq!(images["result"], stage.get("/REST/image").await["images"]);
        let fingerprint = images["result"][&alias(stage).await].as_str().expect("a fingerprint").to_owned();
        let mut made = on("create");
        made["image_type"] = json!(fingerprint[..12]);
        assert_eq!(stage.post_json(COMMANDS, &made).await, done(Value::Null));
        stage.reaches("server1", &name, Some("created")).await;
        assert_eq!(stage.post_json(COMMANDS, &on("delete")).await, done(Value::Null));
    }
    // A body that is called something else is read as JSON, too; what is none is an error.
    let (status, body) = stage.send(stage.request("POST", COMMANDS).body("{\"operation\": 1}")).await;
    assert_eq!((status, &body["code"]), (200, &json!(-1)), "{body}");
    let (status, body) = stage.send(stage.request("POST", COMMANDS).body("not json")).await;
    assert_eq!((status, &body["code"]), (200, &json!(-1)), "{body}");
    Outcome::Shown
}
