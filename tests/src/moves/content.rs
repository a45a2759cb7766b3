//! What a container holds, read by another reader than the one under test.

use std::collections::BTreeMap;
use std::io::Read;

use futures_util::TryStreamExt;
use roadstead_core::{ByteStream, Node};

/// Type, mode, owner, group, link target and content.
pub type Item = (char, u32, u64, u64, Vec<u8>, Vec<u8>);

/// What is at every path; names are bytes, and need be no text.
pub type Content = BTreeMap<Vec<u8>, Item>;

/// Paths that engines make or change on their own, and all below them.
const ENGINES_OWN: [&str; 10] = [
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

/// Whether `path` is `place` or below it.
pub(super) fn is_within(path: &[u8], place: &[u8]) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn trimmed(path: &[u8]) -> &[u8] {
    let mut path = path.strip_prefix(b".").filter(|rest| rest.starts_with(b"/")).unwrap_or(path);
    while let Some(rest) = path.strip_prefix(b"/").or(path.strip_suffix(b"/")) {
        path = rest;
    }
    if path == b"." { b"" } else { path }
}

fn read(archive: &[u8], place: &[u8], into: &mut Content) {
    // Podman names what is mounted in a stopped container from the root on.
    let mut rooted = None;
    for entry in tar::Archive::new(archive).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path_bytes().into_owned();
        let rooted = *rooted.get_or_insert(trimmed(&path).is_empty());
        let inside = |path: &[u8]| {
            let path = trimmed(path);
            let below = path.iter().position(|byte| *byte == b'/').map(|slash| &path[slash + 1..]);
            match (place, if rooted { Some(path).filter(|path| !path.is_empty()) } else { below }) {
                (b"", _) => path.to_vec(),
                (place, Some(rest)) => [place, rest].join(&b'/'),
                (place, None) => place.to_vec(),
            }
        };
        let path = inside(&path);
        if path.is_empty() || ENGINES_OWN.iter().any(|own| is_within(&path, own.as_bytes())) {
            continue;
        }
        let header = entry.header().clone();
        let link = entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("the content of an entry");
        let (mode, uid, gid) = (header.mode().unwrap() & 0o7777, header.uid().unwrap(), header.gid().unwrap());
        let item = match header.entry_type() {
            tar::EntryType::Directory => ('d', mode, uid, gid, Vec::new(), data),
            tar::EntryType::Symlink => ('l', 0, uid, gid, link, data),
            // Which name is the file and which the link depends on the order of reading.
            tar::EntryType::Link => into.get(&inside(&link)).cloned().expect("a hard link to what came before"),
            tar::EntryType::Regular | tar::EntryType::Continuous => ('f', mode, uid, gid, Vec::new(), data),
            other => (char::from(other.as_byte()), mode, uid, gid, Vec::new(), data),
        };
        into.insert(path, item);
    }
}

/// Where `path` is in `content`, with the absolute links on the way followed.
fn place(content: &Content, path: &str) -> Vec<u8> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.fold(Vec::new(), |above: Vec<u8>, part| {
        let next = if above.is_empty() { part.as_bytes().to_vec() } else { [&above, part.as_bytes()].join(&b'/') };
        match content.get(&next) {
            Some(('l', .., link, _)) => trimmed(link).to_vec(),
            _ => next,
        }
    })
}

/// The file system of a container, with what is mounted at `mounts` in its place.
///
/// # Panics
/// When it cannot be read.
pub async fn content(node: &dyn Node, name: &str, mounts: &[String]) -> Content {
    let container = node.container(name);
    let mut content = Content::new();
    read(&bytes(container.export().await.expect("the container is exported")).await, b"", &mut content);
    for mount in mounts {
        let place = place(&content, mount);
        content.retain(|path, _| !is_within(path, &place));
        let archive = container.copy_out(mount).await.expect("the mount is read");
        read(&bytes(archive).await, &place, &mut content);
    }
    content
}
