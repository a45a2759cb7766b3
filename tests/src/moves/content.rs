//! What a container holds, read by another reader than the one under test.

use std::collections::BTreeMap;
use std::io::Read;

use futures_util::TryStreamExt;
use roadstead_core::{ByteStream, Node};

/// Type, mode, owner, group, link target and content.
pub type Item = (char, u32, u64, u64, String, Vec<u8>);

/// What is at every path.
pub type Content = BTreeMap<String, Item>;

/// Paths that engines make or change on their own, and all below them.
const ENGINES_OWN: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    ".dockerenv",
    "run/.containerenv",
    ".roadstead",
];

async fn bytes(stream: ByteStream) -> Vec<u8> {
    let pieces: Vec<_> = stream.try_collect().await.expect("the archive ends well");
    pieces.concat()
}

fn read(archive: &[u8], place: &str, into: &mut Content) {
    // Podman names what is mounted in a stopped container from the root on.
    let mut rooted = None;
    for entry in tar::Archive::new(archive).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let rooted = *rooted.get_or_insert(path.trim_matches('/').is_empty());
        let inside = |path: &str| {
            let path = path.trim_start_matches("./").trim_matches('/').to_owned();
            match (place.trim_matches('/'), path.split_once('/')) {
                ("", _) => path,
                (place, _) if rooted => format!("{place}/{path}").trim_end_matches('/').to_owned(),
                (place, Some((_, rest))) => format!("{place}/{rest}"),
                (place, None) => place.to_owned(),
            }
        };
        let path = inside(&path);
        if path.is_empty() || ENGINES_OWN.iter().any(|own| path == *own || path.starts_with(&format!("{own}/"))) {
            continue;
        }
        let header = entry.header().clone();
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned()).unwrap_or_default();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("the content of an entry");
        let (mode, uid, gid) = (header.mode().unwrap() & 0o7777, header.uid().unwrap(), header.gid().unwrap());
        let item = match header.entry_type() {
            tar::EntryType::Directory => ('d', mode, uid, gid, String::new(), data),
            tar::EntryType::Symlink => ('l', 0, uid, gid, link, data),
            // Which name is the file and which the link depends on the order of reading.
            tar::EntryType::Link => into.get(&inside(&link)).cloned().expect("a hard link to what came before"),
            tar::EntryType::Regular | tar::EntryType::Continuous => ('f', mode, uid, gid, String::new(), data),
            other => (char::from(other.as_byte()), mode, uid, gid, String::new(), data),
        };
        into.insert(path, item);
    }
}

/// The file system of a container, with what is mounted at `mounts` in its place.
///
/// # Panics
/// When it cannot be read.
pub async fn content(node: &dyn Node, name: &str, mounts: &[String]) -> Content {
    let container = node.container(name);
    let mut content = Content::new();
    read(&bytes(container.export().await.expect("the container is exported")).await, "", &mut content);
    for mount in mounts {
        let place = mount.trim_matches('/');
        content.retain(|path, _| path != place && !path.starts_with(&format!("{place}/")));
        let archive = container.copy_out(mount).await.expect("the mount is read");
        read(&bytes(archive).await, mount, &mut content);
    }
    content
}
