//! Profiles and projects, which only this engine has: what instances begin with, and what keeps users apart.

use std::collections::BTreeMap;

use roadstead_core::{Result, names};
use serde::{Deserialize, Serialize};

use super::labels;
use super::node::LxdNode;
use super::request::Request;

/// Keys and values, where a value may be null.
type Keys = BTreeMap<String, Option<String>>;

/// What the server tells of either; every member may be null or missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    name: Option<String>,
    description: Option<String>,
    config: Option<Keys>,
    devices: Option<BTreeMap<String, Option<Keys>>>,
    used_by: Option<Vec<String>>,
}

/// A set of configuration and devices that instances may begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// A remark.
    pub description: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The server's own configuration keys, for example `limits.memory`.
    pub options: BTreeMap<String, String>,
    /// Devices by name, each with the server's own keys, for example `type` and `path`.
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Which instances and profiles refer to it, as paths of the server's API.
    pub used_by: Vec<String>,
}

/// A space of its own for instances, images and more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Project {
    /// Its name.
    pub name: String,
    /// A remark.
    pub description: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The server's own configuration keys, for example `features.images`.
    pub options: BTreeMap<String, String>,
    /// What is in it, as paths of the server's API.
    pub used_by: Vec<String>,
}

impl Wire {
    fn profile(self) -> Profile {
        let config = labels::split(self.config);
        let plain = |device: Option<Keys>| {
            let keys = device.unwrap_or_default().into_iter();
            keys.map(|(key, value)| (key, value.unwrap_or_default())).collect()
        };
        Profile {
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            labels: config.labels,
            options: config.options,
            devices: self.devices.unwrap_or_default().into_iter().map(|(name, device)| (name, plain(device))).collect(),
            used_by: self.used_by.unwrap_or_default(),
        }
    }

    fn project(self) -> Project {
        let config = labels::split(self.config);
        Project {
            name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            labels: config.labels,
            options: config.options,
            used_by: self.used_by.unwrap_or_default(),
        }
    }
}

/// Profiles and projects.
impl LxdNode {
    async fn all(&self, kind: &str) -> Result<Vec<Wire>> {
        Request::get(&[kind]).query("recursion", "1").json(&self.0.client).await
    }

    async fn one(&self, kind: &str, name: &str) -> Result<Wire> {
        names::existing("name", name)?;
        Request::get(&[kind, name]).json(&self.0.client).await
    }

    /// All profiles of the node's project.
    ///
    /// # Errors
    /// As every call on the node.
    pub async fn profiles(&self) -> Result<Vec<Profile>> {
        let work = async { Ok(self.all("profiles").await?.into_iter().map(Wire::profile).collect()) };
        self.call("lxd.profiles", None, "", work).await
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// [`roadstead_core::ErrorKind::NotFound`] when there is none.
    pub async fn profile(&self, name: &str) -> Result<Profile> {
        let work = async { Ok(self.one("profiles", name).await?.profile()) };
        self.call("lxd.profile", None, name, work).await
    }

    /// All projects that we may see.
    ///
    /// # Errors
    /// As every call on the node.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        let work = async { Ok(self.all("projects").await?.into_iter().map(Wire::project).collect()) };
        self.call("lxd.projects", None, "", work).await
    }

    /// The project of this name.
    ///
    /// # Errors
    /// [`roadstead_core::ErrorKind::NotFound`] when there is none.
    pub async fn project(&self, name: &str) -> Result<Project> {
        let work = async { Ok(self.one("projects", name).await?.project()) };
        self.call("lxd.project", None, name, work).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let wire: Wire = serde_json::from_value(json!({
            "name": "p", "config": {"limits.memory": "1GiB", "user.a": null},
            "devices": {"root": {"type": "disk", "path": null}, "none": null}, "used_by": null, "unheard": "of",
        }))
        .unwrap();
        let profile = wire.profile();
        assert_eq!(profile.labels["a"], "");
        assert_eq!(profile.options["limits.memory"], "1GiB");
        assert_eq!((profile.devices["root"]["type"].as_str(), profile.devices["none"].len()), ("disk", 0));
        assert_eq!(serde_json::from_value::<Wire>(json!({})).unwrap().project(), Project::default());
    }
}
