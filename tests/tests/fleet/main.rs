//! Many nodes at once on real sockets: lists by their deadline, whatever single nodes do. One real engine answers for all of
//! them, late or never as each is told to (see `roadstead_benches::fleet`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod lists;

use std::time::Duration;

use roadstead_benches::fleet::{FleetNode, Mood, Recorder};
use roadstead_http::{Config, NodeConfig, Running, Server};
use roadstead_tests::{Cleaner, TestEngine, engines};
use serde_json::Value;

/// Longer than anything here takes; a test that hangs fails.
const SOON: Duration = Duration::from_secs(60);

/// What a node in good health takes for an answer.
const QUICK: Duration = Duration::from_millis(5);

/// A server over many nodes.
struct Fleet {
    nodes: Vec<FleetNode>,
    server: Running,
    client: reqwest::Client,
    container: String,
    _engine: TestEngine,
    _cleaner: Cleaner,
    _state: tempfile::TempDir,
}

impl Fleet {
    /// `count` nodes, called `n000` and on, each of which shows the real engine's containers, and has `seconds` for each answer;
    /// `None` when there is no engine.
    async fn start(count: usize, seconds: u32) -> Option<Fleet> {
        let engine = engines::docker()?;
        // A socket of each side, and those that listen.
        let wanted = u64::try_from(count * 4 + 1000).unwrap();
        let resource = nix::sys::resource::Resource::RLIMIT_NOFILE;
        let (soft, hard) = nix::sys::resource::getrlimit(resource).unwrap();
        nix::sys::resource::setrlimit(resource, soft.max(wanted.min(hard)), hard).unwrap();
        let cleaner = engine.cleaner();
        let name = engine.name("one");
        let _id = engine.create(&name, &["true"]);
        let recorder = Recorder::new(engine.socket());
        let mut nodes = Vec::new();
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        config.state_dir = state.path().join("state");
        config.request_timeout_seconds = seconds;
        config.drain_timeout_seconds = 1;
        for number in 0..count {
            let node = FleetNode::start(&recorder, Mood::Answers(QUICK)).await.unwrap();
            config.nodes.insert(format!("n{number:03}"), NodeConfig::Uri(node.uri()));
            nodes.push(node);
        }
        let server = Server::start(config, roadstead_backends::registry()).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
        Some(Fleet { nodes, server, client, container: name, _engine: engine, _cleaner: cleaner, _state: state })
    }

    /// The one container of every node, as far as they answer within `seconds`.
    async fn list(&self, seconds: u32) -> Value {
        let url = format!(
            "{}/v1/containers?fresh=true&name={}&timeout_seconds={seconds}&fields=node,name",
            self.server.urls()[0],
            self.container
        );
        let answer = self.client.get(url).bearer_auth(self.server.token().expose()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The list must hold the container of every node but `missing`.
    #[track_caller]
    fn holds_all_but(&self, list: &Value, missing: &[usize]) {
        let items: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|item| item["node"].as_str().unwrap()).collect();
        let wanted: Vec<_> = (0..self.nodes.len())
            .filter(|number| !missing.contains(number))
            .map(|number| format!("n{number:03}"))
            .collect();
        assert_eq!(items, wanted, "{}", list["errors"]);
        assert_eq!(list["nodes"].as_array().unwrap().len(), self.nodes.len());
        assert_eq!(list["errors"].as_array().unwrap().len(), missing.len(), "{}", list["errors"]);
    }

    async fn end(self) {
        self.server.shutdown().await.unwrap();
    }
}
