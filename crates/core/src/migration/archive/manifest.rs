//! What a file system holds, as a list that can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::header::{Entry, Kind, shown};
use super::is_volatile;

/// How many differences are named.
const NAMED: usize = 5;

/// A file system in three numbers: two of them are equal when every path has the same kind, mode, owner, group, content and
/// link target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Content {
    /// Files, directories, links and devices.
    pub entries: u64,
    /// Bytes of all files; a file with several names counts once for each.
    pub bytes: u64,
    /// SHA-256 over the sorted list, hexadecimal.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    kind: char,
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    /// Checksum of a file, target of a link, numbers of a device.
    what: Vec<u8>,
}

/// Every path of a file system with what is compared of it.
#[derive(Debug, Default)]
pub(in super::super) struct Manifest {
    items: BTreeMap<Vec<u8>, Item>,
    /// Directories without leading slash that are left out with all below them.
    left_out: Vec<Vec<u8>>,
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    /// Leaves out these absolute paths and all below them.
    pub(in super::super) fn without(paths: &[String]) -> Self {
        let left_out = paths.iter().map(|path| path.trim_matches('/').as_bytes().to_vec()).collect();
        Manifest { items: BTreeMap::new(), left_out }
    }

    /// Adds an entry; a later one of the same path takes the place of the earlier one.
    pub(super) fn add(&mut self, entry: &Entry, checksum: Option<Sha256>) {
        let path = &entry.path;
        if path.is_empty() || is_volatile(path) || self.left_out.iter().any(|out| super::is_within(path, out)) {
            return;
        }
        let item = |kind, what: Vec<u8>| Item {
            kind,
            // Nobody can change the mode of a symbolic link, and writers fill in what they like.
            mode: if kind == 'l' { 0 } else { entry.mode },
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size,
            what,
        };
        let numbers = || format!("{}:{}", entry.device.0, entry.device.1).into_bytes();
        let item = match entry.kind {
            Kind::File => item('f', checksum.map(|sum| hexadecimal(&sum.finalize())).unwrap_or_default().into_bytes()),
            // Which of several names is the file and which are links depends on the order in which they were read.
            Kind::HardLink => match self.items.get(&entry.link) {
                Some(first) => first.clone(),
                None => item('h', entry.link.clone()),
            },
            Kind::Symlink => item('l', entry.link.clone()),
            Kind::Character => item('c', numbers()),
            Kind::Block => item('b', numbers()),
            Kind::Directory => item('d', Vec::new()),
            Kind::Fifo => item('p', Vec::new()),
        };
        self.items.insert(path.clone(), item);
    }

    pub(in super::super) fn content(&self) -> Content {
        let mut sum = Sha256::new();
        for (path, item) in &self.items {
            // Every part ends with a NUL, which none of them can hold.
            sum.update(path);
            sum.update(format!("\0{}\0{:o}\0{}\0{}\0{}\0", item.kind, item.mode, item.uid, item.gid, item.size));
            sum.update(&item.what);
            sum.update(b"\0");
        }
        Content {
            entries: self.items.len() as u64,
            bytes: self.items.values().map(|item| item.size).sum(),
            sha256: hexadecimal(&sum.finalize()),
        }
    }

    /// What is different in `other`, in words: the first few paths.
    pub(in super::super) fn differences(&self, other: &Manifest) -> Vec<String> {
        let mut found = Vec::new();
        for (path, item) in &self.items {
            match other.items.get(path) {
                None => found.push(format!("/{} is missing", shown(path))),
                Some(there) if there != item => found.push(format!("/{} {}", shown(path), item.difference(there))),
                Some(_) => {}
            }
        }
        for path in other.items.keys().filter(|path| !self.items.contains_key(*path)) {
            found.push(format!("/{} was not there before", shown(path)));
        }
        let more = found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        if more > 0 {
            found.push(format!("{more} more"));
        }
        found
    }
}

impl Item {
    fn difference(&self, other: &Item) -> String {
        if self.kind != other.kind {
            "is something else".to_owned()
        } else if self.mode != other.mode {
            format!("has mode {:o}, not {:o}", other.mode, self.mode)
        } else if (self.uid, self.gid) != (other.uid, other.gid) {
            format!("belongs to {}:{}, not {}:{}", other.uid, other.gid, self.uid, self.gid)
        } else {
            "has other content".to_owned()
        }
    }
}
