//! COPA's monitor API over HTTP, on a listener of its own: each string that its clients know, what is kept whatever becomes of servers, and
//! delegation on real engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod delegation;
mod kept;
mod views;

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, Url};
use roadstead_tests::{Server, ServerOptions};
use serde_json::{Value, json};

/// No sound server takes this long for anything.
const SOON: Duration = Duration::from_secs(60);

/// A server with two pools that speaks COPA to everybody on this machine.
fn options() -> ServerOptions {
    speaking().node("server1", "memory:").node("server2", "memory:")
}

/// The same without pools.
fn speaking() -> ServerOptions {
    ServerOptions::default().argument("--dialect").argument("copa=127.0.0.1:0,anonymous=admin")
}

/// A server of several that share a store: with a state directory of its own, and everybody's key.
fn member(uri: &str, directory: &Path, name: &str) -> Server {
    let state = directory.join(name);
    std::fs::create_dir_all(&state).expect("a directory");
    let (shared, own) = (directory.join("shared.key"), state.join("store.key"));
    if shared.exists() {
        std::fs::copy(&shared, &own).expect("the key");
    }
    let server = options().argument("--store").argument(uri).start_in(&state);
    std::fs::copy(&own, &shared).expect("the key");
    server
}

/// A client of COPA: it has no token, and follows no redirect.
#[derive(Clone, Debug)]
struct Copa {
    base: String,
    client: Client,
}

impl Copa {
    fn of(server: &Server) -> Self {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(SOON)
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        Copa { base: server.dialect("copa").trim_end_matches('/').to_owned(), client }
    }

    /// Status and body of whatever; none when there is no answer.
    async fn try_send(
        &self,
        method: &str,
        path: &str,
        kind: Option<&str>,
        body: impl Into<Vec<u8>>,
    ) -> Option<(u16, Value)> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body.into());
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_slice(&answer.bytes().await.ok()?).expect("JSON")))
    }

    /// The body of an answer, which has the status 200 whatever it says.
    async fn send(&self, method: &str, path: &str, kind: Option<&str>, body: impl Into<Vec<u8>>) -> Value {
        let (status, body) = self.try_send(method, path, kind, body).await.expect("an answer");
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None, "").await
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        self.send("POST", path, Some("application/x-www-form-urlencoded"), encoded(fields)).await
    }

    async fn json(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, Some("application/json"), body.to_string()).await
    }

    /// Says how busy a pool is.
    async fn is_busy(&self, pool: &str, cpu: &str) {
        let posted = self.form("/REST/network/kpiresource/", &[("locus", pool), ("CPU", cpu), ("memory", "50")]).await;
        assert_eq!(posted, json!({"success": "kpiresource"}));
    }

    /// The measurements of a list, which has succeeded.
    async fn measurements(&self, kind: &str, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/REST/network/{kind}/?{query}")).await;
        assert_eq!(answer["success"], kind, "{answer}");
        answer["measurements"].as_array().expect("a list").clone()
    }
}

/// Fields as a form, or a query, has them.
fn encoded(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://host/").expect("a URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// Asks again and again, until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {} s", SOON.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The fields of a measurement of a link, in COPA's order.
const LINK: [(&str, &str); 11] = [
    ("locus1", "server1"),
    ("locus2", "server2"),
    ("jitter_1to2", "0.5"),
    ("latency_max_1to2", "9"),
    ("latency_median_1to2", "4.25"),
    ("latency_min_1to2", "1"),
    ("jitter_2to1", "0.75"),
    ("latency_max_2to1", "8"),
    ("latency_median_2to1", "5"),
    ("latency_min_2to1", "2"),
    ("throughput", "100"),
];

/// The same with other values for some.
fn link<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    with(&LINK, other)
}

fn with<'a>(fields: &[(&'a str, &'a str)], other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let value = |name: &str| other.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    fields.iter().map(|(name, usual)| (*name, value(name).unwrap_or(usual))).collect()
}
