//! Who can reach whom, found out without making anything.
//!
//! A server is asked to fetch a list of images from an address of the other, whose certificate it gets to know with the
//! question. The other serves no such list, so the operation fails in any case; but with other words when the address
//! was not reached, or somebody else answered there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::{ErrorKind, Result};
use serde_json::json;

use super::super::request::Request;
use super::super::shared::Lxd;
use super::facts::Server;

/// A server that answers at all answers this fast.
const DEADLINE: Duration = Duration::from_secs(6);
/// So many addresses are tried: a machine with many bridges has many that lead nowhere.
const TRIES: usize = 8;
/// Words for an address that was not reached, or where somebody else answered; lower case.
const NOT_REACHED: &[&str] = &[
    "unable to connect",
    "dial tcp",
    "x509",
    "certificate",
    "tls: ",
    "timeout",
    "deadline exceeded",
    "no route to host",
    "refused",
    "no such host",
    "proxyconnect",
];

/// The first address of `there` that `who` reaches.
pub(super) async fn first(who: &Arc<Lxd>, there: &Server) -> Result<Option<String>> {
    if there.certificate.is_empty() {
        return Ok(None);
    }
    let tries =
        there.addresses.iter().take(TRIES).map(|address| async move {
            Ok(reaches(who, address, &there.certificate).await?.then(|| address.clone()))
        });
    let found: Result<Vec<Option<String>>> = join_all(tries).await.into_iter().collect();
    Ok(found?.into_iter().flatten().next())
}

async fn reaches(who: &Arc<Lxd>, address: &str, certificate: &str) -> Result<bool> {
    let source = json!({
        "type": "image",
        "mode": "pull",
        // Every server speaks this protocol of image servers, whatever it calls its own.
        "protocol": "simplestreams",
        "server": format!("https://{address}"),
        "certificate": certificate,
        "alias": "roadstead/nothing",
    });
    let asked = Request::post(&["images"]).body(&json!({"source": source})).finish(&who.client, DEADLINE).await;
    match asked {
        Ok(_) => Ok(true),
        // Who may not ask does not know; the copy itself will tell.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(true),
        // No answer within the deadline.
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => Ok(false),
        // The server that was asked is away.
        Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
        Err(error) => {
            let words = error.message().to_lowercase();
            let reached = !NOT_REACHED.iter().any(|sign| words.contains(sign));
            tracing::debug!(node = who.name, address, reached, %words, "tried an address");
            Ok(reached)
        }
    }
}
