//! The parts put together and compared, on archives of another writer.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use super::*;
use crate::error::ErrorKind;
use crate::stream::ByteStream;

/// An archive that the `tar` crate writes.
struct Written(tar::Builder<Vec<u8>>);

impl Written {
    fn new() -> Self {
        Written(tar::Builder::new(Vec::new()))
    }

    fn add(mut self, kind: tar::EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o750 } else { 0o640 });
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        if link.is_empty() {
            self.0.append_data(&mut header, path, data).unwrap();
        } else {
            self.0.append_link(&mut header, path, link).unwrap();
        }
        self
    }

    fn file(self, path: &str, data: &[u8]) -> Self {
        self.add(tar::EntryType::Regular, path, "", data)
    }

    fn directory(self, path: &str) -> Self {
        self.add(tar::EntryType::Directory, path, "", b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// In pieces of an awkward size.
fn pieces(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(333).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

fn part(at: &str, bytes: Vec<u8>) -> Part {
    let open = move || {
        let archive = pieces(&bytes);
        async move { Ok(archive) }.boxed()
    };
    Part { at: at.to_owned(), open: Box::new(open) }
}

async fn splice(parts: Vec<Part>) -> (Vec<u8>, Manifest) {
    let manifest = Arc::new(Mutex::new(Manifest::default()));
    let quiet: Progress = Arc::new(|_| async {}.boxed());
    let pieces: Vec<Bytes> = Splice::stream(parts, Arc::clone(&manifest), quiet).try_collect().await.unwrap();
    let manifest = std::mem::take(&mut *manifest.lock().unwrap());
    (pieces.concat(), manifest)
}

/// What another reader finds: path, link target, content.
fn read(archive: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.to_vec()).unwrap()).unwrap_or_default();
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
        found.push((path.trim_end_matches('/').to_owned(), link, data));
    }
    found
}

#[tokio::test]
async fn mounts_take_their_places_and_hide_what_was_there() {
    let long = "n".repeat(150);
    let root = Written::new()
        .directory("etc/")
        .file("etc/conf", b"1")
        .directory("data/")
        .file("data/hidden", b"2")
        .file(".dockerenv", b"")
        .directory("dev/")
        .file("dev/console", b"")
        .file("empty", b"")
        .add(tar::EntryType::Symlink, "link", "etc/conf", b"");
    let data = Written::new()
        .directory("data/")
        .file(&format!("data/{long}"), &[9; 1300])
        .add(tar::EntryType::Link, "data/hard", &format!("data/{long}"), b"")
        .directory("data/deep/")
        .file("data/deep/hidden", b"3");
    let deep = Written::new().file("deep", b"a file of its own");
    let far = Written::new().directory("c/").file("c/x", b"4");
    let parts = vec![
        part("", root.bytes()),
        part("/data", data.bytes()),
        part("/data/deep", deep.bytes()),
        part("/a/b/c", far.bytes()),
    ];
    let (archive, manifest) = splice(parts).await;
    let found = read(&archive);
    let paths: Vec<_> = found.iter().map(|(path, ..)| path.as_str()).collect();
    let named = format!("data/{long}");
    assert_eq!(
        paths,
        [
            "etc",
            "etc/conf",
            "dev",
            "empty",
            "link",
            "data",
            &*named,
            "data/hard",
            "data/deep",
            "a",
            "a/b",
            "a/b/c",
            "a/b/c/x"
        ]
    );
    assert_eq!((found[6].2.len(), found[7].1.as_str()), (1300, &*named));
    assert_eq!(found[8].2, b"a file of its own");
    // Read back, it is what was told of it, whatever becomes of what engines change.
    let again = scan(pieces(&archive), Manifest::default()).await.unwrap();
    assert_eq!(again.content(), manifest.content());
    assert_eq!(manifest.differences(&again), Vec::<String>::new());
    assert_eq!(manifest.content().bytes, 1 + 1300 + 1300 + 17 + 1, "a second name counts as the file");
}

/// What another reader finds, where names are no text: path and link target.
fn read_bytes(archive: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let named = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path_bytes().to_vec(), entry.link_name_bytes().map(|link| link.to_vec()).unwrap_or_default())
    });
    named.collect()
}

/// A path that is no text.
fn raw(bytes: &[u8]) -> &std::path::Path {
    std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

#[tokio::test]
async fn names_and_link_targets_that_are_no_text_stay_as_they_are() {
    let long = [&b"m/"[..], &[0xe9; 120]].concat();
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &[u8], link: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        if link.is_empty() {
            builder.append_data(&mut header, raw(path), std::io::empty()).unwrap();
        } else {
            builder.append_link(&mut header, raw(path), raw(link)).unwrap();
        }
    };
    add(tar::EntryType::Directory, b"m/", b"");
    add(tar::EntryType::Regular, b"m/caf\xe9", b"");
    add(tar::EntryType::Regular, b"m/caf\xef\xbf\xbde9", b"");
    add(tar::EntryType::Regular, &long, b"");
    add(tar::EntryType::Symlink, b"m/l", b"ziel\xff");
    add(tar::EntryType::Symlink, b"m/ll", &[0xff; 130]);
    add(tar::EntryType::Link, b"m/h", b"m/caf\xe9");
    let mounted = builder.into_inner().unwrap();
    let (archive, manifest) = splice(vec![part("", Written::new().bytes()), part("/m", mounted.clone())]).await;
    let same = |found: &[(Vec<u8>, Vec<u8>)]| -> Vec<(Vec<u8>, Vec<u8>)> {
        found.iter().map(|(path, link)| (path.strip_suffix(b"/").unwrap_or(path).to_vec(), link.clone())).collect()
    };
    assert_eq!(same(&read_bytes(&archive)), same(&read_bytes(&mounted)));
    assert_eq!(manifest.content().entries, 7, "what only looks alike is told apart");
    let other = scan(pieces(&Written::new().directory("m/").bytes()), Manifest::default()).await.unwrap();
    let differences = manifest.differences(&other);
    assert!(differences.contains(&"/m/caf\\xe9 is missing".to_owned()), "{differences:?}");
}

#[tokio::test]
async fn a_directory_is_written_once_whether_it_is_compared_or_not() {
    let root = Written::new().directory("scratch/").directory("scratch/data/").file("scratch/hidden", b"");
    let parts = || {
        vec![
            part("", Written::new().directory("scratch/").bytes()),
            part("/scratch/a/b", Written::new().directory("b/").file("b/x", b"1").bytes()),
            part("/scratch/a/c", Written::new().directory("c/").file("c/y", b"2").bytes()),
        ]
    };
    let manifest = Arc::new(Mutex::new(Manifest::without(&["/scratch".to_owned()])));
    let quiet: Progress = Arc::new(|_| async {}.boxed());
    let archive: Vec<Bytes> = Splice::stream(parts(), manifest, quiet).try_collect().await.unwrap();
    let paths: Vec<_> = read(&archive.concat()).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["scratch", "scratch/a", "scratch/a/b", "scratch/a/b/x", "scratch/a/c", "scratch/a/c/y"]);
    // An empty directory in the place of a temporary file system hides what was below that, and nothing above it.
    let empty = || Part { at: "/scratch".to_owned(), open: Box::new(|| async { Ok(empty_directory(0o1777)) }.boxed()) };
    let mount = part("/scratch/data", Written::new().directory("data/").file("data/x", b"1").bytes());
    let (archive, manifest) = splice(vec![part("", root.bytes()), empty(), mount]).await;
    let paths: Vec<_> = read(&archive).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["scratch", "scratch/data", "scratch/data/x"]);
    let first = tar::Archive::new(&archive[..]).entries().unwrap().next().unwrap().unwrap().header().mode().unwrap();
    assert_eq!((first, manifest.content().entries), (0o1777, 3));
}

#[tokio::test]
async fn a_file_whose_first_name_is_hidden_keeps_its_other_names() {
    let link = tar::EntryType::Link;
    let root = Written::new()
        .directory("store/")
        .file("store/a", &[7; 700])
        .file("store/b", b"hidden, and no more")
        .add(link, "store/c", "store/a", b"")
        .file("y", b"2")
        .add(link, "yy", "y", b"")
        .add(link, "z", "store/a", b"")
        .add(link, "zz", "store/a", b"")
        .file("last", b"3");
    let store = || part("/store", Written::new().directory("store/").file("store/a", b"mounted").bytes());
    let (archive, manifest) = splice(vec![part("", root.bytes()), store()]).await;
    let found = read(&archive);
    let named: Vec<_> = found.iter().map(|(path, link, data)| (path.as_str(), link.as_str(), data.len())).collect();
    assert_eq!(
        named,
        [
            ("y", "", 1),
            ("yy", "y", 0),
            ("last", "", 1),
            ("z", "", 700),
            ("zz", "z", 0),
            ("store", "", 0),
            ("store/a", "", 7),
        ]
    );
    let again = scan(pieces(&archive), Manifest::default()).await.unwrap();
    assert_eq!(manifest.differences(&again), Vec::<String>::new());
    assert_eq!(manifest.content().bytes, 1 + 1 + 1 + 700 + 700 + 7);
    // The second reading has to find it still.
    let mut first = Some(Written::new().file("store/a", b"").add(link, "z", "store/a", b"").bytes());
    let open = move || {
        let archive = pieces(&first.take().unwrap_or_else(|| Written::new().bytes()));
        async move { Ok(archive) }.boxed()
    };
    let gone = vec![Part { at: String::new(), open: Box::new(open) }, store()];
    let quiet: Progress = Arc::new(|_| async {}.boxed());
    let failed = Splice::stream(gone, Arc::default(), quiet).try_collect::<Vec<Bytes>>().await.unwrap_err();
    assert!(failed.to_string().contains("store/a"), "{failed}");
}

#[tokio::test]
async fn the_first_entry_tells_what_is_there() {
    let link = Written::new().add(tar::EntryType::Symlink, "run", "/run", b"").bytes();
    assert_eq!(look(pieces(&link)).await.unwrap().unwrap().link.as_deref(), Some(&b"/run"[..]));
    let directory = look(pieces(&Written::new().directory("d/").file("d/x", b"").bytes())).await.unwrap().unwrap();
    assert_eq!(directory, Look { link: None, mode: 0o750, uid: 7, gid: 8 });
    assert_eq!(look(pieces(&Written::new().bytes())).await.unwrap(), None);
    assert!(look(pieces(b"")).await.is_err());
}

#[tokio::test]
async fn entries_may_begin_below_a_root_of_their_own() {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind) in [("/", b'5'), ("/a", b'5'), ("/a/f", b'0')] {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o700);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    let rooted = builder.into_inner().unwrap();
    let (archive, _) = splice(vec![part("", Written::new().directory("m/").bytes()), part("/m", rooted)]).await;
    let paths: Vec<_> = read(&archive).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["m", "m/a", "m/a/f"]);
}

#[tokio::test]
async fn every_difference_is_found_and_named() {
    let base = || Written::new().directory("d/").file("d/f", b"same");
    let scanned = |written: Written| async move { scan(pieces(&written.bytes()), Manifest::default()).await.unwrap() };
    let original = scanned(base()).await;
    for (changed, said) in [
        (Written::new().directory("d/").file("d/f", b"Same"), "/d/f has other content"),
        (Written::new().directory("d/"), "/d/f is missing"),
        (base().file("new", b""), "/new was not there before"),
        (base().directory("d/f/"), "/d/f is something else"),
    ] {
        let changed = scanned(changed).await;
        assert_ne!(original.content().sha256, changed.content().sha256, "{said}");
        assert_eq!(original.differences(&changed), [said]);
    }
    let volatile = scanned(base().file("etc/hostname", b"x").file("proc/1", b"").file("run/.containerenv", b"")).await;
    assert_eq!(original.content(), volatile.content());
    let temporary = Manifest::without(&["/tmp".to_owned()]);
    let with_temporary = scan(pieces(&base().directory("tmp/").file("tmp/x", b"").bytes()), temporary).await.unwrap();
    assert_eq!(original.content(), with_temporary.content());
}

#[tokio::test]
async fn what_is_cut_or_makes_no_sense_is_an_error() {
    let whole = Written::new().directory("d/").file("d/f", &[1; 2000]).bytes();
    for length in [0, 100, 512, 700, 1500, whole.len() - 1024] {
        let error = scan(pieces(&whole[..length]), Manifest::default()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "cut after {length} bytes");
    }
    let mut damaged = whole.clone();
    damaged[10] ^= 1;
    for bad in [damaged, b"no archive at all ".repeat(60), Written::new().file("x", b"").bytes().repeat(0)] {
        assert!(scan(pieces(&bad), Manifest::default()).await.is_err());
    }
    let failing = pieces(&whole[..600]).chain(stream::once(async { Err(crate::Error::unsupported("this")) })).boxed();
    assert_eq!(scan(failing, Manifest::default()).await.err().unwrap().kind(), ErrorKind::Unsupported);
    let mut climbing = tar::Header::new_ustar();
    climbing.as_mut_bytes()[..9].copy_from_slice(b"../escape");
    climbing.set_size(0);
    climbing.set_entry_type(tar::EntryType::Regular);
    climbing.set_cksum();
    let mut bytes = climbing.as_bytes().to_vec();
    bytes.resize(2048, 0);
    assert!(scan(pieces(&bytes), Manifest::default()).await.err().unwrap().to_string().contains("leads out"));
}

#[tokio::test]
async fn large_numbers_and_attributes_pass_through_a_new_place() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("SCHILY.xattr.user.a", &b"\x00\xff"[..]), ("uid", b"4000000000")]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o4755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(1);
    builder.append_data(&mut header, "m/f", &b"x"[..]).unwrap();
    let (archive, _) = splice(vec![part("/n/m", builder.into_inner().unwrap())]).await;
    let mut archive = tar::Archive::new(&archive[..]);
    let mut entry = archive.entries().unwrap().nth(1).unwrap().unwrap();
    let records: Vec<_> = entry
        .pax_extensions()
        .unwrap()
        .unwrap()
        .map(|record| record.map(|record| (record.key().unwrap().to_owned(), record.value_bytes().to_vec())).unwrap())
        .collect();
    assert!(records.contains(&("SCHILY.xattr.user.a".to_owned(), vec![0, 255])), "{records:?}");
    assert!(records.contains(&("uid".to_owned(), b"4000000000".to_vec())), "{records:?}");
    assert_eq!(&*entry.path_bytes(), b"n/m/f");
    assert_eq!(entry.header().mode().unwrap(), 0o4755);
}
