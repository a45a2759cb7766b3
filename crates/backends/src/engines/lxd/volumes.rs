//! Custom storage volumes of a server: the ones in its default storage pool.
//!
//! Other pools may have volumes of the same names; what is created, found and mounted here is always in the default pool
//! ([`storage::default_pool`]), so that a name means one volume.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, Retry, Timestamp, Volume, VolumeSpec, names};
use serde::Deserialize;
use serde_json::json;

use super::networks::in_use;
use super::request::Request;
use super::shared::Lxd;
use super::{labels, storage};

/// Making or deleting a volume may take so long.
const VOLUME_DEADLINE: Duration = Duration::from_secs(300);

/// A volume; every member may be null or missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    name: Option<String>,
    config: Option<BTreeMap<String, Option<String>>>,
    created_at: Option<String>,
    used_by: Option<Vec<String>>,
}

impl Wire {
    fn is_used(&self) -> bool {
        self.used_by.as_ref().is_some_and(|users| !users.is_empty())
    }

    fn volume(self, node: &str, pool: &storage::Wire) -> Volume {
        let config = labels::split(self.config);
        let mut volume = Volume::default();
        volume.node = node.to_owned();
        volume.name = self.name.unwrap_or_default();
        volume.driver = pool.driver.clone().unwrap_or_default();
        volume.labels = config.labels;
        volume.options = config.options;
        let created = self.created_at.and_then(|time| time.parse::<Timestamp>().ok());
        volume.created_at = created.filter(|time| !time.is_never());
        volume
    }
}

/// V1.
pub(super) async fn list_volumes(lxd: &Arc<Lxd>) -> Result<Vec<Volume>> {
    let pool = storage::default(lxd).await?;
    let request = Request::get(&["storage-pools", pool.name(), "volumes", "custom"]).query("recursion", "1");
    let volumes: Vec<Wire> = request.json(&lxd.client).await?;
    // Snapshots of volumes stand in the list as VOLUME/SNAPSHOT.
    let whole = |volume: &Wire| volume.name.as_deref().is_some_and(|name| !name.contains('/'));
    Ok(volumes.into_iter().filter(whole).map(|volume| volume.volume(&lxd.name, &pool)).collect())
}

/// V2.
pub(super) async fn inspect_volume(lxd: &Arc<Lxd>, name: &str) -> Result<Volume> {
    names::existing("name", name)?;
    let pool = storage::default(lxd).await?;
    find(lxd, &pool, name).await
}

async fn find(lxd: &Lxd, pool: &storage::Wire, name: &str) -> Result<Volume> {
    let request = Request::get(&["storage-pools", pool.name(), "volumes", "custom", name]);
    let found: Wire = request.json(&lxd.client).await?;
    Ok(found.volume(&lxd.name, pool))
}

/// V3, V4. Options are the server's own keys for volumes, for example `size`.
pub(super) async fn create_volume(lxd: &Arc<Lxd>, spec: &VolumeSpec) -> Result<Volume> {
    spec.validate()?;
    if let Some(key) = spec.options.keys().find(|key| key.starts_with(labels::PREFIX)) {
        return Err(Error::invalid(format!("options.{key}"), "is a label of this engine"));
    }
    let pool = storage::default(lxd).await?;
    if let Some(driver) = spec.driver.as_deref().filter(|driver| pool.driver.as_deref() != Some(*driver)) {
        let words = format!(
            "{driver}: volumes are made in the pool {}, whose driver is {}",
            pool.name(),
            pool.driver.as_deref().unwrap_or_default()
        );
        return Err(Error::invalid("driver", words));
    }
    let mut config = spec.options.clone();
    config.extend(labels::written(&spec.labels));
    let body = json!({"name": spec.name, "config": config});
    let request = Request::post(&["storage-pools", pool.name(), "volumes", "custom"]).body(&body);
    request.finish(&lxd.client, VOLUME_DEADLINE).await.map_err(about_the_spec)?;
    find(lxd, &pool, &spec.name).await
}

fn about_the_spec(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let about_options = ["invalid option", "invalid value"].iter().any(|words| message.contains(words));
    if about_options && matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::InvalidInput) {
        return Error::invalid("options", error.message()).with_source(error);
    }
    error
}

/// V5, V6.
pub(super) async fn delete_volume(lxd: &Arc<Lxd>, name: &str, _force: bool) -> Result<()> {
    names::existing("name", name)?;
    let pool = storage::default_pool(lxd).await?;
    let request = Request::delete(&["storage-pools", &pool, "volumes", "custom", name]);
    request.finish(&lxd.client, VOLUME_DEADLINE).await.map(|_| ()).map_err(in_use)
}

/// Deletes a volume of this pool unless something refers to it; then it stays, as with other engines.
pub(super) async fn delete_unused(lxd: &Lxd, pool: &str, name: &str) -> Result<()> {
    let path = ["storage-pools", pool, "volumes", "custom", name];
    let is_used = || async {
        match Request::get(&path).json::<Wire>(&lxd.client).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(|found| Some(found.is_used())),
        }
    };
    if is_used().await? != Some(false) {
        return Ok(());
    }
    match Request::delete(&path).finish(&lxd.client, VOLUME_DEADLINE).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Somebody may have come to use it in between.
        Err(error) if is_used().await? == Some(false) => Err(error.with_retry(Retry::Unknown)),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let volumes: Vec<Wire> = serde_json::from_value(json!([
            {"name": "v", "config": {"user.a": "b", "size": "1GiB"}, "created_at": "0001-01-01T00:00:00Z", "new": 1},
            {"name": "w", "config": null},
        ]))
        .unwrap();
        let pool: storage::Wire =
            serde_json::from_value(json!({"name": "p", "driver": "dir", "config": null})).unwrap();
        let volumes: Vec<_> = volumes.into_iter().map(|volume| volume.volume("n", &pool)).collect();
        assert_eq!(volumes[0].labels["a"], "b");
        assert_eq!(volumes[0].options["size"], "1GiB");
        assert_eq!((volumes[0].created_at, volumes[1].driver.as_str()), (None, "dir"));
    }
}
