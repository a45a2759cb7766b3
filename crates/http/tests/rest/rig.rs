//! A server in this process, and a client for it.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response};
use roadstead_core::Registry;
use roadstead_core::memory::{Fault, Faults, MemoryEngine, MemoryNode};
use roadstead_http::{Config, NodeConfig, Running, Server};
use serde_json::{Value, json};

/// Longer than anything here takes; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) running: Running,
    pub(crate) client: Client,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The answer, which must be this success.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The answer must be a whole problem document with this status and code.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:roadstead:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        for member in ["title", "detail", "retry", "instance"] {
            assert!(problem[member].is_string(), "{member} is missing in {problem}");
        }
        problem
    }
}

pub(crate) fn client() -> Client {
    // The client library wants a TLS provider even for plain connections.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub(crate) fn config(directory: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.state_dir = directory.path().join("state");
    config.key_file = directory.path().join("store.key");
    config.drain_timeout_seconds = 5;
    config.nodes.insert("sea".to_owned(), NodeConfig::Uri("memory:?seed=1".to_owned()));
    config
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(&directory);
        change(&mut config);
        Rig::on(directory, config).await
    }

    pub(crate) async fn on(directory: tempfile::TempDir, config: Config) -> Rig {
        let running = Server::start(config, Registry::new().with(MemoryEngine)).await.unwrap();
        Rig { directory, running, client: client() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.urls()[0])
    }

    /// A request with the token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(self.running.token().expose())
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// A POST without body.
    pub(crate) async fn act(&self, path: &str) -> Reply {
        self.send(self.request(Method::POST, path)).await
    }

    /// A running container of this name.
    pub(crate) async fn container(&self, name: &str) -> String {
        self.container_with(name, json!({ "command": ["sleep", "600"] })).await
    }

    pub(crate) async fn container_with(&self, name: &str, more: Value) -> String {
        let mut spec = json!({ "image": "roadstead/busybox:latest", "name": name });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post("/v1/nodes/sea/containers?start=true", spec).await.is(201).json();
        made["id"].as_str().unwrap().to_owned()
    }

    fn faults<T>(&self, act: impl Fn(&Faults) -> T) -> T {
        let node = self.running.nodes().get("sea").unwrap().connected().unwrap();
        act(node.engine().downcast_ref::<MemoryNode>().unwrap().faults())
    }

    /// The operations that the engine of `sea` was asked for.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.faults(Faults::calls)
    }

    /// The next calls of an operation at the engine of `sea` have a fault.
    pub(crate) fn fault(&self, operation: &str, fault: &Fault, times: u32) {
        self.faults(|faults| faults.script(operation, fault.clone(), times).unwrap());
    }

    /// The engine of `sea` goes away.
    pub(crate) fn leave(&self) {
        self.faults(Faults::leave);
    }

    /// The engine of `sea` is back.
    pub(crate) fn come_back(&self) {
        self.faults(Faults::come_back);
    }

    /// Opens an event stream.
    pub(crate) async fn events(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, path).header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }
}

/// The binary, which can be killed, and a client for it.
pub(crate) struct Served {
    directory: tempfile::TempDir,
    child: std::process::Child,
    /// Kept open, since it says more than where it listens.
    said: std::io::BufReader<std::process::ChildStdout>,
    url: String,
    token: String,
    client: Client,
}

impl Served {
    pub(crate) fn start() -> Served {
        let directory = tempfile::tempdir().unwrap();
        let (child, said, url) = Served::serve(&directory);
        let token = std::fs::read_to_string(directory.path().join("state/admin.token")).unwrap();
        Served { directory, child, said, url, token, client: client() }
    }

    fn serve(
        directory: &tempfile::TempDir,
    ) -> (std::process::Child, std::io::BufReader<std::process::ChildStdout>, String) {
        use std::io::BufRead;
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_roadstead"))
            .args(["serve", "--listen", "127.0.0.1:0", "--node", "sea=memory:?seed=1", "--log", "error"])
            .env_clear()
            .env("ROADSTEAD_STATE_DIR", directory.path().join("state"))
            .env("ROADSTEAD_KEY_FILE", directory.path().join("store.key"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        (child, said, url)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same state.
    pub(crate) fn again(&mut self) {
        (self.child, self.said, self.url) = Served::serve(&self.directory);
    }

    pub(crate) fn request(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(body) };
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, key: Option<&str>, body: &Value) -> Reply {
        let response = self.request(method, path, key, body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, &Value::Null).await
    }

    /// Asks until the answer is as it is to be.
    pub(crate) async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) {
        let asked = async {
            while !is(&self.get(path).await.is(200).json()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("it comes in time");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct SentEvent {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: Value,
}

pub(crate) struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// The next event; `None` at the end of the stream. Comments are passed over.
    pub(crate) async fn next(&mut self) -> Option<SentEvent> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let frame: String = self.text.drain(..end + 2).collect();
                let line = |name: &str| {
                    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
                };
                if line("event").is_empty() {
                    continue;
                }
                return Some(SentEvent {
                    id: line("id").to_owned(),
                    event: line("event").to_owned(),
                    data: serde_json::from_str(line("data")).unwrap(),
                });
            }
            match tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event in time") {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => return None,
                Err(error) => panic!("the stream broke: {error}"),
            }
        }
    }

    /// All events to the end.
    pub(crate) async fn all(mut self) -> Vec<SentEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// A tar archive with one file.
pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

/// The content of a file of a tar archive.
pub(crate) fn untar(archive: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(name) {
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            return Some(content);
        }
    }
    None
}

/// A body that is sent in pieces, without a length.
pub(crate) fn pieces(body: &[u8], size: usize) -> reqwest::Body {
    let pieces: Vec<_> = body.chunks(size).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(pieces).boxed())
}
