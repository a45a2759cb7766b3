//! Images that leave the server as one archive.
//!
//! What a server exports has neither the aliases of an image nor properties that were changed later, and is one file or
//! two. So the archive is a tar with an index of our own before the servers' files, which the module [`super::load`] reads:
//!
//! ```text
//! roadstead-images.json      {"format": "roadstead-images", "version": 1, "images": [{"fingerprint": …, "aliases": …}]}
//! FINGERPRINT/metadata       an image in two files, or
//! FINGERPRINT/rootfs
//! FINGERPRINT/image          an image in one file
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::super::client::Client;
use super::super::request::Request;
use super::super::shared::Lxd;
use super::multipart::{self, Reader};
use super::upload::one;
use super::{Found, Image, find};
use crate::archive;
use crate::flow::{PAUSE_MAX, flowing};

/// The name of the index in the archive.
pub(super) const INDEX: &str = "roadstead-images.json";
/// What the index says that it is.
pub(super) const FORMAT: &str = "roadstead-images";
/// The metadata of an image (a description and templates of small files) is never longer than this.
const METADATA_MAX: usize = 64 * 1024 * 1024;
/// A server may take so long until it begins to send an image.
const EXPORT_DEADLINE: Duration = Duration::from_secs(300);

/// The index of an archive.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Index {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) images: Vec<Saved>,
}

/// What the index says of one image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    pub(super) fingerprint: String,
    /// Aliases with their descriptions.
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) public: bool,
    /// Bytes of all files of the image.
    pub(super) size_bytes: u64,
}

/// I7. Of an image that is named by alias, the aliases that are asked for are saved; of one that is named by fingerprint, all.
pub(in super::super) async fn save_images(lxd: &Arc<Lxd>, references: &[String]) -> Result<ByteStream> {
    save(&lxd.client, references).await
}

/// The same, from any server.
pub(super) async fn save(client: &Client, references: &[String]) -> Result<ByteStream> {
    if references.is_empty() {
        return Err(Error::invalid("references", "at least one image must be named"));
    }
    let mut images: Vec<Saved> = Vec::new();
    for reference in references {
        let (image, found) = find(client, reference).await.map_err(|error| error.with_resource(reference))?;
        let wanted = |alias: &str| found == Found::Fingerprint || alias == reference;
        let aliases = image.aliases.iter().flatten().filter_map(|alias| {
            let name = alias.name.clone().filter(|name| wanted(name))?;
            Some((name, alias.description.clone().unwrap_or_default()))
        });
        if let Some(known) = images.iter_mut().find(|known| known.fingerprint == image.fingerprint()) {
            known.aliases.extend(aliases);
            continue;
        }
        images.push(Saved { aliases: aliases.collect(), ..saved(&image) });
    }
    archive_of(client, images).await
}

/// An image without its names.
pub(super) async fn save_bare(client: &Client, fingerprint: &str) -> Result<ByteStream> {
    let (image, _) = find(client, fingerprint).await?;
    archive_of(client, vec![saved(&image)]).await
}

/// What is said of an image beside its names.
fn saved(image: &Image) -> Saved {
    let properties = image.properties.iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
    Saved {
        fingerprint: image.fingerprint().to_owned(),
        aliases: BTreeMap::new(),
        properties: properties.collect(),
        public: image.public.unwrap_or(false),
        size_bytes: image.size_bytes(),
    }
}

async fn archive_of(client: &Client, images: Vec<Saved>) -> Result<ByteStream> {
    // The first is asked for before anything is promised, so that what is wrong from the beginning is an error of the call.
    let mut waiting = images.iter().cloned().collect::<std::collections::VecDeque<_>>();
    let first = match waiting.pop_front() {
        Some(image) => entries(client, &image).await?,
        None => stream::empty().boxed(),
    };
    let index = Index { format: FORMAT.to_owned(), version: 1, images };
    let index = serde_json::to_vec(&index)
        .map_err(|cause| Error::new(ErrorKind::Unexpected, "the index cannot be written").with_source(cause))?;
    let client = client.clone();
    let others = stream::iter(waiting.into_iter().map(Ok)).and_then(move |image| {
        let client = client.clone();
        async move { entries(&client, &image).await }
    });
    let archive =
        one(archive::entry(INDEX, &index)).chain(first).chain(others.try_flatten()).chain(one(archive::end()));
    // After an error nothing comes.
    let archive = archive.scan(false, |failed, piece| {
        let next = (!*failed).then_some(piece);
        *failed |= matches!(next, Some(Err(_)));
        std::future::ready(next)
    });
    Ok(flowing(PAUSE_MAX, archive))
}

/// The files of an image as entries of the archive.
async fn entries(client: &Client, image: &Saved) -> Result<ByteStream> {
    let fingerprint = &image.fingerprint;
    let answer = Request::get(&["images", fingerprint, "export"]).within(EXPORT_DEADLINE).raw(client).await?;
    let Some(boundary) = answer.header("content-type").and_then(multipart::boundary) else {
        return Ok(entry(&format!("{fingerprint}/image"), image.size_bytes, answer.body()));
    };
    let mut parts = Reader::new(answer.body(), &boundary);
    let nonsense = || Error::new(ErrorKind::Unexpected, "the engine's answer is no image");
    parts.next().await?.filter(|part| part.name == "metadata").ok_or_else(nonsense)?;
    let metadata = parts.whole(METADATA_MAX).await?;
    let rootfs = parts.next().await?.ok_or_else(nonsense)?;
    if rootfs.name != "rootfs" {
        return Err(Error::unsupported("saving images of virtual machines"));
    }
    // Parts carry no length, and a tar needs it first: the server counts both files together.
    let left = image.size_bytes.checked_sub(metadata.len() as u64).ok_or_else(nonsense)?;
    let rootfs = entry(&format!("{fingerprint}/rootfs"), left, parts.into_content());
    Ok(one(archive::entry(&format!("{fingerprint}/metadata"), &metadata)).chain(rootfs).boxed())
}

/// An entry whose content comes by and by, and must have exactly `size` bytes.
fn entry(name: &str, size: u64, content: ByteStream) -> ByteStream {
    let content = stream::unfold(Some((content, size)), |state| async {
        let (mut content, left) = state?;
        let broken = |why| Error::new(ErrorKind::Unavailable, format!("the image {why} than the server said"));
        match content.next().await {
            Some(Ok(piece)) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Some((Ok(piece), Some((content, left)))),
                None => Some((Err(broken("is longer")), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None if left > 0 => Some((Err(broken("is shorter")), None)),
            None => None,
        }
    });
    one(archive::entry_header(name, size)).chain(content).chain(one(archive::padding_after(size))).boxed()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    async fn lengths(size: u64, content: &'static [u8]) -> Result<usize> {
        let pieces: Vec<Bytes> = entry("a", size, one(Bytes::from_static(content))).try_collect().await?;
        Ok(pieces.concat().len())
    }

    #[tokio::test]
    async fn an_entry_is_as_long_as_it_says_or_fails() {
        assert_eq!(lengths(5, b"hello").await.unwrap(), 1024);
        assert!(lengths(4, b"hello").await.is_err());
        assert!(lengths(6, b"hello").await.is_err());
    }

    #[test]
    fn the_index_is_read_tolerantly() {
        let index: Index =
            serde_json::from_str(r#"{"format":"roadstead-images","images":[{"fingerprint":"a","new":1}]}"#).unwrap();
        assert_eq!((index.version, index.images.len(), index.images[0].public), (0, 1, false));
    }
}
