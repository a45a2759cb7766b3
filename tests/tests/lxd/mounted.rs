//! Files of what is mounted in containers that do not run, against the same files while they run.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_core::{
    ByteStream, Container, ContainerSpec, ContainerUpdate, CopyInOptions, DeleteOptions, ErrorKind, JobSpec, Mount,
    MountKind, Node, StopOptions, VolumeSpec,
};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::image;
use serde_json::Value;

use crate::connect;

on_lxd_and_incus! {
    volumes_read_the_same_whether_the_container_runs_or_not
    nothing_is_written_or_read_behind_a_container_that_does_not_run
    a_backup_for_reading_is_deleted_whatever_happens
    what_cannot_be_mounted_or_limited_to_is_named
}

/// Kind, mode, owner, group, target of a link, content.
type Item = (u8, u32, u64, u64, String, Vec<u8>);

async fn held(container: &dyn Container, path: &str) -> BTreeMap<String, Item> {
    let pieces: Vec<Bytes> = container.copy_out(path).await.unwrap().try_collect().await.unwrap();
    let bytes = pieces.concat();
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let text = |bytes: Option<std::borrow::Cow<'_, [u8]>>| {
            String::from_utf8_lossy(&bytes.unwrap_or_default()).trim_end_matches('/').to_owned()
        };
        let (path, link) = (text(Some(entry.path_bytes())), text(entry.link_name_bytes()));
        let header = entry.header().clone();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        let mode = header.mode().unwrap() & 0o7777;
        let item = match header.entry_type() {
            // Read while it runs, another name is a file of its own.
            tar::EntryType::Link => items[&link].clone(),
            // Over SFTP neither pipes nor devices are told of.
            tar::EntryType::Fifo => continue,
            kind => (kind.as_byte(), mode, header.uid().unwrap(), header.gid().unwrap(), link, data),
        };
        assert!(items.insert(path.clone(), item).is_none(), "{path} is there twice");
    }
    items
}

fn mount(kind: MountKind, source: Option<&str>, target: &str) -> Mount {
    let source = source.map(str::to_owned);
    Mount { kind, source, target: target.to_owned(), read_only: false, size_bytes: None }
}

fn one_file() -> ByteStream {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(4);
    builder.append_data(&mut header, "srv/data/new", &b"new\n"[..]).unwrap();
    let archive = Bytes::from(builder.into_inner().unwrap());
    stream::once(async { Ok(archive) }).boxed()
}

async fn run(container: &dyn Container, script: &str) {
    let job = container.run(&JobSpec::new(["sh", "-c", script])).await.unwrap();
    let status = job.wait(Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.exit_code, Some(0), "{status:?}");
}

const FILL: &str = "
cd /srv/data && mkdir -p d/e && printf text > d/file && ln d/file d/hard && ln d/file outside && ln -s e d/link
mkfifo d/pipe && printf deep > d/e/deep && head -c 300000 /dev/urandom > d/large && printf x > \"d/ü n\"
ln -s /etc d/etc && ln -s ../../../etc d/up && ln -s /srv/data/inner d/in
chown -R 1234:4321 d && chown -h 7:8 d/link && chown 5:6 d/e && chmod 4755 d/file && chmod 2750 d && chmod 1777 d/e
printf within > inner/file && ln -s /srv/data /way && ln -s way /way2 && mkdir -p /etc/sub && printf root > /etc/sub/of";

/// A container that runs.
async fn running(node: &dyn Node, engine: &TestEngine, mounts: Vec<Mount>, privileged: bool) -> Arc<dyn Container> {
    let mut spec = ContainerSpec::new(image()).name(engine.name("mounted")).command(["sleep", "1000"]);
    spec.mounts = mounts;
    spec.privileged = privileged;
    let created = node.create_container(&spec).await.unwrap();
    let container = node.container(&created.id);
    container.start().await.unwrap();
    container
}

async fn stop(container: &dyn Container) {
    container.stop(&StopOptions::after_seconds(0)).await.unwrap();
}

async fn volumes_read_the_same_whether_the_container_runs_or_not(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.unwrap();
    for privileged in [false, true] {
        let volume = engine.name("volume");
        node.create_volume(&VolumeSpec::new(&volume)).await.unwrap();
        let mounts = vec![
            mount(MountKind::Volume, Some(&volume), "/srv/data"),
            mount(MountKind::Volume, None, "/srv/data/inner"),
        ];
        let container = running(&*node, engine, mounts, privileged).await;
        let container = &*container;
        run(container, FILL).await;
        let paths = [
            "/srv/data/d",
            "/srv/data/d/",
            "/srv/data/d/e",
            "/srv/data/d/hard",
            "/srv/data/d/link",
            "/srv/data/outside",
            "/srv/data/d/link/deep",
            "/srv/data/d/etc/sub",
            "/srv/data/d/up/sub/of",
            "/srv/data/d/in/file",
            "/srv/data/inner",
            "/way/d/e",
            "/way2/inner/file",
            "/srv/./data/d/../inner",
        ];
        let mut running = Vec::new();
        for path in paths {
            running.push(held(container, path).await);
        }
        let whole = held(container, "/srv/data").await;
        assert_eq!(running[0]["d/file"], (b'0', 0o4755, 1234, 4321, String::new(), b"text".to_vec()));
        assert_eq!((running[0]["d"].1, running[0]["d/e"].1), (0o2750, 0o1777));
        stop(container).await;
        for (path, running) in paths.into_iter().zip(running) {
            assert_eq!(held(container, path).await, running, "{path}, privileged: {privileged}");
        }
        // Only what is mounted within is not shown from above.
        let mut stopped = held(container, "/srv/data").await;
        let within = stopped.remove("data/inner").unwrap();
        assert!(within.0 == b'5' && !stopped.contains_key("data/inner/file"), "{stopped:?}");
        let mut whole = whole;
        whole.retain(|path, _| !path.starts_with("data/inner"));
        assert_eq!(stopped, whole);
        container.delete(&DeleteOptions::force()).await.unwrap();
        node.delete_volume(&volume, false).await.unwrap();
    }
}

async fn nothing_is_written_or_read_behind_a_container_that_does_not_run(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("host"), "host").unwrap();
    let mounts = vec![
        mount(MountKind::Volume, None, "/srv/data"),
        mount(MountKind::Bind, directory.path().to_str(), "/srv/bound"),
    ];
    let container = running(&*node, engine, mounts, false).await;
    let container = &*container;
    run(container, "ln -s /srv/data /way; ln -s /srv/bound /bound").await;
    stop(container).await;
    for path in ["/srv/bound", "/srv/bound/host", "/bound/host"] {
        let error = container.copy_out(path).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{path}: {error:?}");
        assert!(error.to_string().contains("/srv/bound only while it runs"), "{error}");
    }
    for (path, at) in
        [("/srv/data", "/srv/data"), ("/way", "/srv/data"), ("/srv/bound", "/srv/bound"), ("/", "/srv/data")]
    {
        let error = container.copy_in(path, one_file(), &CopyInOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{path}: {error:?}");
        assert!(error.to_string().contains(&format!("{at} only while it runs")), "{error}");
    }
    // What is beside is written, and nothing was written below.
    container.copy_in("/tmp", one_file(), &CopyInOptions::default()).await.unwrap();
    assert!(held(container, "/tmp/srv/data").await.contains_key("data/new"));
    container.start().await.unwrap();
    assert_eq!(held(container, "/srv/data").await.len(), 1);
    assert_eq!(held(container, "/srv/bound/host").await["host"].5, b"host");
    container.delete(&DeleteOptions::force()).await.unwrap();
}

async fn a_backup_for_reading_is_deleted_whatever_happens(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.unwrap();
    let volume = engine.name("volume");
    node.create_volume(&VolumeSpec::new(&volume)).await.unwrap();
    let container = running(&*node, engine, vec![mount(MountKind::Volume, Some(&volume), "/srv/data")], false).await;
    let container = &*container;
    run(container, "head -c 3000000 /dev/urandom > /srv/data/large").await;
    stop(container).await;
    let path = format!("/1.0/storage-pools/default/volumes/custom/{volume}/backups");
    let backups = || {
        let list: Value = serde_json::from_str(&engine.client_text(&["query", &path])).unwrap();
        list.as_array().map_or(0, Vec::len)
    };
    assert_eq!(held(container, "/srv/data/large").await["large"].5.len(), 3_000_000);
    assert_eq!(backups(), 0, "after the end");
    assert_eq!(container.copy_out("/srv/data/none").await.map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(backups(), 0, "after nothing was found");
    let mut begun = container.copy_out("/srv/data").await.unwrap();
    begun.next().await.unwrap().unwrap();
    assert_eq!(backups(), 1, "while it is read");
    drop(begun);
    let until = Instant::now() + Duration::from_secs(30);
    while backups() > 0 {
        assert!(Instant::now() < until, "a backup is left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    container.delete(&DeleteOptions::force()).await.unwrap();
    node.delete_volume(&volume, false).await.unwrap();
}

async fn what_cannot_be_mounted_or_limited_to_is_named(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.unwrap();
    let tmpfs = || mount(MountKind::Tmpfs, None, "/scratch");
    for (wrong, field) in [
        (mount(MountKind::Bind, Some("/no/such/directory"), "/b"), "mounts[1].source"),
        (mount(MountKind::Bind, Some("/tmp"), "/"), "mounts[1].target"),
        (mount(MountKind::Volume, None, "//."), "mounts[1].target"),
    ] {
        let mut spec = ContainerSpec::new(image()).name(engine.name("wrong"));
        spec.mounts = vec![tmpfs(), wrong];
        let error = node.create_container(&spec).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some(field)), "{error:?}");
    }
    let cpus = node.info().await.unwrap().cpus.unwrap();
    let mut spec = ContainerSpec::new(image()).name(engine.name("wrong"));
    spec.limits.cpu_set = Some(format!("0-{cpus}"));
    let error = node.create_container(&spec).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("limits.cpu_set")), "{error:?}");
    spec.limits.cpu_set = Some(format!("0-{}", cpus - 1));
    let made = node.create_container(&spec).await.unwrap();
    let mut more = ContainerUpdate::default();
    more.limits.cpu_set = Some(cpus.to_string());
    let error = node.container(&made.id).update(&more).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("limits.cpu_set")), "{error:?}");
    node.container(&made.id).delete(&DeleteOptions::force()).await.unwrap();
}
