//! What is mounted in a container that does not run.
//!
//! The endpoint for files shows such a container's root disk and nothing else: at the place of a volume there is the empty
//! directory that it is mounted on, or nothing at all. So what lies in a disk device must be read in another way, and what is
//! written there would be lost to the container. Which device a path lies in depends on the links on the way, too.

use std::collections::VecDeque;

use roadstead_core::{Error, ErrorKind, Result};

use super::super::instance::{Config, Instance};
use super::super::sftp::Sftp;
use super::kind;
use crate::archive::tree::Kind;

/// So many links are followed, as the kernel does it.
pub(super) const LINKS_MAX: usize = 40;

/// The parts of an absolute path, from the root on.
pub(super) type Parts = Vec<Vec<u8>>;

/// The parts of a path as it is written, without those that say nothing.
pub(super) fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec)
}

/// The path of these parts.
pub(super) fn absolute(parts: &[Vec<u8>]) -> Vec<u8> {
    [b"/".as_slice(), &parts.join(&b'/')].concat()
}

/// A disk device.
#[derive(Debug)]
pub(super) struct Mounted {
    /// Where it is mounted.
    pub(super) at: Parts,
    keys: Config,
}

/// A volume, and the directory of it that is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CustomVolume<'a> {
    pub(super) pool: &'a str,
    pub(super) name: &'a str,
    pub(super) directory: Parts,
}

impl Mounted {
    /// The volume that it is; none when it is something else of the node.
    pub(super) fn volume(&self) -> Option<CustomVolume<'_>> {
        let get = |key: &str| self.keys.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let (pool, source) = (get("pool")?, get("source")?);
        // Some servers attach other kinds of volumes than those by this key, and directories of volumes behind a slash.
        if get("source.type").is_some_and(|kind| kind != "custom") {
            return None;
        }
        let (name, directory) = source.split_once('/').unwrap_or((source, ""));
        Some(CustomVolume { pool, name, directory: split(directory.as_bytes()).collect() })
    }

    /// Why nothing can be done with it now.
    pub(super) fn only_running(&self) -> Error {
        let at = String::from_utf8_lossy(&absolute(&self.at)).into_owned();
        Error::new(
            ErrorKind::Conflict,
            format!("the container does not run, and this engine shows what is mounted at {at} only while it runs"),
        )
    }
}

/// The disk devices of a container that does not run, without its root. None of one that runs, which shows them all.
#[derive(Debug, Default)]
pub(super) struct Mounts(Vec<Mounted>);

impl Mounts {
    pub(super) fn of(instance: &Instance) -> Self {
        if instance.state().has_processes() {
            return Self::default();
        }
        let disks = instance.effective_devices().values().filter_map(|keys| {
            let at: Parts = split(keys.get("path")?.as_bytes()).collect();
            let is_disk = keys.get("type").is_some_and(|kind| kind == "disk");
            (is_disk && !at.is_empty()).then(|| Mounted { at, keys: keys.clone() })
        });
        Mounts(disks.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The innermost device that a path lies in, and the rest of the path.
    pub(super) fn covering<'a, 'b>(&'a self, path: &'b [Vec<u8>]) -> Option<(&'a Mounted, &'b [Vec<u8>])> {
        let inside = self.0.iter().filter_map(|mounted| Some((mounted, path.strip_prefix(mounted.at.as_slice())?)));
        inside.max_by_key(|(mounted, _)| mounted.at.len())
    }

    /// `Conflict` when the path lies in a device.
    pub(super) fn must_be_visible(&self, path: &[Vec<u8>]) -> Result<()> {
        match self.covering(path) {
            Some((mounted, _)) => Err(mounted.only_running()),
            None => Ok(()),
        }
    }

    /// A path without links; a link that is its last part is followed with `last` only. What is in a device is not looked
    /// at, and what is not there is taken as it is written: something may be mounted there.
    pub(super) async fn resolve(&self, sftp: &mut Sftp, path: &[u8], last: bool) -> Result<Parts> {
        let mut waiting: VecDeque<Vec<u8>> = split(path).collect();
        let mut found = Parts::new();
        let mut links = 0;
        while let Some(part) = waiting.pop_front() {
            if part == b".." {
                found.pop();
                continue;
            }
            found.push(part);
            if self.covering(&found).is_some() || waiting.is_empty() && !last {
                continue;
            }
            let place = absolute(&found);
            match sftp.lstat(&place).await {
                Ok(attributes) if kind(&attributes) == Some(Kind::SymbolicLink) => {}
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(too_many_links(path));
            }
            let link = sftp.read_link(&place).await?;
            found.pop();
            if link.starts_with(b"/") {
                found.clear();
            }
            for part in split(&link).rev() {
                waiting.push_front(part);
            }
        }
        Ok(found)
    }
}

pub(super) fn too_many_links(path: &[u8]) -> Error {
    Error::invalid("path", format!("{} leads over too many links", String::from_utf8_lossy(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(status: &str) -> Instance {
        serde_json::from_value(serde_json::json!({
            "name": "a", "status": status, "last_used_at": "2026-01-01T00:00:00Z",
            "expanded_devices": {
                "root": {"type": "disk", "path": "/", "pool": "p"},
                "data": {"type": "disk", "path": "/srv/data/", "pool": "p", "source": "v"},
                "inner": {"type": "disk", "path": "/srv/data/in", "pool": "p", "source": "w/sub/dir"},
                "host": {"type": "disk", "path": "srv/host", "source": "/home"},
                "other": {"type": "disk", "path": "/o", "pool": "p", "source": "x", "source.type": "virtual-machine"},
                "eth0": {"type": "nic", "path": "/srv"}
            }
        }))
        .unwrap()
    }

    #[test]
    fn the_innermost_device_has_the_path() {
        let mounts = Mounts::of(&instance("Stopped"));
        let covering = |path: &str| {
            let parts: Parts = split(path.as_bytes()).collect();
            let (mounted, rest) = mounts.covering(&parts)?;
            let volume = mounted.volume().map(|volume| (volume.name.to_owned(), absolute(&volume.directory)));
            Some((volume, String::from_utf8(absolute(rest)).unwrap()))
        };
        let volume = |name: &str, directory: &str| Some((name.to_owned(), directory.into()));
        assert_eq!(covering("/srv/data"), Some((volume("v", "/"), "/".to_owned())));
        assert_eq!(covering("//srv/./data/a/b/"), Some((volume("v", "/"), "/a/b".to_owned())));
        assert_eq!(covering("/srv/data/in/x"), Some((volume("w", "/sub/dir"), "/x".to_owned())));
        assert_eq!(covering("/srv/host/x"), Some((None, "/x".to_owned())));
        assert_eq!(covering("/o"), Some((None, "/".to_owned())));
        for path in ["/", "/srv", "/srv/database", "/etc"] {
            assert_eq!(covering(path), None, "{path}");
        }
    }

    #[test]
    fn who_runs_shows_all() {
        assert!(Mounts::of(&instance("Running")).is_empty());
        assert!(Mounts::of(&instance("Frozen")).is_empty());
        let stopped = Mounts::of(&instance("Stopped"));
        let at: Parts = split(b"/srv/host/x").collect();
        let error = stopped.must_be_visible(&at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("/srv/host only while it runs"), "{error}");
    }
}
