//! Images on their way: from registries, from archives, into archives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_core::{
    ByteStream, Error, ErrorKind, ImageProgress, ImportOptions, ItemStream, PullOptions, RegistryCredentials, Result,
    names,
};
use serde::Deserialize;
use serde_json::json;

use super::super::client::Client;
use super::super::files::{UPLOAD_DEADLINE, about_the_archive};
use super::super::json_items::json_items;
use super::super::reference::{Reference, familiar};
use super::super::request::Request;
use super::inspect;
use crate::archive::Upload;
use crate::flow::{PAUSE_MAX, flowing};

/// A registry may be slow to answer, and what a pull is doing may take long without a word.
const PULL_PAUSE_MAX: Duration = Duration::from_secs(600);
/// What Docker calls its own registry in credentials.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// One line of what the engine tells meanwhile.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    id: Option<String>,
    status: Option<String>,
    stream: Option<String>,
    #[serde(rename = "progressDetail")]
    progress: Option<Progress>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    detail: Option<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress {
    current: Option<f64>,
    total: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: Option<String>,
}

impl Line {
    /// An error that came in the middle of a good answer.
    fn failure(&self) -> Option<&str> {
        self.detail.as_ref().and_then(|detail| detail.message.as_deref()).or(self.error.as_deref())
    }

    fn progress(self) -> ImageProgress {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, checked to be above zero")]
        let bytes = |number: Option<f64>| number.filter(|number| *number > 0.0).map(|number| number as u64);
        let mut progress = ImageProgress::default();
        progress.layer = self.id.filter(|id| !id.is_empty());
        progress.status = self.status.or(self.stream).unwrap_or_default().trim().to_owned();
        if let Some(detail) = self.progress {
            progress.current_bytes = bytes(detail.current);
            progress.total_bytes = bytes(detail.total);
        }
        progress
    }
}

/// What a registry's or the engine's words about a pull mean. Engines pass on what the registry said, with the status
/// of a failure of their own.
fn pull_failure(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = if says(&["toomanyrequests", "rate limit", "no space left"]) {
        ErrorKind::ResourceExhausted
    } else if says(&[
        "unauthorized",
        "authentication required",
        "no basic auth",
        "incorrect username",
        "invalid username",
    ]) {
        ErrorKind::Unauthenticated
    } else if says(&["denied"]) {
        // Docker's registry says so of what does not exist, too.
        ErrorKind::PermissionDenied
    } else if says(&[
        "manifest unknown",
        "name unknown",
        "not found",
        "no such image",
        "no matching manifest",
        "does not match the specified platform",
    ]) {
        ErrorKind::NotFound
    } else if says(&[
        "invalid reference",
        "invalid tag",
        "unknown operating system or architecture",
        "invalid platform",
    ]) {
        ErrorKind::InvalidInput
    } else if says(&[
        "dial tcp",
        "no such host",
        "connection refused",
        "timeout",
        "tls",
        "http response to https",
        "eof",
        "connection reset",
    ]) {
        ErrorKind::Unavailable
    } else {
        ErrorKind::Unexpected
    };
    Error::new(kind, message.to_owned())
}

/// Pulls an image.
pub(super) async fn pull(client: &Arc<Client>, options: &PullOptions) -> Result<ItemStream<ImageProgress>> {
    options.validate()?;
    let reference = Reference::parse(&options.reference);
    // A digest is given where a tag would be; without either Docker would pull every tag there is.
    let version = reference.digest.or(reference.tag).unwrap_or("latest");
    let mut request = Request::post("/images/create")
        .query("fromImage", reference.repository)
        .query("tag", version)
        .query_some("platform", options.platform.as_deref())
        .within(PULL_PAUSE_MAX);
    if let Some(credentials) = &options.credentials {
        request = request.header("x-registry-auth", authorization(credentials, reference.registry()));
    }
    let body = request.stream(client).await.map_err(|error| match error.kind() {
        ErrorKind::Unexpected | ErrorKind::NotFound => {
            let better = pull_failure(error.message());
            let kind = if better.kind() == ErrorKind::Unexpected { error.kind() } else { better.kind() };
            Error::new(kind, error.message().to_owned()).with_source(error)
        }
        _ => error,
    })?;
    let lines = json_items::<Line>(body).map(|line| {
        let line = line?;
        match line.failure() {
            Some(message) => Err(pull_failure(message)),
            None => Ok(line.progress()),
        }
    });
    // An engine that ends without a word of failure has the image; that it really has is asked for.
    let client_then = Arc::clone(client);
    let pulled = match reference.digest {
        Some(digest) => format!("{}@{digest}", reference.repository),
        None => format!("{}:{version}", reference.repository),
    };
    let check = stream::once(async move { inspect(&client_then, &pulled).await.err() })
        .filter_map(|error| async { error.map(Err) });
    let (node, resource) = (client.name.clone(), options.reference.clone());
    // The check is not reached when a line was an error: the stream ends there.
    let items = flowing(PULL_PAUSE_MAX, lines.chain(check));
    let named = move |error: Error| error.with_operation("node.pull_image").with_node(&node).with_resource(&resource);
    Ok(items.map_err(named).boxed())
}

/// The header that carries credentials: JSON in base64.
fn authorization(credentials: &RegistryCredentials, registry: Option<&str>) -> String {
    let server = registry.filter(|registry| *registry != "docker.io").unwrap_or(DOCKER_HUB);
    let json = json!({
        "username": credentials.username,
        "password": credentials.password.expose(),
        "serveraddress": server,
    });
    base64_url(json.to_string().as_bytes())
}

/// Base64 with the alphabet for URLs and with padding (RFC 4648, section 5), as Docker reads it.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET.get((number >> (18 - 6 * place) & 63) as usize);
            text.push(match digit {
                Some(digit) if place <= group.len() => char::from(*digit),
                _ => '=',
            });
        }
    }
    text
}

/// Makes an image of a root file system.
pub(super) async fn import(client: &Arc<Client>, archive: ByteStream, options: &ImportOptions) -> Result<String> {
    options.validate()?;
    let reference = Reference::parse(&options.reference);
    let name = format!("{}:{}", reference.repository, reference.tag_or_latest());
    let (body, verdict) = Upload::begin(archive).await?.split();
    let command = (!options.command.is_empty()).then(|| format!("CMD {}", json!(options.command)));
    let request = Request::post("/images/create")
        .query("fromSrc", "-")
        // Together: Podman of old leaves a tag of its own out.
        .query("repo", &name)
        .query_some("message", options.message.as_deref())
        .query_some("changes", command.as_deref())
        .archive(body)
        .within(UPLOAD_DEADLINE);
    let lines = said(client, request).await;
    verdict.on(lines).map_err(about_the_archive)?;
    Ok(inspect(client, &name).await?.summary.id)
}

/// Loads an archive of images.
pub(super) async fn load(client: &Arc<Client>, archive: ByteStream) -> Result<Vec<String>> {
    let (body, verdict) = Upload::begin(archive).await?.split();
    let request = Request::post("/images/load").flag("quiet", true).archive(body).within(UPLOAD_DEADLINE);
    let lines = said(client, request).await;
    let lines = verdict.on(lines).map_err(about_the_archive)?;
    Ok(lines.iter().flat_map(|line| loaded(line.stream.as_deref().unwrap_or_default())).collect())
}

/// What a line of Docker (`Loaded image: a:1`, `Loaded image ID: sha256:…`) or Podman (`Loaded image: a:1,b:2`) names.
fn loaded(line: &str) -> Vec<String> {
    let names = ["Loaded image ID:", "Loaded image:", "Loaded image(s):"]
        .iter()
        .find_map(|words| line.trim().strip_prefix(words));
    let names = names.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| familiar(name).to_owned()).collect()
}

/// Everything that the engine says until it is done; its words of failure as an error.
async fn said(client: &Client, request: Request) -> Result<Vec<Line>> {
    let body = request.stream(client).await?;
    let lines: Vec<Line> = json_items(body).try_collect().await?;
    match lines.iter().find_map(Line::failure) {
        Some(message) => Err(Error::new(ErrorKind::Unexpected, message.to_owned())),
        None => Ok(lines),
    }
}

/// Writes images into one archive.
pub(super) async fn save(client: &Arc<Client>, references: &[String]) -> Result<ByteStream> {
    if references.is_empty() {
        return Err(Error::invalid("references", "at least one image must be named"));
    }
    for (index, reference) in references.iter().enumerate() {
        names::image_reference(&format!("references[{index}]"), reference)?;
        // Engines differ in when and how they say that an image is missing; some save the others.
        inspect(client, reference).await.map_err(|error| error.with_resource(reference))?;
    }
    let request = references.iter().fold(Request::get("/images/get"), |request, name| request.query("names", name));
    // The archive is put together before its first byte is sent.
    let archive = request.within(UPLOAD_DEADLINE).stream(client).await?;
    Ok(flowing(PAUSE_MAX, archive))
}

#[cfg(test)]
mod tests {
    use roadstead_core::Secret;

    use super::*;

    #[test]
    fn words_of_registries() {
        for (words, kind) in [
            ("manifest for a:1 not found: manifest unknown: manifest unknown", ErrorKind::NotFound),
            (
                "pull access denied for a, repository does not exist or may require 'docker login'",
                ErrorKind::PermissionDenied,
            ),
            ("Get \"https://r/v2/\": unauthorized: incorrect username or password", ErrorKind::Unauthenticated),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                ErrorKind::Unavailable,
            ),
            ("toomanyrequests: You have reached your pull rate limit", ErrorKind::ResourceExhausted),
            ("something else", ErrorKind::Unexpected),
        ] {
            assert_eq!(pull_failure(words).kind(), kind, "{words}");
        }
    }

    #[test]
    fn credentials_are_written_as_docker_reads_them() {
        // The test vectors of RFC 4648.
        for (text, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64_url(text.as_bytes()), coded);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8=");
        let credentials = RegistryCredentials { username: "u".into(), password: Secret::new("p") };
        assert!(authorization(&credentials, Some("quay.io")).starts_with("eyJ"));
    }

    #[test]
    fn lines_of_progress() {
        let line: Line = serde_json::from_str(
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":10},"progress":"[>]","id":"ab"}"#,
        )
        .unwrap();
        let progress = line.progress();
        assert_eq!((progress.layer.as_deref(), progress.status.as_str()), (Some("ab"), "Downloading"));
        assert_eq!((progress.current_bytes, progress.total_bytes), (Some(5), Some(10)));
        let line: Line = serde_json::from_str(r#"{"errorDetail":{"message":"m"},"error":"e"}"#).unwrap();
        assert_eq!(line.failure(), Some("m"));
        assert_eq!(loaded("Loaded image: docker.io/a/b:1,localhost/c:2\n"), ["a/b:1", "localhost/c:2"]);
        assert_eq!(loaded("Loaded image ID: sha256:00\n"), ["sha256:00"]);
        assert_eq!(loaded("something"), Vec::<String>::new());
    }
}
