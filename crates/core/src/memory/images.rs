//! Images of the simulated node, and the registry that they are pulled from.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::archive;
use super::faults::Effects;
use super::files::{Content, Entry, FileSystem};
use super::node::{MemoryNode, busybox};
use super::state::{Image, Shared, World};
use crate::capabilities::Capability;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::image::{ImageDetails, ImageProgress, ImageSummary, Images, ImportOptions, PullOptions};
use crate::names;
use crate::operation as op;
use crate::stream::{ByteStream, ItemStream};

/// How long each step of a simulated pull takes.
const PULL_STEP: Duration = Duration::from_millis(20);

/// What every simulated image has in common.
pub(super) fn details() -> ImageDetails {
    ImageDetails {
        architecture: Some(std::env::consts::ARCH.to_owned()),
        os: Some("linux".to_owned()),
        ..ImageDetails::default()
    }
}

/// A reference with its tag.
fn full(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains(':') || reference.contains('@') { reference.to_owned() } else { format!("{reference}:latest") }
}

/// Whether the image is called so: by reference, by id, or by the beginning of an id.
fn is_called(image: &Image, reference: &str) -> bool {
    let id = &image.details.summary.id;
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    image.references.contains(&full(reference))
        || id == reference
        || (reference.len() >= 6 && hex.starts_with(reference))
}

pub(super) fn find_image<'a>(images: &'a [Image], reference: &str) -> Result<&'a Image> {
    images.iter().find(|image| is_called(image, reference)).ok_or_else(|| Error::not_found("image", reference))
}

fn shown(image: &Image, node: &str) -> ImageDetails {
    let mut details = image.details.clone();
    details.summary.node = node.to_owned();
    details.summary.references = image.references.iter().cloned().collect();
    details
}

/// An image in an archive: everything but its files, which have an archive of their own.
#[derive(Serialize, Deserialize)]
struct Saved {
    references: Vec<String>,
    layer: String,
    details: ImageDetails,
}

const MANIFEST: &str = "manifest.json";

impl Shared {
    /// Adds an image, takes its reference from any other, and gives its id. The world is locked by the caller.
    pub(super) fn add_image(
        &self,
        world: &mut World,
        reference: &str,
        mut details: ImageDetails,
        files: FileSystem,
    ) -> String {
        if details.summary.id.is_empty() {
            details.summary.id = format!("sha256:{}", world.ids.id());
        }
        let id = details.summary.id.clone();
        details.summary.size_bytes = files.bytes() as u64;
        details.summary.created_at.get_or_insert(self.clock.now());
        if !world.images.iter().any(|image| image.details.summary.id == id) {
            world.images.push(Image { references: Default::default(), details, files });
        }
        self.tag(world, &id, reference);
        id
    }

    /// Gives the image with this id the reference, and takes it from any other.
    fn tag(&self, world: &mut World, id: &str, reference: &str) {
        let reference = full(reference);
        for image in &mut world.images {
            if image.details.summary.id == id {
                image.references.insert(reference.clone());
            } else {
                image.references.remove(&reference);
            }
        }
    }

    fn pulled(&self, reference: &str) {
        let mut world = self.world();
        let details = ImageDetails { command: vec!["sh".to_owned()], ..details() };
        let known = find_image(&world.images, reference).map(|image| image.details.summary.id.clone());
        let id = match known {
            Ok(id) => id,
            Err(_) => self.add_image(&mut world, reference, details, busybox()),
        };
        self.event(ResourceKind::Image, EventAction::Pulled, &id, Some(reference));
    }

    fn import(&self, files: FileSystem, options: &ImportOptions) -> String {
        let mut world = self.world();
        let details = ImageDetails { command: options.command.clone(), ..details() };
        let id = self.add_image(&mut world, &options.reference, details, files);
        self.event(ResourceKind::Image, EventAction::Imported, &id, Some(&options.reference));
        id
    }

    fn load(&self, archive: &Bytes) -> Result<Vec<String>> {
        let entries: BTreeMap<String, Entry> = archive::unpack(archive)?.into_iter().collect();
        let content = |name: &str| match entries.get(name).map(|entry| &entry.content) {
            Some(Content::File(data)) => Ok(data.clone()),
            _ => Err(Error::invalid("archive", format!("{name} is missing: it was not made by saving images"))),
        };
        let saved: Vec<Saved> = serde_json::from_slice(&content(MANIFEST)?)
            .map_err(|error| Error::invalid("archive", format!("{MANIFEST}: {error}")))?;
        let mut ready = Vec::new();
        for image in saved {
            ready.push((archive::unpack_root(&content(&image.layer)?)?, image));
        }
        let mut loaded = Vec::new();
        let mut world = self.world();
        for (files, image) in ready {
            let id = image.details.summary.id.clone();
            for reference in &image.references {
                self.add_image(&mut world, reference, image.details.clone(), files.clone());
                loaded.push(reference.clone());
            }
            self.event(ResourceKind::Image, EventAction::Imported, &id, None);
        }
        Ok(loaded)
    }

    fn save(&self, references: &[String]) -> Result<Bytes> {
        let world = self.world();
        let mut saved: Vec<Saved> = Vec::new();
        let mut entries = Vec::new();
        for reference in references {
            let image = find_image(&world.images, reference)?;
            let id = image.details.summary.id.trim_start_matches("sha256:");
            let layer = format!("{id}.tar");
            let name = full(reference);
            let names: Vec<String> = image.references.iter().filter(|known| **known == name).cloned().collect();
            if let Some(known) = saved.iter_mut().find(|saved| saved.layer == layer) {
                known.references.extend(names);
                continue;
            }
            let files = archive::pack_root(&image.files)?;
            entries.push((layer.clone(), Entry::file(files, 0o644)));
            saved.push(Saved { references: names, layer, details: image.details.clone() });
        }
        let manifest = serde_json::to_vec(&saved)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "could not write the manifest").with_source(error))?;
        entries.push((MANIFEST.to_owned(), Entry::file(manifest, 0o644)));
        archive::pack(entries.iter().map(|(name, entry)| (name.as_str(), entry)))
    }

    fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        let mut world = self.world();
        let image = find_image(&world.images, reference)?;
        let (id, name) = (image.details.summary.id.clone(), full(reference));
        let by_id = !image.references.contains(&name);
        let last = by_id || image.references.len() == 1;
        let conflict = |why: &str| {
            Err(Error::new(ErrorKind::Conflict, format!("image {reference} {why}")).with_resource(reference))
        };
        if by_id && image.references.len() > 1 && !force {
            return conflict("has several references: delete them, or use force");
        }
        let used = world.containers.values().any(|record| record.image_id == id && record.state.has_processes());
        if last && used && !force {
            return conflict("is used by a running container");
        }
        if last {
            world.images.retain(|image| image.details.summary.id != id);
        } else if let Some(image) = world.images.iter_mut().find(|image| image.details.summary.id == id) {
            image.references.remove(&name);
        }
        self.event(ResourceKind::Image, EventAction::Deleted, &id, Some(reference));
        Ok(())
    }
}

fn progress(status: &str, current: Option<u64>) -> ImageProgress {
    ImageProgress {
        layer: current.map(|_| "layer-1".to_owned()),
        status: status.to_owned(),
        current_bytes: current,
        total_bytes: current.map(|_| 1_000_000),
    }
}

impl MemoryNode {
    fn pull(&self, options: &PullOptions, effects: Effects) -> ItemStream<ImageProgress> {
        let reference = full(&options.reference);
        let (weak, name) = (std::sync::Weak::clone(&self.shared.weak), reference.clone());
        let known = self.shared.registry.iter().any(|known| full(known) == reference);
        let steps = [
            ("Pulling", None),
            ("Downloading", Some(0)),
            ("Downloading", Some(500_000)),
            ("Extracting", Some(1_000_000)),
        ];
        let steps = stream::iter(steps).then(|(status, current)| async move {
            tokio::time::sleep(PULL_STEP).await;
            Ok(progress(status, current))
        });
        let end = stream::once(async move {
            if !known {
                return Err(Error::not_found("image in the registry", &name));
            }
            weak.upgrade().ok_or_else(super::Faults::away)?.pulled(&name);
            Ok(progress("Pulled", None))
        });
        let steps = steps.take(if known { 4 } else { 1 });
        super::streams::cut(effects, steps.chain(end).boxed())
    }
}

#[async_trait]
impl Images for MemoryNode {
    async fn list_images(&self) -> Result<Vec<ImageSummary>> {
        self.shared.capabilities.require(Capability::Images)?;
        let effects = self.shared.enter(&op::IMAGE_LIST).await?;
        let world = self.shared.world();
        let mut items: Vec<_> = world.images.iter().map(|image| shown(image, &self.shared.name).summary).collect();
        if effects.vanish {
            items.pop();
        }
        if effects.garbage {
            for item in &mut items {
                item.references = vec!["<none>:<none>".to_owned()];
                item.created_at = None;
            }
        }
        Ok(items)
    }

    async fn inspect_image(&self, reference: &str) -> Result<ImageDetails> {
        self.shared.capabilities.require(Capability::Images)?;
        names::image_reference("reference", reference)?;
        let effects = self.shared.enter(&op::IMAGE_INSPECT).await?;
        let details = shown(find_image(&self.shared.world().images, reference)?, &self.shared.name);
        self.shared.answer(effects, details)
    }

    async fn pull_image(&self, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
        self.shared.capabilities.require(Capability::ImagePull)?;
        options.validate()?;
        let effects = self.shared.enter(&op::IMAGE_PULL).await?;
        Ok(self.pull(options, effects))
    }

    async fn import_image(&self, archive: ByteStream, options: &ImportOptions) -> Result<String> {
        self.shared.capabilities.require(Capability::ImageImport)?;
        options.validate()?;
        let effects = self.shared.enter(&op::IMAGE_IMPORT).await?;
        let files = archive::unpack_root(&archive::collect(archive).await?)?;
        self.shared.answer(effects, self.shared.import(files, options))
    }

    async fn load_images(&self, archive: ByteStream) -> Result<Vec<String>> {
        self.shared.capabilities.require(Capability::ImageArchive)?;
        let effects = self.shared.enter(&op::IMAGE_LOAD).await?;
        let archive = archive::collect(archive).await?;
        self.shared.answer(effects, self.shared.load(&archive)?)
    }

    async fn save_images(&self, references: &[String]) -> Result<ByteStream> {
        self.shared.capabilities.require(Capability::ImageArchive)?;
        if references.is_empty() {
            return Err(Error::invalid("references", "must name at least one image"));
        }
        for (index, reference) in references.iter().enumerate() {
            names::image_reference(&format!("references[{index}]"), reference)?;
        }
        let effects = self.shared.enter(&op::IMAGE_SAVE).await?;
        Ok(super::streams::cut(effects, archive::pieces(self.shared.save(references)?)))
    }

    async fn tag_image(&self, reference: &str, new_reference: &str) -> Result<()> {
        self.shared.capabilities.require(Capability::Images)?;
        names::image_reference("reference", reference)?;
        ImportOptions::new(new_reference).validate().map_err(|_| {
            Error::invalid("new_reference", format!("{new_reference:?} is not a reference such as local/web:v2"))
        })?;
        let effects = self.shared.enter(&op::IMAGE_TAG).await?;
        {
            let mut world = self.shared.world();
            let id = find_image(&world.images, reference)?.details.summary.id.clone();
            self.shared.tag(&mut world, &id, new_reference);
            self.shared.event(ResourceKind::Image, EventAction::Tagged, &id, Some(new_reference));
        }
        self.shared.answer(effects, ())
    }

    async fn delete_image(&self, reference: &str, force: bool) -> Result<()> {
        self.shared.capabilities.require(Capability::Images)?;
        names::image_reference("reference", reference)?;
        let effects = self.shared.enter(&op::IMAGE_DELETE).await?;
        self.shared.delete_image(reference, force)?;
        self.shared.answer(effects, ())
    }
}
