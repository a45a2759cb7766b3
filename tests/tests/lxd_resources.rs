//! Images, storage pools, profiles, projects and facts of LXD and Incus, seen from both sides: by us, and by the product's
//! own client. And what is left after a failure: nothing.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_backends::engines::lxd::{CopyImageOptions, LxdNode, StoragePoolSpec};
use roadstead_core::{
    BackupOptions, ByteStream, ConnectOptions, ErrorKind, ImportOptions, Node, PullOptions, RestoreOptions,
};
use roadstead_tests::engines::{self, OwnEngine, TestEngine, image};
use serde_json::json;

macro_rules! on_both {
    ($($name:ident;)+) => {
        mod lxd {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(engine) = super::engines::lxd() { super::$name(&engine).await }
            })+
        }
        mod incus {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(engine) = super::engines::incus() { super::$name(&engine).await }
            })+
        }
    };
}

on_both! {
    both_sides_see_each_others_aliases;
    what_the_client_exports_is_loaded;
    broken_uploads_leave_nothing;
    an_image_keeps_what_was_said_of_it;
    unknown_sources_are_typed_errors;
    images_are_copied_between_servers;
    storage_pools_come_and_go;
    what_there_is_is_told;
    a_backup_leaves_nothing_on_the_server;
}

async fn connect(engine: &TestEngine) -> Arc<dyn Node> {
    let registry = roadstead_backends::registry();
    registry.connect(engine.kind(), engine.uri(), &ConnectOptions::default()).await.expect("it is there")
}

fn own(node: &Arc<dyn Node>) -> &LxdNode {
    node.engine().downcast_ref().expect("an LXD or Incus node")
}

/// A root file system with one file of `size` bytes, which no other call gives.
fn rootfs(name: &str, size: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |path: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, data).expect("memory has room");
    };
    put("name", name.as_bytes());
    put("data", &vec![b'd'; size]);
    archive.into_inner().expect("memory has room")
}

fn stream_of(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(65_536).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

async fn import(node: &Arc<dyn Node>, reference: &str) -> String {
    let archive = stream_of(&rootfs(reference, 10_000));
    node.import_image(archive, &ImportOptions::new(reference)).await.expect("an image")
}

async fn whole(archive: ByteStream) -> Vec<u8> {
    archive.try_collect::<Vec<Bytes>>().await.expect("an archive").concat()
}

/// Deletes an image that may be there, however the test ends.
struct Gone<'a>(&'a TestEngine, String);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let _ = self.0.ask("DELETE", &format!("/1.0/images/{}", self.1), None);
    }
}

async fn both_sides_see_each_others_aliases(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let (ours, theirs, third) = (engine.name("ours:1"), engine.name("the/irs"), engine.name("third"));
    let id = import(&node, &ours).await;
    let _gone = Gone(engine, id.clone());
    // The client takes what stands before a colon for a remote.
    let local = |name: &str| format!("local:{name}");
    assert!(engine.client_text(&["image", "info", &local(&ours)]).contains(&id));
    let _ = engine.client_text(&["image", "alias", "create", &theirs, &id]);
    node.tag_image(&theirs, &third).await.expect("tagged");

    let listed = node.list_images().await.expect("a list");
    let image = listed.iter().find(|image| image.id == id).expect("listed");
    let mut expected = [ours.clone(), theirs.clone(), third.clone()];
    expected.sort();
    assert_eq!(image.references, expected);
    let client = engine.client_text(&["image", "alias", "list", "--format", "csv"]);
    assert!(client.contains(&third), "{client}");
    assert_eq!(node.inspect_image(&id[..12]).await.expect("found by the beginning of its id").summary.id, id);

    // By its id only with force: it has several names.
    assert_eq!(node.delete_image(&id, false).await.expect_err("several names").kind(), ErrorKind::Conflict);
    let _ = engine.client_text(&["image", "alias", "delete", &theirs]);
    node.delete_image(&ours, false).await.expect("one name less");
    assert!(engine.client_text(&["image", "info", &third]).contains(&id));
    node.delete_image(&third, false).await.expect("the last name");
    assert!(!engine.client(&["image", "info", &id]).status.success(), "the image went with its last name");
    assert_eq!(node.inspect_image(&id).await.expect_err("gone").kind(), ErrorKind::NotFound);
}

async fn what_the_client_exports_is_loaded(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let reference = engine.name("split");
    let id = import(&node, &reference).await;
    let _gone = Gone(engine, id.clone());
    let directory = tempfile::tempdir().expect("a directory");
    let _ = engine.client_text(&["image", "export", &id, directory.path().to_str().expect("UTF-8")]);
    let mut files: Vec<_> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let is_metadata =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("meta"));
    let (metadata, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| is_metadata(path));
    assert_eq!((metadata.len(), rest.len()), (1, 1), "{metadata:?} {rest:?}");
    let mut archive = tar::Builder::new(Vec::new());
    for path in metadata.iter().chain(&rest) {
        archive.append_path_with_name(path, path.file_name().expect("a name")).expect("a file");
    }
    let archive = archive.into_inner().expect("memory has room");
    node.delete_image(&reference, false).await.expect("deleted");
    assert_eq!(node.load_images(stream_of(&archive)).await.expect("loaded"), std::slice::from_ref(&id));
    let image = node.inspect_image(&id).await.expect("there again");
    assert_eq!(image.summary.references, Vec::<String>::new());
    // Loading it again changes nothing.
    assert_eq!(node.load_images(stream_of(&archive)).await.expect("loaded again"), std::slice::from_ref(&id));

    // In one file, as the test image is made of.
    let unified = std::fs::read(test_images().join("lxd.tar")).expect("the test image");
    let loaded = node.load_images(stream_of(&unified)).await.expect("loaded");
    assert_eq!(loaded.len(), 1);
    assert_eq!(node.inspect_image(&loaded[0]).await.expect("there").summary.labels["os"], "busybox");
}

/// Where the test images are.
fn test_images() -> std::path::PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/busybox-root");
    let output = Command::new(script).output().expect("a script");
    String::from_utf8(output.stdout).expect("UTF-8").trim().into()
}

/// What is in the directory where a server has its images.
fn stored(engine: &TestEngine) -> Vec<String> {
    let directory = engine.socket().parent().expect("a directory").join("images");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn broken_uploads_leave_nothing(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let (one, two, broken) = (engine.name("one"), engine.name("two"), engine.name("broken"));
    let mut ids = Vec::new();
    let mut gone = Vec::new();
    for (reference, size) in [(&one, 10_000), (&two, 5_000_000)] {
        let archive = stream_of(&rootfs(reference, size));
        let id = node.import_image(archive, &ImportOptions::new(reference)).await.expect("an image");
        gone.push(Gone(engine, id.clone()));
        ids.push(id);
    }
    let saved = whole(node.save_images(&[one.clone(), two.clone()]).await.expect("saved")).await;
    for reference in [&one, &two] {
        node.delete_image(reference, false).await.expect("deleted");
    }
    let here = || {
        let stored = stored(engine);
        let ours = stored.iter().any(|name| ids.iter().any(|id| name.contains(id.as_str())));
        assert!(!ours, "{stored:?}");
        engine.get("/1.0/images/aliases?recursion=1").to_string().contains(engine.name("").as_str())
    };
    assert!(!here());

    // Cut within the second image: the first is taken back.
    let refused = node.load_images(stream_of(&saved[..saved.len() - 2_000_000])).await.expect_err("it is cut");
    assert_eq!((refused.kind(), refused.field()), (ErrorKind::InvalidInput, Some("archive")), "{refused:?}");
    assert!(!here());
    // A byte of the second image is another: its fingerprint does not fit.
    let mut flipped = saved.clone();
    let place = flipped.len() - 1_000_000;
    flipped[place] ^= 1;
    assert_eq!(node.load_images(stream_of(&flipped)).await.expect_err("changed").kind(), ErrorKind::InvalidInput);
    assert!(!here());
    for archive in [b"nonsense".repeat(1000), rootfs("no image", 10), Vec::new()] {
        let refused = node.load_images(stream_of(&archive)).await.expect_err("no archive of images");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused:?}");
    }
    // A root file system that is cut far from its beginning, one that is compressed, one whose sender goes away.
    let long = rootfs("long", 5_000_000);
    let cut = stream_of(&long[..4_000_000]);
    let compressed = stream_of(&[&[0x1f, 0x8b, 8, 0][..], &[0; 1000]].concat());
    let lost = stream_of(&long[..4_000_000])
        .chain(stream::once(async { Err(roadstead_core::Error::new(ErrorKind::Cancelled, "the sender went away")) }))
        .boxed();
    for (archive, kind) in
        [(cut, ErrorKind::InvalidInput), (compressed, ErrorKind::InvalidInput), (lost, ErrorKind::Cancelled)]
    {
        let refused = node.import_image(archive, &ImportOptions::new(&broken)).await.expect_err("broken");
        assert_eq!(refused.kind(), kind, "{refused:?}");
    }
    assert!(!here());
    let left: Vec<_> = stored(engine).into_iter().filter(|name| name.contains("_post_")).collect();
    assert_eq!(left, Vec::<String>::new(), "parts of uploads are left");

    // And the whole archive is as good as ever.
    let mut loaded = node.load_images(stream_of(&saved)).await.expect("loaded");
    loaded.sort();
    assert_eq!(loaded, [one.clone(), two.clone()]);
    for (reference, id) in [(&one, &ids[0]), (&two, &ids[1])] {
        assert_eq!(&node.inspect_image(reference).await.expect("there").summary.id, id);
    }
}

async fn an_image_keeps_what_was_said_of_it(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let reference = engine.name("told");
    let mut options = ImportOptions::new(&reference);
    options.command = vec!["sh".to_owned(), "-c".to_owned(), "echo \"a b\"\n".to_owned()];
    options.message = Some("a remark: \"quoted\"".to_owned());
    let archive = stream_of(&rootfs(&reference, 10));
    let id = node.import_image(archive, &options).await.expect("an image");
    let _gone = Gone(engine, id.clone());
    // What was changed on the server later is saved, too.
    let patch = json!({"properties": {"description": "changed", "roadstead.command": "[\"sleep\"]"}, "public": true});
    assert_eq!(engine.ask("PATCH", &format!("/1.0/images/{id}"), Some(&patch)).status, 200);
    let saved = whole(node.save_images(std::slice::from_ref(&reference)).await.expect("saved")).await;
    node.delete_image(&reference, true).await.expect("deleted");
    node.load_images(stream_of(&saved)).await.expect("loaded");
    let image = node.inspect_image(&reference).await.expect("there again");
    assert_eq!(image.command, ["sleep"]);
    assert_eq!(image.summary.labels["description"], "changed");
    assert_eq!(engine.get(&format!("/1.0/images/{id}"))["metadata"]["public"], true);

    // A name that is given anew stands for the new image, as everywhere.
    let archive = stream_of(&rootfs("another", 10));
    let new = node.import_image(archive, &options).await.expect("another image");
    let _new_gone = Gone(engine, new.clone());
    let found = node.inspect_image(&reference).await.expect("there");
    assert_eq!((found.summary.id.as_str(), found.command), (new.as_str(), options.command));
    assert_eq!(found.summary.labels["description"], "a remark: \"quoted\"");
    assert_eq!(node.inspect_image(&id).await.expect("the old one").summary.references, Vec::<String>::new());
}

async fn unknown_sources_are_typed_errors(engine: &TestEngine) {
    let node = connect(engine).await;
    let pull = async |reference: &str| {
        let pulled = async { node.pull_image(&PullOptions::new(reference)).await?.try_collect::<Vec<_>>().await };
        pulled.await.expect_err("it cannot be pulled").kind()
    };
    assert_eq!(pull("busybox").await, ErrorKind::InvalidInput, "no server is named");
    assert_eq!(pull("no-such-remote:busybox").await, ErrorKind::NotFound);
    // Nobody listens, and somebody whose certificate nobody vouches for.
    assert_eq!(pull("127.0.0.1:1/busybox").await, ErrorKind::Unavailable);
    let address = engine.tls_uri().rsplit_once('/').expect("a URI").1.to_owned();
    assert_eq!(pull(&format!("{address}/busybox")).await, ErrorKind::Unauthenticated);
    let nothing = engine.name("nothing");
    for (reference, new) in [(nothing.as_str(), "x:y"), (&"0".repeat(64), "x:y")] {
        assert_eq!(node.inspect_image(reference).await.expect_err("unknown").kind(), ErrorKind::NotFound);
        assert_eq!(node.tag_image(reference, new).await.expect_err("unknown").kind(), ErrorKind::NotFound);
        assert_eq!(node.delete_image(reference, true).await.expect_err("unknown").kind(), ErrorKind::NotFound);
        let saved = node.save_images(&[reference.to_owned()]).await.err().expect("unknown");
        assert_eq!(saved.kind(), ErrorKind::NotFound);
    }
}

async fn images_are_copied_between_servers(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let Some(second) = engines::lxd_second() else { return };
    let _second_cleaner = second.cleaner();
    let (node, source) = (connect(engine).await, connect(&second).await);
    let there = second.name("there");
    let id = import(&source, &there).await;
    let (_gone, _source_gone) = (Gone(engine, id.clone()), Gone(&second, id.clone()));
    let mut options = CopyImageOptions::default();
    options.references = vec![engine.name("one:1"), engine.name("two")];
    let copied = own(&node).copy_image(own(&source), &there, &options).await.expect("it begins");
    let progress: Vec<_> = copied.try_collect().await.expect("copied");
    assert!(progress.iter().any(|step| step.status.contains("https://")), "the server itself fetched it: {progress:?}");
    for reference in &options.references {
        assert_eq!(node.inspect_image(reference).await.expect("copied").summary.id, id);
    }
    // The secret is taken back.
    let operations = second.get("/1.0/operations?recursion=1")["metadata"]["running"].to_string();
    assert!(!operations.contains(&id), "{operations}");
    let missing = own(&node).copy_image(own(&source), &second.name("missing"), &options).await;
    assert_eq!(missing.err().expect("unknown").kind(), ErrorKind::NotFound);

    // A server that nobody else reaches: the image passes through here.
    let Some(lonely) = OwnEngine::lxd(&format!("lonely{}", engine.kind())) else { return };
    let _ = lonely.engine().client_text(&["config", "unset", "core.https_address"]);
    let source = connect(lonely.engine()).await;
    let there = lonely.engine().name("there");
    let id = import(&source, &there).await;
    let _gone = Gone(engine, id.clone());
    options.references = vec![engine.name("relayed")];
    let copied = own(&node).copy_image(own(&source), &there, &options).await.expect("it begins");
    let progress: Vec<_> = copied.try_collect().await.expect("copied");
    assert!(progress.iter().any(|step| step.status.contains("relaying")), "{progress:?}");
    assert_eq!(node.inspect_image(&options.references[0]).await.expect("copied").summary.id, id);
}

async fn storage_pools_come_and_go(engine: &TestEngine) {
    let node = connect(engine).await;
    let node = own(&node);
    let mut spec = StoragePoolSpec::new(engine.name("pool"), "dir");
    spec.labels.insert("a".to_owned(), "b".to_owned());
    node.create_storage_pool(&spec).await.expect("created");
    assert!(engine.client_text(&["storage", "show", &spec.name]).contains("user.a: b"));
    let pool = node.storage_pool(&spec.name).await.expect("there");
    assert_eq!((pool.driver.as_str(), pool.labels["a"].as_str()), ("dir", "b"));
    assert!(pool.total_bytes.is_some_and(|total| total > pool.used_bytes.unwrap_or(0)), "{pool:?}");
    assert!(node.storage_pools().await.expect("a list").iter().any(|pool| pool.name == spec.name));

    let taken = node.create_storage_pool(&StoragePoolSpec::new(&spec.name, "dir")).await.expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(node.storage_pool(&spec.name).await.expect("as it was").labels, spec.labels);
    let unknown = node.create_storage_pool(&StoragePoolSpec::new(engine.name("no"), "nope")).await;
    assert_eq!(unknown.expect_err("no such driver").field(), Some("driver"));
    let mut odd = StoragePoolSpec::new(engine.name("no"), "dir");
    odd.options.insert("source".to_owned(), "/nope/nowhere".to_owned());
    assert_eq!(node.create_storage_pool(&odd).await.expect_err("no such directory").field(), Some("options"));
    assert_eq!(node.storage_pool(&odd.name).await.expect_err("not made").kind(), ErrorKind::NotFound);
    assert_eq!(node.delete_storage_pool("default").await.expect_err("in use").kind(), ErrorKind::Conflict);

    node.delete_storage_pool(&spec.name).await.expect("deleted");
    assert_eq!(node.storage_pool(&spec.name).await.expect_err("gone").kind(), ErrorKind::NotFound);
    assert_eq!(node.delete_storage_pool(&spec.name).await.expect_err("gone").kind(), ErrorKind::NotFound);
}

async fn what_there_is_is_told(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let node = own(&node);
    let name = engine.name("profile");
    let _ = engine.client_text(&["profile", "create", &name]);
    let _ = engine.client_text(&["profile", "set", &name, "limits.memory=64MiB", "user.a=b"]);
    let profile = node.profile(&name).await.expect("there");
    assert_eq!((profile.options["limits.memory"].as_str(), profile.labels["a"].as_str()), ("64MiB", "b"));
    let all = node.profiles().await.expect("a list");
    let default = all.iter().find(|profile| profile.name == "default").expect("the default");
    assert!(default.devices.values().any(|device| device.get("path").is_some_and(|path| path == "/")), "{default:?}");
    assert_eq!(node.profile(&engine.name("missing")).await.expect_err("none").kind(), ErrorKind::NotFound);

    assert!(node.projects().await.expect("a list").iter().any(|project| project.name == "default"));
    assert_eq!(node.project("default").await.expect("there").options["features.images"], "true");
    assert_eq!(node.project(&engine.name("missing")).await.expect_err("none").kind(), ErrorKind::NotFound);

    let networks = node.all_networks().await.expect("a list");
    let bridge = networks.iter().find(|network| network.managed).expect("the test bridge");
    assert!(networks.iter().any(|network| network.name == "lo" && !network.managed));
    let details = node.network_details(&bridge.name).await.expect("there");
    let state = details.state.expect("a state");
    let address = details.options["ipv4.address"].clone();
    assert!(state.up && state.addresses.contains(&address), "{state:?} {address}");

    let facts = node.resources().await.expect("facts");
    assert_eq!(facts.cpu.threads as usize, std::thread::available_parallelism().expect("a number").get());
    assert!(facts.memory.total_bytes > facts.memory.used_bytes && facts.memory.used_bytes > 0);
    assert!(!facts.disks.is_empty() && !facts.nics.is_empty() && !facts.os.kernel.is_empty(), "{facts:?}");

    let instance = engine.run(&engine.name("measured"));
    let metrics = node.metrics().await.expect("metrics");
    let about_it = |suffix: &str| {
        metrics.iter().any(|sample| {
            sample.name.ends_with(suffix) && sample.labels.get("name").is_some_and(|name| *name == instance)
        })
    };
    // Servers keep the numbers for some seconds: those of an instance that has just been started may not be in.
    let known = metrics.iter().any(|sample| sample.labels.get("name").is_some_and(|name| *name == instance));
    assert!(!known || about_it("cpu_seconds_total"), "{metrics:?}");

    assert_eq!(node.cluster_members().await.expect("no cluster"), []);
    assert_eq!(node.cluster("pool").await.expect_err("no cluster").kind(), ErrorKind::Conflict);
}

async fn a_backup_leaves_nothing_on_the_server(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine).await;
    let id = engine.run(&engine.name("origin"));
    let container = node.container(&id);
    let backups = || {
        let told = engine.ask("GET", &format!("/1.0/instances/{id}/backups"), None);
        // A server looks each of them up after it has listed them, and one may go in between.
        if told.status == 404 && told.json()["error"].as_str().is_some_and(|error| error.contains("backup not found")) {
            return 1;
        }
        told.expect(200).json()["metadata"].as_array().map_or(0, Vec::len)
    };
    let archive = whole(container.backup(&BackupOptions::default()).await.expect("a backup")).await;
    gone(&backups).await;
    // One that is not read to its end.
    let mut begun = container.backup(&BackupOptions::default()).await.expect("a backup");
    assert!(begun.next().await.is_some());
    drop(begun);
    gone(&backups).await;

    let copy = engine.name("copy");
    let restored = node.restore_container(stream_of(&archive), &RestoreOptions::name(&copy)).await.expect("restored");
    assert_eq!((restored.name.as_str(), restored.warnings.len()), (copy.as_str(), 0), "{restored:?}");
    let config = |name: &str| engine.get(&format!("/1.0/instances/{name}"))["metadata"]["config"].clone();
    let (origin, copied) = (config(&id), config(&copy));
    assert_eq!(origin["volatile.last_state.power"], "RUNNING");
    assert_ne!(copied["volatile.last_state.power"], "RUNNING", "the server would start it with itself");
    let address = |config: &serde_json::Value| config["volatile.eth0.hwaddr"].as_str().map(str::to_owned);
    assert!(address(&origin).is_some());
    assert_ne!(address(&copied), address(&origin), "two cards with one address");

    for archive in [archive[..archive.len() / 2].to_vec(), b"nonsense".to_vec(), rootfs("no backup", 10)] {
        let name = engine.name("broken");
        let refused = node.restore_container(stream_of(&archive), &RestoreOptions::name(&name)).await;
        assert_eq!(refused.expect_err("broken").kind(), ErrorKind::InvalidInput);
        assert_eq!(engine.ask("GET", &format!("/1.0/instances/{name}"), None).status, 404);
    }
}

/// Waits until there are no more.
async fn gone(count: &impl Fn() -> usize) {
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while count() > 0 {
        assert!(tokio::time::Instant::now() < until, "backups are left on the server");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lxd_says_so_and_keeps_nothing() {
    full(OwnEngine::lxd("full")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_incus_says_so_and_keeps_nothing() {
    full(OwnEngine::incus("full")).await;
}

/// A small file system that is mounted while this lives.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn at(directory: &'a Path) -> Self {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "small"]).arg(directory).status();
        assert!(status.expect("mount").success());
        Small(directory)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

async fn full(own_engine: Option<OwnEngine>) {
    let Some(own_engine) = own_engine else { return };
    let engine = own_engine.engine();
    let node = connect(engine).await;

    // A storage pool that has room for one container of this size, and not for two.
    let pool = "small";
    let mut spec = StoragePoolSpec::new(pool, "btrfs");
    spec.options.insert("size".to_owned(), "128MiB".to_owned());
    own(&node).create_storage_pool(&spec).await.expect("a pool");
    let name = "origin".to_owned();
    let body = json!({
        "name": name,
        "source": {"type": "image", "alias": image()},
        "devices": {"root": {"type": "disk", "path": "/", "pool": pool}},
    });
    engine.operate("POST", "/1.0/instances", Some(&body));
    let file = format!("/1.0/instances/{name}/files?path=/big");
    let put = roadstead_tests::raw::Request::new("POST", file).body(Bytes::from(noise(30_000_000)));
    assert_eq!(put.send_unix(engine.socket()).expect("an answer").status, 200);
    let archive = whole(node.container(&name).backup(&BackupOptions::default()).await.expect("a backup")).await;
    let mut copies = Vec::new();
    let refused = loop {
        let copy = format!("copy{}", copies.len());
        let mut options = RestoreOptions::default();
        options.name = Some(copy.clone());
        match node.restore_container(stream_of(&archive), &options).await {
            Ok(_) => copies.push(copy),
            Err(error) => break error,
        }
        assert!(copies.len() < 10, "the pool does not fill");
    };
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted, "{refused:?}");
    let instances = engine.get("/1.0/instances");
    assert!(!instances.to_string().contains(&format!("copy{}", copies.len())), "{instances}");
    for name in copies.iter().chain([&name]) {
        engine.operate("DELETE", &format!("/1.0/instances/{name}"), None);
    }

    // No room for the files of an image.
    let images = engine.socket().parent().expect("a directory").join("images");
    let small = Small::at(&images);
    let archive = stream_of(&rootfs("large", 8_000_000));
    let refused = node.import_image(archive, &ImportOptions::new("large:1")).await.expect_err("no room");
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted, "{refused:?}");
    assert_eq!(node.inspect_image("large:1").await.expect_err("not made").kind(), ErrorKind::NotFound);
    assert_eq!(stored(engine), Vec::<String>::new());
    import(&node, "fits:1").await;
    node.delete_image("fits:1", false).await.expect("deleted");
    drop(small);
}

/// Bytes that no storage makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
