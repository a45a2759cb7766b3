//! Bad input over REST: each case gets the right problem document, and nothing changes on the engine.
//!
//! The cases run against engines of their own, so that whatever differs between the two snapshots is theirs: no filter
//! by name could show a container that was made under a name nobody asked for.

mod containers;
mod http;
mod resources;
mod runtime;

use roadstead_tests::engines::{OwnEngine, image};
use roadstead_tests::{Answer, Request, Server, ServerOptions, TestEngine};
use serde_json::{Value, json};

/// One request that must be refused.
#[derive(Debug)]
struct Case {
    name: &'static str,
    method: &'static str,
    target: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    token: bool,
    status: u16,
    code: &'static str,
    field: Option<&'static str>,
    header: Option<&'static str>,
    unsupported: Option<&'static str>,
}

impl Case {
    fn new(name: &'static str, method: &'static str, target: impl AsRef<[u8]>) -> Self {
        Case {
            name,
            method,
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: None,
            token: true,
            status: 400,
            code: "invalid_input",
            field: None,
            header: None,
            unsupported: None,
        }
    }

    fn json(self, body: &Value) -> Self {
        self.typed("application/json", body.to_string())
    }

    fn typed(self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.with("Content-Type", media).body(body)
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn anonymous(mut self) -> Self {
        self.token = false;
        self
    }

    /// The field that `invalid_input` names.
    fn names(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Status and code, where they are not 400 and `invalid_input`.
    fn gives(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, code);
        self
    }

    fn not_found(self) -> Self {
        self.gives(404, "not_found")
    }

    fn conflict(self) -> Self {
        self.gives(409, "conflict")
    }

    fn taken(self) -> Self {
        self.gives(409, "already_exists")
    }

    /// A header that the answer must have.
    fn has(mut self, header: &'static str) -> Self {
        self.header = Some(header);
        self
    }

    /// What this engine cannot do at all it refuses before it looks at the rest.
    fn unsupported_on(mut self, kind: &'static str) -> Self {
        self.unsupported = Some(kind);
        self
    }

    fn send(&self, server: &Server) -> std::io::Result<Answer> {
        let mut request =
            if self.token { server.raw(self.method, &self.target) } else { Request::new(self.method, &self.target) };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        request.send_tcp(server.address())
    }

    fn check(&self, server: &Server) -> Result<(), String> {
        let answer = self.send(server).map_err(|error| format!("no answer: {error}"))?;
        answer.problem(self.status, self.code, self.field)?;
        if let Some(header) = self.header.filter(|header| answer.header(header).is_none()) {
            return Err(format!("no header {header}: {:?}", answer.headers));
        }
        let text = format!("{:?} {}", answer.headers, answer.text());
        for secret in [server.token(), SECRET] {
            if text.contains(secret) {
                return Err(format!("it tells a secret: {text}"));
            }
        }
        Ok(())
    }
}

/// Stands wherever a case gives a secret; must never come back.
const SECRET: &str = "hunter2-is-a-secret";

/// What the cases find on the engine.
#[derive(Debug)]
struct Scene {
    /// Path of the node.
    node: String,
    /// Path of its containers.
    containers: String,
    /// Name of a running container.
    running: String,
    /// Name of a container that was never started.
    created: String,
    /// Name of a frozen container.
    frozen: String,
    /// Name of a network that the running container is on.
    network: String,
    /// Name of a volume that the running container uses.
    volume: String,
    /// Reference of the only image.
    image: String,
}

impl Scene {
    fn of_node(node: &str, image: &str) -> Self {
        Scene {
            node: format!("/v1/nodes/{node}"),
            containers: format!("/v1/nodes/{node}/containers"),
            running: "rt-running".to_owned(),
            created: "rt-created".to_owned(),
            frozen: "rt-frozen".to_owned(),
            network: "rt-network".to_owned(),
            volume: "rt-volume".to_owned(),
            image: image.to_owned(),
        }
    }

    /// Past the program under test.
    fn set(engine: &TestEngine) -> Self {
        let scene = Scene::of_node(engine.kind(), &image());
        let network = json!({"Name": scene.network, "CheckDuplicate": true});
        assert_eq!(engine.ask("POST", "/networks/create", Some(&network)).status, 201);
        assert_eq!(engine.ask("POST", "/volumes/create", Some(&json!({"Name": scene.volume}))).status, 201);
        let running = json!({
            "Image": scene.image,
            "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
            "HostConfig": {"NetworkMode": scene.network, "Binds": [format!("{}:/data", scene.volume)]},
        });
        let target = format!("/containers/create?name={}", scene.running);
        let made = engine.ask("POST", &target, Some(&running));
        assert_eq!(made.status, 201, "{}", made.text());
        let started = engine.ask("POST", &format!("/containers/{}/start", scene.running), None);
        assert_eq!(started.status, 204, "{}", started.text());
        let _ = engine.create(&scene.created, &["true"]);
        let _ = engine.run(&scene.frozen);
        assert_eq!(engine.ask("POST", &format!("/containers/{}/pause", scene.frozen), None).status, 204);
        scene
    }

    /// Where there is no other way in.
    fn set_over_rest(server: &Server) -> Self {
        let scene = Scene::of_node("memory", roadstead_core::memory::PRESET_IMAGE);
        let post = |path: &str, body: &Value| {
            let answer = server.raw("POST", path).json(body).send_tcp(server.address()).expect("the server answers");
            assert!(answer.status < 300, "{path}: {}", answer.text());
        };
        let create = |name: &str, rest: Value| {
            let mut spec = json!({"image": scene.image, "name": name, "command": ["sleep", "1000"]});
            spec.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
            post(&scene.containers, &spec);
        };
        post(&format!("{}/networks", scene.node), &json!({"name": scene.network}));
        post(&format!("{}/volumes", scene.node), &json!({"name": scene.volume}));
        let mount = json!({"type": "volume", "source": scene.volume, "target": "/data"});
        create(&scene.running, json!({"networks": [{"network": scene.network}], "mounts": [mount]}));
        create(&scene.created, json!({}));
        create(&scene.frozen, json!({}));
        post(&scene.of(&scene.running, "/start"), &json!({}));
        post(&scene.of(&scene.frozen, "/start"), &json!({}));
        post(&scene.of(&scene.frozen, "/freeze"), &json!({}));
        scene
    }

    /// Path of something of a container.
    fn of(&self, container: &str, rest: &str) -> String {
        format!("{}/{container}{rest}", self.containers)
    }

    fn cases(&self, kind: &str) -> Vec<Case> {
        let mut cases = containers::cases(self);
        cases.extend(runtime::cases(self));
        cases.extend(resources::cases(self));
        cases.extend(http::cases(self));
        for case in cases.iter_mut().filter(|case| case.unsupported == Some(kind)) {
            (case.status, case.code, case.field) = (501, "unsupported", None);
        }
        cases
    }
}

/// All cases are tried, and all complaints told at once.
fn check(server: &Server, scene: &Scene, kind: &str, snapshot: impl Fn() -> Value) {
    let cases = scene.cases(kind);
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    let mut before = snapshot();
    let mut complaints = Vec::new();
    for case in &cases {
        if let Err(complaint) = case.check(server) {
            complaints.push(format!("{}: {complaint}", case.name));
        }
        let after = snapshot();
        if after != before {
            complaints.push(format!("{}: changed the engine from {before} to {after}", case.name));
            before = after;
        }
    }
    assert!(!server.log().contains(server.token()), "the token stands in the log");
    assert!(!server.log().contains(SECRET), "a secret stands in the log");
    let healthy = Request::new("GET", "/healthz").send_tcp(server.address()).expect("the server is still there");
    assert_eq!(healthy.status, 200);
    assert!(
        complaints.is_empty(),
        "{} of {} cases on {kind}:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
}

/// Against an engine of this test's own.
fn check_on(own: &OwnEngine) {
    let engine = own.engine();
    let scene = Scene::set(engine);
    let server = ServerOptions::with(engine).start();
    check(&server, &scene, engine.kind(), || engine.snapshot());
}

#[test]
fn is_refused_and_changes_nothing_on_docker() {
    if let Some(own) = OwnEngine::docker("bad-input") {
        check_on(&own);
    }
}

#[test]
fn is_refused_and_changes_nothing_on_podman() {
    if let Some(own) = OwnEngine::podman("bad-input") {
        check_on(&own);
    }
}

#[test]
fn is_refused_and_changes_nothing_in_memory() {
    let server = ServerOptions::default().node("memory", "memory:").start();
    let scene = Scene::set_over_rest(&server);
    let snapshot = || {
        ["containers", "images", "networks", "volumes"]
            .map(|list| {
                let path = format!("{}/{list}", scene.node);
                let answer = server.raw("GET", path).send_tcp(server.address()).expect("the server answers");
                answer.expect(200).json()["items"].clone()
            })
            .into()
    };
    check(&server, &scene, "memory", snapshot);
}

/// A tar archive with one file of these bytes.
fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // Names which the library refuses to write go in by hand.
    header.as_gnu_mut().expect("a GNU header").name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, content).expect("memory takes it");
    archive.into_inner().expect("memory takes it")
}
