//! An image of one server for another: fetched by the other server itself where it reaches the first one, carried through
//! here where it does not.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ErrorKind, ImageProgress, ItemStream, Result, names};
use serde::Deserialize;

use super::super::client::Client;
use super::super::node::LxdNode;
use super::super::operation::Operation;
use super::super::request::Request;
use super::super::shared::Lxd;
use super::pull::{Source, fetch, progress};
use super::{check_new, find, load, name, save};

/// How an image is copied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyImageOptions {
    /// What the image is called afterwards; all that it is called at its source when empty.
    pub references: Vec<String>,
}

/// Images of other servers, which only this engine has.
impl LxdNode {
    /// Copies the image `reference` of the node `source` to this one. When the stream has ended without error, it is there.
    /// Dropping the stream gives the copy up.
    ///
    /// This node's server fetches it from the other one, if it reaches one of its addresses; otherwise the image passes through
    /// this process.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the source has no such image; [`ErrorKind::InvalidInput`] for references that nothing can
    /// be called.
    pub async fn copy_image(
        &self,
        source: &LxdNode,
        reference: &str,
        options: &CopyImageOptions,
    ) -> Result<ItemStream<ImageProgress>> {
        let work = async {
            names::image_reference("reference", reference)?;
            for (index, reference) in options.references.iter().enumerate() {
                check_new(&format!("references[{index}]"), reference)?;
            }
            let there = &source.0.client;
            let names = if options.references.is_empty() {
                find(there, reference).await?.0.references()
            } else {
                options.references.clone()
            };
            copy(&self.0, there, reference, names).await
        };
        self.call("lxd.copy_image", None, reference, work).await
    }
}

/// A way that is being tried.
enum Way {
    /// The server fetches the image; what remains is where else it could, and then the way through here.
    Fetch(ItemStream<ImageProgress>),
    /// The image passes through here.
    Relay(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
}

struct Copy {
    lxd: Arc<Lxd>,
    there: Client,
    fingerprint: String,
    names: Vec<String>,
    /// Where the server has not tried to fetch it from yet.
    sources: Vec<Source>,
    /// Keeps the secret in force; it is taken back at the end.
    token: Option<Operation>,
    way: Option<Way>,
}

/// Copies an image of the server `there`.
pub(super) async fn copy(
    lxd: &Arc<Lxd>,
    there: &Client,
    image: &str,
    names: Vec<String>,
) -> Result<ItemStream<ImageProgress>> {
    let (found, _) = find(there, image).await?;
    let fingerprint = found.fingerprint().to_owned();
    let mut copy = Copy {
        lxd: Arc::clone(lxd),
        there: there.clone(),
        fingerprint,
        names,
        sources: Vec::new(),
        token: None,
        way: None,
    };
    let (addresses, certificate) = where_it_is(there).await?;
    if !addresses.is_empty() {
        let mut token = Request::post(&["images", &copy.fingerprint, "secret"]).start(there).await?;
        token.cancel_when_dropped();
        let secret = token.state().secret("secret");
        copy.token = Some(token);
        // The last one is tried first.
        copy.sources = addresses
            .into_iter()
            .rev()
            .map(|address| Source {
                server: format!("https://{address}"),
                certificate: certificate.clone(),
                image: copy.fingerprint.clone(),
                secret: secret.clone(),
                ..Source::default()
            })
            .collect();
    }
    let begin = progress(&format!("copying {} from {}", copy.fingerprint, there.node()));
    let rest = stream::unfold(Some(copy), |copy| async {
        let mut copy = copy?;
        match copy.next().await {
            Ok(Some(item)) => Some((Ok(item), Some(copy))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream::iter([Ok(begin)]).chain(rest).boxed())
}

impl Copy {
    async fn next(&mut self) -> Result<Option<ImageProgress>> {
        match &mut self.way {
            None => self.begin().await.map(Some),
            Some(Way::Fetch(items)) => match items.next().await {
                None => Ok(None),
                Some(Ok(item)) => Ok(Some(item)),
                // It may be reached in another way. What the other server says of the image is final.
                Some(Err(error)) if is_about_the_way(&error) => {
                    tracing::debug!(%error, "a server does not reach another one");
                    self.begin().await.map(Some)
                }
                Some(Err(error)) => Err(error),
            },
            Some(Way::Relay(work)) => {
                work.await?;
                self.way = Some(Way::Fetch(stream::empty().boxed()));
                Ok(Some(progress(&format!("copied {}", self.fingerprint))))
            }
        }
    }

    /// Begins the next way.
    async fn begin(&mut self) -> Result<ImageProgress> {
        if let Some(source) = self.sources.pop() {
            let words = format!("fetching from {}", source.server);
            self.way = Some(Way::Fetch(fetch(&self.lxd, &source, self.names.clone()).await?));
            return Ok(progress(&words));
        }
        let (lxd, there) = (Arc::clone(&self.lxd), self.there.clone());
        let (fingerprint, names) = (self.fingerprint.clone(), std::mem::take(&mut self.names));
        self.way = Some(Way::Relay(Box::pin(async move {
            let archive = save::save_bare(&there, &fingerprint).await?;
            load::load_images(&lxd, archive).await?;
            for reference in names {
                name(&lxd, &reference, &fingerprint, "").await?;
            }
            Ok(())
        })));
        Ok(progress("the servers do not reach each other: relaying"))
    }
}

fn is_about_the_way(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unauthenticated)
}

/// The addresses where a server is reached by others, and the certificate that it shows there.
async fn where_it_is(there: &Client) -> Result<(Vec<String>, Option<String>)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Server {
        environment: Option<Environment>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Environment {
        addresses: Option<Vec<String>>,
        certificate: Option<String>,
    }
    let server: Server = Request::get(&[]).json(there).await?;
    let environment = server.environment.unwrap_or_default();
    Ok((environment.addresses.unwrap_or_default(), environment.certificate.filter(|pem| !pem.is_empty())))
}
