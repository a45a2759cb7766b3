//! What is in a volume, read without the container that it is attached to.
//!
//! Servers have no other call for that than a backup of the volume, which they put together on their own disk before they
//! send it. Of it, only the entries below the asked path are given, under the names that they have when they are read there.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;

use super::super::backups::Temporary;
use super::super::export::ours;
use super::super::instance::{Config, config};
use super::super::request::Request;
use super::super::shared::Lxd;
use super::mounted::{Mounted, Parts, absolute, split};
use super::owners::Owners;
use crate::archive::tree::{Entries, Entry, Kind};

/// The directory of a backup that the volume's files are in.
const ROOT: [&[u8]; 2] = [b"backup", b"volume"];

/// What is at a path in a volume.
pub(super) enum Found {
    Archive(ByteStream),
    /// The path leads over a link: to this one, from the container's root on.
    Elsewhere(Vec<u8>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "config")]
    config: Config,
}

/// Reads what is at `within` in what is mounted; the entries begin with `name`. `member` is that of a cluster which has the
/// container.
pub(super) async fn read(
    lxd: &Lxd,
    mounted: &Mounted,
    within: &[Vec<u8>],
    name: &[u8],
    member: Option<&str>,
) -> Result<Found> {
    let Some(volume) = mounted.volume().filter(|_| lxd.has("custom_volume_backup")) else {
        return Err(mounted.only_running());
    };
    let path = ["storage-pools", volume.pool, "volumes", "custom", volume.name];
    let wire: Wire = Request::get(&path).query_some("target", member).json(&lxd.client).await?;
    let owners = Owners::parse(wire.config.get("volatile.idmap.last").map(String::as_str))?;
    let backup = Temporary::make(&lxd.client, &path, member, json!({"volume_only": true})).await?;
    let above = ROOT.len() + volume.directory.len();
    let at: Parts = ROOT.iter().map(|part| part.to_vec()).chain(volume.directory).chain(within.to_vec()).collect();
    let mut entries = Entries::new(backup.read().await?);
    let first = loop {
        let Some(entry) = entries.next().await.map_err(ours)? else {
            backup.delete().await;
            let shown = absolute(&[mounted.at.as_slice(), within].concat());
            let shown = String::from_utf8_lossy(&shown).into_owned();
            return Err(Error::new(ErrorKind::NotFound, format!("no such file in the container: {shown}")));
        };
        let path: Parts = split(&entry.path).collect();
        if path == at {
            break entry;
        }
        if entry.kind == Kind::SymbolicLink
            && let Some(rest) = at.strip_prefix(path.as_slice())
        {
            backup.delete().await;
            // A link above what is mounted is the server's to follow, and leads through places that are not to be seen.
            let inside = path.get(above..).ok_or_else(|| mounted.only_running())?;
            return Ok(Found::Elsewhere(followed(&mounted.at, inside, &entry.link, rest)));
        }
    };
    let pass = Pass {
        entries,
        first: Some(first),
        aside: None,
        within: None,
        view: View { at, name: name.to_vec(), owners },
        backup: Some(backup),
    };
    let archive = stream::try_unfold(pass, |mut pass| async { Ok(pass.next().await?.map(|piece| (piece, pass))) });
    Ok(Found::Archive(archive.boxed()))
}

/// Where a link leads that is at `inside` in what is mounted at `mounted`, with the `rest` of the path behind it.
fn followed(mounted: &[Vec<u8>], inside: &[Vec<u8>], link: &[u8], rest: &[Vec<u8>]) -> Vec<u8> {
    let directory = inside.split_last().map(|(_, directory)| directory).unwrap_or_default();
    let beginning = if link.starts_with(b"/") { Vec::new() } else { absolute(&[mounted, directory].concat()) };
    [&beginning, b"/".as_slice(), link, &absolute(rest)].concat()
}

/// How entries of the backup are seen.
struct View {
    /// What is read, as a path in the backup.
    at: Parts,
    /// What it is called.
    name: Vec<u8>,
    owners: Owners,
}

impl View {
    /// A path in the backup as a path in what is given; none for what does not belong to it.
    fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        let parts: Parts = split(path).collect();
        let mut placed = vec![self.name.clone()];
        placed.extend_from_slice(parts.strip_prefix(self.at.as_slice())?);
        Some(placed.join(&b'/'))
    }
}

/// A backup on its way to become the archive of a path.
struct Pass {
    entries: Entries,
    first: Option<Entry>,
    /// The backup once more, at a file of which only another name belongs to what is read.
    aside: Option<Entries>,
    /// The entry whose data is being given.
    within: Option<Entry>,
    view: View,
    /// Goes with the last entry.
    backup: Option<Temporary>,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(entry) = &self.within {
                let entries = self.aside.as_mut().unwrap_or(&mut self.entries);
                if let Some(piece) = entries.data().await.map_err(ours)? {
                    return Ok(Some(piece));
                }
                let padding = entry.padding();
                (self.within, self.aside) = (None, None);
                if !padding.is_empty() {
                    return Ok(Some(padding));
                }
            }
            let entry = match self.first.take() {
                Some(first) => Some(first),
                None if self.backup.is_none() => None,
                None => self.entries.next().await.map_err(ours)?,
            };
            let Some(entry) = entry else {
                let Some(backup) = self.backup.take() else { return Ok(None) };
                // Who deletes the volume next would find it in use.
                backup.delete().await;
                return Ok(Some(Entry::end()));
            };
            if let Some(entry) = self.seen(entry).await? {
                let blocks = entry.blocks();
                self.within = Some(entry);
                return Ok(Some(blocks));
            }
        }
    }

    /// The entry as it is given; none when it does not belong to what is read.
    async fn seen(&mut self, mut entry: Entry) -> Result<Option<Entry>> {
        let Some(path) = self.view.place(&entry.path) else { return Ok(None) };
        if entry.kind == Kind::HardLink {
            match self.view.place(&entry.link) {
                Some(link) => entry.link = link,
                None => entry = self.file(&entry.link).await?,
            }
        }
        self.view.owners.undo(&mut entry);
        entry.path = path;
        Ok(Some(entry))
    }

    /// The file that a hard link leads to, which is not among what is given.
    async fn file(&mut self, link: &[u8]) -> Result<Entry> {
        let lost = || Error::new(ErrorKind::Unexpected, "a hard link in the engine's archive leads to nothing");
        let mut entries = Entries::new(self.backup.as_ref().ok_or_else(lost)?.read().await?);
        let wanted: Parts = split(link).collect();
        loop {
            let entry = entries.next().await.map_err(ours)?.ok_or_else(lost)?;
            if entry.kind != Kind::HardLink && split(&entry.path).eq(wanted.iter().cloned()) {
                self.aside = Some(entries);
                return Ok(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Parts {
        split(path.as_bytes()).collect()
    }

    #[test]
    fn entries_are_named_as_if_they_were_read_at_the_path() {
        let view = View { at: parts("backup/volume/d"), name: b"data".to_vec(), owners: Owners::default() };
        let placed = |path: &str| view.place(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(placed("backup/volume/d").as_deref(), Some("data"));
        assert_eq!(placed("./backup/volume/d/e/f").as_deref(), Some("data/e/f"));
        for path in ["backup/index.yaml", "backup/volume", "backup/volume/dd", "backup/volume-snapshots/d"] {
            assert_eq!(placed(path), None, "{path}");
        }
    }

    #[test]
    fn links_lead_on_in_the_container() {
        let leads = |inside: &str, link: &str, rest: &str| {
            let path = followed(&parts("/srv/data"), &parts(inside), link.as_bytes(), &parts(rest));
            String::from_utf8(path).unwrap()
        };
        assert_eq!(leads("a/link", "b", "c/d"), "/srv/data/a/b/c/d");
        assert_eq!(leads("link", "../x", "c"), "/srv/data/../x/c");
        assert_eq!(leads("link", "/etc", "c"), "//etc/c");
    }
}
