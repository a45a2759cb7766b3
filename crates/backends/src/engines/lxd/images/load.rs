//! Archives that become images again: our own, and what servers export.
//!
//! Taken are, told apart by how they begin:
//!
//! * an archive of our own, which begins with an index (see [`super::save`]);
//! * an image in one file, as a server exports it: `metadata.yaml` and `rootfs/` in one tar, also compressed. It comes without
//!   aliases;
//! * an image in two files, as a server exports it, put into one tar: first the metadata (a name that begins with `meta`),
//!   then the root file system.
//!
//! Aliases are given when all images are there; what was made before a fault is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::super::shared::Lxd;
use super::import::nothing_made;
use super::save::{FORMAT, INDEX, Index, Saved};
use super::upload::{self, Told, Uploaded};
use super::{delete, is_fingerprint, name};
use crate::archive::{Entry, Reader, Upload, first_name, is_compressed};

/// An index is never longer than this.
const INDEX_MAX: usize = 16 * 1024 * 1024;

/// I7. Gives the aliases, and the fingerprints of images without.
pub(in super::super) async fn load_images(lxd: &Arc<Lxd>, archive: ByteStream) -> Result<Vec<String>> {
    let mut reader = Reader::new(archive);
    let begin = reader.peek().await?;
    if begin.is_empty() {
        return Err(Error::invalid("archive", "is broken: it is empty"));
    }
    // The inside of a compressed image only the server knows.
    let unified = is_compressed(begin)
        || match first_name(begin)? {
            // An extended header: what servers write for our own are plain ones.
            None => true,
            Some(name) => matches!(name.split('/').next(), Some("metadata.yaml" | "rootfs" | "templates" | "")),
        };
    if unified {
        let (file, verdict) = Upload::begin(reader.into_rest()).await?.split();
        let uploaded = verdict.on(upload::unified(lxd, file, &Told::default()).await).map_err(nothing_made)?;
        return Ok(vec![uploaded.fingerprint]);
    }
    let mut made = Vec::new();
    let loaded = load(lxd, reader, &mut made).await.map_err(nothing_made);
    match loaded {
        Ok(names) => Ok(names),
        Err(mut error) => {
            for fingerprint in made {
                if delete(lxd, &fingerprint).await.is_err() {
                    error = error.with_context("left", fingerprint);
                }
            }
            Err(error)
        }
    }
}

/// Reads entry after entry. `made` is what was not there before.
async fn load(lxd: &Lxd, mut reader: Reader, made: &mut Vec<String>) -> Result<Vec<String>> {
    let first = next(&mut reader).await?;
    if first.name != INDEX {
        if !first.name.rsplit('/').next().is_some_and(|name| name.starts_with("meta")) {
            return Err(Error::invalid(
                "archive",
                "is no archive of images: it begins neither with an index nor with the metadata of an image",
            ));
        }
        let (uploaded, _) = split(lxd, reader, &Told::default()).await?;
        return Ok(vec![uploaded.fingerprint]);
    }
    let index: Index = serde_json::from_slice(&reader.whole(INDEX_MAX).await?)
        .map_err(|cause| Error::invalid("archive", format!("has an index that makes no sense: {cause}")))?;
    check(&index)?;
    let mut aliases = BTreeMap::new();
    let mut names = Vec::new();
    for image in index.images {
        let entry = next(&mut reader).await?;
        let told = Told {
            fingerprint: Some(image.fingerprint.clone()),
            file_name: None,
            properties: image.properties.into_iter().collect(),
            public: image.public,
        };
        let uploaded = match entry.name.strip_prefix(&image.fingerprint) {
            Some("/image") => {
                let shared = Shared::new(reader);
                let uploaded = shared.verdict(upload::unified(lxd, shared.content(), &told).await).await;
                reader = shared.back().await?;
                uploaded?
            }
            Some("/metadata") => {
                let (uploaded, rest) = split(lxd, reader, &told).await?;
                reader = rest;
                uploaded
            }
            _ => return Err(Error::invalid("archive", format!("holds {:?} where an image should be", entry.name))),
        };
        if uploaded.new {
            made.push(uploaded.fingerprint.clone());
        }
        if uploaded.fingerprint != image.fingerprint {
            return Err(Error::invalid("archive", "holds an image that is another than its index says"));
        }
        if image.aliases.is_empty() {
            names.push(image.fingerprint.clone());
        }
        for (alias, description) in image.aliases {
            aliases.insert(alias, (image.fingerprint.clone(), description));
        }
    }
    for (alias, (fingerprint, description)) in aliases {
        name(lxd, &alias, &fingerprint, &description).await?;
        names.push(alias);
    }
    Ok(names)
}

fn check(index: &Index) -> Result<()> {
    if index.format != FORMAT || index.version > 1 {
        return Err(Error::invalid("archive", "is of a kind or version that is not known"));
    }
    let good = |image: &Saved| image.fingerprint.len() == 64 && is_fingerprint(&image.fingerprint);
    if index.images.is_empty() || !index.images.iter().all(good) {
        return Err(Error::invalid("archive", "has an index that names no images"));
    }
    Ok(())
}

async fn next(reader: &mut Reader) -> Result<Entry> {
    let entry = reader.next().await?.ok_or_else(|| Error::invalid("archive", "is broken: an image is missing"))?;
    if !entry.file {
        return Err(Error::invalid("archive", format!("holds {:?}, which is no plain file", entry.name)));
    }
    Ok(entry)
}

/// Disks of virtual machines are sent by another name than root file systems, and make no container.
fn no_disk(entry: &Entry) -> Result<()> {
    if [".img", ".qcow2"].iter().any(|end| entry.name.ends_with(end)) {
        return Err(Error::invalid(
            "archive",
            "holds the disk of a virtual machine where a root file system should be",
        ));
    }
    Ok(())
}

/// Sends the entry that is to be read as metadata and the next one as root file system.
async fn split(lxd: &Lxd, reader: Reader, told: &Told) -> Result<(Uploaded, Reader)> {
    let shared = Shared::new(reader);
    let uploaded = upload::split(lxd, shared.content(), shared.following(), told).await;
    let uploaded = shared.verdict(uploaded).await?;
    Ok((uploaded, shared.back().await?))
}

/// A reader whose entries are sent: the request needs streams that own what they read from.
struct Shared(Arc<Mutex<State>>);

struct State {
    reader: Option<Reader>,
    /// What was wrong with the archive: the server is told only that the transfer broke off.
    fault: Option<Error>,
}

impl Shared {
    fn new(reader: Reader) -> Self {
        Shared(Arc::new(Mutex::new(State { reader: Some(reader), fault: None })))
    }

    /// The content of the entry that is to be read.
    fn content(&self) -> ByteStream {
        self.stream(false)
    }

    /// The content of the entry after it.
    fn following(&self) -> ByteStream {
        self.stream(true)
    }

    fn stream(&self, advance: bool) -> ByteStream {
        let state = (Some(Arc::clone(&self.0)), advance);
        let content = stream::unfold(state, |(state, advance)| async move {
            let shared = state?;
            let mut guard = shared.lock().await;
            let step = async {
                let reader = guard.reader.as_mut()?;
                if advance && let Err(error) = next(reader).await.and_then(|entry| no_disk(&entry)) {
                    return Some(Err(error));
                }
                reader.read().await.transpose()
            };
            match step.await? {
                Ok(piece) => {
                    drop(guard);
                    Some((Ok(piece), (Some(shared), false)))
                }
                Err(error) => {
                    guard.fault = Some(error);
                    let placeholder = Error::invalid("archive", "is broken: the transfer was broken off");
                    Some((Err(placeholder), (None, false)))
                }
            }
        });
        content.boxed()
    }

    /// The archive's fault goes before what the server made of it.
    async fn verdict<T>(&self, answer: Result<T>) -> Result<T> {
        match self.0.lock().await.fault.take() {
            Some(fault) => Err(fault),
            None => answer,
        }
    }

    /// The reader, after the streams.
    async fn back(self) -> Result<Reader> {
        self.0.lock().await.reader.take().ok_or_else(|| {
            // Nobody else takes it.
            Error::new(ErrorKind::Unexpected, "the archive is being read twice")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_of_other_kinds_are_refused() {
        let image = || Saved { fingerprint: "a".repeat(64), ..Saved::default() };
        let index = |version, images| Index { format: FORMAT.to_owned(), version, images };
        assert!(check(&index(1, vec![image()])).is_ok());
        for bad in [
            index(2, vec![image()]),
            index(1, Vec::new()),
            index(1, vec![Saved { fingerprint: "../x".to_owned(), ..Saved::default() }]),
            Index { images: vec![image()], ..Index::default() },
        ] {
            assert_eq!(check(&bad).unwrap_err().field(), Some("archive"));
        }
    }
}
