//! Clauses of files: commit, export, copying in and out.

use super::check::{Check, During, drain_bytes, ensure, equal, failed, refused};
use super::declare;
use super::scene::{Scene, details, ended, read_file};
use super::tar::{self, Entry, File};
use crate::capabilities::Capability;
use crate::container::{CommitOptions, Container, CopyInOptions, Mount, MountKind, StopOptions};
use crate::error::ErrorKind;
use crate::volume::VolumeSpec;

declare! {
    C110 "commit: the image has the container's files" [Create Commit Files] commit;
    C120 "export: a tar archive with the files written inside" [Create Export] export;
    C130 "what was copied in comes out, content and mode" [Create Files] in_and_out;
    C134 "owners come out as they went in, of directories too" [Create Files FileOwners] owners;
    C131 "copy out: a path that does not exist" [Create Files] out_of_nowhere;
    C135 "what is in a volume comes out whether the container runs or not" [Create Files Mounts Volumes] volume;
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

/// Named and anonymous volumes; whole, and parts of them.
async fn volume(scene: &Scene) -> Check {
    let named = VolumeSpec::new(scene.volume_name("kept"));
    scene.node().create_volume(&named).await.during("create a volume")?;
    let mount = |source: Option<&String>, target: &str| Mount {
        kind: MountKind::Volume,
        source: source.cloned(),
        target: target.to_owned(),
        read_only: false,
        size_bytes: None,
    };
    let mut spec = scene.spec("holder");
    spec.mounts = vec![mount(Some(&named.name), "/srv/kept"), mount(None, "/loose")];
    let container = scene.start(&spec).await?;
    let owner = if scene.has(Capability::FileOwners) { (1234, 4321) } else { (0, 0) };
    for (target, text) in [("/srv/kept", "of the volume"), ("/loose", "of no name")] {
        let mut entries = [
            Entry::new("sub", true, 0o2750, owner),
            Entry::new("sub/file", false, 0o4755, owner),
            Entry::new("sub/deep", true, 0o700, (0, 0)),
            Entry::new("sub/deep/other", false, 0o640, owner),
        ];
        for entry in entries.iter_mut().filter(|entry| !entry.directory) {
            entry.data = format!("{text}: {}", entry.path).into_bytes();
        }
        let archive = tar::stream_of(tar::write_entries(&entries));
        container.copy_in(target, archive, &CopyInOptions::default()).await.during("copy in")?;
    }
    let paths = ["/srv/kept", "/loose", "/srv/kept/sub", "/loose/sub/deep/", "/loose/sub/file"];
    let mut before = Vec::new();
    for path in paths {
        let held = held(&*container, path).await?;
        ensure(held.iter().any(|entry| !entry.data.is_empty()), format!("nothing is in {path}"))?;
        before.push(held);
    }
    container.stop(&StopOptions::after_seconds(0)).await.during("stop")?;
    for (path, before) in paths.into_iter().zip(before) {
        equal(&format!("what comes out of {path}"), held(&*container, path).await?, before)?;
    }
    for path in ["/srv/kept/none", "/loose/sub/file2", "/srv/kept/sub/none/other"] {
        refused("copy out", container.copy_out(path).await.map(drop), ErrorKind::NotFound)?;
    }
    container.start().await.during("start again")?;
    equal("what comes out again", held(&*container, "/loose/sub/deep").await?.len(), 2)
}

/// What is at `path`, in the order of the names, and by what stands after the first one: what that is called is C130's
/// matter.
async fn held(container: &dyn Container, path: &str) -> Check<Vec<Entry>> {
    let mut stream = container.copy_out(path).await.during("copy out")?;
    let mut found = tar::read_entries(&drain_bytes("copy out", &mut stream).await?).or_else(failed)?;
    let first = found.first().map(|entry| entry.path.clone()).unwrap_or_default();
    for entry in &mut found {
        let below = entry.path.strip_prefix(&first).unwrap_or(&entry.path).trim_matches('/').to_owned();
        entry.path = below;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
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
