//! Tokens: who signed them, for how long they are good, and whether they speak for an organisation that may come in.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, alg_id};
use serde_json::Value;

use super::message;

/// Bytes of a coordinate of P-384.
const COORDINATE: usize = 48;

/// What tokens are held against.
pub(crate) struct Tokens {
    organizations: Vec<String>,
    scopes: Vec<String>,
    /// The point, as it stands at the end of the key; without one no token is good.
    key: Option<Vec<u8>>,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

fn among(name: &str, names: &[String]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

impl Tokens {
    /// # Errors
    /// When the key is none of P-384.
    pub(crate) fn new(organizations: &[String], key: Option<&Path>) -> Result<Self, String> {
        let key = match key {
            Some(path) => {
                let key = SubjectPublicKeyInfoDer::from_pem_file(path)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let start = key.len().checked_sub(1 + 2 * COORDINATE).ok_or("the key is too short")?;
                Some(key[start..].to_vec())
            }
            None => None,
        };
        let provider = rustls::crypto::ring::default_provider();
        let mut algorithms = provider.signature_verification_algorithms.all.iter();
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.public_key_alg_id() == alg_id::ECDSA_P384 && algorithm.signature_alg_id() == alg_id::ECDSA_SHA384
        };
        Ok(Tokens {
            organizations: organizations.to_vec(),
            scopes: organizations.iter().map(|name| format!("user:memberof:{name}")).collect(),
            key,
            algorithm: *algorithms.find(fits).ok_or("no ECDSA on P-384")?,
        })
    }

    /// Whether a token lets its bearer in.
    pub(crate) fn accept(&self, token: &str) -> bool {
        self.claims(token).is_some_and(|claims| self.speaks(&claims))
    }

    /// The claims of a token that is signed and in its time.
    fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        if json(header)?.get("alg")?.as_str()? != "ES384" {
            return None;
        }
        let signature = der(&URL_SAFE_NO_PAD.decode(signature).ok()?)?;
        self.algorithm.verify_signature(self.key.as_ref()?, signed.as_bytes(), &signature).ok()?;
        let claims = json(claims)?;
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 are small")]
        let now = message::seconds() as f64;
        let begun = ["iat", "nbf"].into_iter().filter_map(time).all(|start| start <= now);
        (begun && time("exp").is_none_or(|end| now <= end)).then_some(claims)
    }

    fn speaks(&self, claims: &Value) -> bool {
        let party = claims.get("azp").and_then(Value::as_str);
        let scopes = claims.get("scope").and_then(Value::as_array);
        party.is_some_and(|party| among(party, &self.organizations))
            || scopes.into_iter().flatten().filter_map(Value::as_str).any(|scope| among(scope, &self.scopes))
    }
}

/// Two numbers side by side, as tokens have them, in the form in which they are verified.
fn der(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 2 * COORDINATE {
        return None;
    }
    let mut numbers = Vec::new();
    for number in signature.chunks(COORDINATE) {
        let first = number.iter().position(|byte| *byte != 0).unwrap_or(COORDINATE - 1);
        let mut number = number[first..].to_vec();
        if number[0] & 0x80 != 0 {
            number.insert(0, 0);
        }
        numbers.extend([0x02, u8::try_from(number.len()).ok()?]);
        numbers.extend(number);
    }
    let mut sequence = vec![0x30, u8::try_from(numbers.len()).ok()?];
    sequence.extend(numbers);
    Some(sequence)
}
