//! TLS towards a server: which certificate is shown, and which certificate of the server is trusted.
//!
//! The servers of LXD, Incus, core0 and often Roadstead have self-signed certificates, which are trusted one by one: by fingerprint (the SHA-256 of the certificate),
//! by a copy of it, or, when asked for in so many words, by whatever is shown first. A trusted certificate is one and the
//! same, byte by byte; its names and dates then say nothing more. Certificates from an authority are checked as browsers do.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use roadstead_core::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate, as servers and their command lines write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Fingerprint(Sha256::digest(certificate.as_ref()).into())
    }

    /// Of the first certificate in a file.
    pub(crate) fn of_file(field: &str, path: &Path) -> Result<Self> {
        let certificates = certificates(field, path)?;
        certificates.first().map(Fingerprint::of).ok_or_else(|| empty(field, path))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// 64 hexadecimal digits, in either case, with or without colons. A part of it would not do: others may share it.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::invalid("fingerprint", "is not the SHA-256 of a certificate: 64 hexadecimal digits");
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(refuse)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
        if digits.len() != 64 {
            return Err(refuse());
        }
        Ok(Fingerprint(bytes.try_into().map_err(|_| refuse())?))
    }
}

/// Which server is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The one with this certificate, and who says so.
    Pinned(Fingerprint, String),
    /// One whose certificate comes from an authority in this file.
    Authority(PathBuf),
    /// One whose certificate comes from an authority that this machine knows.
    System,
    /// The one that answers first.
    FirstUse,
    /// Whichever answers, every time: its certificate is not looked at. Only where that is asked for in so many words.
    Unverified,
}

/// Our own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How TLS is spoken with one server.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    shown: Shown,
}

/// The certificate that the server showed last.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<Mutex<Option<Fingerprint>>>);

impl Shown {
    fn get(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fingerprint: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
    }
}

impl Tls {
    /// Reads the files. The provider is named here, so that it does not matter whether the program has installed one.
    pub(crate) fn new(trust: &Trust, identity: Option<&Identity>) -> Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let rule = match trust {
            Trust::Pinned(fingerprint, origin) => Rule::Pinned(*fingerprint, origin.clone()),
            Trust::FirstUse => Rule::FirstUse(Mutex::new(None)),
            Trust::Unverified => Rule::Any,
            Trust::Authority(path) => Rule::Authority(authorities(file_roots(path)?, &provider)?),
            Trust::System => Rule::Authority(authorities(system_roots(), &provider)?),
        };
        let shown = Shown::default();
        let verifier = Verifier { provider: Arc::clone(&provider), rule, shown: shown.clone() };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid("uri", format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(certificates("certificate", &identity.certificate)?, private_key(&identity.key)?)
                .map_err(|error| {
                    Error::invalid("key", format!("{} does not fit the certificate: {error}", identity.key.display()))
                })?,
        };
        Ok(Tls { config: Arc::new(config), shown })
    }

    /// For connections.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The certificate that the server showed last, if it was asked.
    pub(crate) fn shown(&self) -> Option<Fingerprint> {
        self.shown.get()
    }
}

/// Trusts nobody: for connections that are not encrypted.
pub(crate) fn nobody() -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid("uri", format!("TLS cannot be set up: {error}")))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn file_roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("authority", path)? {
        roots.add(certificate).map_err(|error| Error::invalid("authority", format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Some files of a system's store are often unreadable; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Nothing when there is no authority at all: then no certificate is good, which is told when one is shown.
fn authorities(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<WebPkiServerVerifier>>> {
    if roots.is_empty() {
        return Ok(None);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(Some)
        .map_err(|error| Error::invalid("authority", error))
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| Error::invalid(field, format!("{}: {error}", path.display())))?;
    if certificates.is_empty() {
        return Err(empty(field, path));
    }
    Ok(certificates)
}

fn empty(field: &str, path: &Path) -> Error {
    Error::invalid(field, format!("{}: there is no certificate in it", path.display()))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let encrypted = std::fs::read_to_string(path)
            .is_ok_and(|text| text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED"));
        let why = if encrypted {
            "it is encrypted; only keys without a passphrase are read".to_owned()
        } else {
            error.to_string()
        };
        Error::invalid("key", format!("{}: {why}", path.display()))
    })
}

/// Why a server is not trusted, in words for people.
#[derive(Debug)]
pub(crate) struct Mistrust(String);

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistrust {}

#[derive(Debug)]
enum Rule {
    Pinned(Fingerprint, String),
    FirstUse(Mutex<Option<Fingerprint>>),
    Any,
    Authority(Option<Arc<WebPkiServerVerifier>>),
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    rule: Rule,
    shown: Shown,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        self.shown.set(shown);
        let mistrust = |why: String| {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Mistrust(why))))))
        };
        let found = format!("the server shows the certificate with the fingerprint {shown}");
        match &self.rule {
            Rule::Any => {}
            Rule::Pinned(expected, _) if *expected == shown => {}
            Rule::Pinned(expected, origin) => {
                return mistrust(format!(
                    "{found}, but {origin} says {expected}: either the server has a new certificate, which has to be \
                     put there, or this is another server"
                ));
            }
            Rule::FirstUse(first) => {
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                let expected = *first.get_or_insert(shown);
                if expected != shown {
                    return mistrust(format!("{found}, but {expected} was the first"));
                }
            }
            Rule::Authority(authority) => {
                let checked = match authority {
                    Some(authority) => authority
                        .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                        .map_err(|error| error.to_string()),
                    None => Err("this machine knows no certificate authority".to_owned()),
                };
                if let Err(why) = checked {
                    return mistrust(format!(
                        "{found}, which no authority vouches for ({why}): if the server says the same fingerprint of \
                         itself, give it as fingerprint={shown}"
                    ));
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("engines/lxd/fixtures/client.crt");

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn fingerprints_are_the_whole_digest_in_any_spelling() {
        let certificate = file(CERTIFICATE);
        let fingerprint = Fingerprint::of_file("certificate", certificate.path()).unwrap();
        // By `openssl x509 -fingerprint -sha256`.
        let openssl = include_str!("engines/lxd/fixtures/client.fingerprint").trim();
        assert_eq!(openssl.parse::<Fingerprint>().unwrap(), fingerprint);
        assert_eq!(fingerprint.to_string(), openssl.replace(':', "").to_lowercase());
        for text in ["", "ab", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), "é"] {
            assert_eq!(text.parse::<Fingerprint>().unwrap_err().field(), Some("fingerprint"), "{text:?}");
        }
    }

    #[test]
    fn unreadable_files_name_the_field_and_the_file() {
        let nothing = file("");
        let cases = [(Path::new("/nowhere"), "/nowhere"), (nothing.path(), nothing.path().to_str().unwrap())];
        for (path, words) in cases {
            let error = Tls::new(&Trust::Authority(path.into()), None).unwrap_err();
            assert_eq!(error.field(), Some("authority"));
            assert!(error.message().contains(words));
            let identity = Identity { certificate: path.into(), key: path.into() };
            assert_eq!(Tls::new(&Trust::System, Some(&identity)).unwrap_err().field(), Some("certificate"));
        }
        let (certificate, key) = (file(CERTIFICATE), file("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let identity = Identity { certificate: certificate.path().into(), key: key.path().into() };
        let error = Tls::new(&Trust::FirstUse, Some(&identity)).unwrap_err();
        assert_eq!(error.field(), Some("key"));
        assert!(error.message().contains("encrypted"), "{error}");
    }
}
