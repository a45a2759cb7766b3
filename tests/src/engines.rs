//! The real engines: where they are, how to ask them directly, and instances of a test's own that it may break.
//!
//! What a test claims about an engine it reads from the engine's own socket, past the program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::died;
use crate::left_out::left_out;
use crate::raw::{Answer, DEADLINE, Request};

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The image that every test engine has.
#[must_use]
pub fn image() -> String {
    variable("ROADSTEAD_TEST_IMAGE").unwrap_or_else(|| "roadstead/busybox:latest".to_owned())
}

/// The dockerd that all tests share; noted as left out when there is none.
#[must_use]
pub fn docker() -> Option<TestEngine> {
    shared("docker", "ROADSTEAD_TEST_DOCKER_URI")
}

/// The Podman service that all tests share; noted as left out when there is none.
#[must_use]
pub fn podman() -> Option<TestEngine> {
    shared("podman", "ROADSTEAD_TEST_PODMAN_URI")
}

/// The LXD that all tests share; noted as left out when there is none.
#[must_use]
pub fn lxd() -> Option<TestEngine> {
    shared("lxd", "ROADSTEAD_TEST_LXD_URI")
}

/// The other LXD that all tests share, for what moves between two; noted as left out when there is none.
#[must_use]
pub fn lxd_second() -> Option<TestEngine> {
    shared("lxd", "ROADSTEAD_TEST_LXD_SECOND_URI")
}

/// The Incus that all tests share; noted as left out when there is none.
#[must_use]
pub fn incus() -> Option<TestEngine> {
    shared("incus", "ROADSTEAD_TEST_INCUS_URI")
}

/// The core0 that all tests share; noted as left out when there is none.
#[must_use]
pub fn core0() -> Option<TestEngine> {
    shared("core0", "ROADSTEAD_TEST_CORE0_URI")
}

/// The file that containers of a core0 are made of.
///
/// # Panics
/// When there is none, though there is a core0.
#[must_use]
pub fn flist() -> String {
    variable("ROADSTEAD_TEST_CORE0_FLIST").expect("ROADSTEAD_TEST_CORE0_FLIST")
}

/// Host and port of the local image registry; noted as left out when there is none.
#[must_use]
pub fn registry() -> Option<String> {
    let found = variable("ROADSTEAD_TEST_REGISTRY");
    if found.is_none() {
        left_out("needs the image registry (ROADSTEAD_TEST_REGISTRY)");
    }
    found
}

fn shared(kind: &'static str, name: &str) -> Option<TestEngine> {
    let Some(uri) = variable(name) else {
        left_out(&format!("needs {kind} ({name})"));
        return None;
    };
    let engine = TestEngine::at(kind, uri);
    died::revive(kind, engine.socket());
    Some(engine)
}

/// The shared engine of which `column` is one way, such as `lxd-tls`; nothing is noted when there is none.
pub(crate) fn behind(column: &str) -> Option<TestEngine> {
    let kinds = ["docker", "podman", "lxd", "incus", "core0"];
    let kind = kinds.into_iter().find(|kind| column.split('-').next() == Some(kind))?;
    let name = format!("ROADSTEAD_TEST_{}_URI", kind.to_uppercase());
    variable(&name).and_then(|_| shared(kind, &name))
}

/// A real engine.
#[derive(Clone, Debug)]
pub struct TestEngine {
    kind: &'static str,
    uri: String,
    socket: PathBuf,
    prefix: String,
}

impl TestEngine {
    fn at(kind: &'static str, uri: String) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = uri.split_once("://").map(|(_, path)| PathBuf::from(path)).expect("the URI names a socket");
        let prefix = format!("rt{}x{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        TestEngine { kind, uri, socket, prefix }
    }

    /// `docker`, `podman`, `lxd`, `incus` or `core0`; also the name of its node in tests.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its URI for the server.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it speaks the REST protocol of LXD, else that of Docker.
    pub(crate) fn speaks_lxd(&self) -> bool {
        matches!(self.kind, "lxd" | "incus")
    }

    /// What all names of this handle begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A name that no other test uses.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// Asks the engine itself.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::new(method, target);
        if let Some(body) = body {
            request = request.json(body);
        }
        request
            .send_unix(&self.socket)
            .unwrap_or_else(|error| panic!("{method} {target} on {}: {error}", self.socket.display()))
    }

    /// Asks the engine itself for a JSON document.
    ///
    /// # Panics
    /// When it does not answer with one.
    #[must_use]
    pub fn get(&self, target: &str) -> Value {
        self.ask("GET", target, None).expect(200).json()
    }

    /// Creates a container from the test image past the program under test, and gives its id: its name, on LXD and Incus.
    ///
    /// # Panics
    /// When the engine refuses.
    #[must_use]
    pub fn create(&self, name: &str, command: &[&str]) -> String {
        if self.speaks_lxd() {
            return self.create_instance(name, Some(command));
        }
        let body = json!({"Image": image(), "Cmd": command, "HostConfig": {"NetworkMode": "none"}});
        let made = self.ask("POST", &format!("/containers/create?name={name}"), Some(&body)).expect(201).json();
        made["Id"].as_str().expect("an id").to_owned()
    }

    /// Creates and starts a container that runs until it is told to end, and gives its id.
    ///
    /// # Panics
    /// When the engine refuses.
    #[must_use]
    pub fn run(&self, name: &str) -> String {
        if self.speaks_lxd() {
            return self.run_instance(name);
        }
        // busybox's sleep is process 1 and would ignore SIGTERM without a handler.
        let id = self.create(name, &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]);
        let answer = self.ask("POST", &format!("/containers/{id}/start"), None);
        assert_eq!(answer.status, 204, "{}", answer.text());
        id
    }

    /// Everything that a call could have changed: containers with their states, images, networks and volumes.
    ///
    /// # Panics
    /// When the engine does not answer.
    #[must_use]
    pub fn snapshot(&self) -> Value {
        if self.speaks_lxd() {
            return self.snapshot_lxd();
        }
        let pick = |list: Value, members: &[&str]| -> Vec<String> {
            let mut lines: Vec<String> = list
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| {
                    let mut parts: Vec<String> = members
                        .iter()
                        .map(|member| match &item[*member] {
                            Value::Array(words) => {
                                let mut words: Vec<String> = words.iter().map(Value::to_string).collect();
                                words.sort();
                                words.join(",")
                            }
                            other => other.to_string(),
                        })
                        .collect();
                    parts.retain(|part| part != "null");
                    parts.join(" ")
                })
                .collect();
            lines.sort();
            lines
        };
        json!({
            "containers": pick(self.get("/containers/json?all=true"), &["Id", "Names", "State", "Image", "ImageID"]),
            "images": pick(self.get("/images/json"), &["Id", "RepoTags"]),
            "networks": pick(self.get("/networks"), &["Id", "Name"]),
            "volumes": pick(self.get("/volumes")["Volumes"].clone(), &["Name"]),
        })
    }

    /// Deletes whatever bears the prefix of this handle.
    fn clean(&self) {
        if self.speaks_lxd() {
            self.clean_lxd();
            return;
        }
        let each = |target: &str, member: &str| -> Vec<String> {
            let Ok(answer) = Request::new("GET", target).send_unix(&self.socket) else { return Vec::new() };
            let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let list = if list["Volumes"].is_array() { list["Volumes"].clone() } else { list };
            list.as_array()
                .into_iter()
                .flatten()
                .flat_map(|item| match &item[member] {
                    Value::Array(names) => names.clone(),
                    other => vec![other.clone()],
                })
                .filter_map(|name| name.as_str().map(|name| name.trim_start_matches('/').to_owned()))
                .filter(|name| name.contains(&self.prefix))
                .collect()
        };
        let containers = each("/containers/json?all=true", "Names");
        // Several at once: an engine takes a while over each.
        std::thread::scope(|scope| {
            for names in containers.chunks(containers.len().div_ceil(4).max(1)) {
                scope.spawn(move || {
                    for name in names {
                        let target = format!("/containers/{name}?force=true&v=true");
                        let _ = Request::new("DELETE", target).send_unix(&self.socket);
                    }
                });
            }
        });
        for name in each("/images/json", "RepoTags") {
            let _ = Request::new("DELETE", format!("/images/{name}?force=true")).send_unix(&self.socket);
        }
        for name in each("/networks", "Name") {
            let _ = Request::new("DELETE", format!("/networks/{name}")).send_unix(&self.socket);
        }
        for name in each("/volumes", "Name") {
            let _ = Request::new("DELETE", format!("/volumes/{name}?force=true")).send_unix(&self.socket);
        }
    }

    /// Deletes whatever bears the prefix of this handle when the guard is dropped, however the test ends.
    #[must_use]
    pub fn cleaner(&self) -> Cleaner {
        Cleaner(self.clone())
    }
}

/// See [`TestEngine::cleaner`].
#[derive(Debug)]
pub struct Cleaner(TestEngine);

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.0.clean();
    }
}

/// An engine of a test's own, which it may kill. It is stopped, and all it holds deleted, when dropped.
#[derive(Debug)]
pub struct OwnEngine {
    engine: TestEngine,
    instance: String,
}

impl OwnEngine {
    /// Starts a dockerd of its own; noted as left out where engines are not to be had.
    #[must_use]
    pub fn docker(instance: &str) -> Option<Self> {
        docker().and_then(|_| Self::start("docker", instance))
    }

    /// Starts a Podman service of its own; noted as left out where engines are not to be had.
    #[must_use]
    pub fn podman(instance: &str) -> Option<Self> {
        podman().and_then(|_| Self::start("podman", instance))
    }

    /// Starts an LXD of its own; noted as left out where engines are not to be had.
    #[must_use]
    pub fn lxd(instance: &str) -> Option<Self> {
        lxd().and_then(|_| Self::start("lxd", instance))
    }

    /// Starts an Incus of its own; noted as left out where engines are not to be had.
    #[must_use]
    pub fn incus(instance: &str) -> Option<Self> {
        incus().and_then(|_| Self::start("incus", instance))
    }

    /// Starts a core0 of its own; noted as left out where engines are not to be had.
    #[must_use]
    pub fn core0(instance: &str) -> Option<Self> {
        core0().and_then(|_| Self::start("core0", instance))
    }

    /// Runs another verb of the engine's script; gives what it says.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn verb(&self, verb: &str) -> String {
        let done = script(self.engine.kind, verb, &self.instance);
        must(&done);
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    fn start(kind: &'static str, instance: &str) -> Option<Self> {
        let started = script(kind, "start", instance);
        if !started.status.success() {
            let reason = String::from_utf8_lossy(&started.stderr);
            left_out(&format!("{kind} {instance} does not start: {}", reason.lines().last().unwrap_or_default()));
            return None;
        }
        let uri = script(kind, "uri", instance);
        let uri = String::from_utf8(uri.stdout).expect("a URI is text").trim().to_owned();
        Some(OwnEngine { engine: TestEngine::at(kind, uri), instance: instance.to_owned() })
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &TestEngine {
        &self.engine
    }

    /// Kills the daemon with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        must(&script(self.engine.kind, "kill", &self.instance));
    }

    /// Stops the daemon in place until the guard is dropped.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let file = self.engine.socket.with_file_name(format!("{}.pid", self.engine.kind));
        let pid = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        freeze(pid.unwrap_or_else(|| panic!("no process id in {}", file.display())))
    }

    /// Starts the daemon again.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        must(&script(self.engine.kind, "start", &self.instance));
    }
}

/// Stops a process in place until the guard is dropped.
pub(crate) fn freeze(pid: i32) -> Frozen {
    let pid = Pid::from_raw(pid);
    kill(pid, Signal::SIGSTOP).expect("the daemon runs");
    let frozen = Frozen(pid);
    // The call returns before every thread has stopped.
    let until = Instant::now() + DEADLINE;
    while !stopped(pid) {
        assert!(Instant::now() < until, "the daemon does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
    frozen
}

/// Whether every thread of the process is stopped.
fn stopped(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon runs");
    threads.flatten().all(|thread| {
        // The state is the word after the name, which stands in brackets.
        std::fs::read_to_string(thread.path().join("stat"))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    })
}

/// See [`OwnEngine::freeze`].
#[derive(Debug)]
pub struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        let stopped = script(self.engine.kind, "stop", &self.instance);
        if !stopped.status.success() {
            eprintln!("{} {}: {}", self.engine.kind, self.instance, String::from_utf8_lossy(&stopped.stderr));
        }
    }
}

pub(crate) fn must(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn script(kind: &str, verb: &str, instance: &str) -> Output {
    script_with(kind, &[verb, instance])
}

pub(crate) fn script_with(kind: &str, arguments: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines").join(kind);
    // The daemons keep the descriptors that they are given, so they get none of the test's own.
    Command::new(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
