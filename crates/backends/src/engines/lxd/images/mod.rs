//! The images of a server: found by alias, fingerprint or the beginning of a fingerprint; named by aliases.
//!
//! An alias is any text to a server, so the references of other engines (`roadstead/busybox:latest`) are aliases as they
//! are. An image has no other name; where an alias is taken away that was the last, the image goes with it, as it does in
//! the other engines.

mod copy;
mod import;
mod leftover;
mod load;
mod multipart;
mod pull;
mod remotes;
mod save;
mod upload;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, ImageDetails, ImageSummary, Result, names};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::request::Request;
use super::server::must_trust_us;
use super::shared::Lxd;
pub use copy::CopyImageOptions;
pub(super) use import::import_image;
pub(super) use leftover::{MAKER, MARK as TEMPORARY, Making, keep, sweep, sweep_on_connecting};
pub(super) use load::load_images;
pub(super) use pull::pull_image;
pub(super) use save::save_images;
pub(super) use wire::Image;

/// Deleting an image may take so long: its files, and the storage that containers were made from.
const DELETE_DEADLINE: Duration = Duration::from_secs(300);
/// The beginning of a fingerprint counts from so many digits on: what clients print.
const PREFIX_MIN: usize = 12;
/// Digits of a whole fingerprint.
const FINGERPRINT: usize = 64;

/// I1.
pub(super) async fn list_images(lxd: &Arc<Lxd>) -> Result<Vec<ImageSummary>> {
    let images: Vec<Image> = Request::get(&["images"]).query("recursion", "1").json(&lxd.client).await?;
    if images.iter().all(|image| image.public == Some(true)) {
        must_trust_us(&lxd.client).await?;
    }
    Ok(images.iter().map(|image| image.summary(&lxd.name)).collect())
}

/// I2.
pub(super) async fn inspect_image(lxd: &Arc<Lxd>, reference: &str) -> Result<ImageDetails> {
    Ok(find(&lxd.client, reference).await?.0.details(&lxd.name))
}

/// By which kind of name an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Alias,
    Fingerprint,
}

/// The image with this alias, or else with this fingerprint or this beginning of one.
pub(super) async fn find(client: &Client, reference: &str) -> Result<(Image, Found)> {
    names::image_reference("reference", reference)?;
    if let Some(fingerprint) = target(client, reference).await? {
        match image(client, &fingerprint).await {
            // Deleted in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return Ok((result?, Found::Alias)),
        }
    }
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    if is_fingerprint(digits) {
        match image(client, digits).await {
            // Of several images with this beginning none is meant.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {}
            result => return Ok((result?, Found::Fingerprint)),
        }
    }
    must_trust_us(client).await?;
    Err(Error::not_found("image", reference))
}

/// Whether it could be a fingerprint, or the beginning of one.
pub(super) fn is_fingerprint(text: &str) -> bool {
    (PREFIX_MIN..=FINGERPRINT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

async fn image(client: &Client, fingerprint: &str) -> Result<Image> {
    Request::get(&["images", fingerprint]).json(client).await
}

/// The fingerprint that an alias stands for.
async fn target(client: &Client, alias: &str) -> Result<Option<String>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Target {
        target: Option<String>,
    }
    match Request::get(&["images", "aliases", alias]).json::<Target>(client).await {
        Ok(found) => Ok(found.target.filter(|target| !target.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has an alias stand for an image, whatever it stood for before: as every engine does with a name that is given anew.
pub(super) async fn name(lxd: &Lxd, alias: &str, fingerprint: &str, description: &str) -> Result<()> {
    let body = json!({"name": alias, "target": fingerprint, "description": description});
    match Request::post(&["images", "aliases"]).body(&body).done(&lxd.client).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let body = json!({"target": fingerprint, "description": description});
            Request::put(&["images", "aliases", alias]).body(&body).done(&lxd.client).await
        }
        result => result,
    }
}

/// A name for an image that can be given.
fn check_new(field: &str, reference: &str) -> Result<()> {
    names::image_reference(field, reference)?;
    if reference.contains('@') {
        return Err(Error::invalid(field, "a name is a repository and a tag, not a digest"));
    }
    if is_fingerprint(reference) {
        // It would hide the image that has this fingerprint.
        return Err(Error::invalid(field, "a name must not look like the fingerprint of an image"));
    }
    Ok(())
}

/// I8.
pub(super) async fn tag_image(lxd: &Arc<Lxd>, reference: &str, new_reference: &str) -> Result<()> {
    names::image_reference("reference", reference)?;
    check_new("new_reference", new_reference)?;
    let (image, _) = find(&lxd.client, reference).await?;
    name(lxd, new_reference, image.fingerprint(), "").await
}

/// I9, I10.
pub(super) async fn delete_image(lxd: &Arc<Lxd>, reference: &str, force: bool) -> Result<()> {
    let (image, found) = match find(&lxd.client, reference).await {
        // One that was imported under this name, and whose import was interrupted before it got it, goes as well.
        Err(error) if error.kind() == ErrorKind::NotFound => match leftover::of(lxd, reference).await? {
            Some(left) => return delete(lxd, left.fingerprint()).await,
            None => return Err(error),
        },
        found => found?,
    };
    let aliases = image.references();
    match found {
        Found::Alias if aliases.iter().any(|alias| alias != reference) => {
            return Request::delete(&["images", "aliases", reference]).done(&lxd.client).await;
        }
        Found::Fingerprint if aliases.len() > 1 && !force => {
            let words = format!("the image has several names ({}); it must be forced", aliases.join(", "));
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        Found::Alias | Found::Fingerprint => {}
    }
    if !force {
        not_running(lxd, image.fingerprint()).await?;
    }
    delete(lxd, image.fingerprint()).await
}

/// Deletes an image with all of its aliases.
async fn delete(lxd: &Lxd, fingerprint: &str) -> Result<()> {
    Request::delete(&["images", fingerprint]).finish(&lxd.client, DELETE_DEADLINE).await.map(|_| ())
}

/// `Conflict` when a container that was made from this image runs. Servers themselves do not mind: a container is a
/// copy of its image.
async fn not_running(lxd: &Lxd, fingerprint: &str) -> Result<()> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Instance {
        name: Option<String>,
        status: Option<String>,
        config: Option<std::collections::BTreeMap<String, Option<String>>>,
    }
    let instances: Vec<Instance> = Request::get(&["instances"]).query("recursion", "1").json(&lxd.client).await?;
    let user = instances.into_iter().find(|instance| {
        let base = instance.config.as_ref().and_then(|config| config.get("volatile.base_image")?.as_deref());
        let stopped = matches!(instance.status.as_deref(), Some("Stopped" | "Error") | None);
        base == Some(fingerprint) && !stopped
    });
    match user {
        None => Ok(()),
        Some(instance) => {
            let name = instance.name.unwrap_or_default();
            Err(Error::new(ErrorKind::Conflict, format!("the running container {name} was made from this image")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_and_names_are_told_apart() {
        assert!(is_fingerprint("423bdfbf4d1e") && is_fingerprint(&"a".repeat(64)));
        for name in ["423bdfbf4d1", "423bdfbf4d1g", "423BDFBF4D1E", &"a".repeat(65), "busybox"] {
            assert!(!is_fingerprint(name), "{name}");
        }
        for (name, good) in [("a/b:c", true), ("a@sha256:00", false), ("423bdfbf4d1e", false), ("a b", false)] {
            assert_eq!(check_new("new_reference", name).is_ok(), good, "{name}");
        }
    }
}
