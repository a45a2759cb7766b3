//! Images that are made on the way to something else: the files of a container while they are read, and an image that has not
//! got its name yet. They bear a mark for as long, by which they are found when whoever made them was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use roadstead_core::{Result, Timestamp};
use serde_json::{Map, Value, json};

use super::super::request::Request;
use super::super::shared::Lxd;
use super::{Image, delete};

/// The property that marks one. Its value says what it is for: of an image without a name yet, the name.
pub(in super::super) const MARK: &str = "roadstead.temporary";
/// The property that says who made it: machine, process and number.
pub(in super::super) const MAKER: &str = "roadstead.temporary_by";
/// Of a maker elsewhere nothing can be known, but that a marked image without a name that is older was left behind: a name is
/// given, and reading is begun, as soon as it is there.
const OLD: Duration = Duration::from_secs(600);
/// So long a connection waits for its first look for what was left behind.
const AT_FIRST: Duration = Duration::from_secs(2);
/// After a connection was made, what was left at that moment is old by now.
const LATER: Duration = Duration::from_secs(660);

/// Whether it is marked and has no name.
fn unnamed(image: &Image) -> Option<&str> {
    if image.references().is_empty() { image.property(MARK) } else { None }
}

/// Numbers of what this process makes now.
static MAKING: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

fn making() -> MutexGuard<'static, BTreeSet<u64>> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is being made; it counts as left behind when this is gone and the image is not.
#[derive(Debug)]
pub(in super::super) struct Making(u64);

impl Making {
    pub(in super::super) fn begin() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        making().insert(number);
        Making(number)
    }

    /// What [`MAKER`] says.
    pub(in super::super) fn maker(&self) -> String {
        format!("{} {} {}", machine().unwrap_or("unknown"), std::process::id(), self.0)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        making().remove(&self.0);
    }
}

/// This start of this machine, and the name space that numbers its processes; none where that cannot be read.
fn machine() -> Option<&'static str> {
    static MACHINE: LazyLock<Option<String>> = LazyLock::new(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
        Some(format!("{}/{}", boot.trim(), space.display()))
    });
    MACHINE.as_deref()
}

/// Whether the process runs; nothing where `/proc` hides those of others (its option `hidepid`), as it does the first one then.
fn runs(process: u32) -> Option<bool> {
    let shown = |process: u32| Path::new("/proc").join(process.to_string()).exists();
    shown(1).then(|| shown(process))
}

/// Whether whoever makes it is known to be at it no more; nothing when that cannot be known.
fn is_abandoned(maker: &str) -> Option<bool> {
    let mut words = maker.split(' ');
    let here = machine() == Some(words.next()?);
    let (process, number) = (words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u64>().ok()?);
    match (here, process == std::process::id()) {
        (false, _) => None,
        (true, true) => Some(!making().contains(&number)),
        (true, false) => runs(process).map(|runs| !runs),
    }
}

fn is_left(image: &Image, now: Timestamp) -> bool {
    let abandoned = image.property(MAKER).and_then(is_abandoned);
    unnamed(image).is_some() && abandoned.unwrap_or_else(|| is_old(image, now))
}

fn is_old(image: &Image, now: Timestamp) -> bool {
    let made = image.uploaded_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    made.is_some_and(|made| now.since(made) >= OLD)
}

async fn all(lxd: &Lxd) -> Result<Vec<Image>> {
    Request::get(&["images"]).query("recursion", "1").json(&lxd.client).await
}

/// Whether it has its name, and whoever gave it was interrupted before the mark was taken away.
fn is_finished(image: &Image) -> bool {
    let abandoned = image.property(MAKER).and_then(is_abandoned);
    image.property(MARK).is_some() && !image.references().is_empty() && abandoned != Some(false)
}

/// Deletes what was left behind, and takes the mark of what was finished but for that. That it cannot be done harms nobody.
pub(in super::super) async fn sweep(lxd: &Lxd) {
    let now = Timestamp::now();
    let images = all(lxd).await.unwrap_or_else(|error| {
        tracing::debug!(node = lxd.name, %error, "images that were left behind cannot be looked for");
        Vec::new()
    });
    for image in images {
        let fingerprint = image.fingerprint();
        let swept = if is_left(&image, now) {
            take_away(lxd, fingerprint, now).await
        } else if is_finished(&image) {
            keep(lxd, fingerprint).await
        } else {
            Ok(())
        };
        // The others are looked at all the same.
        if let Err(error) = swept {
            tracing::debug!(node = lxd.name, fingerprint, %error, "an image that was left behind stays");
        }
    }
}

/// Deletes what was left behind when it was listed, unless it has got its name since.
async fn take_away(lxd: &Lxd, fingerprint: &str, now: Timestamp) -> Result<()> {
    if is_left(&super::image(&lxd.client, fingerprint).await?, now) {
        tracing::info!(node = lxd.name, fingerprint, "an image that was left behind is deleted");
        delete(lxd, fingerprint).await?;
    }
    Ok(())
}

/// Sweeps now, while the connection is being made, and once more when what is there now is old.
pub(in super::super) async fn sweep_on_connecting(lxd: &Arc<Lxd>) {
    // What that leaves is looked at by the next one.
    let _ = tokio::time::timeout(AT_FIRST, sweep(lxd)).await;
    let lxd: Weak<Lxd> = Arc::downgrade(lxd);
    tokio::spawn(async move {
        tokio::time::sleep(LATER).await;
        if let Some(lxd) = lxd.upgrade() {
            sweep(&lxd).await;
        }
    });
}

/// The image that was to get this name and has none; not one that somebody is still at, who gives it the name or deletes it.
pub(super) async fn of(lxd: &Lxd, reference: &str) -> Result<Option<Image>> {
    let is_at_rest = |image: &Image| image.property(MAKER).and_then(is_abandoned) != Some(false);
    Ok(all(lxd).await?.into_iter().find(|image| unnamed(image) == Some(reference) && is_at_rest(image)))
}

/// Takes the mark away: it has its name.
pub(in super::super) async fn keep(lxd: &Lxd, fingerprint: &str) -> Result<()> {
    let path = ["images", fingerprint];
    let (mut image, etag): (Map<String, Value>, String) = Request::get(&path).json_with_etag(&lxd.client).await?;
    let Some(properties) = image.get_mut("properties").and_then(Value::as_object_mut) else { return Ok(()) };
    if properties.remove(MARK).is_none() & properties.remove(MAKER).is_none() {
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

    #[test]
    fn a_maker_is_known_to_be_gone_or_not_on_its_own_machine_only() {
        let making = Making::begin();
        let maker = making.maker();
        assert_eq!(is_abandoned(&maker), Some(false));
        drop(making);
        assert_eq!(is_abandoned(&maker), Some(true));
        // Process 1 is there, and no process has the highest number.
        let machine = machine().unwrap();
        assert_eq!(is_abandoned(&format!("{machine} 1 0")), Some(false));
        assert_eq!(is_abandoned(&format!("{machine} {} 0", u32::MAX)), Some(true));
        for unknown in ["elsewhere 1 0", "", "x", &format!("{machine} x 0")] {
            assert_eq!(is_abandoned(unknown), None, "{unknown}");
        }
    }
}
