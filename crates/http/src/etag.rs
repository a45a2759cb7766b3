//! Strong validators: a client that has an answer already is told so instead of being sent it again.

use std::hash::Hasher;

use actix_web::Error as ActixError;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;

/// A fingerprint of 128 bits. It guards against accidents, not against attacks: only the engines and the holder of the
/// token make what is hashed.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let half = |salt: u8| {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(1), half(2))
}

/// Whether one of the client's validators is `etag`. `If-None-Match` compares weakly (RFC 9110, 13.1.2).
fn none_match(header: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    header.trim() == "*" || header.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// Gives JSON answers to GET an `ETag` of the bytes that are sent (hence outside of compression), unless the handler
/// gave one, and answers 304 when the client has it.
pub(crate) async fn validate<B: MessageBody + 'static>(
    req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    let wanted = (req.method() == Method::GET)
        .then(|| {
            let values = req.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
            values.collect::<Vec<_>>().join(",")
        })
        .filter(|values| !values.is_empty());
    let get = req.method() == Method::GET;
    let response = next.call(req).await?.map_into_boxed_body();
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !get || !json || response.status() != StatusCode::OK {
        return Ok(response);
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    // JSON answers are made in memory: there is no stream here that could be without end.
    let bytes = to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let given = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let etag = given.unwrap_or_else(|| format!("\"{}\"", fingerprint(&bytes)));
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    if wanted.is_some_and(|wanted| none_match(&wanted, &etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_ENCODING);
        return Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(()))));
    }
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_compare_weakly() {
        assert!(none_match("\"a\", W/\"b\"", "\"b\""));
        assert!(none_match("\"b\"", "W/\"b\""));
        assert!(none_match("*", "\"b\""));
        assert!(!none_match("\"a\"", "\"b\""));
        assert_ne!(fingerprint(b"a"), fingerprint(b"b"));
    }
}
