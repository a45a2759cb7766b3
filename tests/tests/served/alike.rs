//! The same calls on the reference engine and on the same engine behind another server: every error says the same.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use roadstead_core::memory::PRESET_IMAGE;
use roadstead_core::{
    CommitOptions, ContainerSpec, ContainerUpdate, CopyInOptions, DeleteOptions, Error, JobSpec, LogOptions,
    NetworkSpec, Node, PullOptions, RestoreOptions, Result, Signal, SnapshotOptions, StopOptions, VolumeSpec, WaitFor,
};
use roadstead_tests::served::Served;

use crate::{connect, sleeper};

type Call<'a> = (&'static str, BoxFuture<'a, Result<()>>);

/// Calls that are refused, on a node with the containers `created` and `running`.
fn refused(node: &dyn Node) -> Vec<Call<'_>> {
    let on = |id: &str| node.container(id);
    let mut calls: Vec<Call<'_>> = Vec::new();
    macro_rules! call {
        ($name:literal, $work:expr) => {
            calls.push(($name, async move { $work.await.map(drop) }.boxed()))
        };
    }
    let (created, running, missing) = (on("created"), on("running"), on("missing"));
    call!("inspect", missing.inspect());
    let c = created.clone();
    call!("kill", c.kill(Signal::TERM));
    let c = created.clone();
    call!("freeze", c.freeze());
    let c = created.clone();
    call!("stats", c.stats());
    let c = created.clone();
    call!("run", c.run(&JobSpec::new(["true"])));
    let c = running.clone();
    call!("run nothing", c.run(&JobSpec::new([""])));
    let c = running.clone();
    call!("delete", c.delete(&DeleteOptions::default()));
    let c = running.clone();
    call!("rename", c.rename("created"));
    let c = running.clone();
    call!("rename badly", c.rename("a/b"));
    let c = running.clone();
    call!("stop", c.stop(&StopOptions::after_seconds(9999)));
    let c = running.clone();
    let mut small = ContainerUpdate::default();
    small.limits.memory_bytes = Some(1);
    call!("update", async { c.update(&small).await });
    let c = running.clone();
    call!("wait", c.wait(WaitFor::Stopped, Duration::from_millis(50)));
    let c = running.clone();
    call!("commit", c.commit(&CommitOptions::new("a b")));
    let c = running.clone();
    call!("copy_out", c.copy_out("/no/such/file"));
    let c = running.clone();
    call!("copy_out badly", c.copy_out("relative"));
    let c = running.clone();
    let broken = || stream::iter([Ok("no archive".into())]).boxed();
    call!("copy_in", c.copy_in("/", broken(), &CopyInOptions::default()));
    let c = running.clone();
    let mut blind = LogOptions::default();
    (blind.stdout, blind.stderr) = (false, false);
    call!("logs", async { c.logs(&blind).await });
    let c = running.clone();
    call!("restore_snapshot", c.restore_snapshot("missing"));
    let c = running;
    call!("create_snapshot", c.create_snapshot(&SnapshotOptions::new("../x")));
    call!("id", async { node.container("a b").inspect().await });
    call!("create", node.create_container(&sleeper("running")));
    call!("create of nothing", node.create_container(&ContainerSpec::new("localhost/none:none")));
    let mut odd = ContainerSpec::new(PRESET_IMAGE);
    odd.working_directory = Some("relative".to_owned());
    let checked = odd.clone();
    call!("create oddly", async { node.create_container(&odd).await });
    call!("check", async { node.check_container(&checked).await });
    call!("restore", node.restore_container(broken(), &RestoreOptions::default()));
    call!("job", node.job("missing"));
    call!("image", node.inspect_image("localhost/none:none"));
    call!("untag", node.delete_image("localhost/none:none", false));
    call!("pull", async {
        use futures_util::TryStreamExt;
        node.pull_image(&PullOptions::new("registry.example/none:none")).await?.try_collect::<Vec<_>>().await
    });
    call!("network", node.delete_network("missing"));
    call!("make a network", node.create_network(&NetworkSpec::new("a/b")));
    call!("volume", node.inspect_volume("missing"));
    call!("make a volume", node.create_volume(&VolumeSpec::new("")));
    calls
}

/// What a caller can act on. The reference engine leaves it to others to say where something happened.
fn told(error: &Error, with_resource: bool) -> String {
    let facts: Vec<_> = error.context().collect();
    let resource = error.resource().filter(|_| with_resource);
    let (kind, retry, field) = (error.kind(), error.retry(), error.field());
    format!("{kind} {retry:?} field {field:?} resource {resource:?} facts {facts:?}: {}", error.message())
}

async fn furnish(node: &dyn Node) {
    node.create_container(&sleeper("created")).await.unwrap();
    node.create_container(&sleeper("running")).await.unwrap();
    node.container("running").start().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_the_same_from_afar() {
    let server = Served::start(&[("far", "memory:?seed=7")]).await.unwrap();
    let far = connect("afar", &server.uri(server.port(), "")).await.unwrap();
    let near = connect("here", "memory:?seed=7").await.unwrap();
    furnish(&*far).await;
    furnish(&*near).await;
    let mut unlike = Vec::new();
    for ((name, here), (_, there)) in refused(&*near).into_iter().zip(refused(&*far)) {
        let (here, there) = (here.await.expect_err(name), there.await.expect_err(name));
        assert_eq!(there.node(), Some("afar"), "{name}: {there:?}");
        assert!(there.operation().is_some(), "{name}: {there:?}");
        let named = here.resource().is_some();
        let (here, there) = (told(&here, named), told(&there, named));
        if here != there {
            unlike.push(format!("{name}\n  near: {here}\n  far:  {there}"));
        }
    }
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    server.end().await.unwrap();
}
