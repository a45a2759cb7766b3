//! Where a case of COPA is played: a server with a listener of the dialect's own and two pools, and somebody who posts forms.

use std::time::{Duration, Instant};

use roadstead_tests::engines::{self, TestEngine};
use roadstead_tests::server::{Server, ServerOptions};
use serde_json::{Value, json};

/// The engines behind the two pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Lxd,
    Incus,
    Docker,
    Podman,
    Core0,
    Memory,
}

impl Pair {
    pub(super) const ALL: [Pair; 6] = [Pair::Lxd, Pair::Incus, Pair::Docker, Pair::Podman, Pair::Core0, Pair::Memory];

    pub(super) fn name(self) -> &'static str {
        match self {
            Pair::Lxd => "lxd",
            Pair::Incus => "incus",
            Pair::Docker => "docker",
            Pair::Podman => "podman",
            Pair::Core0 => "core0",
            Pair::Memory => "memory",
        }
    }

    /// The engines of `server1` and `server2`. Where there is one of a kind only, the other pool is of another kind, which is what a
    /// migration of COPA could never do.
    fn engines(self) -> Option<Vec<TestEngine>> {
        match self {
            Pair::Lxd => Some(vec![engines::lxd()?, engines::lxd_second()?]),
            Pair::Incus => Some(vec![engines::incus()?, engines::lxd_second()?]),
            Pair::Docker => Some(vec![engines::docker()?, engines::podman()?]),
            Pair::Podman => Some(vec![engines::podman()?, engines::docker()?]),
            Pair::Core0 => Some(vec![engines::core0()?, engines::docker()?]),
            Pair::Memory => Some(Vec::new()),
        }
    }
}

/// The stage.
pub(super) struct Stage {
    pub(super) pair: Pair,
    pub(super) server: Server,
    base: String,
    client: reqwest::Client,
    engines: Vec<TestEngine>,
    prefix: String,
}

/// How long a state may take to be seen by others.
const PATIENCE: Duration = Duration::from_secs(60);

impl Stage {
    /// None where the engines are left out.
    pub(super) fn new(pair: Pair) -> Option<Self> {
        let engines = pair.engines()?;
        let prefix = engines.first().map_or_else(|| "m".to_owned(), |engine| engine.name("copa"));
        let uri = |index: usize| engines.get(index).map_or("memory:", TestEngine::uri);
        let options = ServerOptions::default()
            .node("server1", uri(0))
            .node("server2", uri(1))
            .argument("--dialect=copa=127.0.0.1:0,anonymous=admin,image_node=server1,node_uri=memory://copa@{host}");
        let server = options.start();
        let base = server.dialect("copa");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(300)).build().expect("a client");
        Some(Stage { pair, server, base, client, engines, prefix })
    }

    /// Cleans what cases leave behind.
    pub(super) fn cleaners(&self) -> Vec<roadstead_tests::engines::Cleaner> {
        self.engines.iter().map(TestEngine::cleaner).collect()
    }

    /// The engine of a pool, past the program under test.
    pub(super) fn engine(&self, index: usize) -> &TestEngine {
        &self.engines[index]
    }

    /// A name for a container of this run.
    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.expect("the dialect answers");
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{kind}");
        (status, serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    async fn ok(request: reqwest::RequestBuilder) -> Value {
        let (status, body) = Stage::read(request).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// What a path and query gives.
    pub(super) async fn get(&self, target: &str) -> Value {
        Stage::ok(self.client.get(format!("{}{target}", self.base))).await
    }

    /// What a form gives that is posted to a path.
    pub(super) async fn post(&self, path: &str, form: &str) -> Value {
        let kind = "application/x-www-form-urlencoded";
        let request = self.client.post(format!("{}{path}", self.base)).header("content-type", kind);
        Stage::ok(request.body(form.to_owned())).await
    }

    /// What a JSON body gives that is posted to a path.
    pub(super) async fn post_json(&self, path: &str, body: &Value) -> Value {
        Stage::ok(self.client.post(format!("{}{path}", self.base)).json(body)).await
    }

    /// Any request.
    pub(super) fn request(&self, method: &str, target: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{target}", self.base))
    }

    /// Status and body of any request.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        Stage::read(request).await
    }

    /// Makes a container that runs for long, past the dialect; gives its name.
    pub(super) async fn make(&self, rest: &str, node: &str) -> String {
        self.make_with(rest, node, json!({})).await
    }

    /// The same with more of a specification.
    pub(super) async fn make_with(&self, rest: &str, node: &str, more: Value) -> String {
        let name = self.name(rest);
        let mut spec = json!({ "name": name, "image": self.image(node), "command": ["sleep", "3600"] });
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = self.server.post_json(&format!("/v1/nodes/{node}/containers"), &spec).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        name
    }

    /// An image that a node has.
    pub(super) fn image(&self, node: &str) -> String {
        let index = usize::from(node == "server2");
        match self.engines.get(index).map(TestEngine::kind) {
            None => roadstead_core::memory::PRESET_IMAGE.to_owned(),
            Some("core0") => engines::flist(),
            Some(_) => engines::image(),
        }
    }

    /// The state of a container as the server's own API tells it, which is asked from the engine.
    pub(super) async fn state(&self, node: &str, name: &str) -> Option<String> {
        let answer = self.server.get(&format!("/v1/nodes/{node}/containers/{name}")).await;
        match answer.status {
            404 => None,
            200 => Some(answer.json()["state"].as_str().expect("a state").to_owned()),
            other => panic!("{other}: {}", answer.text()),
        }
    }

    /// Waits for a state, which an engine may reach a moment later.
    pub(super) async fn reaches(&self, node: &str, name: &str, wanted: Option<&str>) {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = self.state(node, name).await;
            if state.as_deref() == wanted {
                return;
            }
            assert!(Instant::now() < until, "{name} on {node} is {state:?} and not {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The engine of a node without the server between, where it is one that others reach, too.
    pub(super) async fn past(&self, node: &str) -> Option<std::sync::Arc<dyn roadstead_core::Node>> {
        let engine = self.engines.get(usize::from(node == "server2"))?;
        let options = roadstead_core::ConnectOptions::default();
        Some(roadstead_backends::registry().connect("past", engine.uri(), &options).await.expect("the engine answers"))
    }

    /// Whether the node can do this.
    pub(super) async fn can(&self, node: &str, capability: &str) -> bool {
        let answer = self.server.get(&format!("/v1/nodes/{node}/capabilities")).await;
        answer.expect(200).json()[capability].as_bool().expect("a capability")
    }

    /// A verb of COPA on a container.
    pub(super) async fn verb(&self, pool: &str, name: &str, operation: &str) -> Value {
        self.post("/REST/container/", &format!("container_name={name}&container_pool={pool}&operation={operation}"))
            .await
    }
}
