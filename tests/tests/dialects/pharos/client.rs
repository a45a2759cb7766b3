//! A session of a client that is written as the old command line client is, against the dialect.

use std::process::{Command, Stdio};

use roadstead_tests::dialects::Outcome;

use super::scene::{Engine, Scene, WAITS};

pub(super) async fn session(engine: Engine) -> Outcome {
    let capabilities = engine.capabilities().await;
    if !capabilities.events || !capabilities.node_processes {
        return Outcome::NotOffered("the engine tells no events, or does not list processes".to_owned());
    }
    let scene = Scene::new(&engine).await;
    let settled = scene.stream("/events/stream", None).await;
    let made = scene.run("e08", WAITS).await;
    scene.sampled(&made).await;
    drop(settled);
    scene
        .soon("its start is written down", async || {
            let list = scene.read(&format!("/events?status=start&id={}", made.id)).await;
            (list["n"] != 0).then_some(())
        })
        .await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dialects/pharos_client.py");
    let mut command = Command::new("python3");
    command.args([script, scene.base(), &made.id, &made.name]).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("python3 runs");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    assert!(out.ends_with("the session is over\n"), "{out}");
    scene.end().await;
    Outcome::Shown
}
