//! The images of a daemon.

mod transfer;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use roadstead_core::{
    ByteStream, Capability, Error, ErrorKind, ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions,
    ItemStream, PortMapping, Protocol, PullOptions, Result, Timestamp, names,
};
use serde::Deserialize;

use super::client::Client;
use super::node::DockerNode;
use super::reference::{Reference, familiar, full_id};
use super::request::Request;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    created: Option<i64>,
    size: Option<i64>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    created: Option<String>,
    size: Option<i64>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Config>,
    #[serde(rename = "RootFS")]
    root_fs: Option<RootFs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    labels: Option<BTreeMap<String, Option<String>>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RootFs {
    layers: Option<Vec<String>>,
}

fn summary(
    node: &str,
    id: &str,
    tags: Option<Vec<String>>,
    digests: Option<Vec<String>>,
    labels: Option<BTreeMap<String, Option<String>>>,
) -> ImageSummary {
    // Docker writes `<none>` where there is no name.
    let told = |names: Option<Vec<String>>| {
        let names: BTreeSet<String> = names
            .unwrap_or_default()
            .iter()
            .filter(|name| !name.contains("<none>"))
            .map(|name| familiar(name).to_owned())
            .collect();
        names.into_iter().collect()
    };
    let mut summary = ImageSummary::default();
    summary.node = node.to_owned();
    summary.id = full_id(id);
    // Podman counts the digest of an image that was pulled by it among the tags.
    summary.references = told(tags.map(|tags| tags.into_iter().filter(|tag| !tag.contains('@')).collect()));
    summary.digests = told(digests);
    summary.labels = plain(labels);
    summary
}

/// Labels, where an engine may write null for an empty value.
pub(super) fn plain(labels: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    labels.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

fn from_listed(node: &str, listed: Listed) -> ImageSummary {
    let mut image = summary(node, &listed.id, listed.repo_tags, listed.repo_digests, listed.labels);
    image.size_bytes = listed.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    image.created_at = listed.created.filter(|created| *created > 0).and_then(Timestamp::from_unix_seconds);
    image
}

fn from_inspected(node: &str, inspected: Inspected) -> ImageDetails {
    let config = inspected.config.unwrap_or_default();
    let mut image = summary(node, &inspected.id, inspected.repo_tags, inspected.repo_digests, config.labels);
    image.size_bytes = inspected.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    image.created_at =
        inspected.created.and_then(|created| created.parse().ok()).filter(|created: &Timestamp| !created.is_never());
    let known = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut details = ImageDetails::default();
    details.summary = image;
    details.architecture = known(inspected.architecture);
    details.os = known(inspected.os);
    details.entrypoint = config.entrypoint.unwrap_or_default();
    details.command = config.cmd.unwrap_or_default();
    details.env = config
        .env
        .unwrap_or_default()
        .iter()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    details.working_directory = known(config.working_dir);
    details.user = known(config.user);
    details.ports = config.exposed_ports.unwrap_or_default().keys().filter_map(|port| exposed(port)).collect();
    details.layers = inspected.root_fs.and_then(|root| root.layers).unwrap_or_default();
    details
}

/// `80/tcp`.
fn exposed(text: &str) -> Option<PortMapping> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some(PortMapping { container_port: port.parse().ok()?, host_port: None, host_address: None, protocol })
}

/// Inspects an image.
async fn inspect(client: &Client, reference: &str) -> Result<ImageDetails> {
    let inspected: Inspected = Request::get(&format!("/images/{reference}/json")).json(client).await?;
    Ok(from_inspected(&client.name, inspected))
}

#[async_trait]
impl Images for DockerNode {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        let named = self.0.call("node.list_images", Capability::Images, "")?;
        let listed: Vec<Listed> = Request::get("/images/json").json(&self.0).await.map_err(named)?;
        Ok(listed.into_iter().map(|image| from_listed(&self.0.name, image)).collect())
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        let named = self.0.call("node.inspect_image", Capability::Images, reference)?;
        names::image_reference("reference", reference).map_err(&named)?;
        inspect(&self.0, reference).await.map_err(named)
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        let named = self.0.call("node.pull_image", Capability::ImagePull, &options.reference)?;
        transfer::pull(&self.0, options).await.map_err(named)
    }

    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String> {
        let named = self.0.call("node.import_image", Capability::ImageImport, &options.reference)?;
        transfer::import(&self.0, archive, options).await.map_err(named)
    }

    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>> {
        let named = self.0.call("node.load_images", Capability::ImageArchive, "")?;
        transfer::load(&self.0, archive).await.map_err(named)
    }

    async fn save_images(&self, references: &[String]) -> Result<ByteStream> {
        let first = references.first().map_or("", String::as_str);
        let named = self.0.call("node.save_images", Capability::ImageArchive, first)?;
        transfer::save(&self.0, references).await.map_err(named)
    }

    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()> {
        let named = self.0.call("node.tag_image", Capability::Images, reference)?;
        let checked = names::image_reference("reference", reference)
            .and_then(|()| names::image_reference("new_reference", new_reference));
        checked.map_err(&named)?;
        if new_reference.contains('@') {
            return Err(named(Error::invalid("new_reference", "a name is a repository and a tag, not a digest")));
        }
        let new = Reference::parse(new_reference);
        Request::post(&format!("/images/{reference}/tag"))
            .query("repo", new.repository)
            .query("tag", new.tag_or_latest())
            .done(&self.0)
            .await
            .map_err(named)
    }

    async fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        let named = self.0.call("node.delete_image", Capability::Images, reference)?;
        names::image_reference("reference", reference).map_err(&named)?;
        delete(&self.0, reference, force).await.map_err(named)
    }
}

/// Deletes an image. Only Docker's own words that it "must be forced" make this force it: Podman takes force as the wish to
/// delete the containers, too.
async fn delete(client: &Client, reference: &str, force: bool) -> Result<()> {
    let request = || Request::delete(&format!("/images/{reference}"));
    let error = match request().done(client).await {
        Err(error) if force && ["must be forced", "must force"].iter().any(|words| error.message().contains(words)) => {
            match request().flag("force", true).done(client).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            }
        }
        Err(error) => error,
        Ok(()) => return Ok(()),
    };
    // Podman of old says 500 here.
    let in_use = ["in use", "is using", "used by"].iter().any(|words| error.message().contains(words));
    Err(if error.kind() == ErrorKind::Unexpected && in_use {
        Error::new(ErrorKind::Conflict, error.message().to_owned()).with_source(error)
    } else {
        error
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let listed: Vec<Listed> = serde_json::from_value(json!([
            {"Id": "sha256:1", "RepoTags": null, "Labels": null, "Size": -1},
            {"Id": "1".repeat(64), "RepoTags": ["docker.io/library/a:1", "a:1", "<none>:<none>"],
             "Labels": {"k": null}, "Created": 1_795_243_842, "Size": 7, "Unheard": {"of": []}},
        ]))
        .unwrap();
        let images: Vec<_> = listed.into_iter().map(|image| from_listed("n", image)).collect();
        assert_eq!(images[0].references, Vec::<String>::new());
        assert_eq!(images[0].size_bytes, 0);
        assert_eq!(images[1].references, ["a:1"]);
        assert!(images[1].id.starts_with("sha256:"));
        assert_eq!(images[1].labels["k"], "");
        assert_eq!(images[1].created_at.unwrap().unix_seconds(), 1_795_243_842);

        let inspected: Inspected = serde_json::from_value(json!({
            "Id": "sha256:2", "Created": "0001-01-01T00:00:00Z", "Os": "linux", "Architecture": "",
            "Config": {"Cmd": ["sh"], "Env": ["A=b=c", "D"], "ExposedPorts": {"80/tcp": {}, "x": {}, "53/udp": {}},
                       "User": "", "WorkingDir": "/w", "Entrypoint": null},
            "RootFS": {"Type": "layers"},
        }))
        .unwrap();
        let details = from_inspected("n", inspected);
        assert_eq!(details.summary.created_at, None);
        assert_eq!(details.architecture, None);
        assert_eq!(details.env["A"], "b=c");
        assert_eq!(details.ports.len(), 2);
        assert_eq!(details.working_directory.as_deref(), Some("/w"));
        assert_eq!(details.user, None);
    }
}
