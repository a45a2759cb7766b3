//! The view of images, by alias.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use roadstead_core::{ErrorKind, ImageSummary};
use serde_json::json;

use super::answer::{Answer, Refusal, object, respond};
use super::form::Form;
use super::pools::address;
use crate::dialects::{Dialect, nodes};
use crate::nodes::NodeSlot;
use crate::state::{App, within};

/// Bare digits, as COPA has them.
fn fingerprint(image: &ImageSummary) -> &str {
    image.id.strip_prefix("sha256:").unwrap_or(&image.id)
}

/// An image, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The node that has it.
    pub(super) slot: Arc<NodeSlot>,
    /// The engine's id.
    pub(super) id: String,
}

/// Images by alias and by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// Each by the fingerprint that the first node tells, with all that have one of this name, in the order of the nodes.
    by_alias: BTreeMap<String, (String, Vec<Found>)>,
    by_fingerprint: BTreeMap<String, Vec<Found>>,
}

impl Images {
    fn add(&mut self, slot: &Arc<NodeSlot>, images: &[ImageSummary]) {
        for image in images {
            let found = Found { slot: Arc::clone(slot), id: image.id.clone() };
            let digits = fingerprint(image);
            self.by_fingerprint.entry(digits.to_owned()).or_default().push(found.clone());
            for alias in &image.references {
                let named = self.by_alias.entry(alias.clone()).or_insert_with(|| (digits.to_owned(), Vec::new()));
                named.1.push(found.clone());
            }
        }
    }

    /// Of the nodes that images are taken from: the one that is configured, or all of them. One that does not answer hides no other,
    /// unless it is the only one.
    ///
    /// # Errors
    /// What the only one says.
    pub(super) async fn offered(app: &App) -> Result<Self, Refusal> {
        match app.dialect(Dialect::Copa).and_then(|config| config.image_node.clone()) {
            Some(node) => Images::of(app, vec![app.nodes.get(&node)?]).await,
            None => Images::of(app, nodes(app)).await,
        }
    }

    /// Those that a container of `target` can be made of. Where none is configured to have them, its own go first: an alias may mean
    /// another image on each node, and an image of another kind of engine is of no use there.
    ///
    /// # Errors
    /// As [`Images::offered`].
    pub(super) async fn offered_for(app: &App, target: &Arc<NodeSlot>) -> Result<Self, Refusal> {
        if app.dialect(Dialect::Copa).is_some_and(|config| config.image_node.is_some()) {
            return Images::offered(app).await;
        }
        let mut slots = nodes(app);
        slots.sort_by_key(|slot| slot.name() != target.name());
        Images::of(app, slots).await
    }

    async fn of(app: &App, slots: Vec<Arc<NodeSlot>>) -> Result<Self, Refusal> {
        let ask = |slot: Arc<NodeSlot>| async move {
            let listed = within(app.deadline(), async { slot.node(app.deadline()).await?.list_images().await }).await;
            (slot, listed)
        };
        let only = slots.len() == 1;
        let mut images = Images::default();
        for (slot, listed) in futures_util::future::join_all(slots.into_iter().map(ask)).await {
            match listed {
                Ok(listed) => images.add(&slot, &listed),
                // It has none.
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) if only => return Err(error.into()),
                Err(error) => tracing::info!(node = slot.name(), %error, "its images are not offered"),
            }
        }
        Ok(images)
    }

    /// The images with this alias, in the order of the nodes.
    pub(super) fn aliased(&self, alias: &str) -> Result<&[Found], Refusal> {
        let found = self.by_alias.get(alias).or_else(|| {
            // Without a tag, `latest` is meant, where references have tags.
            let tagged = format!("{alias}:latest");
            self.by_alias.get(&tagged)
        });
        found.map(|(_, found)| found.as_slice()).ok_or_else(no_image)
    }

    /// The image whose fingerprint begins so, on each node that has it.
    pub(super) fn beginning(&self, prefix: &str) -> Result<&[Found], Refusal> {
        let prefix = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if prefix.is_empty() {
            return Err(no_image());
        }
        let mut found =
            self.by_fingerprint.range(prefix.to_owned()..).take_while(|(digits, _)| digits.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some((_, found)), None) => Ok(found),
            (None, _) => Err(no_image()),
            (Some(_), Some(_)) => Err(Refusal::new("more than one image has a fingerprint that begins so")),
        }
    }

    /// The fingerprints by alias.
    pub(super) fn told(&self) -> BTreeMap<&str, &str> {
        self.by_alias.iter().map(|(alias, (digits, _))| (alias.as_str(), digits.as_str())).collect()
    }
}

fn no_image() -> Refusal {
    Refusal::new("Image matching query does not exist.")
}

pub(super) async fn get(app: web::Data<App>, req: HttpRequest) -> HttpResponse {
    respond(list(&app, &Form::of_query(&req)).await)
}

/// Those of one pool, by its name or its address, or those that are offered. No address is asked that is not a pool's.
async fn list(app: &App, form: &Form) -> Answer {
    let images = match form.get("image_pool").filter(|given| !given.is_empty()) {
        None => Images::offered(app).await?,
        Some(given) => {
            let is = |slot: &Arc<NodeSlot>| slot.name() == given || address(app, slot) == given;
            let slot = nodes(app).into_iter().find(is).ok_or_else(Refusal::no_pool)?;
            Images::of(app, vec![slot]).await?
        }
    };
    Ok(object(&json!({ "images": images.told(), "success": "Operation successful" })))
}

pub(super) async fn post() -> HttpResponse {
    object(&json!({}))
}
