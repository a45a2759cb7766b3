//! Takes one message to a receiver, once.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use roadstead_core::{Error, ErrorKind, Result, Timestamp};

use super::register::StoredWebhook;
use super::signature;

/// The longest URL.
const URL_MAX: usize = 2048;

/// What came of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The status that was answered, if any was.
    pub(crate) status: Option<u16>,
    /// Why it was not taken; nothing when it was.
    pub(crate) failed: Option<String>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Outcome {
    /// The receiver wants nothing any more.
    pub(super) fn is_gone(&self) -> bool {
        self.status == Some(410)
    }
}

/// Takes messages to receivers.
#[derive(Debug)]
pub(super) struct Courier {
    deadline: Duration,
    /// Made for the first message: the authorities of the machine are many.
    client: OnceLock<Client>,
}

/// Refuses a URL that nothing may be delivered to: what happens on the nodes is nobody else's, so it goes by TLS, or to this machine.
///
/// # Errors
/// `InvalidInput` that names `url`, and does not repeat it.
pub(super) fn check_url(url: &str, allow_http: bool) -> Result<()> {
    let refuse = |reason: &str| Err(Error::invalid("url", reason));
    if url.len() > URL_MAX {
        return refuse("is longer than 2048 bytes");
    }
    let Ok(url) = url.parse::<Url>() else { return refuse("is not a URL") };
    let Some(host) = url.host_str() else { return refuse("names no host") };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user or a password: deliveries are signed");
    }
    if url.fragment().is_some() {
        return refuse("must not have a fragment");
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here || allow_http => Ok(()),
        "http" => refuse("must be https; http goes to this machine only, or where webhook_allow_http says so"),
        _ => refuse("must be https"),
    }
}

fn client(deadline: Duration) -> Result<Client> {
    let cannot = |cause: String| Error::new(ErrorKind::Unexpected, format!("HTTP cannot be set up: {cause}"));
    let mut roots = rustls::RootCertStore::empty();
    // Some files of a system's store are often unreadable; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| cannot(cause.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        // Whoever is named is told, and nobody whom that one names.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .timeout(deadline)
        .pool_max_idle_per_host(1)
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|cause| cannot(cause.to_string()))
}

impl Courier {
    pub(super) fn new(deadline: Duration) -> Self {
        Courier { deadline, client: OnceLock::new() }
    }

    async fn client(&self) -> Result<Client> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let deadline = self.deadline;
        // It reads files.
        let made = tokio::task::spawn_blocking(move || client(deadline))
            .await
            .map_err(|cause| Error::new(ErrorKind::Unexpected, "HTTP was not set up").with_source(cause))??;
        Ok(self.client.get_or_init(|| made).clone())
    }

    /// Takes a message to the receiver. The same message has the same id each time.
    pub(super) async fn take(&self, webhook: &StoredWebhook, message: &str, body: &[u8]) -> Outcome {
        let begun = Instant::now();
        let answered = self.attempt(webhook, message, body).await;
        let took = begun.elapsed();
        match answered {
            Ok(status) if (200..300).contains(&status) => Outcome { status: Some(status), failed: None, took },
            Ok(status) => {
                let failed = Some(format!("the receiver answered with {status}"));
                Outcome { status: Some(status), failed, took }
            }
            Err(error) => Outcome { status: None, failed: Some(error.message().to_owned()), took },
        }
    }

    async fn attempt(&self, webhook: &StoredWebhook, message: &str, body: &[u8]) -> Result<u16> {
        let seconds = Timestamp::now().unix_seconds();
        let signature = signature::sign(&webhook.secret, message, seconds, body)?;
        let request = self
            .client()
            .await?
            .post(&webhook.url)
            .header("content-type", "application/json")
            .header("webhook-id", message)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .header("roadstead-webhook", &webhook.id)
            .body(body.to_vec());
        match request.send().await {
            // What it says besides is nobody's: it may be of any machine that this one reaches.
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(cause) => Err(Error::new(ErrorKind::Unavailable, self.why(&cause))),
        }
    }

    /// In words that hold no part of the URL, which may be a secret.
    fn why(&self, cause: &reqwest::Error) -> String {
        if cause.is_timeout() {
            return format!("the receiver did not answer within {} s", self.deadline.as_secs());
        }
        let mut deepest: &dyn std::error::Error = cause;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        let what = if cause.is_connect() { "cannot be connected to" } else { "did not answer" };
        if std::ptr::addr_eq(deepest, cause) {
            return format!("the receiver {what}");
        }
        format!("the receiver {what}: {deepest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_safe_is_refused() {
        for good in ["https://example.com/a?b=c", "http://127.0.0.1:8080/", "http://[::1]/x", "http://localhost:1/"] {
            check_url(good, false).unwrap();
        }
        check_url("http://10.0.0.1/hook", true).unwrap();
        let long = format!("https://example.com/{}", "a".repeat(URL_MAX));
        for bad in [
            "http://10.0.0.1/hunter2",
            "http://example.com/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "ftp://127.0.0.1/",
            "https://me:hunter2@example.com/",
            "https://example.com/#hunter2",
            "unix:/run/engine.sock",
            "hunter2",
            "",
            &long,
        ] {
            let error = check_url(bad, false).unwrap_err();
            assert_eq!(error.field(), Some("url"), "{bad}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
