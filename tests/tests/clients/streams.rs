//! The main process's output and terminal.

use bytes::Bytes;
use futures_util::StreamExt;
use roadstead_core::{AttachOptions, LogOptions, StopOptions, TerminalSize};

use crate::scene::{SOON, Scene, soon};

async fn our_log(scene: &Scene, name: &str) -> String {
    let mut records = scene.container(name).logs(&LogOptions::default()).await.expect("we read the log");
    let mut bytes = Vec::new();
    while let Some(record) = records.next().await {
        bytes.extend_from_slice(&record.expect("it goes on").data);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn their_log(scene: &Scene, name: &str) -> String {
    scene.client(&["console", name, "--show-log"])
}

/// Their client is the first to read: who reads the console of a running container takes away what was written so far.
pub(crate) async fn they_read_the_console(scene: &Scene) {
    let container =
        scene.we_run_as(&scene.spec("c").command(["sh", "-c", "echo from our container; sleep 4321"])).await;
    soon("it has written", async || scene.they_run(container.id(), "ps").contains("sleep 4321").then_some(())).await;
    container.stop(&StopOptions::after_seconds(0)).await.expect("we stop it");
    let log = their_log(scene, container.id());
    assert!(log.contains("from our container"), "{log:?}");
}

/// The main process of what they made is a script of theirs.
pub(crate) async fn we_read_the_console(scene: &Scene) {
    let name = scene.they_init_with("c", &["-c", "raw.lxc=lxc.init.cmd = /bin/sh /script"]);
    scene.they_push(&name, "/script", "echo from their container; sleep 4321\n", &[]);
    let _ = scene.client(&["start", &name]);
    soon("it has written", async || scene.they_run(&name, "ps").contains("sleep 4321").then_some(())).await;
    let log = our_log(scene, &name).await;
    assert_eq!(log.trim_end().lines().last().map(str::trim_end), Some("from their container"), "{log:?}");
}

/// What we type into the main process, they see done.
pub(crate) async fn we_type(scene: &Scene) {
    // A shell with a prompt would edit lines, and forget what was typed before it began to.
    let mut spec = scene.spec("c").command(["sh", "-c", "read line; echo \"$line\" >/typed; sleep 4321"]);
    (spec.tty, spec.stdin) = (true, true);
    let container = scene.we_run_as(&spec).await;
    let mut options = AttachOptions::default();
    options.stdin = true;
    let mut attachment = container.attach(&options).await.expect("we attach");
    let input = attachment.input.as_mut().expect("it has an input");
    input.write(Bytes::from_static(b"typed\n")).await.expect("we type");
    // What was typed is shown once the terminal has it.
    let mut shown = Vec::new();
    while !shown.windows(5).any(|piece| piece == b"typed") {
        let piece = tokio::time::timeout(SOON, attachment.output.next()).await.expect("it is shown");
        shown.extend_from_slice(&piece.expect("the output goes on").expect("no error").data);
    }
    soon("they see it done", async || {
        let seen = scene.they_run(container.id(), "cat /typed 2>/dev/null || true");
        (seen == "typed\n").then_some(())
    })
    .await;
}

pub(crate) async fn we_resize(scene: &Scene) {
    let mut spec = scene.spec("c").command(["sh"]);
    (spec.tty, spec.stdin) = (true, true);
    let container = scene.we_run_as(&spec).await;
    let _attachment = container.attach(&AttachOptions::default()).await.expect("we attach");
    container.resize(TerminalSize { columns: 111, rows: 33 }).await.expect("we resize");
    soon("they see the size", async || {
        let size = scene.they_run(container.id(), "stty size </dev/console");
        (size == "33 111\n").then_some(())
    })
    .await;
}
