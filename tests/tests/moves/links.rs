//! Files whose names lead elsewhere: mounts below links, and hard links to what a mount hides.

use roadstead_core::{CommitOptions, ContainerSpec, CopyInOptions, DeleteOptions, MountKind};
use roadstead_tests::engines::{self, image};
use roadstead_tests::moves::{End, Trial};

use super::{mount, rich_system};

/// An image of the usual one with two more files: a link to a directory, and a file with a name in another one.
async fn linked(end: &End) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(data.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, path, data).unwrap();
        } else {
            builder.append_link(&mut header, path, link).unwrap();
        }
    };
    add(tar::EntryType::Directory, "real/", "", b"");
    add(tar::EntryType::Symlink, "way", "/real", b"");
    add(tar::EntryType::Directory, "store/", "", b"");
    add(tar::EntryType::Regular, "store/a", "", &[3; 5000]);
    add(tar::EntryType::Link, "zz/b", "store/a", b"");
    add(tar::EntryType::Link, "zz/c", "store/a", b"");
    let archive = bytes::Bytes::from(builder.into_inner().unwrap());
    let node = end.direct().await;
    let name = end.engine().name("linked");
    let _ = node.create_container(&ContainerSpec::new(image()).name(&name)).await.expect("a container");
    let container = node.container(&name);
    let archive = Box::pin(futures_util::stream::once(async { Ok(archive) }));
    container.copy_in("/", archive, &CopyInOptions::default()).await.expect("files are put into it");
    let image = format!("roadstead/{name}:latest");
    let _ = container.commit(&CommitOptions::new(&image)).await.expect("an image");
    container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_below_links_and_files_with_hidden_names_move() {
    let (Some(docker), Some(lxd), Some(incus), Some(podman)) =
        (engines::docker(), engines::lxd(), engines::incus(), engines::podman())
    else {
        return;
    };
    let (docker, podman) = (End::shared("docker", docker), End::shared("podman", podman));
    let (lxd, incus) = (End::shared("lxd", lxd), End::shared("incus", incus));
    let hidden = |image: &str| {
        let mut spec = rich_system();
        image.clone_into(&mut spec.image);
        spec
    };
    let from_docker = linked(&docker).await;
    let mut spec = hidden(&from_docker);
    spec.mounts.push(mount(MountKind::Volume, None, "/way/app"));
    for target in [&lxd, &incus, &podman] {
        Trial::new(&docker, target, spec.clone()).uncut().await;
    }
    docker.direct().await.delete_image(&from_docker, true).await.expect("the image is deleted");
    for source in [&lxd, &incus] {
        let image = linked(source).await;
        Trial::new(source, &docker, hidden(&image)).uncut().await;
        source.direct().await.delete_image(&image, true).await.expect("the image is deleted");
    }
}
