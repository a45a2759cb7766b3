//! What is not left behind, and what is: images of exports and imports that nobody waits for any more, volumes that an instance
//! does not have, or not alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ContainerSpec, DeleteOptions, ErrorKind, ImportOptions, Mount, MountKind, Node, StopOptions};
use roadstead_tests::TestEngine;
use roadstead_tests::engines::image;
use serde_json::{Value, json};

use crate::connect;

const SOON: Duration = Duration::from_secs(60);

/// The images that bear a mark of being temporary which names this.
fn marked(engine: &TestEngine, what: &str) -> Vec<Value> {
    let all = engine.get("/1.0/images?recursion=1")["metadata"].as_array().cloned().unwrap_or_default();
    let names =
        |image: &Value| image["properties"]["roadstead.temporary"].as_str().is_some_and(|mark| mark.contains(what));
    all.into_iter().filter(names).collect()
}

/// Waits until no operation about images is under way, and then no such image is left.
async fn nothing_is_left(engine: &TestEngine, what: &str) {
    let until = Instant::now() + SOON;
    loop {
        let running =
            engine.get("/1.0/operations?recursion=1")["metadata"]["running"].as_array().cloned().unwrap_or_default();
        let about_images = running.iter().any(|operation| {
            operation["description"].as_str().is_some_and(|text| text.to_lowercase().contains("image"))
        });
        let left = marked(engine, what);
        if left.is_empty() && !about_images {
            return;
        }
        assert!(Instant::now() < until, "left: {left:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn created(node: &Arc<dyn Node>, engine: &TestEngine, rest: &str, mounts: Vec<Mount>) -> String {
    let mut spec = ContainerSpec::new(image()).name(engine.name(rest)).command(["sleep", "600"]);
    spec.mounts = mounts;
    node.create_container(&spec).await.expect("it is created").id
}

fn volume(target: &str) -> Mount {
    Mount { kind: MountKind::Volume, source: None, target: target.to_owned(), read_only: false, size_bytes: None }
}

on_lxd_and_incus! { exports imports unnamed volumes_that_are_gone volumes_of_two }

async fn exports(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it connects");
    let id = created(&node, engine, "export", Vec::new()).await;
    // One that nobody waits for, at several moments; one that is read halfway; one that is read.
    for patience in [0, 5, 20, 50, 100, 200] {
        let export = node.container(&id);
        let _ = tokio::time::timeout(Duration::from_millis(patience), export.export()).await;
    }
    let mut begun = node.container(&id).export().await.expect("a stream");
    begun.next().await.expect("a piece").expect("without an error");
    drop(begun);
    let all: Vec<_> = node.container(&id).export().await.expect("a stream").collect().await;
    assert!(all.iter().all(Result::is_ok));
    nothing_is_left(engine, &id).await;
}

fn archive(size: usize) -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(u64::try_from(size).expect("a size"));
    let content: Vec<u8> = (0..size).map(|at| u8::try_from((at * 7 + at / 251) % 256).expect("a byte")).collect();
    builder.append_data(&mut header, "file", content.as_slice()).expect("an archive");
    Bytes::from(builder.into_inner().expect("an archive"))
}

async fn imports(engine: &TestEngine) {
    let node = connect(engine.uri()).await.expect("it connects");
    let reference = format!("localhost/{}:1", engine.name("import"));
    let archive = archive(4 << 20);
    let pieces = || {
        let pieces: Vec<_> = archive.chunks(64 << 10).map(Bytes::copy_from_slice).map(Ok).collect();
        stream::iter(pieces).boxed()
    };
    let mut options = ImportOptions::default();
    options.reference.clone_from(&reference);
    for patience in [0, 5, 20, 50, 100, 200, 400] {
        let import = node.import_image(pieces(), &options);
        if tokio::time::timeout(Duration::from_millis(patience), import).await.is_ok() {
            node.delete_image(&reference, false).await.expect("it is there, and goes");
        }
    }
    nothing_is_left(engine, &reference).await;
    // What came to its end has its name, and no mark any more.
    let id = node.import_image(pieces(), &options).await.expect("an image");
    let found = engine.get(&format!("/1.0/images/{id}"))["metadata"].clone();
    assert_eq!(found["aliases"][0]["name"], json!(reference));
    assert_eq!(found["properties"]["roadstead.temporary"], Value::Null, "{found}");
    assert_eq!(found["properties"]["description"], json!(reference));
    node.delete_image(&reference, false).await.expect("it goes");
}

/// A program that was killed between the upload and the name.
async fn unnamed(engine: &TestEngine) {
    let node = connect(engine.uri()).await.expect("it connects");
    let reference = format!("localhost/{}:1", engine.name("unnamed"));
    let mut options = ImportOptions::default();
    options.reference.clone_from(&reference);
    let id = node.import_image(stream::once(async { Ok(archive(1000)) }).boxed(), &options).await.expect("an image");
    answers(engine, "DELETE", &format!("/1.0/images/aliases/{}", reference.replace('/', "%2F")), None, 200);
    // By its name it is not there: somebody has taken that away.
    let refused = node.delete_image(&reference, false).await.expect_err("a refusal");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let mark = json!({"properties": {"roadstead.temporary": reference}, "public": false, "auto_update": false});
    answers(engine, "PUT", &format!("/1.0/images/{id}"), Some(&mark), 200);
    node.delete_image(&reference, false).await.expect("what never got its name goes by it");
    answers(engine, "GET", &format!("/1.0/images/{id}"), None, 404);
}

fn answers(engine: &TestEngine, method: &str, path: &str, body: Option<&Value>, status: u16) {
    let _ = engine.ask(method, path, body).expect(status);
}

fn anonymous(engine: &TestEngine, id: &str) -> (String, Value) {
    let devices = engine.get(&format!("/1.0/instances/{id}"))["metadata"]["devices"].clone();
    let mut disks = devices.as_object().expect("devices").iter();
    let (device, keys) = disks.find(|(_, keys)| keys["path"] == "/store").expect("the volume");
    (device.clone(), keys.clone())
}

fn volume_path(keys: &Value) -> String {
    let text = |key: &str| keys[key].as_str().expect("text").to_owned();
    format!("/1.0/storage-pools/{}/volumes/custom/{}", text("pool"), text("source"))
}

async fn volumes_that_are_gone(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it connects");
    let mut options = DeleteOptions::default();
    options.volumes = true;
    let id = created(&node, engine, "detached", vec![volume("/store")]).await;
    let (device, keys) = anonymous(engine, &id);
    let _ = engine.client_text(&["config", "device", "remove", &id, &device]);
    node.container(&id).delete(&options).await.expect("it goes");
    answers(engine, "GET", &volume_path(&keys), None, 200);
    answers(engine, "DELETE", &volume_path(&keys), None, 200);
    let id = created(&node, engine, "attached", vec![volume("/store")]).await;
    let (_, keys) = anonymous(engine, &id);
    node.container(&id).delete(&options).await.expect("it goes");
    answers(engine, "GET", &volume_path(&keys), None, 404);
}

async fn volumes_of_two(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let node = connect(engine.uri()).await.expect("it connects");
    let id = created(&node, engine, "one", vec![volume("/store")]).await;
    let (device, keys) = anonymous(engine, &id);
    let other = created(&node, engine, "two", Vec::new()).await;
    let text = |key: &str| keys[key].as_str().expect("text").to_owned();
    let (pool, source) = (format!("pool={}", text("pool")), format!("source={}", text("source")));
    let add = ["config", "device", "add", &other, &device, "disk", &pool, &source, "path=/store"];
    let _ = engine.client_text(&add);
    node.container(&other).start().await.expect("it starts");
    let mut options = DeleteOptions::default();
    options.volumes = true;
    node.container(&id).delete(&options).await.expect("it goes, and the volume stays");
    answers(engine, "GET", &volume_path(&keys), None, 200);
    node.container(&other).stop(&StopOptions::after_seconds(0)).await.expect("it stops");
    node.container(&other).delete(&DeleteOptions::force()).await.expect("it goes");
    answers(engine, "DELETE", &volume_path(&keys), None, 200);
}
