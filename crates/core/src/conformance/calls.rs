//! Clauses that hold for every call: what does not exist, what the engine cannot do, bad input.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::check::{Check, Failure, SOON, ensure, equal, failed, refused};
use super::declare;
use super::scene::{SLEEP, Scene, details};
use super::tar::{self, File};
use crate::capabilities::Capability;
use crate::container::{
    AttachOptions, BackupOptions, CommitOptions, Container, ContainerSpec, ContainerUpdate, CopyInOptions,
    DeleteOptions, HealthCheck, Limits, LogOptions, Mount, MountKind, PortMapping, Protocol, RestartPolicy,
    RestoreOptions, SnapshotOptions, StopOptions, WaitFor,
};
use crate::copy::{CopyOptions, CopyTransport};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ImportOptions, PullOptions};
use crate::job::{Job, JobSpec};
use crate::network::NetworkSpec;
use crate::node::{EventOptions, Node};
use crate::signal::Signal;
use crate::stream::TerminalSize;
use crate::volume::VolumeSpec;

declare! {
    N3 "node: what the engine cannot do is Unsupported" [] + Outage unsupported_by_the_node;
    C1 "container: what does not exist is NotFound" [] not_found;
    C2 "container: what the engine cannot do is Unsupported" [] + Outage unsupported_by_containers;
    C3 "container: bad input is InvalidInput and changes nothing" [Create] bad_input;
}

/// A call by name, with the capability that it needs.
type Call<'a> = (&'static str, Option<Capability>, BoxFuture<'a, Result<()>>);

fn archive() -> crate::ByteStream {
    tar::stream_of(tar::write(&[File::new("file", 0o644, "text")]))
}

/// Every call on a container, with arguments that make sense.
fn container_calls<'a>(container: &'a Arc<dyn Container>, scene: &Scene) -> Vec<Call<'a>> {
    use Capability as Can;
    let c = container;
    let name = scene.name("renamed");
    let image = CommitOptions::new(scene.image_name("committed"));
    let changes = ContainerUpdate::limits(Limits { pids: Some(50), ..Limits::default() });
    let snapshot = SnapshotOptions::new("one");
    let size = TerminalSize { columns: 80, rows: 24 };
    vec![
        ("inspect", None, async { c.inspect().await.map(drop) }.boxed()),
        ("start", None, async { c.start().await }.boxed()),
        ("stop", None, async { c.stop(&StopOptions::default()).await }.boxed()),
        ("restart", Some(Can::Restart), async { c.restart(&StopOptions::default()).await }.boxed()),
        ("kill", Some(Can::Kill), async { c.kill(Signal::KILL).await }.boxed()),
        ("freeze", Some(Can::Freeze), async { c.freeze().await }.boxed()),
        ("unfreeze", Some(Can::Freeze), async { c.unfreeze().await }.boxed()),
        ("rename", Some(Can::Rename), async move { c.rename(&name).await }.boxed()),
        ("update", Some(Can::Update), async move { c.update(&changes).await }.boxed()),
        ("delete", Some(Can::Create), async { c.delete(&DeleteOptions::default()).await }.boxed()),
        ("wait", Some(Can::Wait), async { c.wait(WaitFor::Stopped, SOON).await.map(drop) }.boxed()),
        ("commit", Some(Can::Commit), async move { c.commit(&image).await.map(drop) }.boxed()),
        ("export", Some(Can::Export), async { c.export().await.map(drop) }.boxed()),
        ("snapshots", Some(Can::Snapshots), async { c.snapshots().await.map(drop) }.boxed()),
        ("create_snapshot", Some(Can::Snapshots), async move { c.create_snapshot(&snapshot).await.map(drop) }.boxed()),
        ("restore_snapshot", Some(Can::Snapshots), async { c.restore_snapshot("one").await }.boxed()),
        ("delete_snapshot", Some(Can::Snapshots), async { c.delete_snapshot("one").await }.boxed()),
        ("backup", Some(Can::Backups), async { c.backup(&BackupOptions::default()).await.map(drop) }.boxed()),
        ("copy_out", Some(Can::Files), async { c.copy_out("/bin").await.map(drop) }.boxed()),
        ("copy_in", Some(Can::Files), async { c.copy_in("/", archive(), &CopyInOptions::default()).await }.boxed()),
        ("logs", Some(Can::Logs), async { c.logs(&LogOptions::default()).await.map(drop) }.boxed()),
        ("attach", Some(Can::Attach), async { c.attach(&AttachOptions::default()).await.map(drop) }.boxed()),
        ("resize", Some(Can::Attach), async move { c.resize(size).await }.boxed()),
        ("stats", Some(Can::Stats), async { c.stats().await.map(drop) }.boxed()),
        ("processes", Some(Can::Processes), async { c.processes().await.map(drop) }.boxed()),
        ("run", Some(Can::Jobs), async { c.run(&JobSpec::new(SLEEP)).await.map(drop) }.boxed()),
        ("jobs", Some(Can::Jobs), async { c.jobs().await.map(drop) }.boxed()),
    ]
}

async fn not_found(scene: &Scene) -> Check {
    let name = scene.name("missing");
    let id = "0123456789abcdef".repeat(4);
    for missing in [name, id] {
        let container = scene.node().container(&missing);
        equal("the id of the handle", container.id(), missing.as_str())?;
        for (call, needs, answer) in container_calls(&container, scene) {
            if needs.is_some_and(|capability| !scene.has(capability)) {
                continue;
            }
            let error = refused(call, answer.await, ErrorKind::NotFound)?;
            equal(&format!("the resource named by {call}"), error.resource(), Some(missing.as_str()))?;
        }
    }
    Ok(())
}

/// The node, if possible after its engine has gone: what needs to ask the engine fails otherwise than `Unsupported`.
fn unasked(scene: &Scene) -> &dyn Node {
    match &scene.fixture.outage {
        Some(outage) => {
            outage.cut();
            &*outage.node
        }
        None => scene.node(),
    }
}

async fn unsupported_by_containers(scene: &Scene) -> Check {
    let missing = unasked(scene).container(&scene.name("missing"));
    let mut tried = all_unsupported(scene, container_calls(&missing, scene)).await?;
    if scene.has(Capability::Logs) && !scene.has(Capability::LogTimes) {
        let dated = LogOptions { timestamps: true, ..LogOptions::default() };
        refused("log_times", missing.logs(&dated).await.map(drop), ErrorKind::Unsupported)?;
        tried += 1;
    }
    // Parts of snapshots that an engine may lack.
    for (capability, options) in demanding_snapshots() {
        if scene.has(Capability::Snapshots) && !scene.has(capability) {
            refused(capability.name(), missing.create_snapshot(&options).await, ErrorKind::Unsupported)?;
            tried += 1;
        }
    }
    if !scene.has(Capability::Jobs) {
        return anything(tried);
    }
    // Parts of jobs that an engine may lack.
    for (capability, spec) in [
        (Capability::JobStdin, JobSpec::new(SLEEP).with_stdin()),
        (Capability::JobTty, JobSpec::new(SLEEP).with_terminal(TerminalSize { columns: 80, rows: 24 })),
    ] {
        if !scene.has(capability) {
            refused(capability.name(), missing.run(&spec).await, ErrorKind::Unsupported)?;
            tried += 1;
        }
    }
    if !scene.has(Capability::JobKill) && scene.has(Capability::Create) {
        let container = scene.running("c").await?;
        let job: Arc<dyn Job> = container.run(&JobSpec::new(SLEEP)).await?;
        refused("kill a job", job.kill(Signal::KILL).await, ErrorKind::Unsupported)?;
        tried += 1;
    }
    anything(tried)
}

/// Makes the calls whose capability is lacking; gives how many there were.
async fn all_unsupported(scene: &Scene, calls: Vec<Call<'_>>) -> Check<usize> {
    let mut tried = 0;
    for (call, needs, answer) in calls {
        if needs.is_some_and(|capability| !scene.has(capability)) {
            refused(call, answer.await, ErrorKind::Unsupported)?;
            tried += 1;
        }
    }
    Ok(tried)
}

/// Nothing is proven by an engine on which there was no call to make.
fn anything(tried: usize) -> Check {
    if tried == 0 { Err(Failure::Gated("nothing is lacking".to_owned())) } else { Ok(()) }
}

/// Snapshots that need a capability beyond that of making any.
fn demanding_snapshots() -> [(Capability, SnapshotOptions); 2] {
    let later = crate::Timestamp::now().saturating_add(Duration::from_secs(24 * 60 * 60));
    [
        (Capability::SnapshotsStateful, SnapshotOptions { stateful: true, ..SnapshotOptions::new("one") }),
        (Capability::SnapshotsExpire, SnapshotOptions { expires_at: Some(later), ..SnapshotOptions::new("one") }),
    ]
}

/// Specs that need a capability beyond that of creating.
fn demanding_specs(scene: &Scene) -> Vec<(Capability, ContainerSpec)> {
    let mut specs = Vec::new();
    let mut add = |capability, change: &dyn Fn(&mut ContainerSpec)| {
        let mut spec = scene.spec("demanding");
        change(&mut spec);
        specs.push((capability, spec));
    };
    add(Capability::LimitMemory, &|spec| spec.limits.memory_bytes = Some(64 << 20));
    add(Capability::LimitSwap, &|spec| {
        spec.limits.memory_bytes = Some(64 << 20);
        spec.limits.swap_bytes = Some(0);
    });
    add(Capability::LimitCpu, &|spec| spec.limits.cpus = Some(0.5));
    add(Capability::LimitPids, &|spec| spec.limits.pids = Some(50));
    add(Capability::RestartPolicy, &|spec| spec.restart = RestartPolicy::Always);
    add(Capability::HealthCheck, &|spec| spec.health_check = Some(HealthCheck::new(["true"])));
    add(Capability::Ports, &|spec| {
        spec.ports =
            vec![PortMapping { container_port: 80, host_port: None, host_address: None, protocol: Protocol::Tcp }];
    });
    add(Capability::Mounts, &|spec| {
        spec.mounts = vec![Mount {
            kind: MountKind::Tmpfs,
            source: None,
            target: "/scratch".to_owned(),
            read_only: false,
            size_bytes: None,
        }];
    });
    add(Capability::Privileges, &|spec| spec.privileged = true);
    add(Capability::Privileges, &|spec| spec.capabilities_drop = vec!["CHOWN".to_owned()]);
    specs
}

async fn unsupported_by_the_node(scene: &Scene) -> Check {
    use Capability as Can;
    let node = unasked(scene);
    let spec = scene.spec("c");
    let image = scene.fixture.image.as_str();
    let references = [image.to_owned()];
    let (network, volume) = (NetworkSpec::new(scene.network_name("n")), VolumeSpec::new(scene.volume_name("v")));
    let (imported, tagged) = (ImportOptions::new(scene.image_name("imported")), scene.image_name("tagged"));
    let pull = PullOptions::new(&scene.fixture.missing_image);
    let copy = CopyOptions::new("any", scene.name("copy"), CopyTransport::Local);
    let since = EventOptions::since(crate::Timestamp::now());
    let restore = RestoreOptions::name(scene.name("restored"));
    let calls: Vec<Call<'_>> = vec![
        ("create_container", Some(Can::Create), async { node.create_container(&spec).await.map(drop) }.boxed()),
        ("check_container", Some(Can::Create), async { node.check_container(&spec).await }.boxed()),
        ("copy_ways", Some(Can::Copy), async { node.copy_ways(node, "any").await.map(drop) }.boxed()),
        ("copy_container", Some(Can::Copy), async { node.copy_container(node, &copy).await.map(drop) }.boxed()),
        (
            "restore_container",
            Some(Can::Backups),
            async { node.restore_container(archive(), &restore).await.map(drop) }.boxed(),
        ),
        ("list_images", Some(Can::Images), async { node.list_images().await.map(drop) }.boxed()),
        ("inspect_image", Some(Can::Images), async { node.inspect_image(image).await.map(drop) }.boxed()),
        ("tag_image", Some(Can::Images), async { node.tag_image(image, &tagged).await }.boxed()),
        ("delete_image", Some(Can::Images), async { node.delete_image(&pull.reference, false).await }.boxed()),
        ("pull_image", Some(Can::ImagePull), async { node.pull_image(&pull).await.map(drop) }.boxed()),
        (
            "import_image",
            Some(Can::ImageImport),
            async { node.import_image(archive(), &imported).await.map(drop) }.boxed(),
        ),
        ("save_images", Some(Can::ImageArchive), async { node.save_images(&references).await.map(drop) }.boxed()),
        ("load_images", Some(Can::ImageArchive), async { node.load_images(archive()).await.map(drop) }.boxed()),
        ("list_networks", Some(Can::Networks), async { node.list_networks().await.map(drop) }.boxed()),
        ("inspect_network", Some(Can::Networks), async { node.inspect_network(&network.name).await.map(drop) }.boxed()),
        ("create_network", Some(Can::Networks), async { node.create_network(&network).await.map(drop) }.boxed()),
        ("delete_network", Some(Can::Networks), async { node.delete_network(&network.name).await }.boxed()),
        ("list_volumes", Some(Can::Volumes), async { node.list_volumes().await.map(drop) }.boxed()),
        ("inspect_volume", Some(Can::Volumes), async { node.inspect_volume(&volume.name).await.map(drop) }.boxed()),
        ("create_volume", Some(Can::Volumes), async { node.create_volume(&volume).await.map(drop) }.boxed()),
        ("delete_volume", Some(Can::Volumes), async { node.delete_volume(&volume.name, false).await }.boxed()),
        ("events", Some(Can::Events), async { node.events(&EventOptions::default()).await.map(drop) }.boxed()),
        ("events since", Some(Can::EventsSince), async { node.events(&since).await.map(drop) }.boxed()),
        ("run", Some(Can::NodeJobs), async { node.run(&JobSpec::new(SLEEP)).await.map(drop) }.boxed()),
        ("pool", Some(Can::Pools), async { node.pool("fleet").await.map(drop) }.boxed()),
    ];
    let mut tried = all_unsupported(scene, calls).await?;
    if scene.has(Can::Create) {
        for (capability, spec) in demanding_specs(scene) {
            if !scene.has(capability) {
                refused(capability.name(), node.create_container(&spec).await, ErrorKind::Unsupported)?;
                refused(capability.name(), node.check_container(&spec).await, ErrorKind::Unsupported)?;
                let name = spec.name.unwrap_or_default();
                refused("inspect", scene.node().container(&name).inspect().await, ErrorKind::NotFound)?;
                tried += 1;
            }
        }
    }
    anything(tried)
}

/// Calls with bad input on a container, with the field at fault.
fn bad_calls<'a>(container: &'a Arc<dyn Container>) -> Vec<(&'static str, Call<'a>)> {
    use Capability as Can;
    let c = container;
    let limits = |change: fn(&mut Limits)| {
        let mut changes = ContainerUpdate::default();
        change(&mut changes.limits);
        changes
    };
    let past = SnapshotOptions { expires_at: crate::Timestamp::from_unix_seconds(1), ..SnapshotOptions::new("one") };
    let (small, many) = (limits(|l| l.memory_bytes = Some(1)), limits(|l| l.pids = Some(0)));
    let mut blind = LogOptions::default();
    (blind.stdout, blind.stderr) = (false, false);
    let mut bad_environment = JobSpec::new(SLEEP);
    bad_environment.env.insert("A=B".to_owned(), String::new());
    let size = |columns, rows| TerminalSize { columns, rows };
    vec![
        ("timeout_seconds", ("stop", None, async { c.stop(&StopOptions::after_seconds(3601)).await }.boxed())),
        (
            "timeout_seconds",
            ("restart", Some(Can::Restart), async { c.restart(&StopOptions::after_seconds(3601)).await }.boxed()),
        ),
        ("name", ("rename", Some(Can::Rename), async { c.rename("a/b").await }.boxed())),
        ("name", ("rename to nothing", Some(Can::Rename), async { c.rename("").await }.boxed())),
        ("memory_bytes", ("update", Some(Can::Update), async move { c.update(&small).await }.boxed())),
        ("pids", ("update", Some(Can::Update), async move { c.update(&many).await }.boxed())),
        (
            "name",
            (
                "create_snapshot",
                Some(Can::Snapshots),
                async { c.create_snapshot(&SnapshotOptions::new("a/b")).await.map(drop) }.boxed(),
            ),
        ),
        (
            "expires_at",
            (
                "create_snapshot in the past",
                Some(Can::SnapshotsExpire),
                async move { c.create_snapshot(&past).await.map(drop) }.boxed(),
            ),
        ),
        ("name", ("restore_snapshot", Some(Can::Snapshots), async { c.restore_snapshot("../x").await }.boxed())),
        ("name", ("delete_snapshot", Some(Can::Snapshots), async { c.delete_snapshot("").await }.boxed())),
        (
            "image",
            ("commit", Some(Can::Commit), async { c.commit(&CommitOptions::new("a b")).await.map(drop) }.boxed()),
        ),
        ("path", ("copy_out", Some(Can::Files), async { c.copy_out("relative").await.map(drop) }.boxed())),
        (
            "path",
            (
                "copy_in",
                Some(Can::Files),
                async { c.copy_in("a\0b", archive(), &CopyInOptions::default()).await }.boxed(),
            ),
        ),
        ("stdout", ("logs", Some(Can::Logs), async move { c.logs(&blind).await.map(drop) }.boxed())),
        ("columns", ("resize", Some(Can::Attach), async move { c.resize(size(0, 1)).await }.boxed())),
        ("command", ("run", Some(Can::Jobs), async { c.run(&JobSpec::new([""])).await.map(drop) }.boxed())),
        ("env", ("run", Some(Can::Jobs), async move { c.run(&bad_environment).await.map(drop) }.boxed())),
    ]
}

fn names_field(call: &str, error: &Error, field: &str) -> Check {
    let named = error.field().unwrap_or_default();
    ensure(
        named == field || named.rsplit('.').next() == Some(field),
        format!("{call} says that {named:?} is at fault instead of {field:?}"),
    )
}

async fn bad_input(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let before = details(&*container).await?;
    for (field, (call, needs, answer)) in bad_calls(&container) {
        if needs.is_none_or(|capability| scene.has(capability)) {
            let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
            let Ok(answer) = answer else { return failed(format!("{call} with bad input does not answer")) };
            names_field(call, &refused(call, answer, ErrorKind::InvalidInput)?, field)?;
        }
    }
    equal("the container", details(&*container).await?, before)?;
    for bad in ["", "a b", "../etc", "a/b", "a?b=c", "%2e%2e"] {
        refused(bad, scene.node().container(bad).inspect().await, ErrorKind::InvalidInput)?;
    }
    if scene.has(Capability::Backups) {
        let restored = scene.node().restore_container(archive(), &RestoreOptions::name("a/b")).await;
        names_field("restore_container", &refused("restore", restored, ErrorKind::InvalidInput)?, "name")?;
    }
    let mut spec = scene.spec("never");
    let name = spec.name.clone().unwrap_or_default();
    spec.working_directory = Some("relative".to_owned());
    let error = refused("create", scene.node().create_container(&spec).await, ErrorKind::InvalidInput)?;
    names_field("create", &error, "working_directory")?;
    refused("inspect", scene.node().container(&name).inspect().await, ErrorKind::NotFound).map(drop).map_err(
        |failure| match failure {
            Failure::Failed(reason) => Failure::Failed(format!("after a refused creation: {reason}")),
            gated @ Failure::Gated(_) => gated,
        },
    )
}
