//! The header `Idempotency-Key`, and what a request with it is told apart by.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName};
use roadstead_core::{Error, Result};
use sha2::{Digest, Sha256};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// As it is written in errors and documents.
pub(crate) const KEY_NAME: &str = "Idempotency-Key";
/// The longest key.
const KEY_MAX: usize = 255;

/// The key that a request has, if it has one: as it is, or as a string in quotation marks.
///
/// # Errors
/// `InvalidInput` that names the header.
pub(super) fn given(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(KEY);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid(KEY_NAME, "is given more than once"));
    }
    let bad = || Error::invalid(KEY_NAME, format!("must be 1 to {KEY_MAX} visible ASCII characters"));
    let text = value.to_str().map_err(|_| bad())?.trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(rest) => unquoted(rest).ok_or_else(|| Error::invalid(KEY_NAME, "is no string in quotation marks"))?,
    };
    if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    Ok(Some(key))
}

/// What stands before the closing quotation mark, which is the last character (RFC 8941, 3.3.3).
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(key),
            '\\' => key.push(letters.next().filter(|letter| matches!(letter, '"' | '\\'))?),
            letter => key.push(letter),
        }
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // With their lengths, so that no two lists of parts look alike.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name that the key of this identity is kept by.
pub(super) fn name(identity: &str, key: &str) -> String {
    digest(&[identity.as_bytes(), key.as_bytes()])
}

/// What must be the same when a key comes again.
pub(super) fn fingerprint(req: &ServiceRequest, body: &[u8]) -> String {
    let path = req.match_info().as_str();
    digest(&[req.method().as_str().as_bytes(), path.as_bytes(), req.query_string().as_bytes(), body])
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn of(values: &[&str]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        given(&headers)
    }

    #[test]
    fn keys_are_strict() {
        assert_eq!(of(&[]).unwrap(), None);
        for (text, key) in [("a-1", "a-1"), ("\"a-1\"", "a-1"), (r#""a\"\\b""#, r#"a"\b"#), (" x ", "x")] {
            assert_eq!(of(&[text]).unwrap().as_deref(), Some(key), "{text}");
        }
        let long = "k".repeat(KEY_MAX);
        assert_eq!(of(&[&long]).unwrap().as_deref(), Some(long.as_str()));
        let longer = "k".repeat(KEY_MAX + 1);
        for bad in ["", "\"", "\"\"", "\"a", "\"a\"b", "\"a\\", "\"a\\b\"", "a b", "schlüssel", longer.as_str()] {
            assert_eq!(of(&[bad]).unwrap_err().field(), Some(KEY_NAME), "{bad}");
        }
        assert_eq!(of(&["a", "a"]).unwrap_err().field(), Some(KEY_NAME));
    }

    #[test]
    fn no_two_requests_look_alike() {
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_eq!(name("a", "b").len(), 64);
        let req = |uri: &str| actix_web::test::TestRequest::post().uri(uri).to_srv_request();
        let one = fingerprint(&req("/a?b"), b"c");
        for (uri, body) in [("/a", "bc"), ("/a?bc", ""), ("/a?b", "d"), ("/ab", "c")] {
            assert_ne!(fingerprint(&req(uri), body.as_bytes()), one, "{uri} {body}");
        }
        assert_eq!(fingerprint(&req("/a?b"), b"c"), one);
    }
}
