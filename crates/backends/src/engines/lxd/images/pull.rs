//! Images from other servers: the node's server fetches them itself.
//!
//! A reference names the other server and the image there:
//!
//! | form | is |
//! |---|---|
//! | `REMOTE:IMAGE` | a remote of the engines' own client configuration, or one of the public servers that these clients know (`images`, `ubuntu`, `ubuntu-daily`) |
//! | `HOST:PORT/IMAGE` | a server of this protocol whose certificate the node's server trusts |
//!
//! `IMAGE` is an alias or a fingerprint. The new image is called by the whole reference, so that it is found, and containers
//! are made of it, by what was pulled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ErrorKind, ImageProgress, ItemStream, PullOptions, Result, Retry, Secret};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::operation::Operation;
use super::super::request::Request;
use super::super::shared::Lxd;
use super::multipart::random;
use super::remotes::{self, Protocol, Remote};
use super::{check_new, copy, name, target, wire};

/// What a server is doing may take long without a word.
const PULL_PAUSE_MAX: Duration = Duration::from_secs(600);

/// Where an image comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// URL of the server.
    pub(super) server: String,
    /// How it speaks.
    pub(super) protocol: Protocol,
    /// Its certificate in PEM, where no authority vouches for it.
    pub(super) certificate: Option<String>,
    /// Alias or fingerprint there.
    pub(super) image: String,
    /// What lets the image be fetched by who is not trusted there.
    pub(super) secret: Option<Secret>,
}

impl Source {
    /// The same server, for this image.
    fn of(self, image: &str) -> Self {
        Source { image: image.to_owned(), ..self }
    }

    /// The request for it; `alias` must be free.
    fn body(&self, alias: &str) -> Value {
        let mut source = json!({
            "type": "image",
            "mode": "pull",
            "server": self.server,
            "protocol": match self.protocol {
                // Servers of both products take this one for their own.
                Protocol::Native => "lxd",
                Protocol::SimpleStreams => "simplestreams",
            },
        });
        if let Some(members) = source.as_object_mut() {
            // A fingerprint is taken for an alias, too, but only where there is no secret.
            let key = if self.secret.is_some() { "fingerprint" } else { "alias" };
            members.insert(key.to_owned(), json!(self.image));
            if let Some(certificate) = &self.certificate {
                members.insert("certificate".to_owned(), json!(certificate));
            }
            if let Some(secret) = &self.secret {
                members.insert("secret".to_owned(), json!(secret.expose()));
            }
        }
        // Without an alias Incus gives the image all aliases that it has at its source, and fails where one is taken.
        json!({"aliases": [{"name": alias}], "source": source})
    }
}

/// What a reference names.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    Remote(&'a str, &'a str),
    Host(&'a str, &'a str),
}

fn parse(reference: &str) -> Result<Named<'_>> {
    let refuse = || {
        Error::invalid("reference", format!("{reference:?} names no server: REMOTE:IMAGE or HOST:PORT/IMAGE is needed"))
    };
    if let Some((host, image)) = reference.split_once('/') {
        let port = host.rsplit_once(':').map(|(_, port)| port);
        if port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
            return Ok(Named::Host(host, image));
        }
    }
    match reference.split_once(':') {
        Some((remote, image)) if !remote.contains(['/', '@']) && !image.is_empty() => Ok(Named::Remote(remote, image)),
        _ => Err(refuse()),
    }
}

/// I3, I4.
pub(in super::super) async fn pull_image(lxd: &Arc<Lxd>, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
    options.validate()?;
    check_new("reference", &options.reference)?;
    if options.credentials.is_some() {
        let words = "image servers know certificates, not passwords: name a remote of the client configuration";
        return Err(Error::invalid("credentials", words));
    }
    if let Some(platform) = &options.platform {
        same_platform(lxd, platform).await?;
    }
    let names = vec![options.reference.clone()];
    match parse(&options.reference)? {
        Named::Remote(name, image) => match remotes::find(lxd, name).await? {
            Remote::Open(source) => fetch(lxd, &source.of(image), names).await,
            Remote::Ours(there) => copy::copy(lxd, &there, image, names).await,
        },
        Named::Host(host, image) => {
            let source = Source { server: format!("https://{host}"), ..Source::default() };
            fetch(lxd, &source.of(image), names).await
        }
    }
}

async fn same_platform(lxd: &Lxd, platform: &str) -> Result<()> {
    let own = super::import::architecture(lxd).await?;
    let mut parts = platform.split('/');
    let linux = parts.next() == Some("linux");
    match parts.next() {
        Some(architecture) if linux && architecture == wire::common_architecture(&own) => Ok(()),
        None if linux => Ok(()),
        _ => Err(Error::unsupported(format_args!("images of another platform than its own (linux/{own})"))),
    }
}

/// Has the server fetch an image and names it. Dropping the stream gives it up.
pub(super) async fn fetch(lxd: &Arc<Lxd>, source: &Source, names: Vec<String>) -> Result<ItemStream<ImageProgress>> {
    // The first name at once if it is free, so that the image is never without; otherwise one for the time being.
    let mut alias = names.first().cloned().unwrap_or_default();
    let mut passing = None;
    if alias.is_empty() || target(&lxd.client, &alias).await?.is_some() {
        alias = format!("roadstead/fetched:{}", random());
        passing = Some(alias.clone());
    }
    let request = Request::post(&["images"]).body(&source.body(&alias));
    let mut operation = request.start(&lxd.client).await.map_err(about_the_server)?;
    operation.cancel_when_dropped();
    let begin = progress(&format!("fetching {} from {}", source.image, source.server));
    let state = Some(Fetch { lxd: Arc::clone(lxd), operation, names, passing, done: false, said: String::new() });
    let rest = stream::unfold(state, |state| async {
        let mut fetch = state?;
        match fetch.next().await {
            Ok(Some(words)) => Some((Ok(progress(&words)), Some(fetch))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let last_name = |error: Error, lxd: &Lxd, resource: &str| {
        error.with_operation("image.pull").with_node(&lxd.name).with_resource(resource)
    };
    let (lxd, image) = (Arc::clone(lxd), source.image.clone());
    let rest = rest.map(move |item| item.map_err(|error| last_name(error, &lxd, &image)));
    Ok(stream::iter([Ok(begin)]).chain(rest).boxed())
}

struct Fetch {
    lxd: Arc<Lxd>,
    operation: Operation,
    names: Vec<String>,
    /// An alias that the image has until it has its own.
    passing: Option<String>,
    done: bool,
    said: String,
}

impl Fetch {
    /// The next words; none when the image is there.
    async fn next(&mut self) -> Result<Option<String>> {
        if self.done {
            return Ok(None);
        }
        while !self.operation.state().is_final() {
            let changed = timeout(PULL_PAUSE_MAX, self.operation.changed()).await;
            let state = changed.map_err(|_| {
                let words = format!("nothing was heard of it for {} s", PULL_PAUSE_MAX.as_secs());
                Error::new(ErrorKind::DeadlineExceeded, words)
            })??;
            if let Some(words) = state.progress().filter(|words| *words != self.said) {
                self.said = words.to_owned();
                return Ok(Some(self.said.clone()));
            }
        }
        let end = self.operation.state().clone().into_result().map_err(about_the_server)?;
        let fingerprint = end.metadata.get("fingerprint").and_then(Value::as_str).unwrap_or_default().to_owned();
        if fingerprint.is_empty() {
            return Err(Error::new(ErrorKind::Unexpected, "the engine does not tell which image it fetched"));
        }
        for reference in std::mem::take(&mut self.names) {
            name(&self.lxd, &reference, &fingerprint, "").await?;
        }
        if let Some(alias) = self.passing.take() {
            Request::delete(&["images", "aliases", &alias]).done(&self.lxd.client).await?;
        }
        self.done = true;
        Ok(Some(format!("fetched {fingerprint}")))
    }
}

pub(super) fn progress(words: &str) -> ImageProgress {
    let mut progress = ImageProgress::default();
    progress.status = words.to_owned();
    // `rootfs: 41% (12.3MB/s)`
    progress.layer = words.split_once(": ").filter(|(_, rest)| rest.contains('%')).map(|(part, _)| part.to_owned());
    progress
}

/// What the server's words about another server mean.
fn about_the_server(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let kind =
        if says(&["connection refused", "no such host", "unable to connect", "timeout", "network is unreachable"]) {
            ErrorKind::Unavailable
        } else if says(&["x509", "certificate"]) {
            ErrorKind::Unauthenticated
        } else if says(&["couldn't find", "not found", "doesn't exist", "image could not be found"]) {
            ErrorKind::NotFound
        } else {
            return error;
        };
    if error.kind() == kind {
        return error;
    }
    // The server has given up: it is not we who do not know.
    Error::new(kind, error.message().to_owned())
        .with_retry(match kind {
            ErrorKind::Unavailable => Retry::Safe,
            _ => Retry::Never,
        })
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_a_server_and_an_image() {
        for (reference, named) in [
            ("images:alpine/3.20", Named::Remote("images", "alpine/3.20")),
            ("second:roadstead/busybox:latest", Named::Remote("second", "roadstead/busybox:latest")),
            ("127.0.0.2:8443/roadstead/busybox:latest", Named::Host("127.0.0.2:8443", "roadstead/busybox:latest")),
            ("[::1]:8443/a", Named::Host("[::1]:8443", "a")),
        ] {
            assert_eq!(parse(reference).unwrap(), named, "{reference}");
        }
        for reference in ["busybox", "docker.io/library/nginx", "docker.io/library/nginx:1.27"] {
            assert_eq!(parse(reference).unwrap_err().field(), Some("reference"), "{reference}");
        }
    }

    #[test]
    fn sources_are_told_as_servers_read_them() {
        let source = Source {
            server: "https://a:8443".to_owned(),
            protocol: Protocol::Native,
            certificate: None,
            image: "b:c".to_owned(),
            secret: None,
        };
        assert_eq!(
            source.body("x"),
            json!({"aliases": [{"name": "x"}], "source": {"type": "image", "mode": "pull", "server": "https://a:8443", "protocol": "lxd", "alias": "b:c"}})
        );
        let secret = Source { secret: Some(Secret::new("s")), protocol: Protocol::SimpleStreams, ..source };
        assert_eq!(secret.body("x")["source"]["fingerprint"], "b:c");
        assert!(!format!("{secret:?}").contains("\"s\""));
    }

    #[test]
    fn words_about_other_servers() {
        for (words, kind) in [
            ("Failed getting remote image info: Image not found", ErrorKind::NotFound),
            (
                "Failed to connect to LXD server \"https://a\": Get \"https://a/1.0\": x509: certificate is valid for b",
                ErrorKind::Unauthenticated,
            ),
            ("Unable to connect to: a:8443 ([dial tcp a:8443: connect: connection refused])", ErrorKind::Unavailable),
            ("something else", ErrorKind::Unexpected),
        ] {
            assert_eq!(about_the_server(Error::new(ErrorKind::Unexpected, words)).kind(), kind, "{words}");
        }
    }

    #[test]
    fn progress_tells_the_part() {
        assert_eq!(progress("rootfs: 41% (12.3MB/s)").layer.as_deref(), Some("rootfs"));
        assert_eq!(progress("fetching a from https://b: c").layer, None);
    }
}
