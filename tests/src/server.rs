//! The `roadstead` binary as a child process: started on a free port with a state directory of its own, watched by
//! what it prints, ended when dropped.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::Value;

use crate::engines::TestEngine;
use crate::raw::{Answer, DEADLINE, Request};
use crate::sse::SseReader;

/// In this time a server listens, or ends when it is told to.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test: `ROADSTEAD_BIN`, or what `cargo build` made.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("ROADSTEAD_BIN").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
            target.join("debug/roadstead")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p roadstead-http` first, or name the binary in ROADSTEAD_BIN",
        path.display()
    );
    path
}

/// A command for the binary with nothing of the caller's environment but the search path.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    // One key for all that are started without one of their own, and not this machine's.
    command.env("ROADSTEAD_KEY_FILE", std::env::temp_dir().join("roadstead-tests.key"));
    command
}

/// Runs the binary until it ends by itself, and gives its exit status, stdout and stderr.
///
/// # Panics
/// When it does not end within [`PATIENCE`].
#[must_use]
pub fn run_to_end(command: &mut Command) -> (ExitStatus, String, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let read = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stream.map(|mut stream| stream.read_to_string(&mut text));
            text
        })
    };
    let out = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let err = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (out, err) = (out.join().expect("reads"), err.join().expect("reads"));
    let status = status.unwrap_or_else(|| panic!("it did not end within {PATIENCE:?}:\n{out}\n{err}"));
    (status, out, err)
}

/// There is no portable way to wait for a child with a deadline, so this one looks again and again.
fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + deadline;
    loop {
        match child.try_wait().expect("the child is ours") {
            Some(status) => return Some(status),
            None if Instant::now() > until => return None,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    nodes: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl ServerOptions {
    /// A server for one engine, whose node bears the engine's kind as its name.
    #[must_use]
    pub fn with(engine: &TestEngine) -> Self {
        ServerOptions::default().node(engine.kind(), engine.uri())
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, name: &str, uri: &str) -> Self {
        self.nodes.push(format!("{name}={uri}"));
        self
    }

    /// Adds a command line argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(self) -> Server {
        let state = tempfile::tempdir().expect("a state directory");
        let path = state.path().to_owned();
        Server::start(&self, path, Some(state))
    }

    /// Starts it on a state directory that outlives it.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start_in(self, state: &Path) -> Server {
        Server::start(&self, state.to_owned(), None)
    }
}

/// What the server printed so far, and the news that there is more.
#[derive(Debug, Default)]
struct Printed {
    text: Mutex<(String, usize)>,
    changed: Condvar,
}

impl Printed {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let printed = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut text = printed.text.lock().expect("no reader panicked");
                text.0.push_str(&String::from_utf8_lossy(&line));
                text.0.push('\n');
                printed.changed.notify_all();
            }
            printed.text.lock().expect("no reader panicked").1 += 1;
            printed.changed.notify_all();
        });
    }

    /// Waits until `find` finds something; `None` when both streams have ended or the time is over.
    fn wait<T>(&self, deadline: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + deadline;
        let mut text = self.text.lock().expect("no reader panicked");
        loop {
            if let Some(found) = find(&text.0) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if text.1 == 2 || left.is_zero() {
                return None;
            }
            text = self.changed.wait_timeout(text, left).expect("no reader panicked").0;
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    token: String,
    state: PathBuf,
    _own_state: Option<tempfile::TempDir>,
    printed: Arc<Printed>,
    client: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.terminate();
        if wait(&mut self.child, PATIENCE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- what the server printed ---\n{}--- end ---", self.log());
        }
    }
}

impl Server {
    fn start(options: &ServerOptions, state: PathBuf, own_state: Option<tempfile::TempDir>) -> Self {
        // No certificate is ever looked at here, but the client library wants to know who would.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut command = command();
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).arg("--state-dir").arg(&state);
        command.arg("--key-file").arg(state.join("store.key"));
        for node in &options.nodes {
            command.args(["--node", node]);
        }
        command.args(&options.arguments).envs(options.environment.iter().cloned());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let printed = Arc::new(Printed::default());
        printed.follow(child.stdout.take().expect("piped"));
        printed.follow(child.stderr.take().expect("piped"));
        let address = printed.wait(PATIENCE, |text| {
            // Of its own line only: what it logs meanwhile may hold the addresses of others. A part of a line never gets here.
            text.lines().find_map(|line| line.strip_prefix("Roadstead listens on http://").map(str::to_owned))
        });
        let mut server = Server {
            child,
            address: address.clone().unwrap_or_default(),
            token: String::new(),
            state,
            _own_state: own_state,
            printed,
            client: reqwest::Client::new(),
        };
        assert!(address.is_some(), "the server did not say where it listens");
        server.token = std::fs::read_to_string(server.state.join("admin.token"))
            .expect("the token is there when it listens")
            .trim()
            .to_owned();
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", server.token).parse().expect("a token is a header value"));
        server.client = reqwest::Client::builder()
            .default_headers(headers)
            // A redirect is an answer like any other, and shows in the test.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Well before the server's own keep-alive ends: a connection that it is just closing is not used again.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()
            .expect("a client");
        server
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL of the listener that a dialect has of its own.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn dialect(&self, name: &str) -> String {
        let begin = format!("The dialect {name} listens on ");
        let find = |text: &str| text.lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned));
        self.printed.wait(PATIENCE, find).expect("the dialect has a listener")
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.printed.text.lock().expect("no reader panicked").0.clone()
    }

    /// Waits until it has printed something that holds `text`.
    #[must_use]
    pub fn prints(&self, text: &str) -> bool {
        self.printed.wait(PATIENCE, |printed| printed.contains(text).then_some(())).is_some()
    }

    /// A client that bears the token.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request that bears the token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, self.url(path)).timeout(DEADLINE)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = response.bytes().await.expect("the server answers to the end").to_vec();
        Answer { status, headers, body }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// `POST` without body.
    pub async fn post(&self, path: &str) -> Answer {
        self.send(self.request("POST", path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// Any method with bytes as body.
    pub async fn send_bytes(&self, method: &str, path: &str, media: &str, body: Vec<u8>) -> Answer {
        self.send(self.request(method, path).header("content-type", media).body(body)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// Opens an event stream, after the event `last` when there is one.
    ///
    /// # Panics
    /// When the answer is none.
    pub async fn events(&self, path: &str, last: Option<&str>) -> SseReader {
        let method = Method::GET;
        let mut request = self.client.request(method, self.url(path)).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        SseReader::new(request.send().await.expect("the server answers")).await
    }

    /// A raw request with the token.
    #[must_use]
    pub fn raw(&self, method: &str, target: impl AsRef<[u8]>) -> Request {
        Request::new(method, target).header("Authorization", &format!("Bearer {}", self.token))
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Ends it at once, without a word.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill(&mut self) {
        self.child.kill().expect("it still ran");
        self.child.wait().expect("the child is ours");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[must_use]
    pub fn wait_end(&mut self) -> ExitStatus {
        wait(&mut self.child, PATIENCE).expect("the server ends")
    }
}
