//! TLS towards a server: which certificates are shown and which are trusted.

use std::sync::Arc;

use roadstead_core::{Error, Result};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Trusts nobody: for connections that are not encrypted.
pub(super) fn nobody() -> Result<ClientConfig> {
    // The provider is named here, so that it does not matter whether the program has installed one.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid("uri", format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
