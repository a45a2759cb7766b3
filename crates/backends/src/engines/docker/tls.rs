//! TLS towards a daemon: which certificates are shown and which are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roadstead_core::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// The files of a connection. What is absent: no client certificate, and the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) authority: Option<PathBuf>,
    /// Whether any certificate of the server will do.
    pub(super) skip_verify: bool,
}

impl TlsFiles {
    /// The docker command line's layout: `cert.pem`, `key.pem` and `ca.pem`, each only if it is there.
    pub(super) fn in_directory(directory: &Path) -> Self {
        let file = |name: &str| Some(directory.join(name)).filter(|path| path.exists());
        TlsFiles { certificate: file("cert.pem"), key: file("key.pem"), authority: file("ca.pem"), skip_verify: false }
    }

    /// Reads the files. The provider is named here, so that it does not matter whether the program has installed one.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid("uri", format!("TLS cannot be set up: {error}")))?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnything(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(certificates("certificate", certificate)?, private_key(key)?).map_err(
                    |error| Error::invalid("key", format!("{} does not fit the certificate: {error}", key.display())),
                )?
            }
            (Some(_), None) => return Err(Error::invalid("key", "a client certificate needs its key")),
            (None, Some(_)) => return Err(Error::invalid("certificate", "a client key needs its certificate")),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.authority {
            for certificate in certificates("authority", path)? {
                roots
                    .add(certificate)
                    .map_err(|error| Error::invalid("authority", format!("{}: {error}", path.display())))?;
            }
        } else {
            // Some files of a system's store are often unreadable; the others count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(roots)
    }
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| Error::invalid(field, format!("{}: {error}", path.display())))?;
    if certificates.is_empty() {
        return Err(Error::invalid(field, format!("{}: there is no certificate in it", path.display())));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| Error::invalid("key", format!("{}: {error}", path.display())))
}

/// For `verify=false`, which the docker command line has, too: the connection is encrypted, the other side is unknown.
#[derive(Debug)]
struct TrustAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_client_identity_and_unreadable_files_name_the_field() {
        let cases = [
            (TlsFiles { certificate: Some("/nowhere".into()), ..TlsFiles::default() }, "key"),
            (TlsFiles { key: Some("/nowhere".into()), ..TlsFiles::default() }, "certificate"),
            (TlsFiles { authority: Some("/nowhere".into()), ..TlsFiles::default() }, "authority"),
        ];
        for (files, field) in cases {
            assert_eq!(files.config().unwrap_err().field(), Some(field));
        }
        let empty = tempfile::NamedTempFile::new().unwrap();
        let files = TlsFiles { authority: Some(empty.path().to_owned()), ..TlsFiles::default() };
        assert_eq!(files.config().unwrap_err().field(), Some("authority"));
    }
}
