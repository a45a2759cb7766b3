//! Owners on the disk as owners in the container.
//!
//! A server gives the files of a volume the numbers that the container's users have on the node, and writes down with the
//! volume by which map. Reading them through the container undoes that; reading the disk does not.

use roadstead_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::archive::tree::Entry;

const CAPABILITIES: &[u8] = b"SCHILY.xattr.security.capability";
const ACCESS_LISTS: [&[u8]; 2] = [b"SCHILY.xattr.system.posix_acl_access", b"SCHILY.xattr.system.posix_acl_default"];
/// Where the version stands in the value of capabilities of a file, and how long the value of the second one is.
const VERSION_AT: usize = 3;
const SECOND_VERSION_BYTES: usize = 20;

/// A range of numbers, in the words of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Range {
    isuid: bool,
    isgid: bool,
    hostid: u64,
    nsid: u64,
    maprange: u64,
}

/// The map by which owners on the disk are others than in the container; empty where they are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(Vec<Range>);

impl Owners {
    /// From the server's own writing. What cannot be read is an error: owners that are wrong would pass for right.
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::default()) };
        let ranges: Option<Vec<Range>> = serde_json::from_str(text).map_err(|cause| {
            Error::new(ErrorKind::Unexpected, format!("the map of a volume's owners makes no sense: {cause}"))
                .with_source(cause)
        })?;
        Ok(Owners(ranges.unwrap_or_default()))
    }

    /// The entry with the owners that the container counts.
    pub(super) fn undo(&self, entry: &mut Entry) {
        if self.0.is_empty() {
            return;
        }
        (entry.uid, entry.gid) = (self.user(entry.uid), self.group(entry.gid));
        for (name, value) in &mut entry.records {
            if name == CAPABILITIES {
                self.undo_capabilities(value);
            } else if ACCESS_LISTS.contains(&name.as_slice()) {
                self.undo_access_list(value);
            }
        }
    }

    fn user(&self, id: u64) -> u64 {
        within(self.0.iter().filter(|range| range.isuid), id)
    }

    fn group(&self, id: u64) -> u64 {
        within(self.0.iter().filter(|range| range.isgid), id)
    }

    /// The third version names the root of the container that they count in; where that is root itself, it is the second.
    fn undo_capabilities(&self, value: &mut Vec<u8>) {
        let Some((_, root)) = value.split_at_checked(SECOND_VERSION_BYTES) else { return };
        let Ok(root) = <[u8; 4]>::try_from(root) else { return };
        if let Some(version) = value.get_mut(VERSION_AT).filter(|version| **version == 3)
            && self.user(u32::from_le_bytes(root).into()) == 0
        {
            *version = 2;
            value.truncate(SECOND_VERSION_BYTES);
        }
    }

    /// After a version, entries of a tag, permissions and a number, which means something where the tag is a user or a group.
    fn undo_access_list(&self, value: &mut [u8]) {
        let Some(entries) = value.get_mut(4..) else { return };
        for entry in entries.chunks_exact_mut(8) {
            let [tag, _, _, _, id @ ..] = entry else { return };
            let Ok(number) = <[u8; 4]>::try_from(&*id) else { return };
            let number = u64::from(u32::from_le_bytes(number));
            let number = match *tag {
                2 => self.user(number),
                8 => self.group(number),
                _ => continue,
            };
            id.copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
    }
}

/// What no range has, a server leaves as it is when it undoes a map itself.
fn within<'a>(mut ranges: impl Iterator<Item = &'a Range>, id: u64) -> u64 {
    let inside = |range: &Range| id.checked_sub(range.hostid).filter(|offset| *offset < range.maprange);
    ranges.find_map(|range| range.nsid.checked_add(inside(range)?)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tree::Kind;

    const MAP: &str = r#"[{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":1000},
        {"Isuid":false,"Isgid":true,"Hostid":200000,"Nsid":0,"Maprange":65536},
        {"Isuid":true,"Isgid":true,"Hostid":1000,"Nsid":5000,"Maprange":1}]"#;

    fn undone(map: Option<&str>, owner: (u64, u64), record: (&[u8], &[u8])) -> ((u64, u64), Vec<u8>) {
        let mut entry = Entry::new("f", Kind::File);
        (entry.uid, entry.gid) = owner;
        entry.records = vec![(record.0.to_vec(), record.1.to_vec())];
        Owners::parse(map).unwrap().undo(&mut entry);
        ((entry.uid, entry.gid), entry.records[0].1.clone())
    }

    fn owner(map: Option<&str>, user: u64, group: u64) -> (u64, u64) {
        undone(map, (user, group), (b"x", b"")).0
    }

    #[test]
    fn owners_are_what_the_container_counts() {
        assert_eq!(owner(Some(MAP), 100_000, 200_000), (0, 0));
        assert_eq!(owner(Some(MAP), 100_999, 204_321), (999, 4321));
        assert_eq!(owner(Some(MAP), 1000, 1000), (5000, 5000));
        assert_eq!(owner(Some(MAP), 101_000, 7), (101_000, 7), "what is in no range stays");
        for none in [None, Some(""), Some("[]"), Some("null")] {
            assert_eq!(owner(none, 100_000, 7), (100_000, 7), "{none:?}");
        }
        assert_eq!(Owners::parse(Some("nonsense")).unwrap_err().kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn so_are_numbers_in_extended_attributes() {
        let third = [&[1, 0, 0, 3][..], &[9; 16], &100_000_u32.to_le_bytes()].concat();
        let second = [&[1, 0, 0, 2][..], &[9; 16]].concat();
        assert_eq!(undone(Some(MAP), (0, 0), (CAPABILITIES, &third)).1, second);
        assert_eq!(undone(Some(MAP), (0, 0), (CAPABILITIES, &second)).1, second);
        assert_eq!(undone(None, (0, 0), (CAPABILITIES, &third)).1, third);
        let list = |user: u32, group: u32| {
            let entry = |tag: u8, id: u32| [&[tag, 0, 6, 0][..], &id.to_le_bytes()].concat();
            [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, user), entry(8, group)].concat()
        };
        assert_eq!(undone(Some(MAP), (0, 0), (ACCESS_LISTS[0], &list(100_007, 200_009))).1, list(7, 9));
        assert_eq!(undone(Some(MAP), (0, 0), (ACCESS_LISTS[1], b"xx")).1, b"xx");
    }
}
