//! Who may come in, what old or stubborn versions of LXD do, and sessions of real clients.

use libtest_mimic::Trial;
use roadstead_tests::meddler::{Meddler, Meddling};
use roadstead_tests::server::{Server, ServerOptions};
use serde_json::{Value, json};

use super::stage::Stage;

type Test = fn(&tokio::runtime::Runtime);

pub(super) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 5] = [
        ("copa::roles", |runtime| runtime.block_on(roles())),
        ("copa::pages_of_others", |runtime| runtime.block_on(pages_of_others())),
        ("copa::session", |runtime| runtime.block_on(session())),
        ("copa::browser", |runtime| runtime.block_on(browser())),
        ("copa::audited", |runtime| runtime.block_on(audited())),
    ];
    let run = |(name, test): (&str, Test)| {
        Trial::test(name, move || {
            test(&tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?);
            Ok(())
        })
    };
    tests.into_iter().map(run).collect()
}

/// A server with one pool in memory, whose door is opened so far.
fn server(door: &str) -> Server {
    let options = ServerOptions::default().node("server1", "memory:").node("server2", "memory:");
    options.argument(&format!("--dialect=copa=127.0.0.1:0{door}")).start()
}

/// Without a token, and without the proxies of this machine.
pub(super) fn client() -> reqwest::Client {
    // Nobody's certificate is looked at here, but the library wants to know who would.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn ask(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

const ADD: &str = "operation=add&container_pool=p&ip=box.invalid:1";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn roles() {
    let client = client();
    for (door, may) in
        [("", [401, 401, 401]), (",anonymous=read", [200, 403, 403]), (",anonymous=operate", [200, 200, 403])]
    {
        let server = server(door);
        let base = server.dialect("copa");
        let (pools, container) = (format!("{base}/REST/pools"), format!("{base}/REST/container"));
        let command = format!("{base}/core/containers_list/api");
        let spec =
            json!({ "name": "web", "image": roadstead_core::memory::PRESET_IMAGE, "command": ["sleep", "3600"] });
        let _ = server.post_json("/v1/nodes/server1/containers", &spec).await.expect(201);
        let post = |url: &str, form: String| client.post(url).header(FORM.0, FORM.1).body(form);
        assert_eq!(ask(client.get(&pools)).await.0, may[0], "{door}");
        assert_eq!(ask(post(&pools, ADD.to_owned())).await.0, may[2], "{door}");
        // The verb is in the body, and it is what counts: each does something to a container that is there.
        let image = roadstead_core::memory::PRESET_IMAGE;
        for verb in ["start", "freeze", "unfreeze", "stop", "create", "migrate", "delete"] {
            let name = if verb == "create" { "made" } else { "web" };
            let form = format!(
                "operation={verb}&container_pool=server1&container_name={name}&image_type={image}&destination_pool=server2"
            );
            let (status, body) = ask(post(&container, form)).await;
            assert_eq!(status, may[1], "{door} {verb}: {body}");
            if status == 200 && verb != "migrate" && verb != "delete" {
                assert!(body["success"].is_string(), "{door} {verb}: {body}");
            }
            let body = json!({ "operation": verb, "container_pool": "server1", "container_name": "made", "image_type": "0",
                "destination_pool": "server2", "cmd": ["true"] });
            let status = ask(client.post(&command).json(&body)).await.0;
            // What is not there is told to everybody who may look.
            assert!(status == may[1] || status == may[0], "{door} {verb}: {status}");
        }
        let body = json!({ "operation": "command_execution", "container_pool": "server1", "container_name": "web", "cmd": ["true"] });
        let is_there = server.get("/v1/nodes/server1/containers/web").await.status == 200;
        assert_eq!(ask(client.post(&command).json(&body)).await.0, if is_there { may[1] } else { may[0] }, "{door}");
        if may[1] != 200 {
            let web = server.get("/v1/nodes/server1/containers/web").await.expect(200).json();
            assert_eq!(web["state"], "created", "nothing was done: {web}");
        }
        // A token opens every door, as Bearer or as the password of Basic; a wrong one opens none.
        assert_eq!(ask(client.get(&pools).bearer_auth(server.token())).await.0, 200);
        assert_eq!(ask(client.get(&pools).basic_auth("anybody", Some(server.token()))).await.0, 200);
        assert_eq!(ask(client.get(&pools).bearer_auth("wrong")).await.0, 401);
        let (status, body) = ask(client.get(&pools).basic_auth("admin", Some("wrong"))).await;
        assert!(status == 401 && body["error"].is_string(), "{body}");
        // On the main listener nobody comes in without one.
        assert_eq!(ask(client.get(server.url("/copa/REST/pools"))).await.0, 401);
        assert_eq!(server.get("/copa/REST/pools/").await.expect(200).json()["success"], "pools");
        assert_eq!(server.get("/pharos/nodes").await.status, 404, "a dialect that is not named is not there");
    }
}

/// The examples of COPA's own document, with the library that they use, on two real LXD daemons.
async fn session() {
    let Some(stage) = Stage::new(super::stage::Pair::Lxd) else { return };
    let _cleaners = stage.cleaners();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialects/copa_session.py");
    let base = format!("{}/REST/", stage.server.dialect("copa"));
    let image = super::images::alias(&stage).await;
    let mut command = tokio::process::Command::new("/usr/bin/python3");
    command.arg(script).arg(base).arg(image).arg(stage.name("session")).kill_on_drop(true);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(300), command.output())
        .await
        .expect("it ends")
        .expect("it runs");
    let (out, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}{error}");
}

async fn pages_of_others() {
    let server = server(",anonymous=admin");
    let base = server.dialect("copa");
    let host = base.trim_start_matches("http://").to_owned();
    let client = client();
    let post = || client.post(format!("{base}/REST/pools")).header(FORM.0, FORM.1).body(ADD);
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(ask(post().header("origin", foreign)).await.0, 403, "{foreign}");
        assert_eq!(
            ask(post().header("origin", foreign).basic_auth("x", Some(server.token()))).await.0,
            403,
            "{foreign}"
        );
    }
    assert_eq!(ask(post().header("sec-fetch-site", "cross-site")).await.0, 403);
    assert_eq!(ask(post().header("host", "evil.example")).await.0, 403);
    assert_eq!(ask(client.get(format!("{base}/REST/pools")).header("host", "evil.example")).await.0, 403);
    let pools = ask(client.get(format!("{base}/REST/pools"))).await.1;
    assert_eq!(pools["pools"].as_array().map(Vec::len), Some(2), "nothing was added: {pools}");
    assert_eq!(ask(post().header("origin", format!("http://{host}"))).await.0, 200);
    assert_eq!(ask(post().header("origin", "http://evil.example").bearer_auth(server.token())).await.0, 200);
}

async fn browser() {
    let server = server(",anonymous=operate");
    let base = server.dialect("copa");
    let page = async |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        // As a browser that presses a button of the page.
        let request = client().request(method, format!("{base}{path}")).header("origin", base.clone());
        let answer = request.header("sec-fetch-site", "same-origin").send().await.expect("an answer");
        assert_eq!(answer.headers()["referrer-policy"], "same-origin", "with less a browser tells no origin");
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        (answer.status().as_u16(), kind, answer.text().await.expect("a body"))
    };
    for path in
        ["/core", "/core/", "/core/welcome", "/core/welcome/", "/core/containers_list", "/core/containers_list/new/"]
    {
        let (status, kind, text) = page("GET", path).await;
        assert!(status == 200 && kind.starts_with("text/html") && text.contains("<html"), "{path}: {status} {kind}");
    }
    let spec = json!({ "name": "web", "image": roadstead_core::memory::PRESET_IMAGE, "command": ["sleep", "3600"] });
    let _ = server.post_json("/v1/nodes/server1/containers", &spec).await.expect(201);
    let state = async || server.get("/v1/nodes/server1/containers/web").await.expect(200).json()["state"].clone();
    let (_, _, text) = page("GET", "/core/containers_list/").await;
    assert!(text.contains("href=\"../../core/containers_list/start/server1/web\""), "{text}");
    // A link that is opened does nothing; the button does.
    let (_, _, text) = page("GET", "/core/containers_list/start/server1/web").await;
    assert!(text.contains("<button>start</button>"), "{text}");
    assert_eq!(state().await, "created");
    let acts = [
        ("start", "Container started successful.", "running"),
        ("freeze", "Container frozen successful.", "frozen"),
        ("unfreeze", "Container unfreeze successful", "running"),
        ("stop", "Container stopped successful.", "stopped"),
    ];
    for (verb, words, wanted) in acts {
        let (status, _, text) = page("POST", &format!("/core/containers_list/{verb}/server1/web/")).await;
        assert!(status == 200 && text.contains(words), "{verb}: {status} {text}");
        assert_eq!(state().await, wanted, "{verb}");
    }
    let (_, _, text) = page("GET", "/core/containers_list/info/server1/web").await;
    assert!(text.contains("&quot;memory&quot;"), "{text}");
    assert_eq!(page("POST", "/core/containers_list/dance/server1/web").await.0, 404);
    let (_, _, text) = page("POST", "/core/containers_list/start/server1/%3Cghost%3E").await;
    assert!(text.contains("Container matching query does not exist."), "{text}");
    let (_, _, text) = page("POST", "/core/containers_list/delete/server1/web").await;
    assert!(text.contains("Container deleted successfully."), "{text}");
    let form = format!("name=made&server=server1&image={}&profile=x&wait=on", roadstead_core::memory::PRESET_IMAGE);
    let request = client().post(format!("{base}/core/containers_list/add/")).header(FORM.0, FORM.1).body(form);
    let text = request.send().await.expect("an answer").text().await.expect("a body");
    assert!(text.contains("Container created successfully."), "{text}");
}

async fn audited() {
    let server = server(",anonymous=operate");
    let base = server.dialect("copa");
    let client = client();
    let spec = json!({ "name": "web", "image": roadstead_core::memory::PRESET_IMAGE });
    let _ = server.post_json("/v1/nodes/server1/containers", &spec).await.expect(201);
    let form = "operation=start&container_pool=server1&container_name=web";
    let url = format!("{base}/REST/container");
    assert_eq!(ask(client.post(&url).header(FORM.0, FORM.1).body(form)).await.0, 200);
    let audit = server.get("/v1/audit?limit=1000").await.expect(200).json();
    let done = |entry: &&Value| entry["operation"] == "copa.container.start";
    let entry = audit["items"].as_array().expect("entries").iter().find(done).unwrap_or_else(|| panic!("{audit}"));
    assert_eq!((&entry["identity"], &entry["outcome"]), (&json!("anonymous"), &json!("succeeded")), "{entry}");
    assert_eq!(entry["target"], json!({ "node": "server1", "container": "web" }), "{entry}");
}

/// The server of a stage with its first pool behind a proxy.
fn behind(stage: &Stage, meddler: &Meddler) -> Server {
    ServerOptions::default()
        .node("server1", &format!("lxd+unix://{}", meddler.socket().display()))
        .node("server2", stage.engine(1).uri())
        .argument("--dialect=copa=127.0.0.1:0,anonymous=admin")
        .start()
}

/// Takes the processor time out of the state of an instance, as versions were before it was in there.
fn cut_cpu(body: &[u8]) -> Vec<u8> {
    let mut answer: Value = serde_json::from_slice(body).expect("JSON");
    if let Some(state) = answer["metadata"].as_object_mut() {
        state.remove("cpu");
        // One of another machine, where the kernel's own files cannot be asked either.
        state.insert("pid".to_owned(), json!(2));
    }
    serde_json::to_vec(&answer).expect("JSON")
}

pub(super) async fn without_cpu(stage: &Stage) {
    let name = stage.make("nocpu", "server1").await;
    stage.verb("server1", &name, "start").await;
    stage.reaches("server1", &name, Some("running")).await;
    let meddler = Meddler::start(stage.engine(0).socket(), |request| {
        if request.starts_with("GET ") && request.contains("/state") {
            Meddling::Change(cut_cpu)
        } else {
            Meddling::Pass
        }
    });
    let server = behind(stage, &meddler);
    let target = format!("/REST/container/?operation=information&container_name={name}&container_pool=server1");
    let (status, body) = ask(client().get(format!("{}{target}", server.dialect("copa")))).await;
    assert_eq!(status, 200);
    assert_eq!(body["warning"], "'ContainerState' object has no attribute 'cpu'", "{body}");
    assert!(body.get("cpu").is_none() && body["memory"]["usage"].as_u64() > Some(0), "{body}");
    // The command API has no warnings: there it is an error.
    let command = json!({ "operation": "information", "container_pool": "server1", "container_name": name });
    let request = client().post(format!("{}/core/containers_list/api/", server.dialect("copa"))).json(&command);
    let (_, body) = ask(request).await;
    assert_eq!(body["message"], "COPA API error: 'ContainerState' object has no attribute 'cpu'", "{body}");
    stage.verb("server1", &name, "stop").await;
    stage.verb("server1", &name, "delete").await;
}

pub(super) async fn refused_delete(stage: &Stage) {
    let name = stage.make("stays", "server1").await;
    let meddler = Meddler::start(stage.engine(0).socket(), |request| {
        if request.starts_with("DELETE /1.0/instances/") && !request.contains("/snapshots/") {
            let body = json!({ "type": "error", "error": "Instance is protected", "error_code": 403 });
            return Meddling::Answer("403 Forbidden", body.to_string());
        }
        Meddling::Pass
    });
    let server = behind(stage, &meddler);
    let base = server.dialect("copa");
    let form = format!("container_name={name}&container_pool=server1&destination_pool=server2&operation=migrate");
    let request = client().post(format!("{base}/REST/container/")).header(FORM.0, FORM.1).body(form);
    let (_, body) = ask(request).await;
    assert_eq!(body["success"], "Container migrated successfully.", "{body}");
    assert!(body["warning"].as_str().is_some_and(|text| text.contains("Instance is protected")), "{body}");
    let list = |pool: &str| format!("{base}/REST/container/?container_pool={pool}&operation=list_containers");
    let has = async |pool: &str| {
        let (_, body) = ask(client().get(list(pool))).await;
        body["containers"].as_array().expect("names").iter().any(|known| *known == json!(name))
    };
    assert!(has("server2").await && !has("server1").await);
    drop(server);
    stage.verb("server2", &name, "delete").await;
    // What the engine would not delete is there under another name, which the cleaner knows.
}
