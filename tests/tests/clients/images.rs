//! Images and their aliases.

use roadstead_backends::engines::lxd::CopyImageOptions;
use roadstead_core::{ErrorKind, ImportOptions, PullOptions};
use serde_json::Value;

use crate::scene::{Entry, Scene, archive, contents, finish, stream_of, whole};

/// The image that bears this alias, as their client lists it.
fn listed(scene: &Scene, alias: &str) -> Option<Value> {
    let list = scene.json(&["image", "list", "--format", "json"]);
    let bears = |image: &&Value| image["aliases"].as_array().into_iter().flatten().any(|name| name["name"] == alias);
    list.as_array().expect("a list").iter().find(bears).cloned()
}

/// The fingerprint of the image that bears this alias, by their client.
pub(crate) fn fingerprint(scene: &Scene, alias: &str) -> Option<String> {
    listed(scene, alias)?["fingerprint"].as_str().map(str::to_owned)
}

/// The two halves of an image that nobody else has.
fn halves(mark: &str) -> (Vec<u8>, Vec<u8>) {
    let metadata = format!(
        "architecture: {}\ncreation_date: 1767225600\nproperties:\n  description: image of {mark}\n  os: busybox\n",
        std::env::consts::ARCH
    );
    (archive(&[Entry::new("metadata.yaml", &metadata)]), archive(&[Entry::new("etc/mark", mark)]))
}

/// Imports an image that nobody else has, and gives its fingerprint.
pub(crate) fn made_by_them(scene: &Scene, alias: &str) -> String {
    let (metadata, root) = halves(alias);
    let files = [scene.file("metadata.tar"), scene.file("root.tar")];
    std::fs::write(&files[0], metadata).expect("a file");
    std::fs::write(&files[1], root).expect("a file");
    let [metadata, root] = files.map(|file| file.display().to_string());
    let _ = scene.client(&["image", "import", "--quiet", &metadata, &root, "--alias", alias]);
    fingerprint(scene, alias).expect("it is listed")
}

/// Puts a file into a new container of the image, and gives what it holds.
async fn mark_in(scene: &Scene, image: &str) -> String {
    let name = scene.name("probe");
    let _ = scene.client(&["init", "--quiet", image, &name]);
    scene.they_pull(&name, "/etc/mark")
}

/// Our list and theirs are one: each image with its size, its time and every alias.
pub(crate) async fn we_list_theirs(scene: &Scene) {
    let alias = scene.name("i");
    let made = made_by_them(scene, &alias);
    let second = scene.name("second");
    let _ = scene.client(&["image", "alias", "create", &second, &made]);
    let images = scene.node().list_images().await.expect("we list");
    let image = images.iter().find(|image| image.id == made).expect("it is listed");
    let mut references = image.references.clone();
    references.sort();
    assert_eq!(references, [alias.clone(), second]);
    let theirs = listed(scene, &alias).expect("it is listed");
    assert_eq!(Some(image.size_bytes), theirs["size"].as_u64());
    assert_eq!(image.created_at, theirs["created_at"].as_str().and_then(|time| time.parse().ok()));
    let shared = fingerprint(scene, &roadstead_tests::engines::image()).expect("the test image");
    assert!(images.iter().any(|image| image.id == shared));
}

pub(crate) async fn we_import(scene: &Scene) {
    let alias = scene.name("i");
    let (_, root) = halves(&alias);
    let mut options = ImportOptions::new(&alias);
    options.command = vec!["sleep".to_owned(), "1".to_owned()];
    let id = scene.node().import_image(stream_of(root), &options).await.expect("we import");
    assert_eq!(fingerprint(scene, &alias), Some(id));
    assert_eq!(mark_in(scene, &alias).await, alias);
}

pub(crate) async fn they_import(scene: &Scene) {
    let alias = scene.name("i");
    let id = made_by_them(scene, &alias);
    let image = scene.node().inspect_image(&alias).await.expect("we inspect it");
    assert_eq!(
        (image.summary.id.as_str(), image.summary.references.as_slice()),
        (id.as_str(), [alias.clone()].as_slice())
    );
    assert_eq!(scene.node().inspect_image(&id).await.expect("by its id, too"), image);
    assert!(image.architecture.is_some(), "{image:?}");
    let container = scene.we_create_as(&roadstead_core::ContainerSpec::new(&alias).name(scene.name("c"))).await;
    assert_eq!(scene.we_read(container.id(), "/etc/mark").await, alias);
}

pub(crate) async fn we_tag(scene: &Scene) {
    let (alias, second) = (scene.name("i"), format!("{}/with:tag", scene.name("second")));
    let id = made_by_them(scene, &alias);
    scene.node().tag_image(&alias, &second).await.expect("we tag");
    assert_eq!(fingerprint(scene, &second), Some(id));
}

pub(crate) async fn they_tag(scene: &Scene) {
    let (alias, second) = (scene.name("i"), format!("{}/with:tag", scene.name("second")));
    let id = made_by_them(scene, &alias);
    let _ = scene.client(&["image", "alias", "create", &second, &id]);
    let image = scene.node().inspect_image(&second).await.expect("we find it by the second name");
    assert_eq!(image.summary.id, id);
    let _ = scene.client(&["image", "alias", "delete", &second]);
    let error = scene.node().inspect_image(&second).await.expect_err("the second name is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(scene.node().inspect_image(&alias).await.expect("the first is not").summary.id, id);
}

pub(crate) async fn we_delete(scene: &Scene) {
    let (alias, second) = (scene.name("i"), scene.name("second"));
    let id = made_by_them(scene, &alias);
    let _ = scene.client(&["image", "alias", "create", &second, &id]);
    scene.node().delete_image(&second, false).await.expect("we take one name away");
    assert_eq!((fingerprint(scene, &second), fingerprint(scene, &alias)), (None, Some(id.clone())));
    scene.node().delete_image(&alias, false).await.expect("and the other");
    assert!(!scene.finds(&format!("/1.0/images/{id}")));
}

pub(crate) async fn they_delete(scene: &Scene) {
    let alias = scene.name("i");
    let (_, root) = halves(&alias);
    let id = scene.node().import_image(stream_of(root), &ImportOptions::new(&alias)).await.expect("we import");
    let _ = scene.client(&["image", "delete", &id]);
    for reference in [&alias, &id] {
        let error = scene.node().inspect_image(reference).await.expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(scene.node().list_images().await.expect("we list").iter().all(|image| image.id != id));
}

/// What we saved holds the very files that their client makes the image of again.
pub(crate) async fn they_import_what_we_saved(scene: &Scene) {
    let alias = scene.name("i");
    let id = made_by_them(scene, &alias);
    let saved = whole(scene.node().save_images(std::slice::from_ref(&alias)).await.expect("we save")).await;
    let _ = scene.client(&["image", "delete", &id]);
    let mut arguments = Vec::new();
    let mut saved = tar::Archive::new(saved.as_slice());
    for entry in saved.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").file_name().expect("a name").to_string_lossy().into_owned();
        if name.ends_with(".json") {
            continue;
        }
        let file = scene.file(&name);
        let _ = std::io::copy(&mut entry, &mut std::fs::File::create(&file).expect("a file")).expect("the content");
        arguments.push(file.display().to_string());
    }
    let files: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _ = scene.client(&[&["image", "import", "--quiet"], files.as_slice(), &["--alias", &alias]].concat());
    assert_eq!(fingerprint(scene, &alias), Some(id));
}

pub(crate) async fn we_load(scene: &Scene) {
    let alias = scene.name("i");
    let id = made_by_them(scene, &alias);
    let saved = whole(scene.node().save_images(std::slice::from_ref(&alias)).await.expect("we save")).await;
    let _ = scene.client(&["image", "delete", &id]);
    let loaded = scene.node().load_images(stream_of(saved)).await.expect("we load");
    assert_eq!(loaded, std::slice::from_ref(&alias));
    assert_eq!(fingerprint(scene, &alias), Some(id));
    assert_eq!(mark_in(scene, &alias).await, alias);
}

/// An image in one file, as their client exports it.
pub(crate) async fn we_load_theirs(scene: &Scene) {
    let alias = scene.name("i");
    let (metadata, _) = halves(&alias);
    let metadata = contents(&metadata).remove("metadata.yaml").expect("metadata").content;
    let unified = archive(&[Entry::new("metadata.yaml", &metadata), Entry::new("rootfs/etc/mark", &alias)]);
    let file = scene.file("unified.tar");
    std::fs::write(&file, unified).expect("a file");
    let _ = scene.client(&["image", "import", "--quiet", &file.display().to_string(), "--alias", &alias]);
    let id = fingerprint(scene, &alias).expect("it is listed");
    let exported = scene.file("exported");
    let _ = scene.client(&["image", "export", "--quiet", &alias, &exported.display().to_string()]);
    let _ = scene.client(&["image", "delete", &id]);
    // The client adds the ending of how it is compressed.
    let files = std::fs::read_dir(exported.parent().expect("a directory")).expect("files").flatten();
    let exported = files
        .map(|file| file.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("exported")));
    let bytes = std::fs::read(exported.expect("they exported it")).expect("a file");
    let loaded = scene.node().load_images(stream_of(bytes)).await.expect("we load");
    assert_eq!(loaded, std::slice::from_ref(&id));
    scene.node().tag_image(&id, &alias).await.expect("we tag");
    assert_eq!(mark_in(scene, &alias).await, alias);
}

/// From a remote of the client's configuration.
pub(crate) async fn we_pull(scene: &Scene) {
    let Some(another) = scene.product().another("pull") else { return };
    let there = scene.on(another.engine()).await;
    let alias = scene.name("i");
    let id = made_by_them(scene, &alias);
    let reference = format!("main:{alias}");
    finish(there.node().pull_image(&PullOptions::new(&reference)).await.expect("we pull")).await;
    assert_eq!(fingerprint(&there, &reference), Some(id.clone()));
    let _ = there.client(&["image", "delete", &id]);
}

/// From one server to another by their client.
pub(crate) async fn they_copy(scene: &Scene) {
    let Some(another) = scene.product().another("copied") else { return };
    let there = scene.on(another.engine()).await;
    let (alias, copy) = (scene.name("i"), there.name("copy"));
    let id = made_by_them(scene, &alias);
    let _ = there.client(&["image", "copy", "--quiet", &format!("main:{alias}"), "local:", "--alias", &copy]);
    let image = there.node().inspect_image(&copy).await.expect("we inspect it");
    assert_eq!((image.summary.id, image.summary.references), (id, vec![copy]));
}

/// From one server to another by us.
pub(crate) async fn we_copy(scene: &Scene) {
    let Some(another) = scene.product().another("copy-image") else { return };
    let there = scene.on(another.engine()).await;
    let (alias, copy) = (scene.name("i"), there.name("copy"));
    let id = made_by_them(scene, &alias);
    let mut options = CopyImageOptions::default();
    options.references = vec![copy.clone()];
    finish(there.lxd().copy_image(scene.lxd(), &alias, &options).await.expect("we copy an image")).await;
    assert_eq!(fingerprint(&there, &copy), Some(id));
}
