//! An image's files on their way to the server.
//!
//! The fingerprint of an image is the SHA-256 of its files, so it is known here when they have passed, also when the
//! server says no more than that it has them already.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result, Retry};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::request::{Request, encode};
use super::super::shared::Lxd;
use super::multipart::Boundary;

/// An image may be so long on its way to the server, and the server so long about it afterwards.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(3600);

/// Takes the fingerprint of what passes.
#[derive(Clone, Default)]
pub(super) struct Digest(Arc<Mutex<Sha256>>);

impl Digest {
    /// The same stream; what passes counts.
    pub(super) fn of(&self, content: ByteStream) -> ByteStream {
        let digest = self.clone();
        content
            .inspect(move |piece| {
                if let Ok(piece) = piece {
                    digest.0.lock().unwrap_or_else(PoisonError::into_inner).update(piece);
                }
            })
            .boxed()
    }

    /// Of all that has passed until now.
    fn fingerprint(&self) -> String {
        let digest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize();
        digest.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// What is told to the server with an image's files.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The fingerprint that the files must have.
    pub(super) fingerprint: Option<String>,
    /// The name of the file, which the server gives it when it is exported.
    pub(super) file_name: Option<String>,
    /// Properties that go before those in the metadata.
    pub(super) properties: Vec<(String, String)>,
    /// Whether everybody may have it.
    pub(super) public: bool,
}

/// An image that is on the server.
#[derive(Debug)]
pub(super) struct Uploaded {
    pub(super) fingerprint: String,
    /// Whether it was not there before.
    pub(super) new: bool,
}

/// One piece as a stream.
pub(super) fn one(piece: Bytes) -> ByteStream {
    stream::iter([Ok(piece)]).boxed()
}

/// An image in two files.
pub(super) async fn split(lxd: &Lxd, metadata: ByteStream, rootfs: ByteStream, told: &Told) -> Result<Uploaded> {
    let boundary = Boundary::new();
    let digest = Digest::default();
    let file_name = told.file_name.as_deref().unwrap_or("rootfs.tar");
    let body = one(boundary.part(true, "metadata", "metadata.tar"))
        .chain(digest.of(metadata))
        .chain(one(boundary.part(false, "rootfs", file_name)))
        .chain(digest.of(rootfs))
        .chain(one(boundary.end()))
        .boxed();
    send(lxd, &boundary.content_type(), body, &digest, told).await
}

/// An image in one file.
pub(super) async fn unified(lxd: &Lxd, file: ByteStream, told: &Told) -> Result<Uploaded> {
    let digest = Digest::default();
    let body = digest.of(file);
    send(lxd, "application/octet-stream", body, &digest, told).await
}

async fn send(lxd: &Lxd, content_type: &str, body: ByteStream, digest: &Digest, told: &Told) -> Result<Uploaded> {
    let mut request = Request::post(&["images"]).header("content-type", content_type).stream_body(body);
    if let Some(fingerprint) = &told.fingerprint {
        request = request.tell("fingerprint", fingerprint);
    }
    if let Some(name) = &told.file_name {
        request = request.tell("filename", name);
    }
    if !told.properties.is_empty() {
        let pairs = told.properties.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
        request = request.tell("properties", &pairs.collect::<Vec<_>>().join("&"));
    }
    if told.public {
        request = request.tell("public", "1");
    }
    match request.within(UPLOAD_DEADLINE).finish(&lxd.client, UPLOAD_DEADLINE).await {
        Ok(state) => {
            let fingerprint = state.metadata.get("fingerprint").and_then(Value::as_str).map(str::to_owned);
            Ok(Uploaded { fingerprint: fingerprint.unwrap_or_else(|| digest.fingerprint()), new: true })
        }
        Err(error) if error.message().contains("same fingerprint already exists") => {
            Ok(Uploaded { fingerprint: digest.fingerprint(), new: false })
        }
        Err(error) => Err(about_the_image(error)),
    }
}

/// The server's words about files that are no image.
fn about_the_image(error: Error) -> Error {
    let message = error.message().to_lowercase();
    let at_fault = [
        "unsupported compression",
        "metadata tarball",
        "metadata.yaml",
        "fingerprints don't match",
        "fingerprint provided",
        "missing architecture",
        "invalid multipart",
        "missing or invalid",
        "yaml:",
    ];
    if error.kind() == ErrorKind::Unexpected && at_fault.iter().any(|words| message.contains(words)) {
        let text = format!("is no image: {}", error.message());
        return Error::invalid("archive", text).with_retry(Retry::Never).with_source(error);
    }
    error
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn the_fingerprint_is_of_all_that_passed() {
        let digest = Digest::default();
        let pieces = digest.of(one(Bytes::from_static(b"ab"))).chain(one(Bytes::from_static(b"not counted")));
        let _: Vec<Bytes> = pieces.chain(digest.of(one(Bytes::from_static(b"c")))).try_collect().await.unwrap();
        // The test vector "abc" of FIPS 180-2.
        assert_eq!(digest.fingerprint(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn words_about_the_image_are_about_the_input() {
        for (words, kind) in [
            ("Metadata tarball is missing metadata.yaml", ErrorKind::InvalidInput),
            ("fingerprints don't match, got ab expected cd", ErrorKind::InvalidInput),
            ("something else", ErrorKind::Unexpected),
        ] {
            assert_eq!(about_the_image(Error::new(ErrorKind::Unexpected, words)).kind(), kind, "{words}");
        }
    }
}
