//! How a receiver knows that a delivery is from here: the signatures of the Standard Webhooks specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use roadstead_core::{Error, ErrorKind, Result, Secret};

/// What secrets begin with, as people meet them.
const PREFIX: &str = "whsec_";
/// How many bytes a secret may have.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How many bytes one has that is made here.
const MADE: usize = 32;

fn bytes(secret: &Secret) -> Option<Vec<u8>> {
    let encoded = secret.expose().strip_prefix(PREFIX)?;
    STANDARD.decode(encoded).ok().filter(|bytes| BYTES.contains(&bytes.len()))
}

/// Refuses what is no secret.
///
/// # Errors
/// `InvalidInput` that names `secret`, and does not repeat it.
pub(crate) fn check(secret: &Secret) -> Result<()> {
    let (least, most) = (BYTES.start(), BYTES.end());
    let refuse = || Error::invalid("secret", format!("must be {PREFIX} and {least} to {most} bytes in base64"));
    bytes(secret).map(drop).ok_or_else(refuse)
}

/// A new secret.
///
/// # Errors
/// `Unexpected` when the machine gives no random numbers.
pub(crate) fn make() -> Result<Secret> {
    let mut bytes = [0; MADE];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("there are no random numbers: {error}")))?;
    Ok(Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes))))
}

/// The header `webhook-signature` of a message.
///
/// # Errors
/// As [`check`].
pub(super) fn sign(secret: &Secret, id: &str, seconds: i64, body: &[u8]) -> Result<String> {
    check(secret)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes(secret).unwrap_or_default());
    let mut signing = hmac::Context::with_key(&key);
    signing.update(format!("{id}.{seconds}.").as_bytes());
    signing.update(body);
    Ok(format!("v1,{}", STANDARD.encode(signing.sign())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_signature_of_the_specification() {
        // The example that the libraries of the specification are tested with.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_enough_or_refused_without_being_shown() {
        check(&make().unwrap()).unwrap();
        assert_ne!(make().unwrap(), make().unwrap());
        let short = STANDARD.encode([7; 23]);
        for bad in ["hunter2", "whsec_hunter2", &format!("whsec_{short}"), &STANDARD.encode([7; 32])] {
            let error = check(&Secret::new(bad)).unwrap_err();
            assert_eq!(error.field(), Some("secret"));
            assert!(!error.to_string().contains(bad), "{error}");
        }
    }
}
