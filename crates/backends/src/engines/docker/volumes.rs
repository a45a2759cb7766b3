//! The volumes of a daemon.

use std::collections::BTreeMap;

use async_trait::async_trait;
use roadstead_core::{Capability, Error, ErrorKind, Result, Timestamp, Volume, VolumeSpec, Volumes, names};
use serde::Deserialize;
use serde_json::json;

use super::images::plain;
use super::node::DockerNode;
use super::request::Request;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    name: String,
    driver: Option<String>,
    mountpoint: Option<String>,
    created_at: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    options: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    volumes: Option<Vec<Inspected>>,
}

fn volume(node: &str, inspected: Inspected) -> Volume {
    let mut volume = Volume::default();
    volume.node = node.to_owned();
    volume.name = inspected.name;
    volume.driver = inspected.driver.unwrap_or_default();
    volume.path = inspected.mountpoint.filter(|path| !path.is_empty());
    volume.labels = plain(inspected.labels);
    volume.options = plain(inspected.options);
    volume.created_at =
        inspected.created_at.and_then(|created| created.parse().ok()).filter(|created: &Timestamp| !created.is_never());
    volume
}

impl DockerNode {
    async fn volume(&self, name: &str) -> Result<Volume> {
        names::existing("name", name)?;
        let inspected: Inspected = Request::get(&format!("/volumes/{name}")).json(&self.0).await?;
        // Podman takes the first letters of a name for the whole.
        if inspected.name != name {
            return Err(Error::not_found("volume", name));
        }
        Ok(volume(&self.0.name, inspected))
    }

    async fn new_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        spec.validate()?;
        let mut body = json!({ "Name": spec.name, "Labels": spec.labels, "DriverOpts": spec.options });
        if let (Some(driver), Some(body)) = (&spec.driver, body.as_object_mut()) {
            body.insert("Driver".to_owned(), json!(driver));
        }
        // The engine gives an existing volume as if it had made it. Looking first tells them apart; the lock keeps
        // our own creators from looking both before either has made it.
        let _one_at_a_time = self.0.volume_create.lock().await;
        match self.volume(&spec.name).await {
            Ok(_) => {
                return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a volume {} already", spec.name)));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let created = Request::post("/volumes/create").body(&body).json::<Inspected>(&self.0).await;
        let created = created.map_err(|error| {
            let message = error.message();
            let about_input = ["plugin", "driver", "invalid option", "unsupported"];
            if matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::NotFound | ErrorKind::InvalidInput)
                && about_input.iter().any(|words| message.contains(words))
            {
                let field = if message.contains("option") { "options" } else { "driver" };
                Error::invalid(field, message).with_source(error)
            } else {
                error
            }
        })?;
        Ok(volume(&self.0.name, created))
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        // With force the engine is content with a volume that never was.
        self.volume(name).await?;
        let request = || Request::delete(&format!("/volumes/{name}"));
        let error = match request().done(&self.0).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.message().contains("in use") || error.message().contains("being used") {
            // Not forced: Podman takes that as the wish to delete the containers, too.
            return Err(Error::new(ErrorKind::Conflict, error.message().to_owned()).with_source(error));
        }
        if force && matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::Conflict) {
            return request().flag("force", true).done(&self.0).await;
        }
        Err(error)
    }
}

#[async_trait]
impl Volumes for DockerNode {
    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let named = self.0.call("node.list_volumes", Capability::Volumes, "")?;
        let listed: Listed = Request::get("/volumes").json(&self.0).await.map_err(named)?;
        Ok(listed.volumes.unwrap_or_default().into_iter().map(|inspected| volume(&self.0.name, inspected)).collect())
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let named = self.0.call("node.inspect_volume", Capability::Volumes, name)?;
        self.volume(name).await.map_err(named)
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<Volume> {
        let named = self.0.call("node.create_volume", Capability::Volumes, &spec.name)?;
        self.new_volume(spec).await.map_err(named)
    }

    async fn delete_volume(&self, name: &str, force: bool) -> Result<()> {
        let named = self.0.call("node.delete_volume", Capability::Volumes, name)?;
        self.remove_volume(name, force).await.map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let listed: Listed = serde_json::from_value(json!({"Volumes": null, "Warnings": null})).unwrap();
        assert!(listed.volumes.is_none());
        let inspected = serde_json::from_value(json!({"Name": "v", "Labels": {"a": null}, "Options": null})).unwrap();
        let volume = volume("node", inspected);
        assert_eq!(volume.labels["a"], "");
        assert_eq!((volume.path, volume.created_at), (None, None));
    }
}
