//! Storage pools: where a server keeps instances, images and volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use roadstead_core::{Error, ErrorKind, Result, names};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::labels;
use super::networks::in_use;
use super::node::LxdNode;
use super::request::Request;
use super::shared::Lxd;

/// Making or deleting a pool may format a disk.
const POOL_DEADLINE: Duration = Duration::from_secs(600);

/// A pool; every member may be null or missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wire {
    name: Option<String>,
    pub(super) driver: Option<String>,
    description: Option<String>,
    status: Option<String>,
    config: Option<BTreeMap<String, Option<String>>>,
    used_by: Option<Vec<String>>,
}

impl Wire {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn pool(self) -> StoragePool {
        let config = labels::split(self.config);
        StoragePool {
            name: self.name.unwrap_or_default(),
            driver: self.driver.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            status: self.status.unwrap_or_default(),
            labels: config.labels,
            options: config.options,
            used_by: self.used_by.unwrap_or_default(),
            used_bytes: None,
            total_bytes: None,
        }
    }
}

/// Where a server keeps instances, images and volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoragePool {
    /// Its name.
    pub name: String,
    /// How it stores, for example `dir`, `zfs` or `btrfs`.
    pub driver: String,
    /// A remark.
    pub description: String,
    /// The server's word for its state, for example `Created`.
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The server's own configuration of it, for example `source`.
    pub options: BTreeMap<String, String>,
    /// What is in it or refers to it, as paths of the server's API.
    pub used_by: Vec<String>,
    /// Bytes in use; only told by [`LxdNode::storage_pool`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Bytes in all; only told by [`LxdNode::storage_pool`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

/// What a new storage pool shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StoragePoolSpec {
    /// Name (required).
    pub name: String,
    /// How it stores, for example `dir` (required).
    pub driver: String,
    /// A remark.
    pub description: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The server's own configuration, for example `source` or `size`.
    pub options: BTreeMap<String, String>,
}

impl StoragePoolSpec {
    /// A pool of this name with this driver, everything else by default.
    #[must_use]
    pub fn new(name: impl Into<String>, driver: impl Into<String>) -> Self {
        StoragePoolSpec { name: name.into(), driver: driver.into(), ..StoragePoolSpec::default() }
    }

    fn validate(&self) -> Result<()> {
        names::volume_name("name", &self.name)?;
        names::one_word("driver", &self.driver)?;
        for key in self.labels.keys() {
            names::label_key("labels", key)?;
        }
        match self.options.keys().find(|key| key.starts_with(labels::PREFIX)) {
            Some(key) => Err(Error::invalid(format!("options.{key}"), "is a label of this engine")),
            None => Ok(()),
        }
    }
}

async fn all(lxd: &Lxd) -> Result<Vec<Wire>> {
    Request::get(&["storage-pools"]).query("recursion", "1").json(&lxd.client).await
}

async fn find(lxd: &Lxd, name: &str) -> Result<Wire> {
    Request::get(&["storage-pools", name]).json(&lxd.client).await
}

/// The name of the pool where new instances go by default: the one of the root disk in the profile `default`, or else the
/// first one that there is.
pub(super) async fn default_pool(lxd: &Lxd) -> Result<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Profile {
        devices: Option<BTreeMap<String, BTreeMap<String, Option<String>>>>,
    }
    let profile: Profile = match Request::get(&["profiles", "default"]).json(&lxd.client).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Profile::default(),
        result => result?,
    };
    let root = profile.devices.unwrap_or_default().into_values().find_map(|device| {
        let value = |key: &str| device.get(key).cloned().flatten();
        (value("type").as_deref() == Some("disk") && value("path").as_deref() == Some("/")).then(|| value("pool"))?
    });
    match root {
        Some(pool) if !pool.is_empty() => Ok(pool),
        _ => {
            let first = all(lxd).await?.into_iter().next();
            first
                .map(|pool| pool.name().to_owned())
                .ok_or_else(|| Error::new(ErrorKind::NotFound, "the server has no storage pool"))
        }
    }
}

/// The pool of [`default_pool`].
pub(super) async fn default(lxd: &Lxd) -> Result<Wire> {
    find(lxd, &default_pool(lxd).await?).await
}

/// Storage pools, which only this engine has.
impl LxdNode {
    /// All storage pools.
    ///
    /// # Errors
    /// As every call on the node.
    pub async fn storage_pools(&self) -> Result<Vec<StoragePool>> {
        let work = async { Ok(all(&self.0).await?.into_iter().map(Wire::pool).collect()) };
        self.call("lxd.storage_pools", None, "", work).await
    }

    /// The storage pool of this name, with how full it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn storage_pool(&self, name: &str) -> Result<StoragePool> {
        let work = async {
            names::existing("name", name)?;
            let mut pool = find(&self.0, name).await?.pool();
            if let Some(space) = space(&self.0, name).await? {
                (pool.used_bytes, pool.total_bytes) = (space.used, space.total.filter(|total| *total > 0));
            }
            Ok(pool)
        };
        self.call("lxd.storage_pool", None, name, work).await
    }

    /// Creates a storage pool.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when the name is taken, [`ErrorKind::InvalidInput`] when driver or options are not known.
    pub async fn create_storage_pool(&self, spec: &StoragePoolSpec) -> Result<()> {
        let work = async {
            spec.validate()?;
            let mut config = spec.options.clone();
            config.extend(labels::written(&spec.labels));
            let body = json!({
                "name": spec.name, "driver": spec.driver, "description": spec.description, "config": config,
            });
            let request = Request::post(&["storage-pools"]).body(&body);
            request.finish(&self.0.client, POOL_DEADLINE).await.map(|_| ()).map_err(about_the_spec)
        };
        self.call("lxd.create_storage_pool", None, &spec.name, work).await
    }

    /// Deletes a storage pool.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] while anything is in it or refers to it, [`ErrorKind::NotFound`] when there is none.
    pub async fn delete_storage_pool(&self, name: &str) -> Result<()> {
        let work = async {
            names::existing("name", name)?;
            let request = Request::delete(&["storage-pools", name]);
            request.finish(&self.0.client, POOL_DEADLINE).await.map(|_| ()).map_err(in_use)
        };
        self.call("lxd.delete_storage_pool", None, name, work).await
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Space {
    used: Option<u64>,
    total: Option<u64>,
}

async fn space(lxd: &Lxd, name: &str) -> Result<Option<Space>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Resources {
        space: Option<Space>,
    }
    match Request::get(&["storage-pools", name, "resources"]).json::<Resources>(&lxd.client).await {
        Ok(resources) => Ok(resources.space),
        // Some drivers cannot tell, and who is restricted to a project may not know.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => Ok(None),
        Err(error) => Err(error),
    }
}

fn about_the_spec(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if !matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::InvalidInput | ErrorKind::NotFound) {
        error
    } else if says(&["unknown driver", "driver"]) && !says(&["option"]) {
        Error::invalid("driver", error.message()).with_source(error)
    } else if says(&["option", "source", "invalid value"]) {
        Error::invalid("options", error.message()).with_source(error)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let pools: Vec<Wire> =
            serde_json::from_value(json!([{"name": "p", "config": {"user.a": null}, "used_by": null}, {}])).unwrap();
        let pools: Vec<_> = pools.into_iter().map(Wire::pool).collect();
        assert_eq!((pools[0].labels["a"].as_str(), pools[0].used_by.len(), pools[1].name.as_str()), ("", 0, ""));
    }

    #[test]
    fn what_is_wrong_with_a_specification_is_named() {
        for (words, field) in [
            ("Unknown driver", "driver"),
            ("Source path '/nope' doesn't exist", "options"),
            ("Invalid option for storage pool \"p\" option \"x\"", "options"),
        ] {
            assert_eq!(about_the_spec(Error::new(ErrorKind::Unexpected, words)).field(), Some(field), "{words}");
        }
        let mut spec = StoragePoolSpec::new("p1", "dir");
        assert!(spec.validate().is_ok());
        spec.options.insert("user.x".to_owned(), String::new());
        assert!(spec.validate().is_err());
    }
}
