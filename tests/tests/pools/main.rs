//! Pools over real engines: verbs, placement and drains over REST, a swarm of two daemons, a resource pool of Zero-OS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod over_rest;
mod resource_pool;
mod swarm;

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ConnectOptions, Node};
use roadstead_http::{Config, NodeConfig, Running, Server};
use roadstead_tests::TestEngine;
use serde_json::Value;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(120);

async fn connect(name: &str, engine: &TestEngine) -> Arc<dyn Node> {
    roadstead_backends::registry().connect(name, engine.uri(), &ConnectOptions::default()).await.expect("it is there")
}

/// A server over real engines.
struct Rest {
    server: Running,
    client: reqwest::Client,
    _state: tempfile::TempDir,
}

impl Rest {
    async fn over(engines: &[(&str, &TestEngine)]) -> Rest {
        let state = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        config.state_dir = state.path().join("state");
        config.key_file = state.path().join("key");
        config.drain_timeout_seconds = 1;
        for (name, engine) in engines {
            config.nodes.insert((*name).to_owned(), NodeConfig::Uri(engine.uri().to_owned()));
        }
        let server = Server::start(config, roadstead_backends::registry()).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
        Rest { server, client, _state: state }
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.server.urls()[0]);
        let mut request = self.client.request(method, url).bearer_auth(self.server.token().expose());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[track_caller]
    fn good((status, body): (u16, Value)) -> Value {
        assert!((200..300).contains(&status), "{status} {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        Self::good(self.ask(reqwest::Method::GET, path, None).await)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        Self::good(self.ask(reqwest::Method::POST, path, Some(body)).await)
    }

    async fn end(self) {
        self.server.shutdown().await.unwrap();
    }
}
