//! Clauses of images.

use super::check::{Check, During, Failure, drain, drain_bytes, ensure, equal, failed, next, refused, refused_as};
use super::declare;
use super::scene::{Scene, ended, read_file};
use super::tar::{self, File};
use crate::capabilities::Capability;
use crate::container::CommitOptions;
use crate::error::ErrorKind;
use crate::image::{ImportOptions, PullOptions};

declare! {
    I1 "list: every image with all of its references" [Images] list;
    I2 "inspect: by reference and by id" [Images] inspect;
    I3 "pull: progress, and the image is there" [Images ImagePull] + Registry pull;
    I4 "pull: an image that the registry does not have" [ImagePull] + Registry pull_missing;
    I5 "import: the image has the files of the archive" [Images ImageImport Create Files] import;
    I6 "import: a broken archive" [Images ImageImport] import_broken;
    I7 "what was saved and deleted is there again after loading" [Images ImageArchive] save_and_load;
    I8 "tag: found by the new reference, with the same id" [Images] tag;
    I9 "delete: afterwards the reference is not found" [Images] delete;
    I10 "delete: Conflict when a running container uses it" [Images Create Commit] delete_used;
}

async fn id_of(scene: &Scene, reference: &str) -> Check<String> {
    Ok(scene.node().inspect_image(reference).await.during("inspect")?.summary.id)
}

async fn list(scene: &Scene) -> Check {
    let (one, two) = (scene.image_name("one"), scene.image_name("two"));
    for reference in [&one, &two] {
        scene.node().tag_image(&scene.fixture.image, reference).await.during("tag")?;
    }
    let id = id_of(scene, &scene.fixture.image).await?;
    let images = scene.node().list_images().await.during("list")?;
    ensure(images.iter().all(|image| !image.id.is_empty()), "an image has no id")?;
    let Some(image) = images.iter().find(|image| image.id == id) else { return failed("the image is not listed") };
    equal("the node", image.node.as_str(), scene.node().name())?;
    ensure(image.size_bytes > 0, "the image has no size")?;
    for reference in [&one, &two] {
        ensure(image.references.contains(reference), format!("{reference} is not in {:?}", image.references))?;
    }
    equal("the number of list items with this id", images.iter().filter(|image| image.id == id).count(), 1)
}

async fn inspect(scene: &Scene) -> Check {
    let by_reference = scene.node().inspect_image(&scene.fixture.image).await.during("inspect")?;
    let by_id = scene.node().inspect_image(&by_reference.summary.id).await.during("inspect by id")?;
    equal("the id", &by_id.summary.id, &by_reference.summary.id)?;
    equal("the layers", &by_id.layers, &by_reference.layers)?;
    ensure(!by_reference.summary.references.is_empty(), "the image has no reference")?;
    let missing = scene.node().inspect_image(&scene.fixture.missing_image).await;
    refused("inspect", missing, ErrorKind::NotFound).map(drop)
}

async fn pull(scene: &Scene) -> Check {
    let Some(references) = &scene.fixture.pull else { return Err(Failure::Gated("no registry".to_owned())) };
    let present = &references.present;
    scene.made_image(present);
    match scene.node().delete_image(present, true).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).during("delete"),
        _ => {}
    }
    let mut stream = scene.node().pull_image(&PullOptions::new(present)).await.during("pull")?;
    let progress = drain("pull", &mut stream).await?;
    ensure(!progress.is_empty(), "there was no progress")?;
    ensure(progress.iter().any(|item| !item.status.is_empty()), "the progress has no words")?;
    id_of(scene, present).await.map(drop)
}

async fn pull_missing(scene: &Scene) -> Check {
    let Some(references) = &scene.fixture.pull else { return Err(Failure::Gated("no registry".to_owned())) };
    scene.made_image(&references.missing);
    let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied];
    match scene.node().pull_image(&PullOptions::new(&references.missing)).await {
        Err(error) => refused_as("pull", Err::<(), _>(error), &kinds).map(drop),
        Ok(mut stream) => loop {
            use futures_util::StreamExt;
            match tokio::time::timeout(super::check::SOON, stream.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return refused_as("pull", Err::<(), _>(error), &kinds).map(drop),
                Ok(None) => return failed("the pull ended without an error"),
                Err(_) => return failed("the pull does not end"),
            }
        },
    }
}

/// Makes a small image of the test's own, and gives its id.
async fn own_image(scene: &Scene, reference: &str) -> Check<String> {
    let files = [File::new("own", 0o644, reference.as_bytes()), File::new("bin/program", 0o755, "#!/bin/sh\n")];
    let mut options = ImportOptions::new(reference);
    options.command = vec!["/bin/program".to_owned()];
    scene.node().import_image(tar::stream_of(tar::write(&files)), &options).await.during("import")
}

async fn import(scene: &Scene) -> Check {
    let reference = scene.image_name("imported");
    let id = own_image(scene, &reference).await?;
    let image = scene.node().inspect_image(&reference).await.during("inspect")?;
    equal("the id", &image.summary.id, &id)?;
    equal("the command", image.command, ["/bin/program"])?;
    let mut spec = scene.spec("from-import");
    spec.image.clone_from(&reference);
    let container = scene.create(&spec).await?;
    let files = read_file(&*container, "/own").await?;
    equal("the file", files, [File::new("own", 0o644, reference.as_bytes())])?;
    let files = read_file(&*container, "/bin/program").await?;
    equal("the mode of the program", files.first().map(|file| file.mode), Some(0o755))
}

async fn import_broken(scene: &Scene) -> Check {
    let reference = scene.image_name("broken");
    let imported = scene.node().import_image(tar::broken(), &ImportOptions::new(&reference)).await;
    refused("import", imported, ErrorKind::InvalidInput)?;
    refused("inspect", scene.node().inspect_image(&reference).await, ErrorKind::NotFound).map(drop)
}

async fn save_and_load(scene: &Scene) -> Check {
    // An image that nothing else holds, where the engine can make one; otherwise a further name for a known one.
    let (one, two) = (scene.image_name("one"), scene.image_name("two"));
    if scene.has(Capability::ImageImport) {
        own_image(scene, &one).await?;
    } else {
        scene.node().tag_image(&scene.fixture.image, &one).await.during("tag")?;
    }
    scene.node().tag_image(&one, &two).await.during("tag")?;
    let id = id_of(scene, &one).await?;
    let references = [one, two];
    let mut stream = scene.node().save_images(&references).await.during("save")?;
    let archive = drain_bytes("save", &mut stream).await?;
    for reference in &references {
        scene.node().delete_image(reference, false).await.during("delete")?;
        refused("inspect", scene.node().inspect_image(reference).await, ErrorKind::NotFound)?;
    }
    let loaded = scene.node().load_images(tar::stream_of(archive)).await.during("load")?;
    ensure(!loaded.is_empty(), "loading says that nothing was loaded")?;
    for reference in &references {
        equal("the id after loading", id_of(scene, reference).await?, id.as_str())?;
    }
    let nothing = scene.node().save_images(std::slice::from_ref(&scene.fixture.missing_image)).await;
    let missing = match nothing {
        Ok(mut stream) => next("save what is missing", &mut stream).await.map(drop),
        Err(error) => refused("save", Err::<(), _>(error), ErrorKind::NotFound).map(|_| ()),
    };
    missing.or_else(|error| match error {
        // From the stream any words will do; from the call it is NotFound.
        Failure::Failed(reason) if reason.starts_with("save what is missing") => Ok(()),
        other => Err(other),
    })
}

async fn tag(scene: &Scene) -> Check {
    let reference = scene.image_name("tagged");
    let id = id_of(scene, &scene.fixture.image).await?;
    scene.node().tag_image(&scene.fixture.image, &reference).await.during("tag")?;
    equal("the id", id_of(scene, &reference).await?, id.as_str())?;
    let missing = scene.node().tag_image(&scene.fixture.missing_image, &scene.image_name("of-nothing")).await;
    refused("tag what is missing", missing, ErrorKind::NotFound).map(drop)
}

async fn delete(scene: &Scene) -> Check {
    let reference = scene.image_name("short");
    scene.node().tag_image(&scene.fixture.image, &reference).await.during("tag")?;
    scene.node().delete_image(&reference, false).await.during("delete")?;
    refused("inspect", scene.node().inspect_image(&reference).await, ErrorKind::NotFound)?;
    refused("delete again", scene.node().delete_image(&reference, false).await, ErrorKind::NotFound)?;
    // The image itself has another reference, and stays.
    id_of(scene, &scene.fixture.image).await.map(drop)
}

async fn delete_used(scene: &Scene) -> Check {
    let reference = scene.image_name("used");
    let origin = scene.start(&scene.script("origin", "echo other > /other")).await?;
    ended(&*origin).await?;
    origin.commit(&CommitOptions::new(&reference)).await.during("commit")?;
    let mut spec = scene.spec("user");
    spec.image.clone_from(&reference);
    scene.start(&spec).await?;
    let id = id_of(scene, &reference).await?;
    refused("delete", scene.node().delete_image(&reference, false).await, ErrorKind::Conflict)?;
    equal("the id", id_of(scene, &reference).await?, id)
}
