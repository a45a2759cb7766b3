//! Images that are made on the way to something else: the files of a container while they are read, and an image that has not
//! got its name yet. They bear a mark for as long, by which they are found when whoever made them was interrupted.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use roadstead_core::{Result, Timestamp};
use serde_json::{Map, Value, json};

use super::super::request::Request;
use super::super::shared::Lxd;
use super::{Image, delete};

/// The property that marks one. Its value says what it is for: of an image without a name yet, the name.
pub(in super::super) const MARK: &str = "roadstead.temporary";
/// A marked image without a name that is older was left behind: a name is given, and reading is begun, as soon as it is there.
const OLD: Duration = Duration::from_secs(600);
/// After a connection was made, what was left at that moment is old by now.
const LATER: Duration = Duration::from_secs(660);

/// Whether it is marked and has no name.
fn unnamed(image: &Image) -> Option<&str> {
    if image.references().is_empty() { image.property(MARK) } else { None }
}

fn is_old(image: &Image, now: Timestamp) -> bool {
    let made = image.uploaded_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    made.is_some_and(|made| now.since(made) >= OLD)
}

async fn all(lxd: &Lxd) -> Result<Vec<Image>> {
    Request::get(&["images"]).query("recursion", "1").json(&lxd.client).await
}

/// Deletes what was left behind long ago. That it cannot be done harms nobody.
pub(in super::super) async fn sweep(lxd: &Lxd) {
    let swept = async {
        let now = Timestamp::now();
        for image in all(lxd).await?.iter().filter(|image| unnamed(image).is_some() && is_old(image, now)) {
            tracing::info!(
                node = lxd.name,
                fingerprint = image.fingerprint(),
                "an image that was left behind is deleted"
            );
            delete(lxd, image.fingerprint()).await?;
        }
        Ok::<_, roadstead_core::Error>(())
    };
    if let Err(error) = swept.await {
        tracing::debug!(node = lxd.name, %error, "images that were left behind cannot be deleted");
    }
}

/// Sweeps now, and once more when what is there now is old.
pub(in super::super) fn sweep_after_connecting(lxd: &Arc<Lxd>) {
    let lxd: Weak<Lxd> = Arc::downgrade(lxd);
    tokio::spawn(async move {
        for pause in [Duration::ZERO, LATER] {
            tokio::time::sleep(pause).await;
            let Some(lxd) = lxd.upgrade() else { return };
            sweep(&lxd).await;
        }
    });
}

/// The image that was to get this name and has none.
pub(super) async fn of(lxd: &Lxd, reference: &str) -> Result<Option<Image>> {
    Ok(all(lxd).await?.into_iter().find(|image| unnamed(image) == Some(reference)))
}

/// Takes the mark away: it has its name.
pub(super) async fn keep(lxd: &Lxd, fingerprint: &str) -> Result<()> {
    let path = ["images", fingerprint];
    let (mut image, etag): (Map<String, Value>, String) = Request::get(&path).json_with_etag(&lxd.client).await?;
    let Some(properties) = image.get_mut("properties").and_then(Value::as_object_mut) else { return Ok(()) };
    if properties.remove(MARK).is_none() {
        return Ok(());
    }
    // All that can be changed, and so all that would be lost if it were left out.
    let mut body: BTreeMap<&str, Value> = BTreeMap::new();
    for key in ["auto_update", "properties", "public", "expires_at", "profiles"] {
        body.extend(image.remove(key).map(|value| (key, value)));
    }
    Request::put(&path).header("if-match", &etag).body(&json!(body)).done(&lxd.client).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_is_marked_nameless_and_old() {
        let image = |aliases: Value, mark: Option<&str>| -> Image {
            let properties: Map<String, Value> = mark.map(|mark| (MARK.to_owned(), json!(mark))).into_iter().collect();
            let uploaded = "2026-01-01T00:00:00.5Z";
            serde_json::from_value(json!({"aliases": aliases, "properties": properties, "uploaded_at": uploaded}))
                .unwrap()
        };
        let left = image(json!([]), Some("a/b:c"));
        assert_eq!(unnamed(&left), Some("a/b:c"));
        assert_eq!(unnamed(&image(json!([{"name": "a/b:c"}]), Some("a/b:c"))), None);
        assert_eq!(unnamed(&image(json!(null), None)), None);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(is_old(&left, at("2026-01-01T00:10:01Z")));
        assert!(!is_old(&left, at("2026-01-01T00:09:00Z")));
        assert!(!is_old(&Image::default(), at("2026-01-01T00:10:01Z")));
    }
}
