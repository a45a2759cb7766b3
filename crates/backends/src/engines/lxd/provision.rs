//! New containers with what only this engine has: profiles, and the server's own keys and devices.

use std::collections::BTreeMap;

use roadstead_core::{Capability, ContainerSpec, CreatedContainer, Error, Result, names};
use serde::{Deserialize, Serialize};

use super::create;
use super::node::LxdNode;
use super::spec::{Plan, RAW, RawLxc};

/// What a server can be told of a new container beyond the common specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InstanceOptions {
    /// Names of profiles, of which later ones count more; the server's `default` when absent, none when empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Vec<String>>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The server's own configuration keys, for example `security.nesting`; they go before what the specification becomes.
    /// Lines of `raw.lxc` are added to those of the specification.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Devices by name, each with the server's own keys, for example a `gpu`. One with a name that the specification uses
    /// (`mount0`, `port0`, `eth0` …) takes its place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
}

impl InstanceOptions {
    fn validate(&self) -> Result<()> {
        for (index, profile) in self.profiles.iter().flatten().enumerate() {
            names::existing(&format!("profiles[{index}]"), profile)?;
        }
        names::no_nul("description", self.description.as_deref().unwrap_or_default())?;
        for (key, value) in &self.config {
            if key.starts_with("volatile.") || key.starts_with("user.roadstead.") {
                return Err(Error::invalid(format!("config.{key}"), "is the server's or our own bookkeeping"));
            }
            names::one_word("config", key)?;
            names::no_nul(&format!("config.{key}"), value)?;
        }
        for (name, keys) in &self.devices {
            names::one_word("devices", name)?;
            for (key, value) in keys {
                names::one_word(&format!("devices.{name}"), key)?;
                names::no_nul(&format!("devices.{name}.{key}"), value)?;
            }
        }
        Ok(())
    }

    /// Adds them to what a specification has become.
    pub(super) fn apply(&self, plan: &mut Plan) {
        let mut raw = RawLxc::parse(plan.config.get(RAW).map(String::as_str).unwrap_or_default());
        raw.append(&RawLxc::parse(self.config.get(RAW).map(String::as_str).unwrap_or_default()));
        plan.config.extend(self.config.clone());
        plan.config.insert(RAW.to_owned(), raw.to_string());
        plan.devices.extend(self.devices.clone());
    }
}

impl LxdNode {
    /// Creates a container as [`roadstead_core::Node::create_container`] does, and with what only this engine has.
    ///
    /// An image of another server is fetched with [`LxdNode::copy_image`] or `pull_image` before; a copy of another
    /// container is made with [`roadstead_core::Node::copy_container`].
    ///
    /// # Errors
    /// As `create_container`; [`roadstead_core::ErrorKind::NotFound`] for a profile that is not there, and
    /// [`roadstead_core::ErrorKind::InvalidInput`] for keys and devices that the server does not take.
    pub async fn create_instance(&self, spec: &ContainerSpec, options: &InstanceOptions) -> Result<CreatedContainer> {
        let work = async {
            options.validate()?;
            create::create(&self.0, spec, options).await
        };
        self.call("node.create_container", Some(Capability::Create), "", work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_keys_go_first() {
        let mut options = InstanceOptions::default();
        options.config.insert(RAW.to_owned(), "lxc.a = 1\n".to_owned());
        options.config.insert("limits.cpu".to_owned(), "2".to_owned());
        options.devices.insert("gpu".to_owned(), BTreeMap::from([("type".to_owned(), "gpu".to_owned())]));
        options.validate().unwrap();
        let mut plan = Plan::default();
        plan.config.insert(RAW.to_owned(), "lxc.b = 2\n".to_owned());
        plan.config.insert("limits.cpu".to_owned(), "1".to_owned());
        options.apply(&mut plan);
        assert_eq!(plan.config[RAW], "lxc.b = 2\nlxc.a = 1\n");
        assert_eq!((plan.config["limits.cpu"].as_str(), plan.devices.len()), ("2", 1));
    }

    #[test]
    fn bookkeeping_is_not_for_callers() {
        for key in ["volatile.x", "user.roadstead.spec", "", "a b"] {
            let mut options = InstanceOptions::default();
            options.config.insert(key.to_owned(), String::new());
            assert!(options.validate().is_err(), "{key}");
        }
    }
}
