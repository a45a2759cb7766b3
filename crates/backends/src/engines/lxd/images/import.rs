//! A root file system that becomes an image.
//!
//! Servers look into an image's metadata only; the root file system they unpack when the first container is made of it.
//! So the archive is checked here, and a compressed one, whose inside cannot be checked, is refused.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, ImageDetails, ImportOptions, Result, Retry, Timestamp};
use serde::Deserialize;
use tokio::sync::oneshot;

use super::super::request::Request;
use super::super::shared::Lxd;
use super::upload::{self, Told, one};
use super::{check_new, delete, leftover, name, wire};
use crate::archive::{self, Upload};

/// I5, I6.
pub(in super::super) async fn import_image(
    lxd: &Arc<Lxd>,
    archive: ByteStream,
    options: &ImportOptions,
) -> Result<String> {
    options.validate()?;
    check_new("reference", &options.reference)?;
    let mut details = ImageDetails::default();
    details.command.clone_from(&options.command);
    let description = options.message.as_deref().unwrap_or(&options.reference);
    details.summary.labels.insert("description".to_owned(), description.to_owned());
    import(lxd, archive, &options.reference, &details).await
}

/// Makes an image with what `details` says of labels, command, environment, working directory and user; gives its id.
pub(in super::super) async fn import(
    lxd: &Arc<Lxd>,
    archive: ByteStream,
    reference: &str,
    details: &ImageDetails,
) -> Result<String> {
    leftover::sweep(lxd).await;
    let (rootfs, verdict) = Upload::begin_plain(archive).await?.split();
    let architecture = architecture(lxd).await?;
    let metadata = wire::metadata_yaml(&architecture, Timestamp::now(), &wire::properties(details)).to_string();
    let metadata = archive::one_file("metadata.yaml", metadata.as_bytes());
    // A server that has all files makes an image of them though nobody waits any more, and one without a name would stay. So
    // this goes on when its caller leaves, and takes away what comes of it.
    let (caller, left) = oneshot::channel::<()>();
    let left = left.map(|_| ()).shared();
    let (lxd, reference) = (Arc::clone(lxd), reference.to_owned());
    let finished = tokio::spawn(async move {
        let making = leftover::Making::begin();
        let properties = [(leftover::MARK, reference.clone()), (leftover::MAKER, making.maker())];
        let properties = properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let told = Told { properties, ..Told::default() };
        let uploaded = upload::split(&lxd, one(metadata), cut_off(rootfs, left.clone()), &told).await;
        let uploaded = verdict.on(uploaded).map_err(nothing_made)?;
        let named = match left.now_or_never() {
            Some(()) => Err(abandoned()),
            None => name(&lxd, &reference, &uploaded.fingerprint, "").await,
        };
        match named {
            Ok(()) => {
                if let Err(error) = leftover::keep(&lxd, &uploaded.fingerprint).await {
                    tracing::warn!(%error, reference, "an image that has its name is still marked as one without");
                }
                Ok(uploaded.fingerprint)
            }
            Err(error) => {
                // An image that nobody asked for by no name is of no use.
                if uploaded.new && delete(&lxd, &uploaded.fingerprint).await.is_err() {
                    return Err(error.with_context("left", uploaded.fingerprint));
                }
                Err(error)
            }
        }
    });
    let finished = finished.await.map_err(|cause| {
        Error::new(ErrorKind::Cancelled, "the program ends, or failed, in the middle of the import").with_source(cause)
    });
    drop(caller);
    finished?
}

fn abandoned() -> Error {
    Error::new(ErrorKind::Cancelled, "nobody waits for the image any more")
}

/// The stream, which fails once `left` is ready.
fn cut_off(content: ByteStream, left: impl Future<Output = ()> + Clone + Send + Sync + 'static) -> ByteStream {
    let after = left.clone();
    let last = stream::once(async move { after.now_or_never().map(|()| Err(abandoned())) });
    content.take_until(left).map(Some).chain(last).filter_map(|piece| async { piece }).boxed()
}

/// A server makes nothing of files that did not arrive whole.
pub(super) fn nothing_made(error: Error) -> Error {
    if error.kind() == ErrorKind::InvalidInput { error.with_retry(Retry::Never) } else { error }
}

/// The architecture of the server's kernel, in its own word.
pub(super) async fn architecture(lxd: &Lxd) -> Result<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Server {
        environment: Environment,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Environment {
        kernel_architecture: Option<String>,
    }
    let server: Server = Request::get(&[]).json(&lxd.client).await?;
    server.environment.kernel_architecture.filter(|name| !name.is_empty()).ok_or_else(|| {
        Error::new(ErrorKind::PermissionDenied, "the server does not tell its architecture to who is not trusted")
    })
}
