//! An image as a server tells it, and what of the common nouns stands in its properties.
//!
//! Servers know architecture, aliases and free properties of an image. What else an image can say here (default command,
//! environment …) is kept in properties of our own, which are part of the image's metadata and so travel with it.

use std::collections::BTreeMap;

use roadstead_core::{ImageDetails, ImageSummary, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

/// What our own properties begin with.
const OURS: &str = "roadstead.";

/// An image; every member may be null or missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Image {
    pub(super) fingerprint: Option<String>,
    pub(super) aliases: Option<Vec<Alias>>,
    pub(super) properties: Option<BTreeMap<String, Option<String>>>,
    pub(super) architecture: Option<String>,
    pub(super) size: Option<i64>,
    pub(super) public: Option<bool>,
    pub(super) created_at: Option<String>,
    pub(super) uploaded_at: Option<String>,
}

/// A name of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alias {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

impl Image {
    /// The id: SHA-256 of the image's files, 64 hexadecimal digits.
    pub(in super::super) fn fingerprint(&self) -> &str {
        self.fingerprint.as_deref().unwrap_or_default()
    }

    /// Every alias.
    pub(in super::super) fn references(&self) -> Vec<String> {
        let names = self.aliases.iter().flatten().filter_map(|alias| alias.name.clone());
        let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names
    }

    /// Size of all its files, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
    }

    pub(super) fn property(&self, key: &str) -> Option<&str> {
        let value = self.properties.as_ref()?.get(key)?.as_deref()?;
        (!value.is_empty()).then_some(value)
    }

    /// A property of our own that holds JSON; what somebody wrote there by hand and is none counts as missing.
    fn ours<T: serde::de::DeserializeOwned + Default>(&self, key: &str) -> T {
        self.property(&format!("{OURS}{key}")).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// As it stands in a list.
    pub(super) fn summary(&self, node: &str) -> ImageSummary {
        let time = |text: &Option<String>| {
            let time = text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
            // Servers write the year 1 or 1970 where they know nothing.
            time.filter(|time| !time.is_never() && time.unix_seconds() > 0)
        };
        let mut summary = ImageSummary::default();
        summary.node = node.to_owned();
        summary.id = self.fingerprint().to_owned();
        summary.references = self.references();
        summary.size_bytes = self.size_bytes();
        summary.created_at = time(&self.created_at).or_else(|| time(&self.uploaded_at));
        let properties = self.properties.clone().unwrap_or_default().into_iter();
        let labels = properties.filter(|(key, _)| !key.starts_with(OURS));
        summary.labels = labels.map(|(key, value)| (key, value.unwrap_or_default())).collect();
        summary
    }

    /// Everything that is told of it.
    pub(super) fn details(&self, node: &str) -> ImageDetails {
        let mut details = ImageDetails::default();
        details.summary = self.summary(node);
        details.architecture = self
            .architecture
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(|name| common_architecture(name).to_owned());
        // The property of this name tells the distribution.
        details.os = Some("linux".to_owned());
        details.entrypoint = self.ours("entrypoint");
        details.command = self.ours("command");
        details.env = self.ours("env");
        details.working_directory = self.property(&format!("{OURS}working_directory")).map(str::to_owned);
        details.user = self.property(&format!("{OURS}user")).map(str::to_owned);
        details
    }
}

/// What an image shall say of itself.
pub(in super::super) fn properties(details: &ImageDetails) -> BTreeMap<String, String> {
    let mut properties = details.summary.labels.clone();
    let mut put = |key: &str, value: String| properties.insert(format!("{OURS}{key}"), value);
    if !details.entrypoint.is_empty() {
        put("entrypoint", json!(details.entrypoint).to_string());
    }
    if !details.command.is_empty() {
        put("command", json!(details.command).to_string());
    }
    if !details.env.is_empty() {
        put("env", json!(details.env).to_string());
    }
    if let Some(directory) = &details.working_directory {
        put("working_directory", directory.clone());
    }
    if let Some(user) = &details.user {
        put("user", user.clone());
    }
    properties
}

/// The file `metadata.yaml` of an image. It is written as JSON, which YAML includes.
pub(super) fn metadata_yaml(architecture: &str, created: Timestamp, properties: &BTreeMap<String, String>) -> Value {
    json!({
        "architecture": architecture,
        "creation_date": created.unix_seconds(),
        "properties": properties,
    })
}

/// The kernel's word for an architecture as registries of images have it.
pub(super) fn common_architecture(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "i686" | "i586" | "i386" => "386",
        "aarch64" => "arm64",
        "armv7l" | "armv8l" | "armv6l" => "arm",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let images: Vec<Image> = serde_json::from_value(json!([
            {"fingerprint": "ab", "aliases": null, "properties": null, "size": -1, "created_at": "1970-01-01T00:00:00Z"},
            {"fingerprint": "cd", "aliases": [{"name": "b"}, {"name": "a/b:c", "description": null}, {}], "size": 7,
             "properties": {"os": "busybox", "roadstead.command": "[\"sh\"]", "roadstead.env": "no json", "x": null},
             "architecture": "x86_64", "created_at": "2026-01-01T00:00:00Z", "unheard": {"of": []}},
            {},
        ]))
        .unwrap();
        let bare = images[0].details("n");
        assert_eq!((bare.summary.references.len(), bare.summary.size_bytes, bare.summary.created_at), (0, 0, None));
        let full = images[1].details("n");
        assert_eq!(full.summary.references, ["a/b:c", "b"]);
        assert_eq!(full.summary.labels.keys().collect::<Vec<_>>(), ["os", "x"]);
        assert_eq!((full.command, full.env.len()), (vec!["sh".to_owned()], 0));
        assert_eq!(full.architecture.as_deref(), Some("amd64"));
        assert_eq!(images[2].details("n").summary.id, "");
    }

    #[test]
    fn what_is_written_into_properties_is_read_from_them() {
        let mut details = ImageDetails::default();
        details.entrypoint = vec!["/bin/sh".to_owned(), "a \"b\"\n".to_owned()];
        details.command = vec!["-c".to_owned()];
        details.env = BTreeMap::from([("A".to_owned(), "é=1".to_owned())]);
        details.working_directory = Some("/w".to_owned());
        details.user = Some("1:2".to_owned());
        details.summary.labels = BTreeMap::from([("description".to_owned(), "d".to_owned())]);
        let image = Image {
            properties: Some(properties(&details).into_iter().map(|(key, value)| (key, Some(value))).collect()),
            ..Image::default()
        };
        let read = image.details("");
        details.os.clone_from(&read.os);
        assert_eq!(read, details);
    }
}
