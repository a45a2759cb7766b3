//! A container's file system as an image, and as a stream.
//!
//! Both have the server publish an image, which writes owners as the container counts them, hard links, devices and extended
//! attributes. It publishes only what does not run; of a running container, a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, CommitOptions, Error, ErrorKind, Result};
use serde_json::json;

use super::images::Making;
use super::instance::Instance;
use super::lifecycle::{freeze, patient, unfreeze};
use super::request::Request;
use super::shared::Lxd;
use super::{images, spec};
use crate::archive::tree::{Entries, Entry, Kind};

/// Reading a whole file system may take so long before anything is known.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(3600);
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(1800);
/// The directory of an image that its files are in.
const ROOT: &[u8] = b"rootfs";
/// A mark that makes every published image another one: servers know an image by its content.
const MARK: &str = "roadstead.published";

/// C110.
pub(super) async fn commit(lxd: &Arc<Lxd>, id: &str, options: &CommitOptions) -> Result<String> {
    options.validate()?;
    let making = Making::begin();
    let mut properties =
        BTreeMap::from([(MARK, mark()), (images::TEMPORARY, options.image.clone()), (images::MAKER, making.maker())]);
    properties.extend(options.message.clone().map(|message| ("description", message)));
    properties.extend(options.author.clone().map(|author| ("author", author)));
    let fingerprint = publish(lxd, id, &properties, None, options.freeze.unwrap_or(true)).await?;
    match images::name(lxd, &options.image, &fingerprint, "").await {
        Ok(()) => {
            if let Err(error) = images::keep(lxd, &fingerprint).await {
                // The next look for what was left behind does it.
                tracing::warn!(%error, image = options.image, "an image that has its name is still marked as one without");
            }
            Ok(fingerprint)
        }
        Err(error) => {
            remove(lxd, &fingerprint).await;
            Err(error)
        }
    }
}

fn mark() -> String {
    format!("{:016x}{:016x}", spec::chance(), spec::chance())
}

/// C120.
pub(super) async fn export(lxd: &Arc<Lxd>, id: &str) -> Result<ByteStream> {
    images::sweep(lxd).await;
    let description = format!("temporary: the files of {id}");
    let making = Making::begin();
    let properties = BTreeMap::from([
        (MARK, mark()),
        (images::TEMPORARY, format!("files of {id}")),
        (images::MAKER, making.maker()),
        ("description", description),
    ]);
    // A server that has begun ends it though nobody waits any more: then the image goes as soon as it is there.
    let (of, id) = (Arc::clone(lxd), id.to_owned());
    let published = tokio::spawn(async move {
        let fingerprint = publish(&of, &id, &properties, Some("none"), false).await?;
        Ok::<_, Error>(Temporary { lxd: of, fingerprint, _making: making })
    });
    let image = published.await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, in the middle of the export").with_source(cause)
    })??;
    let answer = Request::get(&["images", &image.fingerprint, "export"]).raw(&lxd.client).await?;
    let pass = Pass { entries: Entries::new(answer.body()), state: State::Between, _image: image };
    Ok(stream::try_unfold(pass, |mut pass| async { Ok(pass.next().await?.map(|piece| (piece, pass))) }).boxed())
}

/// Has the server make an image of the container's files, and gives its fingerprint.
async fn publish(
    lxd: &Arc<Lxd>,
    id: &str,
    properties: &BTreeMap<&str, String>,
    compression: Option<&str>,
    still: bool,
) -> Result<String> {
    let instance = Instance::read(lxd, id).await?;
    let image = |source: serde_json::Value| {
        // No algorithm is the server's own.
        let compression = compression.unwrap_or_default();
        json!({"properties": properties, "public": false, "compression_algorithm": compression, "source": source})
    };
    if !instance.state().has_processes() {
        return image_of(lxd, &image(json!({"type": "instance", "name": id}))).await;
    }
    let snapshot = format!("roadstead-{:016x}", spec::chance());
    // What is written while the files are read would be half there.
    let freezes = still && instance.state() == roadstead_core::ContainerState::Running;
    if freezes {
        freeze(lxd, id).await?;
    }
    let request = Request::post(&["instances", id, "snapshots"]).body(&json!({"name": snapshot, "stateful": false}));
    let taken = request.finish(&lxd.client, SNAPSHOT_DEADLINE).await;
    if freezes {
        unfreeze(lxd, id).await?;
    }
    taken?;
    let source = json!({"type": "snapshot", "name": format!("{id}/{snapshot}")});
    let published = image_of(lxd, &image(source)).await;
    let path = ["instances", id, "snapshots", &snapshot];
    let deleted = patient(|| Request::delete(&path).done(&lxd.client)).await;
    let fingerprint = published?;
    match deleted {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            remove(lxd, &fingerprint).await;
            Err(error)
        }
        _ => Ok(fingerprint),
    }
}

async fn image_of(lxd: &Lxd, body: &serde_json::Value) -> Result<String> {
    let state = patient(|| Request::post(&["images"]).body(body).finish(&lxd.client, PUBLISH_DEADLINE)).await?;
    let fingerprint = state.metadata.get("fingerprint").and_then(serde_json::Value::as_str);
    fingerprint
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Unexpected, "the engine made an image and does not tell its fingerprint"))
}

async fn remove(lxd: &Lxd, fingerprint: &str) {
    if let Err(error) = Request::delete(&["images", fingerprint]).done(&lxd.client).await {
        tracing::warn!(%error, fingerprint, "a temporary image is left");
    }
}

/// An image that goes when the stream of it goes, read to its end or not.
struct Temporary {
    lxd: Arc<Lxd>,
    fingerprint: String,
    _making: Making,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (lxd, fingerprint) = (Arc::clone(&self.lxd), std::mem::take(&mut self.fingerprint));
            runtime.spawn(async move { remove(&lxd, &fingerprint).await });
        }
    }
}

/// An image on its way to become the archive of a root file system.
struct Pass {
    entries: Entries,
    state: State,
    _image: Temporary,
}

enum State {
    Between,
    Within(Entry),
    Ended,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match std::mem::replace(&mut self.state, State::Between) {
                State::Ended => {
                    self.state = State::Ended;
                    return Ok(None);
                }
                State::Within(entry) => match self.entries.data().await.map_err(ours)? {
                    Some(piece) => {
                        self.state = State::Within(entry);
                        return Ok(Some(piece));
                    }
                    None if entry.padding().is_empty() => {}
                    None => return Ok(Some(entry.padding())),
                },
                State::Between => {
                    let Some(entry) = self.entries.next().await.map_err(ours)? else {
                        self.state = State::Ended;
                        return Ok(Some(Entry::end()));
                    };
                    let Some(entry) = within_root(entry) else { continue };
                    let blocks = entry.blocks();
                    self.state = State::Within(entry);
                    return Ok(Some(blocks));
                }
            }
        }
    }
}

/// The archive is the engine's, and no input of anybody.
pub(super) fn ours(error: Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidInput => {
            Error::new(ErrorKind::Unexpected, format!("the engine's archive cannot be read: {}", error.message()))
        }
        _ => error,
    }
}

/// The entry as it stands in the root; nothing of what describes the image, and of the root directory itself.
fn within_root(mut entry: Entry) -> Option<Entry> {
    let below = |path: &[u8]| path.strip_prefix(ROOT)?.strip_prefix(b"/").map(<[u8]>::to_vec);
    let path = below(entry.path.strip_prefix(b"./").unwrap_or(&entry.path))?;
    if path.is_empty() {
        return None;
    }
    entry.path = path;
    if entry.kind == Kind::HardLink {
        // It names another entry; a symbolic link names a path in the container.
        entry.link = below(entry.link.strip_prefix(b"./").unwrap_or(&entry.link))?;
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(path: &str, kind: Kind, link: &str) -> Option<(String, String)> {
        let mut entry = Entry::new(path, kind);
        entry.link = link.into();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        within_root(entry).map(|entry| (text(entry.path), text(entry.link)))
    }

    #[test]
    fn only_the_root_is_left() {
        let is = |path: &str, link: &str| Some((path.to_owned(), link.to_owned()));
        assert_eq!(moved("rootfs/bin/ls", Kind::File, ""), is("bin/ls", ""));
        assert_eq!(moved("./rootfs/a", Kind::HardLink, "rootfs/b"), is("a", "b"));
        assert_eq!(moved("rootfs/a", Kind::SymbolicLink, "rootfs/b"), is("a", "rootfs/b"));
        for path in ["metadata.yaml", "rootfs", "templates/x", "rootfsx/a", "rootfs/"] {
            assert_eq!(moved(path, Kind::File, ""), None, "{path}");
        }
    }
}
