//! How a dialect is switched on: in the configuration file by a table, on the command line by one word.

use std::net::SocketAddr;
use std::path::PathBuf;

use roadstead_core::{Error, Result, names};
use serde::{Deserialize, Serialize, Serializer};

use super::Dialect;
use super::address::{Address, check_template, shown_template};
use crate::auth::Role;
use crate::nodes::{NewNode, Nodes};

/// A dialect that is switched on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DialectConfig {
    /// Which.
    pub name: Dialect,
    /// Address of a listener of its own, where the paths are the old ones. Below the dialect's name on the main listener it is in any
    /// case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// What callers may do on that listener who show no token; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Role>,
    /// Whether such callers may come from other machines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous_remote: bool,
    /// URI of a node that is added through the dialect, with `{host}` for the address that is given.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub node_uri: Option<String>,
    /// Client certificate chain for those nodes, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Client key for those nodes, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Certificate authority of those nodes, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// Whether JSON is taken where the old system takes forms only.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub json_bodies: bool,
    /// The node whose images are offered; those of all nodes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_node: Option<String>,
}

/// The keys beside the name and the address, and what each is, for documentation and errors.
pub(super) const KEYS: [(&str, &str); 8] = [
    (
        "anonymous",
        "what callers may do who give no token, on the dialect's own listener: `read`; `operate`, which does something to containers, too; `admin`, which adds and removes nodes, too. Nothing when absent. On loopback addresses only",
    ),
    ("anonymous_remote", "`true`: on other addresses, too. Those need TLS in any case"),
    ("node_uri", "URI of the nodes that clients add, with `{host}` once, where the address goes that they give"),
    ("certificate", "client certificate chain for the TLS connections to those nodes, PEM"),
    ("key", "its key, PEM"),
    ("authority", "certificate authority of those nodes, PEM"),
    ("json_bodies", "`false`: JSON bodies are not read where the old system reads forms only"),
    ("image_node", "the node whose images are offered; those of all nodes when absent"),
];

const fn yes() -> bool {
    true
}

#[allow(clippy::ref_option, reason = "serde calls it with a reference to the member")]
fn shown<S: Serializer>(template: &Option<String>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let template = template.as_deref().map(|text| shown_template(text).unwrap_or_else(|_| "(not a URI)".to_owned()));
    template.serialize(serializer)
}

/// Secrets in the template are not shown.
impl std::fmt::Debug for DialectConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DialectConfig").field("name", &self.name).field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl DialectConfig {
    /// Switched on, on the main listener alone.
    #[must_use]
    pub fn new(name: Dialect) -> Self {
        DialectConfig {
            name,
            listen: None,
            anonymous: None,
            anonymous_remote: false,
            node_uri: None,
            certificate: None,
            key: None,
            authority: None,
            json_bodies: true,
            image_node: None,
        }
    }

    /// Reads `NAME[=ADDR][,KEY=VALUE]…`, the keys being those of the configuration file.
    ///
    /// # Errors
    /// One line that says what is wrong. Values are not repeated: a URI may hold a password.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, address) = first.split_once('=').map_or((first, None), |(name, address)| (name, Some(address)));
        let known = Dialect::ALL.into_iter().find(|dialect| dialect.name() == name).ok_or_else(|| {
            format!("there is no such dialect; there are {}", Dialect::ALL.map(Dialect::name).join(" and "))
        })?;
        let mut config = DialectConfig::new(known);
        let socket = |address: &str| address.parse().map_err(|_| "the address is not IP:PORT".to_owned());
        config.listen = address.map(socket).transpose()?;
        for part in parts {
            // Nothing of it is repeated: it may be the rest of a password with a comma in it.
            let (key, value) = part.split_once('=').ok_or("what is behind a comma must be KEY=VALUE")?;
            let text = || Some(value.to_owned());
            let truth = || value.parse().map_err(|_| format!("{key} is neither true nor false"));
            match key {
                "anonymous" => config.anonymous = Some(Role::parse(value)?),
                "anonymous_remote" => config.anonymous_remote = truth()?,
                "json_bodies" => config.json_bodies = truth()?,
                "node_uri" => config.node_uri = text(),
                "certificate" => config.certificate = Some(value.into()),
                "key" => config.key = Some(value.into()),
                "authority" => config.authority = Some(value.into()),
                "image_node" => config.image_node = text(),
                _ => return Err(format!("there is no such key; there are {}", KEYS.map(|(key, _)| key).join(", "))),
            }
        }
        Ok(config)
    }

    /// The port of the nodes that are added through the dialect.
    pub(crate) fn usual_port(&self) -> Option<u16> {
        let uri = Address::parse("host", "host.invalid").ok()?.in_template(self.template());
        uri.parse::<roadstead_core::NodeUri>().ok()?.port()
    }

    fn template(&self) -> &str {
        self.node_uri.as_deref().unwrap_or(self.name.default_node_uri())
    }

    /// The node of this name that is added through the dialect with this address.
    pub(crate) fn node(&self, name: &str, address: &Address) -> NewNode {
        NewNode {
            name: name.to_owned(),
            uri: address.in_template(self.template()),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authority: self.authority.clone(),
            ..NewNode::default()
        }
    }
}

/// What may be a mistake, but need not be: nodes can be added, and files written, while the server runs.
pub(crate) fn warnings(dialects: &[DialectConfig], nodes: &Nodes) -> Vec<String> {
    let mut warnings = Vec::new();
    for dialect in dialects {
        let name = dialect.name;
        if let Some(node) = dialect.image_node.as_ref().filter(|node| nodes.get(node).is_err()) {
            warnings.push(format!(
                "dialects.{name}.image_node: there is no node {node}; no image is offered until one is added"
            ));
        }
        for (key, file) in
            [("certificate", &dialect.certificate), ("key", &dialect.key), ("authority", &dialect.authority)]
        {
            if let Some(Err(cause)) = file.as_ref().map(std::fs::File::open) {
                warnings.push(format!(
                    "dialects.{name}.{key}: cannot be read, which every node needs that is added: {cause}"
                ));
            }
        }
    }
    warnings
}

/// Checks what is switched on.
///
/// # Errors
/// `InvalidInput` that names the setting.
pub(crate) fn check(dialects: &[DialectConfig], tls: bool) -> Result<()> {
    for (index, dialect) in dialects.iter().enumerate() {
        let refuse = |key: &str, reason: &str| Err(Error::invalid(format!("dialects.{}{key}", dialect.name), reason));
        if dialects.iter().take(index).any(|other| other.name == dialect.name) {
            return refuse("", "is named twice");
        }
        let loopback = dialect.listen.is_none_or(|address| address.ip().is_loopback());
        if !loopback && !tls {
            return refuse(".listen", "addresses other than loopback need TLS: set tls_cert and tls_key");
        }
        if dialect.anonymous.is_some() && dialect.listen.is_none() {
            return refuse(".anonymous", "is about a listener of the dialect's own: say where with listen");
        }
        if dialect.anonymous.is_some() && !loopback && !dialect.anonymous_remote {
            return refuse(
                ".anonymous",
                "lets everybody in who reaches that address: say so with anonymous_remote = true",
            );
        }
        if dialect.anonymous_remote && dialect.anonymous.is_none() {
            return refuse(".anonymous_remote", "means nothing without anonymous");
        }
        if dialect.certificate.is_some() != dialect.key.is_some() {
            return refuse(
                if dialect.key.is_none() { ".key" } else { ".certificate" },
                "certificate and key belong together",
            );
        }
        if let Some(template) = &dialect.node_uri {
            check_template(&format!("dialects.{}.node_uri", dialect.name), template)?;
        }
        if !dialect.json_bodies && dialect.name != Dialect::Copa {
            return refuse(".json_bodies", "this dialect takes JSON and nothing else");
        }
        if let Some(node) = &dialect.image_node {
            if dialect.name != Dialect::Copa {
                return refuse(".image_node", "this dialect has no images");
            }
            names::node_name(&format!("dialects.{}.image_node", dialect.name), node)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(texts: &[&str], tls: bool) -> String {
        let dialects: Vec<_> = texts.iter().map(|text| DialectConfig::parse(text).unwrap()).collect();
        check(&dialects, tls).unwrap_err().field().unwrap().to_owned()
    }

    #[test]
    fn one_word_says_all() {
        let read = DialectConfig::parse(
            "copa=127.0.0.1:8000,anonymous=operate,node_uri=lxd+https://{host},certificate=/c,key=/k,image_node=a",
        )
        .unwrap();
        assert_eq!((read.name, read.listen), (Dialect::Copa, Some("127.0.0.1:8000".parse().unwrap())));
        assert_eq!((read.anonymous, read.image_node.as_deref()), (Some(Role::Operate), Some("a")));
        check(&[read, DialectConfig::parse("pharos").unwrap()], false).unwrap();
        for (key, _) in KEYS {
            let value = if key == "anonymous" { "read" } else { "true" };
            DialectConfig::parse(&format!("copa,{key}={value}")).unwrap();
        }
        for bad in [
            "",
            "docker",
            "copa=here",
            "copa,x=1",
            "copa,anonymous",
            "copa,anonymous=root",
            "copa,anonymous_remote=yes",
        ] {
            assert!(DialectConfig::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_safe_or_makes_no_sense_is_refused() {
        assert_eq!(refused(&["copa", "copa=127.0.0.1:1"], false), "dialects.copa");
        assert_eq!(refused(&["copa=0.0.0.0:1"], false), "dialects.copa.listen");
        assert_eq!(refused(&["copa,anonymous=read"], false), "dialects.copa.anonymous");
        assert_eq!(refused(&["copa=0.0.0.0:1,anonymous=read"], true), "dialects.copa.anonymous");
        assert_eq!(refused(&["copa=0.0.0.0:1,anonymous=read,anonymous_remote=true"], false), "dialects.copa.listen");
        assert_eq!(refused(&["copa=127.0.0.1:1,anonymous_remote=true"], false), "dialects.copa.anonymous_remote");
        assert_eq!(refused(&["copa,certificate=/c"], false), "dialects.copa.key");
        assert_eq!(refused(&["copa,node_uri=lxd+https://host"], false), "dialects.copa.node_uri");
        assert_eq!(refused(&["pharos,image_node=a"], false), "dialects.pharos.image_node");
        let remote = DialectConfig::parse("copa=0.0.0.0:1,anonymous=read,anonymous_remote=true").unwrap();
        check(&[remote], true).unwrap();
    }

    #[test]
    fn secrets_of_a_template_are_hidden() {
        let config = DialectConfig::parse("pharos,node_uri=docker+https://me:hunter2@{host}:1").unwrap();
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("me@{host}:1"), "{shown}");
        let node = config.node("n", &Address::parse("host", "box").unwrap());
        assert_eq!(node.uri, "docker+https://me:hunter2@box:1");
    }
}
