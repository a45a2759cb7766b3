//! Clauses of files: commit, export, copying in and out.

use super::check::{Check, During, drain_bytes, ensure, equal, failed, refused};
use super::declare;
use super::scene::{Scene, details, ended, read_file};
use super::tar::{self, Entry, File};
use crate::container::{CommitOptions, CopyInOptions};
use crate::error::ErrorKind;

declare! {
    C110 "commit: the image has the container's files" [Create Commit Files] commit;
    C120 "export: a tar archive with the files written inside" [Create Export] export;
    C130 "what was copied in comes out, content and mode" [Create Files] in_and_out;
    C134 "owners come out as they went in, of directories too" [Create Files FileOwners] owners;
    C131 "copy out: a path that does not exist" [Create Files] out_of_nowhere;
    C132 "copy in: a directory that does not exist" [Create Files] into_nowhere;
    C133 "copy in: a broken archive" [Create Files] broken_archive;
}

async fn commit(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("origin", "echo kept > /kept")).await?;
    ended(&*container).await?;
    let image = scene.image_name("one");
    let id = container.commit(&CommitOptions::new(&image)).await.during("commit")?;
    ensure(!id.is_empty(), "the new image has no id")?;
    for (rest, reference) in [("copy", &image), ("copy-by-id", &id)] {
        let mut spec = scene.spec(rest);
        spec.image.clone_from(reference);
        let copy = scene.create(&spec).await?;
        let files = read_file(&*copy, "/kept").await?;
        equal("the file", files.first().map(|file| file.data.as_slice()), Some(&b"kept\n"[..]))?;
    }
    Ok(())
}

async fn export(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("exported", "echo inside > /written")).await?;
    ended(&*container).await?;
    let mut stream = container.export().await.during("export")?;
    let archive = drain_bytes("export", &mut stream).await?;
    let files = tar::read(&archive).or_else(failed)?;
    match files.iter().find(|file| file.path == "written") {
        Some(file) => equal("the file", file.data.as_slice(), &b"inside\n"[..]),
        None => failed("the file is not in the archive"),
    }
}

async fn in_and_out(scene: &Scene) -> Check {
    let mut data: Vec<u8> = (0..=255).collect();
    data = data.repeat(300);
    let files =
        [File::new("plain", 0o640, data), File::new("program", 0o755, "#!/bin/sh\n"), File::new("no", 0o600, "")];
    for container in [scene.running("running").await?, scene.created("created").await?] {
        let archive = tar::stream_of(tar::write(&files));
        container.copy_in("/bin", archive, &CopyInOptions::default()).await.during("copy in")?;
        for file in &files {
            equal("what comes out", read_file(&*container, &format!("/bin/{}", file.path)).await?, [file.clone()])?;
        }
        // The entries of a directory begin with its name.
        let directory = read_file(&*container, "/bin").await?;
        for file in &files {
            let path = format!("bin/{}", file.path);
            ensure(directory.iter().any(|entry| entry.path == path), format!("{path} is not in the directory"))?;
        }
    }
    Ok(())
}

async fn owners(scene: &Scene) -> Check {
    let entries = [
        Entry::new("owned", true, 0o2750, (1234, 4321)),
        Entry::new("owned/within", true, 0o1777, (0, 7)),
        Entry::new("owned/within/set-id", false, 0o6751, (5, 0)),
    ];
    for container in [scene.running("running").await?, scene.created("created").await?] {
        let archive = tar::stream_of(tar::write_entries(&entries));
        container.copy_in("/bin", archive, &CopyInOptions::default()).await.during("copy in")?;
        let mut stream = container.copy_out("/bin/owned").await.during("copy out")?;
        let found = tar::read_entries(&drain_bytes("copy out", &mut stream).await?).or_else(failed)?;
        equal("what comes out", found.as_slice(), entries.as_slice())?;
    }
    Ok(())
}

async fn out_of_nowhere(scene: &Scene) -> Check {
    for container in [scene.running("running").await?, scene.created("created").await?] {
        refused("copy out", container.copy_out("/no/such/path").await.map(drop), ErrorKind::NotFound)?;
    }
    Ok(())
}

async fn into_nowhere(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let archive = tar::stream_of(tar::write(&[File::new("file", 0o644, "text")]));
    let copied = container.copy_in("/no/such", archive, &CopyInOptions::default()).await;
    refused("copy in", copied, ErrorKind::NotFound)?;
    refused("copy out", container.copy_out("/no").await.map(drop), ErrorKind::NotFound).map(drop)
}

async fn broken_archive(scene: &Scene) -> Check {
    let container = scene.running("running").await?;
    let before = details(&*container).await?;
    let copied = container.copy_in("/bin", tar::broken(), &CopyInOptions::default()).await;
    refused("copy in", copied, ErrorKind::InvalidInput)?;
    equal("the state", details(&*container).await?.summary.state, before.summary.state)
}
