//! The configuration: defaults, then the file, then the environment, then the command line.
//!
//! The environment is read by clap together with the flags, so a [`Layer`] is one of two: the file's, or theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use roadstead_backends::host::SamplerOptions;
use roadstead_backends::stores::StoreUri;
use roadstead_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::alerts::{self, AlertConfig};
use crate::dialects::{self, DialectConfig};
use crate::extract::without_values;
use crate::nodes::NewNode;

/// The configuration in effect.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Directory of the admin token and of the embedded store.
    pub state_dir: PathBuf,
    /// The store, where it is not the file in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreConfig>,
    /// File of the key that the store is sealed with.
    pub key_file: PathBuf,
    /// TLS certificate chain of the server, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// TLS key of the server, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, for example `info` or `warn,roadstead_http=debug`.
    pub log: String,
    /// Time for one answer of an engine, in seconds.
    pub request_timeout_seconds: u32,
    /// Time for connecting to an engine, in seconds.
    pub connect_timeout_seconds: u32,
    /// Time for importing, loading or copying an archive, in seconds.
    pub archive_timeout_seconds: u32,
    /// Time that requests get to finish when the server ends, in seconds.
    pub drain_timeout_seconds: u32,
    /// How long the result of a finished job is kept, in seconds.
    pub keep_jobs_seconds: u32,
    /// From one look at this machine's containers and processes to the next, in seconds.
    pub sample_interval_seconds: f64,
    /// How much of one core looking may use, in percent; it slows down rather than use more.
    pub sample_budget_percent: f64,
    /// How long each sample is kept, in seconds; at most 100000 of them.
    pub keep_samples_seconds: u32,
    /// How long the least, mean and greatest of five minutes are kept, in seconds.
    pub keep_history_seconds: u32,
    /// How large the audit log may become, in bytes; then its oldest records go.
    pub audit_max_bytes: u64,
    /// How long the records of the audit log are kept, in seconds.
    pub keep_audit_seconds: u32,
    /// How long events of all nodes are kept, in seconds.
    pub keep_events_seconds: u32,
    /// How many of them are kept at most.
    pub keep_events_count: u32,
    /// How long measurements that clients post are kept, in seconds.
    pub keep_measurements_seconds: u32,
    /// How many of each kind are kept at most.
    pub keep_measurements_count: u32,
    /// Time for a webhook's receiver to answer, in seconds.
    pub webhook_timeout_seconds: u32,
    /// How long a delivery is tried before its webhook is disabled, in seconds.
    pub webhook_retry_seconds: u32,
    /// Whether webhooks may go to other machines without TLS.
    pub webhook_allow_http: bool,
    /// Largest JSON body, in bytes.
    pub max_body_bytes: u64,
    /// Largest archive, in bytes.
    pub max_archive_bytes: u64,
    /// Dialects that are spoken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dialects: Vec<DialectConfig>,
    /// Rules of alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertConfig>,
    /// Nodes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeConfig>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A node of the configuration file: a URI, or a table with the files of a TLS connection.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum NodeConfig {
    /// The URI alone.
    Uri(String),
    /// With TLS files.
    Table(NodeTable),
}

/// The long form of a node of the configuration file.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeTable {
    /// URI.
    pub uri: String,
    /// Client certificate chain, PEM.
    pub certificate: Option<PathBuf>,
    /// Client key, PEM.
    pub key: Option<PathBuf>,
    /// Certificate authority of the engine, PEM.
    pub authority: Option<PathBuf>,
    /// Labels, by which pools choose their members and containers are placed.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl NodeConfig {
    /// As a node of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> NewNode {
        match self.clone() {
            NodeConfig::Uri(uri) => NewNode { name: name.to_owned(), uri, ..NewNode::default() },
            NodeConfig::Table(NodeTable { uri, certificate, key, authority, labels }) => {
                NewNode { name: name.to_owned(), uri, certificate, key, authority, labels }
            }
        }
    }

    fn shown(&self) -> String {
        let uri = match self {
            NodeConfig::Uri(uri) => uri,
            NodeConfig::Table(table) => &table.uri,
        };
        uri.parse::<roadstead_core::NodeUri>().map_or_else(|_| "(not a URI)".to_owned(), |uri| uri.to_string())
    }
}

/// The URI of a store.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreConfig(String);

impl StoreConfig {
    /// The store at this URI.
    #[must_use]
    pub fn new(uri: impl Into<String>) -> Self {
        StoreConfig(uri.into())
    }

    /// The URI, and what is in the files that it names.
    ///
    /// # Errors
    /// `InvalidInput` that names `store`.
    pub fn uri(&self) -> Result<StoreUri> {
        self.0.parse().map_err(|error: Error| {
            let part = error.field().map_or_else(String::new, |field| format!("{field} "));
            Error::invalid("store", format!("{part}{}", error.message()))
        })
    }

    fn shown(&self) -> String {
        self.uri().map_or_else(|_| "(not a URI of a store)".to_owned(), |uri| uri.to_string())
    }
}

/// Secrets in the URI are not shown.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Secrets in the URI are not shown.
impl Serialize for StoreConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// Secrets in the URI are not shown.
impl std::fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl std::fmt::Debug for NodeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        NodeConfig::Table(self.clone()).fmt(f)
    }
}

/// Secrets in the URI are not shown.
impl Serialize for NodeConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            uri: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            certificate: Option<&'a Path>,
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a Path>,
            #[serde(skip_serializing_if = "Option::is_none")]
            authority: Option<&'a Path>,
        }
        match self {
            NodeConfig::Uri(_) => serializer.serialize_str(&self.shown()),
            NodeConfig::Table(table) => Shown {
                uri: self.shown(),
                certificate: table.certificate.as_deref(),
                key: table.key.as_deref(),
                authority: table.authority.as_deref(),
            }
            .serialize(serializer),
        }
    }
}

/// Settings of one origin; what is absent leaves the next origin its say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the members are those of Config")]
pub struct Layer {
    pub listen: Option<Vec<SocketAddr>>,
    pub state_dir: Option<PathBuf>,
    pub store: Option<StoreConfig>,
    pub key_file: Option<PathBuf>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub log_format: Option<LogFormat>,
    pub log: Option<String>,
    pub request_timeout_seconds: Option<u32>,
    pub connect_timeout_seconds: Option<u32>,
    pub archive_timeout_seconds: Option<u32>,
    pub drain_timeout_seconds: Option<u32>,
    pub keep_jobs_seconds: Option<u32>,
    pub sample_interval_seconds: Option<f64>,
    pub sample_budget_percent: Option<f64>,
    pub keep_samples_seconds: Option<u32>,
    pub keep_history_seconds: Option<u32>,
    pub audit_max_bytes: Option<u64>,
    pub keep_audit_seconds: Option<u32>,
    pub keep_events_seconds: Option<u32>,
    pub keep_events_count: Option<u32>,
    pub keep_measurements_seconds: Option<u32>,
    pub keep_measurements_count: Option<u32>,
    pub webhook_timeout_seconds: Option<u32>,
    pub webhook_retry_seconds: Option<u32>,
    pub webhook_allow_http: Option<bool>,
    pub max_body_bytes: Option<u64>,
    pub max_archive_bytes: Option<u64>,
    pub dialects: Option<Vec<DialectConfig>>,
    pub alerts: Option<Vec<AlertConfig>>,
    pub nodes: Option<BTreeMap<String, NodeConfig>>,
}

impl Layer {
    /// The configuration file.
    ///
    /// # Errors
    /// `InvalidInput` that names the file and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::invalid("config", format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).map_err(refuse)
    }

    /// The text of a configuration file.
    ///
    /// # Errors
    /// One line that names the key. The text itself is not repeated: a URI in it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
            let reason = without_values(error.message());
            match line {
                Some(line) => format!("line {line}: {reason}"),
                None => reason,
            }
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 7070))],
            state_dir: default_state_dir(),
            store: None,
            key_file: default_key_file(),
            tls_cert: None,
            tls_key: None,
            log_format: LogFormat::Text,
            log: "info,actix_server=warn".to_owned(),
            request_timeout_seconds: 30,
            connect_timeout_seconds: 10,
            archive_timeout_seconds: 3600,
            drain_timeout_seconds: 10,
            keep_jobs_seconds: 3600,
            sample_interval_seconds: 2.0,
            sample_budget_percent: 2.0,
            keep_samples_seconds: 900,
            keep_history_seconds: 86_400,
            audit_max_bytes: 64 * 1024 * 1024,
            keep_audit_seconds: 90 * 86_400,
            keep_events_seconds: 86_400,
            keep_events_count: 100_000,
            keep_measurements_seconds: 86_400,
            keep_measurements_count: 100_000,
            webhook_timeout_seconds: 10,
            webhook_retry_seconds: 86_400,
            webhook_allow_http: false,
            max_body_bytes: 1024 * 1024,
            max_archive_bytes: 64 * 1024 * 1024 * 1024,
            dialects: Vec::new(),
            alerts: Vec::new(),
            nodes: BTreeMap::new(),
        }
    }
}

/// `/var/lib/roadstead` for root, otherwise the user's state directory.
fn default_state_dir() -> PathBuf {
    own_directory("/var/lib", "XDG_STATE_HOME", ".local/state")
        .map_or_else(|| PathBuf::from(".roadstead"), |base| base.join("roadstead"))
}

/// `/etc/roadstead/store.key` for root, otherwise in the user's directory of configuration: not beside the store, so that a copy of
/// that is of no use alone.
fn default_key_file() -> PathBuf {
    own_directory("/etc", "XDG_CONFIG_HOME", ".config")
        .map_or_else(|| PathBuf::from(".roadstead.key"), |base| base.join("roadstead/store.key"))
}

/// The machine's directory for root, otherwise the user's by the environment or below the home.
fn own_directory(of_root: &str, variable: &str, below_home: &str) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    // The owner of our own entry in /proc is the effective user, without a call that needs unsafe code.
    let root = std::fs::metadata("/proc/self").is_ok_and(|entry| std::os::unix::fs::MetadataExt::uid(&entry) == 0);
    if root {
        return Some(PathBuf::from(of_root));
    }
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home().map(|home| home.join(below_home)))
}

impl Config {
    /// Puts `layer` on top.
    #[must_use]
    pub fn with(mut self, layer: Layer) -> Self {
        macro_rules! take {
            ($($member:ident),+) => { $(if let Some(value) = layer.$member { self.$member = value; })+ };
        }
        take!(
            listen,
            state_dir,
            key_file,
            log_format,
            log,
            request_timeout_seconds,
            connect_timeout_seconds,
            archive_timeout_seconds,
            drain_timeout_seconds,
            keep_jobs_seconds,
            sample_interval_seconds,
            sample_budget_percent,
            keep_samples_seconds,
            keep_history_seconds,
            audit_max_bytes,
            keep_audit_seconds,
            keep_events_seconds,
            keep_events_count,
            keep_measurements_seconds,
            keep_measurements_count,
            webhook_timeout_seconds,
            webhook_retry_seconds,
            webhook_allow_http,
            max_body_bytes,
            max_archive_bytes,
            dialects,
            alerts,
            nodes
        );
        self.store = layer.store.or(self.store);
        self.tls_cert = layer.tls_cert.or(self.tls_cert);
        self.tls_key = layer.tls_key.or(self.tls_key);
        self
    }

    /// Checks what can be checked without doing anything.
    ///
    /// # Errors
    /// `InvalidInput` that names the setting.
    pub fn validate(&self) -> Result<()> {
        if self.listen.is_empty() {
            return Err(Error::invalid("listen", "there must be an address to listen on"));
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => return Err(Error::invalid("tls_key", "tls_cert needs tls_key beside it")),
            (None, Some(_)) => return Err(Error::invalid("tls_cert", "tls_key needs tls_cert beside it")),
            _ => {}
        }
        if self.tls_cert.is_none()
            && let Some(address) = self.listen.iter().find(|address| !address.ip().is_loopback())
        {
            return Err(Error::invalid(
                "listen",
                format!(
                    "{address} can be reached from other machines, and whoever holds the token is root on the engines; \
                     give tls_cert and tls_key, or listen on 127.0.0.1 or [::1]"
                ),
            ));
        }
        for (field, value) in [
            ("request_timeout_seconds", self.request_timeout_seconds),
            ("connect_timeout_seconds", self.connect_timeout_seconds),
            ("archive_timeout_seconds", self.archive_timeout_seconds),
        ] {
            if value == 0 || value > 86_400 {
                return Err(Error::invalid(field, "must be from 1 to 86400"));
            }
        }
        for (field, value, least, most) in [
            ("sample_interval_seconds", self.sample_interval_seconds, 0.1, 3600.0),
            ("sample_budget_percent", self.sample_budget_percent, 0.01, 100.0),
            ("keep_samples_seconds", self.keep_samples_seconds.into(), 1.0, 86_400.0),
            ("keep_history_seconds", self.keep_history_seconds.into(), 1.0, 31.0 * 86_400.0),
            ("keep_events_seconds", self.keep_events_seconds.into(), 60.0, 31.0 * 86_400.0),
            ("keep_events_count", self.keep_events_count.into(), 1000.0, 10_000_000.0),
            ("keep_measurements_seconds", self.keep_measurements_seconds.into(), 1.0, 31.0 * 86_400.0),
            ("keep_measurements_count", self.keep_measurements_count.into(), 100.0, 10_000_000.0),
            ("webhook_timeout_seconds", self.webhook_timeout_seconds.into(), 1.0, 300.0),
            ("webhook_retry_seconds", self.webhook_retry_seconds.into(), 1.0, 31.0 * 86_400.0),
        ] {
            // What is no number is in no range.
            if !(least..=most).contains(&value) {
                return Err(Error::invalid(field, format!("must be from {least} to {most}")));
            }
        }
        for (field, value, least, most) in [
            ("audit_max_bytes", self.audit_max_bytes, 64 * 1024, 1 << 40),
            ("keep_audit_seconds", self.keep_audit_seconds.into(), 60, 10 * 366 * 86_400),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::invalid(field, format!("must be from {least} to {most}")));
            }
        }
        let longest = (f64::from(SamplerOptions::MOMENTS_MAX) * self.sample_interval_seconds).floor();
        if f64::from(self.keep_samples_seconds) > longest {
            let reason = format!(
                "at most {} samples are kept: with a sample_interval_seconds of {}, those of {longest} seconds",
                SamplerOptions::MOMENTS_MAX,
                self.sample_interval_seconds
            );
            return Err(Error::invalid("keep_samples_seconds", reason));
        }
        if let Some(store) = &self.store {
            store.uri()?;
        }
        alerts::check(&self.alerts)?;
        dialects::check(&self.dialects, self.tls_cert.is_some())?;
        for (name, node) in &self.nodes {
            let node = node.named(name);
            roadstead_core::names::node_name("nodes", &node.name)?;
            node.uri
                .parse::<roadstead_core::NodeUri>()
                .map_err(|error| Error::invalid(format!("nodes.{name}"), error.message()))?;
        }
        Ok(())
    }

    /// The effective configuration as TOML; secrets are hidden.
    ///
    /// # Errors
    /// When it cannot be written as TOML, which would be a defect.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Unexpected, format!("the configuration cannot be shown: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_within_reason() {
        for (text, field) in [
            ("audit_max_bytes = 1000", "audit_max_bytes"),
            ("keep_audit_seconds = 0", "keep_audit_seconds"),
            ("sample_interval_seconds = 0.05", "sample_interval_seconds"),
            ("sample_interval_seconds = nan", "sample_interval_seconds"),
            ("sample_budget_percent = 0.0", "sample_budget_percent"),
            ("sample_budget_percent = inf", "sample_budget_percent"),
            ("keep_samples_seconds = 0", "keep_samples_seconds"),
            ("keep_history_seconds = 4294967295", "keep_history_seconds"),
            ("keep_events_seconds = 59", "keep_events_seconds"),
            ("keep_events_count = 999", "keep_events_count"),
            ("keep_measurements_seconds = 0", "keep_measurements_seconds"),
            ("keep_measurements_count = 99", "keep_measurements_count"),
            ("webhook_timeout_seconds = 0", "webhook_timeout_seconds"),
            ("webhook_retry_seconds = 0", "webhook_retry_seconds"),
            ("sample_interval_seconds = 0.1\nkeep_samples_seconds = 86400", "keep_samples_seconds"),
            ("sample_interval_seconds = 0.1\nkeep_samples_seconds = 10001", "keep_samples_seconds"),
        ] {
            let refused = Config::default().with(Layer::parse(text).unwrap()).validate().unwrap_err();
            assert_eq!(refused.field(), Some(field), "{text}");
        }
        for good in [
            "sample_interval_seconds = 0.5\nsample_budget_percent = 1.0\nkeep_samples_seconds = 60",
            "sample_interval_seconds = 0.1\nkeep_samples_seconds = 10000",
            "sample_interval_seconds = 1.0\nkeep_samples_seconds = 86400\nkeep_history_seconds = 2678400",
        ] {
            Config::default().with(Layer::parse(good).unwrap()).validate().unwrap();
        }
        let often = "sample_interval_seconds = 0.1\nkeep_samples_seconds = 86400";
        let refused = Config::default().with(Layer::parse(often).unwrap()).validate().unwrap_err();
        assert!(refused.to_string().contains("those of 10000 seconds"), "{refused}");
    }

    #[test]
    fn later_layers_win() {
        let file = Layer::parse("listen = [\"127.0.0.1:1\"]\nlog = \"debug\"\n[nodes]\na = \"memory:\"\nb = { uri = \"memory:\", authority = \"/ca.pem\" }").unwrap();
        let flags = Layer { listen: Some(vec!["127.0.0.1:2".parse().unwrap()]), ..Layer::default() };
        let config = Config::default().with(file).with(flags);
        assert_eq!(config.listen, ["127.0.0.1:2".parse().unwrap()]);
        assert_eq!(config.log, "debug");
        assert_eq!(config.nodes["b"].named("b").authority, Some("/ca.pem".into()));
        assert_eq!(config.request_timeout_seconds, 30);
        config.validate().unwrap();
    }

    #[test]
    fn unknown_keys_are_named_and_values_are_not_repeated() {
        let error = Layer::parse("# x\nlisten_on = \"hunter2\"").unwrap_err();
        assert!(error.contains("line 2") && error.contains("listen_on") && !error.contains("hunter2"), "{error}");
        assert!(Layer::parse("[nodes]\na = { uri = \"memory:\", cert = \"x\" }").is_err());
    }

    #[test]
    fn what_is_not_safe_is_refused() {
        let with = |text: &str| Config::default().with(Layer::parse(text).unwrap()).validate().unwrap_err();
        assert_eq!(with("listen = [\"0.0.0.0:7070\"]").field(), Some("listen"));
        assert_eq!(with("listen = [\"127.0.0.1:1\", \"[::]:7070\"]").field(), Some("listen"));
        assert_eq!(with("tls_cert = \"/c.pem\"").field(), Some("tls_key"));
        assert_eq!(with("[nodes]\na = \"no uri\"").field(), Some("nodes.a"));
        let tls = "listen = [\"0.0.0.0:7070\"]\ntls_cert = \"/c.pem\"\ntls_key = \"/k.pem\"";
        Config::default().with(Layer::parse(tls).unwrap()).validate().unwrap();
    }

    #[test]
    fn secrets_are_hidden() {
        let layer = Layer::parse("[nodes]\na = \"x+https://me:hunter2@host:1\"").unwrap();
        let config = Config::default().with(layer);
        assert!(!config.to_toml().unwrap().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(config.to_toml().unwrap().contains("me@host"));
    }
}
