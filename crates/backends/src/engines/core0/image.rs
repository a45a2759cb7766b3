//! What a container's files come from: a flist, or a tar, named by a path of the node or a URL.

use roadstead_core::{Error, ErrorKind, Result};

use super::shared::Core0;

/// N32: a file of the node must be there. What a URL leads to is found out by the node alone.
pub(super) async fn must_exist(core0: &Core0, image: &str) -> Result<()> {
    let path = image.strip_prefix("file://").unwrap_or(image);
    let there = match path.starts_with('/') {
        true => core0.host.commands().filesystem().exists(path).await?,
        false => image.contains("://"),
    };
    if there {
        return Ok(());
    }
    let words = format!("no image {image}: on this engine it is the path of a flist or tar on the node, or its URL");
    Err(Error::new(ErrorKind::NotFound, words).with_resource(image))
}

/// What a node says when it cannot unpack an image, of the field.
pub(super) fn refused(error: Error, image: &str) -> Error {
    if !error.message().contains("mount-root-flist") {
        return error;
    }
    let lower = error.message().to_lowercase();
    let missing = ["404", "not found", "no such file", "no such host"].iter().any(|words| lower.contains(words));
    if missing {
        let words = format!("no image {image}: {}", error.message());
        return Error::new(ErrorKind::NotFound, words).with_resource(image).with_source(error);
    }
    let words = format!("the node cannot make a container of it: {}", error.message());
    Error::invalid("image", words).with_source(error)
}
