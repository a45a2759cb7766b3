//! `web.download`: a file of the node from an HTTP server.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use futures_util::StreamExt;
use serde_json::Value;

use super::arguments::{Kind, Shape};
use super::{Failure, errors};

const DOWNLOAD: Shape = Shape {
    go: r#"struct { URL string "json:\"url\""; Destination string "json:\"destination\"" }"#,
    fields: &[("url", Kind::Text), ("destination", Kind::Text)],
};

/// Downloads, and answers the destination. Whatever the server answers with is the file, an error page included: the node
/// does not look at the status.
pub(super) async fn download(arguments: &Value) -> Result<Value, Failure> {
    let arguments = DOWNLOAD.decode(arguments, 500)?;
    let (url, destination) = (arguments.text("url"), arguments.text("destination"));
    if url.is_empty() || destination.is_empty() {
        return Err(Failure::new(500, "url and destination argument must be provided"));
    }
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o660).open(destination);
    let mut file = options.map_err(errors::at("open", destination))?;
    // The innermost cause is what the system said.
    let failed = |error: reqwest::Error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let text = cause.downcast_ref().map_or_else(|| cause.to_string(), errors::text);
        Failure::new(500, format!("Get {url:?}: {text}"))
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
    let mut body = client.get(url).send().await.map_err(failed)?.bytes_stream();
    while let Some(bytes) = body.next().await {
        file.write_all(&bytes.map_err(failed)?).map_err(errors::at("write", destination))?;
    }
    Ok(destination.into())
}
