//! Where a case of pharos is played: a server with a listener of the dialect's own and one node, somebody who asks as the old clients
//! do, and whoever makes containers past the dialect.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_core::memory::{MemoryEngine, PRESET_IMAGE};
use roadstead_core::{Capabilities, ConnectOptions, Node, Registry};
use roadstead_tests::engines::{self, Cleaner, TestEngine};
use roadstead_tests::server::{Server, ServerOptions};
use roadstead_tests::sse::SseReader;
use roadstead_tests::{Answer, cut};
use serde_json::{Value, json};

/// What the node is called, as in the reference.
pub(super) const HOST: &str = "ubuntu-dev";
/// What becomes so by itself, becomes so within this time.
const SOON: Duration = Duration::from_secs(120);
/// A listener of its own where everybody may do everything; nobody answers where nodes are added.
const OPEN: &str = "--dialect=pharos=127.0.0.1:0,anonymous=admin,node_uri=docker+tcp://{host}:1";
/// A main process that runs until it is told to end.
pub(super) const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// An engine on which cases are played.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    name: &'static str,
    real: Option<TestEngine>,
}

impl Engine {
    /// Every column of the table.
    pub(super) const ALL: [&'static str; 6] = ["docker", "podman", "lxd", "incus", "core0", "memory"];

    /// The engine of a column; nothing when it is left out, which is noted.
    pub(super) fn of(name: &'static str) -> Option<Self> {
        let real = match name {
            "docker" => engines::docker(),
            "podman" => engines::podman(),
            "lxd" => engines::lxd(),
            "incus" => engines::incus(),
            "core0" => engines::core0(),
            _ => return Some(Engine { name, real: None }),
        };
        real.map(|real| Engine { name, real: Some(real) })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The engine itself, past the program under test; nothing for the simulation.
    pub(super) fn real(&self) -> Option<&TestEngine> {
        self.real.as_ref()
    }

    pub(super) fn uri(&self) -> String {
        self.real.as_ref().map_or_else(|| "memory:".to_owned(), |real| real.uri().to_owned())
    }

    fn image(&self) -> String {
        match self.name {
            "memory" => PRESET_IMAGE.to_owned(),
            "core0" => engines::flist(),
            _ => engines::image(),
        }
    }

    fn prefix(&self) -> String {
        self.real.as_ref().map_or_else(|| "m".to_owned(), |real| real.name(""))
    }

    /// What names of this test begin with is deleted when it ends. What a core0 holds is deleted over the API.
    fn cleaner(&self) -> Option<Cleaner> {
        self.real.as_ref().filter(|real| real.kind() != "core0").map(TestEngine::cleaner)
    }

    /// A node of it without a server between.
    async fn node(&self) -> Arc<dyn Node> {
        let registry = roadstead_backends::registry();
        let registry = if self.real.is_none() { Registry::new().with(MemoryEngine) } else { registry };
        registry.connect("direct", &self.uri(), &ConnectOptions::default()).await.expect("the engine is there")
    }

    /// What it can do.
    pub(super) async fn capabilities(&self) -> Capabilities {
        self.node().await.capabilities().clone()
    }
}

/// The scene.
pub(super) struct Scene {
    engine: Engine,
    server: Server,
    base: String,
    client: reqwest::Client,
    made: std::sync::Mutex<Vec<String>>,
    cut: Option<cut::Cut>,
    _directory: tempfile::TempDir,
    _cleaner: Option<Cleaner>,
}

/// A container of a scene.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) name: String,
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().expect("a client")
}

impl Scene {
    /// A server with the node.
    pub(super) async fn new(engine: &Engine) -> Self {
        Scene::with(engine, ServerOptions::default().node(HOST, &engine.uri())).await
    }

    /// A server without any node.
    pub(super) async fn empty(engine: &Engine) -> Self {
        Scene::with(engine, ServerOptions::default()).await
    }

    /// A server whose way to the engine can be cut.
    pub(super) async fn severable(engine: &Engine) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let real = engine.real().expect("a real engine");
        let (socket, cut) = cut::unix(real.socket().to_owned(), directory.path()).expect("a socket");
        let scheme = real.uri().split_once("://").expect("a URI").0;
        let uri = format!("{scheme}://{}", socket.display());
        let mut scene = Scene::with(engine, ServerOptions::default().node(HOST, &uri)).await;
        (scene.cut, scene._directory) = (Some(cut), directory);
        scene
    }

    /// A server with the node whose state outlives it.
    pub(super) async fn kept_in(engine: &Engine, state: &Path) -> Self {
        Scene::on(engine, ServerOptions::default().node(HOST, &engine.uri()).argument(OPEN).start_in(state))
    }

    /// A server with the node where callers without a token may read and no more.
    pub(super) async fn for_readers(engine: &Engine) -> Self {
        let options = ServerOptions::default().node(HOST, &engine.uri());
        Scene::on(engine, options.argument("--dialect=pharos=127.0.0.1:0,anonymous=read").start())
    }

    /// A server with these options beside the listener.
    pub(super) async fn with(engine: &Engine, options: ServerOptions) -> Self {
        Scene::on(engine, options.argument(OPEN).start())
    }

    fn on(engine: &Engine, server: Server) -> Self {
        Scene {
            engine: engine.clone(),
            base: server.dialect("pharos"),
            server,
            client: client(),
            made: std::sync::Mutex::default(),
            cut: None,
            _directory: tempfile::tempdir().expect("a directory"),
            _cleaner: engine.cleaner(),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Where the dialect listens.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Cuts the way to the engine.
    pub(super) fn cut(&self) {
        self.cut.as_ref().expect("a way that can be cut").cut();
    }

    // The dialect.

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.server.send(request).await
    }

    /// A request without credentials.
    pub(super) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// `GET`.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// What a `GET` that succeeds gives.
    pub(super) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        answer.json()
    }

    /// Any method with a body.
    pub(super) async fn change(&self, method: &str, body: &str) -> Answer {
        // As Python's requests sends a text: without saying what it is.
        self.send(self.request(method, "/nodes").body(body.to_owned())).await
    }

    /// The event stream, after the event `last` when there is one.
    pub(super) async fn stream(&self, path: &str, last: Option<&str>) -> SseReader {
        let mut request = self.client.get(format!("{}{path}", self.base)).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        SseReader::new(request.send().await.expect("an answer")).await
    }

    /// The container of the list, if it is there.
    pub(super) async fn listed(&self, query: &str, made: &Made) -> Option<Value> {
        let list = self.read(&format!("/containers{query}")).await;
        let containers = list["containers"].as_array().expect("containers");
        assert_eq!(list["n"], containers.len(), "n counts what is there");
        // Of what other tests are just ending nothing may be told.
        let is_others = |error: &Value| error["Id"].as_str().is_some_and(|id| id != made.id);
        assert!(list["errors"].as_array().into_iter().flatten().all(is_others), "{list}");
        containers.iter().find(|container| container["Id"] == made.id.as_str()).cloned()
    }

    /// The metrics of a container once it has processes that were sampled.
    pub(super) async fn sampled(&self, made: &Made) -> Value {
        let path = format!("/containers/{}/metrics", made.id);
        self.soon(&format!("{} is sampled", made.name), async || {
            let answer = self.get(&path).await;
            if answer.status == 404 {
                return None;
            }
            let document = answer.expect(200).json();
            let processes = document["Processes"].as_array().expect("processes");
            (!processes.is_empty()).then_some(document)
        })
        .await
    }

    /// Waits until `look` gives what was waited for.
    pub(super) async fn soon<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < end, "not within {} s: {what}", SOON.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    // The server's own API.

    fn path(rest: &str) -> String {
        format!("/v1/nodes/{HOST}/containers{rest}")
    }

    /// Makes a container whose main process is this script of a shell.
    pub(super) async fn create(&self, rest: &str, script: &str) -> Made {
        self.create_with(rest, script, json!({})).await
    }

    /// The same with more of a specification.
    pub(super) async fn create_with(&self, rest: &str, script: &str, more: Value) -> Made {
        let name = format!("{}{rest}", self.engine.prefix());
        let mut spec = json!({ "image": self.engine.image(), "name": name, "command": ["sh", "-c", script] });
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let made = self.server.post_json(&Scene::path(""), &spec).await.expect(201).json();
        let id = made["id"].as_str().expect("an id").to_owned();
        self.made.lock().expect("nobody panicked").push(id.clone());
        Made { id, name }
    }

    /// Makes a container and starts it.
    pub(super) async fn run(&self, rest: &str, script: &str) -> Made {
        self.run_with(rest, script, json!({})).await
    }

    /// The same with more of a specification.
    pub(super) async fn run_with(&self, rest: &str, script: &str, more: Value) -> Made {
        let made = self.create_with(rest, script, more).await;
        self.verb(&made, "start", &json!({})).await;
        made
    }

    /// Does something to a container.
    pub(super) async fn verb(&self, made: &Made, verb: &str, options: &Value) {
        let path = Scene::path(&format!("/{}/{verb}", made.id));
        let answer = self.server.post_json(&path, options).await;
        assert_eq!(answer.status, 204, "{verb}: {}", answer.text());
    }

    /// Stops a container.
    pub(super) async fn stop(&self, made: &Made) {
        self.verb(made, "stop", &json!({ "timeout_seconds": 2 })).await;
    }

    /// Deletes a container.
    pub(super) async fn delete(&self, made: &Made) {
        let answer = self.server.delete(&Scene::path(&format!("/{}?force=true", made.id))).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        self.made.lock().expect("nobody panicked").retain(|id| *id != made.id);
    }

    /// What `/v1` tells of a container.
    pub(super) async fn inspect(&self, made: &Made) -> Value {
        self.server.get(&Scene::path(&format!("/{}?fresh=true", made.id))).await.expect(200).json()
    }

    /// Deletes what was made.
    pub(super) async fn end(self) {
        if self.cut.is_some() {
            return;
        }
        let made = std::mem::take(&mut *self.made.lock().expect("nobody panicked"));
        for id in made {
            let _ = self.server.delete(&Scene::path(&format!("/{id}?force=true"))).await;
        }
    }
}
