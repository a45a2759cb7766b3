//! The whole story of containers, images, networks and volumes over REST, each on dockerd and on Podman.

mod container;
mod files;
mod images;
mod logs;
mod networks_volumes;

use roadstead_tests::{Answer, Server, TestEngine};
use serde_json::Value;

/// A tar archive with one file of this content, mode 0640.
pub(crate) fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o640);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content).expect("memory takes it");
    archive.into_inner().expect("memory takes it")
}

/// Path of something of a node.
fn on(engine: &TestEngine, rest: &str) -> String {
    format!("/v1/nodes/{}{rest}", engine.kind())
}

/// Creates what `spec` describes, and gives the answer's body.
async fn create(server: &Server, engine: &TestEngine, spec: &Value) -> Value {
    let answer = server.post_json(&on(engine, "/containers"), spec).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    let location = on(engine, &format!("/containers/{}", made["id"].as_str().expect("an id")));
    assert_eq!(answer.header("location"), Some(location.as_str()));
    made
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(answer.body.is_empty());
}
