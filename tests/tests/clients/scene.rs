//! One server from both sides: by us, and by the product's own client.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_backends::engines::lxd::LxdNode;
use roadstead_core::Node;
use roadstead_core::{
    ByteStream, Container, ContainerDetails, ContainerFilter, ContainerSpec, ContainerState, ItemStream,
};
use roadstead_tests::engines::image;
use roadstead_tests::{Cleaner, TestEngine};
use serde_json::Value;

use crate::product::Product;

/// What becomes so by itself, becomes so within this time.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A verb on snapshots, for which the clients have different words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SnapshotVerb {
    Create,
    Restore,
    Delete,
}

/// One server from both sides.
pub(crate) struct Scene {
    product: Product,
    engine: TestEngine,
    node: Arc<dyn Node>,
    directory: tempfile::TempDir,
    /// For what is on another server.
    _cleaner: Option<Cleaner>,
}

impl Scene {
    pub(crate) fn new(product: Product, engine: TestEngine, node: Arc<dyn Node>) -> io::Result<Self> {
        Ok(Scene { product, engine, node, directory: tempfile::tempdir()?, _cleaner: None })
    }

    /// The same view of another server.
    pub(crate) async fn on(&self, engine: &TestEngine) -> Scene {
        let node = self.product.connect(engine).await.expect("we connect to another server");
        let cleaner = Some(engine.cleaner());
        let directory = tempfile::tempdir().expect("a directory");
        Scene { product: self.product, engine: engine.clone(), node, directory, _cleaner: cleaner }
    }

    /// The same server and its names, by a node of ours that works in this project.
    pub(crate) async fn in_project(&self, project: &str) -> Arc<dyn Node> {
        self.product.connect_to(&self.engine, Some(project)).await.expect("we connect to a project")
    }

    pub(crate) fn product(&self) -> Product {
        self.product
    }

    /// The server, by us.
    pub(crate) fn node(&self) -> &dyn Node {
        &*self.node
    }

    /// The same, with what only this engine has.
    pub(crate) fn lxd(&self) -> &LxdNode {
        self.node.engine().downcast_ref().expect("it is an LXD or Incus")
    }

    /// A name of this test's own, which begins with a letter; short enough for a network when `rest` has one letter.
    pub(crate) fn name(&self, rest: &str) -> String {
        self.engine.name(rest)
    }

    /// A file of this test's own, which nobody has made yet.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    // What they do and see.

    /// What their client prints.
    pub(crate) fn client(&self, arguments: &[&str]) -> String {
        self.engine.client_text(arguments)
    }

    /// Whether their client takes these arguments.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> bool {
        self.engine.client(arguments).status.success()
    }

    /// Their client as a process that goes on.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        self.engine.client_command(arguments)
    }

    /// What their client prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.client(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// What their client gets from this path of the API.
    pub(crate) fn query(&self, path: &str) -> Value {
        self.json(&["query", path])
    }

    /// Whether their client finds this path of the API.
    pub(crate) fn finds(&self, path: &str) -> bool {
        self.succeeds(&["query", path])
    }

    /// The instance as their list shows it, state included.
    pub(crate) fn listed(&self, name: &str) -> Option<Value> {
        let list = self.json(&["list", name, "--format", "json"]);
        // The argument is the beginning of a name.
        list.as_array().expect("a list").iter().find(|instance| instance["name"] == name).cloned()
    }

    /// Their word for the state of an instance.
    pub(crate) fn status(&self, name: &str) -> String {
        self.listed(name).map_or_else(|| "gone".to_owned(), |found| found["status"].as_str().unwrap_or("").to_owned())
    }

    /// A key of an instance's configuration.
    pub(crate) fn config(&self, name: &str, key: &str) -> String {
        self.client(&["config", "get", name, key]).trim_end().to_owned()
    }

    /// Makes an instance of the test image, which does not run.
    pub(crate) fn they_init(&self, rest: &str) -> String {
        self.they_init_with(rest, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn they_init_with(&self, rest: &str, arguments: &[&str]) -> String {
        let name = self.name(rest);
        let image = image();
        let _ = self.client(&[&["init", "--quiet", &image, &name], arguments].concat());
        name
    }

    /// Makes an instance of the test image, which runs.
    pub(crate) fn they_launch(&self, rest: &str) -> String {
        let name = self.they_init(rest);
        let _ = self.client(&["start", &name]);
        name
    }

    /// Runs a command of a shell in an instance that runs, and gives its output.
    pub(crate) fn they_run(&self, name: &str, script: &str) -> String {
        self.client(&["exec", name, "--", "sh", "-c", script])
    }

    /// The content of a file of an instance.
    pub(crate) fn they_pull(&self, name: &str, path: &str) -> String {
        self.client(&["file", "pull", &format!("{name}{path}"), "-"])
    }

    /// Puts a file into an instance.
    pub(crate) fn they_push(&self, name: &str, path: &str, content: &str, arguments: &[&str]) {
        let file = self.file("pushed");
        std::fs::write(&file, content).expect("a file");
        let (source, target) = (file.display().to_string(), format!("{name}{path}"));
        let _ = self.client(&[&["file", "push", "--quiet"], arguments, &[&source, &target]].concat());
    }

    /// Lets a frozen instance go on.
    pub(crate) fn they_resume(&self, name: &str) {
        let verb = if self.product == Product::Incus { "resume" } else { "start" };
        let _ = self.client(&[verb, name]);
    }

    /// Does something with a snapshot.
    pub(crate) fn they_snapshot(&self, verb: SnapshotVerb, name: &str, snapshot: &str) {
        let both = format!("{name}/{snapshot}");
        let _ = match (self.product == Product::Incus, verb) {
            (true, SnapshotVerb::Create) => self.client(&["snapshot", "create", name, snapshot]),
            (true, SnapshotVerb::Restore) => self.client(&["snapshot", "restore", name, snapshot]),
            (true, SnapshotVerb::Delete) => self.client(&["snapshot", "delete", name, snapshot]),
            (false, SnapshotVerb::Create) => self.client(&["snapshot", name, snapshot]),
            (false, SnapshotVerb::Restore) => self.client(&["restore", name, snapshot]),
            (false, SnapshotVerb::Delete) => self.client(&["delete", &both]),
        };
    }

    /// The names of an instance's snapshots.
    pub(crate) fn snapshots(&self, name: &str) -> Vec<String> {
        let list = self.query(&format!("/1.0/instances/{name}/snapshots?recursion=1"));
        let names = list.as_array().expect("a list").iter().filter_map(|snapshot| snapshot["name"].as_str());
        // Old servers put the instance's name in front.
        let mut names: Vec<_> = names.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect();
        names.sort();
        names
    }

    // What we do and see.

    pub(crate) fn container(&self, name: &str) -> Arc<dyn Container> {
        self.node.container(name)
    }

    /// A container of the test image and with its own main process.
    pub(crate) fn spec(&self, rest: &str) -> ContainerSpec {
        ContainerSpec::new(image()).name(self.name(rest))
    }

    pub(crate) async fn we_create_as(&self, spec: &ContainerSpec) -> Arc<dyn Container> {
        let created = self.node.create_container(spec).await.expect("we create a container");
        self.container(&created.id)
    }

    pub(crate) async fn we_create(&self, rest: &str) -> Arc<dyn Container> {
        self.we_create_as(&self.spec(rest)).await
    }

    pub(crate) async fn we_run_as(&self, spec: &ContainerSpec) -> Arc<dyn Container> {
        let container = self.we_create_as(spec).await;
        container.start().await.expect("we start a container");
        container
    }

    pub(crate) async fn we_run(&self, rest: &str) -> Arc<dyn Container> {
        self.we_run_as(&self.spec(rest)).await
    }

    pub(crate) async fn details(&self, name: &str) -> ContainerDetails {
        self.container(name).inspect().await.expect("we inspect a container")
    }

    /// The state by list and by inspection, which must be one; none when both find no such container.
    pub(crate) async fn state(&self, name: &str) -> Option<ContainerState> {
        let (listed, inspected) = self.states(name).await;
        assert_eq!(listed, inspected, "list and inspection of {name}");
        inspected
    }

    /// The state by list, and by inspection.
    pub(crate) async fn states(&self, name: &str) -> (Option<ContainerState>, Option<ContainerState>) {
        let mut filter = ContainerFilter::all();
        filter.names.push(name.to_owned());
        let listed = self.node.list_containers(&filter).await.expect("we list");
        let inspected = match self.container(name).inspect().await {
            Ok(details) => Some(details.summary.state),
            Err(error) if error.kind() == roadstead_core::ErrorKind::NotFound => None,
            Err(error) => panic!("inspect: {error:?}"),
        };
        (listed.first().map(|container| container.state), inspected)
    }

    /// The content of a file, as copied out.
    pub(crate) async fn we_read(&self, name: &str, path: &str) -> String {
        let archive = whole(self.container(name).copy_out(path).await.expect("we copy out")).await;
        let files = contents(&archive);
        let last = path.rsplit('/').next().unwrap_or(path);
        files.get(last).unwrap_or_else(|| panic!("{path}: {:?}", files.keys())).content.clone()
    }

    /// Puts a file into the root directory of a container.
    pub(crate) async fn we_write(&self, name: &str, file: &str, content: &str) {
        let archive = archive(&[Entry::new(file, content)]);
        let options = roadstead_core::CopyInOptions::default();
        self.container(name).copy_in("/", stream_of(archive), &options).await.expect("we copy in");
    }
}

/// Waits until `look` gives what was waited for; `what` it is says the panic.
pub(crate) async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {} s: {what}", SOON.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All bytes of a stream.
pub(crate) async fn whole(mut stream: ByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.expect("the stream goes on"));
    }
    bytes
}

/// Reads a stream of progress to its end.
pub(crate) async fn finish<T>(mut stream: ItemStream<T>) {
    while let Some(item) = stream.next().await {
        drop(item.expect("it goes on"));
    }
}

/// Bytes as a stream, in two parts.
pub(crate) fn stream_of(mut bytes: Vec<u8>) -> ByteStream {
    let rest = bytes.split_off(bytes.len() / 2);
    stream::iter([bytes, rest].map(|part| Ok(Bytes::from(part)))).boxed()
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) content: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
}

impl Entry {
    pub(crate) fn new(path: &str, content: &str) -> Self {
        Entry { path: path.to_owned(), content: content.to_owned(), mode: 0o644, owner: (0, 0) }
    }
}

/// An archive of plain files.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.content.len() as u64);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(1_700_000_000);
        archive.append_data(&mut header, &entry.path, entry.content.as_bytes()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

/// The plain files of an archive by path.
pub(crate) fn contents(archive: &[u8]) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(archive);
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().expect("a path").display().to_string().trim_start_matches("./").to_owned();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut entry, &mut content).expect("the content");
        let header = entry.header();
        let owner = (header.uid().expect("a user"), header.gid().expect("a group"));
        let mode = header.mode().expect("a mode") & 0o7777;
        let content = String::from_utf8_lossy(&content).into_owned();
        files.insert(path.clone(), Entry { path, content, mode, owner });
    }
    files
}
