//! Copies of containers between servers of LXD and Incus by the servers' own migration.

mod faults;
mod fitting;
mod ways;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use roadstead_core::{ConnectOptions, CopyOptions, CopyProgress, CopyTransport, Node, Result};
use roadstead_tests::TestEngine;
use serde_json::{Value, json};

/// Whatever is waited for comes within this time unless something hangs.
const SOON: Duration = Duration::from_secs(90);
/// Every transport between two servers.
const TRANSPORTS: [CopyTransport; 3] = [CopyTransport::Pull, CopyTransport::Push, CopyTransport::Relay];

/// The engine as a node, over its socket.
async fn node(engine: &TestEngine) -> Arc<dyn Node> {
    let mut options = ConnectOptions::default();
    options.reconnect_deadline = Duration::from_secs(3);
    roadstead_backends::registry().connect(engine.kind(), engine.uri(), &options).await.expect("it connects")
}

/// A container that has never run, with files of all kinds, a label, a limit and a snapshot whose files differ.
fn original(engine: &TestEngine) -> String {
    let name = engine.create(&engine.name("original"), &["sleep", "1000"]);
    put(engine, &root(engine, &name), "before the snapshot");
    engine.operate("POST", &format!("/1.0/instances/{name}/snapshots"), Some(&json!({"name": "first"})));
    put(engine, &root(engine, &name), "after the snapshot");
    change(engine, &name, &json!({"config": {"user.kept": "two  words", "limits.memory": "64MiB"}}));
    name
}

/// Changes an instance; some servers do so in the background.
fn change(engine: &TestEngine, name: &str, changes: &Value) {
    let changed = engine.ask("PATCH", &format!("/1.0/instances/{name}"), Some(changes));
    assert!(changed.status < 300, "{}", changed.text());
    if let Some(operation) = changed.json()["operation"].as_str().filter(|operation| !operation.is_empty()) {
        let ended = engine.get(&format!("{operation}/wait?timeout=60"));
        assert_eq!(ended["metadata"]["status_code"], 200, "{ended}");
    }
}

fn put(engine: &TestEngine, root: &Path, words: &str) {
    assert!(engine.socket().is_absolute() && root.is_dir(), "{}", root.display());
    let directory = root.join("srv/kept");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("words"), words).unwrap();
    std::os::unix::fs::chown(directory.join("words"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(directory.join("words"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::write(directory.join("zeros"), vec![0_u8; 3_000_000]).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1750)).unwrap();
    let link = directory.join("link");
    if !link.is_symlink() {
        std::os::unix::fs::symlink("../kept/words", link).unwrap();
    }
}

/// Where the engine keeps the root file system of a container (on pools that are directories).
fn root(engine: &TestEngine, name: &str) -> PathBuf {
    pool(engine).join("containers").join(name).join("rootfs")
}

fn snapshot_root(engine: &TestEngine, name: &str, snapshot: &str) -> PathBuf {
    pool(engine).join("containers-snapshots").join(name).join(snapshot).join("rootfs")
}

fn pool(engine: &TestEngine) -> PathBuf {
    engine.socket().with_file_name("storage-pools").join("default")
}

/// Every file beneath a directory with kind, mode, owner, group, size and content, as lines that show where two differ.
fn manifest(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut entries = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let content = if found.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if found.is_file() {
                format!(
                    "{:x}",
                    fs::read(&path)
                        .unwrap()
                        .iter()
                        .fold(0_u64, |sum, byte| { (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3) })
                )
            } else {
                String::new()
            };
            let (mode, owner, group) = (found.mode(), found.uid(), found.gid());
            let size = if found.is_file() { found.size() } else { 0 };
            let words = format!("{mode:o} {owner}:{group} {size} {content}");
            entries.insert(path.strip_prefix(root).unwrap().to_owned(), words);
            if found.is_dir() {
                open.push(path);
            }
        }
    }
    entries
}

/// Both trees have the same files.
fn same_files(left: &Path, right: &Path) {
    let (left, right) = (manifest(left), manifest(right));
    let differ = |a: &BTreeMap<PathBuf, String>, b: &BTreeMap<PathBuf, String>| {
        let lines = a.iter().filter(|(path, words)| b.get(*path) != Some(words));
        lines.map(|(path, words)| format!("{} {words}", path.display())).collect::<Vec<_>>()
    };
    assert!(left.len() > 10, "{left:?}");
    assert_eq!((differ(&left, &right), differ(&right, &left)), (Vec::new(), Vec::new()));
}

fn instance(engine: &TestEngine, name: &str) -> Value {
    engine.get(&format!("/1.0/instances/{name}"))["metadata"].clone()
}

fn exists(engine: &TestEngine, name: &str) -> bool {
    engine.ask("GET", &format!("/1.0/instances/{name}"), None).status == 200
}

/// Operations that go on: what ended is told of for some seconds.
fn running(engine: &TestEngine) -> Vec<Value> {
    let all = engine.get("/1.0/operations?recursion=1")["metadata"].clone();
    ["running", "pending", "cancelling"]
        .iter()
        .flat_map(|state| all[*state].as_array().cloned().unwrap_or_default())
        .collect()
}

/// Waits until it holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn options(container: &str, name: &str, transport: CopyTransport, snapshots: bool) -> CopyOptions {
    let mut options = CopyOptions::new(container, name, transport);
    options.snapshots = snapshots;
    options.labels.insert("roadstead.move".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    options
}

/// Copies, and gives what was told.
async fn copy(target: &dyn Node, source: &dyn Node, options: &CopyOptions) -> Result<Vec<CopyProgress>> {
    let mut stream = target.copy_container(source, options).await?;
    let mut told = Vec::new();
    let all = async {
        while let Some(progress) = stream.next().await {
            told.push(progress?);
        }
        Ok(())
    };
    tokio::time::timeout(SOON, all).await.expect("the copy ends")?;
    Ok(told)
}
